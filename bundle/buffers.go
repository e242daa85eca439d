package bundle

import (
	"cmp"
	"slices"
)

// chunkBuffer is one reader's working space: a frame, or a piece of a plain file.
type chunkBuffer struct {
	start  int64 // of the data in the archive
	data   []byte
	raw    []byte     // the frame as it lies in the file
	blocks []rawBlock // where the data is in raw, if it is not compressed; then data is empty
}

func (b *chunkBuffer) slice(off, n int64) []byte {
	i := off - b.start
	if i < 0 {
		return nil
	}
	if len(b.blocks) > 0 {
		return b.inBlock(i, n)
	}
	if i >= int64(len(b.data)) {
		return nil
	}
	return b.data[i:min(i+n, int64(len(b.data)))]
}

// inBlock gives bytes that begin at i in the frame's content, as far as they lie in
// one block.
func (b *chunkBuffer) inBlock(i, n int64) []byte {
	k, ok := slices.BinarySearchFunc(b.blocks, i, func(r rawBlock, i int64) int { return cmp.Compare(int64(r.off), i) })
	if !ok {
		k--
	}
	r := b.blocks[k]
	i -= int64(r.off)
	if i >= int64(r.size) {
		return nil
	}
	return b.raw[int64(r.at)+i : int64(r.at)+min(i+n, int64(r.size))]
}

// size is how much of the archive is at hand.
func (b *chunkBuffer) size() int64 {
	if n := len(b.blocks); n > 0 {
		return int64(b.blocks[n-1].off + b.blocks[n-1].size)
	}
	return int64(len(b.data))
}

// reset lets go of the data, which belongs to another container.
func (b *chunkBuffer) reset() { b.data, b.blocks = b.data[:0], b.blocks[:0] }

// bufferList keeps the working space of readers that have come to their end. Unlike a
// sync.Pool it lets none go while the archive is open: each is large, and the garbage
// collector would see new ones all the time.
type bufferList chan *chunkBuffer

// maxBuffers is as many readers as are at work at once by default, and some more.
const maxBuffers = 8

func (l bufferList) get() *chunkBuffer {
	select {
	case b := <-l:
		b.reset()
		return b
	default:
		return new(chunkBuffer)
	}
}

func (l bufferList) put(b *chunkBuffer) {
	select {
	case l <- b:
	default:
	}
}

func resize(b []byte, n int) []byte {
	return slices.Grow(b[:0], n)[:n]
}
