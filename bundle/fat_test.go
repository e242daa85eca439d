package bundle

import (
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// hollow is a file that begins with some bytes and is zeros from there on, and takes no
// room. It counts what is read of it.
type hollow struct {
	head       []byte
	size, read int64
}

// ReadAt implements [io.ReaderAt].
func (h *hollow) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(h.size-off, 0)))
	clear(p[:n])
	if off < int64(len(h.head)) {
		copy(p[:n], h.head[off:])
	}
	h.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// hollowBundle gives a plain archive of size bytes, most of which is its last blob. The
// bytes of that are zeros and its digest is another one, which nobody knows before they
// are all hashed. first is the order in which others write what is no blob.
func hollowBundle(t *testing.T, size int64, first ...string) *hollow {
	t.Helper()
	build := func(blob int64) []byte {
		c := storagetest.NewContent()
		config := "{}"
		large := ocispec.Descriptor{MediaType: storagetest.BlobType, Digest: digest.FromString("large"), Size: blob}
		root := c.Name(c.AddImage(c.Add(storagetest.ConfigType, []byte(config)), large), "ghcr.io/acme/decks/large:v1")
		index, err := layout.MarshalIndex(c.Index)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{ocispec.ImageLayoutFile: layout.LayoutFile, ocispec.ImageIndexFile: string(index)}
		var b []byte
		add := func(name, content string) {
			b = append(appendHeader(b, name, int64(len(content))), content...)
			b = append(b, make([]byte, padding(int64(len(content))))...)
		}
		for _, name := range first {
			add(name, files[name])
		}
		add(blobName(root.Digest), string(c.Blobs[root.Digest]))
		add(blobName(digest.FromString(config)), config)
		return appendHeader(b, blobName(large.Digest), blob)
	}
	blob := size - endSize - int64(len(build(size)))
	return &hollow{head: build(blob), size: size}
}

// What is copied to a stick with FAT32 has at most 2^32-1 bytes. That the rest is gone is
// found by what the archive says of itself, before any of it is hashed.
func TestCutByFAT32(t *testing.T) {
	const most = 1<<32 - 1
	for name, first := range map[string][]string{
		"ours":        {ocispec.ImageLayoutFile, ocispec.ImageIndexFile},
		"of somebody": {ocispec.ImageIndexFile, ocispec.ImageLayoutFile},
	} {
		for _, size := range []int64{most + 1, most + 1 + endSize, 4<<30 + 1<<20, 9 << 30} {
			h := hollowBundle(t, size, first...)
			if r, err := Open(h, h.size); err != nil || r.content.(*tarArchive).canonical != (name == "ours") {
				t.Fatalf("%s, %d bytes, whole: %v", name, size, err)
			}
			h.size, h.read = most, 0
			_, err := Open(h, h.size)
			if !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassTruncated || h.read > 1<<20 {
				t.Errorf("%s, %d bytes, cut: %v; %d bytes were read", name, size, err, h.read)
			}
		}
	}
}
