package layout_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// diamond is an index of which each level lists the next one many times, so that
// the leaf has width^levels paths to it.
func diamond(c *storagetest.Content, levels, width int) ocispec.Descriptor {
	d := c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")))
	for range levels {
		children := make([]ocispec.Descriptor, width)
		for i := range children {
			children[i] = d
		}
		d = c.AddIndex(children...)
	}
	return d
}

func TestWalkVisitsEachDigestOnce(t *testing.T) {
	c := storagetest.NewContent()
	root := diamond(c, 7, 8) // 2^21 paths
	src := &storagetest.Faulty{Source: c}
	seen := map[digest.Digest]int{}
	if err := layout.Walk(t.Context(), src, root, func(n layout.Node) error { seen[n.Digest]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(c.Blobs) {
		t.Errorf("%d of %d", len(seen), len(c.Blobs))
	}
	for d, n := range seen {
		if n != 1 {
			t.Errorf("%s visited %d times", d, n)
		}
	}
	if src.Ops() > 100 {
		t.Errorf("%d operations for %d blobs", src.Ops(), len(c.Blobs))
	}
}

// A second mention may lie about the type where the first did not.
func TestWalkFindsTheSecondType(t *testing.T) {
	c := storagetest.NewContent()
	inner := c.AddIndex(c.AddImage(c.Add(storagetest.ConfigType, []byte("{}"))))
	lie := inner
	lie.MediaType = image
	for _, root := range []ocispec.Descriptor{c.AddIndex(inner, lie), c.AddIndex(lie, inner)} {
		err := layout.Walk(t.Context(), c, root, func(layout.Node) error { return nil })
		if layout.ClassOf(err) != layout.ClassMediaType {
			t.Errorf("%v", err)
		}
	}
}

func TestWalkOrder(t *testing.T) {
	c := storagetest.NewContent()
	name := map[digest.Digest]string{}
	add := func(n string, d ocispec.Descriptor) ocispec.Descriptor { name[d.Digest] = n; return d }
	config := add("config", c.Add(storagetest.ConfigType, []byte("{}")))
	one, two, three := add("1", c.Add("a/b", []byte("1"))), add("2", c.Add("a/b", []byte("2"))), add("3", c.Add("a/b", []byte("3")))
	a := add("A", c.AddImage(config, two, one))
	b := add("B", c.AddImage(config, three, two))
	root := add("root", c.AddIndex(b, three, a))
	var got []string
	err := layout.Walk(t.Context(), c, root, func(n layout.Node) error {
		got = append(got, name[n.Digest])
		if (n.Kind == layout.KindManifest) != (n.Manifest != nil) || n.Manifest != nil && digest.FromBytes(n.Raw) != n.Digest {
			t.Errorf("%s: %v", name[n.Digest], n)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"root", "B", "config", "3", "2", "A", "1"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWalkDepth(t *testing.T) {
	c := storagetest.NewContent()
	visit := func(layout.Node) error { return nil }
	if err := layout.Walk(t.Context(), c, diamond(c, layout.MaxIndexDepth, 1), visit); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := layout.Walk(t.Context(), c, diamond(c, layout.MaxIndexDepth+1, 1), visit); layout.ClassOf(err) != layout.ClassGraph {
		t.Errorf("beyond the limit: %v", err)
	}
}

func TestWalkFault(t *testing.T) {
	c := storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte("{}"))
	bad := c.Add(ocispec.MediaTypeImageManifest, []byte(`{"config":1}`))
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 6}
	lone := c.Add("a/b", []byte("behind the faults"))
	root := c.AddIndex(bad, absent, c.AddImage(config, lone))
	var visited []digest.Digest
	faults := map[digest.Digest]layout.Class{}
	w := layout.Walker{
		Source: c,
		Visit:  func(n layout.Node) error { visited = append(visited, n.Digest); return nil },
		Fault:  func(d ocispec.Descriptor, err error) error { faults[d.Digest] = layout.ClassOf(err); return nil },
	}
	if err := w.Walk(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(map[digest.Digest]layout.Class{bad.Digest: layout.ClassJSON, absent.Digest: layout.ClassMissing}); fmt.Sprint(faults) != want {
		t.Errorf("%v", faults)
	}
	if !slices.Contains(visited, lone.Digest) || slices.Contains(visited, bad.Digest) {
		t.Errorf("%v", visited)
	}
	// Without the hook, and with one that gives an error, the walk ends there.
	if err := layout.Walk(t.Context(), c, root, func(layout.Node) error { return nil }); layout.ClassOf(err) != layout.ClassJSON {
		t.Errorf("%v", err)
	}
	stop := errors.New("stop")
	w = layout.Walker{Source: c, Visit: func(layout.Node) error { return nil }, Fault: func(ocispec.Descriptor, error) error { return stop }}
	if err := w.Walk(t.Context(), root); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	if err := layout.Walk(t.Context(), c, root, func(layout.Node) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}
