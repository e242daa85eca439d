package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/internal/disktest"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// diskRun is something that changes files below a folder.
type diskRun struct {
	before func(t *testing.T, dir string)
	do     func(system disk.System, dir string) error
	// kept says what is wrong with what a run has left that did not come to its end.
	kept func(dir string) error
	// done says what is wrong after one that did.
	done func(dir string) error
}

// decks are two artifacts that share a blob.
func decks() (earlier, later *storagetest.Content) {
	make := func(name string, own byte) *storagetest.Content {
		c := storagetest.NewContent()
		config := c.Add(storagetest.ConfigType, fmt.Appendf(nil, `{"name":%q}`, name))
		c.Name(c.AddIndex(c.AddImage(config, c.Add(storagetest.BlobType, storagetest.Random(1, 2000)),
			c.Add(storagetest.BlobType, nil), c.Add(storagetest.BlobType, storagetest.Random(own, 300_000)))), name)
		return c
	}
	return make("r.io/earlier:v1", 2), make("r.io/later:v1", 3)
}

func diskRuns(t *testing.T) map[string]diskRun {
	earlier, later := decks()
	was, is := writeContent(t, earlier, Zstd), writeContent(t, later, Zstd)
	return map[string]diskRun{
		"pack":   packRun(earlier, later, was, is),
		"prune":  pruneRun(earlier, later),
		"unpack": unpackRun("talks.tar.zst", is, later),
	}
}

func packRun(earlier, later *storagetest.Content, was, is []byte) diskRun {
	file := func(dir string) string { return filepath.Join(dir, "out", "talks.tar.zst") }
	return diskRun{
		before: func(t *testing.T, dir string) {
			storeContent(t, filepath.Join(dir, "layout"), earlier)
			if err := errors.Join(os.Mkdir(filepath.Dir(file(dir)), 0o755), os.WriteFile(file(dir), was, 0o644)); err != nil {
				t.Fatal(err)
			}
		},
		do: func(system disk.System, dir string) (err error) {
			ctx := context.Background()
			store, err := layout.OpenStore(ctx, filepath.Join(dir, "layout"), &layout.StoreOptions{System: system})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			out, err := layout.CreateOutputOn(system, file(dir))
			if err != nil {
				return err
			}
			defer out.Close()
			if err := layout.Copy(ctx, store, later, later.Index.Manifests, nil); err != nil {
				return err
			}
			if _, err := Write(ctx, out, store, later.Index, nil); err != nil {
				return err
			}
			if err := store.Add(ctx, nil, later.Index.Manifests...); err != nil {
				return err
			}
			return out.Commit()
		},
		kept: func(dir string) error {
			b, err := os.ReadFile(file(dir))
			if err == nil && !bytes.Equal(b, was) && !bytes.Equal(b, is) {
				err = errors.New("the bundle is neither the earlier one nor the new one")
			}
			return errors.Join(err, holds(filepath.Join(dir, "layout"), earlier))
		},
		done: func(dir string) error {
			b, err := os.ReadFile(file(dir))
			if err == nil && !bytes.Equal(b, is) {
				err = errors.New("the bundle is not the new one")
			}
			return errors.Join(err, holds(filepath.Join(dir, "layout"), earlier, later), noDebris(dir))
		},
	}
}

func unpackRun(name string, archive []byte, c *storagetest.Content) diskRun {
	return diskRun{
		before: func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), archive, 0o644); err != nil {
				t.Fatal(err)
			}
		},
		do: func(system disk.System, dir string) error {
			ctx := context.Background()
			r, err := OpenFile(ctx, filepath.Join(dir, name), &FileOptions{System: system})
			if err != nil {
				return err
			}
			v, _, err := r.Verify(ctx, &VerifyOptions{Jobs: 1})
			if err == nil {
				err = v.Unpack(ctx, filepath.Join(dir, "unpacked"), &UnpackOptions{System: system})
			}
			return errors.Join(err, r.Close())
		},
		kept: func(dir string) error {
			if _, err := os.Stat(filepath.Join(dir, "unpacked")); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return holds(filepath.Join(dir, "unpacked"), c)
		},
		done: func(dir string) error {
			return errors.Join(holds(filepath.Join(dir, "unpacked"), c), noDebris(dir))
		},
	}
}

func pruneRun(earlier, later *storagetest.Content) diskRun {
	place := func(dir string) string { return filepath.Join(dir, "layout") }
	return diskRun{
		before: func(t *testing.T, dir string) { storeContent(t, place(dir), earlier, later) },
		do: func(system disk.System, dir string) error {
			store, err := layout.OpenStore(context.Background(), place(dir), &layout.StoreOptions{System: system})
			if err != nil {
				return err
			}
			_, err = store.Prune(context.Background(), "r.io/later:v1")
			if errors.Is(err, layout.ErrNotFound) {
				_, err = store.Prune(context.Background()) // the run before has forgotten it
			}
			return errors.Join(err, store.Close())
		},
		kept: func(dir string) error { return holds(place(dir), earlier) },
		done: func(dir string) error {
			blobs, err := os.ReadDir(filepath.Join(place(dir), "blobs", "sha256"))
			if err == nil && len(blobs) != len(earlier.Blobs) {
				err = fmt.Errorf("%d blobs are left of %d", len(blobs), len(earlier.Blobs))
			}
			return errors.Join(err, holds(place(dir), earlier), noDebris(dir))
		},
	}
}

