//go:build interop

package interop

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/internal/vectors"
)

// notByCosign are the vectors of signatures of which cosign says otherwise, and why.
var notByCosign = map[string]string{
	"signed-bundle-hundred":   "it reads one signature",
	"signed-bundle-strangers": "it reads one signature",
	"signed-bundle-large":     "it has no such limit",
	"signed-bundle-statement": "a statement will do for it",

	"signed-artifact-message":             "it wants a statement",
	"signed-artifact-keyless-message":     "it wants a statement",
	"signed-artifact-referrer-older":      "it does not look there unless it is told to",
	"signed-artifact-simple-type":         "it does not look at the type",
	"signed-artifact-simple-digest-twice": "it takes the last",
	"signed-artifact-statement-type":      "it does not look at the type",
}

// ofPolicies are vectors whose verdict comes from what a policy says beside naming who
// signs, which cosign verify can't be told.
var ofPolicies = []string{"attested", "threshold", "unsigned", "unchecked", "no-rule", "keyless-key"}

// TestSignedVectors: cosign makes of the signatures in the corpus what airdeck makes of
// them.
func TestSignedVectors(t *testing.T) {
	all, err := vectors.Load(filepath.Join("..", "..", filepath.FromSlash(vectors.Dir)))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		var verify func(m *machine, v *vectors.Vector) bool
		artifact, isArtifact := strings.CutPrefix(v.Name, "signed-artifact-")
		other := func(what string) bool { return strings.HasPrefix(artifact, what) }
		switch {
		case isArtifact && !slices.ContainsFunc(ofPolicies, other):
			verify = (*machine).cosignTakesArtifact
		case v.Stage == "signature" && v.Policy == "" && len(v.Keys) == 1:
			verify = (*machine).cosignTakesBundle
		default:
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			if err := v.Write(m.dir); err != nil {
				t.Fatal(err)
			}
			writeFile(t, m.path("talks"), v.Body)
			want := v.Expect == vectors.Success
			if why := notByCosign[v.Name]; why != "" {
				want = !want
			}
			if got := verify(m, &v); got != want {
				t.Errorf("cosign takes it: %t, want %t", got, want)
			}
		})
	}
}

func (m *machine) cosignTakesBundle(v *vectors.Vector) bool {
	m.t.Helper()
	m.run("tar", "-xf", "talks")
	signature := "index.sigstore.json"
	if len(v.Signatures) > 0 {
		signature = v.Signatures[0]
	}
	o := m.exec(tool(m.t, "cosign"), "", "verify-blob", "--key", v.Keys[0], "--insecure-ignore-tlog=true", "--bundle", signature, "index.json")
	return o.code == 0
}

// cosignTakesArtifact has airdeck publish it without a policy, for cosign to judge.
func (m *machine) cosignTakesArtifact(v *vectors.Vector) bool {
	m.t.Helper()
	r := registrytest.Start(registrytest.Options{})
	defer r.Close()
	m.airdeck("mirror", "talks", r.Host)
	by := []string{"--key", "release.pub", "--insecure-ignore-tlog=true"}
	if v.Files["ed25519.pub"] != "" {
		by[1] = "ed25519.pub"
	}
	if v.Files["trusted_root.json"] != "" {
		by = []string{
			"--trusted-root", "trusted_root.json", "--certificate-oidc-issuer", "https://token.actions.githubusercontent.com",
			"--certificate-identity", "https://github.com/acme/decks/.github/workflows/release.yaml@refs/heads/main",
		}
	}
	for _, newer := range []string{"true", "false"} {
		args := slices.Concat([]string{"verify", "--offline", "--new-bundle-format=" + newer}, by, []string{r.Host + "/acme/decks/intro:v1"})
		if o := m.exec(tool(m.t, "cosign"), "", args...); o.code == 0 {
			return true
		}
	}
	return false
}
