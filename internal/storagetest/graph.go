package storagetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// maxSteps bounds what a graph is made of.
const maxSteps = 40

// Graph makes blobs, manifests and indexes as the dice have it, that name each
// other: shared, nested, with subjects, platforms, and things left out. Where lies
// is set, descriptors may say what is not so, and content may be lost or damaged.
// [Content.Judge] tells whether the whole of it holds.
func Graph(d *Dice, lies bool) *Content {
	g := &grower{NewContent(), d, nil}
	kinds := []func(){g.blob, g.image, g.index, g.entry, g.index, g.image, g.referrer, g.cosign, g.config, g.leaveOut}
	if lies {
		kinds = append(kinds, g.lie, g.lie, g.lie, g.lose, g.damage)
	}
	g.blob()
	g.image()
	for steps := 0; d.More() && steps < maxSteps; steps++ {
		kinds[d.N(len(kinds))]()
	}
	if len(g.c.Index.Manifests) == 0 {
		g.c.Name(g.node(), "r.io/last:v1")
	}
	return g.c
}

// grower makes a graph. What a step makes joins the pool, of which the next ones
// are made.
type grower struct {
	c    *Content
	d    *Dice
	pool []ocispec.Descriptor
}

// any chooses of the pool, the latest where the dice have come to their end.
func (g *grower) any() ocispec.Descriptor { return g.pool[len(g.pool)-1-g.d.N(len(g.pool))] }

// node chooses a manifest, and now and then something else.
func (g *grower) node() ocispec.Descriptor {
	if g.d.Once(12) {
		return g.any()
	}
	from := g.d.N(len(g.pool))
	for i := range g.pool {
		if d := g.pool[(2*len(g.pool)-1-from-i)%len(g.pool)]; layout.IsManifest(d.MediaType) {
			return d
		}
	}
	return g.any()
}

func list(n int, pick func() ocispec.Descriptor) []ocispec.Descriptor {
	out := []ocispec.Descriptor{}
	for range n {
		out = append(out, pick())
	}
	return out
}

