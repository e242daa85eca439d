package mirror

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// One index under many names, and many indexes over one, are read once, and each of
// them is planned whole.
func TestPlanReadsWhatIsSharedOnce(t *testing.T) {
	const many = 20
	f := newFixture(t)
	var images []ocispec.Descriptor
	for i := range many {
		images = append(images, f.artifact(fmt.Sprint(i), 10+i))
	}
	root := f.index(images...)
	signature := f.json(ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": images[0], "layers": []any{}, "subject": root,
	})
	var targets []Target
	for i := range many {
		inner := root
		inner.Annotations = map[string]string{"n": fmt.Sprint(i)}
		for name, d := range map[string]ocispec.Descriptor{"name": root, "index": f.index(inner)} {
			name = fmt.Sprintf("%s%d:v1", name, i)
			targets = append(targets, Target{Source: name, Descriptor: d, Reference: ref(t, f.dst.Host+"/"+name)})
		}
	}
	src := &storagetest.Faulty{Source: f.store}
	p, err := f.client(ClientOptions{}).Plan(f.ctx, src, targets, &PlanOptions{Referrers: []ocispec.Descriptor{signature}})
	if err != nil {
		t.Fatal(err)
	}
	if manifests := int64(2*many + 2); src.Ops() > 5*manifests {
		t.Errorf("%d operations for %d manifests", src.Ops(), manifests)
	}
	for _, a := range p.Artifacts {
		want := many + 2
		if a.Descriptor.Digest != root.Digest {
			want++
		}
		if len(a.manifests) != want || len(a.referrers) != 1 || len(a.Missing()) != a.Blobs() || a.Blobs() != 2*many+1 {
			t.Errorf("%s: %d manifests, %d blobs, %d missing, %d referrers", a.Source, len(a.manifests), a.Blobs(), len(a.Missing()), len(a.referrers))
		}
	}
	if _, err := p.Push(f.ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.dst.Audit(); err != nil {
		t.Error(err)
	}
}

// What is left out is told for each name, and counts for each.
func TestPlanCountsWhatIsLeftOut(t *testing.T) {
	c := storagetest.NewContent()
	absent := layout.Absent{}
	var all []ocispec.Descriptor
	for i := range 10_000 {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 1}
		all, absent[d.Digest] = append(all, d), struct{}{}
	}
	root := c.AddIndex(all...)
	g := newGatherer(layout.WithAbsent(c, absent))
	p := &Plan{client: newFixture(t).client(ClientOptions{}), repos: map[string]*repository{}}
	var err error
	for i := 0; err == nil && i <= MaxPlanned/len(all); i++ {
		a := &Planned{Target: Target{Descriptor: root, Reference: layout.Reference{Registry: "r.io", Repository: "a", Tag: fmt.Sprint(i)}}}
		if err = p.gather(t.Context(), a, g); err == nil && len(a.Absent()) != len(all) {
			t.Fatalf("%d of %d", len(a.Absent()), len(all))
		}
	}
	if layout.ClassOf(err) != layout.ClassLimit {
		t.Error(err)
	}
}
