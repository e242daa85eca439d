package bundle

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	seekable "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// golden is the digest of the uncompressed tar of storagetest.Sample. It never
// changes: P7.
const golden = "sha256:264ec78cf8cea8b5be21a6424977813d78bcce9e7a35ceedd4c6299d878a45b4"

func TestSameInputsSameBytes(t *testing.T) {
	c, _ := storagetest.Sample()
	sources := map[string]layout.Source{"memory": c}
	for name, reverse := range map[string]bool{"store": false, "other store": true} {
		s, err := layout.OpenStore(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ds := c.Descriptors()
		slices.SortFunc(ds, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
		if reverse {
			slices.Reverse(ds)
		}
		for _, d := range ds {
			if err := layout.PushBytes(t.Context(), s, d, c.Blobs[d.Digest]); err != nil {
				t.Fatal(err)
			}
		}
		sources[name] = s
	}
	reversed := c.Index
	reversed.Manifests = slices.Clone(reversed.Manifests)
	slices.Reverse(reversed.Manifests)
	for format, comp := range compressions {
		var first []byte
		for name, src := range sources {
			for _, jobs := range []int{0, 1, 2, 7} {
				for _, index := range []ocispec.Index{c.Index, reversed} {
					b := write(t, src, index, &WriteOptions{Compression: comp, Jobs: jobs})
					if first == nil {
						first = b
						if got := digest.FromBytes(unpack(t, b)); got != golden {
							t.Errorf("%s: the tar has the digest %s", format, got)
						}
					}
					if !bytes.Equal(b, first) {
						t.Errorf("%s from %s with %d jobs is another file", format, name, jobs)
					}
				}
			}
		}
	}
}

func TestArchiveTarReadsEveryMember(t *testing.T) {
	c, _ := storagetest.Sample()
	r := tar.NewReader(bytes.NewReader(unpack(t, writeContent(t, c, Zstd))))
	var names []string
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" || h.ModTime.Unix() != 0 || h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
			t.Errorf("%+v", h)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := blobDigest(h.Name); len(names) >= 2 && (err != nil || !bytes.Equal(b, c.Blobs[d])) {
			t.Errorf("%s has other bytes", h.Name)
		}
		names = append(names, h.Name)
	}
	if len(names) != len(c.Blobs)+2 || names[0] != "oci-layout" || names[1] != "index.json" {
		t.Errorf("%q", names)
	}
}

func TestSeekableLibraryReadsAnyPlace(t *testing.T) {
	c, _ := storagetest.Sample()
	b := writeContent(t, c, Zstd)
	plain := unpack(t, b)
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	r, err := seekable.NewReader(bytes.NewReader(b), dec)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, 5000)
	for off := 0; off+len(got) <= len(plain); off += 30_011 {
		if _, err := r.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, plain[off:off+len(got)]) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	all, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(all, plain) {
		t.Errorf("%d bytes of %d, %v", len(all), len(plain), err)
	}
}

