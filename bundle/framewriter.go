package bundle

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// frameWriter cuts the bytes of one run into frames of FrameSize.
type frameWriter struct {
	ar   *archiver
	made madeRun
	left int64  // bytes of the run that are not in buf yet
	buf  []byte // the frame that is being filled
}

// space gives room for the next at most n bytes of the frame. For none, as those of
// an empty blob at the end of a run, no frame is begun: it would never leave.
func (f *frameWriter) space(ctx context.Context, n int64) ([]byte, error) {
	if f.buf == nil && n > 0 {
		if err := f.ar.budget.take(ctx, f.made.index); err != nil {
			return nil, err
		}
		f.buf = f.ar.plain.get()
	}
	n = min(n, FrameSize-int64(len(f.buf)))
	return f.buf[len(f.buf) : len(f.buf)+int(n)], nil
}

// filled takes n bytes of the space as written, and lets the frame go when it is
// full or the run ends.
func (f *frameWriter) filled(ctx context.Context, n int) error {
	f.buf = f.buf[:len(f.buf)+n]
	f.left -= int64(n)
	if len(f.buf) < FrameSize && f.left > 0 || n == 0 {
		return nil
	}
	r := f.ar.archive.runs[f.made.index]
	out := &frameOut{
		run: f.made.index, large: r.size >= int64(r.to-r.from)*rawMember,
		data: f.buf, plain: len(f.buf), ready: make(chan struct{}),
	}
	f.buf = nil
	f.made.frames <- out // there is room for as many as the budget has
	select {
	case f.ar.encode <- out:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *frameWriter) bytes(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		space, err := f.space(ctx, int64(len(b)))
		if err != nil {
			return err
		}
		n := copy(space, b)
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
		space, err := f.space(ctx, left)
		if err != nil {
			return err
		}
		n, err := io.ReadFull(rc, space)
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
