package trust

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// What was signed in public, by the certificates and logs of Sigstore itself:
// testdata/sigstore-go/README says where it is from.
func TestPublicBundles(t *testing.T) {
	const (
		github  = "https://token.actions.githubusercontent.com"
		image   = "sha256:732112270d7e59418a8c080b134b24cabd67d250d0d0147a97ed95ba5c280aa4"
		npm     = "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"
		release = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
		slsa    = "sha512:bbfd372fc9beeb777fe35d05bb10c0c70a9733d366a75fed7dd18866c7391de3ee7e88ba74dd47abf3e15c845e547fcf0e5c3da80854c751554224d3a6d4e55f"
	)
	for name, tc := range map[string]struct {
		file, root      string
		target          digest.Digest
		issuer, subject string // expressions
		want            string
	}{
		"provenance":               {"sigstore.js-2.0.0-provenance", "public-good", npm, github, release, ""},
		"provenance, intoto entry": {"dsse", "public-good", slsa, "https://github.com/login/oauth", `[a-z]+@dehamer\.com`, ""},
		"attestation of cosign's":  {"../cosign/oci-attestation", "public-good", image, "https://github.com/login/oauth", "cody@soyland.com", ""},
		"of another image":         {"../cosign/oci-attestation", "public-good", slsa, "https://github.com/login/oauth", "cody@soyland.com", "digest"},
		"of another digest":        {"sigstore.js-2.0.0-provenance", "public-good", slsa, github, release, "digest"},
		"of another subject":       {"sigstore.js-2.0.0-provenance", "public-good", npm, github, "https://github.com/sigstore/sigstore-js", "SAN"},
		"of another issuer":        {"sigstore.js-2.0.0-provenance", "public-good", npm, github + "/x", release, "issuer"},
		"of another root":          {"sigstore.js-2.0.0-provenance", "scaffolding", npm, github, release, "log"},
		"two signatures":           {"dsse-2sigs", "public-good", slsa, github, ".*", "2 signatures"},
		"message, other bytes":     {"othername", "scaffolding", npm, ".*", ".*", "message"},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(name string) []byte {
				b, err := os.ReadFile(filepath.Join("testdata", "sigstore-go", name))
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			tr, err := root.NewTrustedRootFromJSON(read(tc.root + ".json"))
			if err != nil {
				t.Fatal(err)
			}
			id, err := NewIdentity("", tc.issuer, "", tc.subject)
			if err != nil {
				t.Fatal(err)
			}
			s := &Signers{Identities: []Identity{id}, Threshold: 1}
			if err := s.needKeyless(tr); err != nil {
				t.Fatal(err)
			}
			raw := read(tc.file + ".sigstore.json")
			var head struct {
				MediaType string `json:"mediaType"`
			}
			if err := json.Unmarshal(raw, &head); err != nil {
				t.Fatal(err)
			}
			p, err := openBundle(raw, head.MediaType)
			var by Signer
			if err == nil {
				_, by, err = s.verify(p, tc.target)
			}
			switch {
			case tc.want == "" && err != nil, err != nil && !strings.Contains(err.Error(), tc.want), tc.want != "" && err == nil:
				t.Errorf("error: %v", err)
			case err == nil && by.Issuer != tc.issuer:
				t.Errorf("by %+v", by)
			}
		})
	}
}

// What was signed with a key, and has the time of a timestamping authority beside it,
// which is not asked of a key.
func TestPublicKey(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "sigstore-go", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := ReadPublicKey("key.pem", read("public-key-validity.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Signers{Keys: []*PublicKey{key}, Threshold: 1}
	raw := read("public-key-validity.sigstore.json")
	for message, good := range map[string]bool{"test content": true, "test contents": false, "": false} {
		p, err := openBundle(raw, bundleType)
		if err != nil {
			t.Fatal(err)
		}
		p.message = []byte(message)
		if _, by, err := s.verify(p, digest.FromString(message)); (err == nil) != good || (by.KeyID == key.ID) != good {
			t.Errorf("%q: by %+v, %v", message, by, err)
		}
		if _, err := CheckIndex([]byte(message), raw, s); (err == nil) != good {
			t.Errorf("%q as an index: %v", message, err)
		}
	}
}
