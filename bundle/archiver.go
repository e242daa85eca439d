package bundle

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/layout"
)

// workers is how many goroutines share the work. More than a few only wait for
// the medium, and each holds a frame.
func workers(jobs int) int {
	if jobs > 0 {
		return jobs
	}
	return min(runtime.GOMAXPROCS(0), 6)
}

var (
	zstdLevels = [...]zstd.EncoderLevel{zstd.SpeedDefault, zstd.SpeedFastest, zstd.SpeedBetterCompression, zstd.SpeedBestCompression}
	gzipLevels = [...]int{gzip.DefaultCompression, gzip.BestSpeed, 7, gzip.BestCompression}
)

// piece is a frame on its way to the output.
type piece struct {
	data  []byte
	plain int // bytes of the tar in it
}

// archiver makes runs side by side and writes them in their order. Each run has
// a channel of its own, on which its maker waits for its turn; the tokens bound
// how far the makers get ahead of the output.
type archiver struct {
	src     layout.Source
	archive *archive
	encoder *zstd.Encoder // nil: frames are pieces of the plain tar
	pieces  []chan piece
	plain   buffers // of the tar
	frames  buffers // compressed
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

func writeArchive(ctx context.Context, w io.Writer, src layout.Source, a *archive, o *WriteOptions) error {
	jobs := o.Jobs
	if jobs <= 0 {
		// Each holds two frames and an encoder, and the medium is slower than few.
		jobs = min(runtime.GOMAXPROCS(0), 4)
	}
	ar := &archiver{src: src, archive: a, pieces: make([]chan piece, len(a.runs))}
	size := int(min(a.size, FrameSize))
	ar.plain = newBuffers(size, 2*jobs+2)
	ar.frames = newBuffers(int(compressBound(int64(size))), 2*jobs+2)
	if o.Compression == Zstd {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(jobs), zstd.WithEncoderLevel(zstdLevels[o.Level]),
			zstd.WithWindowSize(FrameSize), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return err
		}
		ar.encoder = enc
	}
	for i := range ar.pieces {
		ar.pieces[i] = make(chan piece, 1)
	}
	g, ctx := errgroup.WithContext(ctx)
	tokens := make(chan struct{}, jobs+1)
	turn := make(chan int)
	g.Go(func() error {
		defer close(turn)
		for i := range a.runs {
			select {
			case tokens <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			select {
			case turn <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range jobs {
		g.Go(func() error {
			for i := range turn {
				if err := ar.make(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error { return ar.write(ctx, w, tokens, o) })
	return g.Wait()
}

// make produces the frames of one run.
func (ar *archiver) make(ctx context.Context, i int) error {
	r := ar.archive.runs[i]
	defer close(ar.pieces[i])
	out := &frameWriter{ar: ar, out: ar.pieces[i], left: r.size}
	if r.from == r.to {
		return out.zeros(ctx, endSize)
	}
	var header []byte
	for _, m := range ar.archive.members[r.from:r.to] {
		header = appendHeader(header[:0], m.path(), m.size)
		if err := out.bytes(ctx, header); err != nil {
			return err
		}
		var err error
		if m.name != "" {
			err = out.bytes(ctx, m.data)
		} else {
			err = out.blob(ctx, m)
		}
		if err == nil {
			err = out.zeros(ctx, padding(m.size))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts the frames of all runs out, in order, and the seek table after them.
func (ar *archiver) write(ctx context.Context, w io.Writer, tokens chan struct{}, o *WriteOptions) error {
	const phase = "writing"
	o.Progress.Start(phase, ar.archive.size)
	defer o.Progress.Finish(phase)
	var gz *gzip.Writer
	if o.Compression == Gzip {
		var err error
		if gz, err = gzip.NewWriterLevel(w, gzipLevels[o.Level]); err != nil {
			return err
		}
		w = gz
	}
	var table []seekEntry
	for _, pieces := range ar.pieces {
		for {
			p, ok, err := next(ctx, pieces)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if _, err := w.Write(p.data); err != nil {
				return fmt.Errorf("the bundle needs up to %d bytes: %w", ar.archive.size, err)
			}
			if ar.encoder != nil {
				sum := binary.LittleEndian.Uint32(p.data[len(p.data)-4:])
				table = append(table, seekEntry{uint32(len(p.data)), uint32(p.plain), sum})
			}
			o.Progress.Advance(phase, int64(p.plain))
			ar.done(p.data)
		}
		<-tokens
	}
	switch {
	case gz != nil:
		return gz.Close()
	case ar.encoder != nil:
		_, err := w.Write(appendSeekTable(nil, table))
		return err
	}
	return nil
}

// next waits for a frame of a run, which may be one that nobody makes any more.
func next(ctx context.Context, pieces <-chan piece) (p piece, ok bool, err error) {
	select {
	case p, ok = <-pieces:
		return p, ok, nil
	case <-ctx.Done():
		return p, false, context.Cause(ctx)
	}
}

// done takes back what was written.
func (ar *archiver) done(data []byte) {
	if ar.encoder != nil {
		ar.frames.put(data)
	} else {
		ar.plain.put(data)
	}
}

// frameWriter cuts the bytes of one run into frames of FrameSize.
type frameWriter struct {
	ar   *archiver
	out  chan<- piece
	left int64  // bytes of the run that are not in buf yet
	buf  []byte // the frame that is being filled
}

// space gives room for the next at most n bytes of the frame.
func (f *frameWriter) space(n int64) []byte {
	if f.buf == nil {
		f.buf = f.ar.plain.get()
	}
	n = min(n, FrameSize-int64(len(f.buf)))
	return f.buf[len(f.buf) : len(f.buf)+int(n)]
}

// filled takes n bytes of the space as written, and lets the frame go when it is
// full or the run ends.
func (f *frameWriter) filled(ctx context.Context, n int) error {
	f.buf = f.buf[:len(f.buf)+n]
	f.left -= int64(n)
	if len(f.buf) < FrameSize && f.left > 0 || n == 0 {
		return nil
	}
	p := piece{data: f.buf, plain: len(f.buf)}
	f.buf = nil
	if f.ar.encoder != nil {
		plain := p.data
		p.data = f.ar.encoder.EncodeAll(plain, f.ar.frames.get())
		f.ar.plain.put(plain)
	}
	select {
	case f.out <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *frameWriter) bytes(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		n := copy(f.space(int64(len(b))), b)
		if err := f.filled(ctx, n); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (f *frameWriter) zeros(ctx context.Context, n int64) error {
	var z [endSize]byte
	return f.bytes(ctx, z[:n])
}

// blob copies the content of a blob. Its last bytes leave when the source has
// vouched for all of them.
func (f *frameWriter) blob(ctx context.Context, m member) error {
	rc, err := f.ar.src.Fetch(ctx, ocispec.Descriptor{Digest: m.digest, Size: m.size})
	if err != nil {
		return err
	}
	defer rc.Close()
	for left := m.size; ; {
		n, err := io.ReadFull(rc, f.space(left))
		if err != nil {
			return err
		}
		left -= int64(n)
		if left == 0 {
			switch n, err := io.ReadFull(rc, make([]byte, 1)); {
			case n > 0:
				return &layout.CorruptError{Descriptor: ocispec.Descriptor{Digest: m.digest, Size: m.size}, Read: m.size + 1}
			case err != io.EOF:
				return err
			}
		}
		if err := f.filled(ctx, n); err != nil || left == 0 {
			return err
		}
	}
}
