package layout

import (
	"cmp"
	"maps"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// annotationKind is where cosign save and hauler say what an entry is.
const annotationKind = "kind"

// kindPrefixes are the beginnings of its values: hauler began as a user of
// cosign's code.
var kindPrefixes = []string{"dev.cosignproject.cosign/", "dev.hauler/"}

// kindTags are the kinds that are tags of cosign's, and their endings.
var kindTags = map[string]string{"sigs": ".sig", "atts": ".att", "sboms": ".sbom"}

// annotationHaulerSubject is the digest that a signature of hauler's belongs to.
const annotationHaulerSubject = "hauler.dev/subject-digest"

// entryKind gives the kind of an entry, such as image or sigs, and the digest behind
// it, where there is one. It is "" for what other tools wrote.
func entryKind(d ocispec.Descriptor) (kind string, subject digest.Digest) {
	for _, p := range kindPrefixes {
		if rest, ok := strings.CutPrefix(d.Annotations[annotationKind], p); ok {
			kind, hex, _ := strings.Cut(rest, "/")
			if s := digest.NewDigestFromEncoded(digest.SHA256, hex); CheckDigest(s) == nil {
				return kind, s
			}
			return kind, digest.Digest(d.Annotations[annotationHaulerSubject])
		}
	}
	return "", ""
}

// WrittenByHauler reports whether an entry is of a kind that hauler and cosign save
// write.
func WrittenByHauler(entries []ocispec.Descriptor) bool {
	for _, d := range entries {
		if kind, _ := entryKind(d); kind != "" {
			return true
		}
	}
	return false
}

// ResolveNames gives the entries of an index.json the names that their writer
// meant. Most tools write them as airdeck reads them. hauler and cosign save give a
// signature the name of what it signs, and say by a kind what it is: it gets the
// tag that cosign would look for, and what refers to an artifact by its subject
// loses the name that is not its own. Docker Hub's other name becomes docker.io.
func ResolveNames(entries []ocispec.Descriptor) []ocispec.Descriptor {
	signed := map[string]digest.Digest{} // by name: what signatures of that name belong to
	for _, d := range entries {
		if kind, _ := entryKind(d); kind == "image" || kind == "imageIndex" {
			signed[EntryName(d)] = d.Digest
		}
	}
	out := make([]ocispec.Descriptor, len(entries))
	for i, d := range entries {
		out[i] = d
		name := EntryName(d)
		kind, subject := entryKind(d)
		switch end := kindTags[kind]; {
		case kind == "referrers":
			out[i] = unnamed(d)
			continue
		case end != "":
			if subject = cmp.Or(subject, signed[name]); CheckDigest(subject) != nil {
				continue // it says nowhere what it belongs to
			}
			name = repositoryOf(name) + ":" + cosignTag(subject, end)
		}
		if name = withOneHub(name); name != EntryName(d) {
			out[i] = Named(d, name)
		}
	}
	return out
}

// withOneHub gives Docker Hub the name that airdeck calls it by.
func withOneHub(name string) string {
	if rest, ok := strings.CutPrefix(name, "index.docker.io/"); ok {
		return "docker.io/" + rest
	}
	return name
}

// repositoryOf is a name without its tag and digest.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return strings.TrimSuffix(name, ":"+tagOf(name))
}

// tagOf is the tag of a name, or "".
func tagOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[i+1:]
	}
	return ""
}

// unnamed is an entry without its name.
func unnamed(d ocispec.Descriptor) ocispec.Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	delete(d.Annotations, ocispec.AnnotationRefName)
	delete(d.Annotations, AnnotationImageName)
	return d
}

// CompleteName makes a full reference of the name that an entry carries. A bare
// tag, and no name at all, is one of a repository that is called as the file or
// directory is; a name without a host is one of this machine, as podman takes it.
//
// Error: [ClassName] where the file or directory can't lend its name.
func CompleteName(d ocispec.Descriptor, container string) (string, error) {
	name := EntryName(d)
	if _, err := ParseReference(name); err == nil {
		return name, nil
	}
	container = "localhost/" + strings.ToLower(container)
	full := container + ":" + name
	switch {
	case name == "", CheckDigest(digest.Digest(name)) == nil:
		// podman names an image without a name by the digest of its config.
		full = container + "@" + d.Digest.String()
	case strings.HasPrefix(name, ":"), strings.HasPrefix(name, "@"):
		full = container + name // as ResolveNames makes it of a nameless signature
	case strings.ContainsAny(name, "/:"):
		full = "localhost/" + name
	}
	if _, err := ParseReference(full); err != nil {
		return "", Errorf(ClassName, "the entry %q is no reference, and with the name of its file or directory it becomes none: rename that", name)
	}
	return full, nil
}
