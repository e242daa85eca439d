//go:build interop

package interop

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestPlatforms: images for several platforms, of the types of OCI and of Docker,
// are carried whole, or as one platform in the place of the index, or in part.
func TestPlatforms(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	m.pushPlatforms(a, "images/two", "linux/amd64", "linux/arm64")
	m.pushDockerList(a, "images/two", "images/list")
	p := &platforms{machine: m, a: a, images: m.pushPlatforms(a, "images/three", "linux/amd64", "linux/arm64", "linux/s390x")}
	p.index = digestOf(a.manifest("images/three", "v1"))
	p.signIndex()
	t.Run("whole", p.whole)
	t.Run("one", p.one)
	t.Run("one of Docker's", p.oneOfList)
	t.Run("part refused", p.partRefused)
	t.Run("part taken", p.partTaken)
}

// platforms is a signed index of three images.
type platforms struct {
	*machine
	a      *server
	index  string   // its digest
	images []string // their digests: amd64, arm64 and s390x

	signatures []string // the digests of what refers to the index, sorted
	attached   string   // the digest of what refers to the image for arm64
}

func (p *platforms) signIndex() {
	p.t.Helper()
	ref := p.a.addr + "/images/three"
	p.newKey()
	p.sign(ref+"@"+p.index, "--new-bundle-format=false")
	cosign := p.digest(ref + ":" + strings.Replace(p.index, ":", "-", 1) + ".sig")
	p.signatures = []string{cosign, p.attach(ref + "@" + p.index)}
	slices.Sort(p.signatures)
	p.attached = p.attach(ref + "@" + p.images[1])
}

// attach has oras make something that refers to a manifest, and gives its digest.
func (m *machine) attach(ref string) string {
	m.t.Helper()
	writeFile(m.t, m.path("sbom.json"), []byte(`{"of":"`+ref+`"}`))
	out := m.run("oras", "attach", "--plain-http", "--artifact-type", "application/spdx+json", "--format", "go-template={{.digest}}", ref, "sbom.json")
	return string(bytes.TrimSpace(out))
}

func (p *platforms) whole(t *testing.T) {
	m := p.on(t)
	m.airdeck("pack", "-o", "whole.tar.zst", p.a.addr+"/images/two:v1", p.a.addr+"/images/list:v1")
	destinations(t, func(t *testing.T, program string) {
		b, m := startServer(t, program), m.on(t)
		m.airdeck("mirror", "whole.tar.zst", b.addr)
		for _, repository := range []string{"images/two", "images/list"} {
			there := place{b, repository, "v1"}
			m.sameArtifact(place{p.a, repository, "v1"}, there)
			m.run("crane", "validate", "--remote", there.String())
			for _, platform := range []string{"linux/amd64", "linux/arm64"} {
				m.run("crane", "validate", "--remote", there.String(), "--platform", platform)
			}
			// skopeo writes the index anew. The manifests below it stay.
			dir := program + "-" + strings.ReplaceAll(repository, "/", "-")
			m.skopeo("copy", "--all", "--src-tls-verify=false", "docker://"+there.String(), "dir:"+dir)
			files := tree(t, m.path(dir))
			for _, c := range childrenOf(t, p.a.manifest(repository, "v1")).Manifests {
				if got := files[c.Digest.Encoded()+".manifest.json"]; got != c.Digest.String() {
					t.Errorf("skopeo copied %s as %q", c.Digest, got)
				}
			}
		}
	})
}

// packReport is what pack --json prints.
type packReport struct {
	Absent   int
	Narrowed []struct {
		Reference, PlatformOf string
		Absent                int
		Uncovered             []string
	}
}

func (p *platforms) one(t *testing.T) {
	m := p.on(t)
	ref := p.a.addr + "/images/three:v1"
	pack := []string{"pack", "-o", "one.tar.zst", "--platform", "linux/arm64", ref}
	out := m.airdeck(pack...).stdout
	for _, s := range p.signatures {
		if !bytes.Contains(out, []byte(ref+": not covered by "+s)) {
			t.Errorf("pack does not say that %s covers nothing here:\n%s", s, out)
		}
	}
	packed := jsonOf[packReport](m, pack...)
	if n := packed.Narrowed; len(n) != 1 || n[0].Reference != ref || n[0].PlatformOf != p.index || !slices.Equal(n[0].Uncovered, p.signatures) {
		t.Errorf("pack says %+v, want %s in the place of %s, not covered by %v", n, ref, p.index, p.signatures)
	}
	m.airdeck("verify", "one.tar.zst")

	// The others are not in it, nor what only they have.
	list := m.run("tar", "-tf", "one.tar.zst")
	unwanted := append([]string{p.index}, p.signatures...)
	for _, other := range []string{p.images[0], p.images[2]} {
		c := childrenOf(t, p.a.manifest("images/three", other))
		unwanted = append(unwanted, other, c.Config.Digest.String(), c.Layers[1].Digest.String())
	}
	for _, d := range unwanted {
		if bytes.Contains(list, []byte(strings.TrimPrefix(d, "sha256:"))) {
			t.Errorf("%s is in the bundle", d)
		}
	}

	destinations(t, func(t *testing.T, program string) {
		b, m := startServer(t, program), m.on(t)
		rep := jsonOf[mirrorReport](m, "mirror", "one.tar.zst", b.addr)
		if len(rep.Artifacts) != 1 {
			t.Fatalf("mirror says %+v, want one artifact", rep.Artifacts)
		}
		art := rep.Artifacts[0]
		if art.Digest != p.images[1] || art.PlatformOf != p.index || !slices.Equal(art.Uncovered, p.signatures) {
			t.Errorf("mirror says %+v, want %s of %s, not covered by %v", art, p.images[1], p.index, p.signatures)
		}
		there := place{b, "images/three", "v1"}
		m.sameArtifact(place{p.a, "images/three", p.images[1]}, there)
		m.run("crane", "validate", "--remote", there.String())
		if code, _ := b.get("/v2/images/three/manifests/" + p.index); code != 404 {
			t.Errorf("the index is there as well: status %d", code)
		}
		// What refers to the one platform covers it, and has come along.
		if found := m.run("oras", "discover", "--plain-http", "--format", "json", there.String()); !bytes.Contains(found, []byte(p.attached)) {
			t.Errorf("oras does not find %s:\n%s", p.attached, found)
		}
	})
}

