package trust_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

const (
	repository = "ghcr.io/acme/app"
	tagged     = repository + ":v1"

	typeBundle   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	typeSimple   = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope = "application/vnd.dsse.envelope.v1+json"
)

// shelf is the content of a bundle that a test makes.
type shelf struct {
	t       testing.TB
	blobs   map[digest.Digest][]byte
	entries []ocispec.Descriptor
	absent  layout.Absent
}

func newShelf(t testing.TB) *shelf {
	return &shelf{t: t, blobs: map[digest.Digest][]byte{}}
}

func (s *shelf) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	b, ok := s.blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", d.Digest, layout.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s *shelf) Absent() (layout.Absent, error) { return s.absent, nil }

func (s *shelf) put(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	s.blobs[d.Digest] = b
	return d
}

func (s *shelf) putJSON(mediaType string, v any) ocispec.Descriptor {
	s.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put(mediaType, b)
}

// manifest stores an image whose only layer has the content.
func (s *shelf) manifest(content string) ocispec.Descriptor {
	return s.putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.put(ocispec.MediaTypeImageConfig, []byte("{}")),
		Layers: []ocispec.Descriptor{s.put(ocispec.MediaTypeImageLayerGzip, []byte(content))},
	})
}

func (s *shelf) index(children ...ocispec.Descriptor) ocispec.Descriptor {
	return s.putJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
	})
}

// add names a manifest in index.json.
func (s *shelf) add(name string, d ocispec.Descriptor) ocispec.Descriptor {
	s.entries = append(s.entries, layout.Named(d, name))
	return d
}

// image adds an artifact.
func (s *shelf) image(name string) ocispec.Descriptor { return s.add(name, s.manifest(name)) }

// refer hangs layers on a subject, as a referrer.
func (s *shelf) refer(subject ocispec.Descriptor, artifactType string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	d := s.putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: s.put(ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: layers, Subject: &subject,
	})
	s.entries = append(s.entries, d)
	return d
}

// bundle hangs a Sigstore bundle on a subject.
func (s *shelf) bundle(subject ocispec.Descriptor, b []byte) {
	s.refer(subject, typeBundle, s.put(typeBundle, b))
}

// tag hangs layers on a digest, as cosign did before there were referrers.
func (s *shelf) tag(repo string, of digest.Digest, ending string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	d := s.putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.put(ocispec.MediaTypeImageConfig, []byte(`{"rootfs":{}}`)), Layers: layers,
	})
	return s.add(repo+":"+of.Algorithm().String()+"-"+of.Encoded()+ending, d)
}

// check gives the report of a policy.
func (s *shelf) check(p *trust.Policy) *trust.Report {
	s.t.Helper()
	r, err := p.Check(s.t.Context(), s, s.entries)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// one gives the report of the only artifact.
func (s *shelf) one(p *trust.Policy) trust.Artifact {
	s.t.Helper()
	r := s.check(p)
	if len(r.Artifacts) != 1 {
		s.t.Fatalf("there are %d artifacts: %+v", len(r.Artifacts), r.Artifacts)
	}
	return r.Artifacts[0]
}
