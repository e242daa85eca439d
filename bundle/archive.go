package bundle

import (
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
func openTar(c container) (*Reader, error) {
	fresh := func() tarArchive {
		return tarArchive{c: c, cache: &frameCache{c: c}, buffers: make(bufferList, maxBuffers)}
	}
	a := new(tarArchive)
	*a = fresh()
	r := &Reader{content: a}
	if err := a.openCanonical(r); err == nil {
		return r, nil
	}
	*a = fresh()
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
	if a.absent, err = layout.AbsentOf(r.index); err != nil {
		return err
	}
	off := head.off
	if m, err := head.peek(); err == nil && m.name == dockerManifestFile {
		a.docker = m
		a.head = append(a.head, headMember{m.offset, m.size, nil})
		head.pass(m)
		off = head.off
	}
	p, err := newPlan(context.Background(), layout.WithAbsent(head, a.absent), r.index.Manifests)
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

func (a *tarArchive) extent(d digest.Digest) (offset, size int64, ok bool) {
	i, ok := a.find[d]
	if !ok {
		return 0, 0, false
	}
	return a.c.place(a.blobs[i].offset), a.blobs[i].size, true
}

func (a *tarArchive) bytes() int64 { return a.c.size() }

func (a *tarArchive) count() int { return len(a.blobs) }

func (a *tarArchive) dockerManifest() ([]byte, error) {
	if a.docker.name == "" {
		return nil, nil
	}
	return a.readMember(a.docker, MaxDockerManifest)
}