// edges is an artifact with blobs of the sizes at which frames are cut.
func edges() *storagetest.Content {
	c := storagetest.NewContent()
	var layers []ocispec.Descriptor
	for i, size := range []int{0, 1, 511, 512, LargeMember - blockSize - 1, LargeMember - blockSize, LargeMember - blockSize + 1,
		LargeMember - 512, LargeMember + 512, 3, FrameSize - 513, FrameSize - 512, FrameSize - 511, FrameSize - 1, FrameSize, FrameSize + 1, FrameSize + 512, 700_000, 700_001, 9} {
		layers = append(layers, c.Add(storagetest.BlobType, bytes.Repeat([]byte{byte(i)}, size)))
	}
	c.Name(c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")), layers...), "r.io/edges:v1")
	return c
}

// TestFrames holds a bundle against the section of doc.go on frames.
func TestFrames(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a large archive apart, in one goroutine")
	}
	c := edges()
	b := writeContent(t, c, Zstd)
	frames, ok, err := readSeekTable(bytes.NewReader(b), int64(len(b)))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	scanned, known, err := scanFrames(bytes.NewReader(b), int64(len(b)))
	if err != nil || !slices.Equal(frames, scanned) {
		t.Errorf("the frames are not those of the table: %v", err)
	}
	plain := unpack(t, b)
	if known != int64(len(plain)) {
		t.Errorf("known size %d of %d", known, len(plain))
	}
	begins, end := map[int64]frame{}, map[int64]bool{}
	for _, f := range frames {
		begins[f.off], end[f.off+int64(f.size)] = f, true
		var h zstd.Header
		if err := h.Decode(b[f.at:]); err != nil || !h.HasCheckSum || !h.HasFCS || h.FrameContentSize != uint64(f.size) || f.size > FrameSize {
			t.Errorf("frame at %d: %+v, %v", f.at, h, err)
		}
	}
	holder := func(off int64) frame {
		fr, _ := slices.BinarySearchFunc(frames, off, func(f frame, o int64) int {
			if f.off+int64(f.size) <= o {
				return -1
			}
			if f.off > o {
				return 1
			}
			return 0
		})
		return frames[fr]
	}
	scan := newTarScanner(bytes.NewReader(plain))
	config := c.Blobs[digest.FromString("{}")]
	for i := 0; ; i++ {
		from := scan.offset
		m, err := scan.next()
		if err == io.EOF {
			if _, ok := begins[from]; !ok {
				t.Error("the end begins no frame")
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := m.offset + m.size + padding(m.size)
		_, cut := begins[from]
		switch {
		case to-from >= LargeMember:
			if !cut || !end[to] {
				t.Errorf("large member of %d bytes shares frames", m.size)
			}
		default:
			if f := holder(from); f != holder(to-1) || f.size > LargeMember {
				t.Errorf("small member of %d bytes lies in two frames, or in a frame of %d", m.size, f.size)
			}
		}
		if string(config) == "{}" && (m.digest == digest.FromString("{}") || m.digest == digest.FromString("")) && !cut {
			t.Errorf("member %d is the first of its kind and begins no frame", i)
		}
		scan.r.(io.Seeker).Seek(to, io.SeekStart)
		scan.offset = to
	}
	v, rep, err := verifyBytes(b, nil)
	if err != nil || rep.Blobs != len(c.Blobs) {
		t.Fatal(rep, err)
	}
	if err := sameContent(v, c); err != nil {
		t.Error(err)
	}
	for _, other := range []Compression{None, Gzip} {
		if !bytes.Equal(unpack(t, writeContent(t, c, other)), plain) {
			t.Errorf("compression %d has another tar", other)
		}
	}
}

func TestHeaderOfAnySize(t *testing.T) {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for _, size := range []int64{0, 1, 1<<33 - 1, 1 << 33, 1<<33 + 1, 1 << 40, 1<<63 - 1} {
			name := blobName(alg.FromString("x"))
			h := appendHeader(nil, name, size)
			if m, err := newTarScanner(bytes.NewReader(h)).next(); err != nil || m.name != name || m.size != size || m.offset != headerSize(m.digest) {
				t.Errorf("%d: %+v, %v", size, m, err)
			}
			th, err := tar.NewReader(bytes.NewReader(h)).Next()
			if err != nil || th.Name != name || th.Size != size || th.Mode != 0o644 || th.ModTime.Unix() != 0 {
				t.Errorf("%d: archive/tar: %+v, %v", size, th, err)
			}
		}
	}
}

func TestCompressionFor(t *testing.T) {
	for name, want := range map[string]string{
		"a.tar.zst": "0", "a.tzst": "0", "a.tar": "1", "a.tar.gz": "2", "a.tgz": "2", "a": "", "a.zst": "", "a.tar.xz": "", "tar": "", "": "",
	} {
		c, err := CompressionFor(name)
		if (err == nil) != (want != "") || err == nil && fmt.Sprint(c) != want {
			t.Errorf("%q: %v, %v", name, c, err)
		}
		if err != nil && layout.ClassOf(err) != layout.ClassName {
			t.Errorf("%q: class %s", name, layout.ClassOf(err))
		}
	}
}

func TestWriteRefusesTwoSizesOfOneDigest(t *testing.T) {
	c := storagetest.NewContent()
	d := c.Add(storagetest.BlobType, []byte("x"))
	lie := d
	lie.Size = 2
	c.Name(c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")), d, lie), "r.io/a:v1")
	if _, err := Write(t.Context(), io.Discard, c, c.Index, nil); layout.ClassOf(err) != layout.ClassSize {
		t.Errorf("%v", err)
	}
}
