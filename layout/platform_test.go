package layout_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// imageFor is an image whose config tells a platform.
func imageFor(c *storagetest.Content, platform string) ocispec.Descriptor {
	p := parsePlatform(platform)
	return c.AddImage(c.AddJSON(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: p}), c.Add(ocispec.MediaTypeImageLayer, []byte(platform)))
}

func parsePlatform(s string) ocispec.Platform {
	f := append(strings.Split(s, "/"), "")
	return ocispec.Platform{OS: f[0], Architecture: f[1], Variant: f[2]}
}

// listed is a descriptor as an index lists it.
func listed(d ocispec.Descriptor, platform string) ocispec.Descriptor {
	p := parsePlatform(platform)
	d.Platform = &p
	return d
}

func attested(d, of ocispec.Descriptor) ocispec.Descriptor {
	d = listed(d, "unknown/unknown")
	d.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.Digest.String()}
	return d
}

func TestSelect(t *testing.T) {
	c := storagetest.NewContent()
	amd, arm, v7 := imageFor(c, "linux/amd64"), imageFor(c, "linux/arm64"), imageFor(c, "linux/arm/v7")
	amdAtt, armAtt := imageFor(c, "att/amd"), imageFor(c, "att/arm")
	chart := c.AddImage(c.Add("application/vnd.cncf.helm.config.v1+json", []byte("{}")))
	blob := c.Add(storagetest.BlobType, []byte("no manifest"))
	built := c.AddIndex(listed(amd, "linux/amd64"), listed(arm, "linux/arm64/v8"), attested(amdAtt, amd), attested(armAtt, arm))
	silent := c.AddIndex(amd, arm) // the configs have to tell
	nested := c.AddIndex(c.AddIndex(listed(amd, "linux/amd64")), c.AddIndex(listed(v7, "linux/arm/v7")), listed(arm, "linux/arm64"))
	mixed := c.AddIndex(listed(amd, "linux/amd64"), listed(arm, "linux/arm64"), chart)
	zarf := c.AddIndex(listed(chart, "multi/amd64"))
	twice := c.AddIndex(listed(amd, "linux/amd64"), listed(amd, "linux/386"), listed(arm, "linux/arm64"))
	first, second := c.AddIndex(listed(amd, "linux/amd64"), listed(v7, "linux/arm/v7")), c.AddIndex(listed(amd, "linux/ppc64le"), listed(arm, "linux/arm64"))
	across := c.AddIndex(first, second)
	nestedAmd := c.AddIndex(listed(amd, "linux/amd64"))
	for name, tt := range map[string]struct {
		root    ocispec.Descriptor
		want    string
		carried ocispec.Descriptor
		absent  layout.Absent
		lacking string
	}{
		"one of an index":               {built, "linux/arm64", arm, absentOf(amd, amdAtt), ""},
		"all of an index":               {built, "linux/arm64,linux/amd64", built, absentOf(), ""},
		"an alias":                      {built, "linux/aarch64", arm, absentOf(amd, amdAtt), ""},
		"platforms in the configs":      {silent, "linux/amd64", amd, absentOf(arm), ""},
		"nested, one":                   {nested, "linux/arm/v7", v7, absentOf(nestedAmd, amd, arm), ""},
		"nested, two":                   {nested, "linux/arm/v7,linux/arm64", nested, absentOf(nestedAmd, amd), ""},
		"nested, listed twice":          {across, "linux/amd64,linux/arm64", across, absentOf(v7), ""},
		"what has no platform":          {mixed, "linux/arm64", mixed, absentOf(amd), ""},
		"a single image":                {amd, "linux/amd64,linux/arm64", amd, absentOf(), "linux/arm64"},
		"no image":                      {chart, "linux/amd64", chart, absentOf(), ""},
		"no manifest":                   {blob, "linux/amd64", blob, absentOf(), ""},
		"Zarf's package for any system": {zarf, "linux/amd64", zarf, absentOf(), ""},
		"one manifest for two":          {twice, "linux/386", amd, absentOf(arm), ""},
		"no wish":                       {built, "", built, absentOf(), ""},
	} {
		var want []ocispec.Platform
		if tt.want != "" {
			var err error
			if want, err = layout.ParsePlatforms(tt.want); err != nil {
				t.Fatal(err)
			}
		}
		sel, err := layout.Select(t.Context(), c, tt.root, want)
		if err != nil || sel.Root.Digest != tt.carried.Digest || (sel.Of != nil) != (tt.root.Digest != tt.carried.Digest) {
			t.Errorf("%s: %v, %v", name, sel, err)
		}
		if !maps.Equal(sel.Absent, tt.absent) {
			t.Errorf("%s: absent %v, want %v", name, sel.Absent, tt.absent)
		}
		var lacking []string
		for i := range sel.Lacking {
			lacking = append(lacking, layout.FormatPlatform(&sel.Lacking[i]))
		}
		if strings.Join(lacking, ",") != tt.lacking {
			t.Errorf("%s: lacking %v", name, lacking)
		}
	}
	for name, root := range map[string]ocispec.Descriptor{"index": built, "image": amd, "beside what has no platform": mixed} {
		_, err := layout.Select(t.Context(), c, root, []ocispec.Platform{parsePlatform("linux/s390x")})
		if layout.ClassOf(err) != layout.ClassMissing {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a builder attests of the one that is carried is left, and said.
	sel, err := layout.Select(t.Context(), c, built, []ocispec.Platform{parsePlatform("linux/arm64")})
	if err != nil || !slices.Equal(sel.Left, []digest.Digest{armAtt.Digest}) {
		t.Errorf("%v, %v", sel, err)
	}
	if _, uncovered := layout.PlatformOf(sel.Entry("ghcr.io/a/b:v1", nil)); !slices.Equal(uncovered, sel.Left) {
		t.Errorf("%v", uncovered)
	}
	// What a source is meant to lack can't be chosen.
	poor := layout.WithAbsent(c, absentOf(amd))
	if _, err := layout.Select(t.Context(), poor, built, []ocispec.Platform{parsePlatform("linux/amd64")}); layout.ClassOf(err) != layout.ClassMissing || errors.Is(err, layout.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if sel, err = layout.Select(t.Context(), poor, built, []ocispec.Platform{parsePlatform("linux/arm64"), parsePlatform("linux/amd64")}); err != nil || sel.Root.Digest != arm.Digest || len(sel.Lacking) != 1 {
		t.Errorf("%v, %v", sel, err)
	}
	// What is left out need not be there.
	delete(c.Blobs, amd.Digest)
	if _, err := layout.Select(t.Context(), c, built, []ocispec.Platform{parsePlatform("linux/arm64")}); err != nil {
		t.Error(err)
	}
}

// One platform in the place of an index says so, under a name that is true.
func TestSelectionEntry(t *testing.T) {
	c := storagetest.NewContent()
	amd, arm := imageFor(c, "linux/amd64"), imageFor(c, "linux/arm64")
	root := c.AddIndex(listed(amd, "linux/amd64"), listed(arm, "linux/arm64"))
	sel, err := layout.Select(t.Context(), c, root, []ocispec.Platform{parsePlatform("linux/arm64")})
	if err != nil {
		t.Fatal(err)
	}
	signatures := make([]digest.Digest, layout.MaxUncovered+1)
	for i := range signatures {
		signatures[i] = digest.FromBytes([]byte{byte(i)})
	}
	for name, want := range map[string]string{
		"ghcr.io/a/b:v1":                         "ghcr.io/a/b:v1",
		"ghcr.io/a/b@" + root.Digest.String():    "ghcr.io/a/b@" + arm.Digest.String(),
		"ghcr.io/a/b:v1@" + root.Digest.String(): "ghcr.io/a/b:v1@" + arm.Digest.String(),
	} {
		d := sel.Entry(name, signatures)
		of, uncovered := layout.PlatformOf(d)
		if layout.EntryName(d) != want || of != root.Digest || len(uncovered) != layout.MaxUncovered || !slices.IsSorted(uncovered) {
			t.Errorf("%s: %v", name, d)
		}
	}
	whole := layout.Selection{Root: root}.Entry("ghcr.io/a/b:v1", signatures)
	if of, uncovered := layout.PlatformOf(whole); of != "" || uncovered != nil {
		t.Errorf("%v", whole)
	}
}

func TestParsePlatforms(t *testing.T) {
	got, err := layout.ParsePlatforms("linux/arm64/v8, linux/x86_64,windows/amd64")
	if err != nil || len(got) != 3 || got[1].Architecture != "amd64" {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "linux", "arm64", "linux/", "/amd64", "linux/amd64,", "linux/a b", "all"} {
		if got, err := layout.ParsePlatforms(s); layout.ClassOf(err) != layout.ClassName {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}
