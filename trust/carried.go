package trust

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/airdeck/airdeck/layout"
)

// Media types, as cosign writes them.
const (
	mediaTypeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	mediaTypeEnvelope      = "application/vnd.dsse.envelope.v1+json"
	mediaTypeStatement     = "application/vnd.in-toto+json"

	artifactTypeSignature   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	artifactTypeAttestation = "application/vnd.dev.cosign.artifact.att.v1+json"

	// predicateSignature is that of a statement which says no more than a signature.
	predicateSignature = "https://sigstore.dev/cosign/sign/v1"
)

// bundleTypes are the media types of Sigstore bundles that are verified.
var bundleTypes = map[string]bool{
	"application/vnd.dev.sigstore.bundle+json;version=0.1": true,
	"application/vnd.dev.sigstore.bundle+json;version=0.2": true,
	"application/vnd.dev.sigstore.bundle+json;version=0.3": true,
	"application/vnd.dev.sigstore.bundle.v0.3+json":        true,
}

// statementTypes are the versions of in-toto statements.
var statementTypes = map[string]bool{
	"https://in-toto.io/Statement/v0.1": true,
	"https://in-toto.io/Statement/v1":   true,
}

// candidate is a manifest that belongs to another, and may hold signatures over it.
type candidate struct {
	ocispec.Descriptor
	ending  string        // of cosign's tag, such as .sig, and "" for a referrer
	subject digest.Digest // that cosign's tag names
}

// candidateKey is what the signatures depend on that a candidate holds.
type candidateKey struct {
	digest digest.Digest
	ending string
}

func (c candidate) key() candidateKey { return candidateKey{c.Digest, c.ending} }

// carried is a signature as it is carried: a layer of a manifest. Nothing of it has
// been believed yet.
type carried struct {
	manifest digest.Digest
	target   ocispec.Descriptor // what it hangs on
	layer    ocispec.Descriptor
	form     string // the media type that it must have
	fault    error  // why it is no signature
}

// list gives the signatures that a candidate holds, which may be none.
//
// Errors: those of src and of [layout.DecodeManifest].
func (c candidate) list(ctx context.Context, src layout.Source, target ocispec.Descriptor) ([]carried, error) {
	raw, err := layout.ReadAll(ctx, src, c.Descriptor)
	if err != nil {
		return nil, err
	}
	m, err := layout.DecodeManifest(c.Descriptor, raw)
	if err != nil {
		return nil, err
	}
	form := c.form(m)
	if form == "" {
		return nil, nil
	}
	if bundleTypes[form] && len(m.Layers) != 1 {
		return []carried{{manifest: c.Digest, target: target, form: form, fault: fmt.Errorf("it has %d layers; a bundle is one", len(m.Layers))}}, nil
	}
	out := make([]carried, 0, len(m.Layers))
	for _, l := range m.Layers {
		s := carried{manifest: c.Digest, target: target, layer: l, form: form}
		if l.MediaType != form {
			s.fault = fmt.Errorf("it has the media type %q, and must have %q", l.MediaType, form)
		}
		out = append(out, s)
	}
	return out, nil
}

// form gives the media type that the layers of a candidate must have, and "" where
// it holds no signatures.
func (c candidate) form(m *layout.Manifest) string {
	kind := m.ArtifactType
	if kind == "" && m.Config != nil {
		kind = m.Config.MediaType
	}
	switch {
	case c.ending == ".sig", c.ending == "" && kind == artifactTypeSignature:
		return mediaTypeSimpleSigning
	case c.ending == ".att", c.ending == "" && kind == artifactTypeAttestation:
		return mediaTypeEnvelope
	case c.ending == "" && bundleTypes[kind]:
		return kind
	}
	return ""
}

// kind is what a carried signature is as far as its place tells, and "" where it
// does not.
func (c carried) kind() Kind {
	switch c.form {
	case mediaTypeSimpleSigning:
		return KindSignature
	case mediaTypeEnvelope:
		return KindAttestation
	}
	return ""
}

// proof is a signature that has been read, and that has yet to be verified.
type proof struct {
	*bundle.Bundle
	message       []byte // what it is over, where the bundle does not hold that
	kind          Kind
	predicateType string
}

// errFault marks a signature that can't be read as one.
type errFault struct{ error }

func (e errFault) Unwrap() error { return e.error }

// open reads a signature.
//
// Errors: an errFault for what is no signature over its target, and those of src.
func (c carried) open(ctx context.Context, src layout.Source) (*proof, error) {
	if c.fault != nil {
		return nil, errFault{c.fault}
	}
	raw, err := layout.ReadAll(ctx, src, c.layer)
	var classed *layout.Error
	if errors.As(err, &classed) && (classed.Class == layout.ClassLimit || classed.Class == layout.ClassJSON) {
		return nil, errFault{err}
	}
	if err != nil {
		return nil, err
	}
	var p *proof
	switch c.form {
	case mediaTypeSimpleSigning:
		p, err = openSimple(raw, c.layer.Annotations, c.target.Digest)
	case mediaTypeEnvelope:
		p, err = openEnvelope(raw, c.layer.Annotations)
	default:
		p, err = openBundle(raw, c.form)
	}
	if err != nil {
		return nil, errFault{err}
	}
	if p.GetMessageSignature() != nil && p.message == nil {
		p.message, err = layout.ReadAll(ctx, src, c.target)
	}
	return p, err
}

// openBundle reads a Sigstore bundle.
func openBundle(raw []byte, mediaType string) (*proof, error) {
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if b.MediaType != mediaType {
		return nil, fmt.Errorf("it is listed as %q and calls itself %q", mediaType, b.MediaType)
	}
	return proofOf(b)
}

// proofOf finds out what a bundle is, by the statement that it holds.
func proofOf(b *bundle.Bundle) (*proof, error) {
	p := &proof{Bundle: b, kind: KindSignature}
	env := b.GetDsseEnvelope()
	if env == nil {
		return p, nil
	}
	if env.GetPayloadType() != mediaTypeStatement {
		return nil, fmt.Errorf("its payload has the type %q, and must have %q", env.GetPayloadType(), mediaTypeStatement)
	}
	if n := len(env.GetSignatures()); n != 1 {
		return nil, fmt.Errorf("its envelope has %d signatures; it must have one", n)
	}
	// Read as no other reader can misread it. sigstore-go reads the subjects.
	var statement struct {
		Type          string         `json:"_type"`
		PredicateType string         `json:"predicateType"`
		Subject       jsontext.Value `json:"subject"`
		Predicate     jsontext.Value `json:"predicate"`
	}
	if err := json.Unmarshal(env.GetPayload(), &statement); err != nil {
		return nil, fmt.Errorf("its statement: %w", err)
	}
	if !statementTypes[statement.Type] {
		return nil, fmt.Errorf("its statement has the type %q", statement.Type)
	}
	if statement.PredicateType == "" {
		return nil, errors.New("its statement has no predicate type")
	}
	p.predicateType = statement.PredicateType
	if p.predicateType != predicateSignature {
		p.kind = KindAttestation
	}
	return p, nil
}
