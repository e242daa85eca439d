package bundle

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/internal/disktest"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// meeting is a machine on which something happens when the first directory has been
// opened to be written to.
type meeting struct {
	disk.System
	meet func()
}

func (m *meeting) OpenDir(path string, create bool) (disk.Dir, error) {
	d, err := m.System.OpenDir(path, create)
	if meet := m.meet; create && meet != nil {
		m.meet = nil
		meet()
	}
	return d, err
}

// Who begins to unpack has opened the directory that another is about to rename. What
// they do after that must not be in the result.
func TestTwoUnpackToOneDirectory(t *testing.T) {
	b := writeContent(t, storagetest.Small(), Zstd)
	r, err := Open(bytes.NewReader(b), int64(len(b)))
	v := openVerified(t, r, err)
	dir := filepath.Join(t.TempDir(), "dir")
	var other error
	system := &meeting{disk.OS, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // it may have to wait for the first
		defer cancel()
		other = v.Unpack(ctx, dir, nil)
	}}
	first := v.Unpack(t.Context(), dir, &UnpackOptions{System: system})
	if (first == nil) == (other == nil) {
		t.Errorf("the first: %v; the other: %v", first, other)
	}
	if names := entries(t, dir); !slices.Equal(names, []string{"blobs", "index.json", "oci-layout"}) {
		t.Errorf("the directory has %q", names)
	}
	if names := entries(t, filepath.Dir(dir)); !slices.Equal(names, []string{"dir"}) {
		t.Errorf("beside it there are %q", names)
	}
	if err := v.Unpack(t.Context(), dir, nil); !errors.Is(err, layout.ErrExists) {
		t.Errorf("a third: %v", err)
	}
}

// What an interrupted run has written need not be written again. What can't be looked at
// counts as not there.
func TestUnpackNeeds(t *testing.T) {
	_, c := decks()
	b := writeContent(t, c, Zstd)
	r, err := Open(bytes.NewReader(b), int64(len(b)))
	v := openVerified(t, r, err)
	dir := filepath.Join(t.TempDir(), "dir")
	all := r.UnpackNeeds(dir, nil)
	err = v.Unpack(t.Context(), dir, &UnpackOptions{Jobs: 1, System: &disktest.Faulty{Full: true, Room: 100_000}})
	if err == nil {
		t.Fatal("there was room for it")
	}
	var written int64
	err = filepath.WalkDir(partialDir(dir), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		written += fi.Size()
		return err
	})
	if err != nil || written < 2000 {
		t.Fatalf("it has written %d bytes: %v", written, err)
	}
	if got := r.UnpackNeeds(dir, nil); got != all-written {
		t.Errorf("%d bytes are needed where %d of %d are there", got, written, all)
	}
	if got := r.UnpackNeeds(dir, &UnpackOptions{System: &disktest.Faulty{N: 1, After: true}}); got != all {
		t.Errorf("%d bytes are needed of %d where nothing can be read", got, all)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := fs.ReadDir(os.DirFS(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
