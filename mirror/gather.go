package mirror

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// gather walks one artifact and what refers to it.
func (p *Plan) gather(ctx context.Context, a *Planned, attached map[digest.Digest][]referrer) error {
	name := a.Reference.Name()
	if a.repo = p.repos[name]; a.repo == nil {
		repo, err := p.client.repository(ctx, a.Reference.Registry, a.Reference.Repository)
		if err != nil {
			return err
		}
		a.repo = &repository{Repository: repo, blobs: map[digest.Digest]*blobState{}}
		p.repos[name] = a.repo
	}
	a.absent, a.untagged = layout.Absent{}, map[digest.Digest]bool{}
	g := &gatherer{a: a, src: p.src, manifests: map[digest.Digest]bool{}, blobs: map[digest.Digest]bool{}}
	if err := g.add(ctx, a.Descriptor); err != nil {
		return fmt.Errorf("%s: %w", a.Source, err)
	}
	if len(a.manifests) == 0 {
		return layout.Errorf(layout.ClassMediaType, "%s is a %q, which no registry takes as an artifact", a.Source, a.Descriptor.MediaType)
	}
	for i := 0; i < len(a.manifests); i++ { //nolint:intrange // the list grows as referrers of referrers come
		for _, r := range attached[a.manifests[i].Digest] {
			if g.manifests[r.Digest] {
				continue
			}
			a.referrers = append(a.referrers, r)
			if err := g.add(ctx, r.Descriptor); err != nil {
				return fmt.Errorf("%s: %w", a.Source, err)
			}
		}
	}
	a.present = make([]bool, len(a.manifests))
	if p.planned += len(a.manifests) + len(a.blobs); p.planned > MaxPlanned {
		return layout.Errorf(layout.ClassLimit, "the artifacts have more than %d manifests and blobs, each counted for each of them: mirror fewer at once", MaxPlanned)
	}
	return nil
}

// gatherer lists what an artifact needs, children before parents.
type gatherer struct {
	a                *Planned
	src              layout.Source
	manifests, blobs map[digest.Digest]bool
}

func (g *gatherer) add(ctx context.Context, root ocispec.Descriptor) error {
	nodes := map[digest.Digest]layout.Node{}
	w := layout.Walker{
		Source: g.src,
		Visit: func(n layout.Node) error {
			switch {
			case n.Kind == layout.KindManifest:
				n.Raw = nil
				nodes[n.Digest] = n
			case !g.blobs[n.Digest]:
				g.blobs[n.Digest] = true
				g.a.blobs = append(g.a.blobs, n.Digest)
				if g.a.repo.blobs[n.Digest] == nil {
					g.a.repo.blobs[n.Digest] = &blobState{size: n.Size}
				}
			}
			return nil
		},
		LeftOut: func(_ ocispec.Descriptor, c layout.Child) { g.a.absent[c.Digest] = struct{}{} },
	}
	if err := w.Walk(ctx, root); err != nil {
		return err
	}
	// A manifest that two indexes share comes before both.
	var visit func(d digest.Digest)
	visit = func(d digest.Digest) {
		n, ok := nodes[d]
		if !ok || g.manifests[d] {
			return
		}
		g.manifests[d] = true
		for _, c := range n.Manifest.Manifests {
			visit(c.Digest)
		}
		g.a.manifests = append(g.a.manifests, ocispec.Descriptor{MediaType: n.MediaType, Digest: n.Digest, Size: n.Size})
		if s := n.Manifest.Subject; s != nil && len(s.Digest.Encoded()) > maxTagged {
			g.a.untagged[n.Digest] = true
		}
	}
	visit(root.Digest)
	return nil
}
