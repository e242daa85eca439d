package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

func typed(kind byte, link string) func(*tar.Header) {
	return func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = kind, link, 0 }
}

func pax(key, value string) func(*tar.Header) {
	return func(h *tar.Header) { h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{key: value} }
}

// TestForeignArchives holds a reader against the section of doc.go on reading,
// through every way in.
func TestForeignArchives(t *testing.T) {
	c := storagetest.Small()
	ms := membersOf(t, c)
	with := func(more ...memberOf) []memberOf { return append(slices.Clone(ms), more...) }
	changed := func(i int, f func(*memberOf)) []memberOf {
		out := slices.Clone(ms)
		f(&out[i])
		return out
	}
	dotted := []memberOf{{name: "./", change: typed(tar.TypeDir, "")}, {name: "./blobs/", change: typed(tar.TypeDir, "")}, {name: "./blobs/sha256/", change: typed(tar.TypeDir, "")}}
	for _, m := range slices.Backward(ms) {
		m.name = "./" + m.name
		dotted = append(dotted, m)
	}
	evil := blobMember("evil")
	last := len(ms) - 1
	for _, tt := range []struct {
		name    string
		members []memberOf
		class   layout.Class // "" is accepted
	}{
		{"as it is, with other modes and owners", ms, ""},
		{"other times", changed(last, func(m *memberOf) { m.change = pax("mtime", "1700000000.5") }), ""},
		{"dots, directories and another order", dotted, ""},
		{"docker's files", with(memberOf{name: "manifest.json", content: "[]"}, memberOf{name: "repositories", content: "{}"}), ""},
		{"a blob that nothing needs", with(evil), ""},

		{"a damaged blob that nothing needs", with(memberOf{name: evil.name, content: "3vil"}), layout.ClassDigest},
		{"a missing blob", ms[:last], layout.ClassMissing},
		{"a missing manifest", slices.Delete(slices.Clone(ms), 2, 3), layout.ClassMissing},
		{"no index", slices.Delete(slices.Clone(ms), 1, 2), layout.ClassLayout},
		{"no oci-layout", ms[1:], layout.ClassLayout},
		{"nothing", nil, layout.ClassLayout},
		{"other content of the same size", changed(last, func(m *memberOf) { m.content = strings.ToUpper(m.content) }), layout.ClassDigest},
		{"a blob that is too long", changed(last, func(m *memberOf) { m.content += "!" }), layout.ClassSize},
		{"a blob that is too short", changed(last, func(m *memberOf) { m.content = m.content[1:] }), layout.ClassSize},
		{"an empty blob", changed(last, func(m *memberOf) { m.content = "" }), layout.ClassSize},
		{"an unknown member", with(memberOf{name: "README", content: "x"}), layout.ClassName},
		{"a folder that leaves", with(memberOf{name: "../evil", content: "x"}), layout.ClassName},
		{"an absolute name", with(memberOf{name: "/index.json", content: "{}"}), layout.ClassName},
		{"two dots and slashes", with(memberOf{name: "././index.json", content: "{}"}), layout.ClassName},
		{"another case", with(memberOf{name: "Index.json", content: "{}"}), layout.ClassName},
		{"a blob in upper case", with(memberOf{name: "blobs/sha256/" + strings.ToUpper(digest.FromString("x").Encoded()), content: "x"}), layout.ClassName},
		{"a blob of another algorithm", with(memberOf{name: "blobs/md5/d41d8cd98f00b204e9800998ecf8427e"}), layout.ClassName},
		{"an illegal directory", with(memberOf{name: "etc/", change: typed(tar.TypeDir, "")}), layout.ClassName},
		{"a member twice", with(ms[last]), layout.ClassDuplicate},
		{"the index twice, spelt in two ways", with(memberOf{name: "./index.json", content: ms[1].content}), layout.ClassDuplicate},
		{"a symlink", with(memberOf{name: evil.name, change: typed(tar.TypeSymlink, "/etc/passwd")}), layout.ClassName},
		{"a hard link", with(memberOf{name: evil.name, change: typed(tar.TypeLink, ms[last].name)}), layout.ClassName},
		{"a device", with(memberOf{name: evil.name, change: typed(tar.TypeChar, "")}), layout.ClassName},
		{"a fifo", with(memberOf{name: evil.name, change: typed(tar.TypeFifo, "")}), layout.ClassName},
		{"a PAX path", with(memberOf{name: "blobs/sha256/" + strings.Repeat("é", 60), content: "x"}), layout.ClassName},
		{"another version", changed(0, func(m *memberOf) { m.content = `{"imageLayoutVersion":"9.0.0"}` }), layout.ClassLayout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			archives := [][]byte{pack(t, tt.members...)}
			if len(tt.members) > 0 && tt.members[0].name == "oci-layout" {
				archives = append(archives, pack(t, likeOurs(tt.members)...))
			}
			for _, b := range archives {
				for how, v := range everyWay(t, b) {
					err := v()
					if tt.class == "" && err != nil || tt.class != "" && (!errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != tt.class) {
						t.Errorf("%s: %v, class %s, want %q", how, err, layout.ClassOf(err), tt.class)
					}
				}
			}
		})
	}
}

