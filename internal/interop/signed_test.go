//go:build interop

package interop

import (
	"bytes"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// TestSigned: what cosign signs and attests, in its new format and in its older
// tags, verifies at the destination, offline and with the key alone.
func TestSigned(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	m.env = append(m.env, "COSIGN_PASSWORD=")
	refs := []string{m.pushDecks(a)[0], m.pushImage(a)}
	m.run("cosign", "generate-key-pair")
	writeFile(t, m.path("predicate.json"), []byte(`{"built":"here"}`))
	digests := map[string]string{}
	offline := []string{"--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes"}
	for _, ref := range refs {
		digest := strings.TrimSpace(string(m.run("crane", "digest", ref)))
		name := ref[strings.Index(ref, "/")+1 : strings.LastIndex(ref, ":")]
		digests[name] = digest
		pinned := a.addr + "/" + name + "@" + digest
		m.run("cosign", append(append([]string{"sign"}, offline...), pinned)...)
		m.run("cosign", append(append([]string{"sign", "--new-bundle-format=false"}, offline...), pinned)...)
		m.run("cosign", append(append([]string{"attest", "--predicate", "predicate.json", "--type", "custom"}, offline...), pinned)...)
	}
	m.airdeck(append([]string{"pack", "-o", "signed.tar.zst"}, refs...)...)

	api := registrytest.Start(registrytest.Options{})
	t.Cleanup(api.Close)
	for way, addr := range map[string]string{"referrers API": api.Host, "fallback tag": startServer(t, debian).addr} {
		t.Run(way, func(t *testing.T) {
			m := m.on(t)
			out := m.airdeck("mirror", "signed.tar.zst", addr+"/far").stdout
			if n := bytes.Count(out, []byte("2 of 2 referrers found by "+way)); n != len(refs) {
				t.Errorf("%d of %d artifacts have their referrers by %s:\n%s", n, len(refs), way, out)
			}
			for name, digest := range digests {
				there := addr + "/far/" + name + "@" + digest
				key := []string{"--key", "cosign.pub", "--insecure-ignore-tlog=true", "--offline"}
				for _, format := range []string{"true", "false"} {
					m.run("cosign", append(append([]string{"verify", "--new-bundle-format=" + format}, key...), there)...)
				}
				m.run("cosign", append(append([]string{"verify-attestation", "--type", "custom"}, key...), there)...)
			}
			m.airdeck("compare", "signed.tar.zst", addr+"/far")
		})
	}
}

// TestChart: helm finds the chart that it pushed.
func TestChart(t *testing.T) {
	a, b := startServer(t, debian), startServer(t, debian)
	m := newMachine(t)
	m.run("helm", "create", "harbour")
	m.run("helm", "package", "harbour")
	m.run("helm", "push", "harbour-0.1.0.tgz", "oci://"+a.addr+"/charts", "--plain-http")
	m.airdeck("pack", "-o", "chart.tar.zst", a.addr+"/charts/harbour:0.1.0")
	if out := m.airdeck("inspect", "chart.tar.zst").stdout; !bytes.Contains(out, []byte(`Helm chart "harbour 0.1.0"`)) {
		t.Errorf("inspect does not know the chart:\n%s", out)
	}
	m.airdeck("mirror", "chart.tar.zst", b.addr+"/sea")
	m.run("helm", "pull", "oci://"+b.addr+"/sea/charts/harbour", "--version", "0.1.0", "--plain-http", "--untar", "--untardir", "back")
	want := m.run("helm", "template", "x", "harbour")
	if got := m.run("helm", "template", "x", "back/harbour"); !bytes.Equal(got, want) || len(want) == 0 {
		t.Errorf("the chart renders otherwise:\n%s", got)
	}
}
