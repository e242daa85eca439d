package layout_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// Several processes may be the first to use a layout.
func TestOpenStoreSideBySide(t *testing.T) {
	for range 30 {
		dir := filepath.Join(t.TempDir(), "layout")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := layout.OpenStore(t.Context(), dir, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// A directory that is refused is left as it was.
func TestRefusedDirectoryIsUntouched(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := layout.OpenStore(t.Context(), dir, nil); layout.ClassOf(err) != layout.ClassLayout {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Metadata is read up to its limit, whatever the size of the file.
func TestHugeMetadata(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "oci-layout"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(64<<30), f.Close()); err != nil {
		t.Skip(err) // a file system without sparse files
	}
	if _, err := layout.OpenStore(t.Context(), dir, &layout.StoreOptions{ReadOnly: true}); layout.ClassOf(err) != layout.ClassLimit {
		t.Errorf("error %v", err)
	}
}

// What a killed run left is not part of what is exported, nor are blobs that the
// index does not lead to.
func TestExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	s, err := layout.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := storagetest.Small()
	if err := layout.Copy(t.Context(), s, c, c.Index.Manifests, nil); err != nil {
		t.Fatal(err)
	}
	stray := digest.FromString("stray")
	if err := layout.PushBytes(t.Context(), s, ocispec.Descriptor{Digest: stray, Size: 5}, []byte("stray")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", ".airdeck-tmp-X"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Export(t.Context(), raw, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			names = append(names, filepath.Base(p))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(names) != len(c.Blobs)+2 || slices.Contains(names, stray.Encoded()) {
		t.Errorf("%d files for %d blobs: %q", len(names), len(c.Blobs), names)
	}
}

// Somebody may have made the directory before, to have his own files appear in it.
func TestExportRefusesWhatIsNoPartOfALayout(t *testing.T) {
	c := storagetest.Small()
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"evil.sh", "blobs/evil.sh", "blobs/sha256/evil.sh"} {
		dir := filepath.Join(t.TempDir(), "layout")
		s, err := layout.OpenStore(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := layout.Copy(t.Context(), s, c, c.Index.Manifests, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := s.Export(t.Context(), raw, nil); layout.ClassOf(err) != layout.ClassLocal {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}
