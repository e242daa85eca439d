package main

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

var le = binary.LittleEndian

const zstdMagic = "\x28\xb5\x2f\xfd"

// The bits of a frame header's descriptor (RFC 8878, 3.1.1.1.1).
const (
	sizeIn4  = 0b10_0_0_0_0_00
	sizeIn8  = 0b11_0_0_0_0_00
	single   = 0b00_1_0_0_0_00
	unused   = 0b00_0_1_0_0_00
	reserved = 0b00_0_0_1_0_00
	checksum = 0b00_0_0_0_1_00
	dictIn4  = 0b00_0_0_0_0_11
)

// frame is a zstd frame, each field as it is written.
type frame struct {
	magic            string
	descriptor       byte
	window, dict     []byte
	size             []byte // of the content
	blocks, checksum []byte
	content          []byte // for a seek table
}

// frameOf is a proper frame: a single segment with its size and checksum.
func frameOf(content []byte) frame {
	return sized(frame{blocks: blocksOf(content, true), content: content})
}

// rawFrame is one whose content lies in it as it is.
func rawFrame(content []byte) frame {
	return sized(frame{blocks: append(blockHeader(blockRaw, len(content), true), content...), content: content})
}

// sized completes a frame whose content and blocks are told.
func sized(f frame) frame {
	f.magic, f.descriptor = zstdMagic, single|sizeIn4|checksum
	f.size = le.AppendUint32(nil, uint32(len(f.content)))
	f.checksum = le.AppendUint32(nil, uint32(xxhash.Sum64(f.content)))
	return f
}

// unsized is a frame that does not tell the size of its content.
func unsized(content, blocks []byte) frame {
	return frame{magic: zstdMagic, window: []byte{10 << 3}, content: content, blocks: blocks} // 1 MiB
}

func (f frame) bytes() []byte {
	b := append([]byte(f.magic), f.descriptor)
	for _, field := range [][]byte{f.window, f.dict, f.size, f.blocks, f.checksum} {
		b = append(b, field...)
	}
	return b
}

// The types of blocks.
const (
	blockRaw = 0
	blockRLE = 1
	blockBad = 3
)

const maxBlock = 128 << 10

func blockHeader(kind, size int, last bool) []byte {
	v := size<<3 | kind<<1
	if last {
		v |= 1
	}
	return []byte{byte(v), byte(v >> 8), byte(v >> 16)}
}

// fewZeros are not worth a block of their own.
const fewZeros = 16

// blocksOf is content in raw blocks, but for its runs of zeros.
func blocksOf(content []byte, last bool) []byte {
	var b []byte
	for {
		n, zeros := 0, 0
		for n < min(len(content), maxBlock) && zeros < fewZeros {
			if zeros++; content[n] != 0 {
				zeros = 0
			}
			n++
		}
		if zeros == fewZeros {
			n -= zeros
		}
		if n > 0 || len(content) == 0 {
			b = append(append(b, blockHeader(blockRaw, n, last && n == len(content))...), content[:n]...)
			content = content[n:]
		}
		for zeros = 0; zeros < min(len(content), maxBlock) && content[zeros] == 0; zeros++ {
		}
		if zeros > 0 {
			b = append(append(b, blockHeader(blockRLE, zeros, last && zeros == len(content))...), 0)
			content = content[zeros:]
		}
		if len(content) == 0 {
			return b
		}
	}
}

// zeroBlocks are n zeros, in blocks of one byte that is repeated.
func zeroBlocks(n int) []byte {
	var b []byte
	for n > 0 {
		k := min(n, maxBlock)
		b = append(append(b, blockHeader(blockRLE, k, k == n)...), 0)
		n -= k
	}
	return b
}

// zeros is a frame of n zeros.
func zeros(n int) frame {
	return sized(frame{content: make([]byte, n), blocks: zeroBlocks(n)})
}

// skippable is a frame that decoders skip.
func skippable(magic uint32, content []byte) []byte {
	b := le.AppendUint32(nil, magic)
	return append(le.AppendUint32(b, uint32(len(content))), content...)
}

// cut makes frames of an archive, which begin at the offsets that are told.
func cut(archive []byte, at ...int) []frame {
	var fs []frame
	from := 0
	for _, to := range append(at, len(archive)) {
		fs = append(fs, frameOf(archive[from:to]))
		from = to
	}
	return fs
}

func joined(fs ...frame) []byte {
	var b []byte
	for _, f := range fs {
		b = append(b, f.bytes()...)
	}
	return b
}

// seekTable is a seek table of the zstd seekable format, each field as it is written.
type seekTable struct {
	magic   uint32
	size    int // of the content of the skippable frame, added to what it is
	entries []seekEntry
	count   int // added to the number of entries
	flags   byte
	footer  uint32
}

type seekEntry struct{ compressed, content, checksum uint32 }

const seekChecksums = 1 << 7

func tableOf(fs ...frame) seekTable {
	t := seekTable{magic: 0x184d2a5e, flags: seekChecksums, footer: 0x8f92eab1}
	for _, f := range fs {
		t.entries = append(t.entries, seekEntry{uint32(len(f.bytes())), uint32(len(f.content)), uint32(xxhash.Sum64(f.content))})
	}
	return t
}

func (t seekTable) bytes() []byte {
	var b []byte
	for _, e := range t.entries {
		b = le.AppendUint32(le.AppendUint32(b, e.compressed), e.content)
		if t.flags&seekChecksums != 0 {
			b = le.AppendUint32(b, e.checksum)
		}
	}
	b = append(le.AppendUint32(b, uint32(len(t.entries)+t.count)), t.flags)
	b = le.AppendUint32(b, t.footer)
	out := le.AppendUint32(nil, t.magic)
	out = le.AppendUint32(out, uint32(len(b)+t.size))
	return append(out, b...)
}

// bundleOf is a bundle of frames with its seek table.
func bundleOf(fs ...frame) []byte { return append(joined(fs...), tableOf(fs...).bytes()...) }
