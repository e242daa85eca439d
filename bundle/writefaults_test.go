package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"

	"filippo.io/age"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// TestWriteEndsWhateverFails makes the n-th operation of the source fail, for
// every n. A synctest bubble fails where a goroutine is left or all are blocked.
func TestWriteEndsWhateverFails(t *testing.T) {
	c, _ := storagetest.Sample()
	broken := errors.New("the cable is cut")
	for format, comp := range map[string]Compression{"zst": Zstd, "tar": None} {
		for _, jobs := range []int{1, 3} {
			count := &storagetest.Faulty{Source: c}
			if _, err := Write(t.Context(), io.Discard, count, c.Index, &WriteOptions{Compression: comp, Jobs: jobs}); err != nil {
				t.Fatal(err)
			}
			for n := int64(1); n <= count.Ops(); n++ {
				synctest.Test(t, func(t *testing.T) {
					src := &storagetest.Faulty{Source: c, N: n, Err: broken}
					_, err := Write(t.Context(), io.Discard, src, c.Index, &WriteOptions{Compression: comp, Jobs: jobs})
					if src.Ops() >= n && !errors.Is(err, broken) {
						t.Errorf("%s, %d jobs, operation %d: %v", format, jobs, n, err)
					}
				})
			}
		}
	}
}

type fullDisk struct{ left int }

var errFull = errors.New("the disk is full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		n := d.left
		d.left = 0
		return n, errFull
	}
	d.left -= len(p)
	return len(p), nil
}

func TestWriteEndsWhenTheDiskIsFull(t *testing.T) {
	c, _ := storagetest.Sample()
	points := 40
	if testing.Short() {
		points = 5
	}
	for format, comp := range compressions {
		for _, recipients := range [][]age.Recipient{nil, {newKey(t).Recipient()}} {
			o := &WriteOptions{Compression: comp, Recipients: recipients}
			size := len(write(t, c, c.Index, o))
			for k := 0; k < size; k += size/points + 1 {
				synctest.Test(t, func(t *testing.T) {
					if _, err := Write(t.Context(), &fullDisk{k}, c, c.Index, o); !errors.Is(err, errFull) {
						t.Errorf("%s for %d recipients after %d of %d bytes: %v", format, len(recipients), k, size, err)
					}
				})
			}
		}
	}
}

// cancelling ends a context at its n-th operation and lets others run.
type cancelling struct {
	layout.Source
	cancel context.CancelFunc
	after  int
}

func (s *cancelling) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if s.after--; s.after == 0 {
		go s.cancel()
	}
	return s.Source.Fetch(ctx, d)
}

// Wherever a cancellation falls, Write ends. The moments are many, so are the
// tries.
func TestWriteEndsWhenCancelled(t *testing.T) {
	c := storagetest.NewContent()
	var layers []ocispec.Descriptor
	for i := range byte(30) {
		layers = append(layers, c.Add(storagetest.BlobType, storagetest.Random(i, 300_000)))
	}
	c.Name(c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")), layers...), "r.io/a:v1")
	tries := 600
	if testing.Short() {
		tries = 60
	}
	for i := range tries {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			src := &cancelling{Source: c, cancel: cancel, after: 2 + i%30}
			_, err := Write(ctx, yielding{}, src, c.Index, &WriteOptions{Compression: None, Jobs: 1})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// yielding is a writer that lets the goroutines run in many orders.
type yielding struct{}

func (yielding) Write(p []byte) (int, error) {
	for range rand.IntN(4) {
		runtime.Gosched()
	}
	return len(p), nil
}

// liar is a source that breaks the contract: it gives more than was asked for.
type liar struct{ *storagetest.Content }

func (l liar) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	rc, err := l.Content.Fetch(ctx, d)
	if err != nil || d.MediaType != "" {
		return rc, err
	}
	return io.NopCloser(io.MultiReader(rc, bytes.NewReader([]byte("more")))), nil
}

func TestWriteDoesNotTrustALongSource(t *testing.T) {
	c := storagetest.Small()
	var corrupt *layout.CorruptError
	if _, err := Write(t.Context(), io.Discard, liar{c}, c.Index, &WriteOptions{Compression: None}); !errors.As(err, &corrupt) {
		t.Errorf("%v, not a CorruptError", err)
	}
}
