//go:build interop

package interop

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// customAttestation is the predicate type that cosign attest --type custom writes.
const customAttestation = "https://cosign.sigstore.dev/attestation/v1"

// policyOf writes a policy that demands of all artifacts a signature by a key, and an
// attestation.
func (m *machine) policyOf(file, key string) {
	m.t.Helper()
	writeFile(m.t, m.path(file), []byte("rules:\n- match: '**'\n  keys: "+key+"\n  attestations: ["+customAttestation+"]\n"))
}

// signAll has cosign sign and attest artifacts, by their digests.
func (m *machine) signAll(form string, refs []string) {
	m.t.Helper()
	writeFile(m.t, m.path("predicate.json"), []byte(`{"built":"here"}`))
	for _, ref := range refs {
		pinned := ref[:strings.LastIndex(ref, ":")] + "@" + m.digest(ref)
		m.sign(pinned, form)
		m.cosign(slices.Concat([]string{"attest", "--predicate", "predicate.json", "--type", "custom", form}, withKey, []string{pinned})...)
	}
}

// pushAllKinds pushes a deck, an image, an index of platforms and a chart.
func (m *machine) pushAllKinds(a *server) []string {
	m.t.Helper()
	m.pushPlatforms(a, "images/harbour", "linux/amd64", "linux/arm64")
	m.run("helm", "create", "crane")
	m.run("helm", "package", "crane")
	m.run("helm", "push", "crane-0.1.0.tgz", "oci://"+a.addr+"/charts", "--plain-http")
	return []string{m.pushDecks(a)[0], m.pushImage(a), a.addr + "/images/harbour:v1", a.addr + "/charts/crane:0.1.0"}
}

// TestPolicy: what cosign signs and attests in a registry satisfies a policy, when it is
// packed, at the far side, and when it is packed again from there.
func TestPolicy(t *testing.T) {
	for name, form := range map[string]string{"new": "--new-bundle-format=true", "older": "--new-bundle-format=false"} {
		t.Run(name, func(t *testing.T) {
			a, m := startServer(t, debian), newMachine(t)
			refs := m.pushAllKinds(a)
			m.newKey()
			m.policyOf("policy.yaml", "cosign.pub")
			m.signAll(form, refs)
			m.airdeck(append([]string{"pack", "-o", "signed.tar.zst", "--policy", "policy.yaml"}, refs...)...)
			m.allVerified("signed.tar.zst", len(refs))

			api := registrytest.Start(registrytest.Options{})
			t.Cleanup(api.Close)
			for _, addr := range []string{api.Host, startServer(t, distribution).addr} {
				m.airdeck("mirror", "signed.tar.zst", addr+"/far", "--policy", "policy.yaml")
				var there []string
				for _, ref := range refs {
					to := addr + "/far" + strings.TrimPrefix(ref, a.addr)
					there = append(there, to)
					m.verifySignature(to, form)
					m.cosign(slices.Concat([]string{"verify-attestation", "--type", "custom", form}, byKey, []string{to})...)
				}
				m.airdeck(append([]string{"pack", "-o", "back.tar.zst", "--policy", "policy.yaml"}, there...)...)
				m.allVerified("back.tar.zst", len(refs))
			}
		})
	}
}

// allVerified demands that airdeck calls all artifacts of a bundle verified, by the key.
func (m *machine) allVerified(file string, n int) {
	m.t.Helper()
	got := m.trust(0, file, "policy.yaml")
	if len(got) != n {
		m.t.Errorf("%s: %d artifacts, want %d", file, len(got), n)
	}
	for _, a := range got {
		if a.State != "verified" || a.Decision != "allow" {
			m.t.Errorf("%s: %+v", file, a)
		}
	}
}

// trusted is what airdeck says of the signatures of an artifact.
type trusted struct{ Name, State, Decision, Why string }

// trust runs verify with a policy.
func (m *machine) trust(code int, file, policy string) []trusted {
	m.t.Helper()
	o := m.airdeckFor(code, "verify", file, "--policy", policy, "--json")
	var got struct{ ArtifactSignatures []trusted }
	if err := json.Unmarshal(o.stdout, &got); err != nil {
		m.t.Fatalf("%v in\n%s", err, o.stdout)
	}
	return got.ArtifactSignatures
}

// TestPolicyDenies: what is not signed by whom the policy names is denied, and nothing
// of it leaves.
func TestPolicyDenies(t *testing.T) {
	for name, form := range map[string]string{"new": "--new-bundle-format=true", "older": "--new-bundle-format=false"} {
		t.Run(name, func(t *testing.T) {
			a, m := startServer(t, debian), newMachine(t)
			image := m.pushImage(a)
			m.newKey()
			m.policyOf("policy.yaml", "cosign.pub")
			old := m.digest(image)
			m.signAll(form, []string{image})
			m.cosign("generate-key-pair", "--output-key-prefix", "other")
			m.policyOf("other.yaml", "other.pub")
			m.airdeck("pack", "-o", "signed.tar.zst", image)
			m.denied("signed.tar.zst", "other.yaml", "invalid")
			m.notPacked("other.yaml", image)

			// The tag is moved to what nobody has signed.
			m.run("crane", "mutate", image, "--label", "tampered=yes", "-t", image)
			m.airdeck("pack", "-o", "tampered.tar.zst", image)
			m.denied("tampered.tar.zst", "policy.yaml", "unsigned")
			m.notPacked("policy.yaml", image)

			// The signatures of what was there before are hung on it.
			if form == "--new-bundle-format=false" {
				for _, ending := range []string{".sig", ".att"} {
					m.run("crane", "copy", a.addr+"/images/app:"+tagOf(old)+ending, a.addr+"/images/app:"+tagOf(m.digest(image))+ending)
				}
				m.airdeck("pack", "-o", "moved.tar.zst", image)
				m.denied("moved.tar.zst", "policy.yaml", "invalid")
				m.notPacked("policy.yaml", image)
			}
		})
	}
}

// tagOf is how cosign begins the tags for a digest.
func tagOf(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// denied demands that a bundle is denied, and that nothing is sent.
func (m *machine) denied(file, policy, state string) {
	m.t.Helper()
	for _, a := range m.trust(3, file, policy) {
		if a.State != state || a.Decision != "deny" {
			m.t.Errorf("%s: %+v, want %s", file, a, state)
		}
	}
	r := registrytest.Start(registrytest.Options{})
	defer r.Close()
	m.airdeckFor(3, "mirror", file, r.Host, "--policy", policy)
	if got := r.Requests(); len(got) > 0 {
		m.t.Errorf("%s is denied, and the destination was asked for %q", file, got)
	}
	m.airdeckFor(3, "unpack", file, "unpacked", "--policy", policy)
	if _, err := os.Lstat(m.path("unpacked")); err == nil {
		m.t.Errorf("%s is denied, and was unpacked", file)
	}
}

// notPacked demands that a policy keeps an artifact out of a bundle.
func (m *machine) notPacked(policy, ref string) {
	m.t.Helper()
	m.airdeckFor(3, "pack", "-o", "denied.tar.zst", "--policy", policy, ref)
	if _, err := os.Lstat(m.path("denied.tar.zst")); err == nil {
		m.t.Errorf("%s is denied, and was packed", ref)
	}
}
