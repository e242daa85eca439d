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
// Errors: those of src, of [layout.Artifacts] and of [layout.Companions]. That an
// artifact is denied is none: see [Report.Err].
func (p *Policy) Check(ctx context.Context, src layout.Partial, entries []ocispec.Descriptor) (*Report, error) {
	entries = layout.ResolveNames(entries)
	if !p.HasRules() && !mayCarry(entries) {
		return unsigned(entries), nil
	}
	artifacts, referrers, err := layout.Artifacts(ctx, src, entries)
	if err != nil {
		return nil, err
	}
	s := &sorter{src: src, bySubject: map[digest.Digest][]candidate{}, byArtifact: map[int][]ocispec.Descriptor{}}
	if artifacts, err = s.companions(ctx, artifacts); err != nil {
		return nil, err
	}
	for _, e := range referrers {
		subject, err := layout.SubjectOf(ctx, src, e)
		if err != nil {
			return nil, err
		}
		s.bySubject[subject.Digest] = append(s.bySubject[subject.Digest], candidate{Descriptor: e})
	}
	report := &Report{Artifacts: make([]Artifact, 0, len(artifacts))}
	for i, e := range artifacts {
		parts, err := s.parts(ctx, i, e)
		if err != nil {
			return nil, err
		}
		a, err := p.judge(ctx, src, layout.EntryName(e), parts)
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
func (p *Policy) judge(ctx context.Context, src layout.Source, name string, parts []part) (Artifact, error) {
	r, matched := p.ruleFor(name)
	a, err := examine(ctx, src, r, parts)
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
	bySubject  map[digest.Digest][]candidate
	byArtifact map[int][]ocispec.Descriptor // tags of cosign's, by the place of what they belong to
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
	var out []ocispec.Descriptor
	for i, e := range entries {
		if belongs[i] {
			continue
		}
		for _, c := range owned[i] {
			s.byArtifact[len(out)] = append(s.byArtifact[len(out)], entries[c])
		}
		out = append(out, e)
	}
	return out, nil
}

// parts gives the manifests and indexes of an artifact, itself first, with what
// hangs on each.
func (s *sorter) parts(ctx context.Context, i int, root ocispec.Descriptor) ([]part, error) {
	tags := map[digest.Digest][]candidate{}
	for _, e := range s.byArtifact[i] {
		tag := layout.EntryTag(e)
		d := layout.CosignSubject(tag)
		tags[d] = append(tags[d], candidate{Descriptor: e, ending: path.Ext(tag)})
	}
	out := []part{{Descriptor: root}}
	err := layout.Walk(ctx, s.src, root, func(n layout.Node) error {
		if n.Kind != layout.KindManifest {
			return nil
		}
		p := part{n.Descriptor, append(tags[n.Digest], s.bySubject[n.Digest]...)}
		if n.Digest == root.Digest {
			out[0] = p
		} else if len(p.candidates) > 0 {
			out = append(out, p)
		}
		return nil
	})
	return out, err
}
