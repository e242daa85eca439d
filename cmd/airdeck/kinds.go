package main

import (
	"cmp"
	"encoding/json"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/layout"
)

// configKinds are the artifacts that say by the type of their config what they
// are.
var configKinds = map[string]string{
	deck.MediaTypeConfig:                       "deck",
	ocispec.MediaTypeImageConfig:               "image",
	layout.MediaTypeDockerConfig:               "image",
	"application/vnd.cncf.helm.config.v1+json": "Helm chart",
	"application/vnd.cncf.flux.config.v1+json": "Flux artifact",
	"application/vnd.zarf.config.v1+json":      "Zarf package",
	"application/vnd.wasm.config.v0+json":      "WebAssembly component",
}

// artifactKinds are those that say it by their artifact type, or by the type of
// a layer.
var artifactKinds = map[string]string{
	deck.MediaTypeArtifact:                             "deck",
	"application/vnd.dev.cosign.simplesigning.v1+json": "cosign signature",
	"application/vnd.dev.cosign.artifact.sig.v1+json":  "cosign signature",
	"application/vnd.cncf.notary.signature":            "Notary signature",
	"application/vnd.dsse.envelope.v1+json":            "attestation",
	"application/vnd.in-toto+json":                     "attestation",
	"application/vnd.dev.sigstore.bundle.v0.3+json":    "Sigstore bundle",
	"application/spdx+json":                            "SBOM (SPDX)",
	"text/spdx":                                        "SBOM (SPDX)",
	"text/spdx+json":                                   "SBOM (SPDX)",
	"application/vnd.cyclonedx":                        "SBOM (CycloneDX)",
	"application/vnd.cyclonedx+json":                   "SBOM (CycloneDX)",
	"application/vnd.cyclonedx+xml":                    "SBOM (CycloneDX)",
	"application/vnd.syft+json":                        "SBOM (Syft)",
	"application/vnd.aquasec.trivy.report.sarif.v1":    "report (Trivy)",
}

// predicateAnnotation tells, on a Sigstore bundle, what it attests.
const predicateAnnotation = "dev.sigstore.bundle.predicateType"

// kindOf says what an artifact is, in the words of its field where it is known,
// and by its type otherwise.
func kindOf(d ocispec.Descriptor, m *layout.Manifest) string {
	if m == nil {
		return cmp.Or(d.MediaType, "blob")
	}
	if layout.IsIndex(d.MediaType) {
		return "index"
	}
	if p := m.Annotations[predicateAnnotation]; strings.Contains(p, "://") && !strings.HasSuffix(p, "/cosign/sign/v1") {
		return "attestation"
	} else if p != "" {
		return "signature"
	}
	if k := artifactKinds[m.ArtifactType]; k != "" {
		return k
	}
	// cosign's older signatures have the config of an image.
	for _, l := range m.Layers {
		if k := artifactKinds[l.MediaType]; strings.Contains(k, "signature") || k == "attestation" || strings.HasPrefix(k, "SBOM") {
			return k
		}
	}
	if m.Config != nil && m.ArtifactType == "" {
		if k := configKinds[m.Config.MediaType]; k != "" {
			return k
		}
	}
	return cmp.Or(m.ArtifactType, configType(m), d.MediaType)
}

func configType(m *layout.Manifest) string {
	if m.Config == nil {
		return ""
	}
	return m.Config.MediaType
}

// configTitle finds the name that an artifact gives itself in its config, as decks,
// charts and packages do.
func configTitle(config []byte) string {
	var c struct {
		Title   string `json:"title"`   // a deck
		Name    string `json:"name"`    // a Helm chart
		Version string `json:"version"` // a Helm chart
	}
	if json.Unmarshal(config, &c) != nil {
		return ""
	}
	return cmp.Or(c.Title, strings.TrimSpace(c.Name+" "+c.Version))
}

// annotatedTitle finds it in the annotations.
func annotatedTitle(m *layout.Manifest) string {
	return cmp.Or(m.Annotations[ocispec.AnnotationTitle], strings.TrimPrefix(m.Annotations[predicateAnnotation], "https://"))
}

// isRead is true for configs that configTitle and platformOf read, which are small.
func isRead(mediaType string) bool {
	switch configKinds[mediaType] {
	case "deck", "Helm chart", "image":
		return true
	}
	return false
}

// platformOf is what the config of an image says.
func platformOf(config []byte) *ocispec.Platform {
	// A list of features may have a million items, and is not shown.
	var p struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	}
	if json.Unmarshal(config, &p) != nil || p.OS == "" {
		return nil
	}
	return &ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}
