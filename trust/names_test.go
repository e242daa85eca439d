package trust_test

import (
	"crypto/elliptic"
	"errors"
	"fmt"
	"testing"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

// What one image carries is read once, under however many names it stands, and each name
// has the verdict.
func TestManyNames(t *testing.T) {
	const names = 100
	k := ecdsaKey(t, elliptic.P256())
	s := newShelf(t)
	root := s.index(s.manifest("one"), s.manifest("two"))
	for i := range names {
		s.add(fmt.Sprintf("%s:v%d", repository, i), root)
	}
	s.bundle(root, k.statementBundle(cosignSign, root.Digest))
	s.tag(repository, root.Digest, ".sig", k.simple(s, simplePayload(root.Digest)))
	for name, p := range map[string]*trust.Policy{"policy": k.demands(), "none": nil} {
		src := &storagetest.Faulty{Source: s}
		r, err := p.Check(t.Context(), layout.WithAbsent(src, nil), s.entries)
		if err != nil || len(r.Artifacts) != names {
			t.Fatalf("%s: %v, %+v", name, err, r)
		}
		for i, a := range r.Artifacts {
			want := trust.Verified
			if p == nil {
				want = trust.Unchecked
			}
			if a.State != want || len(a.Signatures) != 2 || a.Name == "" || i > 0 && a.Name == r.Artifacts[i-1].Name {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if n := src.Ops(); n > 10*int64(len(s.blobs)) {
			t.Errorf("%s: %d operations for %d blobs", name, n, len(s.blobs))
		}
	}
}

// The same key stands for one image and not for another.
func TestNamesInOtherRepositories(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	s := newShelf(t)
	d := s.image(tagged)
	s.add("ghcr.io/other/app:v1", d)
	s.tag(repository, d.Digest, ".sig", k.simple(s, simplePayload(d.Digest)))
	r := s.check(policy(t, "rules: [{match: '**', keys: k.pub, unsigned: allow}]", map[string][]byte{"k.pub": k.pem}))
	for _, a := range r.Artifacts {
		want := trust.Unsigned // the signature lies in another repository
		if a.Name == tagged {
			want = trust.Verified
		}
		if a.State != want {
			t.Errorf("%+v", a)
		}
	}
}

func TestTooManySignaturesOfAll(t *testing.T) {
	k := ecdsaKey(t, elliptic.P256())
	s := newShelf(t)
	d := s.image(tagged)
	for i := range trust.MaxCarried / trust.MaxSignatures {
		s.add(fmt.Sprintf("%s:n%d", repository, i), d)
	}
	l := s.put(typeBundle, k.statementBundle(cosignSign, d.Digest))
	for i := range trust.MaxSignatures {
		l.Annotations = map[string]string{"n": fmt.Sprint(i)}
		s.refer(d, typeBundle, l)
	}
	r := s.check(k.demands())
	if a := r.Artifacts[len(r.Artifacts)-1]; a.State != trust.Invalid || a.Class != layout.ClassLimit || len(a.Signatures) != 0 {
		t.Errorf("%s %s, %d signatures", a.State, a.Class, len(a.Signatures))
	}
	if err := r.Err(); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassLimit {
		t.Error(err)
	}
	r = s.check(nil)
	if a := r.Artifacts[len(r.Artifacts)-1]; a.State != trust.Unchecked || a.Decision != trust.Allow || a.Why == "" {
		t.Errorf("nobody is named: %+v", a)
	}
}

func TestTooManyTags(t *testing.T) {
	s := newShelf(t)
	d := s.image(tagged)
	for i := range 1000 {
		s.add(fmt.Sprintf("%s:n%d", repository, i), d)
	}
	for range layout.MaxCompanions / 1000 {
		s.tag(repository, d.Digest, ".sig")
	}
	if _, err := (*trust.Policy)(nil).Check(t.Context(), s, s.entries); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassLimit {
		t.Error(err)
	}
}
