package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

func newEncoder(t testing.TB) *zstd.Encoder {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { enc.Close() })
	return enc
}

// fixChecksum makes a changed header whole.
func fixChecksum(h []byte) {
	fresh := appendHeader(nil, "", 0)
	copy(fresh, h)
	var sum int64
	sum = checksum((*[blockSize]byte)(fresh))
	for i := 5; i >= 0; i-- {
		h[148+i] = byte('0' + sum&7)
		sum >>= 3
	}
	h[154], h[155] = 0, ' '
}

// fixHeaders makes whole what looks like a header, so that a fuzzer gets past the
// checksums.
func fixHeaders(b []byte) []byte {
	b = slices.Clone(b)
	for off := 0; off+blockSize <= len(b); off += blockSize {
		if h := b[off : off+blockSize]; string(h[257:262]) == "ustar" {
			fixChecksum(h)
		}
	}
	return b
}

// soundContainer reports whether the compression of a file is without fault. A pipe
// does not read the seek table, and where blobs are hashed the checksums of frames
// are left aside: of a fault in these the two ways may judge otherwise.
func soundContainer(b []byte) bool {
	if f, err := format(b[:min(len(b), 4)]); err != nil || f != Zstd {
		return err == nil
	}
	frames, _, err := scanFrames(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return false
	}
	table, ok, err := readSeekTable(bytes.NewReader(b), int64(len(b)))
	if err != nil || ok && !slices.Equal(table, frames) {
		return false
	}
	c, err := newFramed(bytes.NewReader(b), frames)
	if err != nil {
		return false
	}
	for _, f := range frames {
		if c.decode(f, new(chunkBuffer), true) != nil {
			return false
		}
	}
	plain, done, err := decompress(bytes.NewReader(b))
	if err != nil {
		return false
	}
	defer done()
	_, err = io.Copy(io.Discard, plain)
	return err == nil
}

func FuzzOpenVerify(f *testing.F) {
	c := storagetest.Small()
	for _, comp := range compressions {
		f.Add(writeContent(f, c, comp))
	}
	f.Add(pack(f, membersOf(f, c)...))
	ms := membersOf(f, c)
	slices.Reverse(ms)
	f.Add(pack(f, ms...))
	f.Add(oneFrame(f, writeContent(f, c, None), false))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = fixHeaders(b)
		v, _, err := verifyBytes(b, &VerifyOptions{Jobs: 1})
		if errors.Is(err, layout.ErrNotSeekable) {
			return
		}
		_, serr := verifyStream(b, nil)
		if (err == nil) != (serr == nil) && soundContainer(b) {
			t.Fatalf("Verify: %v\nVerifyStream: %v", err, serr)
		}
		for _, err := range []error{err, serr} {
			if err != nil && !errors.Is(err, layout.ErrUntrusted) {
				t.Fatalf("not a fault of this machine: %v", err)
			}
		}
		if err != nil {
			return
		}
		for _, e := range v.Index().Manifests {
			if _, err := layout.ReadAll(t.Context(), v, e); err != nil && layout.ClassOf(err) != layout.ClassLimit {
				t.Fatalf("verified, and then: %v", err)
			}
		}
	})
}

type scanned struct {
	name    string
	content string
}

func scanAll(b []byte) (ms []scanned, err error) {
	scan := newTarScanner(bytes.NewReader(b))
	for {
		m, err := scan.next()
		if err == io.EOF {
			return ms, scan.trailing()
		}
		if err != nil {
			return nil, err
		}
		end := m.offset + m.size
		if end < 0 || end+padding(m.size) > int64(len(b)) {
			return nil, io.ErrUnexpectedEOF
		}
		ms = append(ms, scanned{m.name, string(b[m.offset:end])})
		scan.offset = end + padding(m.size)
		scan.r.(io.Seeker).Seek(scan.offset, io.SeekStart)
	}
}

// FuzzTarScanner holds the scanner against archive/tar: what the one accepts, the
// other reads, and sees the same.
func FuzzTarScanner(f *testing.F) {
	c := storagetest.Small()
	f.Add(writeContent(f, c, None))
	f.Add(pack(f, membersOf(f, c)...))
	f.Add(pack(f, memberOf{name: "./blobs/", change: typed(tar.TypeDir, "")}, memberOf{name: "index.json", content: "{}", change: pax("comment", "x")}))
	gnu := writeContent(f, c, None)
	copy(gnu[257:], "ustar  \x00")
	f.Add(gnu)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = fixHeaders(b)
		ours, err := scanAll(b)
		if err != nil {
			return
		}
		r := tar.NewReader(bytes.NewReader(b))
		for i := 0; ; {
			h, err := r.Next()
			if err == io.EOF {
				if i != len(ours) {
					t.Fatalf("archive/tar reads %d members of %d", i, len(ours))
				}
				return
			}
			if err != nil {
				t.Fatalf("archive/tar: member %d: %v", i, err)
			}
			if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader {
				continue
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			name := string(bytes.TrimPrefix([]byte(h.Name), []byte("./")))
			if i >= len(ours) || name != ours[i].name || string(content) != ours[i].content {
				t.Fatalf("archive/tar: member %d is %q with %d bytes; ours: %q", i, h.Name, len(content), ours)
			}
			i++
		}
	})
}
