package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations with which BuildKit lists an attestation in an index:
// https://github.com/moby/buildkit/blob/v0.26.0/docs/attestations/attestation-storage.md
const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
)

// anyOS is what Zarf writes as the operating system of its packages.
const anyOS = "multi"

// ParsePlatforms reads OS/ARCH[/VARIANT], several of them separated by commas. The
// words and their aliases are those of containerd. An operating system or an
// architecture that is not said would be that of this machine, which is not the
// one that counts, so both must be there.
//
// Error: [ClassName].
func ParsePlatforms(s string) ([]ocispec.Platform, error) {
	var out []ocispec.Platform
	for one := range strings.SplitSeq(s, ",") {
		one = strings.TrimSpace(one)
		p, err := platforms.Parse(one)
		if err != nil || !strings.Contains(one, "/") {
			return nil, Errorf(ClassName, "platform %q: write it as OS/ARCH or OS/ARCH/VARIANT, for example linux/arm64", clip(one))
		}
		out = append(out, p)
	}
	return out, nil
}

// FormatPlatform writes OS/ARCH[/VARIANT], and "" for none.
func FormatPlatform(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return strings.TrimRight(strings.Join([]string{p.OS, p.Architecture, p.Variant}, "/"), "/")
}

// Selection is what is carried of an artifact for certain platforms.
type Selection struct {
	// Root is carried: the artifact, or the one manifest of an index that matches.
	Root ocispec.Descriptor
	// Of is the index where Root is a manifest of it, and nil otherwise.
	Of *ocispec.Descriptor
	// Absent are the manifests below the artifact that are left out.
	Absent Absent
	// Left are the attestations of Root that a builder put into the index, where Root
	// takes its place.
	Left []digest.Digest
	// Lacking are the platforms that the artifact does not have.
	Lacking []ocispec.Platform
}

// Entry is what stands in an index.json for the selection, under the reference of the
// artifact. Where one manifest of an index is carried in the place of the index,
// it says so, and lists what belongs to the index and so does not cover what is
// carried: what refers to it, and what is left; a digest in the reference becomes
// that of the manifest.
func (s Selection) Entry(name string, uncovered []digest.Digest) ocispec.Descriptor {
	if s.Of == nil {
		return Named(s.Root, name)
	}
	if ref, err := ParseReference(name); err == nil && ref.Digest == s.Of.Digest {
		ref.Digest = s.Root.Digest
		name = ref.String()
	}
	d := Named(s.Root, name)
	d.Annotations[AnnotationPlatformOf] = s.Of.Digest.String()
	if uncovered = slices.Concat(s.Left, uncovered[:min(len(uncovered), MaxUncovered)]); len(uncovered) > 0 {
		d.Annotations[AnnotationUncovered] = JoinDigests(uncovered[:min(len(uncovered), MaxUncovered)])
	}
	return d
}

// MaxUncovered bounds what [AnnotationUncovered] lists. Whoever can write to a
// repository can make up any number of referrers.
const MaxUncovered = 100

// PlatformOf reads what [Selection.Entry] wrote: the index of which the entry is
// one platform, or "", and what belongs to that index.
func PlatformOf(d ocispec.Descriptor) (index digest.Digest, uncovered []digest.Digest) {
	index = digest.Digest(d.Annotations[AnnotationPlatformOf])
	if CheckDigest(index) != nil {
		return "", nil
	}
	if text := d.Annotations[AnnotationUncovered]; text != "" {
		uncovered, _ = ParseDigests(text) // it informs, and decides nothing
	}
	return index, uncovered
}

// Select finds out what is carried of an artifact for the platforms that are
// wanted; it reads no more than indexes, and of images whose index does not tell
// their platform, the configs.
//
// Of an index the manifests that match are carried, those that have no platform,
// and what a builder attests of them. If nothing has to be left out for that, the
// index is carried whole; if a single manifest is to be carried, and it matches, it
// takes the place of the index; otherwise the index is carried with manifests
// missing. What is no image has no platform, and is carried. What a [Partial]
// source lacks is not there to be chosen.
//
// Errors: [ClassMissing] with the platforms there are where none is wanted, those
// of src and of [DecodeManifest].
func Select(ctx context.Context, src Source, root ocispec.Descriptor, want []ocispec.Platform) (Selection, error) {
	s := Selector{Source: src, Platforms: want}
	return s.Select(ctx, root)
}

