package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
)

// Bounds of what is kept of the texts in a bundle. Manifests may be as long as can be, and
// one may have any number of names.
const (
	// maxText bounds what is kept of a text that says what a manifest is, in bytes. No
	// media type is longer (RFC 6838, 4.2).
	maxText = 255

	// maxName bounds the names by which artifacts are mentioned, in bytes. No reference
	// is longer; what is has its digest in the place of it.
	maxName = 1 << 10
)

// none is the place of what has none.
const none = -1

// outline is what is in a bundle, each manifest once. It does not have the text of what a
// manifest lists: the manifest is read again when it is shown.
type outline struct {
	r         *bundle.Reader
	absent    layout.Absent
	entries   []entry // of the index, in its order
	nodes     []node
	at        map[digest.Digest]int32 // the first node of a digest
	configs   map[configKey]says
	referrers map[int32][]int32 // entries, by the node that they refer to
	sharing
}

// entry is what the outline adds to an entry of the index.
type entry struct {
	name  string
	node  int32 // none for a blob
	under int32 // the node that it refers to; none where it stands for itself
	shown bool
}

// node is a manifest that is there.
type node struct {
	digest    digest.Digest
	size      int64
	mediaType string
	subject   digest.Digest
	kind      string
	says
	next     int32   // another of the same digest, of another size or type; or none
	shownIn  int32   // the entry that shows it; or none
	waits    bool    // it will be shown behind that entry
	counted  int32   // the last entry for which its blobs were counted; or none
	visited  bool    // false until what it lists is known
	children []int32 // nodes, as far as it is found out who shares what
	blobs    []int32 // likewise, by their places in users
}

// says is what a manifest says of itself, in its config or its annotations.
type says struct{ title, platform string }

type configKey struct {
	digest digest.Digest
	size   int64
}

func (n *node) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: n.mediaType, Digest: n.digest, Size: n.size}
}

// newOutline reads all manifests of a bundle. Its errors are those of reading them, and
// of configs that say what an artifact is.
func newOutline(ctx context.Context, r *bundle.Reader, container string) (*outline, error) {
	o := &outline{
		r: r, absent: r.Absent(), at: map[digest.Digest]int32{}, configs: map[configKey]says{}, referrers: map[int32][]int32{},
		sharing: sharing{places: map[digest.Digest]int32{}, most: r.Blobs() + maxShared, left: maxMentions},
	}
	for i, e := range layout.ResolveNames(r.Index().Manifests) {
		name := layout.EntryName(e)
		if name != "" {
			if full, err := layout.CompleteName(e, container); err == nil { // otherwise it is shown as it is
				name = full
			}
		}
		place, err := o.root(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cmp.Or(name, e.Digest.String()), err)
		}
		o.entries = append(o.entries, entry{name: name, node: place, under: none})
		if place != none {
			o.countBelow(place, int32(i))
		} else if b := o.place(e.Digest); b != none {
			o.users[b].add(int32(i))
		}
	}
	for i := range o.entries {
		e := &o.entries[i]
		if e.node == none || e.name != "" || o.nodes[e.node].subject == "" {
			continue
		}
		if under, ok := o.at[o.nodes[e.node].subject]; ok {
			e.under = under
			o.referrers[under] = append(o.referrers[under], int32(i))
		}
	}
	return o, nil
}

// nameOf is what an artifact is called where it is mentioned.
func (o *outline) nameOf(i int32) string {
	if n := o.entries[i].name; n != "" && len(n) <= maxName {
		return n
	}
	return o.r.Index().Manifests[i].Digest.String()
}

// root visits the manifest of an entry, unless that was done, and gives its node.
func (o *outline) root(ctx context.Context, e ocispec.Descriptor) (int32, error) {
	if !layout.IsManifest(e.MediaType) {
		return none, nil
	}
	place := o.find(e)
	if place == none {
		place = o.add(e)
	}
	if o.nodes[place].visited {
		return place, nil
	}
	return place, o.visit(ctx, place, 0)
}

// find gives the node of a descriptor, or none.
func (o *outline) find(d ocispec.Descriptor) int32 {
	place, ok := o.at[d.Digest]
	if !ok {
		return none
	}
	for place != none && (o.nodes[place].size != d.Size || o.nodes[place].mediaType != d.MediaType) {
		place = o.nodes[place].next
	}
	return place
}

// add makes a node of a descriptor that has none.
func (o *outline) add(d ocispec.Descriptor) int32 {
	place := int32(len(o.nodes))
	o.nodes = append(o.nodes, node{digest: d.Digest, size: d.Size, mediaType: d.MediaType, next: none, shownIn: none, counted: none})
	if first, ok := o.at[d.Digest]; ok {
		o.nodes[place].next, o.nodes[first].next = o.nodes[first].next, place
	} else {
		o.at[d.Digest] = place
	}
	return place
}

