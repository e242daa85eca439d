package mirror

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Target is an artifact and where it goes.
type Target struct {
	Source     string // the name it has in the bundle
	Descriptor ocispec.Descriptor
	Reference  layout.Reference // without a tag it is pushed by its digest
}

// Mapping replaces the beginning of a name: the names that are From, or go on
// after it with /, : or @, become To and the rest.
type Mapping struct{ From, To string }

// ParseMapping reads FROM=TO.
func ParseMapping(s string) (Mapping, error) {
	from, to, ok := strings.Cut(s, "=")
	from = strings.TrimSuffix(from, "/")
	if !ok || from == "" {
		return Mapping{}, layout.Errorf(layout.ClassName, "mapping %q: write it as FROM=TO, for example ghcr.io/acme=platform", s)
	}
	return Mapping{from, strings.Trim(to, "/")}, nil
}

func (m Mapping) apply(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, m.From)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], "/:@") {
		return "", false
	}
	return strings.TrimPrefix(m.To+rest, "/"), true
}

// Destination says how the names in a bundle become names in a registry.
type Destination struct {
	Registry string // host or host:port
	Prefix   string // path that goes before all repositories; may be empty
	KeepHost bool   // keep the source's host as the first part of the path
	Map      []Mapping
	LeftOut  []string // names that go nowhere, which a mapping may be meant for
	// Container is the name of the file or directory that the names come from, which
	// lends it to entries without a full one; see [layout.CompleteName]. It may be
	// empty: then such entries are refused, unless a mapping places them.
	Container string
}

// ParseDestination reads REGISTRY[/PREFIX].
func ParseDestination(s string) (Destination, error) {
	host, prefix, _ := strings.Cut(strings.TrimSuffix(s, "/"), "/")
	check := host + "/x"
	if prefix != "" {
		check = host + "/" + prefix
	}
	if _, err := layout.ParseReference(check); err != nil || strings.ContainsAny(prefix, ":@") {
		return Destination{}, layout.Errorf(layout.ClassName, "%q is no destination: write it as REGISTRY[/PREFIX], for example registry.internal:5000/mirror", s)
	}
	return Destination{Registry: host, Prefix: prefix}, nil
}

// Targets gives each artifact its place. The longest mapping that fits a name
// decides; without one, the name's host is dropped. What cosign keeps under a tag
// beside an artifact goes where the artifact goes, since it is looked for there.
//
// Errors: [layout.ClassName] for an entry without a full reference and for a
// name that no registry takes, [layout.ClassPolicy] where two artifacts
// would have one name, and for a mapping that fits no name: it is mistyped, and
// what it was meant for would go to another place; and those of src.
func (d Destination) Targets(ctx context.Context, src layout.Source, artifacts []ocispec.Descriptor) ([]Target, error) {
	for _, m := range d.Map {
		fits := func(name string) bool { _, ok := m.apply(name); return ok }
		entry := func(e ocispec.Descriptor) bool { return fits(layout.EntryName(e)) }
		if !slices.ContainsFunc(artifacts, entry) && !slices.ContainsFunc(d.LeftOut, fits) {
			return nil, layout.Errorf(layout.ClassPolicy, "the mapping %s=%s fits no name in the bundle: see airdeck inspect", m.From, m.To)
		}
	}
	companions, err := layout.Companions(ctx, src, artifacts)
	if err != nil {
		return nil, err
	}
	p := &placer{d: d, artifacts: artifacts, companions: companions, placed: map[int][]layout.Reference{}, taken: map[string]Target{}}
	for i := range artifacts {
		if err := p.add(i); err != nil {
			return nil, err
		}
	}
	return p.out, nil
}

// placer gathers the targets.
type placer struct {
	d          Destination
	artifacts  []ocispec.Descriptor
	companions map[int][]int
	placed     map[int][]layout.Reference // by artifact
	taken      map[string]Target
	out        []Target
}

func (p *placer) add(i int) error {
	e := p.artifacts[i]
	refs, err := p.places(i)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		t := Target{Source: cmp.Or(layout.EntryName(e), e.Digest.String()), Descriptor: e, Reference: ref}
		key := ref.String()
		if other, ok := p.taken[key]; ok {
			if other.Descriptor.Digest == e.Digest {
				continue
			}
			return layout.Errorf(layout.ClassPolicy, "%s and %s would both become %s: set them apart with --keep-host or --map", other.Source, t.Source, ref)
		}
		p.taken[key] = t
		p.out = append(p.out, t)
	}
	return nil
}

// places gives the references that an artifact becomes: one, but for what belongs to
// artifacts that go to several repositories.
func (p *placer) places(i int) ([]layout.Reference, error) {
	if refs, ok := p.placed[i]; ok {
		return refs, nil
	}
	own, err := p.own(p.artifacts[i])
	if err != nil {
		return nil, err
	}
	// Until it is known better, and so that a circle ends.
	p.placed[i] = []layout.Reference{own}
	if p.mapped(layout.EntryName(p.artifacts[i])) {
		return p.placed[i], nil
	}
	var refs []layout.Reference
	for _, subject := range p.companions[i] {
		beside, err := p.places(subject)
		if err != nil {
			return nil, err
		}
		for _, b := range beside {
			ref := layout.Reference{Registry: b.Registry, Repository: b.Repository, Tag: own.Tag}
			if !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	if refs != nil {
		p.placed[i] = refs
	}
	return p.placed[i], nil
}

// mapped reports whether the operator has named a place for exactly this.
func (p *placer) mapped(name string) bool {
	return slices.ContainsFunc(p.d.Map, func(m Mapping) bool { return m.From == name })
}

// own is the place of an artifact by its name alone.
func (p *placer) own(e ocispec.Descriptor) (layout.Reference, error) {
	name := layout.EntryName(e)
	if p.d.Container != "" && !slices.ContainsFunc(p.d.Map, func(m Mapping) bool { _, ok := m.apply(name); return ok }) {
		var err error
		if name, err = layout.CompleteName(e, p.d.Container); err != nil {
			return layout.Reference{}, err
		}
	}
	if name == "" {
		return layout.Reference{}, layout.Errorf(layout.ClassName, "the entry %s has no reference: it does not say where it belongs", e.Digest)
	}
	ref, err := p.d.place(name)
	if err != nil {
		return ref, err
	}
	if ref.Digest != "" && ref.Digest != e.Digest {
		return ref, layout.Errorf(layout.ClassPolicy, "the entry %q is %s: its name and its digest contradict each other", name, e.Digest)
	}
	if ref.Tag != "" {
		ref.Digest = "" // it is met, and the tag is what is set
	}
	return ref, nil
}

func (d Destination) place(name string) (layout.Reference, error) {
	var path string
	best := -1
	for _, m := range d.Map {
		if p, ok := m.apply(name); ok && len(m.From) > best {
			path, best = p, len(m.From)
		}
	}
	if best < 0 {
		ref, err := layout.ParseReference(name)
		if err != nil {
			return ref, fmt.Errorf("%w: give it a place with --map %s=REPOSITORY:TAG", err, name)
		}
		path = strings.TrimPrefix(ref.String(), ref.Registry+"/")
		if d.KeepHost {
			// A port is no part of a repository's name.
			path = strings.ReplaceAll(ref.Registry, ":", "-") + "/" + path
		}
	}
	if d.Prefix != "" {
		path = d.Prefix + "/" + path
	}
	ref, err := layout.ParseReference(d.Registry + "/" + path)
	if err != nil {
		return ref, fmt.Errorf("%s has no place in the registry: %w", name, err)
	}
	return ref, nil
}
