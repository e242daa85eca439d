package bundle

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	seekable "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/layout"
)

// container is the uncompressed tar archive, wherever it lies. Its errors name
// places in the file.
type container interface {
	size() int64
	// chunk gives bytes of the archive that begin at off and are at hand
	// together, at least one and at most n. buf is working space that chunk may
	// replace; the bytes are valid until its next use. Where verify is set, the
	// checksum of the container itself is checked.
	chunk(off, n int64, buf *chunkBuffer, verify bool) ([]byte, error)
	// boundary reports whether reading may begin at off without decoding what
	// lies before it.
	boundary(off int64) bool
	// place gives the offset in the file at which the bytes at off begin, or
	// the frame that holds them.
	place(off int64) int64
}

// plainChunk is how much of a plain file is read at a time.
const plainChunk = 256 << 10

// plain is an archive without compression.
type plain struct {
	r io.ReaderAt
	n int64
}

func (p *plain) size() int64           { return p.n }
func (p *plain) boundary(int64) bool   { return true }
func (p *plain) place(off int64) int64 { return off }

func (p *plain) chunk(off, n int64, buf *chunkBuffer, _ bool) ([]byte, error) {
	if b := buf.slice(off, n); len(b) > 0 {
		return b, nil
	}
	if off >= p.n {
		return nil, layout.Errorf(layout.ClassTruncated, "the archive ends at offset %d", p.n)
	}
	buf.start = off
	buf.data = resize(buf.data, int(min(plainChunk, p.n-off)))
	if err := readFull(p.r, buf.data, off); err != nil {
		buf.reset()
		return nil, err
	}
	return buf.slice(off, n), nil
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return layout.Errorf(layout.ClassTruncated, "the file ends at offset %d", off+int64(n))
	}
	return layout.Errorf(layout.ClassLocal, "read at offset %d: %w", off, err)
}

// frame is where a zstd frame lies in the file and what it holds of the archive.
type frame struct {
	at, off     int64
	csize, size uint32
}

// framed is an archive in zstd frames that can be read at random.
type framed struct {
	r       io.ReaderAt
	frames  []frame
	n       int64
	checked *zstd.Decoder // refuses frames whose checksum is wrong
	lax     *zstd.Decoder // leaves that to the digests of the blobs
}

func newFramed(r io.ReaderAt, frames []frame) (*framed, error) {
	f := &framed{r: r, frames: frames}
	if len(frames) > 0 {
		last := frames[len(frames)-1]
		f.n = last.off + int64(last.size)
	}
	var err error
	if f.checked, err = newDecoder(); err != nil {
		return nil, err
	}
	f.lax, err = newDecoder(zstd.IgnoreChecksum(true))
	return f, err
}

func newDecoder(o ...zstd.DOption) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, append(o, zstd.WithDecoderConcurrency(workers(0)),
		zstd.WithDecoderMaxMemory(MaxFrameSize), zstd.WithDecoderMaxWindow(MaxWindow))...)
}

func (f *framed) size() int64 { return f.n }

func (f *framed) find(off int64) int {
	i, ok := slices.BinarySearchFunc(f.frames, off, func(fr frame, off int64) int {
		switch {
		case fr.off < off:
			return -1
		case fr.off > off:
			return 1
		}
		return 0
	})
	if !ok {
		i--
	}
	return i
}

func (f *framed) boundary(off int64) bool {
	return off == f.n || f.frames[f.find(off)].off == off
}

func (f *framed) place(off int64) int64 {
	if off >= f.n {
		off = f.n - 1
	}
	return f.frames[f.find(off)].at
}

func (f *framed) chunk(off, n int64, buf *chunkBuffer, verify bool) ([]byte, error) {
	if b := buf.slice(off, n); len(b) > 0 {
		return b, nil
	}
	if off >= f.n {
		return nil, layout.Errorf(layout.ClassTruncated, "the archive ends at offset %d", f.n)
	}
	fr := f.frames[f.find(off)]
	if err := f.decode(fr, buf, verify); err != nil {
		buf.reset()
		return nil, err
	}
	return buf.slice(off, n), nil
}

