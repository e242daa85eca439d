//go:build interop

package interop

import (
	"slices"
	"strings"
	"testing"
)

// foreign are the ways in which others write layouts and archives. SRC is the
// reference in the registry and OUT what is written.
var foreign = []struct {
	name, out string
	command   string
}{
	{"oras directory", "oras-dir", "oras copy --from-plain-http SRC --to-oci-layout OUT:v1"},
	{"oras backup", "oras-backup", "oras backup --plain-http --output OUT SRC"},
	{"oras backup archive", "oras-backup.tar", "oras backup --plain-http --output OUT SRC"},
	{"skopeo directory", "skopeo-dir", "skopeo --insecure-policy copy --all --src-tls-verify=false docker://SRC oci:OUT:v1"},
	{"skopeo archive", "skopeo.tar", "skopeo --insecure-policy copy --all --src-tls-verify=false docker://SRC oci-archive:OUT:v1"},
	{"regctl directory", "regctl-dir", "regctl --host reg=HOST,tls=disabled image copy SRC ocidir://OUT:v1"},
	{"regctl archive", "regctl.tar", "regctl --host reg=HOST,tls=disabled image export SRC OUT"},
	{"regctl gzip", "regctl.tar.gz", "regctl --host reg=HOST,tls=disabled image export --compress SRC OUT"},
	{"crane directory", "crane-dir", "crane pull --format oci SRC OUT"},
}

// TestForeign: what others write, read by airdeck.
func TestForeign(t *testing.T) {
	a, b := startServer(t, debian), startServer(t, debian)
	author := newMachine(t)
	author.pushDecks(a)
	author.pushImage(a)
	author.pushIndex(a)
	for _, f := range foreign {
		for _, repository := range artifacts {
			t.Run(f.name+" of "+repository, func(t *testing.T) {
				command := strings.NewReplacer("SRC", a.addr+"/"+repository+":v1", "OUT", f.out, "HOST", a.addr).Replace(f.command)
				m := newMachine(t)
				words := strings.Fields(command)
				m.run(words[0], words[1:]...)
				from := place{a, repository, "v1"}
				want := digestOf(a.manifest(repository, "v1"))
				if words[0] == "skopeo" && repository == "images/multi" {
					// skopeo writes an index anew and leaves out what it does not
					// know: the index is then what skopeo says that it is.
					transport := strings.Split(words[len(words)-1], ":")[0]
					want = digestOf(m.skopeo("inspect", "--raw", transport+":"+f.out+":v1"))
				}
				reads(t, m, from, want, b, f.out)
			})
		}
	}
}

// reads has airdeck read a file or a directory whose one artifact is from,
// under the digest want.
func reads(t *testing.T, m *machine, from place, want string, b *server, file string) {
	m.airdeck("verify", file)
	got := jsonOf[inspectReport](m, "inspect", file)
	// oras lists what is below an index beside it.
	if !slices.ContainsFunc(got.Artifacts, func(a inspectedArtifact) bool { return a.Digest == want }) {
		t.Errorf("inspect finds %+v, want %s", got.Artifacts, want)
	}
	if strings.Contains(file, ".tar") {
		return
	}
	// An entry with a bare tag, or with no name, gets the directory's name.
	m.airdeck("pack", "-o", "ours.tar.zst", "oci:"+file)
	rep := jsonOf[mirrorReport](m, "mirror", "ours.tar.zst", b.addr+"/"+from.repository)
	if len(rep.Artifacts) != 1 || rep.Artifacts[0].Digest != want {
		t.Fatalf("one artifact was packed, and mirror says %+v, want %s", rep, want)
	}
	repository, reference, _ := strings.Cut(strings.TrimPrefix(rep.Artifacts[0].Target, b.addr+"/"), "@")
	if reference == "" {
		i := strings.LastIndex(repository, ":")
		repository, reference = repository[:i], repository[i+1:]
	}
	raw := b.manifest(repository, reference)
	if digestOf(raw) == digestOf(from.manifest(from.repository, from.tag)) {
		m.sameArtifact(from, place{b, repository, reference})
		return
	}
	if digestOf(raw) != want {
		t.Errorf("%s is %s, want %s", rep.Artifacts[0].Target, digestOf(raw), want)
	}
	for _, c := range childrenOf(t, raw).Manifests {
		m.sameArtifact(place{from.server, from.repository, c.Digest.String()}, place{b, repository, c.Digest.String()})
	}
}
