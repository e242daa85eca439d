//go:build interop

package interop

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOthersRead: what airdeck writes, read by others without airdeck.
func TestOthersRead(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	refs := append(m.pushDecks(a), m.pushImage(a), m.pushIndex(a), m.pushDocker(a))
	for _, name := range []string{"all.tar", "all.tar.zst", "all.tar.gz"} {
		m.airdeck(append([]string{"pack", "-o", name}, refs...)...)
	}
	m.airdeck("pack", "-o", "one.tar.zst", a.addr+"/images/app:v1")
	m.airdeck("unpack", "all.tar.zst", "all")
	m.airdeck("unpack", "one.tar.zst", "one")

	t.Run("tar", func(t *testing.T) { tarReads(t, m.on(t)) })
	t.Run("skopeo", func(t *testing.T) { skopeoReads(t, m.on(t), a) })
	t.Run("oras", func(t *testing.T) { orasReads(t, m.on(t), a) })
	t.Run("regctl", func(t *testing.T) { regctlReads(t, m.on(t), a) })
	t.Run("crane", func(t *testing.T) { craneReads(t, m.on(t), a) })
}

// artifacts are those of the bundle: a deck, and an image and an index of two,
// which some tools treat otherwise.
var artifacts = []string{"decks/intro", "images/app", "images/multi"}

func tarReads(t *testing.T, m *machine) {
	want := tree(t, m.path("all"))
	for _, name := range []string{"all.tar", "all.tar.zst", "all.tar.gz"} {
		list := strings.Fields(string(m.run("tar", "-tf", name)))
		if len(list) < 2 || list[0] != "oci-layout" || list[1] != "index.json" {
			t.Errorf("%s begins with %v", name, list[:min(2, len(list))])
		}
		into := "tar-" + name
		if err := os.Mkdir(m.path(into), 0o755); err != nil {
			t.Fatal(err)
		}
		m.run("tar", "-xf", name, "-C", into)
		got := tree(t, m.path(into))
		// For container tools there is a file beside the layout.
		delete(got, "manifest.json")
		if !maps.Equal(got, want) {
			t.Errorf("%s: tar extracts other files than airdeck unpack:\n%v\n%v", name, got, want)
		}
	}
	// GNU tar is asked to find fault as well: it compares with the files.
	m.run("tar", "-df", "all.tar", "-C", "tar-all.tar")

	plain, err := os.ReadFile(m.path("all.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.run("zstd", "-dc", "all.tar.zst"), plain) {
		t.Error("zstd -dc all.tar.zst is not all.tar")
	}
	m.run("zstd", "--test", "all.tar.zst")
}

func skopeoReads(t *testing.T, m *machine, a *server) {
	b := startServer(t, debian)
	for _, repository := range artifacts {
		want := a.manifest(repository, "v1")
		ref := a.addr + "/" + repository + ":v1"
		for kind, name := range map[string]string{
			"archive": "oci-archive:all.tar:", "zstd": "oci-archive:all.tar.zst:", "gzip": "oci-archive:all.tar.gz:", "dir": "oci:all:",
		} {
			if got := m.skopeo("inspect", "--raw", name+ref); !bytes.Equal(got, want) {
				t.Errorf("skopeo inspect %s%s shows\n%s", name, ref, got)
			}
			to := kind + "/" + repository
			if repository == "images/multi" {
				// skopeo writes an index anew, and leaves out what it does not
				// know. The manifests below it stay.
				m.skopeo("copy", "--all", "--dest-tls-verify=false", name+ref, "docker://"+b.addr+"/"+to+":v1")
				for _, c := range childrenOf(t, want).Manifests {
					m.sameArtifact(place{a, repository, c.Digest.String()}, place{b, to, c.Digest.String()})
				}
				continue
			}
			m.skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", name+ref, "docker://"+b.addr+"/"+to+":v1")
			m.sameArtifact(place{a, repository, "v1"}, place{b, to, "v1"})
			// It makes the last folder of a path only.
			into := "skopeo-" + strings.ReplaceAll(to, "/", "-")
			m.skopeo("copy", "--all", "--preserve-digests", name+ref, "dir:"+into)
			got, err := os.ReadFile(m.path(into + "/manifest.json"))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("skopeo copy %s to dir: the manifest is\n%s (%v)", name, got, err)
			}
		}
	}
}

