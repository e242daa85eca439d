package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// builder writes an OCI layout directory. The same calls give the same bytes.
type builder struct {
	name  string // of the workload; it is part of the seed
	dir   string
	index ocispec.Index
	n     int // blobs so far
	err   error
}

func newBuilder(name, dir string) (*builder, error) {
	b := &builder{name: name, dir: dir}
	b.index = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	return b, os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), 0o755)
}

// numbers gives a source of numbers of its own to each thing that is built.
func (b *builder) numbers(what string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256([]byte(b.name + " " + what)))
}

// random writes a blob that does not compress.
func (b *builder) random(mediaType string, size int64) ocispec.Descriptor {
	return b.blob(mediaType, io.LimitReader(b.numbers(fmt.Sprint("blob ", b.n)), size))
}

// text writes a blob that compresses.
func (b *builder) text(mediaType string, size int64) ocispec.Descriptor {
	return b.blob(mediaType, io.LimitReader(newTextReader(b.numbers(fmt.Sprint("blob ", b.n))), size))
}

func (b *builder) json(mediaType string, v any) ocispec.Descriptor {
	raw, err := json.Marshal(v)
	if err != nil {
		b.fail(err)
	}
	return b.write(mediaType, raw)
}

func (b *builder) write(mediaType string, raw []byte) ocispec.Descriptor {
	d := digest.FromBytes(raw)
	b.fail(os.WriteFile(filepath.Join(b.dir, ocispec.ImageBlobsDir, "sha256", d.Encoded()), raw, 0o644))
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

// blob streams a blob into its file: it may be larger than memory.
func (b *builder) blob(mediaType string, r io.Reader) ocispec.Descriptor {
	b.n++
	if b.err != nil {
		return ocispec.Descriptor{}
	}
	dir := filepath.Join(b.dir, ocispec.ImageBlobsDir, "sha256")
	f, err := os.Create(filepath.Join(dir, "new"))
	if err != nil {
		b.fail(err)
		return ocispec.Descriptor{}
	}
	defer f.Close()
	h := sha256.New()
	w := bufio.NewWriterSize(f, 1<<20)
	size, err := io.CopyBuffer(onlyWriter{io.MultiWriter(h, w)}, r, make([]byte, 256<<10))
	b.fail(err)
	b.fail(w.Flush())
	sum := hex.EncodeToString(h.Sum(nil))
	b.fail(os.Rename(f.Name(), filepath.Join(dir, sum)))
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.NewDigestFromEncoded(digest.SHA256, sum), Size: size}
}

// onlyWriter hides the other methods of a writer, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

// artifact adds an artifact under a repository and a tag.
func (b *builder) artifact(name, artifactType string, config ocispec.Descriptor, layers []ocispec.Descriptor) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: config, Layers: layers,
	}
	d := b.json(m.MediaType, m)
	d.ArtifactType = artifactType
	d.Annotations = map[string]string{ocispec.AnnotationRefName: host + name}
	b.index.Manifests = append(b.index.Manifests, d)
}

// finish writes what names the blobs.
func (b *builder) finish() error {
	index, err := json.Marshal(b.index)
	b.fail(err)
	b.fail(os.WriteFile(filepath.Join(b.dir, ocispec.ImageIndexFile), index, 0o644))
	b.fail(os.WriteFile(filepath.Join(b.dir, ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	return b.err
}

func (b *builder) fail(err error) {
	if b.err == nil && err != nil {
		b.err = err
	}
}

// textReader gives what compresses about as the files of a container image do: three
// parts of words, frequent ones more often, and one of tables of numbers.
type textReader struct {
	rnd   *rand.Rand
	words []string
	left  []byte // made and not read yet
	made  []byte
}

func newTextReader(src rand.Source) *textReader {
	t := &textReader{rnd: rand.New(src)}
	for range 4096 {
		w := make([]byte, 2+t.rnd.IntN(10))
		for i := range w {
			w[i] = 'a' + byte(t.rnd.IntN(26))
		}
		t.words = append(t.words, string(w)+" ")
	}
	return t
}

func (t *textReader) Read(p []byte) (int, error) {
	if len(t.left) == 0 {
		t.made = t.made[:0]
		if t.rnd.IntN(4) == 0 {
			t.table()
		} else {
			t.prose()
		}
		t.left = t.made
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}

const textRun = 32 << 10

func (t *textReader) prose() {
	for len(t.made) < textRun {
		x := t.rnd.Uint64()
		// The product of two numbers is small more often than large.
		t.made = append(t.made, t.words[(x&0xfff)*(x>>12&0xfff)>>12]...)
		if x>>60 == 0 {
			t.made = append(t.made, '\n')
		}
	}
}

func (t *textReader) table() {
	at := t.rnd.Uint32()
	for len(t.made) < textRun {
		x := t.rnd.Uint32()
		at += x & 0xff
		t.made = append(t.made, byte(at), byte(at>>8), byte(at>>16), byte(at>>24), byte(x>>8), byte(x>>16)&3, 0, 0)
	}
}
