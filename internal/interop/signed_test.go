//go:build interop

package interop

import (
	"slices"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// TestSigned: what cosign signs and attests, in its new format and in its older
// tags, verifies at the destination, offline and with the key alone.
func TestSigned(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	m.pushPlatforms(a, "images/harbour", "linux/amd64", "linux/arm64")
	refs := []string{m.pushDecks(a)[0], m.pushImage(a), a.addr + "/images/harbour:v1"}
	m.newKey()
	writeFile(t, m.path("predicate.json"), []byte(`{"built":"here"}`))
	var signed []*signedArtifact
	for _, ref := range refs {
		s := &signedArtifact{ref: ref, name: ref[strings.Index(ref, "/")+1 : strings.LastIndex(ref, ":")], digest: m.digest(ref)}
		for _, c := range childrenOf(t, a.manifest(s.name, s.digest)).Manifests {
			s.children = append(s.children, c.Digest.String())
		}
		signed = append(signed, s)
		pinned := a.addr + "/" + s.name + "@" + s.digest
		m.sign(pinned, "--recursive")
		m.sign(pinned, "--recursive", "--new-bundle-format=false")
		m.cosign(slices.Concat([]string{"attest", "--predicate", "predicate.json", "--type", "custom"}, withKey, []string{pinned})...)
	}
	m.airdeck(append([]string{"pack", "-o", "signed.tar.zst"}, refs...)...)

	api := registrytest.Start(registrytest.Options{})
	t.Cleanup(api.Close)
	for _, d := range []struct{ name, way, addr string }{
		{"API", "referrers API", api.Host},
		{debian, "fallback tag", startServer(t, debian).addr},
		{distribution, "fallback tag", startServer(t, distribution).addr},
	} {
		t.Run(d.name, func(t *testing.T) {
			m := m.on(t)
			out := string(m.airdeck("mirror", "signed.tar.zst", d.addr+"/far").stdout)
			for _, s := range signed {
				there := d.addr + "/far/" + s.name
				s.verify(m, there)
				want := "pushed " + s.ref + " -> " + there + ":v1\n  digest and tag equal, " + s.referrers() + " referrers found by " + d.way + " and cosign tag\n"
				if !strings.Contains(out, want) {
					t.Errorf("mirror does not say\n%s\nbut\n%s", want, out)
				}
			}
			m.airdeck("compare", "signed.tar.zst", d.addr+"/far")
		})
	}
}

// signedArtifact is an artifact that is signed in both formats, with all that is
// below it, and has an attestation.
type signedArtifact struct {
	ref, name, digest string
	children          []string
}

// referrers is how many of them mirror should find.
func (s *signedArtifact) referrers() string {
	if len(s.children) == 2 {
		return "7 of 7"
	}
	return "3 of 3"
}

func (s *signedArtifact) verify(m *machine, there string) {
	m.t.Helper()
	for _, d := range append([]string{s.digest}, s.children...) {
		m.verifySignature(there+"@"+d, "--new-bundle-format=true")
		m.verifySignature(there+"@"+d, "--new-bundle-format=false")
	}
	m.cosign(slices.Concat([]string{"verify-attestation", "--type", "custom"}, byKey, []string{there + "@" + s.digest})...)
}

// What signs and what verifies with the key alone, offline.
var (
	withKey = []string{"--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes"}
	byKey   = []string{"--key", "cosign.pub", "--insecure-ignore-tlog=true", "--offline"}
)

// newKey has cosign make a key.
func (m *machine) newKey() {
	m.t.Helper()
	m.cosign("generate-key-pair")
}

func (m *machine) sign(ref string, flags ...string) {
	m.t.Helper()
	m.cosign(slices.Concat([]string{"sign"}, withKey, flags, []string{ref})...)
}

func (m *machine) verifySignature(ref string, flags ...string) {
	m.t.Helper()
	m.cosign(slices.Concat([]string{"verify"}, byKey, flags, []string{ref})...)
}

// cosign runs with a key that has no password.
func (m *machine) cosign(args ...string) {
	m.t.Helper()
	m = &machine{m.t, m.dir, append(slices.Clip(m.env), "COSIGN_PASSWORD=")}
	m.run("cosign", args...)
}
