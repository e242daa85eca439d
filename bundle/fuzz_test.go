package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/internal/vectors"
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

// flipped is b with one bit turned, so that a fuzzer comes to files that differ in
// nothing else. 0 turns none.
func flipped(b []byte, at uint32) []byte {
	b = slices.Clone(b)
	if at > 0 && len(b) > 0 {
		b[int(at-1)/8%len(b)] ^= 1 << ((at - 1) % 8)
	}
	return b
}

var corpus = sync.OnceValues(func() ([]vectors.Vector, error) { return vectors.Load(filepath.Join("..", vectors.Dir)) })

// addVectors seeds a target with the bundles of the corpus that are small.
func addVectors(f *testing.F, of func(v vectors.Vector) []byte) {
	f.Helper()
	all, err := corpus()
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range all {
		if b := of(v); len(b) > 0 && len(b) < 64<<10 {
			f.Add(b, uint32(0))
		}
	}
}

// bundleOf is a vector that is a bundle, and takes no time to read.
func bundleOf(v vectors.Vector) []byte {
	if v.Form != vectors.Bundle {
		return nil
	}
	if r, err := openBytes(v.Body); err == nil && r.content.bytes() > 16<<20 {
		return nil
	}
	return v.Body
}

// allocated is how many bytes have been allocated since the process began.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// within fails where f allocates more than a bound, freed or not: nothing is
// allocated by what a small file says of itself.
func within(t *testing.T, bound uint64, f func()) {
	t.Helper()
	before := allocated()
	f()
	if n := allocated() - before; n > bound {
		t.Fatalf("%d MiB were allocated", n>>20)
	}
}

func FuzzOpenVerify(f *testing.F) {
	c := storagetest.Small()
	for _, comp := range compressions {
		f.Add(writeContent(f, c, comp), uint32(0))
	}
	f.Add(pack(f, membersOf(f, c)...), uint32(0))
	ms := membersOf(f, c)
	slices.Reverse(ms)
	f.Add(pack(f, ms...), uint32(0))
	f.Add(oneFrame(f, writeContent(f, c, None), false), uint32(0))
	addVectors(f, bundleOf)
	f.Fuzz(func(t *testing.T, b []byte, at uint32) {
		b = fixHeaders(flipped(b, at))
		var (
			v         *Verified
			rep       *Report
			err, serr error
		)
		within(t, 64<<20, func() { v, rep, err = verifyBytes(b, &VerifyOptions{Jobs: 1}) })
		// A decoder of a stream takes room for the window.
		within(t, 64<<20+2*MaxWindow, func() { _, serr = verifyStream(b, nil) })
		if serr != nil && !errors.Is(serr, layout.ErrUntrusted) {
			t.Fatalf("not a fault of this machine: %v", serr)
		}
		if errors.Is(err, layout.ErrNotSeekable) {
			return
		}
		if err != nil && !errors.Is(err, layout.ErrUntrusted) {
			t.Fatalf("not a fault of this machine: %v", err)
		}
		if (err == nil) != (serr == nil) && soundContainer(b) {
			t.Fatalf("Verify: %v\nVerifyStream: %v", err, serr)
		}
		_, again, aerr := verifyBytes(b, &VerifyOptions{Jobs: 1})
		if fmt.Sprint(aerr) != fmt.Sprint(err) || !reflect.DeepEqual(again, rep) {
			t.Fatalf("%v, %+v\nand then %v, %+v", err, rep, aerr, again)
		}
		if _, again, aerr = verifyBytes(b, &VerifyOptions{Jobs: 3}); (aerr == nil) != (err == nil) || rep != nil && again.Count != rep.Count {
			t.Fatalf("%v, %+v\nwith three jobs %v, %+v", err, rep, aerr, again)
		}
		if err != nil {
			return
		}
		for _, e := range v.Index().Manifests {
			if _, err := layout.ReadAll(t.Context(), v, e); err != nil && layout.ClassOf(err) != layout.ClassLimit {
				t.Fatalf("verified, and then: %v", err)
			}
		}
		// Whatever was accepted can be written as a bundle of our own.
		if _, err := tryWrite(v, v.Index()); err != nil {
			t.Fatalf("verified, and then: %v", err)
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
	f.Add(writeContent(f, c, None), uint32(0))
	f.Add(pack(f, membersOf(f, c)...), uint32(0))
	f.Add(pack(f, memberOf{name: "./blobs/", change: typed(tar.TypeDir, "")}, memberOf{name: "index.json", content: "{}", change: pax("comment", "x")}), uint32(0))
	gnu := writeContent(f, c, None)
	copy(gnu[257:], "ustar  \x00")
	f.Add(gnu, uint32(0))
	addVectors(f, func(v vectors.Vector) []byte {
		if v.Stage != "tar" && v.Stage != "names" {
			return nil
		}
		return bundleOf(v)
	})
	f.Fuzz(func(t *testing.T, b []byte, at uint32) {
		b = fixHeaders(flipped(b, at))
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

// FuzzTarOfOthers is the other direction: what archive/tar writes of members that a
// layout may have, in any of its formats and with anything that does not matter,
// the scanner reads, and sees the same.
func FuzzTarOfOthers(f *testing.F) {
	for seed := range byte(16) {
		f.Add(storagetest.Random(seed, 80), "somebody", "user.comment", "x")
	}
	f.Fuzz(func(t *testing.T, script []byte, owner, key, value string) {
		d := storagetest.NewDice(script)
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		var want []scanned
		for i := range d.N(6) {
			content := bytes.Repeat([]byte{byte(i)}, d.N(256)*d.N(4))
			name := storagetest.Pick(d, blobName(digest.FromBytes(content)), blobName(digest.SHA512.FromBytes(content)), "oci-layout", "index.json", "manifest.json", "repositories")
			h := &tar.Header{
				Typeflag: storagetest.Pick[byte](d, tar.TypeReg, tar.TypeReg, tar.TypeReg, tar.TypeDir), Name: storagetest.Pick(d, "", "./") + name,
				Size: int64(len(content)), Mode: int64(d.N(256)) * 16, Uid: d.N(256) << storagetest.Pick(d, 0, 8, 20), Gid: d.N(256),
				Uname: owner, Gname: owner[:len(owner)/2], ModTime: time.Unix(int64(d.N(256))<<storagetest.Pick(d, 0, 20, 30), int64(d.N(3))*1000).UTC(),
				Format: storagetest.Pick(d, tar.FormatUnknown, tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU),
			}
			if h.Typeflag == tar.TypeDir {
				h.Name, h.Size, content = storagetest.Pick(d, "./", "blobs/", "./blobs/sha256/", "blobs/sha512"), 0, nil
			}
			if h.Format == tar.FormatPAX {
				h.AccessTime = time.Unix(1, int64(d.N(2)))
				h.PAXRecords = map[string]string{"SCHILY.xattr." + key: value}
			}
			if len(name) > maxName && h.Format == tar.FormatGNU || slices.ContainsFunc(want, func(o scanned) bool { return o.name == name }) {
				continue // GNU's way of long names is refused, and so is a second member
			}
			if w.WriteHeader(h) != nil {
				return // what it does not write
			}
			_, _ = w.Write(content)
			if h.Typeflag == tar.TypeReg {
				want = append(want, scanned{name, string(content)})
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := scanAll(b.Bytes())
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v: %q, want %q", err, got, want)
		}
	})
}
