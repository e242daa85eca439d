package layout

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Artifacts parts the entries of an index.json, under the names that their writer
// meant: artifacts, which have a name or refer to nothing, and what refers to
// them. Left out are entries without a name that another leads to, since oras
// lists the children of an index a second time.
//
// Errors: those of src and of [Walker].
func Artifacts(ctx context.Context, src Source, entries []ocispec.Descriptor) (artifacts, referrers []ocispec.Descriptor, err error) {
	entries, err = roots(ctx, src, ResolveNames(entries))
	if err != nil {
		return nil, nil, err
	}
	type named struct {
		name   string
		digest digest.Digest
	}
	known := map[named]bool{}
	for _, e := range entries {
		known[named{EntryName(e), e.Digest}] = true
	}
	for _, e := range entries {
		subject, err := SubjectOf(ctx, src, e)
		if err != nil {
			return nil, nil, err
		}
		switch name := EntryName(e); {
		case subject == nil:
			artifacts = append(artifacts, e)
		case name == "":
			referrers = append(referrers, e)
		case known[named{name, subject.Digest}]:
			referrers = append(referrers, unnamed(e)) // hauler gives it the name of its subject
		default:
			artifacts = append(artifacts, e)
		}
	}
	return artifacts, referrers, nil
}

func roots(ctx context.Context, src Source, entries []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	inner := map[digest.Digest]bool{}
	w := Walker{Source: src, Visit: func(n Node) error {
		if n.Kind == KindManifest {
			for _, c := range n.Manifest.Manifests {
				inner[c.Digest] = true
			}
		}
		return nil
	}}
	var out []ocispec.Descriptor
	for _, e := range entries {
		if err := w.Walk(ctx, e); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if EntryName(e) != "" || !inner[e.Digest] {
			out = append(out, e)
		}
	}
	return out, nil
}

// Attached gives those of the candidates that belong to a manifest below roots, or
// to one that does, in their order: by their subject, as signatures and
// attestations do, or as tags of cosign's in the repository of a root.
//
// Errors: those of src and of [Walker].
func Attached(ctx context.Context, src Source, roots, candidates []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	below := map[digest.Digest]bool{}
	w := Walker{Source: src, Visit: func(n Node) error {
		if n.Kind == KindManifest {
			below[n.Digest] = true
		}
		return nil
	}}
	repositories := map[string]bool{}
	for _, r := range roots {
		if err := w.Walk(ctx, r); err != nil {
			return nil, err
		}
		repositories[repositoryOf(EntryName(r))] = true
	}
	subjects := make([]digest.Digest, len(candidates))
	for i, c := range candidates {
		if d := CosignSubject(tagOf(EntryName(c))); d != "" {
			if repositories[repositoryOf(EntryName(c))] {
				subjects[i] = d
			}
			continue
		}
		s, err := SubjectOf(ctx, src, c)
		if err != nil {
			return nil, err
		}
		if s != nil {
			subjects[i] = s.Digest
		}
	}
	taken := make([]bool, len(candidates))
	for more := true; more; {
		more = false
		for i, c := range candidates {
			if !taken[i] && subjects[i] != "" && below[subjects[i]] {
				if err := w.Walk(ctx, c); err != nil {
					return nil, err
				}
				taken[i], more = true, true
			}
		}
	}
	var out []ocispec.Descriptor
	for i, c := range candidates {
		if taken[i] {
			out = append(out, c)
		}
	}
	return out, nil
}

// SubjectOf gives what a manifest refers to, or nil.
func SubjectOf(ctx context.Context, src Source, d ocispec.Descriptor) (*ocispec.Descriptor, error) {
	if !IsManifest(d.MediaType) {
		return nil, nil
	}
	m, err := readManifest(ctx, src, d)
	if err != nil {
		return nil, err
	}
	return m.Subject, nil
}
