package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// imageStore has two images, an index of a third and of what a builder attests,
// and a chart, under names.
func imageStore(t *testing.T) (*layout.Store, ocispec.Index) {
	t.Helper()
	s, err := layout.OpenStore(t.Context(), filepath.Join(t.TempDir(), "layout"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	push := func(mediaType string, b []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if err := layout.PushBytes(t.Context(), s, d, b); err != nil {
			t.Fatal(err)
		}
		return d
	}
	pushJSON := func(mediaType string, v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return push(mediaType, b)
	}
	image := func(config, content string) ocispec.Descriptor {
		return pushJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: push(config, []byte(`{"of":"`+content+`"}`)),
			Layers: []ocispec.Descriptor{push(ocispec.MediaTypeImageLayer, []byte(content)), push(ocispec.MediaTypeImageLayer, []byte("shared"))},
		})
	}
	platform := func(d ocispec.Descriptor, os, arch string) ocispec.Descriptor {
		d.Platform = &ocispec.Platform{OS: os, Architecture: arch}
		return d
	}
	a, b := image(ocispec.MediaTypeImageConfig, "a"), image(ocispec.MediaTypeImageConfig, "b")
	multi := pushJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{
			platform(image(ocispec.MediaTypeImageConfig, "arm"), "linux", "arm64"),
			platform(image(ocispec.MediaTypeImageConfig, "amd"), "linux", "amd64"),
			platform(image(ocispec.MediaTypeImageConfig, "attest"), "unknown", "unknown"),
		},
	})
	chart := image("application/vnd.cncf.helm.config.v1+json", "chart")
	return s, ocispec.Index{Manifests: []ocispec.Descriptor{
		layout.Named(a, "ghcr.io/acme/a:v1"), layout.Named(a, "ghcr.io/acme/a:latest"), layout.Named(b, "ghcr.io/acme/b:v1"),
		layout.Named(multi, "ghcr.io/acme/multi:v1"), layout.Named(chart, "ghcr.io/acme/chart:1.0.0"),
		layout.Named(b, "ghcr.io/acme/b@"+b.Digest.String()),
	}}
}

// docker load finds each image by its tags, one platform of an index, and nothing
// else.
func TestDockerManifest(t *testing.T) {
	s, idx := imageStore(t)
	archive := write(t, s, idx, &WriteOptions{Compression: None})
	ms := members(t, archive)
	if ms[2].name != dockerManifestFile {
		t.Fatalf("the third member is %s", ms[2].name)
	}
	var items []dockerImage
	if err := json.Unmarshal([]byte(ms[2].content), &items); err != nil {
		t.Fatal(err)
	}
	var tags [][]string
	for _, i := range items {
		tags = append(tags, i.RepoTags)
		if len(i.Layers) != 2 || i.Layers[1] != blobName(digest.FromString("shared")) {
			t.Errorf("%v has the layers %v", i.RepoTags, i.Layers)
		}
	}
	want := [][]string{{"ghcr.io/acme/a:latest", "ghcr.io/acme/a:v1"}, {"ghcr.io/acme/b:v1"}, {"ghcr.io/acme/multi:v1"}}
	if !slices.EqualFunc(tags, want, slices.Equal[[]string]) {
		t.Errorf("tags %v, want %v", tags, want)
	}
	if items[2].Layers[0] != blobName(digest.FromString("amd")) {
		t.Error("of the index another platform than linux/amd64 was taken")
	}
	r, err := openBytes(archive)
	if err != nil || !r.content.(*tarArchive).canonical {
		t.Fatalf("it is not read as a bundle: %v", err)
	}
	if _, _, err := r.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	// Without images there is none.
	chart := write(t, s, ocispec.Index{Manifests: idx.Manifests[4:5]}, &WriteOptions{Compression: None})
	for _, m := range members(t, chart) {
		if m.name == dockerManifestFile {
			t.Error("a chart has a manifest.json")
		}
	}
}

// containerd names images by a tag and a digest, and others leave the tag out. docker
// gets a tag, and that is no lie.
func TestDockerManifestOfOtherNames(t *testing.T) {
	s, idx := imageStore(t)
	b := idx.Manifests[2]
	for name, tag := range map[string]string{
		"ghcr.io/acme/b:v1@" + b.Digest.String(): "ghcr.io/acme/b:v1", "ghcr.io/acme/b": "ghcr.io/acme/b:latest", "docker.io/library/b": "docker.io/library/b:latest",
	} {
		idx.Manifests = []ocispec.Descriptor{layout.Named(b, name)}
		archive := write(t, s, idx, &WriteOptions{Compression: None})
		if ms := members(t, archive); ms[2].name != dockerManifestFile || !strings.Contains(ms[2].content, `"`+tag+`"`) {
			t.Errorf("%s: %s: %s", name, ms[2].name, ms[2].content)
		}
		for how, v := range everyWay(t, archive) {
			if err := v(); err != nil {
				t.Errorf("%s: %s: %v", name, how, err)
			}
		}
	}
}

