package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"runtime"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/internal/storagetest"
)

// slides are blobs that do not compress, a part of them small.
func slides() *storagetest.Content {
	c := storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte("{}"))
	var layers []ocispec.Descriptor
	for i := range 40 {
		layers = append(layers, c.Add(storagetest.BlobType, storagetest.Random(byte(i), 50_000+i*60_000)))
	}
	for i := range 200 {
		layers = append(layers, c.Add(storagetest.BlobType, storagetest.Random(byte(100+i), 2_000+i*50)))
	}
	c.Name(c.AddImage(config, layers...), "ghcr.io/acme/decks/bench:v1")
	return c
}

// hashing is the limit: the same blobs from memory, one goroutine a core.
func hashing(c *storagetest.Content) time.Duration {
	const runs = 10
	begin := time.Now()
	for range runs {
		var g errgroup.Group
		g.SetLimit(runtime.GOMAXPROCS(0))
		for _, blob := range c.Blobs {
			g.Go(func() error { sha256.Sum256(blob); return nil })
		}
		_ = g.Wait() // nothing fails
	}
	return time.Since(begin) / runs
}

func total(c *storagetest.Content) (n int64) {
	for _, b := range c.Blobs {
		n += int64(len(b))
	}
	return n
}

func ratio(b *testing.B, limit time.Duration) {
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(limit), "of-hashing")
}

func BenchmarkVerify(b *testing.B) {
	c := slides()
	file, limit := writeContent(b, c, Zstd), hashing(c)
	b.SetBytes(total(c))
	for b.Loop() {
		if _, _, err := verifyBytes(file, nil); err != nil {
			b.Fatal(err)
		}
	}
	ratio(b, limit)
}

func BenchmarkVerifyStream(b *testing.B) {
	c := slides()
	file, limit := writeContent(b, c, Zstd), hashing(c)
	b.SetBytes(total(c))
	for b.Loop() {
		if _, err := verifyStream(file, nil); err != nil {
			b.Fatal(err)
		}
	}
	ratio(b, limit)
}

func BenchmarkWrite(b *testing.B) {
	c := slides()
	limit := hashing(c)
	b.SetBytes(total(c))
	for b.Loop() {
		if _, err := Write(context.Background(), io.Discard, c, c.Index, nil); err != nil {
			b.Fatal(err)
		}
	}
	ratio(b, limit)
}

func BenchmarkFetch(b *testing.B) {
	c := slides()
	file, limit := writeContent(b, c, Zstd), hashing(c)
	v, _, err := verifyBytes(file, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(total(c))
	for b.Loop() {
		for _, d := range c.Descriptors() {
			rc, err := v.Fetch(context.Background(), d)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				b.Fatal(err)
			}
			rc.Close()
		}
	}
	ratio(b, limit)
}

// Opening reads the head, however much lies behind it.
func BenchmarkOpen(b *testing.B) {
	c := slides()
	file := writeContent(b, c, Zstd)
	for b.Loop() {
		if _, err := Open(bytes.NewReader(file), int64(len(file))); err != nil {
			b.Fatal(err)
		}
	}
}
