package layout_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// haulEntry is an entry as hauler writes it: the registry stands in one annotation
// alone, and a signature has the name of what it signs.
func haulEntry(content, registry, name, kind string) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(content), Size: int64(len(content))}
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name, "kind": kind}
	if registry != "" {
		d.Annotations[layout.AnnotationImageName] = registry + "/" + name
	}
	return d
}

func TestResolveNames(t *testing.T) {
	image, child := digest.FromString("image"), digest.FromString("child")
	hex := func(d digest.Digest) string { return "sha256-" + d.Encoded() }
	subject := haulEntry("sig of child", "ghcr.io", "a/b:v1", "dev.hauler/sigs")
	subject.Annotations["hauler.dev/subject-digest"] = child.String()
	plain := ocispec.Descriptor{Digest: image, Annotations: map[string]string{ocispec.AnnotationRefName: "v1", layout.AnnotationImageName: "ghcr.io/a/b:v1"}}
	for name, tt := range map[string]struct {
		entry ocispec.Descriptor
		want  string
	}{
		"image":            {haulEntry("image", "ghcr.io", "a/b:v1", "dev.hauler/image"), "ghcr.io/a/b:v1"},
		"Docker Hub":       {haulEntry("hub", "index.docker.io", "library/x:1", "dev.cosignproject.cosign/image"), "docker.io/library/x:1"},
		"signature":        {haulEntry("sig", "ghcr.io", "a/b:v1", "dev.cosignproject.cosign/sigs"), "ghcr.io/a/b:" + hex(image) + ".sig"},
		"attestation":      {haulEntry("att", "ghcr.io", "a/b:v1", "dev.hauler/atts"), "ghcr.io/a/b:" + hex(image) + ".att"},
		"SBOM of a child":  {haulEntry("sbom", "ghcr.io", "a/b:v1", "dev.hauler/sboms/"+child.Encoded()), "ghcr.io/a/b:" + hex(child) + ".sbom"},
		"with its subject": {subject, "ghcr.io/a/b:" + hex(child) + ".sig"},
		"referrer":         {haulEntry("ref", "ghcr.io", "a/b:v1", "dev.hauler/referrers/"+child.Encoded()), ""},
		"chart":            {haulEntry("chart", "", "hauler/chart:1.0", "dev.hauler/image"), "hauler/chart:1.0"},
		"others":           {plain, "ghcr.io/a/b:v1"},
		"signs nothing":    {haulEntry("lost", "ghcr.io", "other:v1", "dev.hauler/sigs"), "ghcr.io/other:v1"},
	} {
		got := layout.ResolveNames([]ocispec.Descriptor{haulEntry("image", "ghcr.io", "a/b:v1", "dev.hauler/image"), tt.entry})[1]
		if layout.EntryName(got) != tt.want || got.Digest != tt.entry.Digest {
			t.Errorf("%s: %q, want %q", name, layout.EntryName(got), tt.want)
		}
		if again := layout.ResolveNames([]ocispec.Descriptor{got})[0]; layout.EntryName(again) != tt.want {
			t.Errorf("%s: the second time it is %q", name, layout.EntryName(again))
		}
	}
	if layout.WrittenByHauler([]ocispec.Descriptor{plain}) || !layout.WrittenByHauler([]ocispec.Descriptor{plain, subject}) {
		t.Error("the writer is not recognized")
	}
}

func TestCompleteName(t *testing.T) {
	d := digest.FromString("x")
	for name, want := range map[string]string{
		"ghcr.io/a/b:v1":                "ghcr.io/a/b:v1",
		"v1":                            "localhost/haul:v1",
		"":                              "localhost/haul@" + d.String(),
		"alpine:3":                      "localhost/alpine:3",
		"library/alpine:3":              "localhost/library/alpine:3",
		digest.FromString("y").String(): "localhost/haul@" + d.String(), // podman names by the config
		"UPPER/x:1":                     "",
		"a b":                           "",
	} {
		e := ocispec.Descriptor{Digest: d}
		if name != "" {
			e.Annotations = map[string]string{ocispec.AnnotationRefName: name}
		}
		got, err := layout.CompleteName(e, "Haul")
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := layout.CompleteName(ocispec.Descriptor{Digest: d}, "my haul"); layout.ClassOf(err) != layout.ClassName {
		t.Errorf("%v", err)
	}
}

func TestCosignTags(t *testing.T) {
	d := digest.FromString("x")
	for _, tag := range layout.CosignTags(d) {
		if got := layout.CosignSubject(tag); got != d {
			t.Errorf("%s: %s", tag, got)
		}
	}
	for _, tag := range []string{"v1", "", "sha256-" + d.Encoded(), "sha256-00.sig", "md5-" + d.Encoded() + ".sig", d.Encoded() + ".sig"} {
		if got := layout.CosignSubject(tag); got != "" {
			t.Errorf("%s: %s", tag, got)
		}
	}
}
