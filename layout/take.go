package layout

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TakeOptions are the options of [Take].
type TakeOptions struct {
	// Container is the name of the file or directory. It lends its name to entries
	// that have no full one; see [CompleteName].
	Container string
	// Only, where it is set, is the name or digest of the one artifact that is taken.
	Only string
	// Platforms, where there are any, are those that are taken; see [Select].
	Platforms []ocispec.Platform
	// NoReferrers leaves what belongs to the artifacts: what refers to them, and
	// tags of cosign's.
	NoReferrers bool
}

// Taken is what is taken of a layout.
type Taken struct {
	// Entries are the artifacts, with full names, and after them what belongs to
	// them.
	Entries []ocispec.Descriptor
	// Selections say what is taken of each artifact, in the order of the first of
	// the entries.
	Selections []Selection
	// Absent is what the entries lead to and is left out.
	Absent Absent
}

// Take finds the artifacts that an index.json names, whoever wrote it, and what
// belongs to them, under full names. What is not asked for may be damaged.
//
// Errors: [ErrNotFound] where the one artifact is not there, [ClassMissing] where what
// something refers to is not, those of [CompleteName], [Select] and [Walker], and those
// of src.
func Take(ctx context.Context, src Partial, entries []ocispec.Descriptor, o *TakeOptions) (Taken, error) {
	known, err := src.Absent()
	if err != nil {
		return Taken{}, err
	}
	t := &taker{src: src, o: o, known: known, of: map[digest.Digest]bool{}, left: map[digest.Digest]bool{}, selected: map[Root]bool{}, taken: Taken{Absent: maps.Clone(known)}}
	t.selector, t.graph = Selector{Source: src, Platforms: o.Platforms}, Graph{Source: src}
	if t.taken.Absent == nil {
		t.taken.Absent = Absent{}
	}
	if err := t.names(entries); err != nil {
		return Taken{}, err
	}
	artifacts, referrers, err := Artifacts(ctx, src, t.entries)
	if err != nil {
		return Taken{}, err
	}
	var tags []ocispec.Descriptor
	for _, e := range artifacts {
		switch {
		case IsCosignTag(e) && o.Only != EntryName(e):
			tags = append(tags, e)
		case t.asked(e):
			if err := t.root(ctx, e); err != nil {
				return Taken{}, fmt.Errorf("%s: %w", cmp.Or(EntryName(e), e.Digest.String()), err)
			}
		}
	}
	if o.Only != "" && len(t.taken.Entries) == 0 {
		return Taken{}, fmt.Errorf("%q: %w in its index.json", o.Only, ErrNotFound)
	}
	if len(artifacts) == 0 {
		return Taken{}, fmt.Errorf("artifacts: %w in its index.json", ErrNotFound)
	}
	err = t.attach(ctx, referrers, tags)
	return t.taken, err
}

type taker struct {
	src     Source
	o       *TakeOptions
	known   Absent // what src lacks
	entries []ocispec.Descriptor
	only    string                 // the full name of what is asked for
	of      map[digest.Digest]bool // indexes whose place one of their manifests takes
	left    map[digest.Digest]bool // manifests that are left out for the platforms, these indexes too
	taken   Taken

	selector Selector
	graph    Graph
	selected map[Root]bool // what was selected of
}

// names completes the names of all entries that matter. What has none is named when
// it is known whether it is an artifact.
func (t *taker) names(entries []ocispec.Descriptor) error {
	for _, e := range ResolveNames(entries) {
		name := EntryName(e)
		if name == "" {
			t.entries = append(t.entries, e)
			continue
		}
		full, err := CompleteName(e, t.o.Container)
		if err != nil {
			return err
		}
		if name == t.o.Only {
			t.only = full
		}
		e = Named(e, full)
		if t.asked(e) || IsCosignTag(e) {
			t.entries = append(t.entries, e)
		}
	}
	return nil
}

func (t *taker) asked(e ocispec.Descriptor) bool {
	name := EntryName(e)
	return t.o.Only == "" || t.o.Only == e.Digest.String() || name != "" && (name == t.o.Only || name == t.only)
}

func (t *taker) root(ctx context.Context, e ocispec.Descriptor) error {
	sel, err := t.selector.Select(ctx, e)
	if err != nil {
		return err
	}
	if !t.selected[RootOf(e)] {
		t.selected[RootOf(e)] = true
		for d := range sel.Absent {
			t.left[d] = true
		}
		if sel.Of != nil {
			t.of[sel.Of.Digest], t.left[sel.Of.Digest] = true, true
		} else {
			maps.Copy(t.taken.Absent, sel.Absent)
		}
	}
	full, err := CompleteName(e, t.o.Container)
	if err != nil {
		return err
	}
	t.taken.Entries = append(t.taken.Entries, sel.Entry(full, nil))
	t.taken.Selections = append(t.taken.Selections, sel)
	return nil
}

