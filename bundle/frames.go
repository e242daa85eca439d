package bundle

import (
	"io"
	"slices"

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
	// direct reports whether a few bytes cost the same wherever they are: nothing else
	// has to be decoded for them.
	direct() bool
	// span gives what of the file holds the n bytes at off, from its first byte to
	// the one behind its last: the bytes themselves, or the frames that they are in.
	span(off, n int64) (from, to int64)
}

// plainChunk is how much of a plain file is read at a time.
const plainChunk = 256 << 10

// plain is an archive without compression.
type plain struct {
	r io.ReaderAt
	n int64
}

func (p *plain) size() int64                        { return p.n }
func (p *plain) boundary(int64) bool                { return true }
func (p *plain) direct() bool                       { return true }
func (p *plain) span(off, n int64) (from, to int64) { return off, off + n }

func (p *plain) chunk(off, n int64, buf *chunkBuffer, _ bool) ([]byte, error) {
	if b := buf.slice(off, n); len(b) > 0 {
		return b, nil
	}
	if off >= p.n {
		return nil, layout.Errorf(layout.ClassTruncated, "the archive ends at offset %d", p.n)
	}
	buf.start = off
	buf.data = resize(buf.data, int(min(plainChunk, p.n-off)))
	k, err := readAt(p.r, buf.data, off)
	if k == 0 {
		buf.reset()
		return nil, err
	}
	buf.data = buf.data[:k] // what can't be read behind it may not be needed
	return buf.slice(off, n), nil
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	_, err := readAt(r, p, off)
	return err
}

// readAt gives an error if it does not read all.
func readAt(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err == io.EOF:
		return n, layout.Errorf(layout.ClassTruncated, "the file ends at offset %d", off+int64(n))
	case isClassed(err):
		return n, err
	}
	return n, layout.Errorf(layout.ClassLocal, "read at offset %d: %w", off, err)
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

// newDecoder makes a decoder that fills the room it is given and asks for no more. A
// window may be larger than that: it takes no memory where all is at hand.
func newDecoder(o ...zstd.DOption) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, append(o, zstd.WithDecoderConcurrency(workers(0)),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(MaxWindow), zstd.WithDecoderMaxWindow(MaxWindow))...)
}

func (f *framed) size() int64  { return f.n }
func (f *framed) direct() bool { return false }

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

func (f *framed) span(off, n int64) (from, to int64) {
	first := f.frames[f.find(min(off, f.n-1))]
	last := f.frames[f.find(min(off+max(n, 1), f.n)-1)]
	return first.at, last.at + int64(last.csize)
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
	} else if blocks, ok := rawBlocks(buf.blocks[:0], buf.raw, &h, int64(fr.size)); ok {
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
