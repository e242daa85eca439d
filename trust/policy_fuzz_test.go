package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"io/fs"
	"os"
	"regexp"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/airdeck/airdeck/layout"
)

// FuzzPolicy demands of each policy that is accepted that its demands can be met,
// and that what it demands nothing of is let pass by a word of its own.
func FuzzPolicy(f *testing.F) {
	root, err := os.ReadFile("testdata/sigstore-go/public-good.json")
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	pem, err := cryptoutils.MarshalPublicKeyToPEM(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"", "rules:\n- match: '**'\n  keys: k.pub\n", "bundle: {keys: [k.pub], threshold: 1}",
		"trustedRoot: root.json\nrules: [{match: [ghcr.io/acme/*, localhost:5000/**], identities: [{issuer: a, subjectRegexp: b.*}], threshold: 1, unsigned: warn}]",
		"rules: [{match: a.io/b, attestations: [{type: a/b, keys: k.pub}, c/d], keys: k.pub}, {match: '**', unsigned: allow}]",
		"rules: &a [*a]", "---\n---\n", "rules: [{match: !!binary aGk=}]", "? [a]\n: b\n", "\xff\xfer\x00", "rules: [{match: 'a.io/***', keys: k.pub}]",
		"rules: [{match: a.io/x*y*z, keys: k.pub, threshold: 0x1}]",
	} {
		f.Add([]byte(s))
	}
	lines := regexp.MustCompile(`^line \d+: line `)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePolicy(b, func(name string, _ int64) ([]byte, error) {
			switch name {
			case "k.pub":
				return pem, nil
			case "root.json":
				return root, nil
			}
			return nil, layout.Errorf(layout.ClassLocal, "%q: %w", name, fs.ErrNotExist)
		})
		if err != nil {
			if lines.MatchString(err.Error()) {
				t.Fatalf("it names two lines: %v", err)
			}
			return
		}
		if p.Bundle == nil && !p.HasRules() {
			t.Fatal("it says nothing")
		}
		good := func(s *Signers) bool {
			return s.Threshold >= 1 && s.Threshold <= s.len() && s.len() <= MaxSigners && (s.keyless != nil || len(s.Identities) == 0)
		}
		if p.Bundle != nil && !good(p.Bundle) {
			t.Fatalf("bundle: %+v", p.Bundle)
		}
		for _, r := range p.rules {
			if r.unsigned == "" || len(r.demands()) == 0 && r.unsigned == Deny {
				t.Fatalf("a rule that demands nothing says %q", r.unsigned)
			}
			for _, d := range r.demands() {
				if !good(d.signers) {
					t.Fatalf("%s: %+v", d, d.signers)
				}
			}
			if r.signers != nil && r.demands()[0].predicateType != "" {
				t.Fatal("the signature is not demanded")
			}
		}
	})
}
