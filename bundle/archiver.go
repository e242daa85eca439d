package bundle

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
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

// frameOut is a piece of the archive on its way to the output.
type frameOut struct {
	run   int
	large bool   // of members so large that their headers don't count
	data  []byte // of the tar, and when it is ready, of the file
	plain int    // bytes of the tar in it
	ready chan struct{}
}

// archiver makes the archive in a pipeline. Makers take one run each, read its
// content, which verifies it, and cut it into frames. Encoders compress frames of
// any run, so that one huge blob keeps all of them busy. The writer puts the
// frames out in their order.
type archiver struct {
	src     layout.Source
	archive *archive
	encoder *zstd.Encoder // nil: frames are pieces of the plain tar
	order   chan madeRun  // in the order of the archive
	encode  chan *frameOut
	budget  budget
	plain   buffers // of the tar
	coded   buffers // compressed
}

// madeRun is a run and the channel on which its frames come.
type madeRun struct {
	index  int
	frames chan *frameOut
}

func writeArchive(ctx context.Context, w io.Writer, src layout.Source, a *archive, o *WriteOptions) error {
	jobs := o.Jobs
	if jobs <= 0 {
		// Each holds frames and an encoder, and the medium is slower than few.
		jobs = min(runtime.GOMAXPROCS(0), 4)
	}
	most := 2*jobs + 2
	size := int(min(a.size, FrameSize))
	ar := &archiver{
		src: src, archive: a, order: make(chan madeRun, jobs), encode: make(chan *frameOut),
		budget: budget{free: most, has: map[int]int{}},
		plain:  newBuffers(size, most), coded: newBuffers(int(compressBound(int64(size))), most),
	}
	ar.budget.given.L = &ar.budget.mu
	if o.Compression == Zstd {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(jobs), zstd.WithEncoderLevel(zstdLevels[o.Level]),
			zstd.WithWindowSize(FrameSize), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return err
		}
		ar.encoder = enc
	}
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan madeRun)
	g.Go(func() error {
		defer close(todo)
		defer close(ar.order)
		for i := range a.runs {
			r := madeRun{i, make(chan *frameOut, most)}
			for _, to := range []chan madeRun{ar.order, todo} {
				select {
				case to <- r:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		return nil
	})
	var makers sync.WaitGroup
	makers.Add(jobs)
	for range jobs {
		g.Go(func() error {
			defer makers.Done()
			for r := range todo {
				if err := ar.make(ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(func() error { ar.compress(); return nil })
	}
	g.Go(func() error { makers.Wait(); close(ar.encode); return nil })
	g.Go(func() error { return ar.write(ctx, w, o) })
	return g.Wait()
}

// make produces the frames of one run.
func (ar *archiver) make(ctx context.Context, made madeRun) error {
	r := ar.archive.runs[made.index]
	out := &frameWriter{ar: ar, made: made, left: r.size}
	if r.from == r.to {
		if err := out.zeros(ctx, endSize); err != nil {
			return err
		}
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
	close(made.frames) // only when all of it is there: an end that comes early is no end
	return nil
}

// compress makes frames ready, of whatever run.
func (ar *archiver) compress() {
	for f := range ar.encode {
		if ar.encoder != nil {
			plain := f.data
			if f.large && isIncompressible(plain) {
				f.data = appendRawFrame(ar.coded.get(), plain)
			} else {
				f.data = ar.encoder.EncodeAll(plain, ar.coded.get())
			}
			ar.plain.put(plain)
		}
		close(f.ready)
	}
}

// write puts the frames of all runs out, in order, and the seek table after them.
func (ar *archiver) write(ctx context.Context, w io.Writer, o *WriteOptions) error {
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
	for {
		r, ok, err := receive(ctx, ar.order)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		ar.budget.turn(r.index)
		for {
			f, ok, err := receive(ctx, r.frames)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if _, _, err := receive(ctx, f.ready); err != nil {
				return err
			}
			if _, err := w.Write(f.data); err != nil {
				return fmt.Errorf("the bundle needs up to %d bytes: %w", ar.archive.size, err)
			}
			if ar.encoder != nil {
				sum := binary.LittleEndian.Uint32(f.data[len(f.data)-4:])
				table = append(table, seekEntry{uint32(len(f.data)), uint32(f.plain), sum})
			}
			o.Progress.Advance(phase, int64(f.plain))
			ar.done(f)
		}
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

// receive waits for something that may never come.
func receive[T any](ctx context.Context, c <-chan T) (v T, ok bool, err error) {
	select {
	case v, ok = <-c:
		return v, ok, nil
	case <-ctx.Done():
		return v, false, context.Cause(ctx)
	}
}

// done takes back what was written.
func (ar *archiver) done(f *frameOut) {
	if ar.encoder != nil {
		ar.coded.put(f.data)
	} else {
		ar.plain.put(f.data)
	}
	ar.budget.give(f.run)
}
