package layout

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxPathSize bounds a manifest together with the indexes above it, in bytes. A walk has
// all of them in memory, each at several times its size. Below an index as large as any
// may be, there is room for a manifest of a megabyte.
const MaxPathSize = 5 << 20

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
// [ClassGraph] for indexes nested over [MaxIndexDepth], and [ClassLimit] for such as
// have more than [MaxPathSize] bytes together.
func (w *Walker) Walk(ctx context.Context, root ocispec.Descriptor) error {
	if w.seen == nil {
		w.seen = map[visited]struct{}{}
		if err := w.begin(); err != nil {
			return err
		}
	}
	k := KindBlob
	if IsManifest(root.MediaType) {
		k = KindManifest
	}
	return w.walk(ctx, Child{root, k}, lineage{})
}

// begin asks the source what it is meant to lack.
func (w *Walker) begin() (err error) {
	if p, ok := w.Source.(Partial); ok {
		w.absent, err = p.Absent()
	}
	return err
}

// lacks reports whether the source is meant to lack a child of a manifest.
func (w *Walker) lacks(parent ocispec.Descriptor, c Child) bool {
	_, out := w.absent[c.Digest]
	return out && MayBeAbsent(parent, c)
}

func keyOf(c Child) visited {
	key := visited{digest: c.Digest, size: c.Size}
	if c.Kind == KindManifest {
		key.as = uint8(slices.Index(manifestTypes, c.MediaType) + 1)
	}
	return key
}

// lineage is what lies above a node, and the node itself.
type lineage struct {
	depth int
	bytes int64 // in the manifests
}

func (w *Walker) walk(ctx context.Context, c Child, at lineage) error {
	key := keyOf(c)
	if _, ok := w.seen[key]; ok {
		return nil
	}
	w.seen[key] = struct{}{}
	if c.Kind != KindManifest {
		return w.Visit(Node{Descriptor: c.Descriptor, Kind: c.Kind})
	}
	at.bytes += c.Size
	n, err := w.read(ctx, c, at)
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
		if w.lacks(n.Descriptor, child) {
			if w.LeftOut != nil {
				w.LeftOut(n.Descriptor, child)
			}
			continue
		}
		if err := w.walk(ctx, child, lineage{at.depth + 1, at.bytes}); err != nil {
			return err
		}
	}
	return nil
}

func (w *Walker) read(ctx context.Context, c Child, at lineage) (Node, error) {
	if err := ctx.Err(); err != nil {
		return Node{}, err
	}
	if err := checkDepth(c.Digest, at.depth); err != nil {
		return Node{}, err
	}
	if at.bytes > MaxPathSize && c.Size <= MaxManifestSize {
		return Node{}, Errorf(ClassLimit, "manifest %s and the indexes above it have more than %d bytes", c.Digest, MaxPathSize)
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

func checkDepth(d digest.Digest, depth int) error {
	if depth > MaxIndexDepth {
		return Errorf(ClassGraph, "manifest %s is nested deeper than %d indexes", d, MaxIndexDepth)
	}
	return nil
}

// Walk visits the graph below one root, each digest once. See [Walker].
func Walk(ctx context.Context, src Source, root ocispec.Descriptor, visit func(Node) error) error {
	w := Walker{Source: src, Visit: visit}
	return w.Walk(ctx, root)
}