func (f *framed) decode(fr frame, buf *chunkBuffer, verify bool) error {
	buf.raw = resize(buf.raw, int(fr.csize))
	if err := readFull(f.r, buf.raw, fr.at); err != nil {
		return err
	}
	// The content size in the header bounds what the decoder writes, so it must
	// be the one that was promised.
	var h zstd.Header
	if err := h.Decode(buf.raw); err != nil || h.Skippable || h.HasFCS && h.FrameContentSize != uint64(fr.size) {
		return layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d is damaged, or not the one that the seek table names", fr.at)
	}
	if !h.SingleSegment && h.WindowSize > MaxWindow {
		return layout.Errorf(layout.ClassLimit, "the zstd frame at offset %d asks for a window of %d bytes", fr.at, h.WindowSize)
	}
	dec := f.lax
	if verify {
		dec = f.checked
	} else if blocks, ok := rawBlocks(buf.blocks[:0], buf.raw, h.HeaderSize, int64(fr.size), h.HasCheckSum); ok {
		buf.start, buf.data, buf.blocks = fr.off, buf.data[:0], blocks
		return nil
	}
	data, err := dec.DecodeAll(buf.raw, resize(buf.data, int(fr.size))[:0])
	if err != nil {
		return layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d is damaged: %w", fr.at, err)
	}
	if len(data) != int(fr.size) {
		return layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d holds %d bytes, not %d", fr.at, len(data), fr.size)
	}
	buf.start, buf.data, buf.blocks = fr.off, data, buf.blocks[:0]
	return nil
}

const (
	seekTableMagic  = 0x184D2A5E // of the skippable frame
	seekFooterMagic = 0x8F92EAB1
	seekFooterSize  = 9
	seekEntrySize   = 12 // with checksum
	skipHeaderSize  = 8
)

// appendSeekTable makes the seek table. The package that reads it also has an
// encoder, but that takes the content of every frame once more, in order, to hash
// it, where the hash stands at the end of each frame already.
func appendSeekTable(b []byte, entries []seekEntry) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, seekTableMagic)
	b = le.AppendUint32(b, uint32(len(entries)*seekEntrySize+seekFooterSize))
	for _, e := range entries {
		b = le.AppendUint32(b, e.csize)
		b = le.AppendUint32(b, e.size)
		b = le.AppendUint32(b, e.checksum)
	}
	b = le.AppendUint32(b, uint32(len(entries)))
	b = append(b, 1<<7) // entries have checksums
	return le.AppendUint32(b, seekFooterMagic)
}

type seekEntry struct{ csize, size, checksum uint32 }

// readSeekTable reads the table at the end of the file. Nothing in it is
// believed: its frames must fill the file up to itself, exactly, and each must
// be of a size that can be read at random. ok is false where there is no table.
func readSeekTable(r io.ReaderAt, size int64) (frames []frame, ok bool, err error) {
	if size < seekFooterSize+skipHeaderSize {
		return nil, false, nil
	}
	footer := make([]byte, seekFooterSize)
	if err := readFull(r, footer, size-seekFooterSize); err != nil {
		return nil, false, err
	}
	le := binary.LittleEndian
	if le.Uint32(footer[5:]) != seekFooterMagic {
		return nil, false, nil
	}
	count, entry := int64(le.Uint32(footer)), int64(8)
	if footer[4]&(1<<7) != 0 {
		entry = seekEntrySize
	}
	if count > MaxFrames {
		return nil, false, layout.Errorf(layout.ClassLimit, "the seek table lists %d frames, over the limit of %d", count, MaxFrames)
	}
	at := size - (skipHeaderSize + count*entry + seekFooterSize)
	if at < 0 {
		return nil, false, layout.Errorf(layout.ClassArchive, "the seek table is longer than the file")
	}
	b := make([]byte, size-at)
	if err := readFull(r, b, at); err != nil {
		return nil, false, err
	}
	table, err := seekable.NewSeekTable(b)
	if err != nil {
		return nil, false, layout.Errorf(layout.ClassArchive, "the seek table is damaged: %w", err)
	}
	frames = make([]frame, 0, count)
	var pos, off int64
	for i := range count {
		e, _ := table.EntryByID(i)
		if e.DecompressedSize > MaxFrameSize {
			return nil, false, nil // somebody else's table, with frames too large to hold
		}
		if e.DecompressedSize == 0 || int64(e.CompressedSize) > compressBound(int64(e.DecompressedSize)) {
			return nil, false, layout.Errorf(layout.ClassLimit, "the seek table has a frame of %d bytes for %d", e.CompressedSize, e.DecompressedSize)
		}
		frames = append(frames, frame{at: pos, off: off, csize: e.CompressedSize, size: e.DecompressedSize})
		pos += int64(e.CompressedSize)
		off += int64(e.DecompressedSize)
	}
	if pos != at {
		return nil, false, layout.Errorf(layout.ClassArchive, "the seek table describes %d bytes of frames, and there are %d", pos, at)
	}
	return frames, true, nil
}

