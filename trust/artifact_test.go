package trust_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha512"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

// Each form in which cosign writes signatures and attestations, with each kind of
// key.
func TestKeys(t *testing.T) {
	plain, private := ed25519Key(t)
	prehashed, err := signature.LoadED25519phSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*keyPair{
		"P-256": ecdsaKey(t, elliptic.P256()), "P-384": ecdsaKey(t, elliptic.P384()), "P-521": ecdsaKey(t, elliptic.P521()),
		"RSA": rsaKey(t), "Ed25519": plain, "Ed25519ph": {t, prehashed, plain.pem},
	} {
		t.Run(name, func(t *testing.T) {
			for form, hang := range map[string]func(*shelf, ocispec.Descriptor){
				"statement": func(s *shelf, d ocispec.Descriptor) { s.bundle(d, k.statementBundle(cosignSign, d.Digest)) },
				"message":   func(s *shelf, d ocispec.Descriptor) { s.bundle(d, k.messageBundle(s.blobs[d.Digest])) },
				"tag": func(s *shelf, d ocispec.Descriptor) {
					s.tag(repository, d.Digest, ".sig", k.simple(s, simplePayload(d.Digest)))
				},
				"referrer of the older form": func(s *shelf, d ocispec.Descriptor) {
					s.refer(d, "application/vnd.dev.cosign.artifact.sig.v1+json", k.simple(s, simplePayload(d.Digest)))
				},
			} {
				s := newShelf(t)
				d := s.image(tagged)
				hang(s, d)
				a := s.one(k.demands())
				if a.State != trust.Verified || a.Decision != trust.Allow || a.Name != tagged || a.Digest != d.Digest || a.Rule != "**" {
					t.Fatalf("%s: %+v", form, a)
				}
				sig := a.Signatures[0]
				if sig.State != trust.Verified || sig.Kind != trust.KindSignature || sig.Covers != d.Digest || sig.By == nil ||
					sig.By.Key != "k.pub" || len(sig.By.KeyID) != 64 || sig.By.Subject != "" {
					t.Errorf("%s: %+v", form, sig)
				}
			}
		})
	}
}

func TestAttestations(t *testing.T) {
	k, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	files := map[string][]byte{"k.pub": k.pem, "other.pub": other.pem}
	both := policy(t, "rules: [{match: '**', keys: [k.pub], attestations: ["+provenance+"]}]", files)
	alone := policy(t, "rules: [{match: '**', attestations: [{type: "+provenance+", keys: [other.pub]}]}]", files)
	apart := policy(t, "rules: [{match: '**', keys: [k.pub], attestations: [{type: "+provenance+", keys: [other.pub]}]}]", files)

	bundled := func(k *keyPair, kind string) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) { s.bundle(d, k.statementBundle(kind, d.Digest)) }
	}
	older := func(k *keyPair) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			s.tag(repository, d.Digest, ".att", k.attestation(s, typeStatement, statement(provenance, d.Digest)))
		}
	}
	all := func(list ...func(*shelf, ocispec.Descriptor)) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			for _, f := range list {
				f(s, d)
			}
		}
	}
	for name, tc := range map[string]struct {
		policy *trust.Policy
		hang   func(*shelf, ocispec.Descriptor)
		state  trust.State
		why    string
	}{
		"both":                   {both, all(bundled(k, cosignSign), bundled(k, provenance)), trust.Verified, ""},
		"older form":             {both, all(bundled(k, cosignSign), older(k)), trust.Verified, ""},
		"of another":             {both, all(bundled(k, cosignSign), bundled(other, provenance)), trust.Invalid, "none of the signers gave the attestation"},
		"of another, older form": {both, all(bundled(k, cosignSign), older(other)), trust.Invalid, "none of the signers gave the attestation"},
		"missing":                {both, bundled(k, cosignSign), trust.Invalid, "it carries no attestation of type " + provenance},
		"of another type":        {both, all(bundled(k, cosignSign), bundled(k, provenance+".1")), trust.Invalid, "it carries no attestation"},
		"no signature":           {both, bundled(k, provenance), trust.Invalid, "it carries no signature"},
		"alone":                  {alone, bundled(other, provenance), trust.Verified, ""},
		"alone, a signature":     {alone, bundled(other, cosignSign), trust.Unsigned, ""},
		"alone, nothing":         {alone, all(), trust.Unsigned, ""},
		"apart":                  {apart, all(bundled(k, cosignSign), bundled(other, provenance)), trust.Verified, ""},
		"apart, swapped":         {apart, all(bundled(other, cosignSign), bundled(k, provenance)), trust.Invalid, "none of the signers"},
	} {
		s := newShelf(t)
		tc.hang(s, s.image(tagged))
		if a := s.one(tc.policy); a.State != tc.state || !strings.Contains(a.Why, tc.why) {
			t.Errorf("%s: %s, %q", name, a.State, a.Why)
		}
	}
}