func everyWay(t *testing.T, b []byte) map[string]func() error {
	t.Helper()
	random := func(b []byte) func() error {
		return func() error {
			v, _, err := verifyBytes(b, nil)
			if (v == nil) == (err == nil) {
				t.Error("a Verified with an error, or neither")
			}
			return err
		}
	}
	enc := newEncoder(t)
	zst := enc.EncodeAll(b[:len(b)/2], nil)
	zst = enc.EncodeAll(b[len(b)/2:], zst)
	return map[string]func() error{
		"tar":        random(b),
		"two frames": random(zst),
		"stream":     func() error { _, err := verifyStream(b, nil); return err },
		"stream, one byte at a time": func() error {
			_, err := VerifyStream(t.Context(), iotest.OneByteReader(bytes.NewReader(zst)), nil)
			return err
		},
	}
}

// What no archive/tar writes: headers changed by hand, with a checksum that is
// right.
func TestHandMadeHeaders(t *testing.T) {
	c := storagetest.Small()
	good := writeContent(t, c, None)
	lastHeader := bytes.LastIndex(good, []byte("ustar")) - 257
	for _, tt := range []struct {
		name   string
		change func(h []byte)
		ok     bool
	}{
		{"nothing", func([]byte) {}, true},
		{"another time", func(h []byte) { copy(h[136:], "14512345670") }, true},
		{"another mode", func(h []byte) { copy(h[100:], "0000600") }, true},
		{"an old regular file", func(h []byte) { h[156] = 0 }, true},
		{"a contiguous file", func(h []byte) { h[156] = '7' }, false},
		{"a long name of GNU", func(h []byte) { h[156] = 'L' }, false},
		{"a sparse file of GNU", func(h []byte) { h[156] = 'S' }, false},
		{"a NUL in the name", func(h []byte) { h[90] = 'x' }, false},
		{"a negative size", func(h []byte) { copy(h[124:], bytes.Repeat([]byte{0xff}, 12)) }, false},
		{"a size of 2^63-1", func(h []byte) { copy(h[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") }, false},
		{"a size of 8 GiB", func(h []byte) { copy(h[124:], "77777777777") }, false},
		{"a GNU header with a prefix", func(h []byte) { copy(h[257:], "ustar  \x00"); copy(h[345:], "evil") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := slices.Clone(good)
			h := b[lastHeader : lastHeader+blockSize]
			tt.change(h)
			fixChecksum(h)
			for how, v := range everyWay(t, b) {
				if err := v(); (err == nil) != tt.ok || err != nil && !errors.Is(err, layout.ErrUntrusted) {
					t.Errorf("%s: %v", how, err)
				}
			}
		})
	}
	// The size is said in one way, so that nobody reads it in another.
	for _, size := range []string{"+7", "07", " 7", "7 ", "-7", "7.0", ""} {
		t.Run("a PAX size of "+strconv.Quote(size), func(t *testing.T) {
			ms := append(membersOf(t, c), memberOf{name: blobName(digest.FromString("content")), content: "content"})
			b := pack(t, ms...)
			at := bytes.LastIndex(b, []byte("ustar")) - 257
			record := paxRecord("size", size)
			header := appendBlock(nil, "PaxHeaders/x", int64(len(record)), 'x')
			header = append(append(header, record...), make([]byte, padding(int64(len(record))))...)
			for how, v := range everyWay(t, slices.Concat(b[:at], header, b[at:])) {
				if err := v(); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassArchive {
					t.Errorf("%s: %v", how, err)
				}
			}
		})
	}
	t.Run("data in the padding", func(t *testing.T) {
		b := slices.Clone(good)
		b[lastHeader+2*blockSize-1] = 'x'
		for how, v := range everyWay(t, b) {
			if err := v(); !errors.Is(err, layout.ErrUntrusted) {
				t.Errorf("%s: %v", how, err)
			}
		}
	})
}

// A frame may ask for a window that is larger than any frame that is read at random.
func TestWindowLargerThanItsFrame(t *testing.T) {
	plain := writeContent(t, storagetest.Small(), None)
	raw := appendRawFrame(nil, plain)
	// In the place of the single segment, a window of 2^27 bytes.
	b := slices.Concat(zstdMagic, []byte{raw[4] &^ 0b00_1_00000, (27 - 10) << 3}, raw[5:])
	for name, table := range map[string][]byte{"scanned": nil, "by the table": appendSeekTable(nil, []seekEntry{{uint32(len(b)), uint32(len(plain)), 0}})} {
		if _, _, err := verifyBytes(slices.Concat(b, table), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := verifyStream(slices.Concat(b, table), nil); err != nil {
			t.Errorf("%s, from a pipe: %v", name, err)
		}
	}
}

// A bundle with a blob of sha512 is read by others, too.
func TestSHA512IsReadByAll(t *testing.T) {
	c, d := storagetest.SHA512()
	b := writeContent(t, c, None)
	for how, v := range everyWay(t, b) {
		if err := v(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
	if names := membersOf(t, c); names[len(names)-1].name != blobName(d.Digest) {
		t.Errorf("archive/tar reads %q", names[len(names)-1].name)
	}
}

// Another writer may have the order of a bundle but for two blobs of one size.
func TestOtherOrderOfBlobs(t *testing.T) {
	ms := membersOf(t, storagetest.Small())
	last := len(ms) - 1
	ms[last], ms[last-1] = ms[last-1], ms[last]
	for how, v := range everyWay(t, pack(t, ms...)) {
		if err := v(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// tar packs a folder by name, so that what an index leads to may come before it,
// though index.json comes first.
func TestChildrenBeforeTheirIndex(t *testing.T) {
	c := storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte("{}"))
	inner := c.AddIndex(c.AddImage(config), c.AddImage(config, config))
	c.Name(c.AddIndex(inner), "r.io/nested:v1")
	ms := membersOf(t, c)
	slices.Reverse(ms[2:])
	for how, v := range everyWay(t, pack(t, ms...)) {
		if err := v(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// Two mentions of a blob with two sizes: one of them is a lie, and whoever sends
// the artifacts would find it in the middle.
func TestSecondMentionOfAnotherSizeIsFound(t *testing.T) {
	c := storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte("{}"))
	d := c.Add(storagetest.BlobType, []byte("x"))
	c.Name(c.AddImage(config, d), "r.io/a:v1")
	honest := membersOf(t, c)
	lie := d
	lie.Size = 2
	c.Name(c.AddImage(config, lie), "r.io/b:v1")
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	honest[1].content = string(raw)
	liar := c.Blobs[c.Index.Manifests[1].Digest]
	b := pack(t, append(honest, blobMember(string(liar)))...)
	for how, v := range everyWay(t, b) {
		if err := v(); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassSize {
			t.Errorf("%s: %v", how, err)
		}
	}
}
