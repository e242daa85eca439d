package layout

import (
	"cmp"
	// The algorithms must be linked in for go-digest to know them.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits on what is read from outside.
const (
	// MaxManifestSize bounds a manifest or an index, in bytes. Registries refuse
	// larger ones (distribution-spec v1.1, "Pushing Manifests").
	MaxManifestSize = 4 << 20

	// MaxBlobSize bounds the size of what a descriptor names, in bytes. An archive has
	// no room for more, and the sizes of a million blobs add up to a number that fits.
	MaxBlobSize = 4 << 40

	// MaxIndexDepth bounds how deeply indexes may nest below a root. Two levels
	// occur in practice.
	MaxIndexDepth = 8

	// MaxListed bounds what the lists in a manifest or an index name, all of them
	// together. With a digest each, no more fit into [MaxManifestSize]; what is shorter
	// is no descriptor, and takes forty times its size in memory.
	MaxListed = 50_000

	// MaxKeys bounds the keys of a manifest or an index, those of annotations too. Beside
	// digests no more fit into [MaxManifestSize]: a descriptor has three keys in a hundred
	// bytes, and annotations say something. What is shorter takes forty times its size in
	// memory.
	MaxKeys = 150_000

	// MaxJSONDepth bounds how deeply values may nest in a manifest or an index. It is
	// far beyond what any manifest needs.
	MaxJSONDepth = 64
)

// Media types of manifests and of an image's config, beside those of image-spec.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig       = "application/vnd.docker.container.image.v1+json"
	// MediaTypeArtifactManifest is that of image-spec v1.1.0-rc2. Nobody writes
	// it any more, and registries still hold some.
	MediaTypeArtifactManifest = "application/vnd.oci.artifact.manifest.v1+json"
)

// IsIndex reports whether a media type is that of an index.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// IsManifest reports whether a media type is that of a manifest or an index:
// something a registry serves under /manifests/, and whose children are known.
func IsManifest(mediaType string) bool { return slices.Contains(manifestTypes, mediaType) }

var manifestTypes = []string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	MediaTypeDockerManifest, MediaTypeDockerManifestList, MediaTypeArtifactManifest,
}

// Manifest is what a manifest or an index says. It is for reading only: content
// travels as the bytes that were fetched, never as a Manifest written again.
type Manifest struct {
	MediaType    string
	ArtifactType string
	Config       *ocispec.Descriptor  // nil in an index
	Layers       []ocispec.Descriptor // also the blobs of an artifact manifest
	Manifests    []ocispec.Descriptor // the children of an index
	Subject      *ocispec.Descriptor
	Annotations  map[string]string

	children []Child // of a decoded one
}

// Kind says what a node of the graph is, which decides where a registry keeps
// it and where a bundle does.
type Kind uint8

// The kinds of nodes.
const (
	KindManifest Kind = iota // a manifest or an index
	KindConfig
	KindBlob
)

// Child is a descriptor and what its parent takes it for.
type Child struct {
	ocispec.Descriptor
	Kind Kind
}

// Children gives what a manifest needs to be complete, in its order: the config,
// then the layers, or the manifests of an index. The subject is not among them:
// it needs no referrer, and a referrer outlives it. The list must not be changed.
func (m *Manifest) Children() []Child {
	if m.children == nil {
		return m.listChildren()
	}
	return m.children
}

func (m *Manifest) listChildren() []Child {
	c := make([]Child, 0, 1+len(m.Layers)+len(m.Manifests))
	if m.Config != nil {
		c = append(c, Child{*m.Config, KindConfig})
	}
	for _, d := range m.Layers {
		c = append(c, Child{d, KindBlob})
	}
	for _, d := range m.Manifests {
		// Build caches list plain layers in an index.
		k := KindBlob
		if IsManifest(d.MediaType) {
			k = KindManifest
		}
		c = append(c, Child{d, k})
	}
	return c
}

