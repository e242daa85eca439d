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
	entries, subjects, err := roots(ctx, src, ResolveNames(entries))
	if err != nil {
		return nil, nil, err
	}
	known := setOf(entries)
	for _, e := range entries {
		subject := subjects[e.Digest]
		switch name := EntryName(e); {
		case subject == "" || !IsManifest(e.MediaType):
			artifacts = append(artifacts, e)
		case name == "":
			referrers = append(referrers, e)
		case known[named{name, subject}]:
			referrers = append(referrers, unnamed(e)) // hauler gives it the name of its subject
		default:
			artifacts = append(artifacts, e)
		}
	}
	return artifacts, referrers, nil
}

// named is what tells entries apart.
type named struct {
	name   string
	digest digest.Digest
}

func nameOf(d ocispec.Descriptor) named { return named{EntryName(d), d.Digest} }

func setOf(entries []ocispec.Descriptor) map[named]bool {
	out := make(map[named]bool, len(entries))
	for _, e := range entries {
		out[nameOf(e)] = true
	}
	return out
}

// roots leaves out what has no name and is listed in an index, and gives what the
// manifests among the entries refer to.
func roots(ctx context.Context, src Source, entries []ocispec.Descriptor) (out []ocispec.Descriptor, subjects map[digest.Digest]digest.Digest, err error) {
	inner, listed := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, e := range entries {
		listed[e.Digest] = true
	}
	subjects = map[digest.Digest]digest.Digest{}
	w := Walker{Source: src, Visit: func(n Node) error {
		if n.Kind == KindManifest {
			if s := n.Manifest.Subject; s != nil && listed[n.Digest] {
				subjects[n.Digest] = s.Digest
			}
			for _, c := range n.Manifest.Manifests {
				inner[c.Digest] = true
			}
		}
		return nil
	}}
	for _, e := range entries {
		if err := w.Walk(ctx, e); err != nil {
			return nil, nil, err
		}
	}
	for _, e := range entries {
		if EntryName(e) != "" || !inner[e.Digest] {
			out = append(out, e)
		}
	}
	return out, subjects, nil
}

// Attached gives those of the candidates that belong to a manifest below roots, or
// to one that does, in their order: by their subject, as signatures and
// attestations do, or as tags of cosign's in the repository of a root.
//
// Errors: those of src and of [Graph].
func Attached(ctx context.Context, src Source, roots, candidates []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var below []digest.Digest // of which it is not known yet what belongs to them
	g := Graph{Source: src, Visit: func(v Vertex) error {
		below = append(below, v.Digest)
		return nil
	}}
	repositories := map[string]bool{}
	for _, r := range roots {
		if err := g.Walk(ctx, r); err != nil {
			return nil, err
		}
		repositories[repositoryOf(EntryName(r))] = true
	}
	waiting := map[digest.Digest][]int{} // candidates, by what they belong to
	for i, c := range candidates {
		subject := CosignSubject(tagOf(EntryName(c)))
		if subject == "" {
			var err error
			if subject, err = g.Subject(ctx, c); err != nil {
				return nil, err
			}
		} else if !repositories[repositoryOf(EntryName(c))] {
			continue
		}
		waiting[subject] = append(waiting[subject], i)
	}
	taken := make([]bool, len(candidates))
	for ; len(below) > 0; below = below[1:] {
		for _, i := range waiting[below[0]] {
			if err := g.Walk(ctx, candidates[i]); err != nil {
				return nil, err
			}
			taken[i] = true
		}
		delete(waiting, below[0])
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
