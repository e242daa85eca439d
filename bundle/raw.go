package bundle

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"
)

// Frames of what does not compress are made of raw blocks (RFC 8878, 3.1.1.2.2): to
// find out by compressing costs half as much as hashing, and raw blocks can be read
// where they lie.

// maxRawBlock is the most that a block holds, in bytes (RFC 8878, 3.1.1.2.4).
const maxRawBlock = 128 << 10

// The samples by which a frame is judged, and the estimate, between 0 and 1, from
// which one compresses. Text and programs are at 0.4 and above, what is compressed
// already below 0.2.
const (
	samples       = 16
	sampleSize    = 8 << 10
	compressibleF = 0.3
)

// rawMember is the size from which the members of a frame may be in raw blocks, in
// bytes on average. The headers of smaller ones are worth compressing.
const rawMember = 128 << 10

// isIncompressible judges the content of a frame of large members.
func isIncompressible(plain []byte) bool {
	if len(plain) < samples*sampleSize {
		return false
	}
	step := (len(plain) - sampleSize) / (samples - 1)
	for i := range samples {
		if compress.Estimate(plain[i*step:i*step+sampleSize]) >= compressibleF {
			return false
		}
	}
	return true
}

// appendRawFrame makes a frame of raw blocks: a single segment with a content size of
// four bytes and a checksum (RFC 8878, 3.1.1.1).
func appendRawFrame(b, plain []byte) []byte {
	le := binary.LittleEndian
	b = append(b, zstdMagic...)
	b = append(b, 0b10_1_0_0_1_00)
	b = le.AppendUint32(b, uint32(len(plain)))
	for rest := plain; len(rest) > 0; {
		n := min(len(rest), maxRawBlock)
		header := uint32(n) << 3
		if n == len(rest) {
			header |= 1 // the last
		}
		b = append(b, byte(header), byte(header>>8), byte(header>>16))
		b = append(b, rest[:n]...)
		rest = rest[n:]
	}
	return le.AppendUint32(b, uint32(xxhash.Sum64(plain)))
}

// rawBlock is where a raw block has its content in a frame, and which bytes of the
// frame's content that is.
type rawBlock struct{ at, off, size int32 }

// rawBlocks finds the blocks of a frame whose content has a size, if all are raw and
// nothing else is in it. What a decoder may refuse for another reason, it is left to.
func rawBlocks(blocks []rawBlock, frame []byte, h *zstd.Header, size int64) ([]rawBlock, bool) {
	most := int64(maxRawBlock)
	if !h.SingleSegment {
		most = min(most, int64(h.WindowSize)) // RFC 8878, 3.1.1.2.4
	}
	if h.DictionaryID != 0 {
		return blocks, false
	}
	if h.HasCheckSum {
		if len(frame) < 4 {
			return blocks, false
		}
		frame = frame[:len(frame)-4]
	}
	at, off := int64(h.HeaderSize), int64(0)
	for last := false; !last; {
		if at+3 > int64(len(frame)) {
			return blocks, false
		}
		v := uint32(frame[at]) | uint32(frame[at+1])<<8 | uint32(frame[at+2])<<16
		n := int64(v >> 3)
		at += 3
		if v>>1&3 != 0 || n > most || at+n > int64(len(frame)) {
			return blocks, false
		}
		if n > 0 {
			blocks = append(blocks, rawBlock{int32(at), int32(off), int32(n)})
		}
		last = v&1 != 0
		at += n
		off += n
	}
	return blocks, len(blocks) > 0 && at == int64(len(frame)) && off == size
}