// DecodeManifest reads the manifest or index that d describes. b must have been
// verified.
//
// Errors: [ClassJSON] for what is not one JSON value or could be read in two
// ways, [ClassLimit] over [MaxListed], [MaxKeys] or [MaxJSONDepth], [ClassMediaType]
// where the content is not of d's type, or of two types at once (CVE-2021-41190), and
// those of [CheckDescriptor] for what it lists.
func DecodeManifest(d ocispec.Descriptor, b []byte) (*Manifest, error) {
	var raw struct {
		MediaType    string               `json:"mediaType"`
		ArtifactType string               `json:"artifactType"`
		Config       *ocispec.Descriptor  `json:"config"`
		Layers       []ocispec.Descriptor `json:"layers"`
		Blobs        []ocispec.Descriptor `json:"blobs"`
		Manifests    []ocispec.Descriptor `json:"manifests"`
		Subject      *ocispec.Descriptor  `json:"subject"`
		Annotations  map[string]string    `json:"annotations"`
	}
	if err := decodeStrict(b, &raw); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if raw.MediaType != "" && raw.MediaType != d.MediaType {
		return nil, Errorf(ClassMediaType, "manifest %s is listed as %q and calls itself %q", d.Digest, d.MediaType, raw.MediaType)
	}
	isIndex := IsIndex(d.MediaType)
	if isIndex && (raw.Config != nil || raw.Layers != nil || raw.Blobs != nil) || !isIndex && raw.Manifests != nil {
		return nil, Errorf(ClassMediaType, "manifest %s could be read as an image and as an index", d.Digest)
	}
	if raw.Config == nil && !isIndex && d.MediaType != MediaTypeArtifactManifest {
		return nil, Errorf(ClassMediaType, "manifest %s has no config", d.Digest)
	}
	m := &Manifest{
		MediaType: d.MediaType, ArtifactType: raw.ArtifactType,
		Config: raw.Config, Layers: append(raw.Layers, raw.Blobs...), Manifests: raw.Manifests,
		Subject: raw.Subject, Annotations: raw.Annotations,
	}
	m.children = m.listChildren()
	for _, c := range m.children {
		if err := CheckDescriptor(c.Descriptor); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
	}
	if m.Subject != nil {
		if err := CheckDescriptor(*m.Subject); err != nil {
			return nil, fmt.Errorf("manifest %s: subject: %w", d.Digest, err)
		}
	}
	return m, nil
}

// DecodeIndex reads the index.json of a layout or a bundle. Its errors are those
// of [DecodeManifest] and of [AbsentOf], and [ClassName] for an entry that has one name
// for some readers and another for others.
func DecodeIndex(b []byte) (ocispec.Index, error) {
	var idx ocispec.Index
	if len(b) > MaxManifestSize {
		return idx, Errorf(ClassLimit, "index.json has %d bytes, over the limit of %d", len(b), MaxManifestSize)
	}
	if err := decodeStrict(b, &idx); err != nil {
		return idx, fmt.Errorf("index.json: %w", err)
	}
	if idx.MediaType != "" && !IsIndex(idx.MediaType) {
		return idx, Errorf(ClassMediaType, "index.json calls itself %q", idx.MediaType)
	}
	if idx.SchemaVersion != 2 {
		return idx, Errorf(ClassLayout, "index.json has schemaVersion %d; it must be 2", idx.SchemaVersion)
	}
	for _, d := range idx.Manifests {
		if err := cmp.Or(CheckDescriptor(d), checkNames(d)); err != nil {
			return idx, fmt.Errorf("index.json: %w", err)
		}
	}
	_, err := AbsentOf(idx)
	return idx, err
}

// isHex tells the hexadecimal digits in lower case.
var isHex = func() (t [256]bool) {
	for _, c := range "0123456789abcdef" {
		t[c] = true
	}
	return t
}()

// CheckDigest refuses what is no digest of an algorithm that airdeck verifies:
// sha256 and sha512, in lower case. Paths are made from digests, so this stands
// before any use of one (CVE-2024-3727, CVE-2024-37032).
func CheckDigest(d digest.Digest) error {
	alg, hex, ok := strings.Cut(string(d), ":")
	switch {
	case !ok:
	case alg == "sha256":
		ok = len(hex) == 64
	case alg == "sha512":
		ok = len(hex) == 128
	default:
		return Errorf(ClassPolicy, "digest %q: only sha256 and sha512 are verified", clip(string(d)))
	}
	// A bundle may list a million of them, which go-digest checks by a regular
	// expression.
	for i := 0; ok && i < len(hex); i++ {
		ok = isHex[hex[i]]
	}
	if !ok {
		return Errorf(ClassDigest, "digest %q: it is no algorithm and number of the right length, in lower case", clip(string(d)))
	}
	return nil
}

// CheckDescriptor refuses a descriptor that can't be honoured: a malformed or
// unknown digest ([ClassDigest], [ClassPolicy]), a size that is negative or over
// [MaxBlobSize], or embedded data that is not the content ([ClassSize],
// [ClassDigest]).
func CheckDescriptor(d ocispec.Descriptor) error {
	if err := CheckDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > MaxBlobSize {
		return Errorf(ClassSize, "%s has the size %d", d.Digest, d.Size)
	}
	if d.Data != nil {
		if int64(len(d.Data)) != d.Size {
			return Errorf(ClassSize, "%s embeds %d bytes of data for a size of %d", d.Digest, len(d.Data), d.Size)
		}
		if d.Digest.Algorithm().FromBytes(d.Data) != d.Digest {
			return Errorf(ClassDigest, "%s embeds data with another digest", d.Digest)
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}
