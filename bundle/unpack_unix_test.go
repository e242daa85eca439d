//go:build unix

package bundle

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// What somebody has put where the directory is filled is not filled, and a fifo does
// not make anybody wait.
func TestUnpackFollowsNoLink(t *testing.T) {
	v, _, err := verifyBytes(writeContent(t, storagetest.Small(), None), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, ".airdeck-partial-talks")); err != nil {
		t.Fatal(err)
	}
	if err := v.Unpack(t.Context(), filepath.Join(dir, "talks"), nil); layout.ClassOf(err) != layout.ClassLocal {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	fifo := filepath.Join(dir, "fifo.tar")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(t.Context(), fifo, nil); layout.ClassOf(err) != layout.ClassLocal {
		t.Errorf("%v", err)
	}
}

// Nor does a link in there lead out of it, were there all that is looked for, or to
// another place in it: what is half unpacked lies on a disk that others may write to.
func TestUnpackFollowsNoLinkWithin(t *testing.T) {
	c := storagetest.Small()
	v, _, err := verifyBytes(writeContent(t, c, None), nil)
	if err != nil {
		t.Fatal(err)
	}
	slide := "first slide"
	layer, other := blobName(digest.FromString(slide)), blobName(digest.SHA512.FromString(slide))
	files := filesOf(t, c)
	files[".airdeck/use.lock"], files[other] = "", slide
	for name, tt := range map[string]struct{ link, to string }{
		"blobs":                    {"blobs", "../outside/blobs"},
		"the folder of blobs":      {"blobs/sha256", "../../outside/blobs/sha256"},
		"a blob":                   {layer, "../../../outside/" + layer},
		"the locks":                {".airdeck", "../outside/.airdeck"},
		"a lock":                   {".airdeck/use.lock", "../../outside/.airdeck/use.lock"},
		"oci-layout":               {"oci-layout", "../outside/oci-layout"},
		"index.json":               {"index.json", "../outside/index.json"},
		"a folder of other blobs":  {"blobs/sha256", "sha512"},
		"another blob":             {layer, "../../" + other},
		"the locks, in the layout": {".airdeck", "blobs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			outside, partial, talks := filepath.Join(dir, "outside"), filepath.Join(dir, ".airdeck-partial-talks"), filepath.Join(dir, "talks")
			writeFiles(t, outside, files)
			if tt.link != "blobs" {
				writeFiles(t, partial, map[string]string{other: slide})
			}
			link := filepath.Join(partial, tt.link)
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(tt.to, link); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(link); err != nil {
				t.Fatal(err)
			}
			err := v.Unpack(t.Context(), talks, nil)
			if class := layout.ClassOf(err); err == nil || class != layout.ClassLocal && class != layout.ClassLayout {
				t.Errorf("%v", err)
			}
			if _, err := os.Lstat(talks); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it has appeared: %v", err)
			}
			if got := readFiles(t, outside); !maps.Equal(got, files) {
				t.Errorf("outside there is %q", got)
			}
		})
	}
}
