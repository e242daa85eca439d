// Package storagetest holds what proves that an implementation of layout.Source
// or layout.Sink keeps the promises of the interface, and content to prove it
// with. It is for tests only.
package storagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Content is artifacts in memory: the reference that others are held against.
type Content struct {
	Index ocispec.Index
	Blobs map[digest.Digest][]byte
}

var _ layout.Source = (*Content)(nil)

// NewContent is content without anything in it.
func NewContent() *Content {
	return &Content{
		Index: ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex},
		Blobs: map[digest.Digest][]byte{},
	}
}

// Fetch implements [layout.Source].
func (c *Content) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := layout.CheckDescriptor(d); err != nil {
		return nil, err
	}
	b, ok := c.Blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", d.Digest, layout.ErrNotFound)
	}
	return layout.VerifyReadCloser(io.NopCloser(bytes.NewReader(b)), d), nil
}

// Add stores b and describes it.
func (c *Content) Add(mediaType string, b []byte) ocispec.Descriptor {
	return c.AddAs(digest.SHA256, mediaType, b)
}

// AddAs is Add with another algorithm.
func (c *Content) AddAs(alg digest.Algorithm, mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: alg.FromBytes(b), Size: int64(len(b))}
	c.Blobs[d.Digest] = b
	return d
}

// AddJSON stores the JSON of v.
func (c *Content) AddJSON(mediaType string, v any) ocispec.Descriptor {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return c.Add(mediaType, b)
}

// AddImage stores a manifest.
func (c *Content) AddImage(config ocispec.Descriptor, layers ...ocispec.Descriptor) ocispec.Descriptor {
	return c.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: layers,
	})
}

// AddIndex stores an index.
func (c *Content) AddIndex(children ...ocispec.Descriptor) ocispec.Descriptor {
	return c.AddJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
	})
}

// Name makes d an entry of the index.
func (c *Content) Name(d ocispec.Descriptor, ref string) ocispec.Descriptor {
	if ref != "" {
		d = layout.Named(d, ref)
	}
	c.Index.Manifests = append(c.Index.Manifests, d)
	return d
}

// Random gives n bytes that do not compress, the same for each seed.
func Random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// The media types of the parts of the content.
const (
	ConfigType = "application/vnd.airdeck.test.config.v1+json"
	BlobType   = "application/octet-stream"
)

// Sample is two artifacts that share a layer, of every kind of blob: large and
// small, empty, one byte. The last blob is large and does
// not compress.
func Sample() (c *Content, large ocispec.Descriptor) {
	c = NewContent()
	config := c.Add(ConfigType, []byte(`{"a":1}`))
	shared := c.Add(BlobType, Random(1, 1000))
	large = c.Add(BlobType, Random(2, 1<<20+1<<19))
	first := c.AddImage(config, c.Add(BlobType, nil), shared, c.Add(BlobType, []byte{7}))
	second := c.AddImage(config, shared, large)
	c.Name(c.AddIndex(first, second), "ghcr.io/acme/decks/both:v1")
	c.Name(second, "ghcr.io/acme/decks/second:v1")
	return c, large
}

// Small is one artifact of a few hundred bytes.
func Small() *Content {
	c := NewContent()
	c.Name(c.AddImage(c.Add(ConfigType, []byte(`{}`)), c.Add(BlobType, []byte("first slide")),
		c.Add(BlobType, []byte("second slide"))), "ghcr.io/acme/decks/small:v1")
	return c
}

// SHA512 is an artifact with a blob of that algorithm.
func SHA512() (c *Content, blob ocispec.Descriptor) {
	c = NewContent()
	blob = c.AddAs(digest.SHA512, BlobType, []byte("of sha512"))
	c.Name(c.AddImage(c.Add(ConfigType, []byte("{}")), blob), "ghcr.io/acme/decks/long:v1")
	return c, blob
}

// Descriptors gives a descriptor for each blob.
func (c *Content) Descriptors() []ocispec.Descriptor {
	var ds []ocispec.Descriptor
	for d, b := range c.Blobs {
		ds = append(ds, ocispec.Descriptor{MediaType: BlobType, Digest: d, Size: int64(len(b))})
	}
	return ds
}

// Faulty is a source whose n-th operation fails, counted from 1 over all calls
// of Fetch and Read.
type Faulty struct {
	layout.Source
	N   int64
	Err error
	ops atomic.Int64
}

// Ops is how many operations there were.
func (f *Faulty) Ops() int64 { return f.ops.Load() }

func (f *Faulty) step() error {
	if f.ops.Add(1) == f.N {
		return f.Err
	}
	return nil
}

// Fetch implements [layout.Source].
func (f *Faulty) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	rc, err := f.Source.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	return &faultyReader{rc, f}, nil
}

type faultyReader struct {
	io.ReadCloser
	f *Faulty
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := r.f.step(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}
