package layout

import (
	"context"
	"slices"

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
// digest that is listed both as a manifest and as a blob, or as manifests of two
// types, is visited as each.
//
// What a [Partial] source is meant to lack is left out.
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

	// LeftOut, where it is set, is called for each mention of what the source is
	// meant to lack.
	LeftOut func(parent ocispec.Descriptor, c Child)

	seen   map[visited]struct{}
	absent Absent
	raw    []byte // room for the manifest that is being visited
}

type visited struct {
	digest digest.Digest
	size   int64 // so that a second mention with another size is not taken for the first
	as     uint8 // likewise: the place of its type in manifestTypes, from 1; 0 for a blob
}

// Walk visits what is below root, which is taken for a manifest if its media
// type is one and for a blob otherwise.
//
// Errors: those of the source, of [DecodeManifest] and of the Visit function, and
// [ClassGraph] for indexes nested over [MaxIndexDepth].
func (w *Walker) Walk(ctx context.Context, root ocispec.Descriptor) error {
	if w.seen == nil {
		w.seen = map[visited]struct{}{}
		if p, ok := w.Source.(Partial); ok {
			var err error
			if w.absent, err = p.Absent(); err != nil {
				return err
			}
		}
	}
	k := KindBlob
	if IsManifest(root.MediaType) {
		k = KindManifest
	}
	return w.walk(ctx, Child{root, k}, 0)
}

func (w *Walker) walk(ctx context.Context, c Child, depth int) error {
	key := visited{digest: c.Digest, size: c.Size}
	if c.Kind == KindManifest {
		key.as = uint8(slices.Index(manifestTypes, c.MediaType) + 1)
	}
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
		if _, out := w.absent[child.Digest]; out && MayBeAbsent(n.Descriptor, child) {
			if w.LeftOut != nil {
				w.LeftOut(n.Descriptor, child)
			}
			continue
		}
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
	raw, err := readInto(ctx, w.Source, c.Descriptor, w.raw)
	if err != nil {
		return Node{}, err
	}
	w.raw = raw
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
