package bundle

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/internal/disk"
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
	// Trust, where it is set, is asked when the index has been read.
	Trust Trust
	// Identities are tried on a file that is encrypted with age. An error of theirs
	// that is a [layout.Error] keeps its class.
	Identities []age.Identity
	// System is where the file is; nil is this machine.
	System disk.System
}

// OpenFile opens a bundle or a layout directory by its path. Nothing is written,
// with one exception: an archive in one compressed stream, or over [MaxRereads], is
// unpacked to a temporary file, which Close removes. If the file is encrypted, so is that.
//
// Errors: those of [Open], where [layout.ErrEncrypted] means that no identity fits, and
// [layout.ClassLocal] for a file that can't be read or unpacked.
func OpenFile(ctx context.Context, name string, o *FileOptions) (*Reader, error) {
	if o == nil {
		o = &FileOptions{}
	}
	system := o.System
	if system == nil {
		system = disk.OS
	}
	f, err := system.Open(name)
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
		return openLayout(ctx, name, system, o.Trust)
	}
	if !fi.Mode().IsRegular() {
		f.Close()
		return nil, layout.Errorf(layout.ClassLocal, "%s is no regular file: a pipe can be verified with airdeck verify -", name)
	}
	r, src, size, err := openAny(f, fi.Size(), o)
	if err == nil {
		r.close = f.Close
		return r, nil
	}
	defer f.Close()
	if !errors.Is(err, layout.ErrNotSeekable) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if r, err = openSpooled(ctx, src, name, size, system, o); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// openAny is [Open] for files that may be encrypted. It also gives what is in them, to be
// read otherwise if it can't be opened.
func openAny(f io.ReaderAt, size int64, o *FileOptions) (*Reader, io.ReaderAt, int64, error) {
	r, err := open(f, size, o.Trust)
	if !errors.Is(err, layout.ErrEncrypted) {
		return r, f, size, err
	}
	d, err := decrypt(f, size, o.Identities)
	if err != nil {
		return nil, f, size, untrusted(err)
	}
	r, err = open(d, d.size, o.Trust)
	return r, d, d.size, err
}

// openSpooled unpacks an archive to a temporary file and opens that.
func openSpooled(ctx context.Context, f io.ReaderAt, name string, size int64, system disk.System, o *FileOptions) (*Reader, error) {
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
	where := cmp.Or(o.TempDir, os.TempDir())
	_, encrypted := f.(*decrypted)
	if encrypted {
		where += ", encrypted again"
	}
	o.Progress.Note(fmt.Sprintf("%s cannot be read at random: it is unpacked to %s, which needs %s", name, where, needs))
	temp, err := system.Temp(o.TempDir)
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	r, err := spool(ctx, temp, io.NewSectionReader(f, 0, size), encrypted, known, needs, o)
	if err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	r.unpacked, r.close = true, temp.Close
	return r, nil
}

func spool(ctx context.Context, temp disk.File, f io.Reader, encrypted bool, known int64, needs string, o *FileOptions) (*Reader, error) {
	const phase = "unpacking"
	var n int64
	noRoom := func(err error) error {
		return layout.Errorf(layout.ClassLocal, "unpacking needs %s of room, see --tmpdir, and had %d: %w", needs, n, err)
	}
	plain, closePlain, err := decompress(f)
	if err != nil {
		return nil, untrusted(err)
	}
	defer closePlain()
	out, err := newScratch(temp, encrypted)
	if err != nil {
		return nil, noRoom(err)
	}
	o.Progress.Start(phase, known)
	defer o.Progress.Finish(phase)
	buf := make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		k, err := plain.Read(buf)
		w, werr := out.Write(buf[:k])
		n += int64(w)
		if werr != nil {
			return nil, noRoom(werr)
		}
		o.Progress.Advance(phase, int64(k))
		if err == io.EOF {
			if err := out.Close(); err != nil {
				return nil, noRoom(err)
			}
			content, err := out.content()
			if err != nil {
				return nil, mediumError(err)
			}
			// Other readers undo one compression, and so does a pipe.
			head := make([]byte, 4)
			if readFull(content, head, 0) == nil && hasCompression(head) {
				return nil, untrusted(layout.Errorf(layout.ClassArchive, "the archive is compressed twice"))
			}
			return open(content, n, o.Trust)
		}
		if err != nil {
			return nil, untrusted(err)
		}
	}
}

func hasCompression(head []byte) bool {
	c, err := format(head)
	return err == nil && c != None
}

// decompress reads an archive in sequence, whatever its compression. The errors
// of the reader have a class.
func decompress(r io.Reader) (plain io.Reader, closePlain func(), err error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, mediumError(err)
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
		switch {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return nil, nil, layout.Errorf(layout.ClassTruncated, "the file ends in its gzip header: the copy is not complete")
		case err != nil:
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

// mediumError gives an error of the medium its class, unless who decrypts has given it
// one.
func mediumError(err error) error {
	if isClassed(err) {
		return err
	}
	return layout.Errorf(layout.ClassLocal, "%w", err)
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
		return n, mediumError(d.src.err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, layout.Errorf(layout.ClassTruncated, "the compressed stream ends early: the copy is not complete")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return n, layout.Errorf(layout.ClassLimit, "zstd: %w (the limit is %d)", err, MaxWindow)
	}
	return n, layout.Errorf(layout.ClassArchive, "the compressed stream is damaged: %w", err)
}
