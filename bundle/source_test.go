package bundle

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// medium is a file in memory that may change after it was verified.
type medium struct {
	mu sync.Mutex
	b  []byte
}

func (m *medium) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(m.b).ReadAt(p, off)
}

func openVerified(t *testing.T, r *Reader, err error) *Verified {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := r.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifiedIsSource(t *testing.T) {
	for _, name := range []string{"zst", "tar"} {
		t.Run(name, func(t *testing.T) {
			storagetest.TestSource(t, func(t *testing.T, c *storagetest.Content, damaged digest.Digest) layout.Source {
				m := &medium{b: writeContent(t, c, compressions[name])}
				r, err := Open(m, int64(len(m.b)))
				v := openVerified(t, r, err)
				if damaged != "" {
					at := bytes.Index(m.b, c.Blobs[damaged][700_000:700_100])
					if at < 0 {
						t.Fatal("the blob is not in the file as it is")
					}
					m.mu.Lock()
					m.b[at] ^= 1
					m.mu.Unlock()
				}
				return v
			})
		})
	}
	t.Run("layout", func(t *testing.T) {
		storagetest.TestSource(t, func(t *testing.T, c *storagetest.Content, damaged digest.Digest) layout.Source {
			dir := layoutOf(t, c)
			r, err := OpenFile(t.Context(), dir, nil)
			v := openVerified(t, r, err)
			t.Cleanup(func() { r.Close() })
			if damaged != "" {
				name := filepath.Join(dir, filepath.FromSlash(blobName(damaged)))
				b, _ := os.ReadFile(name)
				b[0] ^= 1
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			return v
		})
	})
}

func layoutOf(t *testing.T, c *storagetest.Content) string {
	t.Helper()
	dir := t.TempDir()
	s, err := layout.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, d := range c.Descriptors() {
		if err := layout.PushBytes(t.Context(), s, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(t.Context(), nil, c.Index.Manifests...); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOrasCopiesFromABundle(t *testing.T) {
	c, _ := storagetest.Sample()
	v, _, err := verifyBytes(writeContent(t, c, Zstd), nil)
	if err != nil {
		t.Fatal(err)
	}
	dst := memory.New()
	const ref = "ghcr.io/acme/decks/both:v1"
	d, err := oras.Copy(t.Context(), v, ref, dst, "v1", oras.DefaultCopyOptions)
	if err != nil || d.Digest != c.Index.Manifests[0].Digest {
		t.Fatalf("%v, %v", d, err)
	}
	copied := 0
	if err := layout.Walk(t.Context(), dst, d, func(n layout.Node) error {
		copied++
		rc, err := dst.Fetch(t.Context(), n.Descriptor)
		if err != nil {
			return err
		}
		defer rc.Close()
		if b, err := io.ReadAll(rc); err != nil || !bytes.Equal(b, c.Blobs[n.Digest]) {
			t.Errorf("%s: other bytes, %v", n.Digest, err)
		}
		return nil
	}); err != nil || copied != len(c.Blobs) {
		t.Errorf("%d of %d, %v", copied, len(c.Blobs), err)
	}
	// second is a child of both; a later call works though an earlier one was
	// cancelled.
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	v.Predecessors(cancelled, c.Index.Manifests[1])
	p, err := v.Predecessors(t.Context(), c.Index.Manifests[1])
	if err != nil || len(p) != 1 || p[0].Digest != c.Index.Manifests[0].Digest {
		t.Errorf("predecessors: %v, %v", p, err)
	}
}

func TestOpenFileSpoolsWhatCannotBeReadAtRandom(t *testing.T) {
	c := storagetest.NewContent()
	// More than a frame may have that is read at random.
	c.Name(c.AddImage(c.Add("application/x", []byte("{}")), c.Add("application/y", storagetest.Random(1, MaxFrameSize))), "localhost/x:1")
	plain := writeContent(t, c, None)
	for name, b := range map[string][]byte{"gz": writeContent(t, c, Gzip), "single frame": oneFrame(t, plain, true), "single frame of unknown size": oneFrame(t, plain, false)} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bundle")
			if err := os.WriteFile(file, b, 0o444); err != nil {
				t.Fatal(err)
			}
			temp := t.TempDir()
			told := 0
			r, err := OpenFile(t.Context(), file, &FileOptions{TempDir: temp, Progress: func(e layout.Event) {
				if e.Kind == layout.EventNote {
					told++
				}
			}})
			v := openVerified(t, r, err)
			if told != 1 {
				t.Errorf("%d notes", told)
			}
			if err := sameContent(v, c); err != nil {
				t.Error(err)
			}
			if runtime.GOOS != "windows" {
				// Not even a kill leaves it behind.
				if entries, _ := os.ReadDir(temp); len(entries) != 0 {
					t.Errorf("%d temporaries", len(entries))
				}
			}
			if r, err := OpenFile(t.Context(), file, &FileOptions{TempDir: filepath.Join(temp, "missing")}); err == nil {
				r.Close()
				t.Error("it was unpacked somewhere else")
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(file+"-cut", b[:len(b)/2], 0o444); err != nil {
				t.Fatal(err)
			}
			if r, err := OpenFile(t.Context(), file+"-cut", &FileOptions{TempDir: temp}); err == nil {
				r.Close()
				t.Error("half of it was opened")
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if r, err := OpenFile(cancelled, file, &FileOptions{TempDir: temp}); err == nil {
				r.Close()
				t.Error("opened though cancelled")
			}
			if entries, _ := os.ReadDir(temp); len(entries) != 0 {
				t.Errorf("%d temporaries are left", len(entries))
			}
		})
	}
}

// What is not verified can't be pushed: nothing that takes a source takes a
// Reader (P3).
func TestReaderIsNoSource(t *testing.T) {
	if _, ok := any((*Reader)(nil)).(layout.Source); ok {
		t.Error("a *Reader hands out content")
	}
}
