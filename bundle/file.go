package bundle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/layout"
)

// FileOptions are the options of [OpenFile]. nil stands for the defaults.
type FileOptions struct {
	// TempDir is where an archive that can't be read at random is unpacked to.
	// "" is the directory for temporary files of the system.
	TempDir string
	// Progress is told before an archive is unpacked, with the bytes that it
	// needs, and of the phase "unpacking".
	Progress layout.Progress
}

// OpenFile opens a bundle or a layout directory by its path. Nothing is written,
// with one exception: an archive in one compressed stream is unpacked to a
// temporary file, which Close removes.
//
// Errors: those of [Open], and [layout.ClassLocal] for a file that can't be
// read or unpacked.
func OpenFile(ctx context.Context, name string, o *FileOptions) (*Reader, error) {
	if o == nil {
		o = &FileOptions{}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	if fi.IsDir() {
		f.Close()
		return OpenLayout(ctx, name)
	}
	if !fi.Mode().IsRegular() {
		f.Close()
		return nil, layout.Errorf(layout.ClassLocal, "%s is no regular file: a pipe can be verified with airdeck verify -", name)
	}
	r, err := Open(f, fi.Size())
	if err == nil {
		r.close = f.Close
		return r, nil
	}
	defer f.Close()
	if !errors.Is(err, layout.ErrNotSeekable) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if r, err = openSpooled(ctx, f, fi.Size(), o); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// openSpooled unpacks an archive to a temporary file and opens that.
func openSpooled(ctx context.Context, f *os.File, size int64, o *FileOptions) (*Reader, error) {
	needs := fmt.Sprintf("at least %d bytes", size)
	known := int64(-1)
	if head := make([]byte, 4); readFull(f, head, 0) == nil {
		if c, err := format(head); err == nil && c == Zstd {
			if _, known, err = scanFrames(f, size); err != nil && !errors.Is(err, layout.ErrNotSeekable) {
				return nil, untrusted(err)
			}
		}
	}
	if known >= 0 {
		needs = fmt.Sprintf("%d bytes", known)
	}
	dir := o.TempDir
	if dir == "" {
		dir = os.TempDir()
	}
	o.Progress.Note(fmt.Sprintf("%s cannot be read at random: it is unpacked to %s, which needs %s", f.Name(), dir, needs))
	temp, err := os.CreateTemp(dir, "airdeck-*.tar")
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	remove := func() error { return errors.Join(temp.Close(), os.Remove(temp.Name())) }
	if runtime.GOOS != "windows" && os.Remove(temp.Name()) == nil {
		remove = temp.Close // nothing is left even by a kill
	}
	r, err := spool(ctx, temp, f, known, o)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	r.close = remove
	return r, nil
}

func spool(ctx context.Context, temp *os.File, f io.Reader, known int64, o *FileOptions) (*Reader, error) {
	const phase = "unpacking"
	plain, closePlain, err := decompress(f)
	if err != nil {
		return nil, untrusted(err)
	}
	defer closePlain()
	o.Progress.Start(phase, known)
	defer o.Progress.Finish(phase)
	buf := make([]byte, 256<<10)
	var n int64
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		k, err := plain.Read(buf)
		if _, werr := temp.Write(buf[:k]); werr != nil {
			return nil, layout.Errorf(layout.ClassLocal, "unpacking needs more room, see --tmpdir: %w", werr)
		}
		n += int64(k)
		o.Progress.Advance(phase, int64(k))
		if err == io.EOF {
			return Open(temp, n)
		}
		if err != nil {
			return nil, untrusted(err)
		}
	}
}

// decompress reads an archive in sequence, whatever its compression. The errors
// of the reader have a class.
func decompress(r io.Reader) (plain io.Reader, closePlain func(), err error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	f, err := format(head)
	if err != nil {
		return nil, nil, err
	}
	src := &errorKeeper{r: br}
	switch f {
	case Zstd:
		dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, layout.Errorf(layout.ClassArchive, "%w", err)
		}
		return &decompressor{dec, src}, dec.Close, nil
	case Gzip:
		gz, err := gzip.NewReader(src)
		if err != nil {
			return nil, nil, layout.Errorf(layout.ClassArchive, "gzip: %w", err)
		}
		return &decompressor{gz, src}, func() {}, nil
	}
	return &decompressor{src, src}, func() {}, nil
}

// errorKeeper remembers what the medium said, to tell it from what the decoder
// makes of it.
type errorKeeper struct {
	r   io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}

type decompressor struct {
	r   io.Reader
	src *errorKeeper
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case d.src.err != nil:
		return n, layout.Errorf(layout.ClassLocal, "%w", d.src.err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, layout.Errorf(layout.ClassTruncated, "the compressed stream ends early: the copy is not complete")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return n, layout.Errorf(layout.ClassLimit, "zstd: %w (the limit is %d)", err, MaxWindow)
	}
	return n, layout.Errorf(layout.ClassArchive, "the compressed stream is damaged: %w", err)
}
