package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/airdeck/airdeck/trust"
)

const (
	typeStatement = "application/vnd.in-toto+json"
	cosignSign    = "https://sigstore.dev/cosign/sign/v1"
	provenance    = "https://slsa.dev/provenance/v1"
)

// keyPair signs as cosign does.
type keyPair struct {
	t testing.TB
	signature.Signer
	pem []byte
}

func newKey(t testing.TB, private crypto.Signer) *keyPair {
	t.Helper()
	s, err := signature.LoadSigner(private, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := cryptoutils.MarshalPublicKeyToPEM(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &keyPair{t, s, pem}
}

func ecdsaKey(t testing.TB, c elliptic.Curve) *keyPair {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newKey(t, k)
}

func ed25519Key(t testing.TB) (*keyPair, ed25519.PrivateKey) {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newKey(t, k), k
}

func rsaKey(t testing.TB) *keyPair {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return newKey(t, k)
}

func (k *keyPair) sign(message []byte) []byte {
	k.t.Helper()
	sig, err := k.SignMessage(bytes.NewReader(message))
	if err != nil {
		k.t.Fatal(err)
	}
	return sig
}

// policy reads a policy whose files are these.
func policy(t testing.TB, text string, files map[string][]byte) *trust.Policy {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := trust.ReadPolicy(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// demands is a policy of one rule that wants a signature of this key.
func (k *keyPair) demands() *trust.Policy {
	return policy(k.t, "rules:\n- match: '**'\n  keys: k.pub\n", map[string][]byte{"k.pub": k.pem})
}

func statement(predicateType string, d digest.Digest) []byte {
	b, _ := json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": predicateType, "predicate": map[string]any{},
		"subject": []any{map[string]any{"name": "x", "digest": map[string]string{d.Algorithm().String(): d.Encoded()}}},
	})
	return b
}

// simplePayload is what cosign signed before there were bundles.
func simplePayload(d digest.Digest) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"ghcr.io/acme/app"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}`, d)
}

// pae is what of an envelope is signed: https://github.com/secure-systems-lab/dsse
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// envelope is a signed DSSE envelope.
func envelope(sign func([]byte) []byte, payloadType string, payload []byte) *protodsse.Envelope {
	return &protodsse.Envelope{PayloadType: payloadType, Payload: payload, Signatures: []*protodsse.Signature{
		{Sig: sign(pae(payloadType, payload))},
	}}
}

// keyed is a Sigstore bundle of a key.
func keyed() *protobundle.Bundle {
	return &protobundle.Bundle{MediaType: typeBundle, VerificationMaterial: &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "hint"}},
	}}
}

// statementBundle is what cosign sign makes with a key.
func (k *keyPair) statementBundle(predicateType string, d digest.Digest) []byte {
	k.t.Helper()
	b := keyed()
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope(k.sign, typeStatement, statement(predicateType, d))}
	return encode(k.t, b)
}

// messageBundle is what cosign sign-blob makes with a key.
func (k *keyPair) messageBundle(message []byte) []byte {
	k.t.Helper()
	b := keyed()
	b.Content = messageSignature(message, k.sign(message))
	return encode(k.t, b)
}

func messageSignature(message, sig []byte) *protobundle.Bundle_MessageSignature {
	sum := sha256.Sum256(message)
	return &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: sig,
	}}
}

func encode(t testing.TB, b *protobundle.Bundle) []byte {
	t.Helper()
	out, err := (&bundle.Bundle{Bundle: b}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// simple puts a signature of the older form on the shelf.
func (k *keyPair) simple(s *shelf, payload []byte) ocispec.Descriptor {
	d := s.put(typeSimple, payload)
	d.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(k.sign(payload))}
	return d
}

// attestation puts an attestation of the older form on the shelf.
func (k *keyPair) attestation(s *shelf, payloadType string, payload []byte) ocispec.Descriptor {
	return s.putJSON(typeEnvelope, envelopeJSON(envelope(k.sign, payloadType, payload)))
}

func envelopeJSON(e *protodsse.Envelope) any {
	var sigs []any
	for _, s := range e.GetSignatures() {
		sigs = append(sigs, map[string]any{"keyid": "", "sig": s.GetSig()})
	}
	return map[string]any{"payloadType": e.GetPayloadType(), "payload": e.GetPayload(), "signatures": sigs}
}

func pemOf(t testing.TB, c *x509.Certificate) []byte {
	t.Helper()
	b, err := cryptoutils.MarshalCertificateToPEM(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
