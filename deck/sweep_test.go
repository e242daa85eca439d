package deck

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a killed run left is removed, once it can be no running one.
func TestExtractSweeps(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, ".talk.airdeck-partial-OLD"), filepath.Join(dir, ".talk.airdeck-partial-YOUNG")
	for _, p := range []string{old, young} {
		if err := os.MkdirAll(filepath.Join(p, "slides"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := output{parent: root, base: "talk", dir: filepath.Join(dir, "talk")}
	if err := o.fill(func(*os.Root) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one is there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one: %v", err)
	}
}