func (g *grower) blob() {
	mediaType := Pick(g.d, BlobType, "application/vnd.oci.image.layer.v1.tar+gzip", "image/png",
		"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
	alg := Pick(g.d, digest.SHA256, digest.SHA256, digest.SHA256, digest.SHA512)
	g.pool = append(g.pool, g.c.AddAs(alg, mediaType, slices.Clone(g.d.Bytes(g.d.N(8)))))
}

func (g *grower) config() {
	text := Pick(g.d, `{}`, `{"os":"linux","architecture":"amd64"}`, `{"os":"linux","architecture":"arm64","variant":"v8"}`,
		`{"os":"windows"}`, `[]`, `{"os":1}`, ``)
	mediaType := Pick(g.d, ocispec.MediaTypeImageConfig, layout.MediaTypeDockerConfig, ConfigType)
	g.pool = append(g.pool, g.c.Add(mediaType, []byte(text)))
}

// manifest is all that a manifest of any kind may have.
type manifest struct {
	specs.Versioned
	MediaType    string               `json:"mediaType,omitempty"`
	ArtifactType string               `json:"artifactType,omitempty"`
	Config       *ocispec.Descriptor  `json:"config,omitempty"`
	Layers       []ocispec.Descriptor `json:"layers,omitempty"`
	Blobs        []ocispec.Descriptor `json:"blobs,omitempty"`
	Manifests    []ocispec.Descriptor `json:"manifests,omitempty"`
	Subject      *ocispec.Descriptor  `json:"subject,omitempty"`
	Annotations  map[string]string    `json:"annotations,omitempty"`
}

func (g *grower) add(m manifest) ocispec.Descriptor {
	mediaType := m.MediaType
	m.SchemaVersion = 2
	if g.d.Once(4) {
		m.MediaType = "" // it need not say what it is
	}
	desc := g.c.AddJSON(mediaType, m)
	g.pool = append(g.pool, desc)
	return desc
}

func (g *grower) image() {
	m := manifest{MediaType: Pick(g.d, ocispec.MediaTypeImageManifest, layout.MediaTypeDockerManifest, layout.MediaTypeArtifactManifest)}
	if m.MediaType == layout.MediaTypeArtifactManifest {
		m.Blobs = list(g.d.N(4), g.any)
	} else {
		config := g.any()
		m.Config, m.Layers = &config, list(g.d.N(5), g.any)
	}
	m.ArtifactType = Pick(g.d, "", "", "application/vnd.test")
	g.add(m)
}

func (g *grower) index() {
	m := manifest{MediaType: Pick(g.d, ocispec.MediaTypeImageIndex, layout.MediaTypeDockerManifestList), Manifests: list(g.d.N(6), g.node)}
	for i := range m.Manifests {
		c := &m.Manifests[i]
		c.Platform = Pick(g.d, nil, &ocispec.Platform{OS: "linux", Architecture: "amd64"}, &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
			&ocispec.Platform{OS: "windows", Architecture: "amd64"}, &ocispec.Platform{OS: "unknown", Architecture: "unknown"})
		if g.d.Once(6) {
			c.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": string(g.node().Digest)}
		}
	}
	g.add(m)
}

// referrer makes an artifact that refers to another, as a signature does.
func (g *grower) referrer() {
	subject, config := g.node(), g.any()
	d := g.add(manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.test.signature", Config: &config, Subject: &subject})
	g.c.Name(d, Pick(g.d, "", "", "r.io/a:v1", "r.io/signature:v1"))
	g.kind("", "dev.hauler/referrers")
}

// cosign makes an entry that belongs to another by its tag.
func (g *grower) cosign() {
	subject := g.node().Digest
	if layout.CheckDigest(subject) == nil && len(subject) < layout.MaxTagSize-10 {
		tag := subject.Algorithm().String() + "-" + subject.Encoded() + Pick(g.d, ".sig", ".att", ".sbom")
		g.c.Name(g.node(), Pick(g.d, "r.io/a:", "r.io/b:", ":")+tag)
	}
}

func (g *grower) entry() {
	g.c.Name(g.node(), Pick(g.d, "r.io/a:v1", "r.io/b:v1", "docker.io/library/alpine:3", "", "v1", "r.io/a", "acme/a:v1", "r.io/a:v1@"+g.any().Digest.String()))
	g.kind("", "", "", "dev.cosignproject.cosign/sigs", "dev.hauler/image", "dev.cosignproject.cosign/image")
}

// kind has the latest entry say what it is, as hauler and cosign save do.
func (g *grower) kind(list ...string) {
	if kind := Pick(g.d, list...); kind != "" {
		e := &g.c.Index.Manifests[len(g.c.Index.Manifests)-1]
		all := map[string]string{"kind": kind}
		maps.Copy(all, e.Annotations)
		e.Annotations = all
	}
}

// leaveOut lists something as absent, and may take it away.
func (g *grower) leaveOut() {
	d := g.any()
	absent, _ := layout.AbsentOf(g.c.Index)
	if absent = maps.Clone(absent); absent == nil {
		absent = layout.Absent{}
	}
	if layout.CheckDigest(d.Digest) != nil {
		return
	}
	absent[d.Digest] = struct{}{}
	absent.Mark(&g.c.Index)
	if g.d.Once(2) {
		delete(g.c.Blobs, d.Digest)
	}
}

// lie says of something what is not so.
func (g *grower) lie() {
	d := g.any()
	switch g.d.N(5) {
	case 0:
		d.Size = Pick(g.d, d.Size+1, d.Size-1, 0, 1<<62, -1, layout.MaxManifestSize+1)
	case 1:
		d.MediaType = Pick(g.d, BlobType, "", ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, layout.MediaTypeDockerManifest,
			layout.MediaTypeArtifactManifest, layout.MediaTypeDockerManifestList)
	case 2:
		d.Digest = Pick(g.d, digest.FromString("nowhere"), "sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e", "", "sha256:../../etc/passwd")
	case 3:
		// JSON leaves out what is empty.
		if d.Data = Pick(g.d, g.c.Blobs[d.Digest], []byte("lie")); len(d.Data) == 0 {
			d.Data = nil
		}
	case 4:
		d.Digest = g.any().Digest
	}
	g.pool = append(g.pool, d)
}

func (g *grower) lose() { delete(g.c.Blobs, g.any().Digest) }

func (g *grower) damage() {
	d := g.any().Digest
	if b, ok := g.c.Blobs[d]; ok {
		g.c.Blobs[d] = Pick(g.d, fmt.Appendf(nil, "%s ", b), b[:len(b)/2], bytes.Repeat([]byte{' '}, len(b)), nil)
	}
}
