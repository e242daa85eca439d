package deck

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Content is a deck as an artifact. It comes from outside: its texts may hold
// anything, and [Content.Extract] checks the paths.
type Content struct {
	// Deck is what the config says or, where the artifact has none of a deck,
	// the annotations of the manifest.
	Deck Deck

	// Slides are the layers, in order: those of Deck.Images.
	Slides []ocispec.Descriptor

	// Native says that [Content.Extract] gives a folder that builds to the
	// digest of this artifact. Another tool made what is not native.
	Native bool
}

// Read reads the deck that root describes. It is liberal: an image manifest is a
// deck if it has layers and each of them is an image with a title, whatever its
// artifactType is.
//
// Errors: layout.ClassMediaType if it is something else, or if its config is
// that of a deck and lists other slides; layout.ClassLimit over [MaxSlides];
// layout.ClassJSON for a config that is not JSON or repeats a key; and those of
// src and of layout.DecodeManifest.
func Read(ctx context.Context, src layout.Source, root ocispec.Descriptor) (*Content, error) {
	m, paths, err := readManifest(ctx, src, root)
	if err != nil {
		return nil, err
	}
	c := &Content{Slides: m.Layers}
	if m.Config.MediaType != MediaTypeConfig {
		c.Deck = annotated(m.Annotations)
		c.Deck.Images = paths
		return c, nil
	}
	if c.Deck, err = readConfig(ctx, src, *m.Config); err != nil {
		return nil, fmt.Errorf("deck %s: config: %w", root.Digest, err)
	}
	if !slices.Equal(c.Deck.Images, paths) {
		return nil, layout.Errorf(layout.ClassMediaType, "deck %s: its config lists other slides than its manifest: build it again", root.Digest)
	}
	c.Native = c.native(root.Digest)
	return c, nil
}

// Check refuses what is no deck, by its manifest alone. Its errors are those of
// [Read].
func Check(ctx context.Context, src layout.Source, root ocispec.Descriptor) error {
	_, _, err := readManifest(ctx, src, root)
	return err
}

// readManifest gives the manifest of a deck and the paths of its slides.
func readManifest(ctx context.Context, src layout.Source, root ocispec.Descriptor) (*layout.Manifest, []string, error) {
	if layout.IsIndex(root.MediaType) {
		return nil, nil, layout.Errorf(layout.ClassMediaType, "%s is an index of several artifacts and no deck: name one of them by its digest", root.Digest)
	}
	if root.MediaType != ocispec.MediaTypeImageManifest {
		return nil, nil, layout.Errorf(layout.ClassMediaType, "%s is no deck: it is a %q, and a deck is a %s", root.Digest, root.MediaType, ocispec.MediaTypeImageManifest)
	}
	b, err := layout.ReadAll(ctx, src, root)
	if err != nil {
		return nil, nil, err
	}
	m, err := layout.DecodeManifest(root, b)
	if err != nil {
		return nil, nil, err
	}
	paths, err := titles(m.Layers)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is no deck: %w", root.Digest, err)
	}
	return m, paths, nil
}

func titles(layers []ocispec.Descriptor) ([]string, error) {
	if len(layers) == 0 {
		return nil, layout.Errorf(layout.ClassMediaType, "it has no layers")
	}
	if len(layers) > MaxSlides {
		return nil, layout.Errorf(layout.ClassLimit, "it has %d layers, over the limit of %d slides", len(layers), MaxSlides)
	}
	paths := make([]string, 0, len(layers))
	for i, l := range layers {
		if !strings.HasPrefix(l.MediaType, "image/") {
			return nil, layout.Errorf(layout.ClassMediaType, "its layer %d is a %q and no image", i+1, l.MediaType)
		}
		p := l.Annotations[ocispec.AnnotationTitle]
		if p == "" {
			return nil, layout.Errorf(layout.ClassMediaType, "its layer %d has no %s", i+1, ocispec.AnnotationTitle)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// annotated is what the annotations of a manifest say about it.
func annotated(a map[string]string) Deck {
	var d Deck
	for _, f := range fields {
		*f.of(&d) = a[f.annotation]
	}
	return d
}

func readConfig(ctx context.Context, src layout.Source, desc ocispec.Descriptor) (Deck, error) {
	var d Deck
	b, err := layout.ReadAll(ctx, src, desc)
	if err != nil {
		return d, err
	}
	// In this order: Unmarshal bounds the depth, Transform finds repeated keys.
	if err := json.Unmarshal(b, &d); err != nil {
		return d, layout.Errorf(layout.ClassJSON, "%w", err)
	}
	if _, err := jsoncanonicalizer.Transform(b); err != nil {
		return d, layout.Errorf(layout.ClassJSON, "%w", err)
	}
	return d, nil
}

// native builds the manifest from what Extract would write, and compares.
func (c *Content) native(want digest.Digest) bool {
	layers := make([]ocispec.Descriptor, 0, len(c.Slides))
	for i, s := range c.Slides {
		if !slideType(s.MediaType) {
			return false
		}
		layers = append(layers, layer(s.MediaType, s.Digest, s.Size, c.Deck.Images[i]))
	}
	d := c.buildable()
	if _, err := encodeSpec(&d); err != nil {
		return false
	}
	_, manifest, err := assemble(&d, layers)
	return err == nil && digest.FromBytes(manifest) == want
}

// buildable is the deck without what Load would refuse. Of a deck that Build
// made, nothing goes.
func (c *Content) buildable() Deck {
	d := c.Deck.clone()
	for _, f := range fields {
		if text := f.of(&d); *text != "" && f.check(*text) != nil {
			*text = ""
		}
	}
	if d.Title == "" {
		d.Title = "Untitled"
	}
	d.Images = d.Images[:0]
	slide := map[string]bool{}
	for _, s := range c.Slides {
		p := s.Annotations[ocispec.AnnotationTitle]
		d.Images = append(d.Images, p)
		slide[p] = true
	}
	for p, text := range d.Notes {
		if !slide[p] || checkText(text) != nil {
			delete(d.Notes, p)
		}
	}
	return d
}
