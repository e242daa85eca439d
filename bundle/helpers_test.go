package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

var compressions = map[string]Compression{"zst": Zstd, "tar": None, "gz": Gzip}

func write(t testing.TB, src layout.Source, index ocispec.Index, o *WriteOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	sum, err := Write(context.Background(), &b, src, index, o)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Written != int64(b.Len()) || sum.Artifacts != len(index.Manifests) {
		t.Errorf("%+v for %d bytes", sum, b.Len())
	}
	return b.Bytes()
}

func writeContent(t testing.TB, c *storagetest.Content, comp Compression) []byte {
	t.Helper()
	return write(t, c, c.Index, &WriteOptions{Compression: comp})
}

// unpack gives the tar within, by decoders that know nothing of frames.
func unpack(t testing.TB, b []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch f, _ := format(b[:4]); f {
	case Zstd:
		r, err = zstd.NewReader(r)
	case Gzip:
		r, err = gzip.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func openBytes(b []byte) (*Reader, error) { return Open(bytes.NewReader(b), int64(len(b))) }

// verifyBytes opens and verifies.
func verifyBytes(b []byte, o *VerifyOptions) (*Verified, *Report, error) {
	r, err := openBytes(b)
	if err != nil {
		return nil, nil, err
	}
	return r.Verify(context.Background(), o)
}

func verifyStream(b []byte, o *VerifyOptions) (*Report, error) {
	return VerifyStream(context.Background(), bytes.NewReader(b), o)
}

// sameContent says what v gives out otherwise than c.
func sameContent(v *Verified, c *storagetest.Content) error {
	for _, d := range c.Descriptors() {
		rc, err := v.Fetch(context.Background(), d)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err != nil {
			return err
		}
		if !bytes.Equal(got, c.Blobs[d.Digest]) {
			return fmt.Errorf("%s has other bytes", d.Digest)
		}
	}
	return nil
}

// memberOf is a member of a hand-made archive.
type memberOf struct {
	name, content string
	change        func(*tar.Header)
}

// pack makes an archive as another tool would.
func pack(t testing.TB, members ...memberOf) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.content)), Mode: 0o600, Uid: 1000, Uname: "somebody"}
		if m.change != nil {
			m.change(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, m.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// membersOf gives the members of a bundle of c, in the order of the format.
func membersOf(t testing.TB, c *storagetest.Content) []memberOf {
	t.Helper()
	return members(t, writeContent(t, c, None))
}

// members gives those of an archive.
func members(t testing.TB, archive []byte) (ms []memberOf) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return ms
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, memberOf{name: h.Name, content: string(b)})
	}
}

// likeOurs gives the first member the header that airdeck writes, so that an archive
// is opened by the order of a bundle.
func likeOurs(ms []memberOf) []memberOf {
	ms = slices.Clone(ms)
	ms[0].change = func(h *tar.Header) { h.Mode, h.Uid, h.Uname = 0o644, 0, "" }
	return ms
}

func blobMember(b string) memberOf { return memberOf{name: blobName(digest.FromString(b)), content: b} }