func (o *outline) read(ctx context.Context, d ocispec.Descriptor) (*layout.Manifest, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	b, err := o.r.Config(ctx, d)
	if err != nil {
		return nil, err
	}
	m, err := layout.DecodeManifest(d, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", layout.ErrUntrusted, err)
	}
	return m, nil
}

// visit finds out what a manifest is, and what is below it. It does not hold the
// manifest while it goes on to others: nine large ones may lie in each other.
func (o *outline) visit(ctx context.Context, place int32, depth int) error {
	o.nodes[place].visited = true
	children, err := o.look(ctx, place, depth)
	if err != nil {
		return err
	}
	for _, c := range children {
		if !o.nodes[c.node].visited {
			if err := o.visit(ctx, c.node, depth+1); err != nil {
				return err
			}
		}
	}
	if layout.IsIndex(o.nodes[place].mediaType) {
		o.nodes[place].kind = short(o.indexKind(children))
	}
	return nil
}

// child is a manifest that an index lists and that is there.
type child struct {
	node     int32
	platform platformKind // as the index has it
}

type platformKind uint8

const (
	platformUnsaid platformKind = iota
	platformKnown
	platformUnknown // what a builder attests
)

func platformKindOf(platform string) platformKind {
	switch {
	case platform == "":
		return platformUnsaid
	case strings.HasPrefix(platform, "unknown/"):
		return platformUnknown
	}
	return platformKnown
}

// look reads a manifest, notes what it says, and gives its children.
func (o *outline) look(ctx context.Context, place int32, depth int) ([]child, error) {
	d := o.nodes[place].descriptor()
	m, err := o.read(ctx, d)
	if err != nil {
		return nil, err
	}
	kind := kindOf(d, m)
	s, err := o.describe(ctx, m, kind == "image")
	if err != nil {
		return nil, err
	}
	o.nodes[place].kind, o.nodes[place].says = short(kind), s
	if m.Subject != nil {
		o.nodes[place].subject = m.Subject.Digest
	}
	var children []child
	var nodes, blobs []int32
	for _, c := range m.Children() {
		if c.Kind != layout.KindManifest {
			if b := o.place(c.Digest); b != none && (len(blobs) == 0 || blobs[len(blobs)-1] != b) {
				blobs = append(blobs, b)
			}
			continue
		}
		if o.isAbsent(d, c) {
			continue
		}
		sub := o.find(c.Descriptor)
		if (sub == none || !o.nodes[sub].visited) && depth == layout.MaxIndexDepth {
			return nil, fmt.Errorf("%w: %w", layout.ErrUntrusted,
				layout.Errorf(layout.ClassGraph, "manifest %s is nested deeper than %d indexes", c.Digest, layout.MaxIndexDepth))
		}
		if sub == none {
			if ok, err := o.r.Has(ctx, c.Descriptor); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
			sub = o.add(c.Descriptor)
		}
		children = append(children, child{sub, platformKindOf(layout.FormatPlatform(c.Platform))})
		if !o.incomplete {
			nodes = append(nodes, sub)
		}
	}
	if o.spend(len(nodes) + len(blobs)) {
		o.nodes[place].children, o.nodes[place].blobs = nodes, blobs
	}
	return children, nil
}

func (o *outline) isAbsent(parent ocispec.Descriptor, c layout.Child) bool {
	_, out := o.absent[c.Digest]
	return out && layout.MayBeAbsent(parent, c)
}

// describe reads what a manifest says of itself. Thousands may have one config.
func (o *outline) describe(ctx context.Context, m *layout.Manifest, isImage bool) (says, error) {
	var s says
	if m.Config != nil && isRead(m.Config.MediaType) {
		key := configKey{m.Config.Digest, m.Config.Size}
		var ok bool
		if s, ok = o.configs[key]; !ok {
			config, err := o.r.Config(ctx, *m.Config)
			if err != nil {
				return s, err
			}
			s = says{short(configTitle(config)), short(layout.FormatPlatform(platformOf(config)))}
			o.configs[key] = s
		}
	}
	s.title = cmp.Or(s.title, short(annotatedTitle(m)))
	if !isImage {
		s.platform = ""
	}
	return s, nil
}

// indexKind says what is in an index, where all that is here of it is of one kind.
// What a builder attests, and what is left out, does not count.
func (o *outline) indexKind(children []child) string {
	kind := ""
	for _, c := range children {
		n := &o.nodes[c.node]
		switch p := cmp.Or(c.platform, platformKindOf(n.platform)); {
		case p == platformUnknown:
		case kind != "" && n.kind != kind:
			return "index"
		default:
			kind = n.kind
		}
	}
	return strings.TrimSpace(kind + " index")
}

// short is a text, or the beginning of a long one.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
