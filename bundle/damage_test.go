package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// oneFrame compresses as zstd does without being told otherwise, with or without
// the size in the header of the frame.
func oneFrame(t testing.TB, b []byte, sized bool) []byte {
	t.Helper()
	if sized {
		enc, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return enc.EncodeAll(b, nil)
	}
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	enc.Write(b[:10])
	enc.Flush()
	enc.Write(b[10:])
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Every byte of a small bundle is changed, in each bit. Either that is found, or
// what was verified is the original, byte for byte. In a plain tar nothing but
// the oci-layout file may differ unseen; in zstd, the checksums of frames of
// blobs, those in the seek table, and bits that RFC 8878 gives no meaning for the
// content.
func TestEveryFlippedBitIsFoundOrMeansNothing(t *testing.T) {
	c := storagetest.Small()
	for _, name := range []string{"tar", "zst"} {
		t.Run(name, func(t *testing.T) {
			good := writeContent(t, c, compressions[name])
			r, err := openBytes(good)
			if err != nil {
				t.Fatal(err)
			}
			want := r.Digest()
			frames, _, _ := readSeekTable(bytes.NewReader(good), int64(len(good)))
			ignored := map[string]int{}
			b, plain := slices.Clone(good), unpack(t, good)
			for i := range b {
				for _, bit := range []int{i % 8} {
					b[i] ^= 1 << bit
					v, rep, err := verifyBytes(b, &VerifyOptions{Expect: want, Jobs: 1})
					if err == nil {
						p := place(frames, len(good), i)
						if p == inContent && !formatting(good, frames, i) && !sameTar(t, b, plain) {
							t.Errorf("offset %d, bit %d: the flip was not found", i, bit)
						}
						ignored[p]++
						if rep.Digest != want {
							t.Errorf("offset %d, bit %d: digest %s", i, bit, rep.Digest)
						}
						if err := sameContent(v, c); err != nil {
							t.Errorf("offset %d, bit %d: verified, and %v", i, bit, err)
						}
					} else if !errors.Is(err, layout.ErrUntrusted) && !errors.Is(err, layout.ErrNotSeekable) {
						t.Errorf("offset %d, bit %d: %v is not ErrUntrusted", i, bit, err)
					}
					if rep == nil {
						rep = &Report{}
					}
					for _, f := range rep.Faults {
						if f.Class == layout.ClassDigest && f.Digest != "" && (f.Offset == nil || int64(i) < *f.Offset || int64(i) >= *f.Offset+f.Length) {
							t.Errorf("offset %d, bit %d: %+v", i, bit, f)
						}
					}
					b[i] ^= 1 << bit
				}
			}
			t.Logf("flips that mean nothing, by place: %v", ignored)
		})
	}
}

// sameTar reports whether b is another encoding of the same tar: zstd can say one
// thing in several ways, and so can the checksum of a tar header.
func sameTar(t *testing.T, b, plain []byte) bool {
	t.Helper()
	dec, err := zstd.NewReader(nil, zstd.IgnoreChecksum(true))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	got, err := dec.DecodeAll(b, nil)
	return err == nil && bytes.Equal(fixHeaders(got), plain)
}

const inContent = "content"

// formatting reports whether the byte at i of a plain tar is in the checksum
// field of a header, where a digit, a space and a NUL may say the same.
func formatting(good []byte, frames []frame, i int) bool {
	h := good[i/blockSize*blockSize:]
	return frames == nil && i%blockSize >= 148 && i%blockSize < 156 && len(h) > 300 && string(h[257:262]) == "ustar"
}

// place says what the byte at i is in a bundle of these frames.
func place(frames []frame, size, i int) string {
	for n, f := range frames {
		switch end := int(f.at) + int(f.csize); {
		case i >= end:
		case n > 0 && i >= end-4:
			return "checksum of a frame"
		case i-int(f.at) >= 4 && i-int(f.at) < 9:
			return "header of a frame"
		default:
			return inContent
		}
	}
	if frames == nil {
		return inContent
	}
	return "seek table"
}

func TestEveryTruncationIsFound(t *testing.T) {
	c := storagetest.Small()
	for name, comp := range compressions {
		good := writeContent(t, c, comp)
		for n := 0; n < len(good); n += stride() {
			if comp == Zstd && n == frameEnd(t, good) {
				continue // only the seek table is gone
			}
			if _, err := verifyStream(good[:n], nil); !errors.Is(err, layout.ErrUntrusted) && (comp != Zstd || n <= frameEnd(t, good)) {
				t.Errorf("%s: %d of %d bytes: as a stream: %v", name, n, len(good), err)
			}
			if comp == Gzip {
				continue
			}
			if _, _, err := verifyBytes(good[:n], nil); !errors.Is(err, layout.ErrUntrusted) {
				t.Errorf("%s: %d of %d bytes: %v", name, n, len(good), err)
			}
		}
	}
}

// frameEnd is where the seek table begins.
func frameEnd(t *testing.T, b []byte) int {
	t.Helper()
	frames, ok, err := readSeekTable(bytes.NewReader(b), int64(len(b)))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	last := frames[len(frames)-1]
	return int(last.at) + int(last.csize)
}

func TestAppendedBytesAreFound(t *testing.T) {
	c := storagetest.Small()
	for name, comp := range compressions {
		good := writeContent(t, c, comp)
		for what, more := range map[string][]byte{"a byte": {'x'}, "itself": good} {
			b := slices.Concat(good, more)
			if _, err := verifyStream(b, nil); !errors.Is(err, layout.ErrUntrusted) {
				t.Errorf("%s with %s: as a stream: %v", name, what, err)
			}
			if comp == Gzip {
				continue
			}
			if _, _, err := verifyBytes(b, nil); !errors.Is(err, layout.ErrUntrusted) {
				t.Errorf("%s with %s: %v", name, what, err)
			}
		}
	}
}

func TestWithoutASeekTable(t *testing.T) {
	c, _ := storagetest.Sample()
	b := writeContent(t, c, Zstd)
	v, _, err := verifyBytes(b[:frameEnd(t, b)], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sameContent(v, c); err != nil {
		t.Error(err)
	}
}

func TestSeekTableThatLies(t *testing.T) {
	c, _ := storagetest.Sample()
	good := writeContent(t, c, Zstd)
	end := frameEnd(t, good)
	frames, _, _ := readSeekTable(bytes.NewReader(good), int64(len(good)))
	for name, change := range map[string]func([]seekEntry) []seekEntry{
		"no frames":       func([]seekEntry) []seekEntry { return nil },
		"one less":        func(e []seekEntry) []seekEntry { return e[1:] },
		"one more":        func(e []seekEntry) []seekEntry { return append(e, seekEntry{0, 1, 0}) },
		"swapped":         func(e []seekEntry) []seekEntry { e[0], e[1] = e[1], e[0]; return e },
		"other size":      func(e []seekEntry) []seekEntry { e[0].size++; return e },
		"sizes that sum":  func(e []seekEntry) []seekEntry { e[0].size += 512; e[1].size -= 512; return e },
		"csizes that sum": func(e []seekEntry) []seekEntry { e[0].csize++; e[1].csize--; return e },
		"two as one":      func(e []seekEntry) []seekEntry { e[1].csize += e[0].csize; e[1].size += e[0].size; return e[1:] },
		"largest":         func(e []seekEntry) []seekEntry { e[0].csize = 1<<32 - 1; return e },
	} {
		var entries []seekEntry
		for _, f := range frames {
			entries = append(entries, seekEntry{f.csize, f.size, 0})
		}
		b := appendSeekTable(slices.Clone(good[:end]), change(entries))
		if _, _, err := verifyBytes(b, nil); !errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What had to be unpacked to be read has no place in the file that somebody could look at.
func TestFaultsOfAnUnpackedArchiveHaveNoPlace(t *testing.T) {
	c := storagetest.Small()
	b := writeContent(t, c, None)
	r, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Index().Manifests[0].Digest
	e, _ := r.content.extent(d)
	b[e.from] ^= 1
	var packed bytes.Buffer
	gz := gzip.NewWriter(&packed)
	gz.Write(b)
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := os.WriteFile(name, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenFile(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, rep, err := r.Verify(t.Context(), nil)
	if err == nil || len(rep.Faults) != 1 || rep.Faults[0].Digest != d || rep.Faults[0].Offset != nil || rep.Faults[0].Size != e.size {
		t.Errorf("%v, %+v", err, rep)
	}
}

func TestReportListsEveryFault(t *testing.T) {
	c, large := storagetest.Sample()
	b := writeContent(t, c, None)
	one := digest.FromBytes([]byte{7})
	for _, d := range []digest.Digest{large.Digest, one} {
		r, _ := openBytes(b)
		e, _ := r.content.extent(d)
		b[e.from] ^= 1
	}
	v, rep, err := verifyBytes(b, nil)
	if v != nil || !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(rep.Err()) != layout.ClassDigest || len(rep.Faults) != 2 {
		t.Fatalf("%v, %+v, %v", v, rep, err)
	}
	want := map[digest.Digest][]string{
		large.Digest: {"ghcr.io/acme/decks/both:v1", "ghcr.io/acme/decks/second:v1"}, one: {"ghcr.io/acme/decks/both:v1"},
	}
	for _, f := range rep.Faults {
		if f.Class != layout.ClassDigest || f.Offset == nil || f.Size != int64(len(c.Blobs[f.Digest])) || f.Length != f.Size || !slices.Equal(f.Artifacts, want[f.Digest]) {
			t.Errorf("%+v", f)
			continue
		}
		if got := b[*f.Offset] ^ 1; got != c.Blobs[f.Digest][0] {
			t.Errorf("%s does not begin at %d", f.Digest, *f.Offset)
		}
	}
	for how, stream := range map[string]func() (*Report, error){
		"plain": func() (*Report, error) { return verifyStream(b, nil) },
		"oneByte": func() (*Report, error) {
			return VerifyStream(t.Context(), iotest.OneByteReader(bytes.NewReader(b)), nil)
		},
	} {
		srep, err := stream()
		if !errors.Is(err, layout.ErrUntrusted) || len(srep.Faults) != 2 {
			t.Fatalf("%s: %+v, %v", how, srep, err)
		}
		for _, f := range srep.Faults {
			i := slices.IndexFunc(rep.Faults, func(o Fault) bool { return o.Digest == f.Digest })
			if i < 0 || rep.Faults[i].Class != f.Class || !slices.Equal(rep.Faults[i].Artifacts, f.Artifacts) || f.Offset != nil {
				t.Errorf("%s: %+v", how, f)
			}
		}
	}
	dir := layoutOf(t, c)
	os.Remove(filepath.Join(dir, filepath.FromSlash(blobName(large.Digest))))
	r, err := OpenFile(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, rep, err = r.Verify(t.Context(), nil)
	if !errors.Is(err, layout.ErrUntrusted) || len(rep.Faults) != 1 || rep.Faults[0].Class != layout.ClassMissing || !slices.Equal(rep.Faults[0].Artifacts, want[large.Digest]) {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestExpect(t *testing.T) {
	c := storagetest.Small()
	b := writeContent(t, c, Zstd)
	r, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	for want, ok := range map[digest.Digest]bool{r.Digest(): true, "": true, digest.FromString("other"): false, "sha256:": false} {
		v, _, err := r.Verify(t.Context(), &VerifyOptions{Expect: want})
		_, serr := verifyStream(b, &VerifyOptions{Expect: want})
		if (err == nil) != ok || (v != nil) != ok || (serr == nil) != ok || !ok && (layout.ClassOf(err) != layout.ClassDigest || !errors.Is(serr, layout.ErrUntrusted)) {
			t.Errorf("%q: %v, %v", want, err, serr)
		}
	}
}

// An archive is compressed once. A file that was compressed again is no bundle, whatever
// is in it, as it is none for a pipe.
func TestCompressedTwice(t *testing.T) {
	c := storagetest.Small()
	for name, comp := range compressions {
		if comp == None {
			continue
		}
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(writeContent(t, c, comp))
		w.Close()
		file := filepath.Join(t.TempDir(), "twice")
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(t.Context(), file, nil); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassArchive {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := verifyStream(b.Bytes(), nil); layout.ClassOf(err) != layout.ClassArchive {
			t.Errorf("%s from a pipe: %v", name, err)
		}
		if _, err := verifyStream(b.Bytes()[:7], nil); layout.ClassOf(err) != layout.ClassTruncated {
			t.Errorf("%s, cut: %v", name, err)
		}
	}
}
