package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/layout"
)

// tarArchive is the content of an archive that can be read at random.
type tarArchive struct {
	c     container
	blobs []blobExtent // by offset
	find  map[digest.Digest]int32
	cache frameCache

	// canonical says that the extents were computed from the index, as the
	// format allows, and not read from headers: check then compares headers.
	canonical bool
	head      []headMember

	docker tarMember // manifest.json; without a name where there is none
}

// headMember is what stands before the blobs: where its content is, and what it
// was when the archive was opened.
type headMember struct {
	offset int64
	data   []byte
}

type blobExtent struct {
	digest digest.Digest
	size   int64
	offset int64 // of the content in the uncompressed archive
}

// start is where the header begins.
func (e blobExtent) start() int64 { return e.offset - headerSize(e.digest) }

var errOtherOrder = errors.New("the archive has another order than bundles have")

// openTar finds the members of an archive: by the rule of the format where it
// holds, by reading all headers otherwise.
func openTar(c container) (*Reader, error) {
	a := &tarArchive{c: c}
	a.cache.c = c
	r := &Reader{content: a}
	if err := a.openCanonical(r); err == nil {
		return r, nil
	}
	*a = tarArchive{c: c}
	a.cache.c = c
	if err := a.openScanned(r); err != nil {
		return nil, err
	}
	return r, nil
}

// cursor reads the uncompressed archive in sequence.
type cursor struct {
	a   *tarArchive
	off int64
}

func (c *cursor) Read(p []byte) (int, error) {
	if c.off >= c.a.c.size() {
		return 0, io.EOF
	}
	n, err := c.a.cache.read(p, c.off)
	c.off += int64(n)
	return n, err
}

func (a *tarArchive) readMember(m tarMember, limit int64) ([]byte, error) {
	if m.size > limit {
		return nil, layout.Errorf(layout.ClassLimit, "%s has %d bytes, over the limit of %d", m.name, m.size, limit)
	}
	if m.size > a.c.size()-m.offset {
		return nil, layout.Errorf(layout.ClassTruncated, "the archive ends in %s", m.name)
	}
	b := make([]byte, 0, m.size)
	var buf chunkBuffer
	for int64(len(b)) < m.size {
		// The index has no digest to be checked against, so here the checksum of
		// the frame counts.
		part, err := a.c.chunk(m.offset+int64(len(b)), m.size-int64(len(b)), &buf, true)
		if err != nil {
			return nil, err
		}
		b = append(b, part...)
	}
	return b, nil
}

// openCanonical reads the index and the manifests, each where the format has it,
// and computes from them where everything else must be.
func (a *tarArchive) openCanonical(r *Reader) error {
	head := &headReader{a: a, cursor: cursor{a: a}}
	head.scan = newTarScanner(&head.cursor)
	b, err := head.meta(ocispec.ImageLayoutFile)
	if err != nil || string(b) != layout.LayoutFile {
		return errOtherOrder
	}
	if r.raw, err = head.meta(ocispec.ImageIndexFile); err != nil {
		return err
	}
	if r.index, err = layout.DecodeIndex(r.raw); err != nil {
		return err
	}
	off := head.off
	if m, err := head.peek(); err == nil && m.name == dockerManifestFile {
		a.docker = m
		head.pass(m)
		off = head.off
	}
	p, err := newPlan(context.Background(), head, r.index.Manifests)
	if err != nil {
		return err
	}
	for _, blob := range p.blobs {
		a.blobs = append(a.blobs, blobExtent{blob.digest, blob.size, off + headerSize(blob.digest)})
		if off = saturate(off, memberSize(blob.digest, blob.size)); off >= a.c.size() {
			return errOtherOrder
		}
	}
	if off+endSize != a.c.size() {
		return errOtherOrder
	}
	a.find, a.canonical = p.byDigest, true
	return nil
}

// headReader reads what stands before the configs of an archive in its order, as
// a source of manifests too, and fails where another member stands.
type headReader struct {
	cursor
	a    *tarArchive
	scan *tarScanner
	next *tarMember // that was looked at and not passed
}

func (h *headReader) peek() (tarMember, error) {
	if h.next == nil {
		m, err := h.scan.next()
		if err != nil {
			return m, errOtherOrder
		}
		h.next = &m
	}
	return *h.next, nil
}

func (h *headReader) pass(m tarMember) {
	h.next = nil
	h.off = m.offset + m.size + padding(m.size)
	h.scan.offset = h.off
}

// meta reads a member of the layout itself.
func (h *headReader) meta(name string) ([]byte, error) {
	m, err := h.peek()
	if err != nil || m.name != name {
		return nil, errOtherOrder
	}
	h.pass(m)
	b, err := h.a.readMember(m, layout.MaxManifestSize)
	h.a.head = append(h.a.head, headMember{m.offset, b})
	return b, err
}