// share takes back what one artifact leaves out for the platforms and another brings.
func (t *taker) share(ctx context.Context) error {
	if len(t.taken.Selections) < 2 || len(t.taken.Absent) == len(t.known) {
		return nil
	}
	// What is left out for the platforms are manifests.
	type carried struct {
		Root
		whole bool
	}
	brought, left, once := map[digest.Digest]bool{}, map[digest.Digest]bool{}, map[carried]bool{}
	g := &t.graph
	g.LeftOut = func(d digest.Digest) { left[d] = true }
	g.Visit = func(v Vertex) error {
		brought[v.Digest] = true
		return nil
	}
	for i, sel := range t.taken.Selections {
		if g.Without = nil; sel.Of == nil {
			g.Without = sel.Absent
		}
		key := carried{RootOf(t.taken.Entries[i]), len(g.Without) == 0}
		if once[key] {
			continue
		}
		once[key] = true
		g.Renew()
		if err := g.Walk(ctx, t.taken.Entries[i]); err != nil {
			return err
		}
	}
	maps.DeleteFunc(t.taken.Absent, func(d digest.Digest, _ struct{}) bool {
		_, before := t.known[d]
		return !before && (brought[d] || !left[d])
	})
	return nil
}

// attach adds what belongs to the artifacts. Tags of cosign's that belong to nothing
// here are artifacts like others, unless what they belong to was left for one
// platform of it.
func (t *taker) attach(ctx context.Context, referrers, tags []ocispec.Descriptor) error {
	find := func() ([]ocispec.Descriptor, error) {
		if err := t.share(ctx); err != nil {
			return nil, err
		}
		return Attached(ctx, WithAbsent(t.src, t.taken.Absent), t.taken.Entries, slices.Concat(referrers, tags))
	}
	attached, err := find()
	if err != nil {
		return err
	}
	has := setOf(attached)
	uncovered := map[digest.Digest][]digest.Digest{} // by index
	alone := false
	for _, e := range tags {
		subject := CosignSubject(tagOf(EntryName(e)))
		switch {
		case has[nameOf(e)]:
		case t.of[subject]:
			uncovered[subject] = append(uncovered[subject], e.Digest)
		case t.left[subject]: // it belongs to a platform that was not asked for
		case t.o.Only == "":
			t.taken.Entries = append(t.taken.Entries, e)
			t.taken.Selections = append(t.taken.Selections, Selection{Root: e})
			alone = true
		}
	}
	if alone { // something may belong to these in turn
		if attached, err = find(); err != nil {
			return err
		}
		there := setOf(t.taken.Entries)
		attached = slices.DeleteFunc(attached, func(d ocispec.Descriptor) bool { return there[nameOf(d)] })
		has = setOf(attached)
	}
	subjects := map[digest.Digest]digest.Digest{} // of the referrers that belong to nothing here
	for _, e := range referrers {
		s, err := t.graph.Subject(ctx, e)
		if err != nil {
			return err
		}
		if has[nameOf(e)] {
			continue
		}
		if subjects[e.Digest] = s; t.of[s] {
			uncovered[s] = append(uncovered[s], e.Digest)
		}
	}
	if t.o.NoReferrers {
		return nil
	}
	if t.o.Only == "" {
		if err := t.orphan(subjects, tags); err != nil {
			return err
		}
	}
	for i, sel := range t.taken.Selections {
		if sel.Of != nil && len(uncovered[sel.Of.Digest]) > 0 {
			t.taken.Entries[i] = sel.Entry(EntryName(t.taken.Entries[i]), uncovered[sel.Of.Digest])
		}
	}
	t.taken.Entries = append(t.taken.Entries, attached...)
	return nil
}

// orphan refuses a referrer that would be left out and that nobody has left out: what it
// refers to is not there. subjects are those of the referrers in question.
func (t *taker) orphan(subjects map[digest.Digest]digest.Digest, tags []ocispec.Descriptor) error {
	belongs := map[digest.Digest][]digest.Digest{}
	for _, e := range tags {
		subject := CosignSubject(EntryTag(e))
		belongs[subject] = append(belongs[subject], e.Digest)
	}
	for d, s := range subjects {
		belongs[s] = append(belongs[s], d)
	}
	out := map[digest.Digest]bool{} // what is left out for the platforms, and what belongs to it
	todo := slices.Concat(slices.Collect(maps.Keys(t.left)), slices.Collect(maps.Keys(t.taken.Absent)))
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !out[d] {
			out[d] = true
			todo = append(todo, belongs[d]...)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(subjects)) {
		if !out[d] {
			return Errorf(ClassMissing, "%s refers to %s, which is not there: bring that, take artifacts by their names, or leave all that refers to others (--no-referrers)", d, subjects[d])
		}
	}
	return nil
}
