package main

import (
	"hash/crc32"
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

// gzipMember is a member of a gzip file (RFC 1952), each field as it is written.
type gzipMember struct {
	method, flags byte
	extra         string // the optional fields of the header
	deflated      []byte
	checksum      uint32
	size          uint32
}

func (m gzipMember) bytes() []byte {
	b := append([]byte{0x1f, 0x8b, m.method, m.flags, 0, 0, 0, 0, 0, 255}, m.extra...)
	return le.AppendUint32(le.AppendUint32(append(b, m.deflated...), m.checksum), m.size)
}

// gzipOf is a member that holds content as it is.
func gzipOf(content []byte) gzipMember {
	return gzipMember{method: 8, deflated: stored(content), checksum: crc32.ChecksumIEEE(content), size: uint32(len(content))}
}

// stored is content in blocks of deflate that do not compress (RFC 1951, 3.2.4).
func stored(content []byte) []byte {
	var b []byte
	for {
		n := min(len(content), 1<<16-1)
		last := byte(0)
		if n == len(content) {
			last = 1
		}
		b = append(b, last, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
		b = append(b, content[:n]...)
		if content = content[n:]; len(content) == 0 {
			return b
		}
	}
}

// deflatedZeros is n zeros, a multiple of 258 and one: a literal and matches of the
// greatest length, in a block of fixed codes (RFC 1951, 3.2.6).
func deflatedZeros(n int) []byte {
	w := bitWriter{}
	w.low(1, 1)           // the last block
	w.low(1, 2)           // fixed codes
	w.high(0b00110000, 8) // a literal of 0
	for range (n - 1) / 258 {
		w.high(0b11000101, 8) // a match of 258 bytes
		w.high(0, 5)          // at distance 1
	}
	w.high(0, 7) // the end
	return append(w.b, w.last)
}

// bitWriter writes bits from the lowest up.
type bitWriter struct {
	b    []byte
	last byte
	n    int
}

func (w *bitWriter) bit(v int) {
	w.last |= byte(v&1) << w.n
	if w.n++; w.n == 8 {
		w.b, w.last, w.n = append(w.b, w.last), 0, 0
	}
}

func (w *bitWriter) low(v, n int) {
	for i := range n {
		w.bit(v >> i)
	}
}

func (w *bitWriter) high(v, n int) {
	for i := n - 1; i >= 0; i-- {
		w.bit(v >> i)
	}
}

// gzips are archives in gzip.
func gzips(s *set) {
	s.at("compression", rfcGzip, vectors.Bundle)
	a := archive(good()...)
	whole := gzipOf(a).bytes()
	with := func(change func(m *gzipMember)) []byte {
		m := gzipOf(a)
		change(&m)
		return m.bytes()
	}
	s.add("archive", "gzip-checksum", "a checksum that is wrong", with(func(m *gzipMember) { m.checksum ^= 1 }))
	s.add("archive", "gzip-size", "a size that is wrong", with(func(m *gzipMember) { m.size++ }))
	s.add("archive", "gzip-method", "a method that is not deflate", with(func(m *gzipMember) { m.method = 7 }))
	s.add("archive", "gzip-block", "a block of the reserved type", with(func(m *gzipMember) { m.deflated[0] |= 3 << 1 }))
	s.add("archive", "gzip-stored-length", "a block whose length contradicts its complement", with(func(m *gzipMember) { m.deflated[3] ^= 1 }))
	s.add("archive", "gzip-header-checksum", "a header whose checksum is wrong", with(func(m *gzipMember) { m.flags, m.extra = 1<<1, "\x01\x02" }))
	s.add("archive", "gzip-garbage", "garbage after the end", append(gzipOf(a).bytes(), "some garbage after the end"...))
	s.add("trailing", "gzip-second-archive", "a second archive in a second member", append(gzipOf(a).bytes(), whole...))
	s.add("limit", "gzip-bomb", "64 MiB of zeros after the end", append(gzipOf(a).bytes(), bombMember().bytes()...), metBy("bombs"))
	s.add("archive", "gzip-nested", "a bundle that is compressed twice", gzipOf(whole).bytes(), metBy("gzip of a .tar.gz"))
	s.add("archive", "gzip-of-zstd", "a bundle in zstd that is compressed again", gzipOf(bundleOf(frames()...)).bytes(), metBy("gzip of a .tar.zst"))
	s.source = "a copy that was cut"
	s.add("truncated", "gzip-cut-header", "the file ends in the header", whole[:7])
	s.add("truncated", "gzip-cut-half", "the file ends in the middle", whole[:len(whole)/2])
	s.add("truncated", "gzip-cut-checksum", "the file ends in the checksum", whole[:len(whole)-5])
	s.add("truncated", "gzip-cut-member", "the file ends in its second member", append(gzipOf(a[:head]).bytes(), gzipOf(a[head:]).bytes()[:100]...))
	s.add("truncated", "gzip-cut-archive", "the archive ends in a blob, in a sound stream", gzipOf(a[:head+600]).bytes())

	s.source = "gzip, pigz"
	s.add(vectors.Success, "gzip", "an archive in gzip", whole)
	s.add(vectors.Success, "gzip-members", "an archive in two members", append(gzipOf(a[:head+100]).bytes(), gzipOf(a[head+100:]).bytes()...))
	s.add(vectors.Success, "gzip-name", "a header with a name, a comment and an extra field", with(func(m *gzipMember) {
		m.flags, m.extra = 1<<2|1<<3|1<<4, "\x04\x00AD\x00\x00talks.tar\x00a comment\x00"
	}))
	s.add(vectors.Success, "gzip-empty-members", "1,000 empty members before the archive", append([]byte(strings.Repeat(string(gzipOf(nil).bytes()), 1000)), whole...))
}

func bombMember() gzipMember {
	const n = 258*(64<<20/258) + 1
	zeros := make([]byte, n)
	return gzipMember{method: 8, deflated: deflatedZeros(n), checksum: crc32.ChecksumIEEE(zeros), size: n}
}
