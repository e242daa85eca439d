package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/deck"
)

// workload is something to move.
type workload struct {
	name, title string
	build       func(b *builder, small bool)

	compressible bool // and so measured against zstd
	packOnly     bool // the rest says nothing new
	inProcess    bool // the registry in process alone: the other takes too long
	peers        bool // those that take one artifact at a time as well
	growth       bool // measured at a tenth of its size too
}

var workloads = []workload{
	{
		name: "decks", peers: true, build: decks,
		title: "40 decks of 50 slides of 50 KB to 3 MB, 40 % of them shared, compressed already",
	},
	{
		name: "images", peers: true, build: images,
		title: "6 images on a base of 220 MB of which 50 MB compress, each with 32 MB of its own",
	},
	{
		name: "text", compressible: true, packOnly: true, build: text,
		title: "8 layers of 64 MB that compress",
	},
	{
		name: "tiny", peers: true, build: tiny,
		title: "200 decks of 50 slides of 2 to 16 KB, 40 % of them shared",
	},
	{
		name: "large", build: large,
		title: "one blob of 8.5 GiB, past the octal limit of a tar header",
	},
	{
		name: "many", inProcess: true, growth: true, build: func(b *builder, small bool) { many(b, small, 1) },
		title: "100,000 blobs of 1 KB in 1,000 artifacts",
	},
}

// sized is n, or the smaller number for a bench in a hurry.
func sized[T any](small bool, n, less T) T {
	if small {
		return less
	}
	return n
}

func decks(b *builder, small bool) {
	talks(b, sized(small, 40, 8), sized(small, 50, 20), sized(small, 100, 20), sized[int64](small, 50_000, 5_000), sized[int64](small, 3_000_000, 200_000))
}

func tiny(b *builder, small bool) {
	talks(b, sized(small, 200, 20), 50, sized(small, 2000, 200), 2<<10, 16<<10)
}

// talks builds decks of which two slides in five come from a stock.
func talks(b *builder, n, slides, stock int, least, most int64) {
	rnd := rand.New(b.numbers("sizes"))
	slide := func() ocispec.Descriptor { return b.random("image/png", least+rnd.Int64N(most-least)) }
	var shared []ocispec.Descriptor
	for range stock {
		shared = append(shared, slide())
	}
	next := 0
	for i := range n {
		var layers []ocispec.Descriptor
		var names []string
		for j := range slides {
			var l ocispec.Descriptor
			if j%5 < 2 {
				l = shared[next%stock] // every one of the stock is used
				next++
			} else {
				l = slide()
			}
			name := fmt.Sprintf("slide-%02d.png", j)
			l.Annotations = map[string]string{ocispec.AnnotationTitle: name}
			layers, names = append(layers, l), append(names, name)
		}
		config := b.json(deck.MediaTypeConfig, map[string]any{"images": names, "title": fmt.Sprintf("Deck %d", i)})
		b.artifact(fmt.Sprintf("decks/deck-%03d:v1", i), deck.MediaTypeArtifact, config, layers)
	}
}

func images(b *builder, small bool) {
	unit := sized[int64](small, 1_000_000, 10_000)
	base := []ocispec.Descriptor{
		b.random(ocispec.MediaTypeImageLayerGzip, 110*unit),
		b.random(ocispec.MediaTypeImageLayerGzip, 60*unit),
		b.text(ocispec.MediaTypeImageLayer, 50*unit),
	}
	for i := range 6 {
		own := []ocispec.Descriptor{
			b.random(ocispec.MediaTypeImageLayerGzip, 24*unit),
			b.text(ocispec.MediaTypeImageLayer, 8*unit-8192),
			b.random(ocispec.MediaTypeImageLayerGzip, 8192),
		}
		layers := slices.Concat(base, own)
		image(b, fmt.Sprintf("images/image-%d:v1", i), layers)
	}
}

func text(b *builder, small bool) {
	var layers []ocispec.Descriptor
	for range 8 {
		layers = append(layers, b.text(ocispec.MediaTypeImageLayer, sized[int64](small, 64_000_000, 1_000_000)))
	}
	image(b, "images/text:v1", layers)
}

func image(b *builder, name string, layers []ocispec.Descriptor) {
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.Canonical.FromString(l.Digest.String()))
	}
	b.artifact(name, "", b.json(ocispec.MediaTypeImageConfig, config), layers)
}

const mediaTypeOther = "application/vnd.airdeck.bench.v1"

func large(b *builder, small bool) {
	blob := b.random("application/octet-stream", sized[int64](small, 17<<29, 17<<22))
	b.artifact("large/model:v1", mediaTypeOther, b.write(ocispec.MediaTypeEmptyJSON, []byte("{}")), []ocispec.Descriptor{blob})
}

// many builds artifacts of 100 blobs, ten to a repository: the registry in process
// looks through all manifests of a repository where it is asked for referrers.
func many(b *builder, small bool, less int) {
	config := b.write(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	for i := range sized(small, 1000, 20) / less {
		var layers []ocispec.Descriptor
		for range 100 {
			layers = append(layers, b.random("application/octet-stream", 1000))
		}
		b.artifact(fmt.Sprintf("many/repo-%02d:v%d", i/10, i%10), mediaTypeOther, config, layers)
	}
}
