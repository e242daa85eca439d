package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// Annotations of a layer, by which cosign kept beside a signature what belongs to
// it: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationLog         = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// simpleType is the type of a payload that cosign signs.
const simpleType = "cosign container image signature"

// legacyBundle is the version of Sigstore bundles that has what the older form has:
// a log's promise, and no proof.
const legacyBundle = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// openSimple reads a signature of the older form: the layer is what is signed, and
// names the digest that it is over.
func openSimple(payload []byte, annotations map[string]string, target digest.Digest) (*proof, error) {
	var p struct {
		Critical struct {
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return nil, fmt.Errorf("its payload: %w", err)
	}
	if p.Critical.Type != simpleType {
		return nil, fmt.Errorf("its payload has the type %q, and must have %q", p.Critical.Type, simpleType)
	}
	if p.Critical.Image.Digest != target {
		return nil, fmt.Errorf("it is over %q, and hangs on %s", p.Critical.Image.Digest, target)
	}
	sig, err := base64.StdEncoding.DecodeString(annotations[annotationSignature])
	if err != nil || len(sig) == 0 {
		return nil, fmt.Errorf("the annotation %s holds no signature", annotationSignature)
	}
	sum := sha256.Sum256(payload)
	b, err := legacy(&protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{
		MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     sig,
		},
	}}, annotations)
	if err != nil {
		return nil, err
	}
	return &proof{Bundle: b, message: payload, kind: KindSignature}, nil
}

// openEnvelope reads an attestation of the older form: the layer is an envelope.
func openEnvelope(raw []byte, annotations map[string]string) (*proof, error) {
	var e struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("its envelope: %w", err)
	}
	env := &protodsse.Envelope{PayloadType: e.PayloadType, Payload: e.Payload}
	for _, s := range e.Signatures {
		env.Signatures = append(env.Signatures, &protodsse.Signature{Sig: s.Sig})
	}
	b, err := legacy(&protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env}}, annotations)
	if err != nil {
		return nil, err
	}
	return proofOf(b)
}

// legacy makes a Sigstore bundle of a signature and of what its annotations hold.
// The chain of a certificate is not among it: the roots and what is between are
// those of the operator.
func legacy(b *protobundle.Bundle, annotations map[string]string) (*bundle.Bundle, error) {
	b.MediaType = legacyBundle
	b.VerificationMaterial = &protobundle.VerificationMaterial{}
	m := b.VerificationMaterial
	text := annotations[annotationCertificate]
	if text == "" {
		m.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}}
		return bundle.NewBundle(b)
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("the annotation %s: %w", annotationCertificate, err)
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("the annotation %s holds %d certificates; it must hold one", annotationCertificate, len(certs))
	}
	m.Content = &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: certs[0].Raw}}
	if text := annotations[annotationLog]; text != "" {
		entry, err := logEntry(text)
		if err != nil {
			return nil, fmt.Errorf("the annotation %s: %w", annotationLog, err)
		}
		m.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := annotations[annotationTimestamp]; text != "" {
		var t struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return nil, fmt.Errorf("the annotation %s: %w", annotationTimestamp, err)
		}
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: t.SignedRFC3161Timestamp}},
		}
	}
	return bundle.NewBundle(b)
}

// logEntry reads what a transparency log promised.
func logEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var r struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(r.Payload.LogID)
	if err != nil {
		return nil, err
	}
	var body struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	if err := json.Unmarshal(r.Payload.Body, &body); err != nil {
		return nil, fmt.Errorf("its entry: %w", err)
	}
	if len(r.SignedEntryTimestamp) == 0 {
		return nil, errors.New("it has no promise of the log")
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          r.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: body.Kind, Version: body.Version},
		IntegratedTime:    r.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: r.SignedEntryTimestamp},
		CanonicalizedBody: r.Payload.Body,
	}, nil
}