func storeContent(t *testing.T, dir string, all ...*storagetest.Content) {
	t.Helper()
	store, err := layout.OpenStore(t.Context(), dir, &layout.StoreOptions{System: new(disktest.Faulty)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, c := range all {
		err := layout.Copy(t.Context(), store, c, c.Index.Manifests, nil)
		if err := errors.Join(err, store.Add(t.Context(), nil, c.Index.Manifests...)); err != nil {
			t.Fatal(err)
		}
	}
}

// holds says what a layout does not hold of contents, whole.
func holds(dir string, all ...*storagetest.Content) error {
	store, err := layout.OpenStore(context.Background(), dir, &layout.StoreOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close()
	idx, err := store.Index()
	if err != nil {
		return err
	}
	there := map[digest.Digest]bool{}
	for _, e := range idx.Manifests {
		there[e.Digest] = true
	}
	for _, c := range all {
		for _, e := range c.Index.Manifests {
			if !there[e.Digest] {
				return fmt.Errorf("%s has no entry %s", dir, layout.EntryName(e))
			}
		}
		for d, b := range c.Blobs {
			ok, err := store.Exists(context.Background(), ocispec.Descriptor{Digest: d, Size: int64(len(b))})
			if err != nil || !ok {
				return fmt.Errorf("%s lacks %s: %w", dir, d, err)
			}
		}
	}
	return nil
}

// noDebris finds what is no part of a result.
func noDebris(dir string) error { return nothingLike(".airdeck-", dir) }

func nothingLike(prefix, dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), prefix) {
			err = fmt.Errorf("%s is left", name)
		}
		return err
	})
}

// operations counts those of a run.
func (r diskRun) operations(t *testing.T) int {
	dir := t.TempDir()
	r.before(t, dir)
	var system disktest.Faulty
	if err := errors.Join(r.do(&system, dir), r.done(dir)); err != nil {
		t.Fatal(err)
	}
	return system.Ops()
}

// stride is how far a test goes from one operation or byte to the next: what each of them
// leaves is not for the race detector to say.
func stride() int {
	if testing.Short() {
		return 7
	}
	return 1
}

// again has the next run come to its end, on a disk without faults.
func (r diskRun) again(dir string) error {
	if err := r.kept(dir); err != nil {
		return err
	}
	err := r.do(new(disktest.Faulty), dir)
	if errors.Is(err, layout.ErrExists) {
		err = nil // the run before had come to its end
	}
	if err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	return r.done(dir)
}

// Whichever operation of a file system fails, once and in the middle of a write, or
// with all that follow: it does not matter, or the error is one of this machine and of
// nothing else, what was there is there, and the next run comes to its end.
func TestEveryOperationFails(t *testing.T) {
	runs := diskRuns(t)
	maps.Copy(runs, readingRuns(t))
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := 0
			for _, kind := range []struct{ after, short bool }{{short: true}, {after: true}} {
				last := run.operations(t)
				for n := 1; n <= last; n += stride() {
					dir := t.TempDir()
					run.before(t, dir)
					system := &disktest.Faulty{N: n, After: kind.after, Short: kind.short}
					err := run.do(system, dir)
					if err == nil && kind.after && n < system.Ops() {
						t.Errorf("operation %d of %d and all that follow failed, and it was not said", n, last)
					}
					if err != nil && (layout.ClassOf(err) != layout.ClassLocal || errors.Is(err, layout.ErrUntrusted)) {
						t.Errorf("operation %d of %d (%+v): class %s: %v", n, last, kind, layout.ClassOf(err), err)
					}
					if err == nil {
						err = run.done(dir)
					} else {
						err = run.again(dir)
					}
					if err != nil {
						t.Errorf("operation %d of %d (%+v): %v", n, last, kind, err)
					}
					points++
				}
			}
			t.Logf("%d points", points)
		})
	}
}

// Wherever the disk is full, the same, and nothing is left of what was not complete.
func TestDiskIsFullAnywhere(t *testing.T) {
	runs := diskRuns(t)
	maps.Copy(runs, readingRuns(t))
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := 0
			for room := int64(0); ; room = moreRoom(room) {
				dir := t.TempDir()
				run.before(t, dir)
				err := run.do(&disktest.Faulty{Full: true, Room: room}, dir)
				points++
				if err == nil {
					if err := run.done(dir); err != nil {
						t.Errorf("%d bytes are enough: %v", room, err)
					}
					t.Logf("%d points, up to %d bytes", points, room)
					return
				}
				if layout.ClassOf(err) != layout.ClassLocal || !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("%d bytes: class %s: %v", room, layout.ClassOf(err), err)
				}
				if err := errors.Join(nothingLike(".airdeck-tmp-", dir), run.again(dir)); err != nil {
					t.Errorf("%d bytes: %v", room, err)
				}
			}
		})
	}
}

// moreRoom is the next room to try: first one for each name that is made and each byte of
// the smallest files, then a few for each file.
func moreRoom(room int64) int64 {
	if room < 64 {
		return room + int64(stride())
	}
	return room + 9973*int64(stride())
}

// Whenever the power goes and whatever of that which was not synced is left, the same.
func TestPowerCut(t *testing.T) {
	for name, run := range diskRuns(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run.before(t, dir)
			cut, err := disktest.NewPowerCut(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := run.do(cut, dir); err != nil {
				t.Fatal(err)
			}
			points := 0
			for n := 0; n <= cut.Moments(); n += stride() {
				for left, s := range disktest.Survivals() {
					dir := t.TempDir()
					if err := cut.Leave(dir, n, s); err != nil {
						t.Fatal(err)
					}
					if err := run.again(dir); err != nil {
						t.Errorf("after %d of %d changes, %s is left: %v", n, cut.Moments(), left, err)
					}
					points++
				}
			}
			t.Logf("%d points", points)
		})
	}
}
