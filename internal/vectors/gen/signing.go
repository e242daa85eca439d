package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// The media types of what cosign writes.
const (
	typeBundle    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	typeSimple    = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope  = "application/vnd.dsse.envelope.v1+json"
	typeStatement = "application/vnd.in-toto+json"
	typeEmpty     = "application/vnd.oci.empty.v1+json"

	predicateSign       = "https://sigstore.dev/cosign/sign/v1"
	predicateProvenance = "https://slsa.dev/provenance/v1"
)

// key is a private key that follows from its name, and signs the same bytes alike each
// time. No secret: everybody can make it.
type key struct {
	name string
	crypto.Signer
}

func ecdsaKey(name string) key {
	seed := sha256.Sum256([]byte("airdeck vectors: " + name))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	return key{name, must(k, err)}
}

func ed25519Key(name string) key {
	seed := sha256.Sum256([]byte("airdeck vectors: " + name))
	return key{name, ed25519.NewKeyFromSeed(seed[:])}
}

// must is for what can't fail with what is written here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (k key) sign(message string) string {
	digest, how := []byte(message), crypto.Hash(0)
	if _, ok := k.Public().(*ecdsa.PublicKey); ok {
		sum := sha256.Sum256(digest)
		digest, how = sum[:], crypto.SHA256
	}
	// Without randomness it is deterministic (RFC 6979).
	return string(must(k.Sign(nil, digest, how)))
}

func (k key) der() []byte { return must(x509.MarshalPKIXPublicKey(k.Public())) }

func (k key) id() []byte {
	sum := sha256.Sum256(k.der())
	return sum[:]
}

// file is the name of the file with the public key.
func (k key) file() string { return k.name + ".pub" }

// pem is the public key, as cosign.pub has it.
func (k key) pem() string { return pemOf("PUBLIC KEY", k.der()) }

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func base64Of[T string | []byte](b T) string { return base64.StdEncoding.EncodeToString([]byte(b)) }

// sum is the sha256 of a text, as JSON of Sigstore has it.
func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return base64Of(s[:])
}

// material says by which key a Sigstore bundle is signed.
func (k key) material() string { return `"publicKey":{"hint":` + quoted(base64Of(k.id())) + `}` }

// sigstore is a Sigstore bundle: what it is to be verified with, and what it holds.
func sigstore(material, content string) string {
	return object(`"mediaType":`+quoted(typeBundle), `"verificationMaterial":`+object(material), content)
}

// overMessage is the content of a bundle with a signature over a message.
func overMessage(message, signature string) string {
	return `"messageSignature":` + object(`"messageDigest":`+object(`"algorithm":"SHA2_256"`, `"digest":`+quoted(sum(message))), `"signature":`+quoted(base64Of(signature)))
}

// messageBundle is what cosign sign-blob makes, in one line.
func (k key) messageBundle(message string) string {
	return sigstore(k.material(), overMessage(message, k.sign(message))) + "\n"
}

// preAuth is what of an envelope is signed: https://github.com/secure-systems-lab/dsse
func preAuth(payloadType, payload string) string {
	return fmt.Sprintf("DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

func (k key) signEnvelope(payloadType, payload string) string {
	return k.sign(preAuth(payloadType, payload))
}

// envelopeOf is a DSSE envelope with these signatures.
func envelopeOf(payloadType, payload string, signatures ...string) string {
	var all []string
	for _, s := range signatures {
		all = append(all, object(`"sig":`+quoted(base64Of(s))))
	}
	return object(`"payload":`+quoted(base64Of(payload)), `"payloadType":`+quoted(payloadType), `"signatures":`+list(all...))
}

func (k key) envelope(payloadType, payload string) string {
	return envelopeOf(payloadType, payload, k.signEnvelope(payloadType, payload))
}

// envelopeBundle is a bundle with an envelope.
func (k key) envelopeBundle(payloadType, payload string) string {
	return sigstore(k.material(), `"dsseEnvelope":`+k.envelope(payloadType, payload))
}

// statementBundle is what cosign sign and cosign attest make for a manifest.
func (k key) statementBundle(predicateType, manifest string) string {
	return k.envelopeBundle(typeStatement, statement(predicateType, manifest))
}

// statement is one of in-toto about a manifest.
func statement(predicateType, manifest string) string {
	return object(`"_type":"https://in-toto.io/Statement/v1"`,
		`"subject":`+list(object(`"name":"intro"`, `"digest":`+object(`"sha256":`+quoted(sha(manifest))))),
		`"predicateType":`+quoted(predicateType), `"predicate":{}`)
}

// simplePayload is what cosign signs for its .sig tags.
func simplePayload(manifest string) string {
	return object(`"critical":`+object(`"identity":{"docker-reference":"ghcr.io/acme/decks/intro"}`,
		`"image":`+object(`"docker-manifest-digest":`+quoted(dgst(manifest))), `"type":"cosign container image signature"`), `"optional":null`)
}
