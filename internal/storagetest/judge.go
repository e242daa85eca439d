package storagetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Verdict is what [Content.Judge] finds.
type Verdict struct {
	Whole bool // every mention is true, and nothing is missing that is not listed as absent
	Sound bool // every blob hashes to its name, also those that nothing mentions
	Deep  bool // indexes nest so deeply that it depends on the way whether they are refused
	// Wrong says why it is not whole.
	Wrong []string
	// Reached are the digests that the entries lead to.
	Reached map[digest.Digest]bool
}

// Judge is a second walker, as plain as can be: it knows the rules of a layout and
// nothing of how the product keeps them. It understands the manifests of [Graph].
func (c *Content) Judge() Verdict {
	j := &judge{c: c, absent: strings.Split(c.Index.Annotations[layout.AnnotationAbsent], ","), heights: map[mention]int{}}
	j.v = Verdict{Whole: true, Sound: true, Reached: map[digest.Digest]bool{}}
	for d, b := range c.Blobs {
		j.v.Sound = j.v.Sound && d.Algorithm().FromBytes(b) == d
	}
	for _, e := range c.Index.Manifests {
		j.visit(e, true)
	}
	return j.v
}

type judge struct {
	c       *Content
	absent  []string
	heights map[mention]int
	v       Verdict
}

type mention struct {
	digest    digest.Digest
	mediaType string
	size      int64
}

// visit follows one mention, and gives how many manifests stand above each other
// from there on.
func (j *judge) visit(d ocispec.Descriptor, followed bool) int {
	b, ok := j.c.Blobs[d.Digest]
	if !j.said(d) {
		return 0
	}
	if !ok || int64(len(b)) != d.Size || d.Digest.Algorithm().FromBytes(b) != d.Digest {
		j.wrong(d, "it is missing, or something else")
		return 0
	}
	j.v.Reached[d.Digest] = true
	if !followed || !layout.IsManifest(d.MediaType) {
		return 0
	}
	key := mention{d.Digest, d.MediaType, d.Size}
	if n, ok := j.heights[key]; ok {
		return n
	}
	n := j.manifest(d, b) + 1
	j.heights[key] = n
	j.v.Deep = j.v.Deep || n > layout.MaxIndexDepth+1
	return n
}

func (j *judge) manifest(d ocispec.Descriptor, b []byte) (height int) {
	var m manifest
	if json.Unmarshal(b, &m) != nil || m.MediaType != "" && m.MediaType != d.MediaType {
		j.wrong(d, "it calls itself something else")
		return 0
	}
	isIndex := d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == layout.MediaTypeDockerManifestList
	ofImage := m.Config != nil || m.Layers != nil || m.Blobs != nil
	if isIndex && ofImage || !isIndex && m.Manifests != nil || !isIndex && m.Config == nil && d.MediaType != layout.MediaTypeArtifactManifest {
		j.wrong(d, "it may be read as another kind")
		return 0
	}
	if m.Subject != nil {
		j.said(*m.Subject)
	}
	if m.Config != nil {
		j.visit(*m.Config, false)
	}
	for _, c := range slices.Concat(m.Layers, m.Blobs, m.Manifests) {
		withheld := strings.Contains(c.MediaType, ".nondistributable.") || strings.Contains(c.MediaType, ".foreign.")
		manifest := isIndex && layout.IsManifest(c.MediaType)
		if slices.Contains(j.absent, string(c.Digest)) && (manifest || withheld) {
			j.said(c)
			continue
		}
		height = max(height, j.visit(c, isIndex))
	}
	return height
}

// said notes a descriptor that can't be true at all.
func (j *judge) said(d ocispec.Descriptor) bool {
	known := d.Digest.Validate() == nil && (d.Digest.Algorithm() == digest.SHA256 || d.Digest.Algorithm() == digest.SHA512)
	ok := known && d.Size >= 0 && d.Size <= layout.MaxBlobSize && (d.Data == nil || int64(len(d.Data)) == d.Size && d.Digest.Algorithm().FromBytes(d.Data) == d.Digest)
	if !ok {
		j.wrong(d, "it can't be")
	}
	return ok
}

func (j *judge) wrong(d ocispec.Descriptor, why string) {
	j.v.Whole = false
	j.v.Wrong = append(j.v.Wrong, fmt.Sprintf("%s %s of %d bytes: %s", d.MediaType, d.Digest, d.Size, why))
}