// Each has one fault, and none may count.
func TestHostileSignatures(t *testing.T) {
	k, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	elsewhere := digest.FromString("elsewhere")
	p := policy(t, "rules: [{match: '**', keys: [k.pub], unsigned: allow}]", map[string][]byte{"k.pub": k.pem})

	// change hangs a good bundle, with a fault in it.
	change := func(f func(b *protobundle.Bundle, env *protodsse.Envelope)) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			b := keyed()
			env := envelope(k.sign, typeStatement, statement(cosignSign, d.Digest))
			b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env}
			f(b, env)
			s.bundle(d, encode(t, b))
		}
	}
	signed := func(text func(d digest.Digest) string) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			b := keyed()
			b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope(k.sign, typeStatement, []byte(text(d.Digest)))}
			s.bundle(d, encode(t, b))
		}
	}
	replaced := func(old, new string) func(*shelf, ocispec.Descriptor) {
		return signed(func(d digest.Digest) string {
			return strings.ReplaceAll(string(statement(cosignSign, d)), old, new)
		})
	}
	simple := func(f func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) { s.tag(repository, d.Digest, ".sig", f(s, d)) }
	}
	raw := func(f func(good []byte) []byte) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) { s.bundle(d, f(k.statementBundle(cosignSign, d.Digest))) }
	}
	for name, tc := range map[string]struct {
		hang func(*shelf, ocispec.Descriptor)
		why  string
	}{
		"wrong key": {func(s *shelf, d ocispec.Descriptor) { s.bundle(d, other.statementBundle(cosignSign, d.Digest)) }, "k.pub"},
		"wrong key, older": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return other.simple(s, simplePayload(d.Digest))
		}), "k.pub"},
		"other digest": {func(s *shelf, d ocispec.Descriptor) { s.bundle(d, k.statementBundle(cosignSign, elsewhere)) }, "digest"},
		"other digest, older": {simple(func(s *shelf, _ ocispec.Descriptor) ocispec.Descriptor {
			return k.simple(s, simplePayload(elsewhere))
		}), elsewhere.String()},
		"other message": {func(s *shelf, d ocispec.Descriptor) { s.bundle(d, k.messageBundle([]byte("other"))) }, "verify"},
		"message digest of another": {func(s *shelf, d ocispec.Descriptor) {
			b := keyed()
			b.Content = messageSignature([]byte("other"), k.sign(s.blobs[d.Digest]))
			s.bundle(d, encode(t, b))
		}, "digest"},
		"no message digest": {func(s *shelf, d ocispec.Descriptor) {
			b := keyed()
			b.Content = messageSignature(nil, k.sign(s.blobs[d.Digest]))
			b.GetMessageSignature().MessageDigest = nil
			s.bundle(d, encode(t, b))
		}, ""},
		"digest in another algorithm": {func(s *shelf, d ocispec.Descriptor) {
			sum := sha512.Sum512(s.blobs[d.Digest])
			s.bundle(d, k.statementBundle(cosignSign, digest.NewDigestFromBytes(digest.SHA512, sum[:])))
		}, "digest"},
		"digest under the wrong name": {replaced(`"sha256"`, `"sha512"`), "digest"},
		"no subject":                  {replaced(`"subject":[`, `"subjects":[`), "digest"},
		"payload type": {change(func(_ *protobundle.Bundle, env *protodsse.Envelope) {
			env.PayloadType = "application/vnd.in-toto+JSON"
		}), "payload has the type"},
		"payload type that is signed": {func(s *shelf, d ocispec.Descriptor) {
			b := keyed()
			b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope(k.sign, "text/plain", statement(cosignSign, d.Digest))}
			s.bundle(d, encode(t, b))
		}, `payload has the type "text/plain"`},
		"simple type": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return k.simple(s, bytes.Replace(simplePayload(d.Digest), []byte("cosign container"), []byte("atomic container"), 1))
		}), "payload has the type"},
		"simple without a type": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return k.simple(s, bytes.Replace(simplePayload(d.Digest), []byte(`"type"`), []byte(`"Type"`), 1))
		}), "payload has the type"},
		"simple with two digests": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return k.simple(s, bytes.Replace(simplePayload(d.Digest), []byte(`"image":{`), []byte(`"image":{"docker-manifest-digest":"`+elsewhere+`",`), 1))
		}), "its payload"},
		"simple with something after it": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return k.simple(s, append(simplePayload(d.Digest), "{}"...))
		}), "its payload"},
		"statement as a simple payload": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return k.simple(s, statement(cosignSign, d.Digest))
		}), "payload has the type"},
		"signature that is none": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			l := k.simple(s, simplePayload(d.Digest))
			l.Annotations["dev.cosignproject.cosign/signature"] = "%"
			return l
		}), "holds no signature"},
		"signature missing": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			l := k.simple(s, simplePayload(d.Digest))
			l.Annotations = nil
			return l
		}), "holds no signature"},
		"statement type":            {replaced("Statement/v1", "Statement/v2"), "statement has the type"},
		"statement without a type":  {replaced(`"_type"`, `"type"`), "statement has the type"},
		"statement key twice":       {replaced(`"_type":`, `"_type":"x","_type":`), "its statement"},
		"statement of two types":    {replaced(`"predicateType":"`+cosignSign+`"`, `"predicateType":"`+cosignSign+`","PredicateType":"`+provenance+`"`), "can be read as"},
		"statement that is no JSON": {signed(func(digest.Digest) string { return "\xff" }), "its statement"},
		"no predicate type":         {replaced(`"predicateType"`, `"predicate_type"`), "no predicate type"},
		"two signatures, one bad": {change(func(_ *protobundle.Bundle, env *protodsse.Envelope) {
			env.Signatures = append(env.Signatures, &protodsse.Signature{Sig: []byte("bad")})
		}), "2 signatures"},
		"two signatures, the first bad": {change(func(_ *protobundle.Bundle, env *protodsse.Envelope) {
			env.Signatures = append([]*protodsse.Signature{{Sig: []byte("bad")}}, env.Signatures...)
		}), "2 signatures"},
		"no signature": {change(func(_ *protobundle.Bundle, env *protodsse.Envelope) { env.Signatures = nil }), "0 signatures"},
		"empty signature": {change(func(_ *protobundle.Bundle, env *protodsse.Envelope) {
			env.Signatures[0].Sig = nil
		}), "k.pub"},
		"no material": {change(func(b *protobundle.Bundle, _ *protodsse.Envelope) { b.VerificationMaterial = nil }), "material"},
		"no content":  {change(func(b *protobundle.Bundle, _ *protodsse.Envelope) { b.Content = nil }), "content"},
		"bundle type": {change(func(b *protobundle.Bundle, _ *protodsse.Envelope) {
			b.MediaType = "application/vnd.dev.sigstore.bundle.v0.4+json"
		}), "not yet supported"},
		"other version": {change(func(b *protobundle.Bundle, _ *protodsse.Envelope) {
			b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.2"
		}), "calls itself"},
		"too many entries of logs": {change(func(b *protobundle.Bundle, _ *protodsse.Envelope) {
			b.VerificationMaterial.TlogEntries = make([]*protorekor.TransparencyLogEntry, 33)
			for i := range b.VerificationMaterial.TlogEntries {
				b.VerificationMaterial.TlogEntries[i] = &protorekor.TransparencyLogEntry{}
			}
		}), "too many tlog entries"},
		"truncated":       {raw(func(b []byte) []byte { return b[:len(b)-9] }), ""},
		"half":            {raw(func(b []byte) []byte { return b[:len(b)/2] }), ""},
		"empty":           {raw(func([]byte) []byte { return nil }), ""},
		"null":            {raw(func([]byte) []byte { return []byte("null") }), ""},
		"empty object":    {raw(func([]byte) []byte { return []byte("{}") }), ""},
		"two bundles":     {raw(func(b []byte) []byte { return append(b, b...) }), ""},
		"key twice":       {raw(func(b []byte) []byte { return append([]byte(`{"mediaType":"x",`), b[1:]...) }), "mediaType"},
		"unknown key":     {raw(func(b []byte) []byte { return append([]byte(`{"x":1,`), b[1:]...) }), `"x"`},
		"larger than can": {raw(func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), layout.MaxManifestSize)...) }), "limit"},
		"media type of the layer": {func(s *shelf, d ocispec.Descriptor) {
			s.refer(d, typeBundle, s.put("application/json", k.statementBundle(cosignSign, d.Digest)))
		}, `media type "application/json"`},
		"media type of the layer, older": {simple(func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			l := k.simple(s, simplePayload(d.Digest))
			l.MediaType = "application/vnd.dev.cosign.simplesigning.v1+json "
			return l
		}), "media type"},
		"two layers": {func(s *shelf, d ocispec.Descriptor) {
			l := s.put(typeBundle, k.statementBundle(cosignSign, d.Digest))
			s.refer(d, typeBundle, l, l)
		}, "2 layers"},
		"no layers":                   {func(s *shelf, d ocispec.Descriptor) { s.refer(d, typeBundle) }, "0 layers"},
		"signed image as a signature": {func(s *shelf, d ocispec.Descriptor) { s.tag(repository, d.Digest, ".sig", s.put("text/plain", nil)) }, "media type"},
		"certificate of nobody's": {change(func(b *protobundle.Bundle, _ *protodsse.Envelope) {
			b.VerificationMaterial.Content = certificateOf(t)
		}), "only keys are trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			d := s.image(tagged)
			tc.hang(s, d)
			r := s.check(p)
			a := r.Artifacts[0]
			if a.State != trust.Invalid || a.Decision != trust.Deny || !strings.Contains(a.Why, tc.why) || a.Class != layout.ClassSignature {
				t.Errorf("%+v", a)
			}
			if err := r.Err(); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassSignature || !strings.Contains(err.Error(), tagged) {
				t.Errorf("error: %v", err)
			}
			// Beside a good one it does no harm.
			s.bundle(d, k.statementBundle(cosignSign, d.Digest))
			if r := s.check(p); r.Artifacts[0].State != trust.Verified || r.Err() != nil {
				t.Errorf("beside a good one: %+v", r.Artifacts[0])
			}
		})
	}
}

