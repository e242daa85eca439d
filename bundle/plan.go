package bundle

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// plan is what an index brings into a bundle: every blob once, in the order of
// the format.
type plan struct {
	blobs      []planned
	byDigest   map[digest.Digest]int32 // into blobs
	referenced int64                   // bytes, each mention counted
	unique     int64                   // bytes, each blob counted once
	compressed int64                   // bytes in blobs that are compressed already
	mentions   int32
	docker     []byte // manifest.json, where there are container images
}

type planned struct {
	digest digest.Digest
	size   int64
	kind   layout.Kind
	order  int32 // of the first mention as that kind
}

// newPlan walks the graph below the entries of an index. src is asked for each
// manifest once, in the order in which they stand in the archive.
func newPlan(ctx context.Context, src layout.Source, entries []ocispec.Descriptor) (*plan, error) {
	p := &plan{byDigest: map[digest.Digest]int32{}}
	sums, images := sums{}, newImages()
	w := layout.Walker{
		Source: src,
		Visit: func(n layout.Node) error {
			if n.Kind == layout.KindManifest {
				sums.add(n)
				images.add(n)
			}
			return p.add(n)
		},
		LeftOut: func(parent ocispec.Descriptor, c layout.Child) {
			sums.leave(parent.Digest, c)
			images.leave(parent.Digest, c)
		},
	}
	for _, e := range entries {
		if err := w.Walk(ctx, e); err != nil {
			return nil, err
		}
		p.referenced = saturate(p.referenced, sums.total(inner{e.Digest, e.Size}, layout.IsManifest(e.MediaType)))
	}
	p.sort()
	var err error
	p.docker, err = images.manifest(entries)
	return p, err
}

// readPlan is the plan of an archive of so many bytes, as far as it tells where the
// blobs are. src is asked as by newPlan.
//
// Error: errOtherOrder as soon as the blobs take more than there is.
func readPlan(ctx context.Context, src layout.Source, entries []ocispec.Descriptor, room int64) (*plan, error) {
	p := &plan{byDigest: map[digest.Digest]int32{}}
	w := layout.Walker{Source: src, Visit: func(n layout.Node) error {
		known := len(p.blobs)
		if err := p.add(n); err != nil {
			return err
		}
		if len(p.blobs) > known {
			room -= memberSize(n.Digest, n.Size)
		}
		if room < 0 {
			return errOtherOrder
		}
		return nil
	}}
	for _, e := range entries {
		if err := w.Walk(ctx, e); err != nil {
			return nil, err
		}
	}
	p.sort()
	return p, nil
}

func (p *plan) sort() {
	slices.SortFunc(p.blobs, func(a, b planned) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.order, b.order))
	})
	for i, b := range p.blobs {
		p.byDigest[b.digest] = int32(i)
	}
}

func (p *plan) add(n layout.Node) error {
	order := p.mentions
	p.mentions++
	i, ok := p.byDigest[n.Digest]
	if !ok {
		if len(p.blobs) == MaxMembers {
			return layout.Errorf(layout.ClassLimit, "more than %d blobs", MaxMembers)
		}
		p.unique += n.Size // MaxMembers of layout.MaxBlobSize fit
		if isCompressed(n.MediaType) {
			p.compressed = saturate(p.compressed, n.Size)
		}
		p.byDigest[n.Digest] = int32(len(p.blobs))
		p.blobs = append(p.blobs, planned{n.Digest, n.Size, n.Kind, order})
		return nil
	}
	b := &p.blobs[i]
	if b.size != n.Size {
		return layout.Errorf(layout.ClassSize, "%s is listed with %d and with %d bytes", n.Digest, b.size, n.Size)
	}
	if n.Kind < b.kind {
		b.kind, b.order = n.Kind, order
	}
	return nil
}

// isCompressed knows the media types of what compresses no further. It decides
// nothing but how much room a file is said to need.
func isCompressed(mediaType string) bool {
	switch mediaType {
	case "image/png", "image/jpeg", "image/webp", "image/avif", "image/gif", "video/mp4", "video/webm":
		return true
	}
	return strings.HasSuffix(mediaType, "gzip") || strings.HasSuffix(mediaType, "zstd")
}

// sums adds up what lies below a manifest, each mention counted, without walking
// a shared child twice.
type sums map[digest.Digest]*sum

type sum struct {
	own      int64 // the manifest and its blobs
	children []inner
	leftOut  map[digest.Digest]bool // of the children
	done     bool
}

// inner is a manifest in an index: of its descriptor no more than is needed.
type inner struct {
	digest digest.Digest
	size   int64
}

func (s sums) add(n layout.Node) {
	e := &sum{own: n.Size}
	for _, c := range n.Manifest.Children() {
		if c.Kind == layout.KindManifest {
			e.children = append(e.children, inner{c.Digest, c.Size})
		} else {
			e.own = saturate(e.own, c.Size)
		}
	}
	s[n.Digest] = e
}

// leave takes back what add counted for a child.
func (s sums) leave(parent digest.Digest, c layout.Child) {
	if c.Kind != layout.KindManifest {
		s[parent].own -= c.Size
		return
	}
	e := s[parent]
	if e.leftOut == nil {
		e.leftOut = map[digest.Digest]bool{}
	}
	e.leftOut[c.Digest] = true
}

func (s sums) total(d inner, manifest bool) int64 {
	e := s[d.digest]
	if !manifest || e == nil {
		return d.size
	}
	if !e.done {
		e.done = true
		for _, c := range e.children {
			if !e.leftOut[c.digest] {
				e.own = saturate(e.own, s.total(c, true))
			}
		}
		e.children, e.leftOut = nil, nil
	}
	return e.own
}

func saturate(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