// compressBound is above what any encoder makes of n bytes in a frame: even
// blocks of 1 KiB cost three bytes each.
func compressBound(n int64) int64 { return n + n/128 + 1024 }

// scanFrames finds the frames of a file that has no seek table by hopping from
// block to block, without decoding. known is the content size of all frames, or
// -1 where one does not tell.
//
// Errors: [layout.ErrNotSeekable] where a frame is too large to be read at
// random, or does not tell its size; [layout.ClassTruncated] where the file ends
// in a frame.
func scanFrames(r io.ReaderAt, size int64) (frames []frame, known int64, err error) {
	var pos, off int64
	seekableFrames := true
	for n := 1; pos < size; n++ {
		if n > MaxFrames {
			return nil, -1, layout.Errorf(layout.ClassLimit, "more than %d zstd frames", MaxFrames)
		}
		h, end, err := scanFrame(r, pos, size)
		if err != nil {
			return nil, -1, err
		}
		if !h.Skippable {
			switch {
			case !h.HasFCS:
				seekableFrames, known = false, -1
			case h.FrameContentSize > MaxFrameSize || end-pos > compressBound(MaxFrameSize):
				seekableFrames = false
			case h.FrameContentSize > 0:
				frames = append(frames, frame{at: pos, off: off, csize: uint32(end - pos), size: uint32(h.FrameContentSize)})
			}
			if known >= 0 {
				off += int64(min(h.FrameContentSize, 1<<62))
				if off < 0 || off > 1<<62 {
					return nil, -1, layout.Errorf(layout.ClassLimit, "the zstd frame at offset %d tells an impossible size", pos)
				}
				known = off
			}
		}
		pos = end
	}
	if !seekableFrames {
		return nil, known, layout.ErrNotSeekable
	}
	return frames, known, nil
}

// scanFrame reads the headers of one frame and gives where it ends.
func scanFrame(r io.ReaderAt, at, size int64) (h zstd.Header, end int64, err error) {
	head := make([]byte, min(zstd.HeaderMaxSize, size-at))
	if err := readFull(r, head, at); err != nil {
		return h, 0, err
	}
	cut := layout.Errorf(layout.ClassTruncated, "the file ends in the zstd frame that begins at offset %d: the copy is not complete", at)
	if err := h.Decode(head); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) && len(head) < zstd.HeaderMaxSize {
			return h, 0, cut
		}
		return h, 0, layout.Errorf(layout.ClassArchive, "offset %d is no zstd frame: %w", at, err)
	}
	if h.Skippable {
		end = at + int64(h.HeaderSize) + int64(h.SkippableSize)
		if end > size {
			return h, 0, cut
		}
		return h, end, nil
	}
	if !h.SingleSegment && h.WindowSize > MaxWindow {
		return h, 0, layout.Errorf(layout.ClassLimit, "the zstd frame at offset %d asks for a window of %d bytes", at, h.WindowSize)
	}
	end = at + int64(h.HeaderSize)
	for last := false; !last; {
		// RFC 8878, 3.1.1.2: one bit for the last block, two for the type, the rest
		// for the size. A block of type 1 is one byte, repeated.
		var b [3]byte
		if end+3 > size {
			return h, 0, cut
		}
		if err := readFull(r, b[:], end); err != nil {
			return h, 0, err
		}
		v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last = v&1 != 0
		n := int64(v >> 3)
		switch v >> 1 & 3 {
		case 1:
			n = 1
		case 3:
			return h, 0, layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d is damaged at %d", at, end)
		}
		end += 3 + n
	}
	if h.HasCheckSum {
		end += 4
	}
	if end > size {
		return h, 0, cut
	}
	return h, end, nil
}
