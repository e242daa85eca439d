package bundle

import (
	"io"
	"io/fs"
	"sync"
)

// blobReader reads one blob: a large one through a buffer of its own, a small
// one through the cache, since its neighbours are likely to be read as well.
type blobReader struct {
	a         *tarArchive
	off, left int64
	own       *chunkBuffer

	mu     sync.Mutex // net/http closes a body while it reads it, and twice
	closed bool
}

func (r *blobReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fs.ErrClosed
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	var n int
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if r.own != nil {
		b, err := r.a.c.chunk(r.off, int64(len(p)), r.own, false)
		if err != nil {
			return 0, err
		}
		n = copy(p, b)
	} else {
		var err error
		if n, err = r.a.cache.read(p, r.off); err != nil {
			return 0, err
		}
	}
	r.off += int64(n)
	r.left -= int64(n)
	return n, nil
}

func (r *blobReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.own != nil {
		r.a.buffers.put(r.own)
		r.own = nil
	}
	return nil
}

// frameCache keeps the frames that were read last. It is where small members are
// read one by one.
type frameCache struct {
	c  container
	mu sync.Mutex
	// latest first; few, since a frame of small members has LargeMember bytes
	recent  []*chunkBuffer
	decoded int64 // bytes that were read for it, those of a frame each time
}

// The most that is kept: so many frames, and no further one beyond so many bytes. Those
// of other writers may be large.
const (
	cachedFrames = 4
	cachedBytes  = 8 << 20
)

// full reports whether the next frame takes the place of the oldest.
func (f *frameCache) full() bool {
	bytes := 0
	for _, b := range f.recent {
		bytes += cap(b.data)
	}
	return len(f.recent) == cachedFrames || bytes >= cachedBytes
}

func (f *frameCache) read(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, b := range f.recent {
		if s := b.slice(off, int64(len(p))); len(s) > 0 {
			copy(f.recent[1:i+1], f.recent[:i])
			f.recent[0] = b
			return copy(p, s), nil
		}
	}
	var b *chunkBuffer
	if !f.full() {
		b = new(chunkBuffer)
		f.recent = append(f.recent, nil)
	} else {
		b = f.recent[len(f.recent)-1]
		b.reset()
	}
	copy(f.recent[1:], f.recent)
	f.recent[0] = b
	s, err := f.c.chunk(off, int64(len(p)), b, false)
	f.decoded += b.size()
	return copy(p, s), err
}

// cost is how much was decoded so far.
func (f *frameCache) cost() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decoded
}
