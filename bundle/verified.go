package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orascontent "oras.land/oras-go/v2/content"

	"github.com/airdeck/airdeck/layout"
)

// Verified is a bundle whose every blob was hashed and whose graph is whole. What
// it gives out is verified once more while it is read: the file may have
// changed since.
//
// It is an oras.ReadOnlyGraphTarget, so that whatever is written for oras-go
// works on a bundle. Its methods may be called concurrently.
type Verified struct {
	r *Reader

	mu           sync.Mutex
	predecessors map[digest.Digest][]ocispec.Descriptor // nil until they are asked for
}

var _ layout.Partial = (*Verified)(nil)

// These two are an oras.ReadOnlyGraphTarget. The package that has that name also
// has a registry client, which has no place here.
var _ interface {
	orascontent.ReadOnlyGraphStorage
	orascontent.Resolver
} = (*Verified)(nil)

// Digest is that of [Reader.Digest].
func (v *Verified) Digest() digest.Digest { return v.r.Digest() }

// RawIndex is index.json, byte for byte. It must not be changed.
func (v *Verified) RawIndex() []byte { return v.r.raw }

// Index is that of [Reader.Index].
func (v *Verified) Index() ocispec.Index { return v.r.Index() }

// Fetch implements [layout.Source].
func (v *Verified) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return v.r.content.Fetch(ctx, d)
}

// Absent implements [layout.Partial].
func (v *Verified) Absent() (layout.Absent, error) { return v.r.content.Absent() }

// Exists reports whether the bundle has a blob of that digest and size.
func (v *Verified) Exists(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	rc, err := v.Fetch(ctx, d)
	var corrupt *layout.CorruptError
	if errors.Is(err, layout.ErrNotFound) || errors.As(err, &corrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, rc.Close()
}

// Resolve gives the entry of a full reference, or of a digest.
//
// Error: [layout.ErrNotFound].
func (v *Verified) Resolve(_ context.Context, reference string) (ocispec.Descriptor, error) {
	for _, e := range v.r.index.Manifests {
		if layout.EntryName(e) == reference || e.Digest.String() == reference {
			return e, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("%q is not in the bundle: %w", reference, layout.ErrNotFound)
}

// Predecessors gives the manifests that name d as a child or as their subject.
func (v *Verified) Predecessors(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.predecessors != nil {
		return v.predecessors[d.Digest], nil
	}
	all := map[digest.Digest][]ocispec.Descriptor{}
	w := layout.Walker{Source: v.r.content, Visit: func(n layout.Node) error {
		if n.Kind != layout.KindManifest {
			return nil
		}
		if s := n.Manifest.Subject; s != nil {
			all[s.Digest] = append(all[s.Digest], n.Descriptor)
		}
		for _, c := range n.Manifest.Children() {
			if p := all[c.Digest]; len(p) == 0 || p[len(p)-1].Digest != n.Digest {
				all[c.Digest] = append(p, n.Descriptor)
			}
		}
		return nil
	}}
	for _, e := range v.r.index.Manifests {
		if err := w.Walk(ctx, e); err != nil {
			return nil, err
		}
	}
	v.predecessors = all
	return all[d.Digest], nil
}
