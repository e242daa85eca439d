//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/vectors"
)

// left are files that unpack leaves, beside blobs that index.json does not lead to. It
// writes oci-layout anew.
var left = []string{"oci-layout", "manifest.json", "repositories", "store.json", "audit.log"}

// TestVectors: what airdeck takes of the corpus, others read alike. What it refuses is
// not their business: they take most of it.
func TestVectors(t *testing.T) {
	all, err := vectors.Load(filepath.Join("..", "..", filepath.FromSlash(vectors.Dir)))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		switch {
		case v.Expect != vectors.Success:
		case v.Form == vectors.Bundle:
			t.Run(v.Name, func(t *testing.T) { readAlike(t, newMachine(t), &v) })
		case v.Form == vectors.Directory:
			t.Run(v.Name, func(t *testing.T) { directoryAlike(t, newMachine(t), &v) })
		}
	}
}

func readAlike(t *testing.T, m *machine, v *vectors.Vector) {
	if err := os.WriteFile(m.path("talks"), v.Body, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := v.UnreadBy["zstd"]; ok {
		if o := m.exec(tool(t, "zstd"), "", "-dc", "talks"); o.code == 0 {
			t.Error("zstd reads it")
		}
		return
	}
	if err := os.WriteFile(m.path("plain.tar"), decompressed(m, v.Body), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.path("tar"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.run("tar", "-xf", "plain.tar", "-C", "tar")
	byTar := tree(t, m.path("tar"))

	m.airdeck("unpack", "talks", "ours")
	ours := tree(t, m.path("ours"))
	for name, content := range ours {
		if byTar[name] != content && name != "oci-layout" {
			t.Errorf("tar and airdeck unpack differ in %s", name)
		}
	}
	for name := range byTar {
		if ours[name] == "" && !slices.Contains(left, name) && !strings.HasPrefix(name, "blobs/") {
			t.Errorf("tar reads %s, and airdeck does not", name)
		}
	}
	var python map[string]string
	if err := json.Unmarshal(m.run("python3", "-c", readByPython, "plain.tar"), &python); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(python, byTar) {
		t.Errorf("tar reads %v\nPython %v", byTar, python)
	}
	bySkopeo(t, m, v, "oci-archive:talks")
}

// directoryAlike is for a layout that lies there as files.
func directoryAlike(t *testing.T, m *machine, v *vectors.Vector) {
	if err := os.Mkdir(m.path("talks"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := v.Unpack(m.path("talks")); err != nil {
		t.Fatal(err)
	}
	m.airdeck("unpack", "talks", "ours")
	theirs := tree(t, m.path("talks"))
	for name, content := range tree(t, m.path("ours")) {
		if theirs[name] != content && name != "oci-layout" {
			t.Errorf("the directory and what airdeck unpacks of it differ in %s", name)
		}
	}
	bySkopeo(t, m, v, "oci:talks")
}

// decompressed is by the programs that everybody has.
func decompressed(m *machine, b []byte) []byte {
	zstd, skippable := []byte{0x28, 0xb5, 0x2f, 0xfd}, []byte{0x2a, 0x4d, 0x18}
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return m.run("gzip", "-dc", "talks")
	case bytes.HasPrefix(b, zstd), bytes.HasPrefix(b[1:], skippable):
		return m.run("zstd", "-dc", "talks")
	}
	return b
}

// readByPython prints the digest of each file of an archive.
const readByPython = `
import hashlib, json, posixpath, sys, tarfile
with tarfile.open(sys.argv[1], "r:") as t:
    print(json.dumps({posixpath.normpath(m.name): "sha256:" + hashlib.sha256(t.extractfile(m).read()).hexdigest() for m in t if m.isfile()}))
`

// endless is how a vector says that nobody waits for a reader.
const endless = "is not done before long"

// bySkopeo has skopeo read all artifacts that it can name, or refuse one where the
// vector says so.
func bySkopeo(t *testing.T, m *machine, v *vectors.Vector, from string) {
	why, unread := v.UnreadBy["skopeo"]
	if strings.HasSuffix(why, endless) {
		return
	}
	refused := false
	for _, a := range named(t, m, from) {
		o := m.exec(tool(t, "skopeo"), "", "--insecure-policy", "copy", "--all", "--preserve-digests", a.source, "dir:"+a.digest)
		if o.code != 0 {
			t.Logf("skopeo copy %s: %s", a.source, o.stderr)
			refused = true
			continue
		}
		want, err := os.ReadFile(m.path("ours/blobs/" + strings.Replace(a.digest, ":", "/", 1)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(m.path(a.digest + "/manifest.json"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("skopeo copy %s: the manifest is\n%s (%v)", a.source, got, err)
		}
		if got := m.skopeo("inspect", "--raw", a.source); !bytes.Equal(got, want) {
			t.Errorf("skopeo inspect %s shows\n%s", a.source, got)
		}
	}
	if refused != unread {
		t.Errorf("skopeo refuses it: %t; unread-by: %q", refused, why)
	}
}

// artifact is an entry as skopeo is told of it.
type artifact struct{ source, digest string }

// named gives the entries that skopeo can be told of: the first of each name, or one
// that is alone. Where there are none, it is told nothing.
func named(t *testing.T, m *machine, from string) []artifact {
	t.Helper()
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	b, err := os.ReadFile(m.path("ours/index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	var all []artifact
	for _, e := range index.Manifests {
		source := from
		if name := e.Annotations["org.opencontainers.image.ref.name"]; name != "" {
			source += ":" + name
		} else if len(index.Manifests) > 1 {
			continue
		}
		if !slices.ContainsFunc(all, func(a artifact) bool { return a.source == source }) {
			all = append(all, artifact{source, e.Digest})
		}
	}
	if len(all) == 0 {
		all = []artifact{{from, "none"}}
	}
	return all
}
