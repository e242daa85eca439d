package trust_test

import (
	"os"
	"testing"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/trust"
)

// What cosign itself made, as it went through a registry and a bundle:
// testdata/cosign/README says how.
func TestCosign(t *testing.T) {
	f, err := os.Open("testdata/cosign/signed.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := bundle.Open(f, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := r.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile("testdata/cosign/cosign.pub")
	if err != nil {
		t.Fatal(err)
	}
	const rules = `
rules:
- match: 127.0.0.1:5177/acme/att
  keys: k.pub
  attestations: [https://slsa.dev/provenance/v1, https://spdx.dev/Document]
- match: 127.0.0.1:5177/acme/*
  keys: k.pub
`
	for name, tc := range map[string]struct {
		key  []byte
		want trust.State
	}{"its key": {key, trust.Verified}, "another": {rsaKey(t).pem, trust.Invalid}} {
		report, err := policy(t, rules, map[string][]byte{"k.pub": tc.key}).Check(t.Context(), v, v.Index().Manifests)
		if err != nil {
			t.Fatal(err)
		}
		signatures := map[string]int{}
		for _, a := range report.Artifacts {
			for _, s := range a.Signatures {
				if s.State != tc.want {
					t.Errorf("%s: %s: %+v", name, a.Name, s)
				}
				signatures[a.Name]++
			}
			if a.State != tc.want {
				t.Errorf("%s: %+v", name, a)
			}
		}
		const repo = "127.0.0.1:5177/acme/"
		for n, want := range map[string]int{"new": 2, "old": 1, "idx": 3, "att": 3} {
			if got := signatures[repo+n+":v1"]; got != want {
				t.Errorf("%s: %s has %d signatures, and %d were made", name, n, got, want)
			}
		}
		if len(report.Artifacts) != 4 || (report.Err() == nil) != (tc.want == trust.Verified) {
			t.Errorf("%s: %d artifacts, %v", name, len(report.Artifacts), report.Err())
		}
	}
}
