//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const nondistributableLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

// allowURLs has a server take manifests with layers that are elsewhere.
const allowURLs = `validation: {manifests: {urls: {allow: ["^https://layers.example.com/"]}}}` + "\n"

// TestNondistributable: a layer that is not to be distributed is left out where the
// source does not have it, and only by request; where it is, it is carried.
func TestNondistributable(t *testing.T) {
	images := startServer(t, debian)
	m := newMachine(t)
	m.pushImage(images)
	m.pushDocker(images)
	for _, c := range []struct{ name, from, mediaType string }{
		{"oci", "images/app", nondistributableLayer},
		{"docker", "images/docker", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			destinations(t, func(t *testing.T, program string) {
				m := newMachine(t)
				a := startConfigured(t, program, allowURLs)
				layer := m.pushForeign(images, c.from, a, "base/lacks", c.mediaType, false)
				m.pushForeign(images, c.from, a, "base/has", c.mediaType, true)
				n := &nondistributable{m, a, startConfigured(t, program, allowURLs), layer}
				n.lacks()
				n.has()
			})
		})
	}
	// By default the servers allow no URL. One of them is enough here: it answers that
	// with status 500, which airdeck takes for a fault that may pass.
	t.Run("refused", func(t *testing.T) {
		m := newMachine(t)
		a, b := startConfigured(t, debian, allowURLs), startServer(t, distribution)
		m.pushForeign(images, "images/app", a, "base/lacks", nondistributableLayer, false)
		m.airdeck("pack", "-o", "lacks.tar.zst", "--allow-nondistributable", a.addr+"/base/lacks:v1")
		o := m.airdeckFor(1, "mirror", "--quiet", "lacks.tar.zst", b.addr)
		oneLine(t, o.stderr, b.addr+"/base/lacks:v1", "whole or not at all")
		if code, _ := b.get("/v2/base/lacks/manifests/v1"); code != 404 {
			t.Errorf("the tag is set: status %d", code)
		}
	})
}

// pushForeign has oras push an image whose last layer is said to be elsewhere. It
// gives the digest of the layer.
func (m *machine) pushForeign(from *server, image string, a *server, repository, mediaType string, has bool) string {
	m.t.Helper()
	var manifest ocispec.Manifest
	if err := json.Unmarshal(from.manifest(image, "v1"), &manifest); err != nil {
		m.t.Fatal(err)
	}
	layer := &manifest.Layers[len(manifest.Layers)-1]
	layer.MediaType, layer.URLs = mediaType, []string{"https://layers.example.com/base.tar.gz"}
	for _, d := range append([]ocispec.Descriptor{manifest.Config}, manifest.Layers...) {
		if d.Digest != layer.Digest || has {
			writeFile(m.t, m.path("blob"), from.blob(image, d.Digest.String()))
			m.run("oras", "blob", "push", "--plain-http", a.addr+"/"+repository+"@"+d.Digest.String(), "blob")
		}
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		m.t.Fatal(err)
	}
	writeFile(m.t, m.path("manifest.json"), b)
	m.run("oras", "manifest", "push", "--plain-http", "--media-type", manifest.MediaType, a.addr+"/"+repository+":v1", "manifest.json")
	return layer.Digest.String()
}

// nondistributable is a source and a destination that take manifests with layers
// that are elsewhere.
type nondistributable struct {
	*machine
	a, b  *server
	layer string
}

func (n *nondistributable) lacks() {
	ref := n.a.addr + "/base/lacks:v1"
	o := n.airdeckFor(1, "pack", "--quiet", "-o", "lacks.tar.zst", ref)
	oneLine(n.t, o.stderr, n.layer, "--allow-nondistributable")
	if _, err := os.Stat(n.path("lacks.tar.zst")); err == nil {
		n.t.Error("there is a bundle")
	}
	packed := jsonOf[packReport](n.machine, "pack", "-o", "lacks.tar.zst", "--allow-nondistributable", ref)
	if packed.Absent != 1 {
		n.t.Errorf("pack says that %d layers are left out", packed.Absent)
	}
	n.airdeck("verify", "lacks.tar.zst")
	if out := n.airdeck("inspect", "lacks.tar.zst").stdout; !bytes.Contains(out, []byte(n.layer+", left out")) {
		n.t.Errorf("inspect does not show what is left out:\n%s", out)
	}

	rep := jsonOf[mirrorReport](n.machine, "mirror", "lacks.tar.zst", n.b.addr)
	if len(rep.Artifacts) != 1 || !slices.Equal(rep.Artifacts[0].Absent, []string{n.layer}) {
		n.t.Errorf("mirror says %+v, want %s absent", rep.Artifacts, n.layer)
	}
	raw := n.a.manifest("base/lacks", "v1")
	if got := n.b.manifest("base/lacks", "v1"); !bytes.Equal(got, raw) {
		n.t.Errorf("the manifest is\n%s\nwant\n%s", got, raw)
	}
	for _, d := range childrenOf(n.t, raw).blobs() {
		if d.Digest.String() != n.layer {
			n.b.blob("base/lacks", d.Digest.String())
		}
	}
	if code, _ := n.b.get("/v2/base/lacks/blobs/" + n.layer); code != 404 {
		n.t.Errorf("the layer is there: status %d", code)
	}
	n.airdeck("compare", "lacks.tar.zst", n.b.addr)
}

// has comes after lacks: the packer's layout has the image already, and lacks the
// layer.
func (n *nondistributable) has() {
	ref := n.a.addr + "/base/has:v1"
	for _, flags := range [][]string{nil, {"--allow-nondistributable"}} {
		packed := jsonOf[packReport](n.machine, append([]string{"pack", "-o", "has.tar.zst", ref}, flags...)...)
		if packed.Absent != 0 {
			n.t.Errorf("pack with %v leaves %d layers out", flags, packed.Absent)
		}
	}
	n.airdeck("verify", "has.tar.zst")
	n.airdeck("mirror", "has.tar.zst", n.b.addr)
	n.sameArtifact(place{n.a, "base/has", "v1"}, place{n.b, "base/has", "v1"})
}
