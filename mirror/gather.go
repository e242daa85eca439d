package mirror

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// gather finds out what an artifact and what refers to it consist of, and notes it for
// its repository.
func (p *Plan) gather(ctx context.Context, a *Planned, g *gatherer) error {
	name := a.Reference.Name()
	if a.repo = p.repos[name]; a.repo == nil {
		repo, err := p.client.repository(ctx, a.Reference.Registry, a.Reference.Repository)
		if err != nil {
			return err
		}
		a.repo = &repository{Repository: repo, blobs: map[digest.Digest]*blobState{}}
		p.repos[name] = a.repo
	}
	var err error
	if a.gathered, err = g.below(ctx, a.Descriptor); err != nil {
		return fmt.Errorf("%s: %w", a.Source, err)
	}
	if len(a.manifests) == 0 {
		return layout.Errorf(layout.ClassMediaType, "%s is a %q, which no registry takes as an artifact", a.Source, a.Descriptor.MediaType)
	}
	if err := p.count(len(a.manifests) + len(a.blobs) + len(a.absent)); err != nil {
		return err
	}
	for i, d := range a.blobs {
		if a.repo.blobs[d] == nil {
			a.repo.blobs[d] = &blobState{size: a.sizes[i]}
		}
	}
	a.present = make([]bool, len(a.manifests))
	return nil
}

// gatherer lists what artifacts need. What is one under many names is listed once.
type gatherer struct {
	graph    layout.Graph
	attached map[digest.Digest][]referrer // by subject
	known    map[layout.Root]*gathered
	listed   map[layout.Root]*ocispec.Descriptor // manifests: thousands of artifacts may list the same
}

func newGatherer(src layout.Source) *gatherer {
	return &gatherer{
		graph: layout.Graph{Source: src, Blobs: true}, attached: map[digest.Digest][]referrer{},
		known: map[layout.Root]*gathered{}, listed: map[layout.Root]*ocispec.Descriptor{},
	}
}

// bySubject reads what each referrer refers to.
func (g *gatherer) bySubject(ctx context.Context, all []ocispec.Descriptor) error {
	once := map[digest.Digest]bool{}
	for _, d := range all {
		if once[d.Digest] {
			continue
		}
		once[d.Digest] = true
		subject, err := g.graph.Subject(ctx, d)
		if err != nil {
			return err
		}
		if subject == "" {
			return layout.Errorf(layout.ClassName, "the entry %s has no reference and refers to nothing: it does not say where it belongs", d.Digest)
		}
		g.attached[subject] = append(g.attached[subject], referrer{d, subject})
	}
	return nil
}

// below lists what is below root, children before parents, and then what refers to
// that, with what is below it.
func (g *gatherer) below(ctx context.Context, root ocispec.Descriptor) (*gathered, error) {
	if c := g.known[layout.RootOf(root)]; c != nil {
		return c, nil
	}
	c := &gathered{untagged: map[digest.Digest]bool{}, absent: layout.Absent{}}
	manifests, blobs := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	g.graph.Visit = func(v layout.Vertex) error {
		if v.Kind != layout.KindManifest && !blobs[v.Digest] {
			blobs[v.Digest] = true
			c.blobs, c.sizes = append(c.blobs, v.Digest), append(c.sizes, v.Size)
		}
		return nil
	}
	// A manifest that two indexes share comes before both.
	g.graph.Leave = func(v layout.Vertex) {
		if manifests[v.Digest] {
			return
		}
		manifests[v.Digest] = true
		d := ocispec.Descriptor{MediaType: v.MediaType, Digest: v.Digest, Size: v.Size}
		root := layout.RootOf(d)
		if g.listed[root] == nil {
			g.listed[root] = &d
		}
		c.manifests = append(c.manifests, g.listed[root])
		if v.Subject != "" && len(v.Subject.Encoded()) > maxTagged {
			c.untagged[v.Digest] = true
		}
	}
	g.graph.LeftOut = func(d digest.Digest) { c.absent[d] = struct{}{} }
	g.graph.Renew()
	if err := g.graph.Walk(ctx, root); err != nil {
		return nil, err
	}
	for i := 0; i < len(c.manifests); i++ { //nolint:intrange // the list grows as referrers of referrers come
		for _, r := range g.attached[c.manifests[i].Digest] {
			if manifests[r.Digest] {
				continue
			}
			c.referrers = append(c.referrers, r)
			if err := g.graph.Walk(ctx, r.Descriptor); err != nil {
				return nil, err
			}
		}
	}
	g.known[layout.RootOf(root)] = c
	return c, nil
}
