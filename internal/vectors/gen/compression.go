package main

import (
	"bytes"
	"slices"
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

const (
	rfcZstd      = "RFC 8878"
	rfcGzip      = "RFC 1952"
	windowSource = "klauspost's default window is 512 MiB"
	seekFormat   = "zstd seekable format 0.1.0"
)

// head is where the config of a good bundle begins: what stands before it is all that
// inspect reads.
var head = len(tarOf(good()[:3]...))

// frames are those of a good bundle: the head, the blobs, the end.
func frames() []frame {
	a := archive(good()...)
	return cut(a, head, len(a)-len(end))
}

// changed is a bundle of which one frame is changed, without a seek table.
func changed(i int, change func(f *frame)) []byte {
	fs := frames()
	change(&fs[i])
	return joined(fs...)
}

// zstdFrames are frames that are none, or that ask for more than they are worth.
func zstdFrames(s *set) {
	s.at("compression", rfcZstd, vectors.Bundle)
	for _, v := range []struct {
		name, comment string
		change        func(f *frame)
	}{
		{"reserved-bit", "the reserved bit of a descriptor", func(f *frame) { f.descriptor |= reserved }},
		{"dictionary", "a dictionary that nobody has", func(f *frame) { f.descriptor |= dictIn4; f.dict = []byte{1, 2, 3, 4} }},
		{"reserved-block", "a block of the reserved type", func(f *frame) { f.blocks[0] |= blockBad << 1 }},
		{"size-smaller", "a content size that is too small", func(f *frame) { f.size = le.AppendUint32(nil, uint32(len(f.content)-block)) }},
		{"size-larger", "a content size that is too large", func(f *frame) { f.size = le.AppendUint32(nil, uint32(len(f.content)+block)) }},
		{"checksum", "a checksum that is wrong", func(f *frame) { f.checksum[0] ^= 1 }},
		{"legacy", "the magic number of zstd 0.7", func(f *frame) { f.magic = "\x27\xb5\x2f\xfd" }},
	} {
		s.add("archive", "zstd-"+v.name, "the first zstd frame has "+v.comment, changed(0, v.change))
	}
	large := archive(parts{second: strings.Repeat("slide ", 40<<10)}.members()...)
	f := frameOf(large)
	f.blocks = append(blockHeader(blockRaw, len(large), true), large...)
	s.add("archive", "zstd-block-large", "a block of over 128 KiB", f.bytes(), verdict("limit", vectors.Pipe))

	s.source = windowSource
	window := func(expect, name, comment string, w byte, more ...option) {
		f := unsized(nil, blocksOf(archive(good()...), true))
		f.window = []byte{w}
		s.add(expect, "zstd-window-"+name, "a window of "+comment, f.bytes(), more...)
	}
	window("limit", "512-mib", "512 MiB for a few bytes", 19<<3)
	window("limit", "144-mib", "one step over 128 MiB", 17<<3|1)
	window("limit", "largest", "3.75 TiB, the largest there is", 0xff)
	window(vectors.Success, "128-mib", "128 MiB, as zstd --long writes it", 17<<3, metBy("zstd --long=27"))
	segment := func(name, comment string, size uint64) {
		f := frameOf(archive(good()...))
		f.descriptor |= sizeIn8
		f.size = le.AppendUint64(nil, size)
		s.add("limit", "zstd-segment-"+name, "a single segment that says to be of "+comment, f.bytes())
	}
	segment("512-mib", "512 MiB", 512<<20)
	segment("2-64", "2^64-1 bytes", 1<<64-1)
	s.add("archive", "zstd-nested", "a bundle that is compressed twice", frameOf(bundleOf(frames()...)).bytes(), metBy("zstd of a .tar.zst"))
}

// zstdAmounts are bombs and crowds.
func zstdAmounts(s *set) {
	s.at("compression", "bombs", vectors.Bundle)
	bomb := joined(append(frames(), slices.Repeat([]frame{zeros(8 << 20)}, 40)...)...)
	s.add("limit", "bomb-zeros", "320 MiB of zeros after the end", bomb)
	a := archive(good()...)
	s.add("limit", "bomb-one-frame", "64 MiB of zeros after the end, in a frame that does not tell its size",
		unsized(nil, append(blocksOf(a, false), zeroBlocks(64<<20)...)).bytes())
	s.add("limit", "bomb-only-zeros", "an archive of nothing but 64 MiB of zeros", joined(slices.Repeat([]frame{zeros(8 << 20)}, 8)...))

	index := member{name: "index.json", size: octal(64 << 20)}
	s.add("limit", "bomb-index", "an index.json of 64 MiB", joined(slices.Concat(
		[]frame{frameOf(tarOf(good()[0], index))}, slices.Repeat([]frame{zeros(8 << 20)}, 8), []frame{frameOf(archive(good()[2:]...))})...))
	x := member{name: "PaxHeaders/x", kind: 'x', size: octal(64 << 20)}
	s.add("limit", "bomb-pax", "an extended header of 64 MiB", joined(append([]frame{frameOf(tarOf(append(good(), x)...))}, slices.Repeat([]frame{zeros(8 << 20)}, 8)...)...), metBy("GO-2022-1037 archive/tar"))

	empty := frameOf(nil)
	fs := frames()
	s.add(vectors.Success, "frames-empty", "5,000 empty frames between others", joined(slices.Insert(fs, 1, slices.Repeat([]frame{empty}, 5000)...)...))
	million := slices.Concat(fs[0].bytes(), bytes.Repeat(empty.bytes(), 1<<20), joined(fs[1:]...))
	s.add("limit", "frames-million", "2^20 empty frames between others", million, verdict(vectors.Success, vectors.Pipe))
}

// hiddenFrames are bundles with a frame that some readers pass over and others do not.
func hiddenFrames(s *set) {
	s.at("compression", "a decoder that hands out blocks before it looks at the size of the frame", vectors.Bundle)
	other := archive(good()[:2]...)
	hidden := func(blocks []byte) frame {
		return frame{magic: zstdMagic, descriptor: sizeIn4, window: []byte{10 << 3}, size: make([]byte, 4), blocks: blocks}
	}
	fs := frames()
	at := func(name string, i int, more ...option) {
		s.add("archive", "frame-hidden-"+name, "a frame that says that it is empty and holds another archive, in "+name+" place",
			joined(slices.Insert(slices.Clone(fs), i, hidden(blocksOf(other, true)))...), more...)
	}
	at("first", 0)
	at("second", 1)
	at("last", len(fs), verdict("trailing", vectors.Verify, vectors.Pipe))
	s.add("archive", "frame-hidden-zeros", "a frame that says that it is empty and holds a repeated byte", joined(slices.Insert(slices.Clone(fs), 1, hidden(zeroBlocks(512)))...))
	s.add("archive", "frame-hidden-many", "a frame that says that it is empty and has 100 blocks that are, and then one that is not",
		joined(slices.Insert(slices.Clone(fs), 1, hidden(append(bytes.Repeat(blockHeader(blockRaw, 0, false), 100), zeroBlocks(512)...)))...))

	dictionary := rawFrame(fs[1].content)
	dictionary.descriptor |= 0b01
	dictionary.dict = []byte{7}
	s.add("archive", "frame-dictionary", "a frame of raw blocks that asks for a dictionary", joined(fs[0], dictionary, fs[2]))
	narrow := rawFrame(bytes.Join([][]byte{fs[0].content, fs[1].content}, nil))
	narrow.descriptor &^= single
	narrow.window = []byte{0} // 1 KiB
	s.add("archive", "frame-window", "a raw block that is larger than the window of its frame", joined(narrow, fs[2]), verdict("limit", vectors.Pipe))
}

// zstdEnds are bundles that end too early or too late.
func zstdEnds(s *set) {
	s.at("compression", "a copy that was cut", vectors.Bundle)
	fs := frames()
	whole, table := bundleOf(fs...), tableOf(fs...).bytes()
	first, all := len(fs[0].bytes()), len(whole)-len(table)
	s.add("truncated", "zstd-cut-magic", "the file ends behind the magic number", whole[:4])
	s.add("truncated", "zstd-cut-frame-header", "the file ends in the header of a frame", whole[:first+6])
	s.add("truncated", "zstd-cut-block-header", "the file ends in the header of a block", whole[:first+10])
	s.add("truncated", "zstd-cut-block", "the file ends in a block", whole[:first+20])
	s.add("truncated", "zstd-cut-checksum", "the file ends in the checksum of a frame", whole[:all-2])
	s.add("truncated", "zstd-cut-frames", "the file ends between two frames, and is sound zstd", whole[:first])
	s.add("truncated", "zstd-cut-last-frame", "the file ends before the frame of the end of the archive", joined(fs[:2]...))
	s.add("truncated", "zstd-cut-table-header", "the file ends in the header of the seek table", whole[:all+6])
	s.add("truncated", "zstd-cut-table", "the file ends in the seek table", whole[:len(whole)-5])
	s.add("truncated", "zstd-skippable-long", "a skippable frame of 4 GiB, of which nothing is there", append(joined(fs...), "\x50\x2a\x4d\x18\xff\xff\xff\xff"...), metBy(rfcZstd))
	s.add("truncated", "zstd-only-skippable", "skippable frames and nothing else", bytes.Repeat(skippable(0x184d2a50, []byte("nothing")), 3), metBy(rfcZstd))
	s.source = "cat of two files"
	s.add("archive", "zstd-garbage", "garbage after the frames", append(joined(fs...), "garbage"...))
	s.add("archive", "zstd-garbage-table", "garbage after the seek table", append(bundleOf(fs...), "garbage"...))
	s.add("archive", "zstd-two", "a second bundle after the first", append(bundleOf(fs...), whole...), verdict("trailing", vectors.Verify, vectors.Pipe))
	s.add("trailing", "zstd-two-without-tables", "a second archive after the first, in frames of its own", append(joined(fs...), joined(fs...)...))
}

// seekTables lie.
func seekTables(s *set) {
	s.at("compression", seekFormat, vectors.Bundle)
	fs := frames()
	for _, v := range []struct {
		expect, name, comment string
		change                func(t *seekTable)
		pipe                  string // where its frame is no frame either
	}{
		{"archive", "empty", "lists no frames", func(t *seekTable) { t.entries = nil }, ""},
		{"archive", "one-less", "lacks the first frame", func(t *seekTable) { t.entries = t.entries[1:] }, ""},
		{"limit", "one-more", "has a frame of no bytes with content", func(t *seekTable) { t.entries = append(t.entries, seekEntry{0, 0, 0}) }, ""},
		{"archive", "one-twice", "lists a frame twice", func(t *seekTable) { t.entries = append(t.entries, t.entries[2]) }, ""},
		{"archive", "swapped", "lists frames in another order", func(t *seekTable) { t.entries[0], t.entries[1] = t.entries[1], t.entries[0] }, ""},
		{"archive", "size", "tells another size of a frame", func(t *seekTable) { t.entries[1].compressed++ }, ""},
		{"archive", "sizes", "moves a border between frames", func(t *seekTable) { t.entries[0].compressed++; t.entries[1].compressed-- }, ""},
		{"archive", "content", "tells another size of content", func(t *seekTable) { t.entries[0].content++ }, ""},
		{"archive", "contents", "moves a border between contents", func(t *seekTable) { t.entries[0].content -= block; t.entries[1].content += block }, ""},
		{"archive", "joined", "takes two frames for one", func(t *seekTable) {
			t.entries[1].compressed += t.entries[0].compressed
			t.entries[1].content += t.entries[0].content
			t.entries = t.entries[1:]
		}, ""},
		{"limit", "no-content", "has a frame without content", func(t *seekTable) { t.entries[1].content = 0 }, ""},
		{"limit", "size-largest", "has a frame of 4 GiB", func(t *seekTable) { t.entries[0].compressed = 1<<32 - 1 }, ""},
		{"limit", "count-largest", "says that it has 2^32-1 entries", func(t *seekTable) { t.count = 1<<32 - 1 - len(t.entries) }, ""},
		{"archive", "count-less", "says that it has fewer entries than it has", func(t *seekTable) { t.count = -1 }, ""},
		{"archive", "count-more", "says that it has more entries than it has", func(t *seekTable) { t.count = 1 }, ""},
		{"archive", "count-file", "says that it is longer than the file", func(t *seekTable) { t.count = 1000 }, ""},
		{"archive", "length", "has another length than its frame says", func(t *seekTable) { t.size = 1 }, "truncated"},
		{"archive", "magic", "is in a skippable frame of another number", func(t *seekTable) { t.magic = 0x184d2a50 }, ""},
		{"archive", "magic-frame", "is in no skippable frame", func(t *seekTable) { t.magic = 0x12345678 }, "archive"},
		{"archive", "flags", "has a reserved flag", func(t *seekTable) { t.flags |= 1 << 6 }, ""},
		{"archive", "no-checksums", "says that its entries have no checksums", func(t *seekTable) { t.flags = 0 }, ""},
	} {
		t := tableOf(fs...)
		v.change(&t)
		b := t.bytes()
		if v.name == "no-checksums" {
			b = tableOf(fs...).bytes()
			b[len(b)-5] = 0
		}
		s.add(v.expect, "seek-"+v.name, "a seek table that "+v.comment, append(joined(fs...), b...), verdict(or(v.pipe, vectors.Success), vectors.Pipe))
		if v.name == "length" {
			verdict(v.pipe, vectors.Verify)(&s.all[len(s.all)-1])
		}
	}
	fs[0].blocks = append(bytes.Repeat(blockHeader(blockRaw, 0, false), 3000), fs[0].blocks...)
	s.add("limit", "seek-grown", "a seek table that has a frame with 3,000 empty blocks, as no encoder makes it", bundleOf(fs...), verdict(vectors.Success, vectors.Pipe))
}
