//go:build interop

package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// decks are three decks that share slides, by name.
var decks = map[string][]string{
	"intro":  {"title", "agenda"},
	"safety": {"title", "drill", "contacts"},
	"engine": {"title", "pumps", "fuel", "contacts"},
}

func deckNames() []string { return slices.Sorted(maps.Keys(decks)) }

// slide paints noise that depends on its name alone: it weighs what it has in
// pixels, for nothing compresses it.
func slide(t *testing.T, name string, width int) []byte {
	t.Helper()
	var seed [32]byte
	copy(seed[:], name)
	r := rand.NewChaCha8(seed)
	img := image.NewRGBA(image.Rect(0, 0, width, width/2))
	if _, err := r.Read(img.Pix); err != nil {
		t.Fatal(err)
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 0xff
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// writeDeck writes a deck's folder on the machine.
func (m *machine) writeDeck(name string, slides []string, width int) {
	m.t.Helper()
	spec := fmt.Sprintf("title: About %s\nimages:\n", name)
	files := map[string][]byte{}
	for _, s := range slides {
		spec += "  - " + s + ".png\n"
		files[s+".png"] = slide(m.t, s, width)
	}
	files["deck.yaml"] = []byte(spec)
	for f, b := range files {
		writeFile(m.t, filepath.Join(m.path(name), f), b)
	}
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pushDecks builds the three decks into a registry and gives their references.
func (m *machine) pushDecks(a *server) []string {
	m.t.Helper()
	var refs []string
	for _, name := range deckNames() {
		ref := a.addr + "/decks/" + name + ":v1"
		m.writeDeck(name, decks[name], 64)
		m.airdeck("push", name+"/deck.yaml", ref)
		refs = append(refs, ref)
	}
	return refs
}

// pushImage has crane make an image of two layers.
func (m *machine) pushImage(a *server) string {
	m.t.Helper()
	base, ref := a.addr+"/images/app:base", a.addr+"/images/app:v1"
	for _, l := range []string{"layer-1", "layer-2"} {
		writeFile(m.t, m.path(l), []byte(l))
		m.run("tar", "-cf", l+".tar", l)
	}
	m.run("crane", "append", "--oci-empty-base", "-f", "layer-1.tar", "-t", base)
	m.run("crane", "append", "-b", base, "-f", "layer-2.tar", "-t", ref)
	m.run("crane", "mutate", ref, "--set-platform", "linux/amd64", "-t", ref)
	return ref
}

// pushIndex has crane make an index of two images. The image must be there.
func (m *machine) pushIndex(a *server) string {
	m.t.Helper()
	app, other, ref := a.addr+"/images/app:v1", a.addr+"/images/other:v1", a.addr+"/images/multi:v1"
	m.run("crane", "mutate", app, "--set-platform", "linux/arm64", "-t", other)
	m.run("crane", "index", "append", "-m", app, "-m", other, "-t", ref)
	return ref
}

// pushDocker has skopeo make an image with the media types of Docker, which
// airdeck must not convert. The image must be there.
func (m *machine) pushDocker(a *server) string {
	m.t.Helper()
	ref := a.addr + "/images/docker:v1"
	m.skopeo("copy", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+a.addr+"/images/app:v1", "docker://"+ref)
	if raw := m.run("crane", "manifest", ref); !bytes.Contains(raw, []byte("vnd.docker.distribution.manifest.v2+json")) {
		m.t.Fatalf("that is no manifest of Docker's: %s", raw)
	}
	return ref
}

// pushPlatforms has crane make an index of one image for each platform, and gives
// the digests of the images. They share a layer, and each has one of its own.
func (m *machine) pushPlatforms(a *server, repository string, platforms ...string) []string {
	m.t.Helper()
	ref := a.addr + "/" + repository + ":v1"
	base := a.addr + "/" + repository + ":base"
	writeFile(m.t, m.path("shared"), []byte("shared"))
	m.run("tar", "-cf", "shared.tar", "shared")
	m.run("crane", "append", "--oci-empty-base", "-f", "shared.tar", "-t", base)
	index := []string{"index", "append", "-t", ref}
	var digests []string
	for _, p := range platforms {
		name := strings.ReplaceAll(p, "/", "-")
		one := a.addr + "/" + repository + ":" + name
		writeFile(m.t, m.path(name), []byte(repository+" for "+p))
		m.run("tar", "-cf", name+".tar", name)
		m.run("crane", "append", "-b", base, "-f", name+".tar", "-t", one)
		m.run("crane", "mutate", one, "--set-platform", p, "-t", one)
		index = append(index, "-m", one)
		digests = append(digests, m.digest(one))
	}
	m.run("crane", index...)
	return digests
}

// pushDockerList has skopeo make a manifest list of Docker's, with manifests of
// Docker's, from an index.
func (m *machine) pushDockerList(a *server, from, to string) {
	m.t.Helper()
	m.skopeo("copy", "--all", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+a.addr+"/"+from+":v1", "docker://"+a.addr+"/"+to+":v1")
	list := a.manifest(to, "v1")
	if !bytes.Contains(list, []byte("vnd.docker.distribution.manifest.list.v2+json")) || bytes.Contains(list, []byte("vnd.oci.")) {
		m.t.Fatalf("that is no manifest list of Docker's: %s", list)
	}
	for _, c := range childrenOf(m.t, list).Manifests {
		if raw := a.manifest(to, c.Digest.String()); bytes.Contains(raw, []byte("vnd.oci.")) {
			m.t.Fatalf("that is no manifest of Docker's: %s", raw)
		}
	}
}

// digest is what crane says that a reference names.
func (m *machine) digest(ref string) string {
	m.t.Helper()
	return string(bytes.TrimSpace(m.run("crane", "digest", ref)))
}

func digestOf(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// manifest fetches a manifest as its bytes, by plain HTTP.
func (s *server) manifest(repository, reference string) []byte {
	s.t.Helper()
	code, b := s.get("/v2/" + repository + "/manifests/" + reference)
	if code != http.StatusOK {
		s.t.Fatalf("%s: manifest %s of %s: status %d: %s", s.program, reference, repository, code, b)
	}
	return b
}

// blob fetches a blob, and checks that it is what it is called.
func (s *server) blob(repository, digest string) []byte {
	s.t.Helper()
	code, b := s.get("/v2/" + repository + "/blobs/" + digest)
	if code != http.StatusOK || digestOf(b) != digest {
		s.t.Fatalf("%s: blob %s of %s: status %d, and %d bytes that hash to %s", s.program, digest, repository, code, len(b), digestOf(b))
	}
	return b
}

// children are what a manifest or an index names.
type children struct {
	Config    *ocispec.Descriptor
	Layers    []ocispec.Descriptor
	Manifests []ocispec.Descriptor
}

func childrenOf(t *testing.T, raw []byte) children {
	t.Helper()
	var c children
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// blobs are the config and the layers.
func (c children) blobs() []ocispec.Descriptor {
	if c.Config == nil {
		return c.Layers
	}
	return append([]ocispec.Descriptor{*c.Config}, c.Layers...)
}

// place is an artifact in a registry.
type place struct {
	*server
	repository string
	tag        string // or a digest
}

func (p place) String() string {
	if strings.HasPrefix(p.tag, "sha256:") {
		return p.addr + "/" + p.repository + "@" + p.tag
	}
	return p.addr + "/" + p.repository + ":" + p.tag
}

// sameArtifact demands that two registries serve the same bytes under two names,
// to plain HTTP and to the tools that people have.
func (m *machine) sameArtifact(a, b place) {
	m.t.Helper()
	want, got := a.manifest(a.repository, a.tag), b.manifest(b.repository, b.tag)
	if !bytes.Equal(want, got) {
		m.t.Fatalf("%s is\n%s\nand %s is\n%s", a, want, b, got)
	}
	for tool, shown := range map[string][]byte{
		"crane":  m.run("crane", "manifest", b.String()),
		"skopeo": m.skopeo("inspect", "--raw", "--tls-verify=false", "docker://"+b.String()),
		"oras":   m.run("oras", "manifest", "fetch", "--plain-http", b.String()),
		"regctl": m.regctl([]*server{b.server}, "manifest", "get", "--format", "raw-body", b.String()),
	} {
		if !bytes.Equal(bytes.TrimSpace(shown), bytes.TrimSpace(want)) {
			m.t.Errorf("%s: %s shows\n%s\nand not\n%s", b, tool, shown, want)
		}
	}
	d := digestOf(want)
	for _, p := range []place{a, b} {
		if got := m.digest(p.String()); got != d {
			m.t.Errorf("crane digest %s: %s, want %s", p, got, d)
		}
	}
	below := childrenOf(m.t, want)
	for _, child := range below.Manifests {
		m.sameArtifact(place{a.server, a.repository, child.Digest.String()}, place{b.server, b.repository, child.Digest.String()})
	}
	for _, blob := range below.blobs() {
		d := blob.Digest.String()
		want, got := a.blob(a.repository, d), b.blob(b.repository, d)
		shown := m.run("crane", "blob", b.addr+"/"+b.repository+"@"+d)
		if !bytes.Equal(want, got) || !bytes.Equal(want, shown) {
			m.t.Errorf("blob %s of %s is not that of %s", d, b, a)
		}
	}
}

// sameSlides demands that a folder holds the slides of a deck, and nothing else
// that is a picture.
func (m *machine) sameSlides(dir string, slides []string) {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.path(dir), "*.png"))
	if err != nil || len(found) != len(slides) {
		m.t.Fatalf("%s holds %v (%v), want %v", dir, found, err, slides)
	}
	for _, s := range slides {
		got, err := os.ReadFile(filepath.Join(m.path(dir), s+".png"))
		if err != nil || !bytes.Equal(got, slide(m.t, s, 64)) {
			m.t.Errorf("%s/%s.png is not the slide (%v)", dir, s, err)
		}
	}
}

// tree is the digest of every file below a directory, by its path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, p))
		out[p] = digestOf(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
