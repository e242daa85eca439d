package layout

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxFollowed bounds how often a [Graph] goes from a manifest to what it lists, each time
// counted for each root: thousands of indexes that all lead to one of thousands of
// manifests fit into a small file. A thousand artifacts of ten thousand blobs each have
// as many.
const MaxFollowed = 10_000_000

// Root is what a walk below an entry depends on. Under how many names it stands makes
// no difference.
type Root struct {
	digest    digest.Digest
	size      int64
	mediaType string
	platform  string // that the entry tells, which [Select] looks at
}

// RootOf gives the root that an entry is.
func RootOf(d ocispec.Descriptor) Root {
	r := Root{digest: d.Digest, size: d.Size, mediaType: d.MediaType}
	if p := d.Platform; p != nil {
		r.platform = strings.Join(append([]string{p.OS, p.Architecture, p.Variant, p.OSVersion}, p.OSFeatures...), "\x00")
	}
	return r
}

// Graph walks below many roots, each on its own. It remembers what manifests list, and
// so reads each of them once however many roots lead to it.
//
// What a [Partial] source is meant to lack is left out.
//
// A Graph is for one goroutine.
type Graph struct {
	Source Source
	// Blobs has it visit blobs too. Otherwise it knows manifests only.
	Blobs bool

	// Without are manifests that are left out beside what the source lacks.
	Without Absent

	// Visit is called for each manifest, before what it lists, and for each blob.
	Visit func(Vertex) error
	// Leave, where it is set, is called for a manifest after what it lists.
	Leave func(Vertex)
	// LeftOut, where it is set, is called for what is left out.
	LeftOut func(digest.Digest)

	walker   Walker // that reads
	places   map[visited]int32
	vertices []vertex
	followed int
	walk     int32 // the number of the walk
}

// Vertex is what a [Graph] tells of a manifest or a blob.
type Vertex struct {
	MediaType string // of a manifest
	Digest    digest.Digest
	Size      int64
	Kind      Kind
	Subject   digest.Digest // what a manifest refers to, or ""
}

type vertex struct {
	mediaType string
	digest    digest.Digest
	size      int64
	kind      Kind
	walk      int32    // the last one that came here
	list      *listing // of a manifest that has been read
}

// listing is what a manifest lists, each once.
type listing struct {
	subject  digest.Digest
	children []int32 // places of vertices
	leftOut  []digest.Digest
}

// Renew begins another walk, which visits everything anew.
func (g *Graph) Renew() { g.walk++ }

// Walk visits what is below root and was not visited since [Graph.Renew], in the order
// of a [Walker].
//
// Errors: those of [Walker], and [ClassLimit] over [MaxFollowed].
func (g *Graph) Walk(ctx context.Context, root ocispec.Descriptor) error {
	if err := g.begin(); err != nil {
		return err
	}
	k := KindBlob
	if IsManifest(root.MediaType) {
		k = KindManifest
	} else if !g.Blobs {
		return nil
	}
	return g.visit(ctx, g.place(Child{root, k}), 0)
}

// Subject gives what a manifest refers to, or "", as [SubjectOf] does.
func (g *Graph) Subject(ctx context.Context, d ocispec.Descriptor) (digest.Digest, error) {
	if !IsManifest(d.MediaType) {
		return "", nil
	}
	if err := g.begin(); err != nil {
		return "", err
	}
	list, err := g.list(ctx, g.place(Child{d, KindManifest}))
	if err != nil {
		return "", err
	}
	return list.subject, nil
}

func (g *Graph) begin() error {
	if g.places != nil {
		return nil
	}
	g.walker = Walker{Source: g.Source}
	if err := g.walker.begin(); err != nil {
		return err // the next walk asks again
	}
	g.places = map[visited]int32{}
	g.walk++
	return nil
}

// place finds the vertex of a child, and adds it where there is none.
func (g *Graph) place(c Child) int32 {
	key := keyOf(c)
	i, ok := g.places[key]
	if !ok {
		i = int32(len(g.vertices))
		g.places[key] = i
		v := vertex{digest: c.Digest, size: c.Size, kind: c.Kind}
		if key.as > 0 {
			v.mediaType = manifestTypes[key.as-1] // one text for all of them
		}
		g.vertices = append(g.vertices, v)
	}
	return i
}

func (g *Graph) visit(ctx context.Context, i int32, depth int) error {
	v := &g.vertices[i]
	if v.walk == g.walk {
		return nil
	}
	v.walk = g.walk // before more vertices move it
	out := Vertex{MediaType: v.mediaType, Digest: v.digest, Size: v.size, Kind: v.kind}
	if v.kind != KindManifest {
		return g.Visit(out)
	}
	if err := checkDepth(out.Digest, depth); err != nil {
		return err
	}
	list, err := g.list(ctx, i)
	if err != nil {
		return err
	}
	if g.followed += len(list.children) + len(list.leftOut); g.followed > MaxFollowed {
		return Errorf(ClassLimit, "the manifests below all entries list more than %d others and blobs, each counted for each entry that leads there", MaxFollowed)
	}
	out.Subject = list.subject
	if err := g.Visit(out); err != nil {
		return err
	}
	if g.LeftOut != nil {
		for _, d := range list.leftOut {
			g.LeftOut(d)
		}
	}
	for _, c := range list.children {
		child := &g.vertices[c]
		if _, without := g.Without[child.digest]; without && child.kind == KindManifest {
			if g.LeftOut != nil {
				g.LeftOut(child.digest)
			}
			continue
		}
		if err := g.visit(ctx, c, depth+1); err != nil {
			return err
		}
	}
	if g.Leave != nil {
		g.Leave(out)
	}
	return nil
}

// list gives what a manifest lists.
func (g *Graph) list(ctx context.Context, i int32) (*listing, error) {
	v := g.vertices[i]
	if v.list != nil {
		return v.list, nil
	}
	d := ocispec.Descriptor{MediaType: v.mediaType, Digest: v.digest, Size: v.size}
	n, err := g.walker.read(ctx, Child{d, KindManifest}, lineage{})
	if err != nil {
		return nil, err
	}
	list := &listing{}
	if s := n.Manifest.Subject; s != nil {
		list.subject = s.Digest
	}
	once := map[int32]bool{}
	for _, c := range n.Manifest.Children() {
		if g.walker.lacks(d, c) {
			list.leftOut = append(list.leftOut, c.Digest)
			continue
		}
		if c.Kind != KindManifest && !g.Blobs {
			continue
		}
		if i := g.place(c); !once[i] {
			once[i] = true
			list.children = append(list.children, i)
		}
	}
	list.children = slices.Clip(list.children)
	g.vertices[i].list = list
	return list, nil
}
