package layout

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Node is a descriptor that a walk has come to.
type Node struct {
	ocispec.Descriptor
	Kind     Kind
	Manifest *Manifest // what it says; nil unless Kind is KindManifest
	Raw      []byte    // the verified bytes of a manifest; valid during the visit
}

// Walker visits the graph below one or more roots, depth first, a parent before
// its children and children in their listed order. It comes to each digest once
// in all its walks, so a diamond of indexes costs no more than its nodes. A
// digest that is listed both as a manifest and as a blob is visited as each.
//
// A Walker is for one goroutine.
type Walker struct {
	Source Source

	// Visit is called for each node. Its error ends the walk.
	Visit func(Node) error

	// Fault, where it is set, is called for a manifest that can't be read or
	// decoded, and for a graph over its limits. nil from it goes on without
	// that node's children. Where it is not set, the error ends the walk.
	Fault func(ocispec.Descriptor, error) error

	seen map[visited]struct{}
}

type visited struct {
	digest   digest.Digest
	size     int64 // so that a second mention with another size is not taken for the first
	manifest bool
}

// Walk visits what is below root, which is taken for a manifest if its media
// type is one and for a blob otherwise.
//
// Errors: those of the source, of [DecodeManifest] and of the Visit function, and
// [ClassGraph] for indexes nested over [MaxIndexDepth].
func (w *Walker) Walk(ctx context.Context, root ocispec.Descriptor) error {
	if w.seen == nil {
		w.seen = map[visited]struct{}{}
	}
	k := KindBlob
	if IsManifest(root.MediaType) {
		k = KindManifest
	}
	return w.walk(ctx, Child{root, k}, 0)
}

func (w *Walker) walk(ctx context.Context, c Child, depth int) error {
	key := visited{c.Digest, c.Size, c.Kind == KindManifest}
	if _, ok := w.seen[key]; ok {
		return nil
	}
	w.seen[key] = struct{}{}
	if c.Kind != KindManifest {
		return w.Visit(Node{Descriptor: c.Descriptor, Kind: c.Kind})
	}
	n, err := w.read(ctx, c, depth)
	if err != nil {
		if w.Fault == nil || ctx.Err() != nil {
			return err
		}
		return w.Fault(c.Descriptor, err)
	}
	if err := w.Visit(n); err != nil {
		return err
	}
	for _, child := range n.Manifest.Children() {
		if err := w.walk(ctx, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *Walker) read(ctx context.Context, c Child, depth int) (Node, error) {
	if err := ctx.Err(); err != nil {
		return Node{}, err
	}
	if depth > MaxIndexDepth {
		return Node{}, Errorf(ClassGraph, "manifest %s is nested deeper than %d indexes", c.Digest, MaxIndexDepth)
	}
	raw, err := ReadAll(ctx, w.Source, c.Descriptor)
	if err != nil {
		return Node{}, err
	}
	m, err := DecodeManifest(c.Descriptor, raw)
	if err != nil {
		return Node{}, err
	}
	return Node{Descriptor: c.Descriptor, Kind: c.Kind, Manifest: m, Raw: raw}, nil
}

// Walk visits the graph below one root, each digest once. See [Walker].
func Walk(ctx context.Context, src Source, root ocispec.Descriptor, visit func(Node) error) error {
	w := Walker{Source: src, Visit: visit}
	return w.Walk(ctx, root)
}

// Roots gives the entries of an index.json that are artifacts of their own: the
// named ones, and of the others those that no entry leads to. oras lists the
// children of an index a second time, without a name.
func Roots(ctx context.Context, src Source, entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	inner := map[digest.Digest]bool{}
	w := Walker{Source: src, Visit: func(n Node) error {
		if n.Kind == KindManifest {
			for _, c := range n.Manifest.Manifests {
				inner[c.Digest] = true
			}
		}
		return nil
	}}
	var roots []ocispec.Descriptor
	for _, e := range entries {
		if err := w.Walk(ctx, e); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if EntryName(e) != "" || !inner[e.Digest] {
			roots = append(roots, e)
		}
	}
	return roots, nil
}

// Attached gives those of the candidates that refer to a manifest below roots, or
// to one that does, in their order: the signatures and attestations that belong
// to the roots.
func Attached(ctx context.Context, src Source, roots, candidates []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	below := map[digest.Digest]bool{}
	w := Walker{Source: src, Visit: func(n Node) error {
		if n.Kind == KindManifest {
			below[n.Digest] = true
		}
		return nil
	}}
	for _, r := range roots {
		if err := w.Walk(ctx, r); err != nil {
			return nil, err
		}
	}
	subjects := make([]digest.Digest, len(candidates))
	for i, c := range candidates {
		s, err := SubjectOf(ctx, src, c)
		if err != nil {
			return nil, err
		}
		if s != nil {
			subjects[i] = s.Digest
		}
	}
	taken := make([]bool, len(candidates))
	for more := true; more; {
		more = false
		for i, c := range candidates {
			if !taken[i] && subjects[i] != "" && below[subjects[i]] {
				if err := w.Walk(ctx, c); err != nil {
					return nil, err
				}
				taken[i], more = true, true
			}
		}
	}
	var out []ocispec.Descriptor
	for i, c := range candidates {
		if taken[i] {
			out = append(out, c)
		}
	}
	return out, nil
}

// SubjectOf gives what a manifest refers to, or nil.
func SubjectOf(ctx context.Context, src Source, d ocispec.Descriptor) (*ocispec.Descriptor, error) {
	if !IsManifest(d.MediaType) {
		return nil, nil
	}
	raw, err := ReadAll(ctx, src, d)
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(d, raw)
	if err != nil {
		return nil, err
	}
	return m.Subject, nil
}