// Fetch implements [layout.Source].
func (h *headReader) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	m, err := h.peek()
	if err != nil || m.digest != d.Digest || m.size != d.Size {
		return nil, errOtherOrder
	}
	h.pass(m)
	return layout.VerifyReadCloser(&blobReader{a: h.a, off: m.offset, left: m.size}, d), nil
}

// openScanned reads all headers.
func (a *tarArchive) openScanned(r *Reader) error {
	head := &cursor{a: a}
	scan := newTarScanner(head)
	var meta struct{ layout, index *tarMember }
	for {
		m, err := scan.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch m.name {
		case ocispec.ImageLayoutFile:
			meta.layout = &m
		case ocispec.ImageIndexFile:
			meta.index = &m
		case dockerManifestFile:
			a.docker = m
		}
		if m.digest != "" {
			a.blobs = append(a.blobs, blobExtent{m.digest, m.size, m.offset})
		}
		if m.size > a.c.size()-m.offset-padding(m.size) {
			return layout.Errorf(layout.ClassTruncated, "the archive ends in %s: the copy is not complete", m.name)
		}
		head.off = m.offset + m.size + padding(m.size)
		scan.offset = head.off
	}
	if err := scan.trailing(); err != nil {
		return err
	}
	if meta.layout == nil || meta.index == nil {
		return layout.Errorf(layout.ClassLayout, "the archive has no oci-layout and index.json: it is no OCI image layout")
	}
	b, err := a.readMember(*meta.layout, layout.MaxManifestSize)
	if err != nil {
		return err
	}
	if err := layout.CheckLayoutFile(b); err != nil {
		return err
	}
	if r.raw, err = a.readMember(*meta.index, layout.MaxManifestSize); err != nil {
		return err
	}
	if r.index, err = layout.DecodeIndex(r.raw); err != nil {
		return err
	}
	a.find = make(map[digest.Digest]int32, len(a.blobs))
	for i, b := range a.blobs {
		a.find[b.digest] = int32(i)
	}
	return nil
}

// Fetch implements [layout.Source].
func (a *tarArchive) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := layout.CheckDescriptor(d); err != nil {
		return nil, err
	}
	if err := a.need(d); err != nil {
		return nil, err
	}
	e := a.blobs[a.find[d.Digest]]
	r := &blobReader{a: a, off: e.offset, left: e.size}
	if memberSize(e.digest, e.size) >= LargeMember {
		r.own = chunkBuffers.Get().(*chunkBuffer)
		r.own.reset()
	}
	return layout.VerifyReadCloser(r, d), nil
}

func (a *tarArchive) need(d ocispec.Descriptor) error {
	i, ok := a.find[d.Digest]
	if !ok {
		return fmt.Errorf("blob %s is missing: %w", d.Digest, layout.ErrNotFound)
	}
	if size := a.blobs[i].size; size != d.Size {
		return &layout.CorruptError{Descriptor: d, Read: size}
	}
	return nil
}

func (a *tarArchive) extent(d digest.Digest) (offset, size int64, ok bool) {
	i, ok := a.find[d]
	if !ok {
		return 0, 0, false
	}
	return a.c.place(a.blobs[i].offset), a.blobs[i].size, true
}

func (a *tarArchive) bytes() int64 { return a.c.size() }

func (a *tarArchive) dockerManifest() ([]byte, error) {
	if a.docker.name == "" {
		return nil, nil
	}
	return a.readMember(a.docker, MaxDockerManifest)
}

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
		chunkBuffers.Put(r.own)
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
	recent []*chunkBuffer
}

const cachedFrames = 4

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
	if len(f.recent) < cachedFrames {
		b = new(chunkBuffer)
		f.recent = append(f.recent, nil)
	} else {
		b = f.recent[len(f.recent)-1]
		b.reset()
	}
	copy(f.recent[1:], f.recent)
	f.recent[0] = b
	s, err := f.c.chunk(off, int64(len(p)), b, false)
	return copy(p, s), err
}

// batch is a number of neighbouring blobs that one worker reads in sequence.
type batch struct{ from, to int }

// batches cuts the blobs where reading may begin, so that no frame of a bundle
// is decoded twice.
func (a *tarArchive) batches() []batch {
	var out []batch
	for i := 0; i < len(a.blobs); {
		b := batch{i, i + 1}
		start := a.blobs[i].offset
		for b.to < len(a.blobs) {
			next := a.blobs[b.to].start()
			if a.c.boundary(next) && (a.canonical || next-start >= LargeMember) {
				break
			}
			b.to++
		}
		out = append(out, b)
		i = b.to
	}
	return out
}

