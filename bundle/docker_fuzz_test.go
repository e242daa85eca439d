package bundle

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// FuzzDockerManifest puts any manifest.json into an archive. What is accepted says to
// docker, and to a reader that minds case, no more than the index says.
func FuzzDockerManifest(f *testing.F) {
	c := storagetest.NewContent()
	image := func(text string) ocispec.Descriptor {
		return c.AddImage(c.Add(ocispec.MediaTypeImageConfig, []byte(`{"of":"`+text+`"}`)), c.Add(ocispec.MediaTypeImageLayer, []byte(text)))
	}
	one, two := c.Name(image("1"), "docker.io/library/one:v1"), c.Name(image("2"), "r.io/two:v2")
	c.Name(c.AddIndex(image("3"), image("4")), "r.io/many:v3")
	ms := membersOf(f, c)
	good := ms[2].content
	for _, s := range []string{
		good, strings.Replace(good, "docker.io/library/", "", 1), strings.Replace(good, "one:v1", "two:v2", 1), strings.Replace(good, "Config", "config", 1),
		strings.Replace(good, "RepoTags", "repotags", 1), strings.Replace(good, `"RepoTags"`, `"RepoTags":[],"RepoTags"`, 1),
		strings.NewReplacer("docker.io/library/one:v1", "r.io/two:v2", "r.io/two:v2", "one:v1").Replace(good),
		"[]", "null", "{}", `[{}]`, `[{"Config":"","RepoTags":null,"Layers":[]}]`, `[{"Parent":"x","LayerSources":{"a":{"size":1}}}]`,
	} {
		f.Add([]byte(s))
	}
	all, err := corpus()
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range all {
		for _, file := range v.Contents() {
			if file.Name == dockerManifestFile && len(file.Content) < 16<<10 {
				f.Add(file.Content)
			}
		}
	}
	// What each image is, for docker and by the names of blobs.
	images := map[string]string{}
	for d, b := range c.Blobs {
		if m, err := layout.DecodeManifest(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: int64(len(b))}, b); err == nil {
			images[blobName(m.Config.Digest)] = blobName(m.Layers[0].Digest)
		}
	}
	tags := map[string]ocispec.Descriptor{"one:v1": one, "library/one:v1": one, "docker.io/library/one:v1": one, "v1": one, "r.io/two:v2": two, "two:v2": two}
	f.Fuzz(func(t *testing.T, b []byte) {
		with := slices.Clone(ms)
		with[2].content = string(b)
		archive := pack(t, with...)
		_, _, err := verifyBytes(archive, &VerifyOptions{Jobs: 1})
		if _, serr := verifyStream(archive, nil); (err == nil) != (serr == nil) {
			t.Fatalf("Verify: %v\nVerifyStream: %v", err, serr)
		}
		if err != nil {
			return
		}
		var docker []dockerImage
		var exact []map[string]any
		if err := json.Unmarshal(b, &docker); err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(&exact); err != nil {
			t.Fatal(err)
		}
		for i, item := range docker {
			if layer, ok := images[item.Config]; !ok || !slices.Equal(item.Layers, []string{layer}) {
				t.Errorf("docker loads %+v", item)
			}
			for _, tag := range item.RepoTags {
				// What the index gives to several images docker may give to each.
				if e, ok := tags[tag]; ok && !strings.Contains(string(c.Blobs[e.Digest]), strings.TrimPrefix(item.Config, "blobs/sha256/")) {
					t.Errorf("docker loads %s as %s", item.Config, tag)
				}
			}
			var sees dockerImage
			seen, err := json.Marshal(map[string]any{"Config": exact[i]["Config"], "RepoTags": exact[i]["RepoTags"], "Layers": exact[i]["Layers"]})
			if err != nil {
				t.Fatal(err)
			}
			// A key in another case it does not see at all.
			if err := json.Unmarshal(seen, &sees); err != nil || sees.Config != "" && sees.Config != item.Config ||
				sees.RepoTags != nil && !slices.Equal(sees.RepoTags, item.RepoTags) || sees.Layers != nil && !slices.Equal(sees.Layers, item.Layers) {
				t.Errorf("docker sees %+v, and a reader that minds case %+v", item, sees)
			}
		}
	})
}
