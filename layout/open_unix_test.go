//go:build unix

package layout_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// Links in the place of what a layout has lead nowhere, and make nothing elsewhere.
func TestLinksInTheLayoutAreNotFollowed(t *testing.T) {
	outside := t.TempDir()
	for _, name := range []string{".airdeck/use.lock", ".airdeck/index.lock"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ".airdeck"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(outside, "made"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		s, err := layout.OpenStore(t.Context(), dir, nil)
		if err == nil {
			err = s.Add(t.Context(), nil, storagetest.Small().Index.Manifests...)
			s.Close()
		}
		if err == nil || len(dirNames(t, outside)) > 0 {
			t.Errorf("%s: %v; made outside: %q", name, err, dirNames(t, outside))
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(layout.LayoutFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "index.json"), filepath.Join(dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	s, err := layout.OpenStore(t.Context(), dir, &layout.StoreOptions{ReadOnly: true})
	if err == nil {
		_, _, err = s.ReadIndex()
		s.Close()
	}
	if layout.ClassOf(err) != layout.ClassLayout {
		t.Errorf("class %s: %v", layout.ClassOf(err), err)
	}
}