// MaxReread bounds the indexes that a [Selector] reads again because they lie below
// several roots, in bytes, each counted with at least 64 KiB. Indexes in indexes are
// rare, and those that several share rarer.
const MaxReread = 64 << 20

// Selector is [Select] for many artifacts, which may be one under many names or share
// what is below them.
//
// It is for one goroutine.
type Selector struct {
	Source    Source
	Platforms []ocispec.Platform

	known   map[Root]Selection
	configs map[digest.Digest]*ocispec.Platform // by manifest
	indexes map[digest.Digest]bool              // that were read
	reread  int64
}

// Select is the function of that name. Selections of one root share what they leave out.
//
// Errors: those of the function, and [ClassLimit] over [MaxReread].
func (l *Selector) Select(ctx context.Context, root ocispec.Descriptor) (Selection, error) {
	if sel, ok := l.known[RootOf(root)]; ok {
		if sel.Of == nil {
			sel.Root = root
		} else {
			sel.Of = &root
		}
		return sel, nil
	}
	if l.known == nil {
		l.known, l.configs, l.indexes = map[Root]Selection{}, map[digest.Digest]*ocispec.Platform{}, map[digest.Digest]bool{}
	}
	s := &selector{
		Selector: l, sel: Selection{Root: root, Absent: Absent{}}, met: make([]bool, len(l.Platforms)),
		listed: map[string]bool{}, matches: map[digest.Digest]bool{}, carried: map[digest.Digest]bool{}, below: map[digest.Digest]bool{},
	}
	sel, err := s.root(ctx, root)
	if err == nil {
		l.known[RootOf(root)] = sel
	}
	return sel, err
}

// root makes the selection.
func (s *selector) root(ctx context.Context, root ocispec.Descriptor) (Selection, error) {
	want := s.Platforms
	if len(want) == 0 {
		return s.sel, nil
	}
	if p, ok := s.Source.(Partial); ok {
		var err error
		if s.lacking, err = p.Absent(); err != nil {
			return s.sel, err
		}
	}
	if _, err := s.manifest(ctx, root, 0); err != nil {
		return s.sel, err
	}
	// A manifest may be listed for several platforms, in several indexes.
	maps.DeleteFunc(s.sel.Absent, func(d digest.Digest, _ struct{}) bool { return s.carried[d] })
	if len(s.matched) == 0 && (len(s.have) > 0 || len(s.carried) == 0 && len(s.sel.Absent) > 0) {
		return s.sel, Errorf(ClassMissing, "there is nothing for %s: it has %s", formatPlatforms(want), cmp.Or(strings.Join(s.have, ", "), "no platform here"))
	}
	for i, ok := range s.met {
		if !ok && len(s.have) > 0 {
			s.sel.Lacking = append(s.sel.Lacking, want[i])
		}
	}
	if len(s.sel.Absent) > 0 && len(s.matched) == 1 && !s.others {
		one := s.matched[0]
		s.sel.Root = ocispec.Descriptor{MediaType: one.MediaType, Digest: one.Digest, Size: one.Size, ArtifactType: one.ArtifactType}
		s.sel.Of, s.sel.Left = &root, s.attestations
	}
	return s.sel, nil
}

func formatPlatforms(ps []ocispec.Platform) string {
	text := make([]string, len(ps))
	for i := range ps {
		text[i] = FormatPlatform(&ps[i])
	}
	return strings.Join(text, " or ")
}

// selector makes one selection.
type selector struct {
	*Selector
	lacking Absent // what the source is meant to lack
	sel     Selection

	met          []bool          // by wanted platform: something matched
	have         []string        // platforms that there are
	listed       map[string]bool // those among them
	matched      []ocispec.Descriptor
	matches      map[digest.Digest]bool // those among them
	others       bool                   // something that has no platform is carried
	attestations []digest.Digest
	carried      map[digest.Digest]bool
	below        map[digest.Digest]bool // of indexes that were looked at: something at or below it is carried
}

