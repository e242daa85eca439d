//go:build unix

package crash

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
)

// A medium that can't be written to is read as any other, and nothing on it is
// touched.
func TestReadOnlyMedium(t *testing.T) {
	medium := t.TempDir()
	readOnlyMedium(t, medium, func() { protect(t, medium) })
}

// readOnlyMedium has a folder read in all ways when it is protected.
func readOnlyMedium(t *testing.T, medium string, protect func()) {
	t.Helper()
	src := source(t)
	src.airdeck("pack", "-o", "talks.tar", "oci:talks")
	want := src.fill("talks.tar", false).artifacts(t)
	for _, name := range []string{"talks.tar.zst", "talks.tar"} {
		copyTo(t, filepath.Join(medium, name), src.path(name))
	}
	unpacked := filepath.Join(medium, "unpacked")
	src.airdeck("unpack", "talks.tar", unpacked)
	protect()
	before := stats(t, medium)

	site := startSite(t, false)
	m := newMachine(t, site)
	for _, name := range []string{filepath.Join(medium, "talks.tar.zst"), filepath.Join(medium, "talks.tar"), unpacked} {
		m.airdeck("inspect", name)
		m.airdeck("verify", name)
		m.airdeck("mirror", name, site.host)
		m.airdeck("compare", name, site.host)
	}
	m.airdeck("pack", "-o", "again.tar", filepath.Join(medium, "talks.tar.zst"), "oci:"+unpacked)
	if got := site.artifacts(t); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the registry has\n%v, want\n%v", got, want)
	}
	if after := stats(t, medium); !maps.Equal(before, after) {
		t.Errorf("the medium was\n%v, and is\n%v", before, after)
	}
}

// protect takes all rights to write below a folder. Nobody takes them from root.
func protect(t *testing.T, dir string) {
	t.Helper()
	change := func(file, folder fs.FileMode) error {
		return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.IsDir() {
				return os.Chmod(name, folder)
			}
			return os.Chmod(name, file)
		})
	}
	if err := change(0o444, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := change(0o644, 0o755); err != nil {
			t.Error(err)
		}
	})
}

// stats tells of all below a folder what changes when somebody writes there.
func stats(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			out[name] = fmt.Sprint(fi.Mode(), fi.Size(), fi.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// With 64 open files one can move hundreds of blobs.
func TestFewOpenFiles(t *testing.T) {
	c := storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte("{}"))
	for i := range 3 {
		var layers []ocispec.Descriptor
		for k := range 100 {
			layers = append(layers, c.Add(storagetest.BlobType, fmt.Appendf(nil, "slide %d of talk %d", k, i)))
		}
		c.Name(c.AddImage(config, layers...), fmt.Sprintf("ghcr.io/acme/decks/many-%d:v1", i))
	}
	m := newMachine(t)
	writeLayout(t, m.path("many"), c)
	m.airdeck("pack", "-o", "many.tar.zst", "oci:many")
	from, to := m.fill("many.tar.zst", false), startSite(t, false)
	pack := []string{"pack", "-o", "again.tar.zst"}
	for i := range 3 {
		pack = append(pack, fmt.Sprintf("%s/acme/decks/many-%d:v1", from.host, i))
	}
	for _, args := range [][]string{
		pack,
		{"pack", "-o", "oci.tar.zst", "oci:many"},
		{"inspect", "many"},
		{"verify", "many"},
		{"verify", "again.tar.zst"},
		{"mirror", "again.tar.zst", to.host},
		{"compare", "again.tar.zst", to.host},
		{"unpack", "again.tar.zst", "dir"},
		{"list"},
		{"prune"},
	} {
		p := m.startCommand("sh", append([]string{"-c", `ulimit -n 64; exec "$0" "$@"`, airdeckBinary}, args...)...)
		p.want(0)
	}
}
