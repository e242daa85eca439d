package trust_test

import (
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"

	"github.com/airdeck/airdeck/trust"
)

func TestKeyless(t *testing.T) {
	a := newAuthority(t)
	p := a.trusting(exactly)
	id := a.identify(subject, issuer)
	for name, hang := range map[string]func(*shelf, ocispec.Descriptor){
		"statement": func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, encode(t, id.over(statement(cosignSign, d.Digest))))
		},
		"message": func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, encode(t, id.message(s.blobs[d.Digest])))
		},
		"time of a timestamping authority": func(s *shelf, d ocispec.Descriptor) {
			b := id.over(statement(cosignSign, d.Digest))
			b.VerificationMaterial.TlogEntries[0].InclusionPromise = nil
			id.stamped(b, b.GetDsseEnvelope().GetSignatures()[0].GetSig())
			s.bundle(d, encode(t, b))
		},
		"older version, promise alone": func(s *shelf, d ocispec.Descriptor) {
			const kind = "application/vnd.dev.sigstore.bundle+json;version=0.1"
			b := id.over(statement(cosignSign, d.Digest))
			b.MediaType = kind
			b.VerificationMaterial.TlogEntries[0].InclusionProof = nil
			s.refer(d, kind, s.put(kind, encode(t, b)))
		},
		"older form": func(s *shelf, d ocispec.Descriptor) {
			s.tag(repository, d.Digest, ".sig", id.simpleLogged(s, simplePayload(d.Digest)))
		},
	} {
		s := newShelf(t)
		d := s.image(tagged)
		hang(s, d)
		got := s.one(p)
		if got.State != trust.Verified {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		if by := got.Signatures[0].By; by == nil || by.Subject != subject || by.Issuer != issuer || by.Key != "" {
			t.Errorf("%s: by %+v", name, by)
		}
	}
}

