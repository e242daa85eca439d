package layout_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/layout"
)

// What a disk has certainly no room for is refused before anything is written, and
// what goes to one disk counts together.
func TestCheckSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := layout.CheckSpace(layout.Need{Path: filepath.Join(dir, "not", "there", "yet"), Bytes: 1})
	if err != nil || free == 0 {
		t.Fatalf("%d, %v", free, err)
	}
	if free < 0 {
		t.Skip("this system does not tell")
	}
	_, err = layout.CheckSpace(layout.Need{Path: filepath.Join(dir, "bundle.tar"), Bytes: math.MaxInt64 / 4})
	if layout.ClassOf(err) != layout.ClassLocal || !strings.Contains(err.Error(), "bundle.tar") {
		t.Errorf("%v", err)
	}
	if _, err := layout.CheckSpace(layout.Need{Path: dir, Bytes: free / 4 * 3}, layout.Need{Path: dir, Bytes: free / 4 * 3}); err == nil {
		t.Error("two needs of one disk were not added up")
	}
}
