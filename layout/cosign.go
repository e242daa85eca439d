package layout

import (
	"context"
	"slices"
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

// MaxCompanions bounds what [Companions] finds: the tags of cosign's, each counted for each
// entry that leads to what it belongs to. A thousand names of an image for ten platforms,
// with a signature, an attestation and an SBOM of each, have 33,000.
const MaxCompanions = 1_000_000

// Companions finds the entries that are tags of cosign's: for each, by its place
// in the list, the places of the entries of the same repository that lead to what
// it belongs to, in their order. A companion may have companions in its turn.
//
// Errors: those of src and of [Graph], and [ClassLimit] over [MaxCompanions].
func Companions(ctx context.Context, src Source, entries []ocispec.Descriptor) (map[int][]int, error) {
	// By what they belong to, and by repository: of a thousand names that lead to a
	// thousand subjects few may be in the same one.
	wanted := map[digest.Digest]map[string][]int{}
	for i, e := range entries {
		if ref, err := ParseReference(EntryName(e)); err == nil {
			if d := CosignSubject(ref.Tag); d != "" {
				addTo(wanted, d, ref.Name(), i)
			}
		}
	}
	out := map[int][]int{}
	if len(wanted) == 0 {
		return out, nil
	}
	var roots []ocispec.Descriptor // each once
	names := map[Root]map[string][]int{}
	for i, e := range entries {
		ref, err := ParseReference(EntryName(e))
		if err != nil {
			continue
		}
		root := RootOf(e)
		if names[root] == nil {
			roots = append(roots, e)
		}
		addTo(names, root, ref.Name(), i)
	}
	found := 0
	g := Graph{Source: src}
	for _, e := range roots {
		here := names[RootOf(e)]
		g.Visit = func(v Vertex) error {
			there := wanted[v.Digest]
			few := here
			if len(there) < len(here) {
				few = there
			}
			for repository := range few {
				for _, c := range there[repository] {
					if found += len(here[repository]); found > MaxCompanions {
						return Errorf(ClassLimit, "tags of cosign's belong to more than %d entries, each counted for each tag", MaxCompanions)
					}
					for _, i := range here[repository] {
						if c != i {
							out[c] = append(out[c], i)
						}
					}
				}
			}
			return nil
		}
		g.Renew()
		if err := g.Walk(ctx, e); err != nil {
			return nil, err
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out, nil
}

func addTo[K comparable](m map[K]map[string][]int, k K, repository string, i int) {
	if m[k] == nil {
		m[k] = map[string][]int{}
	}
	m[k][repository] = append(m[k][repository], i)
}
