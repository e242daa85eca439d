package bundle

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disktest"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// filesOf are those of a layout directory with all that c has, needed or not.
func filesOf(t *testing.T, c *storagetest.Content) map[string]string {
	t.Helper()
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{ocispec.ImageLayoutFile: layout.LayoutFile, ocispec.ImageIndexFile: string(raw)}
	for d, b := range c.Blobs {
		files[blobName(d)] = string(b)
	}
	return files
}

// writeFiles makes a folder of files, as any program would.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readFiles gives all that is in a folder.
func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// packed is a bundle of what is in a layout directory.
func packed(t *testing.T, dir string, o *WriteOptions) []byte {
	t.Helper()
	r, err := OpenFile(t.Context(), dir, nil)
	v := openVerified(t, r, err)
	defer r.Close()
	return write(t, v, v.Index(), o)
}

// FuzzLayouts takes any layout directory to a bundle, that to a directory, and that to
// a bundle again: the directories hold the same but for what nothing leads to, and the
// bundles are the same file.
func FuzzLayouts(f *testing.F) {
	f.Add([]byte{})
	for seed := range byte(32) {
		f.Add(storagetest.Random(seed, 120))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := storagetest.NewDice(b)
		o := &WriteOptions{Compression: storagetest.Pick(d, Zstd, None, Gzip), Jobs: 1}
		c := storagetest.Graph(d, false)
		verdict := c.Judge()
		if !verdict.Whole || verdict.Deep {
			return // what is refused is the business of FuzzGraph
		}
		dir := t.TempDir()
		theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
		writeFiles(t, theirs, filesOf(t, c))
		first := packed(t, theirs, o)
		name := filepath.Join(dir, "talks")
		if err := os.WriteFile(name, first, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := OpenFile(t.Context(), name, nil)
		v := openVerified(t, r, err)
		defer r.Close()
		if err := v.Unpack(t.Context(), ours, &UnpackOptions{Jobs: 1, System: new(disktest.Faulty)}); err != nil {
			t.Fatal(err)
		}
		needed := storagetest.Content{Index: c.Index, Blobs: maps.Clone(c.Blobs)}
		maps.DeleteFunc(needed.Blobs, func(d digest.Digest, _ []byte) bool { return !verdict.Reached[d] })
		if got, want := readFiles(t, ours), filesOf(t, &needed); !maps.Equal(got, want) {
			t.Fatalf("the directory has %q\nwant %q", got, want)
		}
		if again := packed(t, ours, o); !bytes.Equal(again, first) {
			t.Fatal("the directory makes another bundle")
		}
	})
}