// A manifest.json that would have docker load something else than the index says
// is refused, wherever it stands.
func TestDockerManifestThatLies(t *testing.T) {
	s, idx := imageStore(t)
	good := members(t, write(t, s, idx, &WriteOptions{Compression: None}))
	a, b := blobName(digest.FromString(`{"of":"a"}`)), blobName(digest.FromString(`{"of":"b"}`))
	swap := strings.NewReplacer(a, b, b, a)
	for name, lie := range map[string]func(string) string{
		"other tag":       func(s string) string { return strings.Replace(s, "acme/b:v1", "acme/b:v2", 1) },
		"swapped configs": func(s string) string { return swap.Replace(s) },
		"other layer": func(s string) string {
			return strings.Replace(s, digest.FromString("a").Encoded(), digest.FromString("b").Encoded(), 1)
		},
		"hidden blob": func(s string) string {
			return strings.Replace(s, digest.FromString("b").Encoded(), digest.FromString("x").Encoded(), 1)
		},
		"no tag, hidden": func(string) string {
			return `[{"Config":"` + blobName(digest.FromString("x")) + `","RepoTags":null,"Layers":[]}]`
		},
		"no JSON":       func(string) string { return "{" },
		"no list":       func(string) string { return `{"Config":"x"}` },
		"a second list": func(s string) string { return s + "[]" },
		"a key twice": func(s string) string {
			return strings.Replace(s, `"RepoTags"`, `"RepoTags":["alpine:3"],"RepoTags"`, 1)
		},
		"a key in two cases": func(s string) string {
			return strings.Replace(s, `"RepoTags"`, `"repotags":["alpine:3"],"RepoTags"`, 1)
		},
		"a list of nothing":   func(string) string { return "[" + strings.Repeat("{},", 1000) + "{}]" },
		"an image of nothing": func(string) string { return `[{"RepoTags":[` + strings.Repeat(`"",`, layout.MaxListed+1) + `""]}]` },
		// Without a host a name is one of Docker Hub.
		"no host":           func(s string) string { return strings.Replace(s, `"ghcr.io/acme/b:v1"`, `"acme/b:v1"`, 1) },
		"the last of it":    func(s string) string { return strings.Replace(s, `"ghcr.io/acme/b:v1"`, `"b:v1"`, 1) },
		"a tag of no image": func(s string) string { return strings.Replace(s, `"ghcr.io/acme/b:v1"`, `"v1"`, 1) },
		"no UTF-8":          func(s string) string { return strings.Replace(s, `"Config":`, "\"x\":\"\xff\",\"Config\":", 1) },
	} {
		for order, at := range map[string]int{"as a bundle": 2, "at the end": -1} {
			ms := slices.Clone(good)
			ms[2].content = lie(ms[2].content)
			if ms[2].content == good[2].content {
				t.Fatalf("%s is no lie", name)
			}
			ms = append(ms, blobMember("x"))
			if at < 0 {
				docker := ms[2]
				ms = append(slices.Delete(ms, 2, 3), docker)
			} else if name != "hidden blob" && name != "no tag, hidden" {
				ms = ms[:len(ms)-1]
			}
			archive := pack(t, ms...)
			_, rep, err := verifyBytes(archive, nil)
			if !errors.Is(err, layout.ErrUntrusted) || rep == nil || len(rep.Faults) != 1 {
				t.Errorf("%s, %s: %v, %+v", name, order, err, rep)
			}
			if _, err := verifyStream(archive, nil); !errors.Is(err, layout.ErrUntrusted) {
				t.Errorf("%s, %s: from a pipe: %v", name, order, err)
			}
		}
	}
}

// Docker's names for what comes from its own hub are no lie, and neither is any
// repository where the index names a tag alone.
func TestDockerManifestShortNames(t *testing.T) {
	s, idx := imageStore(t)
	for _, tt := range []struct{ index, docker string }{
		{"docker.io/library/alpine:3", "alpine:3"}, {"docker.io/library/alpine:3", "docker.io/library/alpine:3"},
		{"index.docker.io/acme/b:v1", "acme/b:v1"}, {"alpine:3", "docker.io/library/alpine:3"},
		{"ghcr.io/library/b:v1", "ghcr.io/library/b:v1"}, {"v1", "registry.internal/b:v1"},
	} {
		ms := members(t, write(t, s, ocispec.Index{Manifests: []ocispec.Descriptor{layout.Named(idx.Manifests[2], "x.io/b:v1")}}, &WriteOptions{Compression: None}))
		ms[1].content = strings.ReplaceAll(ms[1].content, "x.io/b:v1", tt.index)
		ms[2].content = strings.ReplaceAll(ms[2].content, "x.io/b:v1", tt.docker)
		if _, _, err := verifyBytes(pack(t, ms...), nil); err != nil {
			t.Errorf("%s as %s: %v", tt.index, tt.docker, err)
		}
	}
}

// What an image consists of is compared once, whatever its names.
func TestDockerManifestOfManyNames(t *testing.T) {
	const layers, names = 5000, 200
	m := &layout.Manifest{Config: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("config")}}
	item := dockerImage{Config: blobName(m.Config.Digest)}
	for i := range layers {
		d := digest.FromString(fmt.Sprint(i))
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d})
		item.Layers = append(item.Layers, blobName(d))
	}
	raw, err := json.Marshal([]dockerImage{item})
	if err != nil {
		t.Fatal(err)
	}
	root := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("root")}
	check := func(names int) uint64 {
		var entries []ocispec.Descriptor
		for i := range names {
			entries = append(entries, layout.Named(root, fmt.Sprintf("r.io/a:v%d", i)))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		dc, err := newDockerCheck(raw, entries, MaxLinks)
		if err != nil {
			t.Fatal(err)
		}
		dc.add(layout.Node{Descriptor: root, Manifest: m})
		if err := dc.check(raw); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if one, many := check(1), check(names); many > 2*one+names*10_000 {
		t.Errorf("%d bytes for one name, %d for %d", one, many, names)
	}
}
