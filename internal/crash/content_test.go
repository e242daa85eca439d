package crash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// talks is some artifacts that share blobs, of all sizes: images, an index of two of
// them, and what refers to it.
func talks() *storagetest.Content {
	c := storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte(`{"author":"Ada"}`))
	shared := c.Add(storagetest.BlobType, storagetest.Random(1, 1<<20))
	var images []ocispec.Descriptor
	for i := range byte(4) {
		layers := []ocispec.Descriptor{
			shared,
			c.Add(storagetest.BlobType, storagetest.Random(10+i, 3<<19)),
			c.Add(storagetest.BlobType, bytes.Repeat([]byte{i, 'a', 'b', 'c', '\n'}, 100_000)),
		}
		for k := range byte(8) {
			layers = append(layers, c.Add(storagetest.BlobType, storagetest.Random(100+i/2*8+k, 1<<(6+k))))
		}
		images = append(images, c.Name(c.AddImage(config, layers...), fmt.Sprintf("ghcr.io/acme/decks/talk-%d:v1", i)))
	}
	index := c.Name(c.AddIndex(images[0], images[1]), "ghcr.io/acme/both:v1")
	signature := c.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.signature", Config: config, Subject: &index,
		Layers: []ocispec.Descriptor{c.Add(storagetest.BlobType, []byte("signed"))},
	})
	signature.ArtifactType = "application/vnd.example.signature"
	c.Name(signature, "")
	return c
}

// writeLayout makes a layout directory of content.
func writeLayout(t *testing.T, dir string, c *storagetest.Content) {
	t.Helper()
	s, err := layout.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := layout.Copy(t.Context(), s, c, c.Index.Manifests, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), nil, c.Index.Manifests...); err != nil {
		t.Fatal(err)
	}
}

// writeDeck makes a folder with a deck of n slides. What they show depends on the
// seed.
func writeDeck(t *testing.T, dir string, seed byte, n, size int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		// The head of a picture is what tells that it is one.
		picture := append([]byte("\x89PNG\r\n\x1a\n"), storagetest.Random(seed+byte(i), size)...)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("slide-%d.png", i)), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := fmt.Sprintf("title: Talk %d\nimages: [slide-*.png]\n", seed)
	if err := os.WriteFile(filepath.Join(dir, "deck.yaml"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fill gives a new registry the content of a bundle.
func (m *machine) fill(bundle string, noReferrers bool) *site {
	m.t.Helper()
	s := startSite(m.t, noReferrers)
	m.airdeck("mirror", bundle, s.host)
	return s
}

// references are the names of all talks in a registry.
func references(s *site) []string {
	refs := []string{s.host + "/acme/both:v1"}
	for i := range 4 {
		refs = append(refs, fmt.Sprintf("%s/acme/decks/talk-%d:v1", s.host, i))
	}
	return refs
}
