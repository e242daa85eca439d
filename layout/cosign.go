package layout

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// cosignEndings are those of the tags under which cosign kept what belongs to a
// digest before there were referrers:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
var cosignEndings = []string{".sig", ".att", ".sbom"}

// MaxTagSize bounds a tag, in bytes: what is longer is none to a registry
// (distribution-spec v1.1, "Pulling Manifests").
const MaxTagSize = 128

// CosignTags are the tags under which cosign may keep what belongs to a digest. There
// are none for a sha512 digest, which is too long.
func CosignTags(d digest.Digest) []string {
	var out []string
	for _, end := range cosignEndings {
		if tag := cosignTag(d, end); len(tag) <= MaxTagSize {
			out = append(out, tag)
		}
	}
	return out
}

func cosignTag(d digest.Digest, end string) string {
	return d.Algorithm().String() + "-" + d.Encoded() + end
}

// CosignSubject gives the digest that a tag of cosign's belongs to, and "" for any
// other tag.
func CosignSubject(tag string) digest.Digest {
	for _, end := range cosignEndings {
		name, ok := strings.CutSuffix(tag, end)
		alg, hex, ok2 := strings.Cut(name, "-")
		if d := digest.Digest(alg + ":" + hex); ok && ok2 && CheckDigest(d) == nil {
			return d
		}
	}
	return ""
}

// IsCosignTag reports whether an entry has the name of a tag of cosign's.
func IsCosignTag(d ocispec.Descriptor) bool { return CosignSubject(tagOf(EntryName(d))) != "" }

// Companions finds the entries that are tags of cosign's: for each, by its place
// in the list, the places of the entries of the same repository that lead to what
// it belongs to. A companion may have companions in its turn.
//
// Errors: those of src and of [Walker].
func Companions(ctx context.Context, src Source, entries []ocispec.Descriptor) (map[int][]int, error) {
	type key struct {
		repository string
		subject    digest.Digest
	}
	wanted := map[key][]int{} // companions, by what they belong to
	for i, e := range entries {
		ref, err := ParseReference(EntryName(e))
		if err != nil {
			continue
		}
		if d := CosignSubject(ref.Tag); d != "" {
			k := key{ref.Name(), d}
			wanted[k] = append(wanted[k], i)
		}
	}
	out := map[int][]int{}
	if len(wanted) == 0 {
		return out, nil
	}
	for i, e := range entries {
		ref, err := ParseReference(EntryName(e))
		if err != nil {
			continue
		}
		err = Walk(ctx, src, e, func(n Node) error {
			if n.Kind != KindManifest {
				return nil
			}
			for _, c := range wanted[key{ref.Name(), n.Digest}] {
				if c != i {
					out[c] = append(out[c], i)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
