package bundle

import (
	"context"
	"sync"
)

// budget bounds the frames that are under way, and with them the memory. The run
// whose turn it is at the output may always have one, so that those behind it
// can't keep it from coming to its end.
type budget struct {
	mu    sync.Mutex
	given sync.Cond
	free  int
	head  int         // the run at the output
	has   map[int]int // frames under way, by run
}

func (b *budget) take(ctx context.Context, run int) error {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.given.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.free <= 0 && (run != b.head || b.has[run] > 0) && ctx.Err() == nil {
		b.given.Wait()
	}
	b.free--
	b.has[run]++
	return context.Cause(ctx)
}

func (b *budget) give(run int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free++
	b.has[run]--
	b.given.Broadcast()
}

// turn says which run is at the output.
func (b *budget) turn(run int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if run != b.head {
		delete(b.has, b.head)
		b.head = run
	}
	b.given.Broadcast()
}

// buffers hands out byte slices of one capacity and takes them back. Unlike a
// sync.Pool it lets none go while the work lasts, so that the garbage collector
// sees none, and memory stays at what is in use.
type buffers struct {
	free chan []byte
	size int
}

func newBuffers(size, most int) buffers { return buffers{make(chan []byte, most), size} }

func (b buffers) get() []byte {
	select {
	case p := <-b.free:
		return p[:0]
	default:
		return make([]byte, 0, b.size)
	}
}

func (b buffers) put(p []byte) {
	if cap(p) < b.size {
		return
	}
	select {
	case b.free <- p:
	default:
	}
}
