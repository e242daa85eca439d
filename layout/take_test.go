package layout_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// whole is content that is meant to lack nothing.
func whole(c *storagetest.Content) layout.Partial { return layout.WithAbsent(c, nil) }

// referring is a manifest that refers to another.
func referring(c *storagetest.Content, subject ocispec.Descriptor, text string) ocispec.Descriptor {
	return c.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: c.Add(ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: []ocispec.Descriptor{c.Add("text/plain", []byte(text))}, Subject: &subject,
	})
}

func names(entries []ocispec.Descriptor) []string {
	var out []string
	for _, e := range entries {
		name := layout.EntryName(e)
		if name == "" {
			name = e.Digest.String()
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// What is asked for is taken with what belongs to it, and no damage elsewhere
// matters.
func TestTakeOne(t *testing.T) {
	c := storagetest.NewContent()
	a, b := imageFor(c, "linux/amd64"), imageFor(c, "linux/arm64")
	sig, other := referring(c, a, "signs a"), referring(c, b, "signs b")
	tagged := layout.CosignTags(a.Digest)[1]
	att := c.Add(ocispec.MediaTypeImageManifest, c.Blobs[sig.Digest])
	entries := []ocispec.Descriptor{
		layout.Named(a, "v1"), layout.Named(b, "v2"), layout.Named(att, tagged), sig, other,
		layout.Named(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: c.Add("a/b", []byte("damaged")).Digest, Size: 7}, "v3"),
	}
	want := []string{"localhost/dir:" + tagged, "localhost/dir:v1", sig.Digest.String()}
	slices.Sort(want)
	for _, only := range []string{"v1", "localhost/dir:v1", a.Digest.String()} {
		got, err := layout.Take(t.Context(), whole(c), entries[:5], &layout.TakeOptions{Container: "dir", Only: only})
		if err != nil || !slices.Equal(names(got.Entries), want) {
			t.Errorf("%s: %v, %v", only, err, names(got.Entries))
		}
	}
	got, err := layout.Take(t.Context(), whole(c), entries, &layout.TakeOptions{Container: "dir", Only: "v1"})
	if err != nil || !slices.Equal(names(got.Entries), want) {
		t.Errorf("beside a damaged artifact: %v, %v", err, names(got.Entries))
	}
	if got, err = layout.Take(t.Context(), whole(c), entries[:5], &layout.TakeOptions{Container: "dir", Only: "v1", NoReferrers: true}); err != nil || len(got.Entries) != 1 {
		t.Errorf("without referrers: %v, %v", err, names(got.Entries))
	}
	if _, err := layout.Take(t.Context(), whole(c), entries[:5], &layout.TakeOptions{Container: "dir", Only: "v9"}); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("%v", err)
	}
	// A signature may be what is asked for.
	if got, err = layout.Take(t.Context(), whole(c), entries[:5], &layout.TakeOptions{Container: "dir", Only: "localhost/dir:" + tagged}); err != nil || len(got.Entries) != 1 {
		t.Errorf("the signature: %v, %v", err, names(got.Entries))
	}
}

// One platform in the place of an index leaves what belongs to the index, and says
// so. Tags of cosign's that belong to nothing here are kept.
func TestTakePlatform(t *testing.T) {
	c := storagetest.NewContent()
	amd, arm := imageFor(c, "linux/amd64"), imageFor(c, "linux/arm64")
	root := c.AddIndex(listed(amd, "linux/amd64"), listed(arm, "linux/arm64"))
	sig, own, loose := imageFor(c, "sig/index"), imageFor(c, "sig/arm"), imageFor(c, "sig/loose")
	other := imageFor(c, "sig/amd")
	ref := referring(c, root, "signs the index")
	const repo = "ghcr.io/acme/app:"
	entries := []ocispec.Descriptor{
		layout.Named(root, repo+"v1"), layout.Named(sig, repo+layout.CosignTags(root.Digest)[0]),
		layout.Named(own, repo+layout.CosignTags(arm.Digest)[0]), layout.Named(loose, repo+layout.CosignTags(loose.Digest)[0]), ref,
		layout.Named(other, repo+layout.CosignTags(amd.Digest)[0]), // of a platform that is not asked for
	}
	platforms, err := layout.ParsePlatforms("linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	got, err := layout.Take(t.Context(), whole(c), entries, &layout.TakeOptions{Platforms: platforms})
	want := []string{repo + layout.CosignTags(arm.Digest)[0], repo + layout.CosignTags(loose.Digest)[0], repo + "v1"}
	slices.Sort(want)
	if err != nil || !slices.Equal(names(got.Entries), want) || got.Entries[0].Digest != arm.Digest {
		t.Errorf("%v, %v, want %v", err, names(got.Entries), want)
	}
	_, uncovered := layout.PlatformOf(got.Entries[0])
	if len(uncovered) != 2 || !slices.Contains(uncovered, sig.Digest) || !slices.Contains(uncovered, ref.Digest) {
		t.Errorf("uncovered %v", uncovered)
	}
	if got, err := layout.Take(t.Context(), whole(c), entries, &layout.TakeOptions{Platforms: platforms, NoReferrers: true}); err != nil || len(got.Entries) != 2 {
		t.Errorf("without referrers: %v, %v", err, names(got.Entries))
	}
	for i, sel := range got.Selections {
		if sel.Root.Digest != got.Entries[i].Digest {
			t.Errorf("selection %d is of %s", i, sel.Root.Digest)
		}
	}
}

// What belongs to nothing here may have something that belongs to it.
func TestTakeOfWhatIsAlone(t *testing.T) {
	c := storagetest.NewContent()
	const repo = "ghcr.io/acme/app:"
	loose, gone := imageFor(c, "sig/loose"), imageFor(c, "sig/gone")
	above := imageFor(c, "sig/of the signature")
	entries := []ocispec.Descriptor{
		layout.Named(above, repo+layout.CosignTags(loose.Digest)[1]),
		layout.Named(loose, repo+layout.CosignTags(gone.Digest)[0]), referring(c, loose, "signs the signature"),
	}
	got, err := layout.Take(t.Context(), whole(c), entries, &layout.TakeOptions{})
	if err != nil || !slices.Equal(names(got.Entries), names(entries)) {
		t.Errorf("%v, %v, want %v", err, names(got.Entries), names(entries))
	}
}

// hauler names what refers to an artifact as the artifact, and oras lists children
// beside their index.
func TestArtifacts(t *testing.T) {
	c := storagetest.NewContent()
	a := imageFor(c, "linux/amd64")
	root := c.AddIndex(a)
	sig := referring(c, root, "signs")
	tagged := referring(c, root, "has a name of its own")
	artifacts, referrers, err := layout.Artifacts(t.Context(), c, []ocispec.Descriptor{
		layout.Named(root, "ghcr.io/a:v1"), layout.Named(sig, "ghcr.io/a:v1"), a, layout.Named(tagged, "ghcr.io/a:v2"),
	})
	if err != nil || !slices.Equal(names(artifacts), []string{"ghcr.io/a:v1", "ghcr.io/a:v2"}) || !slices.Equal(names(referrers), []string{sig.Digest.String()}) {
		t.Errorf("%v, %v, %v", err, names(artifacts), names(referrers))
	}
}

// What belongs to nothing is not left out in silence: somebody may take it for a
// signature that is carried.
func TestTakeOrphan(t *testing.T) {
	c := storagetest.NewContent()
	a, b := imageFor(c, "linux/amd64"), imageFor(c, "linux/arm64")
	lost := referring(c, b, "signs b")
	entries := []ocispec.Descriptor{layout.Named(a, "v1"), referring(c, a, "signs a"), lost, referring(c, lost, "attests that")}
	_, err := layout.Take(t.Context(), whole(c), entries, &layout.TakeOptions{Container: "dir"})
	if layout.ClassOf(err) != layout.ClassMissing || !strings.Contains(err.Error(), b.Digest.String()) && !strings.Contains(err.Error(), lost.Digest.String()) {
		t.Errorf("%v", err)
	}
	for _, o := range []layout.TakeOptions{{Container: "dir", Only: "v1"}, {Container: "dir", NoReferrers: true}} {
		if _, err := layout.Take(t.Context(), whole(c), entries, &o); err != nil {
			t.Error(err)
		}
	}
	// What is left out for the platforms takes along what belongs to it.
	index := c.AddIndex(a, b)
	entries[0] = layout.Named(index, "v1")
	platforms := []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}
	if got, err := layout.Take(t.Context(), whole(c), entries, &layout.TakeOptions{Container: "dir", Platforms: platforms}); err != nil || len(got.Entries) != 2 {
		t.Errorf("%v, %v", err, names(got.Entries))
	}
}

// What one index lists for a platform that is not asked for, another may list for one
// that is. Then it is taken.
func TestTakeWhatAnotherIndexBrings(t *testing.T) {
	c := storagetest.NewContent()
	x := imageFor(c, "linux/arm64")
	a := c.AddIndex(imageFor(c, "linux/amd64"), imageFor(c, "windows/amd64"), x)
	x.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	b := c.AddIndex(x, imageFor(c, "windows/amd64"))
	lone := c.AddIndex(x, imageFor(c, "linux/s390x"))
	o := &layout.TakeOptions{Container: "dir", Platforms: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "windows", Architecture: "amd64"}}}
	for name, tt := range map[string]struct {
		other ocispec.Descriptor
		out   bool
	}{
		"another index": {layout.Named(b, "v2"), false},
		"a tag of cosign's that belongs to nothing here": {layout.Named(lone, layout.CosignTags(lone.Digest)[0]), false},
		"an image": {layout.Named(imageFor(c, "linux/amd64"), "v2"), true},
	} {
		got, err := layout.Take(t.Context(), whole(c), []ocispec.Descriptor{layout.Named(a, "v1"), tt.other}, o)
		if _, out := got.Absent[x.Digest]; err != nil || out != tt.out || len(got.Entries) != 2 {
			t.Errorf("%s: %v, %v, %v", name, err, names(got.Entries), got.Absent)
		}
	}
}
