package layout_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

const foreignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

func absentOf(ds ...ocispec.Descriptor) layout.Absent {
	a := layout.Absent{}
	for _, d := range ds {
		a[d.Digest] = struct{}{}
	}
	return a
}

func visited(t *testing.T, src layout.Source, root ocispec.Descriptor) map[digest.Digest]bool {
	t.Helper()
	got := map[digest.Digest]bool{}
	if err := layout.Walk(t.Context(), src, root, func(n layout.Node) error { got[n.Digest] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

// Platforms and layers that are not to be distributed can be left out, and nothing
// else, whatever the list says.
func TestWalkLeavesOut(t *testing.T) {
	c := storagetest.NewContent()
	config, layer, foreign := c.Add(storagetest.ConfigType, []byte("{}")), c.Add("a/b", []byte("1")), c.Add(foreignLayer, []byte("2"))
	one, two := c.AddImage(config, layer, foreign), c.AddImage(config, foreign)
	root := c.AddIndex(one, two)
	got := visited(t, layout.WithAbsent(c, absentOf(root, two, config, layer, foreign)), root)
	want := map[digest.Digest]bool{root.Digest: true, one.Digest: true, config.Digest: true, layer.Digest: true}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAbsentAnnotation(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	idx := ocispec.Index{Annotations: map[string]string{"x": "y"}}
	kept := idx.Annotations
	absentOf(ocispec.Descriptor{Digest: b}, ocispec.Descriptor{Digest: a}).Mark(&idx)
	want := layout.JoinDigests([]digest.Digest{a, b})
	if got := idx.Annotations[layout.AnnotationAbsent]; got != want || len(kept) != 1 || idx.Annotations["x"] != "y" {
		t.Errorf("%q, want %q", got, want)
	}
	got, err := layout.AbsentOf(idx)
	if _, ok := got[a]; err != nil || len(got) != 2 || !ok {
		t.Errorf("%v, %v", got, err)
	}
	layout.Absent{}.Mark(&idx)
	if got, err := layout.AbsentOf(idx); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", ",", a.String() + ",", a.String() + "," + a.String(), "sha256:..", want + " "} {
		if _, err := layout.AbsentOf(ocispec.Index{Annotations: map[string]string{layout.AnnotationAbsent: text}}); layout.ClassOf(err) != layout.ClassLayout {
			t.Errorf("%q: %v", text, err)
		}
	}
	list := slices.Sorted(maps.Keys(absentOf(ocispec.Descriptor{Digest: a}, ocispec.Descriptor{Digest: b})))
	backwards := list[1].String() + "," + list[0].String()
	if _, err := layout.ParseDigests(backwards); err == nil {
		t.Error("an unsorted list was taken")
	}
}

// What one part leaves out another may bring; what nobody brings is absent.
func TestMerge(t *testing.T) {
	c := storagetest.NewContent()
	config, foreign := c.Add(storagetest.ConfigType, []byte("{}")), c.Add(foreignLayer, []byte("2"))
	one, two, three := c.AddImage(config, c.Add("a/b", []byte("1"))), c.AddImage(config, foreign), c.AddImage(config)
	root := c.AddIndex(one, two, three)
	odd := c.AddImage(two) // a manifest for its config
	poor := storagetest.NewContent()
	maps.Copy(poor.Blobs, c.Blobs)
	delete(poor.Blobs, foreign.Digest)
	for name, tt := range map[string]struct {
		parts   []layout.Part
		want    layout.Absent
		lacking int
	}{
		"alone": {[]layout.Part{{layout.WithAbsent(c, absentOf(two, three)), []ocispec.Descriptor{root}}}, absentOf(two, three), 0},
		"one brings what the other leaves": {[]layout.Part{
			{layout.WithAbsent(c, absentOf(two, three)), []ocispec.Descriptor{root}},
			{c, []ocispec.Descriptor{two}},
		}, absentOf(three), 0},
		"a withheld layer": {[]layout.Part{{poor, []ocispec.Descriptor{root}}}, absentOf(foreign), 1},
		"a withheld layer that another part has": {[]layout.Part{
			{poor, []ocispec.Descriptor{root}},
			{c, []ocispec.Descriptor{two}},
		}, absentOf(), 0},
		"one has for a config what the other leaves": {[]layout.Part{
			{layout.WithAbsent(c, absentOf(two, three)), []ocispec.Descriptor{root}},
			{c, []ocispec.Descriptor{odd}},
		}, absentOf(two, three), 0},
		"whole": {[]layout.Part{{c, []ocispec.Descriptor{root}}}, absentOf(), 0},
	} {
		got, lacking, err := layout.Merge(t.Context(), tt.parts...)
		if err != nil || !maps.Equal(got, tt.want) || len(lacking) != tt.lacking {
			t.Errorf("%s: %v, %v, %v", name, got, lacking, err)
		}
	}
}