// manifest reports whether anything at or below d is carried, attestations not
// counted, and notes what is not as absent.
func (s *selector) manifest(ctx context.Context, d ocispec.Descriptor, depth int) (bool, error) {
	if _, out := s.lacking[d.Digest]; out && depth > 0 {
		s.sel.Absent[d.Digest] = struct{}{}
		return false, nil
	}
	if !IsIndex(d.MediaType) {
		return s.image(ctx, d)
	}
	if depth > MaxIndexDepth {
		return false, Errorf(ClassGraph, "manifest %s is nested deeper than %d indexes", d.Digest, MaxIndexDepth)
	}
	if below, ok := s.below[d.Digest]; ok {
		return below, nil
	}
	if s.indexes[d.Digest] {
		if s.reread += max(d.Size, 64<<10); s.reread > MaxReread {
			return false, Errorf(ClassLimit, "indexes such as %s are listed in so many others that reading them again would take more than %d bytes", d.Digest, MaxReread)
		}
	}
	s.indexes[d.Digest] = true
	m, err := readManifest(ctx, s.Source, d)
	if err != nil {
		return false, err
	}
	var attestations []ocispec.Descriptor
	below := false
	for _, c := range m.Manifests {
		switch {
		case !IsManifest(c.MediaType):
			below, s.others = true, true
			continue
		case c.Annotations[annotationReferenceType] != "":
			attestations = append(attestations, c)
			continue
		}
		ok, err := s.manifest(ctx, c, depth+1)
		if err != nil {
			return false, err
		}
		if !ok {
			s.sel.Absent[c.Digest] = struct{}{}
		}
		below = below || ok
	}
	for _, c := range attestations {
		if s.carried[digest.Digest(c.Annotations[annotationReferenceDigest])] {
			s.carried[c.Digest] = true
			s.attestations = append(s.attestations, c.Digest)
		} else {
			s.sel.Absent[c.Digest] = struct{}{}
		}
	}
	if below {
		s.carried[d.Digest] = true
	}
	s.below[d.Digest] = below
	return below, nil
}

// image reports whether a manifest is carried.
func (s *selector) image(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	p := d.Platform
	if p == nil {
		var err error
		if p, err = s.configPlatform(ctx, d); err != nil {
			return false, err
		}
	}
	if p == nil {
		s.others, s.carried[d.Digest] = true, true
		return true, nil
	}
	if text := FormatPlatform(p); !s.listed[text] {
		s.have, s.listed[text] = append(s.have, text), true
	}
	ok := false
	for i, w := range s.Platforms {
		if p.OS == anyOS {
			w.OS = anyOS
		}
		if platforms.NewMatcher(w).Match(platforms.Normalize(*p)) {
			ok, s.met[i] = true, true
		}
	}
	if ok {
		s.carried[d.Digest] = true
		if !s.matches[d.Digest] {
			s.matched, s.matches[d.Digest] = append(s.matched, d), true
		}
	}
	return ok, nil
}

// configPlatform gives the platform that an image's config tells, and nil for what
// is no image. It reads each image once.
func (l *Selector) configPlatform(ctx context.Context, d ocispec.Descriptor) (*ocispec.Platform, error) {
	if p, ok := l.configs[d.Digest]; ok {
		return p, nil
	}
	p, err := configPlatform(ctx, l.Source, d)
	if err == nil {
		l.configs[d.Digest] = p
	}
	return p, err
}

func configPlatform(ctx context.Context, src Source, d ocispec.Descriptor) (*ocispec.Platform, error) {
	if !IsManifest(d.MediaType) {
		return nil, nil
	}
	m, err := readManifest(ctx, src, d)
	if err != nil {
		return nil, err
	}
	if m.Config == nil || m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != MediaTypeDockerConfig {
		return nil, nil
	}
	config, err := ReadAll(ctx, src, *m.Config)
	if err != nil {
		return nil, err
	}
	var p ocispec.Platform
	if err := json.Unmarshal(config, &p); err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, Errorf(ClassJSON, "%w", err))
	}
	if p.OS == "" || p.Architecture == "" {
		return nil, nil
	}
	return &p, nil
}
