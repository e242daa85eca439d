package main

import (
	"cmp"
	"context"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

const (
	// maxNested bounds how deeply what is shown lies in something else: indexes as deep as
	// they may nest, and what refers to them. What lies deeper is shown for itself: each
	// line of a chain without end would be longer than the one before.
	maxNested = 2 * layout.MaxIndexDepth

	// maxHeld bounds the children of an index that are held while they are shown, one of
	// them after the other. Then the index is read again for the next.
	maxHeld = 1_000
)

// The lists that a manifest may stand in.
const (
	listArtifacts = "artifacts"
	listManifests = "manifests"
	listReferrers = "referrers"
	listBlobs     = "blobs"
)

// view shows manifests one after the other as they are told, each within those that
// have begun and not ended. Its output keeps the first error.
type view interface {
	begin(list string, m *inspectedManifest)
	blob(b *inspectedBlob)
	end()
}

// tree goes through an outline, and shows each manifest once.
type tree struct {
	*outline
	to    view
	later []flat
}

// flat is what is in no other: an artifact, or what lies too deep in one and is shown
// behind it. That is an entry that refers to something, or a manifest of an index.
type flat struct {
	entry int32 // the entry, or that in which the manifest lies
	node  int32 // none for an entry
}

// show shows all of a bundle. Its errors are those of reading the manifests again.
func (o *outline) show(ctx context.Context, to view) error {
	t := &tree{outline: o, to: to}
	for i, e := range o.entries {
		if e.under == none {
			if err := t.root(ctx, flat{int32(i), none}); err != nil {
				return err
			}
		}
	}
	// An index may refer to what is in nothing but itself.
	for i, e := range o.entries {
		if !e.shown {
			if err := t.root(ctx, flat{int32(i), none}); err != nil {
				return err
			}
		}
	}
	return nil
}

// root shows an artifact, and behind it what lies too deep in it.
func (t *tree) root(ctx context.Context, f flat) error {
	t.later = append(t.later, f)
	for len(t.later) > 0 {
		f, t.later = t.later[0], t.later[1:]
		if f.node == none {
			if err := t.entry(ctx, listArtifacts, f.entry, 0); err != nil {
				return err
			}
			continue
		}
		n := &t.nodes[f.node]
		n.shownIn, n.waits = none, false
		m := t.mention(n.descriptor(), f.node)
		if err := t.manifest(ctx, listArtifacts, &m, f.node, f.entry, 0); err != nil {
			return err
		}
	}
	return nil
}

// entry shows an entry of the index.
func (t *tree) entry(ctx context.Context, list string, i int32, depth int) error {
	e, d := &t.entries[i], t.r.Index().Manifests[i]
	e.shown = true
	m := t.mention(d, e.node)
	m.Reference = e.name
	m.PlatformOf, m.Uncovered = layout.PlatformOf(d)
	if list == listArtifacts && e.under != none {
		m.Subject = t.nodes[e.under].digest
	}
	return t.manifest(ctx, list, &m, e.node, i, depth)
}

// mention is what can be said of a manifest without reading it.
func (t *tree) mention(d ocispec.Descriptor, place int32) inspectedManifest {
	m := inspectedManifest{
		Kind: kindOf(d, nil), Digest: d.Digest, MediaType: d.MediaType, Size: d.Size,
		ArtifactType: short(d.ArtifactType), Platform: short(layout.FormatPlatform(d.Platform)),
	}
	if place != none {
		n := &t.nodes[place]
		m.Kind, m.Title, m.Platform = n.kind, n.title, cmp.Or(m.Platform, n.platform)
	}
	return m
}

// manifest shows a manifest, and what is in it unless that is shown elsewhere.
func (t *tree) manifest(ctx context.Context, list string, m *inspectedManifest, place, self int32, depth int) error {
	if place == none || t.isElsewhere(m, place, self, depth) {
		t.line(list, m)
		return nil
	}
	n := &t.nodes[place]
	n.shownIn = self
	d := n.descriptor()
	man, err := t.read(ctx, d)
	if err != nil {
		return err
	}
	m.ArtifactType = cmp.Or(man.ArtifactType, m.ArtifactType)
	t.to.begin(list, m)
	defer t.to.end()
	t.blobs(d, man, self)
	for from := 0; from != none; {
		if man == nil {
			if man, err = t.read(ctx, d); err != nil {
				return err
			}
		}
		var held []heldChild
		held, from = t.children(d, man, from, self, depth+1)
		man = nil // large indexes may lie in each other
		for i := range held {
			if err := t.manifest(ctx, listManifests, &held[i].inspectedManifest, held[i].node, self, depth+1); err != nil {
				return err
			}
		}
	}
	return t.below(ctx, place, depth)
}

// line shows a manifest without what is in it.
func (t *tree) line(list string, m *inspectedManifest) {
	m.ArtifactType = "" // it is not known of what was not read
	t.to.begin(list, m)
	t.to.end()
}

// isElsewhere reports whether what is in a manifest is not shown here, and says where it
// is.
func (t *tree) isElsewhere(m *inspectedManifest, place, self int32, depth int) bool {
	n := &t.nodes[place]
	if n.shownIn == none {
		if depth <= maxNested {
			return false
		}
		n.shownIn, n.waits = self, true
		t.later = append(t.later, flat{self, place})
	}
	m.As = t.nameOf(n.shownIn)
	switch {
	case n.waits:
		m.where = "below"
	case n.shownIn == self:
		m.where = "as above"
	case t.entries[n.shownIn].node == place:
		m.where = "as " + m.As
	default:
		m.where = "as in " + m.As
	}
	return true
}

// below shows what refers to a manifest.
func (t *tree) below(ctx context.Context, place int32, depth int) error {
	for _, i := range t.referrers[place] {
		if depth == maxNested {
			t.later = append(t.later, flat{i, none})
		} else if err := t.entry(ctx, listReferrers, i, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// blobs shows the blobs that a manifest lists.
func (t *tree) blobs(d ocispec.Descriptor, man *layout.Manifest, self int32) {
	children := man.Children()
	for i, times := range repeats(children) {
		c := &children[i]
		if times == 0 || c.Kind == layout.KindManifest {
			continue
		}
		b := inspectedBlob{
			Title: titleIn(c), MediaType: c.MediaType, Digest: c.Digest, Size: c.Size,
			Config: c.Kind == layout.KindConfig, Absent: t.isAbsent(d, *c), Times: moreThanOnce(times),
		}
		t.share(&b, self)
		t.to.blob(&b)
	}
}

func titleIn(c *layout.Child) string { return c.Annotations[ocispec.AnnotationTitle] }

// heldChild is a manifest of an index, and its node or none.
type heldChild struct {
	inspectedManifest
	node int32
}

// children shows manifests that an index lists, from one on, until it comes to one that
// has to be read. It gives that and some behind it, and where the next is, or none.
func (t *tree) children(d ocispec.Descriptor, man *layout.Manifest, from int, self int32, depth int) (held []heldChild, next int) {
	children := man.Children()
	times := repeats(children)
	for i := from; i < len(children); i++ {
		c := &children[i]
		if times[i] == 0 || c.Kind != layout.KindManifest {
			continue
		}
		if len(held) == maxHeld {
			return held, i
		}
		h := heldChild{node: none}
		absent := t.isAbsent(d, *c)
		if !absent {
			h.node = t.find(c.Descriptor)
		}
		h.inspectedManifest = t.mention(c.Descriptor, h.node)
		h.Absent, h.Missing, h.Times = absent, !absent && h.node == none, moreThanOnce(times[i])
		if len(held) == 0 && (h.node == none || t.isElsewhere(&h.inspectedManifest, h.node, self, depth)) {
			t.line(listManifests, &h.inspectedManifest)
			continue
		}
		held = append(held, h)
	}
	return held, none
}

// moreThanOnce leaves out what goes without saying.
func moreThanOnce(n int) int {
	if n == 1 {
		return 0
	}
	return n
}

// repeats tells of each child how often it is listed, and 0 where that was told before.
func repeats(children []layout.Child) []int {
	order := make([]int, len(children))
	for i := range order {
		order[i] = i
	}
	compare := func(a, b *layout.Child) int {
		if c := cmp.Compare(a.Digest, b.Digest); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Size, b.Size),
			cmp.Compare(a.MediaType, b.MediaType), cmp.Compare(titleIn(a), titleIn(b)),
			cmp.Compare(layout.FormatPlatform(a.Platform), layout.FormatPlatform(b.Platform)))
	}
	slices.SortStableFunc(order, func(i, j int) int { return compare(&children[i], &children[j]) })
	times := make([]int, len(children))
	first := 0
	for k, i := range order {
		if compare(&children[order[first]], &children[i]) != 0 {
			first = k
		}
		times[order[first]]++
	}
	return times
}