// Attestations of the older form, each with one fault.
func TestHostileAttestations(t *testing.T) {
	k, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	p := policy(t, "rules: [{match: '**', attestations: [{type: "+provenance+", keys: [k.pub]}], unsigned: allow}]", map[string][]byte{"k.pub": k.pem})
	change := func(f func(env *protodsse.Envelope)) func(*shelf, ocispec.Descriptor) ocispec.Descriptor {
		return func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			env := envelope(k.sign, typeStatement, statement(provenance, d.Digest))
			f(env)
			return s.putJSON(typeEnvelope, envelopeJSON(env))
		}
	}
	raw := func(f func([]byte) []byte) func(*shelf, ocispec.Descriptor) ocispec.Descriptor {
		return func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return s.put(typeEnvelope, f(s.blobs[k.attestation(s, typeStatement, statement(provenance, d.Digest)).Digest]))
		}
	}
	for name, tc := range map[string]struct {
		layer func(*shelf, ocispec.Descriptor) ocispec.Descriptor
		why   string
	}{
		"wrong key": {func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return other.attestation(s, typeStatement, statement(provenance, d.Digest))
		}, "k.pub"},
		"other digest": {func(s *shelf, _ ocispec.Descriptor) ocispec.Descriptor {
			return k.attestation(s, typeStatement, statement(provenance, digest.FromString("elsewhere")))
		}, "digest"},
		"payload type": {func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			return k.attestation(s, "text/plain", statement(provenance, d.Digest))
		}, `payload has the type "text/plain"`},
		"media type": {func(s *shelf, d ocispec.Descriptor) ocispec.Descriptor {
			l := k.attestation(s, typeStatement, statement(provenance, d.Digest))
			l.MediaType = typeSimple
			return l
		}, "media type"},
		"two signatures": {change(func(env *protodsse.Envelope) {
			env.Signatures = append(env.Signatures, env.Signatures[0])
		}), "2 signatures"},
		"no signature":    {change(func(env *protodsse.Envelope) { env.Signatures = nil }), "0 signatures"},
		"bad signature":   {change(func(env *protodsse.Envelope) { env.Signatures[0].Sig = []byte("bad") }), "k.pub"},
		"payload changed": {change(func(env *protodsse.Envelope) { env.Payload = append(env.Payload, ' ') }), "k.pub"},
		"truncated":       {raw(func(b []byte) []byte { return b[:len(b)-1] }), "its envelope"},
		"empty":           {raw(func([]byte) []byte { return nil }), "its envelope"},
		"two":             {raw(func(b []byte) []byte { return append(b, b...) }), "its envelope"},
		"key twice":       {raw(func(b []byte) []byte { return append([]byte(`{"payloadType":"x",`), b[1:]...) }), "its envelope"},
		"no payload":      {raw(func([]byte) []byte { return []byte("{}") }), "payload has the type"},
	} {
		s := newShelf(t)
		d := s.image(tagged)
		s.tag(repository, d.Digest, ".att", tc.layer(s, d))
		if a := s.one(p); a.State != trust.Invalid || a.Decision != trust.Deny || !strings.Contains(a.Why, tc.why) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
