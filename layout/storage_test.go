package layout_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

const tempPrefix = ".airdeck-tmp-"

func openStore(t *testing.T, dir string, o *layout.StoreOptions) *layout.Store {
	t.Helper()
	s, err := layout.OpenStore(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pushAll(t *testing.T, s *layout.Store, c *storagetest.Content) {
	t.Helper()
	for _, d := range c.Descriptors() {
		if err := layout.PushBytes(t.Context(), s, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
	}
}

func blobFile(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func fillStore(t *testing.T, o *layout.StoreOptions) (s *layout.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	return openStore(t, dir, o), dir
}

func TestStoreIsSource(t *testing.T) {
	for name, readOnly := range map[string]bool{"ReadWrite": false, "ReadOnly": true} {
		t.Run(name, func(t *testing.T) {
			storagetest.TestSource(t, func(t *testing.T, c *storagetest.Content, damaged digest.Digest) layout.Source {
				s, dir := fillStore(t, nil)
				pushAll(t, s, c)
				if damaged != "" {
					flip(t, blobFile(dir, damaged))
				}
				if readOnly {
					return openStore(t, dir, &layout.StoreOptions{ReadOnly: true})
				}
				return s
			})
		})
	}
}

func TestJoinIsSource(t *testing.T) {
	storagetest.TestSource(t, func(t *testing.T, c *storagetest.Content, damaged digest.Digest) layout.Source {
		a, dir := fillStore(t, nil)
		rest := storagetest.NewContent()
		for i, d := range c.Descriptors() {
			if i%2 == 0 || d.Digest == damaged {
				if err := layout.PushBytes(t.Context(), a, d, c.Blobs[d.Digest]); err != nil {
					t.Fatal(err)
				}
			} else {
				rest.Blobs[d.Digest] = c.Blobs[d.Digest]
			}
		}
		if damaged != "" {
			flip(t, blobFile(dir, damaged))
		}
		return layout.Join(layout.Join(), a, rest)
	})
}

func TestStoreIsSink(t *testing.T) {
	for name, o := range map[string]*layout.StoreOptions{"Default": nil, "Durable": {Durable: true}} {
		t.Run(name, func(t *testing.T) {
			storagetest.TestSink(t, func(t *testing.T) (layout.Storage, func() []string) {
				s, dir := fillStore(t, o)
				return s, func() []string { return leftovers(t, dir) }
			})
		})
	}
}

// leftovers lists all files in a layout that do not belong to it.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		alg, hex, _ := strings.Cut(strings.TrimPrefix(filepath.ToSlash(rel), "blobs/"), "/")
		switch {
		case err != nil || e.IsDir():
			return err
		case rel == ocispec.ImageLayoutFile, rel == ocispec.ImageIndexFile, strings.HasPrefix(rel, ".airdeck"+string(filepath.Separator)):
		case digest.Digest(alg+":"+hex).Validate() == nil:
		default:
			names = append(names, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Join must not hide that the first source has the content and that it is bad:
// what is asked of the second then would be an answer to another question.
func TestJoinTakesTheFirstThatHasIt(t *testing.T) {
	c := storagetest.Small()
	a, b := storagetest.NewContent(), storagetest.NewContent()
	d := a.Add(storagetest.BlobType, []byte("in both"))
	b.Blobs[d.Digest] = []byte("in BOTH")
	if got, err := layout.ReadAll(t.Context(), layout.Join(c, a, b), d); err != nil || string(got) != "in both" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := layout.ReadAll(t.Context(), layout.Join(c, b, a), d); layout.ClassOf(err) != layout.ClassDigest {
		t.Errorf("%v", err)
	}
}

func TestReadAllRefusesLargeContentBeforeReading(t *testing.T) {
	d := ocispec.Descriptor{Digest: digest.FromString("x"), Size: layout.MaxManifestSize + 1}
	src := &storagetest.Faulty{Source: storagetest.NewContent()}
	if _, err := layout.ReadAll(t.Context(), src, d); layout.ClassOf(err) != layout.ClassLimit || src.Ops() != 0 {
		t.Errorf("%v after %d operations", err, src.Ops())
	}
}
