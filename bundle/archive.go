package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// tarArchive is the content of an archive that can be read at random.
type tarArchive struct {
	c     container
	blobs []blobExtent // by offset
	find  map[digest.Digest]int32
	cache *frameCache

	// canonical says that the extents were computed from the index, as the
	// format allows, and not read from headers: check then compares headers.
	canonical bool
	head      []headMember

	docker tarMember // manifest.json; without a name where there is none

	absent layout.Absent // what the index says is left out

	buffers bufferList
}

// headMember is a member that is no blob: where its content is, and what that was
// when the archive was opened. data is nil where it was not read.
type headMember struct {
	offset, size int64
	data         []byte
}

type blobExtent struct {
	digest digest.Digest
	size   int64
	offset int64 // of the content in the uncompressed archive
}

// start is where the header begins.
func (e blobExtent) start() int64 { return e.offset - headerSize(e.digest) }

// errNoLayout is the error for an archive of something else. Some versions of hauler
// leave oci-layout out, and nobody else does.
var errNoLayout = layout.Errorf(layout.ClassLayout, "the archive has no oci-layout and index.json: it is no OCI image layout")

var errOtherOrder = errors.New("the archive has another order than bundles have")

// openTar finds the members of an archive: by the rule of the format where it
// holds, by reading all headers otherwise.
func openTar(c container, trust Trust) (*Reader, error) {
	// What the first way has in its cache, the second has to read as well.
	fresh := tarArchive{c: c, cache: &frameCache{c: c}, buffers: make(bufferList, maxBuffers)}
	a := new(tarArchive)
	*a = fresh
	r := &Reader{content: a}
	var refused error
	ask := func() error {
		refused = trust.ask(r)
		return refused
	}
	if err := a.openCanonical(r, ask); err == nil || refused != nil {
		return r, refused
	}
	*a = fresh
	*r = Reader{content: a}
	if err := a.openScanned(r, ask); err != nil {
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
func (a *tarArchive) openCanonical(r *Reader, trust func() error) error {
	// Who writes other headers may write blobs in another order, too, and where only
	// they differ, nothing here would tell.
	first := appendHeader(nil, ocispec.ImageLayoutFile, int64(len(layout.LayoutFile)))
	found := make([]byte, len(first))
	if _, err := io.ReadFull(&cursor{a: a}, found); err != nil || !bytes.Equal(found, first) {
		return errOtherOrder
	}
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
	if a.absent, err = layout.AbsentOf(r.index); err != nil {
		return err
	}
	off := head.off // looking at a member moves it
	if m, err := head.peek(); err == nil && m.name == layout.SignaturesFile {
		if r.signatures, err = head.metaUpTo(layout.SignaturesFile, MaxSignatures); err != nil {
			return err
		}
		off = head.off
	}
	if err := trust(); err != nil {
		return err
	}
	if m, err := head.peek(); err == nil && m.name == dockerManifestFile {
		a.docker = m
		a.head = append(a.head, headMember{m.offset, m.size, nil})
		head.pass(m)
		off = head.off
	}
	p, err := readPlan(context.Background(), layout.WithAbsent(head, a.absent), r.index.Manifests, a.c.size()-off-endSize)
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
	err  error      // the scanner stays where it failed
}

func (h *headReader) peek() (tarMember, error) {
	if h.err != nil {
		return tarMember{}, h.err
	}
	if h.next == nil {
		m, err := h.scan.next()
		if err != nil {
			h.err = errOtherOrder
			return m, h.err
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
	return h.metaUpTo(name, layout.MaxManifestSize)
}

func (h *headReader) metaUpTo(name string, limit int64) ([]byte, error) {
	m, err := h.peek()
	if err != nil || m.name != name {
		return nil, errOtherOrder
	}
	h.pass(m)
	b, err := h.a.readMember(m, limit)
	h.a.head = append(h.a.head, headMember{m.offset, m.size, b})
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
func (a *tarArchive) openScanned(r *Reader, trust func() error) error {
	head := &cursor{a: a}
	scan := newTarScanner(head)
	var meta struct{ layout, index, signatures *tarMember }
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
		case layout.SignaturesFile:
			meta.signatures = &m
		case dockerManifestFile:
			a.docker = m
		}
		if m.digest != "" {
			a.blobs = append(a.blobs, blobExtent{m.digest, m.size, m.offset})
		} else {
			a.head = append(a.head, headMember{m.offset, m.size, nil})
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
	if meta.index == nil {
		return errNoLayout
	}
	var err error
	if r.raw, err = a.readMember(*meta.index, layout.MaxManifestSize); err != nil {
		return err
	}
	if r.index, err = layout.DecodeIndex(r.raw); err != nil {
		return err
	}
	if meta.layout != nil {
		b, err := a.readMember(*meta.layout, layout.MaxManifestSize)
		if err != nil {
			return err
		}
		if err := layout.CheckLayoutFile(b); err != nil {
			return err
		}
	} else if !layout.WrittenByHauler(r.index.Manifests) {
		return errNoLayout
	}
	if a.absent, err = layout.AbsentOf(r.index); err != nil {
		return err
	}
	if meta.signatures != nil {
		if r.signatures, err = a.readMember(*meta.signatures, MaxSignatures); err != nil {
			return err
		}
	}
	if err := trust(); err != nil {
		return err
	}
	a.find = make(map[digest.Digest]int32, len(a.blobs))
	for i, b := range a.blobs {
		a.find[b.digest] = int32(i)
	}
	return a.checkOrder(r.index.Manifests)
}

// checkOrder walks the manifests, which lie in whatever order, as all that reads them
// does.
//
// Error: [layout.ErrNotSeekable] where that decodes frames again and again, over
// [MaxRereads].
func (a *tarArchive) checkOrder(entries []ocispec.Descriptor) error {
	if a.c.direct() {
		return nil
	}
	most, lost := a.cache.cost()+MaxRereads*a.c.size(), 0
	visit := func(ok bool) error {
		if !ok {
			lost++
		}
		switch {
		case lost > MaxLost:
			return errManyLost
		case a.cache.cost() > most:
			return layout.ErrNotSeekable
		}
		return nil
	}
	w := layout.Walker{
		Source: a,
		Visit:  func(n layout.Node) error { return visit(a.need(n.Descriptor) == nil) },
		Fault:  func(ocispec.Descriptor, error) error { return visit(false) },
	}
	for _, e := range entries {
		if err := w.Walk(context.Background(), e); errors.Is(err, layout.ErrNotSeekable) {
			return err
		} else if err != nil {
			return nil // whoever verifies it comes to the same, and says so
		}
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
		r.own = a.buffers.get()
	}
	return layout.VerifyReadCloser(r, d), nil
}

// Absent implements [layout.Partial].
func (a *tarArchive) Absent() (layout.Absent, error) { return a.absent, nil }

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

func (a *tarArchive) extent(d digest.Digest) (extent, bool) {
	i, ok := a.find[d]
	if !ok {
		return extent{}, false
	}
	e := extent{size: a.blobs[i].size}
	e.from, e.to = a.c.span(a.blobs[i].offset, e.size)
	return e, true
}

func (a *tarArchive) bytes() int64 { return a.c.size() }

func (a *tarArchive) count() int { return len(a.blobs) }

func (a *tarArchive) dockerManifest() ([]byte, error) {
	if a.docker.name == "" {
		return nil, nil
	}
	return a.readMember(a.docker, MaxDockerManifest)
}
