package trust

import (
	"cmp"
	"context"
	"fmt"
	"path"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Report is what is known of the artifacts of a bundle.
type Report struct {
	Artifacts []Artifact `json:"artifacts"`
}

// Err is nil where nothing is denied. Otherwise it is [layout.ErrUntrusted], names
// the first artifact that is, and is of the class [layout.ClassSignature], or
// [layout.ClassLimit] where there are too many signatures.
func (r *Report) Err() error {
	denied := 0
	var first *Artifact
	for i, a := range r.Artifacts {
		if a.Decision == Deny {
			if denied++; first == nil {
				first = &r.Artifacts[i]
			}
		}
	}
	if denied == 0 {
		return nil
	}
	more := ""
	if denied > 1 {
		more = fmt.Sprintf(" (and %d more)", denied-1)
	}
	return layout.Errorf(first.Class, "%w: %q is %s: %s%s", layout.ErrUntrusted,
		cmp.Or(first.Name, first.Digest.String()), first.State, first.Why, more)
}

// Check finds out of each artifact of an index.json what its signatures are worth,
// and what the policy says to that. A nil Policy, and one without rules, says
// nothing: what is carried is [Unchecked], and all is allowed.
//
// Errors: those of src, of [layout.Artifacts], of [layout.Companions] and of
// [layout.Graph]; over a limit of these, [layout.ErrUntrusted]. That an artifact is denied
// is none: see [Report.Err].
func (p *Policy) Check(ctx context.Context, src layout.Partial, entries []ocispec.Descriptor) (*Report, error) {
	entries = layout.ResolveNames(entries)
	if !p.HasRules() && !mayCarry(entries) {
		return unsigned(entries), nil
	}
	report, err := p.check(ctx, src, entries)
	if err != nil && layout.ClassOf(err) == layout.ClassLimit {
		err = fmt.Errorf("%w: %w", layout.ErrUntrusted, err)
	}
	return report, err
}

func (p *Policy) check(ctx context.Context, src layout.Partial, entries []ocispec.Descriptor) (*Report, error) {
	artifacts, referrers, err := layout.Artifacts(ctx, src, entries)
	if err != nil {
		return nil, err
	}
	s := newSorter(src)
	if artifacts, err = s.companions(ctx, artifacts); err != nil {
		return nil, err
	}
	if err := s.referrers(ctx, referrers); err != nil {
		return nil, err
	}
	report := &Report{Artifacts: make([]Artifact, 0, len(artifacts))}
	x := &examiner{src: src, known: map[question]Artifact{}}
	for i, e := range artifacts {
		a, err := p.judge(ctx, x, s, i, e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cmp.Or(layout.EntryName(e), e.Digest.String()), err)
		}
		report.Artifacts = append(report.Artifacts, a)
	}
	return report, nil
}

// mayCarry reports whether there may be signatures among the entries: what has no name
// of its own, and tags of cosign's. Most bundles have none, and need not be walked.
func mayCarry(entries []ocispec.Descriptor) bool {
	names := map[string]bool{}
	for _, e := range entries {
		name := layout.EntryName(e)
		if name == "" || names[name] || layout.IsCosignTag(e) {
			return true
		}
		names[name] = true
	}
	return false
}

func unsigned(entries []ocispec.Descriptor) *Report {
	r := &Report{Artifacts: make([]Artifact, len(entries))}
	for i, e := range entries {
		r.Artifacts[i] = Artifact{Name: layout.EntryName(e), Digest: e.Digest, State: Unsigned, Decision: Allow}
	}
	return r
}

// judge examines an artifact by the rule for its name.
func (p *Policy) judge(ctx context.Context, x *examiner, s *sorter, i int, e ocispec.Descriptor) (Artifact, error) {
	name := layout.EntryName(e)
	r, matched := p.ruleFor(name)
	a, err := x.artifact(ctx, r, s, i, e)
	if err != nil {
		return a, err
	}
	a.Name, a.Rule, a.Decision = name, string(matched), Allow
	switch {
	case r == nil && p.HasRules():
		a.Decision, a.Why = Deny, "no rule of the policy is for it"
	case r == nil:
	case a.State == Invalid:
		a.Decision = Deny
	case a.State == Unsigned:
		a.Decision, a.Why = r.unsigned, cmp.Or(a.Why, "it carries nothing that the rule demands")
	case a.State == Unchecked:
		a.Decision, a.Why = r.unsigned, cmp.Or(a.Why, "the rule names nobody to check it by")
	}
	if a.Decision == Deny {
		a.Class = cmp.Or(a.Class, layout.ClassSignature)
	}
	return a, nil
}

