//go:build interop

package interop

import (
	"slices"
	"testing"
)

// TestBundleSignatures: keys and signatures of bundles cross both ways.
func TestBundleSignatures(t *testing.T) {
	m := newMachine(t)
	m.env = append(slices.Clip(m.env), "COSIGN_PASSWORD=secret")
	blob := []string{"--insecure-ignore-tlog=true"}
	m.writeDeck("talk", []string{"title"}, 64)
	m.run("cosign", "generate-key-pair")
	m.airdeck("keygen", "ours")
	for _, key := range []string{"ours", "cosign"} {
		m.airdeck("pack", "-o", key+".tar.zst", "--sign-key", key+".key", "talk/deck.yaml=r.io/talk:v1")
		m.airdeck("verify", key+".tar.zst", "--key", key+".pub")
		m.run("tar", "-xf", key+".tar.zst", "index.json", "index.sigstore.json")
		m.run("cosign", slices.Concat([]string{"verify-blob", "--key", key + ".pub", "--bundle", "index.sigstore.json"}, blob, []string{"index.json"})...)

		m.run("cosign", "sign-blob", "--key", key+".key", "--use-signing-config=false", "--tlog-upload=false", "--yes", "--bundle", key+".json", "index.json")
		m.airdeck("pack", "-o", key+"-unsigned.tar.zst", key+".tar.zst")
		m.airdeck("verify", key+"-unsigned.tar.zst", "--key", key+".pub", "--signature", key+".json")
	}
	// What one has signed is not what the other has.
	m.airdeckFor(3, "verify", "ours.tar.zst", "--key", "cosign.pub")
	args := slices.Concat([]string{"verify-blob", "--key", "ours.pub", "--bundle", "index.sigstore.json"}, blob, []string{"index.json"})
	if o := m.exec(tool(t, "cosign"), "", args...); o.code == 0 {
		t.Error("cosign takes one for the other")
	}
}
