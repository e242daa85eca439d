package trust_test

import (
	"crypto/elliptic"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

// Who names nobody learns what is carried, and never that it is good.
func TestUnchecked(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	s := newShelf(t)
	d := s.image(tagged)
	plain := s.image("ghcr.io/acme/plain:v1")
	s.bundle(d, k.statementBundle(cosignSign, d.Digest))
	s.tag(repository, d.Digest, ".sig", k.simple(s, simplePayload(d.Digest)))
	s.tag(repository, d.Digest, ".att", k.attestation(s, typeStatement, statement(provenance, d.Digest)))
	for name, tc := range map[string]struct {
		policy   *trust.Policy
		decision trust.Decision
	}{
		"no policy":     {nil, trust.Allow},
		"bundle alone":  {policy(t, "bundle: {keys: k.pub}", map[string][]byte{"k.pub": k.pem}), trust.Allow},
		"a rule for it": {policy(t, "rules: [{match: '**', unsigned: warn}]", nil), trust.Warn},
	} {
		r := s.check(tc.policy)
		if r.Err() != nil || len(r.Artifacts) != 2 {
			t.Fatalf("%s: %v, %+v", name, r.Err(), r)
		}
		for _, a := range r.Artifacts {
			want, n := trust.Unchecked, 3
			if a.Digest == plain.Digest {
				want, n = trust.Unsigned, 0
			}
			if a.State != want || a.Decision != tc.decision || len(a.Signatures) != n {
				t.Errorf("%s: %+v", name, a)
			}
			for _, sig := range a.Signatures {
				if sig.State != trust.Unchecked || sig.By != nil || sig.Covers != d.Digest {
					t.Errorf("%s: %+v", name, sig)
				}
			}
		}
	}
}

func TestUnsigned(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	for unsigned, denied := range map[string]bool{"": true, "unsigned: deny": true, "unsigned: warn": false, "unsigned: allow": false} {
		p := policy(t, "rules:\n- match: '**'\n  keys: k.pub\n  "+unsigned, map[string][]byte{"k.pub": k.pem})
		s := newShelf(t)
		s.image(tagged)
		r := s.check(p)
		if a := r.Artifacts[0]; a.State != trust.Unsigned || (a.Decision == trust.Deny) != denied || (r.Err() != nil) != denied {
			t.Errorf("%s: %+v, %v", unsigned, a, r.Err())
		}
	}
}

func TestThreshold(t *testing.T) {
	a, b, c := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	authority := newAuthority(t)
	id := authority.identify(subject, issuer)
	p := policy(t, "trustedRoot: root.json\nrules: [{match: '**', keys: [a.pub, b.pub], identities: ["+exactly+", {issuerRegexp: .*, subjectRegexp: .*}], threshold: 2}]",
		map[string][]byte{"a.pub": a.pem, "b.pub": b.pem, "root.json": authority.root})
	by := func(keys ...*keyPair) func(*shelf, ocispec.Descriptor) {
		return func(s *shelf, d ocispec.Descriptor) {
			for _, k := range keys {
				s.bundle(d, k.statementBundle(cosignSign, d.Digest))
			}
		}
	}
	keyless := func(s *shelf, d ocispec.Descriptor) { s.bundle(d, encode(t, id.over(statement(cosignSign, d.Digest)))) }
	for name, tc := range map[string]struct {
		hang []func(*shelf, ocispec.Descriptor)
		want trust.State
	}{
		"both":             {[]func(*shelf, ocispec.Descriptor){by(a, b)}, trust.Verified},
		"with a stranger":  {[]func(*shelf, ocispec.Descriptor){by(c, a, c, b)}, trust.Verified},
		"key and identity": {[]func(*shelf, ocispec.Descriptor){by(b), keyless}, trust.Verified},
		"one":              {[]func(*shelf, ocispec.Descriptor){by(a)}, trust.Invalid},
		"one often":        {[]func(*shelf, ocispec.Descriptor){by(a, a, a)}, trust.Invalid},
		"one in two forms": {[]func(*shelf, ocispec.Descriptor){by(a), func(s *shelf, d ocispec.Descriptor) {
			s.tag(repository, d.Digest, ".sig", a.simple(s, simplePayload(d.Digest)))
		}}, trust.Invalid},
		"one and a stranger": {[]func(*shelf, ocispec.Descriptor){by(a, c)}, trust.Invalid},
		// It fits two identities, and is one signature.
		"one for two": {[]func(*shelf, ocispec.Descriptor){keyless, keyless}, trust.Invalid},
		"attestation is no signature": {[]func(*shelf, ocispec.Descriptor){by(a), func(s *shelf, d ocispec.Descriptor) {
			s.bundle(d, b.statementBundle(provenance, d.Digest))
		}}, trust.Invalid},
	} {
		s := newShelf(t)
		d := s.image(tagged)
		for _, f := range tc.hang {
			f(s, d)
		}
		if got := s.one(p); got.State != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The first rule that fits decides.
func TestRules(t *testing.T) {
	k, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	p := policy(t, `
rules:
- match: [ghcr.io/acme/app, 'ghcr.io/acme/tools/*-cli']
  keys: k.pub
- match: ghcr.io/acme/**
  keys: other.pub
- match: 'localhost:5000/**'
  unsigned: allow
`, map[string][]byte{"k.pub": k.pem, "other.pub": other.pem})
	for name, want := range map[string]struct {
		rule  string
		state trust.State
	}{
		"ghcr.io/acme/app:v1":            {"ghcr.io/acme/app", trust.Verified},
		"GHCR.IO/acme/app:v1":            {"ghcr.io/acme/app", trust.Verified},
		"ghcr.io/acme/tools/x-cli:v1":    {"ghcr.io/acme/tools/*-cli", trust.Verified},
		"ghcr.io/acme/tools/x/y-cli:v1":  {"ghcr.io/acme/**", trust.Invalid},
		"ghcr.io/acme/app2:v1":           {"ghcr.io/acme/**", trust.Invalid},
		"ghcr.io/acme/app/sub:v1":        {"ghcr.io/acme/**", trust.Invalid},
		"ghcr.io/acme/a/b/c:v1":          {"ghcr.io/acme/**", trust.Invalid},
		"localhost:5000/x:v1":            {"localhost:5000/**", trust.Unchecked},
		"ghcr.io/acme:v1":                {"", trust.Unchecked},
		"ghcr.io/acmes/app:v1":           {"", trust.Unchecked},
		"ghcr.io.evil.example/acme/x:v1": {"", trust.Unchecked},
		"evil.example/ghcr.io/acme/x:v1": {"", trust.Unchecked},
		"v1":                             {"", trust.Unchecked},
		"":                               {"", trust.Unchecked},
	} {
		s := newShelf(t)
		d := s.manifest(name)
		s.entries = append(s.entries, d)
		if name != "" {
			s.entries[0] = layout.Named(d, name)
		}
		s.bundle(d, k.statementBundle(cosignSign, d.Digest))
		r := s.check(p)
		a := r.Artifacts[0]
		if a.Rule != want.rule || a.State != want.state {
			t.Errorf("%q: %+v", name, a)
		}
		if none := want.rule == ""; none && (a.Decision != trust.Deny || layout.ClassOf(r.Err()) != layout.ClassSignature) {
			t.Errorf("%q: no rule is for it, and it is let pass: %+v", name, a)
		}
	}
}

// A signature over a platform says nothing of the index, and one over the index all.
func TestIndex(t *testing.T) {
	k, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	p := policy(t, "rules: [{match: '**', keys: k.pub, unsigned: allow}]", map[string][]byte{"k.pub": k.pem})
	type sign func(s *shelf, index, one, two ocispec.Descriptor)
	over := func(k *keyPair, which func(index, one, two ocispec.Descriptor) ocispec.Descriptor) sign {
		return func(s *shelf, index, one, two ocispec.Descriptor) {
			d := which(index, one, two)
			s.bundle(d, k.statementBundle(cosignSign, d.Digest))
		}
	}
	index := func(i, _, _ ocispec.Descriptor) ocispec.Descriptor { return i }
	one := func(_, o, _ ocispec.Descriptor) ocispec.Descriptor { return o }
	two := func(_, _, w ocispec.Descriptor) ocispec.Descriptor { return w }
	for name, tc := range map[string]struct {
		signs []sign
		want  trust.State
		why   string
	}{
		"index":                  {[]sign{over(k, index)}, trust.Verified, ""},
		"recursive":              {[]sign{over(k, index), over(k, one), over(k, two)}, trust.Verified, ""},
		"platforms":              {[]sign{over(k, one), over(k, two)}, trust.Unsigned, "only what its index lists is signed"},
		"index and a stranger's": {[]sign{over(k, index), over(other, one)}, trust.Verified, ""},
		"a stranger's platform":  {[]sign{over(k, two), over(other, one)}, trust.Invalid, "none of the signers gave what is carried over"},
		"a platform of two":      {[]sign{over(k, one), over(other, one)}, trust.Unsigned, "only what its index lists is signed"},
		"platform's on the index": {[]sign{func(s *shelf, index, one, _ ocispec.Descriptor) {
			s.bundle(index, k.statementBundle(cosignSign, one.Digest))
		}}, trust.Invalid, "digest"},
		"index's on the platform": {[]sign{func(s *shelf, index, one, _ ocispec.Descriptor) {
			s.bundle(one, k.statementBundle(cosignSign, index.Digest))
		}}, trust.Invalid, "digest"},
	} {
		s := newShelf(t)
		o, w := s.manifest("one"), s.manifest("two")
		i := s.add(tagged, s.index(o, w))
		for _, f := range tc.signs {
			f(s, i, o, w)
		}
		a := s.one(p)
		if a.State != tc.want || !strings.Contains(a.Why, tc.why) || len(a.Signatures) != len(tc.signs) {
			t.Errorf("%s: %+v", name, a)
		}
	}

	// One platform that was taken alone is the artifact.
	s := newShelf(t)
	o := s.image(tagged)
	s.bundle(o, k.statementBundle(cosignSign, o.Digest))
	if a := s.one(p); a.State != trust.Verified || a.Signatures[0].Covers != o.Digest {
		t.Errorf("one platform: %+v", a)
	}

	// What is left out of an index on purpose is not missed.
	s = newShelf(t)
	o, w := s.manifest("one"), s.manifest("two")
	i := s.add(tagged, s.index(o, w))
	s.bundle(i, k.statementBundle(cosignSign, i.Digest))
	delete(s.blobs, w.Digest)
	s.absent = layout.Absent{w.Digest: {}}
	if a := s.one(p); a.State != trust.Verified {
		t.Errorf("a platform is absent: %+v", a)
	}
}

// What belongs to what goes by repository and digest, as cosign has it.
func TestTags(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	p := policy(t, "rules: [{match: '**', keys: k.pub}]", map[string][]byte{"k.pub": k.pem})

	s := newShelf(t)
	d := s.image(tagged)
	s.tag("ghcr.io/evil/app", d.Digest, ".sig", k.simple(s, simplePayload(d.Digest)))
	if r := s.check(p); len(r.Artifacts) != 2 || r.Artifacts[0].State != trust.Unsigned || r.Artifacts[1].State != trust.Unsigned {
		t.Errorf("a tag in another repository: %+v", r.Artifacts)
	}

	s = newShelf(t)
	d = s.image(tagged)
	s.tag(repository, d.Digest, ".sbom", s.put("text/spdx", []byte("x")))
	if a := s.one(p); a.State != trust.Unsigned || len(a.Signatures) != 0 {
		t.Errorf("an SBOM is no signature: %+v", a)
	}

	// The signature of a signature does not make an artifact of either.
	s = newShelf(t)
	d = s.image(tagged)
	sig := s.tag(repository, d.Digest, ".sig", k.simple(s, simplePayload(d.Digest)))
	s.tag(repository, sig.Digest, ".sig", k.simple(s, simplePayload(sig.Digest)))
	if a := s.one(p); a.State != trust.Verified || len(a.Signatures) != 1 {
		t.Errorf("a signature of a signature: %+v", a)
	}

	// Two that belong to each other belong to nothing, and don't escape the policy.
	s = newShelf(t)
	one, two := s.manifest("one"), s.manifest("two")
	name := func(d digest.Digest) string { return repository + ":sha256-" + d.Encoded() + ".sig" }
	s.add(name(one.Digest), two)
	s.add(name(two.Digest), one)
	if r := s.check(p); len(r.Artifacts) != 2 || r.Err() == nil {
		t.Errorf("a ring of tags: %+v", r.Artifacts)
	}
}

// A signature does not change the artifact on which it hangs, wherever it is moved.
func TestMovedSignature(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	s := newShelf(t)
	good, bad := s.image(tagged), s.image("ghcr.io/acme/bad:v1")
	s.bundle(bad, k.statementBundle(cosignSign, good.Digest))
	s.bundle(bad, k.messageBundle(s.blobs[good.Digest]))
	s.tag("ghcr.io/acme/bad", bad.Digest, ".sig", k.simple(s, simplePayload(good.Digest)))
	s.tag("ghcr.io/acme/bad", bad.Digest, ".att", k.attestation(s, typeStatement, statement(cosignSign, good.Digest)))
	for _, a := range s.check(k.demands()).Artifacts {
		want := map[digest.Digest]trust.State{good.Digest: trust.Unsigned, bad.Digest: trust.Invalid}[a.Digest]
		if a.State != want || a.Decision != trust.Deny {
			t.Errorf("%+v", a)
		}
	}
}

func TestTooManySignatures(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	p := k.demands()
	for name, hang := range map[string]func(s *shelf, d ocispec.Descriptor, n int){
		"referrers": func(s *shelf, d ocispec.Descriptor, n int) {
			l := s.put(typeBundle, k.statementBundle(cosignSign, d.Digest))
			for i := range n {
				l.Annotations = map[string]string{"n": fmt.Sprint(i)}
				s.refer(d, typeBundle, l)
			}
		},
		"layers": func(s *shelf, d ocispec.Descriptor, n int) {
			l := s.put(typeSimple, simplePayload(d.Digest))
			layers := make([]ocispec.Descriptor, min(n, 20_000)) // of more the manifest would be too large
			for i := range layers {
				layers[i] = l
			}
			s.tag(repository, d.Digest, ".sig", layers...)
		},
	} {
		s := newShelf(t)
		d := s.image(tagged)
		hang(s, d, 100_000)
		r := s.check(p)
		if a := r.Artifacts[0]; a.State != trust.Invalid || a.Class != layout.ClassLimit || len(a.Signatures) != 0 {
			t.Errorf("%s: %s %s, %d signatures", name, a.State, a.Class, len(a.Signatures))
		}
		if err := r.Err(); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassLimit {
			t.Errorf("%s: %v", name, err)
		}
	}

	s := newShelf(t)
	d := s.image(tagged)
	layers := make([]ocispec.Descriptor, trust.MaxSignatures)
	for i := range layers {
		layers[i] = s.put(typeSimple, simplePayload(d.Digest))
	}
	layers[len(layers)-1] = k.simple(s, simplePayload(d.Digest))
	s.tag(repository, d.Digest, ".sig", layers...)
	if a := s.one(p); a.State != trust.Verified || len(a.Signatures) != trust.MaxSignatures {
		t.Errorf("at the limit: %s, %d signatures", a.State, len(a.Signatures))
	}
	s.bundle(d, k.statementBundle(cosignSign, d.Digest))
	if a := s.one(nil); a.State != trust.Unchecked || a.Decision != trust.Allow || !strings.Contains(a.Why, "1000") {
		t.Errorf("over it, and nobody is named: %s, %q", a.State, a.Why)
	}
}

// What can't be read is an error, and no verdict.
func TestLostSignature(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	s := newShelf(t)
	d := s.image(tagged)
	l := s.put(typeBundle, k.statementBundle(cosignSign, d.Digest))
	s.refer(d, typeBundle, l)
	delete(s.blobs, l.Digest)
	if _, err := k.demands().Check(t.Context(), s, s.entries); !errors.Is(err, layout.ErrNotFound) || errors.Is(err, layout.ErrUntrusted) {
		t.Errorf("error: %v", err)
	}
}