func orasReads(t *testing.T, m *machine, a *server) {
	b := startServer(t, debian)
	// oras knows no zstd: it takes the .tar and the directory. A reference with a
	// colon in it needs the path to be named apart from it.
	for kind, path := range map[string]string{"tar": "all.tar", "dir": "all"} {
		tags := string(m.run("oras", "repo", "tags", "--oci-layout", path))
		for _, repository := range artifacts {
			want := a.manifest(repository, "v1")
			ref := a.addr + "/" + repository + ":v1"
			if !strings.Contains(tags, ref) {
				t.Errorf("oras repo tags %s: no %s in\n%s", path, ref, tags)
			}
			for _, got := range [][]byte{
				m.run("oras", "manifest", "fetch", "--oci-layout-path", path, ref),
				m.run("oras", "manifest", "fetch", "--oci-layout", path+"@"+digestOf(want)),
			} {
				if !bytes.Equal(got, want) {
					t.Errorf("oras manifest fetch %s: %s", path, got)
				}
			}
			to := kind + "/" + repository
			m.run("oras", "copy", "--from-oci-layout-path", path, ref, "--to-plain-http", b.addr+"/"+to+":v1")
			m.sameArtifact(place{a, repository, "v1"}, place{b, to, "v1"})
		}
		m.run("oras", "pull", "--oci-layout-path", path, "-o", "oras-"+kind, a.addr+"/decks/intro:v1")
		m.sameSlides("oras-"+kind, decks["intro"])
	}
}

func regctlReads(t *testing.T, m *machine, a *server) {
	b := startServer(t, debian)
	for _, name := range []string{"all.tar", "all.tar.zst", "all.tar.gz"} {
		for _, repository := range artifacts {
			to := strings.TrimPrefix(filepath.Ext(name), ".") + "/" + repository
			m.regctl([]*server{b}, "image", "import", "--name", a.addr+"/"+repository+":v1", b.addr+"/"+to+":v1", name)
			m.sameArtifact(place{a, repository, "v1"}, place{b, to, "v1"})
		}
	}
	// A reference of ocidir:// has no place for a full name, only for a digest.
	for _, repository := range artifacts {
		want := a.manifest(repository, "v1")
		got := m.regctl(nil, "manifest", "get", "--format", "raw-body", "ocidir://all@"+digestOf(want))
		if !bytes.Equal(bytes.TrimSpace(got), want) {
			t.Errorf("regctl manifest get: %s", got)
		}
		to := "ocidir/" + repository
		m.regctl([]*server{b}, "image", "copy", "ocidir://all@"+digestOf(want), b.addr+"/"+to+":v1")
		m.sameArtifact(place{a, repository, "v1"}, place{b, to, "v1"})
	}
}

func craneReads(t *testing.T, m *machine, a *server) {
	b := startServer(t, debian)
	// crane reads a layout directory with one artifact in it, or all as one index.
	m.run("crane", "push", "one", b.addr+"/one/app:v1")
	m.sameArtifact(place{a, "images/app", "v1"}, place{b, "one/app", "v1"})
	m.run("crane", "push", "--index", "all", b.addr+"/all:v1")
	for _, repository := range artifacts {
		want := a.manifest(repository, "v1")
		if got := b.manifest("all", digestOf(want)); !bytes.Equal(got, want) {
			t.Errorf("crane pushed %s as\n%s", repository, got)
		}
	}
	m.run("crane", "validate", "--remote", b.addr+"/one/app:v1")
}
