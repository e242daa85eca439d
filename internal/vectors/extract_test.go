package vectors_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The first bytes of the compressions. Those of skippable frames differ in the first.
var (
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	skipMagic = []byte{0x2a, 0x4d, 0x18}
	gzipMagic = []byte{0x1f, 0x8b}
)

func isZstd(b []byte) bool {
	return bytes.HasPrefix(b, zstdMagic) || len(b) > 4 && b[0]>>4 == 5 && bytes.HasPrefix(b[1:], skipMagic)
}

func isCompressed(b []byte) bool { return isZstd(b) || bytes.HasPrefix(b, gzipMagic) }

// decompressed reads a bundle in any compression.
func decompressed(t *testing.T, b []byte) io.Reader {
	t.Helper()
	var err error
	var r io.Reader = bytes.NewReader(b)
	switch {
	case isZstd(b):
		dec, zerr := zstd.NewReader(r)
		if zerr == nil {
			t.Cleanup(dec.Close)
		}
		r, err = dec, zerr
	case isCompressed(b):
		r, err = gzip.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// extract writes the members of a bundle into a directory, under their names.
func extract(t *testing.T, b []byte, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := tar.NewReader(decompressed(t, b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := root.Create(h.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, r); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
