package bundle

import (
	"context"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Damaged is an entry of the index that is not whole, which is to be asked for again.
type Damaged struct {
	Reference string        `json:"reference,omitempty"`
	Digest    digest.Digest `json:"digest"`
	// Of is a blob that is damaged or missing: of the entry, or of something that
	// belongs to it, such as its signature. Where the entry is lost because nothing is
	// left that it belongs to, it is the manifest that it refers to.
	Of digest.Digest `json:"of"`
}

// VerifyIntact is [Reader.Verify] for a bundle that has suffered on its way. Where
// all that is wrong with it are blobs that are damaged or missing, and some artifacts
// are whole, it gives a Verified of these, whose index has their entries only, and no
// error; the Report has the faults and what is damaged. An artifact is whole if all
// that belongs to it is: the signatures of one must not be lost in silence. Of an
// entry whose manifest is damaged it is not known what it belongs to.
//
// The error is that of [Reader.Verify] for everything else that is wrong.
func (r *Reader) VerifyIntact(ctx context.Context, o *VerifyOptions) (*Verified, *Report, error) {
	v, rep, err := r.Verify(ctx, o)
	if err == nil || rep == nil || !rep.suffered || len(rep.Again) == len(r.index.Manifests) {
		return v, rep, err
	}
	lost := map[digest.Digest]bool{}
	for _, d := range rep.Again {
		lost[d.Digest] = true
	}
	idx := r.index
	idx.Manifests = nil
	for _, e := range r.index.Manifests {
		if !lost[e.Digest] {
			idx.Manifests = append(idx.Manifests, e)
		}
	}
	raw, err := layout.MarshalIndex(idx)
	if err != nil {
		return nil, nil, err
	}
	return &Verified{r: &Reader{raw: raw, index: idx, content: r.content, close: r.close}}, rep, nil
}

// isDamage reports whether a fault can come from what happens to a file on its way. A
// manifest that hashes to its name and makes no sense was made so.
func (f *Fault) isDamage() bool {
	switch f.Class {
	case layout.ClassDigest, layout.ClassSize, layout.ClassMissing, layout.ClassArchive, layout.ClassTruncated:
		return f.Digest != ""
	}
	return false
}

// again gives the entries that are not whole: those that lead to one of the faulty
// blobs, those to whose manifests such a one belongs, and what belongs to nothing
// else. above are the manifests above the faulty blobs and above all manifests, and
// subjects what manifests refer to.
func (r *Reader) again(ctx context.Context, faulty map[digest.Digest]bool, above, subjects map[digest.Digest][]digest.Digest) ([]Damaged, error) {
	for _, e := range r.index.Manifests {
		if d := cosignSubject(e); d != "" {
			subjects[e.Digest] = append(subjects[e.Digest], d)
		}
	}
	of := map[digest.Digest]digest.Digest{} // the fault for which something is not whole
	todo := slices.Sorted(maps.Keys(faulty))
	for _, d := range todo {
		of[d] = d
	}
	for ; len(todo) > 0; todo = todo[1:] {
		for _, up := range [][]digest.Digest{above[todo[0]], subjects[todo[0]]} {
			for _, d := range up {
				if of[d] == "" {
					of[d] = of[todo[0]]
					todo = append(todo, d)
				}
			}
		}
	}
	if err := r.orphans(ctx, of, above, subjects); err != nil {
		return nil, err
	}
	var out []Damaged
	for _, e := range r.index.Manifests {
		if d := of[e.Digest]; d != "" {
			out = append(out, Damaged{layout.EntryName(e), e.Digest, d})
		}
	}
	return out, nil
}

// orphans finds what is whole and belongs to something that is not. Entries with a
// name of their own stand for themselves.
func (r *Reader) orphans(ctx context.Context, of map[digest.Digest]digest.Digest, above, subjects map[digest.Digest][]digest.Digest) error {
	var roots, candidates []ocispec.Descriptor
	known := map[digest.Digest]bool{}
	for _, e := range r.index.Manifests {
		known[e.Digest] = true
		switch {
		case of[e.Digest] != "":
		case len(subjects[e.Digest]) > 0 && (layout.EntryName(e) == "" || cosignSubject(e) != ""):
			candidates = append(candidates, e)
		default:
			roots = append(roots, e)
		}
	}
	attached, err := layout.Attached(ctx, r.content, roots, candidates)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return nil // the faults tell already what can't be read
	}
	kept := map[digest.Digest]bool{}
	for _, e := range attached {
		kept[e.Digest] = true
	}
	for _, e := range candidates {
		s := subjects[e.Digest][0]
		if !kept[e.Digest] && (of[s] != "" || above[s] != nil || known[s]) {
			of[e.Digest] = s
		}
	}
	return nil
}

// cosignSubject is what an entry with a tag of cosign's belongs to, and "" for others.
func cosignSubject(e ocispec.Descriptor) digest.Digest {
	ref, err := layout.ParseReference(layout.EntryName(e))
	if err != nil {
		return ""
	}
	return layout.CosignSubject(ref.Tag)
}