// check hashes every blob, each frame being decoded once, and compares every
// header with the one that the format demands.
func (a *tarArchive) check(ctx context.Context, o *VerifyOptions, fault func(Fault)) error {
	if err := a.checkHead(fault); err != nil {
		return err
	}
	bs := a.batches()
	return parallel(ctx, workers(o.Jobs), len(bs), func(i int) error {
		buf := chunkBuffers.Get().(*chunkBuffer)
		buf.reset()
		defer chunkBuffers.Put(buf)
		for j := bs[i].from; j < bs[i].to; j++ {
			e := a.blobs[j]
			if err := a.checkBlob(ctx, e, buf); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				fault(Fault{Class: layout.ClassOf(err), Digest: e.digest, Message: err.Error()})
			}
			o.Progress.Advance(phaseVerifying, memberSize(e.digest, e.size))
		}
		return nil
	})
}

// checkHead compares what stands before the blobs, and the end.
func (a *tarArchive) checkHead(fault func(Fault)) error {
	if !a.canonical {
		return nil
	}
	var buf chunkBuffer
	// The headers were accepted when the archive was opened; another writer may
	// have given them other times.
	for _, m := range a.head {
		padded := append(slices.Clip(m.data), make([]byte, padding(int64(len(m.data))))...)
		if err := a.compare(m.offset, padded, &buf, true); err != nil {
			fault(Fault{Class: layout.ClassOf(err), Message: err.Error()})
		}
	}
	var end [endSize]byte
	if err := a.compare(a.c.size()-endSize, end[:], &buf, true); err != nil {
		fault(Fault{Class: layout.ClassOf(err), Message: err.Error()})
	}
	return nil
}

// compare looks for certain bytes at a place of the archive.
func (a *tarArchive) compare(off int64, want []byte, buf *chunkBuffer, verify bool) error {
	for len(want) > 0 {
		b, err := a.c.chunk(off, int64(len(want)), buf, verify)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, want[:len(b)]) {
			return layout.Errorf(layout.ClassArchive, "the archive has other bytes at offset %d than a bundle has there", off)
		}
		off += int64(len(b))
		want = want[len(b):]
	}
	return nil
}

// compareHeader finds the header that tarScanner would accept at that place: an
// archive of another writer may have the order of a bundle with other times.
func (a *tarArchive) compareHeader(e blobExtent, buf *chunkBuffer) error {
	scan := newTarScanner(&sequence{a: a, off: e.start(), buf: buf})
	scan.offset = e.start()
	m, err := scan.next()
	if err != nil {
		return err
	}
	if m.digest == e.digest && m.size != e.size {
		return &layout.CorruptError{Descriptor: ocispec.Descriptor{Digest: e.digest, Size: e.size}, Read: m.size}
	}
	if m.digest != e.digest || m.size != e.size || m.offset != e.offset {
		return layout.Errorf(layout.ClassArchive, "another member stands at offset %d", e.start())
	}
	return nil
}

// sequence reads the uncompressed archive through a buffer of its own.
type sequence struct {
	a   *tarArchive
	off int64
	buf *chunkBuffer
}

func (s *sequence) Read(p []byte) (int, error) {
	b, err := s.a.c.chunk(s.off, int64(len(p)), s.buf, false)
	n := copy(p, b)
	s.off += int64(n)
	return n, err
}

// checkBlob hashes a blob. The checksum of its frames is left aside: the digest
// tells which of the blobs in a frame is damaged, the checksum does not.
func (a *tarArchive) checkBlob(ctx context.Context, e blobExtent, buf *chunkBuffer) error {
	if a.canonical {
		// The header that airdeck writes is the rule; whatever else says the same is
		// the exception.
		if a.compare(e.start(), appendHeader(nil, blobName(e.digest), e.size), buf, false) != nil {
			if err := a.compareHeader(e, buf); err != nil {
				return fmt.Errorf("header of blob %s: %w", e.digest, err)
			}
		}
	}
	hash := e.digest.Algorithm().Digester()
	for off, end := e.offset, e.offset+e.size; off < end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := a.c.chunk(off, end-off, buf, false)
		if err != nil {
			return fmt.Errorf("blob %s can't be read: %w", e.digest, err)
		}
		hash.Hash().Write(b)
		off += int64(len(b))
	}
	if got := hash.Digest(); got != e.digest {
		return &layout.CorruptError{Descriptor: ocispec.Descriptor{Digest: e.digest, Size: e.size}, Read: e.size, Got: got}
	}
	var zeros [blockSize]byte
	if err := a.compare(e.offset+e.size, zeros[:padding(e.size)], buf, false); err != nil {
		return fmt.Errorf("padding of blob %s: %w", e.digest, err)
	}
	return nil
}

// parallel calls f for 0 to n-1, in order, from a number of goroutines.
func parallel(ctx context.Context, jobs, n int, f func(int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(jobs, n) {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := f(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
