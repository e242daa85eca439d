package bundle

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	seekable "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/layout"
)

// Where the frames of a file lie, and what each holds, says the seek table at its end.
// Where there is none, the headers of the frames say it.

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
	r = &nearby{r: r, size: size}
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
			case h.FrameContentSize == 0:
				// Nobody else reads it, and a decoder that reads in sequence hands out what is in
				// a frame before it looks at the size.
				if err := checkEmpty(r, pos, end); err != nil {
					return nil, -1, err
				}
			default:
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

// nearby reads a few bytes here and there, each time near those before: of a million
// small frames a thousand headers are read at once. It is for one goroutine.
type nearby struct {
	r    io.ReaderAt
	size int64
	at   int64
	b    []byte // what stands at at
}

func (n *nearby) ReadAt(p []byte, off int64) (int, error) {
	if off < n.at || off+int64(len(p)) > n.at+int64(len(n.b)) {
		n.at, n.b = off, resize(n.b, int(min(max(int64(len(p)), 4<<10), n.size-off)))
		if k, err := n.r.ReadAt(n.b, off); k < len(n.b) {
			n.b = n.b[:0]
			return 0, err
		}
	}
	return copy(p, n.b[off-n.at:]), nil
}

// maxEmpty bounds a frame without content, in bytes: its header, a block and a checksum.
const maxEmpty = 64

// checkEmpty demands that a frame which says that it has no content has none.
func checkEmpty(r io.ReaderAt, at, end int64) error {
	if end-at > maxEmpty {
		return layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d says that it is empty, and has %d bytes", at, end-at)
	}
	b := make([]byte, end-at)
	if err := readFull(r, b, at); err != nil {
		return err
	}
	dec, err := emptyDecoder()
	if err == nil {
		_, err = dec.DecodeAll(b, make([]byte, 0))
	}
	if err != nil {
		return layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d says that it is empty: %w", at, err)
	}
	return nil
}

// emptyDecoder decodes what has no content, and gives an error for everything else.
var emptyDecoder = sync.OnceValues(func() (*zstd.Decoder, error) { return newDecoder() })

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
	if h.DictionaryID != 0 {
		return h, 0, layout.Errorf(layout.ClassArchive, "the zstd frame at offset %d asks for a dictionary, and there is none", at)
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
