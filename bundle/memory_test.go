package bundle

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// zeros is a source with one blob that nobody holds.
type zeros struct {
	*storagetest.Content
	blob ocispec.Descriptor
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (z zeros) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == z.blob.Digest {
		return layout.VerifyReadCloser(io.NopCloser(io.LimitReader(zeroReader{}, z.blob.Size)), d), nil
	}
	return z.Content.Fetch(ctx, d)
}

// watched takes the heap's measure at each read.
type watched struct {
	io.ReaderAt
	peak atomic.Uint64
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for old := w.peak.Load(); m.HeapInuse > old && !w.peak.CompareAndSwap(old, m.HeapInuse); old = w.peak.Load() {
	}
	return w.ReaderAt.ReadAt(p, off)
}

// P6: memory does not grow with the data. A blob of 256 MiB goes through in a
// quarter of that.
func TestMemoryDoesNotGrowWithTheBlob(t *testing.T) {
	const size, bound = 256 << 20, 64 << 20
	h := digest.SHA256.Digester()
	io.CopyN(h.Hash(), zeroReader{}, size)
	z := zeros{storagetest.NewContent(), ocispec.Descriptor{MediaType: storagetest.BlobType, Digest: h.Digest(), Size: size}}
	z.Name(z.AddImage(z.Add(storagetest.ConfigType, []byte("{}")), z.blob), "r.io/zeros:v1")
	b := write(t, z, z.Index, &WriteOptions{Jobs: 2})
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	w := &watched{ReaderAt: bytes.NewReader(b)}
	r, err := Open(w, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := r.Verify(t.Context(), &VerifyOptions{Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	rc, err := v.Fetch(t.Context(), z.blob)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if n, err := io.Copy(io.Discard, rc); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if peak := w.peak.Load(); peak > before.HeapInuse+bound {
		t.Errorf("the heap grew by %d MiB", (peak-before.HeapInuse)>>20)
	} else {
		t.Logf("the heap grew by %d MiB", int64(peak-before.HeapInuse)>>20)
	}
}
