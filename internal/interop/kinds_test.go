//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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

// TestFlux: Flux pulls the files that it pushed.
func TestFlux(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	for name, text := range map[string]string{
		"kustomization.yaml": "resources: [base/pier.yaml]\n", "base/pier.yaml": "kind: Pier\n", "base/crane.yaml": "kind: Crane\n",
	} {
		writeFile(t, m.path("fleet/"+name), []byte(text))
	}
	ref := a.addr + "/fleet/deploy:v1"
	m.run("fluxoci", "push", "artifact", "oci://"+ref, "--path", "fleet", "--source", "https://git.example.com/fleet", "--revision", "main@sha1:0a1b2c")
	m.airdeck("pack", "-o", "flux.tar.zst", ref)
	if got := jsonOf[inspectReport](m, "inspect", "flux.tar.zst").Artifacts; len(got) != 1 || got[0].Kind != "Flux artifact" {
		t.Errorf("inspect does not know the artifact: %+v", got)
	}
	destinations(t, func(t *testing.T, program string) {
		b, m := startServer(t, program), m.on(t)
		m.airdeck("mirror", "flux.tar.zst", b.addr+"/far")
		m.sameArtifact(place{a, "fleet/deploy", "v1"}, place{b, "far/fleet/deploy", "v1"})
		back := "back-" + program
		m.run("fluxoci", "pull", "artifact", "oci://"+b.addr+"/far/fleet/deploy:v1", "--output", back)
		if got, want := tree(t, m.path(back)), tree(t, m.path("fleet")); !maps.Equal(got, want) {
			t.Errorf("Flux pulls %v, want %v", got, want)
		}
	})
}

// TestZarfLike: a package as Zarf publishes it. Its operating system is "multi",
// which no machine has and every request for a platform takes.
func TestZarfLike(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	ref := m.pushZarf(a)
	m.airdeck("pack", "-o", "zarf.tar.zst", "--platform", "linux/amd64", ref)
	got := jsonOf[inspectReport](m, "inspect", "zarf.tar.zst").Artifacts
	if len(got) != 1 || len(got[0].Manifests) != 1 || got[0].Manifests[0].Kind != "Zarf package" || got[0].Manifests[0].Platform != "multi/amd64" {
		t.Errorf("inspect does not know the package: %+v", got)
	}
	if out := m.airdeck("inspect", "zarf.tar.zst").stdout; !bytes.Contains(out, []byte("Zarf package multi/amd64")) {
		t.Errorf("inspect does not show the package:\n%s", out)
	}
	o := m.airdeckFor(1, "pack", "--quiet", "-o", "none.tar.zst", "--platform", "linux/arm64", ref)
	oneLine(t, o.stderr, ref, "linux/arm64", "multi/amd64")
	destinations(t, func(t *testing.T, program string) {
		b, m := startServer(t, program), m.on(t)
		m.airdeck("mirror", "zarf.tar.zst", b.addr)
		there := place{b, "packages/harbour", "1.0.0"}
		m.sameArtifact(place{a, "packages/harbour", "1.0.0"}, there)
		back := "back-" + program
		m.run("oras", "pull", "--plain-http", "--platform", "multi/amd64", "-o", back, there.String())
		if got, want := tree(t, m.path(back)), tree(t, m.path("package")); !maps.Equal(got, want) {
			t.Errorf("oras pulls %v, want %v", got, want)
		}
	})
}

// pushZarf has oras push what Zarf would.
func (m *machine) pushZarf(a *server) string {
	m.t.Helper()
	repository := a.addr + "/packages/harbour"
	args := []string{"push", "--plain-http", "--config", "../config.json:application/vnd.zarf.config.v1+json", "--disable-path-validation", repository + ":amd64"}
	writeFile(m.t, m.path("config.json"), []byte(`{"architecture":"amd64","ociVersion":"1.0.1"}`))
	for _, name := range []string{"zarf.yaml", "checksums.txt", "components/harbour.tar", "images/index.json", "images/oci-layout"} {
		writeFile(m.t, m.path("package/"+name), []byte("the file "+name))
		args = append(args, name+":application/vnd.zarf.layer.v1.blob")
	}
	// The titles of the layers are their paths in the package.
	(&machine{m.t, m.path("package"), m.env}).run("oras", args...)
	raw := a.manifest("packages/harbour", "amd64")
	var manifest ocispec.Descriptor
	if err := json.Unmarshal(m.run("oras", "manifest", "fetch", "--plain-http", "--descriptor", repository+":amd64"), &manifest); err != nil || manifest.Size != int64(len(raw)) {
		m.t.Fatalf("the manifest is %+v (%v)", manifest, err)
	}
	manifest.Platform = &ocispec.Platform{Architecture: "amd64", OS: "multi"}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{manifest}}
	index.SchemaVersion = 2
	b, err := json.Marshal(index)
	if err != nil {
		m.t.Fatal(err)
	}
	writeFile(m.t, m.path("index.json"), b)
	m.run("oras", "manifest", "push", "--plain-http", repository+":1.0.0", "index.json")
	return repository + ":1.0.0"
}
