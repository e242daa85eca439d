package trust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

// provenanceOf is what a bundle of testdata/sigstore-go attests.
const provenanceOf = "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"

// FuzzSignature demands of whatever hangs on an artifact that it counts only if what
// is signed in it is, to the byte, what the key or the certificate did sign.
func FuzzSignature(f *testing.F) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	k := newKey(f, private)
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/sigstore-go/" + name)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	const who = "keys: k.pub, identities: [{issuerRegexp: .*, subjectRegexp: .*}]"
	p := policy(f, "trustedRoot: root.json\nrules: [{match: '**', "+who+", attestations: [{type: "+provenance+", "+who+"}], unsigned: deny}]",
		map[string][]byte{"k.pub": k.pem, "root.json": read("public-good.json")})

	// Two artifacts: what the key signed, and one with the digest that is attested in
	// public.
	seed := newShelf(f)
	target := seed.manifest("x")
	image := seed.blobs[target.Digest]
	public := digest.Digest(provenanceOf)
	stand := seed.manifest("y") // whose bytes nobody signed

	publicBundle := read("sigstore.js-2.0.0-provenance.sigstore.json")
	statements := [][]byte{
		statement(cosignSign, target.Digest), statement(provenance, target.Digest), payloadOf(f, publicBundle), simplePayload(target.Digest), image,
	}
	const older = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	simple := k.simple(seed, statements[3])
	signature := simple.Annotations["dev.cosignproject.cosign/signature"]
	f.Add(uint8(0), typeBundle, typeBundle, k.statementBundle(cosignSign, target.Digest), "", "", "", "")
	f.Add(uint8(0), typeBundle, typeBundle, k.messageBundle(image), "", "", "", "")
	f.Add(uint8(0), older, older, publicBundle, "", "", "", "")
	f.Add(uint8(1), "", typeSimple, statements[3], signature, "", "", "")
	f.Add(uint8(1), "", typeSimple, statements[3], signature, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", `{"SignedEntryTimestamp":"AA==","Payload":{"body":"e30=","integratedTime":1,"logIndex":1,"logID":"00"}}`, `{"SignedRFC3161Timestamp":"AA=="}`)
	f.Add(uint8(2), "", typeEnvelope, seed.blobs[k.attestation(seed, typeStatement, statements[1]).Digest], "", "", "", "")

	f.Fuzz(func(t *testing.T, place uint8, artifactType, mediaType string, layer []byte, signature, certificate, log, stamp string) {
		for _, d := range []digest.Digest{target.Digest, public} {
			s := newShelf(t)
			image := target
			if d == public {
				image = stand
			}
			s.blobs[d], image.Digest = seed.blobs[image.Digest], d
			s.entries = []ocispec.Descriptor{layout.Named(image, tagged)}
			l := s.put(mediaType, layer)
			l.Annotations = map[string]string{
				"dev.cosignproject.cosign/signature": signature, "dev.sigstore.cosign/certificate": certificate,
				"dev.sigstore.cosign/bundle": log, "dev.sigstore.cosign/rfc3161timestamp": stamp,
			}
			switch place % 3 {
			case 0:
				s.refer(image, artifactType, l)
			case 1:
				s.tag(repository, d, ".sig", l)
			case 2:
				s.tag(repository, d, ".att", l)
			}
			r, err := p.Check(t.Context(), s, s.entries)
			if err != nil {
				continue // texts that are no media types
			}
			a := r.Artifacts[0]
			if a.State == trust.Verified {
				t.Fatalf("both are demanded, and one is there: %+v", a)
			}
			for _, sig := range a.Signatures {
				if sig.State != trust.Verified {
					continue
				}
				if got := signedIn(t, place, layer, s.blobs[d]); !contains(statements, got) {
					t.Fatalf("verified, and nobody signed %q", got)
				}
				if (sig.By.KeyID == "") != (d == public) {
					t.Fatalf("verified over %s by %+v", d, sig.By)
				}
			}
		}
	})
}

func contains(list [][]byte, b []byte) bool {
	for _, o := range list {
		if bytes.Equal(o, b) {
			return true
		}
	}
	return false
}

// signedIn gives what is signed in a layer.
func signedIn(t *testing.T, place uint8, layer, manifest []byte) []byte {
	t.Helper()
	switch place % 3 {
	case 1:
		return layer
	case 2:
		var e struct{ Payload []byte }
		if err := json.Unmarshal(layer, &e); err != nil {
			t.Fatal(err)
		}
		return e.Payload
	}
	b := payloadOf(t, layer)
	if b == nil {
		return manifest
	}
	return b
}

func payloadOf(t testing.TB, raw []byte) []byte {
	t.Helper()
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return b.GetDsseEnvelope().GetPayload()
}