// Each has one fault, and none may count.
func TestHostileCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	p := a.trusting(exactly)
	good := a.identify(subject, issuer)

	by := func(id *identity) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) { s.bundle(d, encode(t, id.over(statement(cosignSign, d.Digest)))) }
	}
	change := func(f func(b *protobundle.Bundle, d ocispec.Descriptor)) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			b := good.over(statement(cosignSign, d.Digest))
			f(b, d)
			s.bundle(d, encode(t, b))
		}
	}
	older := func(f func(s *shelf, l ocispec.Descriptor)) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			l := good.simpleLogged(s, simplePayload(d.Digest))
			f(s, l)
			s.tag(repository, d.Digest, ".sig", l)
		}
	}
	flip := func(b []byte) { b[len(b)-1] ^= 1 }
	for name, tc := range map[string]struct {
		hang func(*shelf, ocispec.Descriptor)
		why  string
	}{
		"another authority": {by(other.identify(subject, issuer)), ""},
		"another authority, logged here": {func(s *shelf, d ocispec.Descriptor) {
			id := other.identify(subject, issuer)
			id.authority = a
			s.bundle(d, encode(t, id.over(statement(cosignSign, d.Digest))))
		}, "leaf certificate"},
		"another issuer":         {by(a.identify(subject, "https://accounts.example")), "issuer"},
		"another subject":        {by(a.identify(subject+"x", issuer)), "SAN"},
		"no promise of a log":    {by(a.identifyAt(subject, issuer, good.from, nil)), "SCT"},
		"promise of another log": {by(a.identifyAt(subject, issuer, good.from, other.ct)), "SCT"},
		"expired at the log's time": {func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, encode(t, good.overAt(statement(cosignSign, d.Digest), good.from.Add(11*time.Minute))))
		}, "integrated time outside certificate validity"},
		"not yet valid at the log's time": {func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, encode(t, good.overAt(statement(cosignSign, d.Digest), good.from.Add(-time.Minute))))
		}, "integrated time outside certificate validity"},
		"expired at the time of the timestamp": {func(s *shelf, d ocispec.Descriptor) {
			id := a.identifyAt(subject, issuer, time.Now().Add(-time.Hour), a.ct)
			b := id.over(statement(cosignSign, d.Digest))
			id.stamped(b, b.GetDsseEnvelope().GetSignatures()[0].GetSig())
			s.bundle(d, encode(t, b))
		}, "leaf certificate"},
		"no time": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.TlogEntries[0].InclusionPromise = nil
		}), "timestamp"},
		"timestamp of another signature": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.TlogEntries[0].InclusionPromise = nil
			good.stamped(b, []byte("another"))
		}), "timestamp"},
		"no entry of a log": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			good.stamped(b, b.GetDsseEnvelope().GetSignatures()[0].GetSig())
			b.VerificationMaterial.TlogEntries = nil
		}), "log"},
		"entry of another log": {func(s *shelf, d ocispec.Descriptor) {
			id := *good
			id.authority = other
			s.bundle(d, encode(t, id.over(statement(cosignSign, d.Digest))))
		}, "log"},
		"entry of another signature": {change(func(b *protobundle.Bundle, d ocispec.Descriptor) { // CVE-2022-36056
			b.VerificationMaterial.TlogEntries = good.over(statement(cosignSign, d.Digest)).VerificationMaterial.TlogEntries
		}), "log"},
		"the same entry twice": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, b.VerificationMaterial.TlogEntries[0])
		}), "duplicate"},
		"more entries than can be": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			e := b.VerificationMaterial.TlogEntries
			for range 32 {
				b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, e[0])
			}
		}), "too many tlog entries"},
		"promise of the entry": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			flip(b.VerificationMaterial.TlogEntries[0].InclusionPromise.SignedEntryTimestamp)
		}), "log"},
		"proof of the entry": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			flip(b.VerificationMaterial.TlogEntries[0].InclusionProof.RootHash)
		}), "inclusion"},
		"time that was not promised": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.TlogEntries[0].IntegratedTime++
		}), "log"},
		"no proof": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.TlogEntries[0].InclusionProof = nil
		}), "inclusion proof missing"},
		"statement changed": {change(func(b *protobundle.Bundle, d ocispec.Descriptor) {
			b.GetDsseEnvelope().Payload = append(b.GetDsseEnvelope().GetPayload(), ' ')
		}), ""},
		"signature changed": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			flip(b.GetDsseEnvelope().GetSignatures()[0].GetSig())
		}), ""},
		"certificate that is none": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.GetCertificate().RawBytes = []byte("x")
		}), ""},
		"key in place of the certificate": {change(func(b *protobundle.Bundle, _ ocispec.Descriptor) {
			b.VerificationMaterial.Content = keyed().VerificationMaterial.Content
		}), "only identities are trusted"},
		"other digest": {func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, encode(t, good.over(statement(cosignSign, s.manifest("other").Digest))))
		}, "digest"},
		"other message": {func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, encode(t, good.message([]byte("other"))))
		}, ""},
		"older, no certificate": {older(func(_ *shelf, l ocispec.Descriptor) { delete(l.Annotations, "dev.sigstore.cosign/certificate") }), "only identities are trusted"},
		"older, two certificates": {older(func(_ *shelf, l ocispec.Descriptor) {
			l.Annotations["dev.sigstore.cosign/certificate"] += l.Annotations["dev.sigstore.cosign/chain"]
		}), "2 certificates"},
		"older, no log":           {older(func(_ *shelf, l ocispec.Descriptor) { delete(l.Annotations, "dev.sigstore.cosign/bundle") }), "log"},
		"older, log that is none": {older(func(_ *shelf, l ocispec.Descriptor) { l.Annotations["dev.sigstore.cosign/bundle"] = "{" }), "cosign/bundle"},
		"older, log without a promise": {older(func(_ *shelf, l ocispec.Descriptor) {
			l.Annotations["dev.sigstore.cosign/bundle"] = strings.Replace(l.Annotations["dev.sigstore.cosign/bundle"], "SignedEntryTimestamp", "Signed", 1)
		}), "promise"},
		"older, no signature": {older(func(_ *shelf, l ocispec.Descriptor) { delete(l.Annotations, "dev.cosignproject.cosign/signature") }), "holds no signature"},
		"older, timestamp that is none": {older(func(_ *shelf, l ocispec.Descriptor) {
			l.Annotations["dev.sigstore.cosign/rfc3161timestamp"] = "x"
		}), "rfc3161timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			d := s.image(tagged)
			tc.hang(s, d)
			if got := s.one(p); got.State != trust.Invalid || !strings.Contains(got.Why, tc.why) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestIdentities(t *testing.T) {
	a := newAuthority(t)
	id := a.identify(subject, issuer)
	s := newShelf(t)
	d := s.image(tagged)
	s.bundle(d, encode(t, id.over(statement(cosignSign, d.Digest))))
	for _, tc := range []struct {
		identity string
		want     trust.State
	}{
		{"{issuer: '" + issuer + "', subjectRegexp: 'https://github\\.com/acme/.*'}", trust.Verified},
		{"{issuerRegexp: 'https://token\\.actions\\..*', subject: '" + subject + "'}", trust.Verified},
		{"{issuerRegexp: '.*', subjectRegexp: '.*'}", trust.Verified},
		{"{issuerRegexp: '^https://.*$', subjectRegexp: '.*main$'}", trust.Verified},
		// A part of it is not it.
		{"{issuer: '" + issuer + "', subjectRegexp: 'https://github\\.com/acme/'}", trust.Invalid},
		{"{issuer: '" + issuer + "', subjectRegexp: 'github\\.com/acme/.*'}", trust.Invalid},
		{"{issuer: '" + issuer + "', subjectRegexp: 'x|https://github\\.com/acme'}", trust.Invalid},
		{"{issuer: '" + issuer + "', subjectRegexp: '(?m)^.*/app'}", trust.Invalid},
		{"{issuerRegexp: 'token', subject: '" + subject + "'}", trust.Invalid},
		{"{issuer: '" + strings.ToUpper(issuer) + "', subject: '" + subject + "'}", trust.Invalid},
		{"{issuer: '" + issuer + "', subject: 'https://github.com/acme/*'}", trust.Invalid},
	} {
		if got := s.one(a.trusting(tc.identity)); got.State != tc.want {
			t.Errorf("%s: %+v", tc.identity, got)
		}
	}
}
