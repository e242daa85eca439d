package storagetest

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/layout"
)

func TestMemory(t *testing.T) {
	TestSink(t, func(*testing.T) (layout.Storage, func() []string) {
		return NewMemory(), func() []string { return nil }
	})
	TestSource(t, func(_ *testing.T, c *Content, damaged digest.Digest) layout.Source {
		if damaged != "" {
			b := slices.Clone(c.Blobs[damaged])
			b[len(b)/2] ^= 1
			c.Blobs[damaged] = b
		}
		return &Memory{c: c}
	})
}
