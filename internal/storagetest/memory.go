package storagetest

import (
	"context"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Memory is a storage without a disk, for what is run a thousand times a second.
type Memory struct {
	mu sync.Mutex
	c  *Content
}

var _ layout.Storage = (*Memory)(nil)

// NewMemory is an empty storage.
func NewMemory() *Memory { return &Memory{c: NewContent()} }

// Fetch implements [layout.Source].
func (m *Memory) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.c.Fetch(ctx, d)
}

// Exists implements [layout.Sink].
func (m *Memory) Exists(_ context.Context, d ocispec.Descriptor) (bool, error) {
	if err := layout.CheckDescriptor(d); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.c.Blobs[d.Digest]
	return ok && int64(len(b)) == d.Size, nil
}

// Push implements [layout.Sink].
func (m *Memory) Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	if err := layout.CheckDescriptor(d); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b, err := io.ReadAll(layout.NewVerifier(r, d))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.c.Blobs[d.Digest] = b
	return nil
}

// Content gives what was stored, under an index of these entries. Nothing must be
// stored any more.
func (m *Memory) Content(absent layout.Absent, entries ...ocispec.Descriptor) *Content {
	m.c.Index.Manifests = entries
	absent.Mark(&m.c.Index)
	return m.c
}
