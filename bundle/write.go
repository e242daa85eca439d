package bundle

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/layout"
)

// Compression says how an archive is compressed.
type Compression uint8

// The compressions that a bundle may have.
const (
	Zstd Compression = iota // in frames, for random access
	None
	Gzip // one stream
)

// CompressionFor chooses the compression by the name of the output.
//
// Error: [layout.ClassName] for a name that ends in neither .tar.zst, .tar nor
// .tar.gz.
func CompressionFor(name string) (Compression, error) {
	switch {
	case strings.HasSuffix(name, ".tar.zst"), strings.HasSuffix(name, ".tzst"):
		return Zstd, nil
	case strings.HasSuffix(name, ".tar"):
		return None, nil
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return Gzip, nil
	}
	return 0, layout.Errorf(layout.ClassName, "the name %q does not tell the format: end it in .tar.zst, .tar or .tar.gz", name)
}

// WriteOptions are the options of [Write]. nil stands for the defaults.
type WriteOptions struct {
	Compression Compression
	// Jobs is how many blobs are read and compressed at once. 0 means one for
	// each processor, up to 4. Each takes about 20 MiB.
	Jobs int
	// Progress is told of the phase "writing", in bytes of the archive.
	Progress layout.Progress
}

// Summary says what is in a bundle.
type Summary struct {
	Digest     digest.Digest `json:"digest"`     // of index.json: the bundle's identity
	Artifacts  int           `json:"artifacts"`  // entries of the index
	Blobs      int           `json:"blobs"`      // manifests, configs and layers, each once
	Referenced int64         `json:"referenced"` // bytes if each mention of a blob were a copy
	Unique     int64         `json:"unique"`     // bytes with each blob once
	Written    int64         `json:"written"`    // bytes in the file
}

// Write writes the bundle of an index to w. src must have everything that the
// index leads to. The entries of the index are sorted; the rest of it is written
// as it is given.
//
// Memory is bounded by Jobs, whatever the sizes. After an error, what was
// written to w is of no use.
//
// Errors: those of src and of w, of [layout.Walker], [layout.ClassLimit] for an
// index that is too large, and [layout.ClassSize] for a digest that is listed
// with two sizes.
func Write(ctx context.Context, w io.Writer, src layout.Source, index ocispec.Index, o *WriteOptions) (Summary, error) {
	if o == nil {
		o = &WriteOptions{}
	}
	raw, err := layout.MarshalIndex(index)
	if err != nil {
		return Summary{}, err
	}
	index, err = layout.DecodeIndex(raw)
	if err != nil {
		return Summary{}, err
	}
	p, err := newPlan(ctx, src, index.Manifests)
	if err != nil {
		return Summary{}, err
	}
	out := &counter{w: w}
	if err := writeArchive(ctx, out, src, newArchive(raw, p), o); err != nil {
		return Summary{}, err
	}
	return Summary{
		Digest: digest.FromBytes(raw), Artifacts: len(index.Manifests), Blobs: len(p.blobs),
		Referenced: p.referenced, Unique: p.unique(), Written: out.n,
	}, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// member is what the archive has at one place: metadata with its content, or a
// blob.
type member struct {
	name   string // of metadata
	data   []byte // of metadata
	digest digest.Digest
	size   int64
}

func (m member) path() string {
	if m.name != "" {
		return m.name
	}
	return blobName(m.digest)
}

// archive is the whole sequence of members, cut into runs. Each run is a number
// of frames that hold whole members and nothing else: either small members that
// share one frame, or one large member. Runs can be made and read independently.
type archive struct {
	members []member
	runs    []run
	size    int64 // of the tar, with its end
}

type run struct {
	from, to int   // members
	size     int64 // bytes of the tar
}

func newArchive(index []byte, p *plan) *archive {
	a := &archive{members: make([]member, 0, len(p.blobs)+3)}
	a.members = append(a.members,
		member{name: ocispec.ImageLayoutFile, data: []byte(layout.LayoutFile), size: int64(len(layout.LayoutFile))},
		member{name: ocispec.ImageIndexFile, data: index, size: int64(len(index))})
	if p.docker != nil {
		a.members = append(a.members, member{name: dockerManifestFile, data: p.docker, size: int64(len(p.docker))})
	}
	for _, b := range p.blobs {
		a.members = append(a.members, member{digest: b.digest, size: b.size})
	}
	meta := len(a.members) - len(p.blobs)
	open := run{}
	cut := func(i int) {
		if open.to > open.from {
			a.runs = append(a.runs, open)
		}
		open = run{from: i, to: i}
	}
	for i, m := range a.members {
		n := memberSize(m.digest, m.size)
		section := i > meta && p.blobs[i-meta].kind != p.blobs[i-meta-1].kind
		if section || open.size+n > LargeMember {
			cut(i)
		}
		open.to, open.size = i+1, open.size+n
		a.size += n
		if n >= LargeMember {
			cut(i + 1)
		}
	}
	cut(len(a.members))
	// The end is a run without members.
	a.runs = append(a.runs, run{from: len(a.members), to: len(a.members), size: endSize})
	a.size += endSize
	return a
}

// workers is how many goroutines share the work. More than a few only wait for
// the medium, and each holds a frame.
func workers(jobs int) int {
	if jobs > 0 {
		return jobs
	}
	return min(runtime.GOMAXPROCS(0), 6)
}

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
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(jobs), zstd.WithWindowSize(FrameSize), zstd.WithLowerEncoderMem(true))
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
		gz = gzip.NewWriter(w)
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