// sorter finds out what belongs to what.
type sorter struct {
	src        layout.Source
	graph      layout.Graph
	bySubject  map[digest.Digest][]*candidate // those that hold signatures
	byArtifact map[int][]*candidate           // tags of cosign's that do, by the place of what they belong to
	holding    map[candidateKey]bool          // whether a candidate holds any
}

func newSorter(src layout.Source) *sorter {
	return &sorter{
		src: src, graph: layout.Graph{Source: src},
		bySubject: map[digest.Digest][]*candidate{}, byArtifact: map[int][]*candidate{}, holding: map[candidateKey]bool{},
	}
}

// holds reports whether a candidate holds signatures. It may belong to thousands of
// artifacts, and is read once for that.
func (s *sorter) holds(ctx context.Context, c *candidate) (bool, error) {
	if has, ok := s.holding[c.key()]; ok {
		return has, nil
	}
	list, err := c.list(ctx, s.src, ocispec.Descriptor{})
	if err == nil {
		s.holding[c.key()] = len(list) > 0
	}
	return len(list) > 0, err
}

// referrers notes what the referrers that hold signatures refer to.
func (s *sorter) referrers(ctx context.Context, entries []ocispec.Descriptor) error {
	for _, e := range entries {
		subject, err := s.graph.Subject(ctx, e)
		if err != nil {
			return err
		}
		c := &candidate{Descriptor: e}
		has, err := s.holds(ctx, c)
		if err != nil {
			return err
		}
		if has {
			s.bySubject[subject] = append(s.bySubject[subject], c)
		}
	}
	return nil
}

// companions takes from the artifacts the tags of cosign's that belong to another
// of them. One that belongs to none is an artifact like others, and so are two that
// only belong to each other.
func (s *sorter) companions(ctx context.Context, entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	owners, err := layout.Companions(ctx, s.src, entries)
	if err != nil || len(owners) == 0 {
		return entries, err
	}
	owned := map[int][]int{}
	for c, list := range owners {
		for _, o := range list {
			owned[o] = append(owned[o], c)
		}
	}
	belongs := make([]bool, len(entries))
	var next []int
	for i := range entries {
		if len(owners[i]) == 0 {
			next = append(next, i)
		}
	}
	for len(next) > 0 {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		for _, c := range owned[i] {
			if !belongs[c] {
				belongs[c] = true
				next = append(next, c)
			}
		}
	}
	holders := map[int]*candidate{} // tags that hold signatures
	for c := range owners {
		tag := layout.EntryTag(entries[c])
		t := &candidate{Descriptor: entries[c], subject: layout.CosignSubject(tag), ending: path.Ext(tag)}
		has, err := s.holds(ctx, t)
		if err != nil {
			return nil, err
		}
		if has {
			holders[c] = t
		}
	}
	var out []ocispec.Descriptor
	for i, e := range entries {
		if belongs[i] {
			continue
		}
		for _, c := range owned[i] {
			if t := holders[c]; t != nil {
				s.byArtifact[len(out)] = append(s.byArtifact[len(out)], t)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// parts gives the manifests and indexes of an artifact that signatures hang on, itself
// first.
func (s *sorter) parts(ctx context.Context, i int, root ocispec.Descriptor) ([]part, error) {
	out := []part{{Descriptor: root}}
	if len(s.byArtifact[i])+len(s.bySubject) == 0 {
		return out, nil
	}
	tags := map[digest.Digest][]*candidate{}
	for _, c := range s.byArtifact[i] {
		tags[c.subject] = append(tags[c.subject], c)
	}
	s.graph.Visit = func(v layout.Vertex) error {
		p := part{ocispec.Descriptor{MediaType: v.MediaType, Digest: v.Digest, Size: v.Size}, append(tags[v.Digest], s.bySubject[v.Digest]...)}
		if v.Digest == root.Digest {
			out[0].candidates = p.candidates
		} else if len(p.candidates) > 0 {
			out = append(out, p)
		}
		return nil
	}
	s.graph.Renew()
	return out, s.graph.Walk(ctx, root)
}
