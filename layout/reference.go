package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
)

// AnnotationImageName is where docker, containerd and podman look for the full
// reference of an entry.
const AnnotationImageName = "io.containerd.image.name"

// MaxRepositorySize bounds the path of a repository, in bytes. The reference registry
// takes no longer one (distribution's RepositoryNameTotalLengthMax), and neither do
// docker and crane.
const MaxRepositorySize = 255

// Reference names an artifact: a registry, a repository in it, and a tag, a
// digest or both.
type Reference struct {
	Registry   string        // host or host:port
	Repository string        // path, such as acme/decks/intro
	Tag        string        // may be empty
	Digest     digest.Digest // may be empty; beside a tag it pins what the tag must name
}

// ParseReference reads registry/repository[:tag][@digest]. The registry must be
// spelt out, as docker.io/library/alpine:3 is: an implied one would be a guess
// about where content comes from. Without a tag and a digest, the tag is latest.
func ParseReference(s string) (Reference, error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return Reference{}, Errorf(ClassName, "%q is an address: leave %s:// out and write %s", clip(s), scheme, clip(rest))
	}
	named, dgst, pinned := strings.Cut(s, "@")
	host, path, ok := strings.Cut(named, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" || strings.HasSuffix(host, ":") {
		return Reference{}, Errorf(ClassName, "%q names no registry: write it as registry/repository:tag, for example docker.io/library/%s", clip(s), "alpine:3")
	}
	ref := Reference{Registry: host, Repository: path}
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		ref.Repository, ref.Tag = path[:i], path[i+1:]
		if ref.Tag == "" {
			return Reference{}, Errorf(ClassName, "%q has an empty tag", clip(s))
		}
	}
	if len(ref.Repository) > MaxRepositorySize {
		return Reference{}, Errorf(ClassName, "%q has a repository of %d characters, over the limit of %d", clip(s), len(ref.Repository), MaxRepositorySize)
	}
	if pinned {
		ref.Digest = digest.Digest(dgst)
		if err := CheckDigest(ref.Digest); err != nil {
			return Reference{}, fmt.Errorf("reference %q: %w", clip(s), err)
		}
	}
	if !pinned && ref.Tag == "" {
		ref.Tag = "latest"
	}
	check := registry.Reference{Registry: ref.Registry, Repository: ref.Repository, Reference: ref.Tag}
	if err := check.Validate(); err != nil {
		return Reference{}, Errorf(ClassName, "%q is no reference of the form registry/repository:tag: %w", clip(s), err)
	}
	return ref, nil
}

// Name is registry/repository.
func (r Reference) Name() string { return r.Registry + "/" + r.Repository }

// String is the full reference, as ParseReference reads it.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// EntryName gives the reference that an entry of an index.json carries, and ""
// where it carries none. The fuller of the two annotations counts: the one of
// containerd is always full, the other may be a bare tag.
func EntryName(d ocispec.Descriptor) string {
	if n := d.Annotations[AnnotationImageName]; n != "" {
		return n
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

// checkNames demands that the two annotations for the name of an entry say the same, as
// far as each does: skopeo, podman and oras read the one and containerd and airdeck the
// other, and what was judged under a name must not be taken under another. A short name
// is the end of the full one, such as its tag; what names a registry is no short one.
func checkNames(d ocispec.Descriptor) error {
	full, name := d.Annotations[AnnotationImageName], d.Annotations[ocispec.AnnotationRefName]
	if full == "" || name == "" || withOneHub(full) == withOneHub(name) {
		return nil
	}
	if _, err := ParseReference(name); err != nil {
		for _, before := range []string{"/", ":", "@"} {
			if strings.HasSuffix(full, before+name) {
				return nil
			}
		}
	}
	return Errorf(ClassName, "the entry %s is called %q for containerd and %q for skopeo: whoever wrote it has to give it one name", d.Digest, clip(full), clip(name))
}

// EntryTag gives the tag of the name of an entry, and "" where it has none.
func EntryTag(d ocispec.Descriptor) string { return tagOf(EntryName(d)) }

// Named gives d the reference as its name in an index.json. What else d is
// annotated with is kept.
func Named(d ocispec.Descriptor, ref string) ocispec.Descriptor {
	a := make(map[string]string, len(d.Annotations)+2)
	for k, v := range d.Annotations {
		a[k] = v
	}
	a[ocispec.AnnotationRefName] = ref
	a[AnnotationImageName] = ref
	d.Annotations = a
	return d
}

// SortEntries puts the entries of an index.json into their order: named ones by
// reference, then the unnamed by digest.
func SortEntries(entries []ocispec.Descriptor) {
	slices.SortStableFunc(entries, func(a, b ocispec.Descriptor) int {
		an, bn := EntryName(a), EntryName(b)
		if (an == "") != (bn == "") {
			return cmp.Compare(len(bn), len(an))
		}
		return cmp.Or(cmp.Compare(an, bn), cmp.Compare(a.Digest, b.Digest))
	})
}