func (p *platforms) oneOfList(t *testing.T) {
	m := p.on(t)
	m.airdeck("pack", "-o", "list.tar.zst", "--platform", "linux/arm64", p.a.addr+"/images/list:v1")
	arm := childrenOf(t, p.a.manifest("images/list", "v1")).Manifests[1].Digest.String()
	destinations(t, func(t *testing.T, program string) {
		b, m := startServer(t, program), m.on(t)
		m.airdeck("mirror", "list.tar.zst", b.addr)
		m.sameArtifact(place{p.a, "images/list", arm}, place{b, "images/list", "v1"})
	})
}

// packTwo packs two of the three platforms.
func (p *platforms) packTwo(m *machine, flags ...string) {
	m.t.Helper()
	args := append([]string{"pack", "-o", "part.tar.zst", "--platform", "linux/arm64,linux/amd64", p.a.addr + "/images/three:v1"}, flags...)
	packed := jsonOf[packReport](m, args...)
	if n := packed.Narrowed; packed.Absent != 1 || len(n) != 1 || n[0].PlatformOf != "" || n[0].Absent != 1 || n[0].Uncovered != nil {
		m.t.Errorf("pack says %+v, want one manifest left out of an index that stays", packed)
	}
	m.airdeck("verify", "part.tar.zst")
}

// Both servers check by default that they have all that an index lists.
func (p *platforms) partRefused(t *testing.T) {
	m := p.on(t)
	p.packTwo(m)
	destinations(t, func(t *testing.T, program string) {
		b, m := startServer(t, program), m.on(t)
		o := m.airdeckFor(1, "mirror", "--quiet", "part.tar.zst", b.addr)
		oneLine(t, o.stderr, b.addr+"/images/three:v1", "carried in part, and the registry takes it whole or not at all")
		if code, body := b.get("/v2/images/three/manifests/v1"); code != 404 {
			t.Errorf("the tag is set: status %d: %s", code, body)
		}
	})
}

// distribution 3 can be told to check for no platform, or for some.
func (p *platforms) partTaken(t *testing.T) {
	for _, c := range []struct {
		name, indexes string
		flags         []string
	}{
		{"none", `{platforms: none}`, nil},
		// With a list it breaks off when an index comes that names no platform, as that
		// of a fallback tag does: here nothing refers to the images.
		{"list", `{platforms: list, platformlist: [{architecture: amd64, os: linux}, {architecture: arm64, os: linux}]}`, []string{"--no-referrers"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, m := startConfigured(t, distribution, "validation: {manifests: {indexes: "+c.indexes+"}}\n"), p.on(t)
			p.packTwo(m, c.flags...)
			rep := jsonOf[mirrorReport](m, "mirror", "part.tar.zst", b.addr)
			// What cosign keeps under a tag comes first.
			art := rep.Artifacts[len(rep.Artifacts)-1]
			if art.Digest != p.index || art.Status != "pushed" || !slices.Equal(art.Absent, p.images[2:]) {
				t.Errorf("mirror says %+v, want %s without %v", art, p.index, p.images[2:])
			}
			there := b.addr + "/images/three"
			if d := m.digest(there + ":v1"); d != p.index {
				t.Errorf("the tag names %s, want %s", d, p.index)
			}
			for _, d := range p.images[:2] {
				m.sameArtifact(place{p.a, "images/three", d}, place{b, "images/three", d})
			}
			m.run("crane", "validate", "--remote", there+":v1", "--platform", "linux/arm64")
			if code, _ := b.get("/v2/images/three/manifests/" + p.images[2]); code != 404 {
				t.Errorf("the image that was left out is there: status %d", code)
			}
			if c.flags == nil {
				m.verifySignature(there+"@"+p.index, "--new-bundle-format=false") // the index is what was signed
			}
		})
	}
}
