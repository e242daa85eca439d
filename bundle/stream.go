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

// VerifyStream verifies a bundle in one pass over a pipe, in any compression. It
// writes nothing and holds no blob in memory.
//
// In a bundle that airdeck wrote, the manifests come before all else and are
// held while they are needed. Of archives in another order, all that may be a
// manifest is held until the index has come, up to [MaxRetained].
//
// The results are those of [Reader.Verify], but for the places in the file,
// which a pipe does not have. The seek table is not read, and a frame whose
// checksum is wrong ends the pipe.
func VerifyStream(ctx context.Context, r io.Reader, o *VerifyOptions) (*Report, error) {
	if o == nil {
		o = &VerifyOptions{}
	}
	plain, closePlain, err := decompress(r)
	if err != nil {
		return nil, untrusted(err)
	}
	defer closePlain()
	s := &streamed{sizes: map[digest.Digest]int64{}, held: map[digest.Digest][]byte{}}
	o.Progress.Start(phaseVerifying, -1)
	err = s.read(ctx, plain, o)
	o.Progress.Finish(phaseVerifying)
	if err != nil && (s.index == nil || ctx.Err() != nil || layout.ClassOf(err) == layout.ClassLocal) {
		return nil, untrusted(err)
	}
	// With the index at hand, it can be told what the damage touches.
	s.broken = err
	rd := &Reader{raw: s.index, content: s}
	if rd.index, err = layout.DecodeIndex(s.index); err != nil {
		return nil, untrusted(err)
	}
	if s.absent, err = layout.AbsentOf(rd.index); err != nil {
		return nil, untrusted(err)
	}
	_, rep, err := rd.Verify(ctx, &VerifyOptions{Expect: o.Expect})
	return rep, err
}

// streamed is what is known of a bundle after its pipe has ended: the blobs that
// were there, those that were damaged, and the manifests themselves.
type streamed struct {
	index  []byte
	sizes  map[digest.Digest]int64
	held   map[digest.Digest][]byte
	total  int64 // bytes held
	faults []Fault
	docker []byte // manifest.json
	broken error  // what ended the pipe early
	absent layout.Absent

	// manifests are those that the index and the manifests before name. nil while
	// there is no index.
	manifests map[digest.Digest]bool
	types     map[digest.Digest]string // media types of these
}

func (s *streamed) read(ctx context.Context, r io.Reader, o *VerifyOptions) error {
	scan := newTarScanner(r)
	versioned := false
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := scan.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		content := io.LimitReader(r, m.size)
		switch {
		case m.digest != "":
			err = s.blob(m, content)
		case m.name == dockerManifestFile:
			if m.size > MaxDockerManifest {
				return layout.Errorf(layout.ClassLimit, "%s has %d bytes, over the limit of %d", m.name, m.size, MaxDockerManifest)
			}
			s.docker, err = io.ReadAll(content)
		case m.name == ocispec.ImageLayoutFile || m.name == ocispec.ImageIndexFile:
			if m.size > layout.MaxManifestSize {
				return layout.Errorf(layout.ClassLimit, "%s has %d bytes, over the limit of %d", m.name, m.size, layout.MaxManifestSize)
			}
			var b []byte
			if b, err = io.ReadAll(content); err != nil {
				break
			}
			if m.name == ocispec.ImageIndexFile {
				s.index = b
				err = s.expectManifests()
			} else {
				versioned = true
				err = layout.CheckLayoutFile(b)
			}
		}
		if err == nil {
			_, err = io.Copy(io.Discard, content)
		}
		if err == nil {
			err = skipPadding(r, padding(m.size))
		}
		if errors.Is(err, io.EOF) {
			err = layout.Errorf(layout.ClassTruncated, "the archive ends in %s: the copy is not complete", m.name)
		}
		if err != nil {
			return err
		}
		scan.offset += m.size + padding(m.size)
		o.Progress.Advance(phaseVerifying, memberSize(m.digest, m.size))
	}
	if err := scan.trailing(); err != nil {
		return err
	}
	if s.index == nil {
		return errNoLayout
	}
	if idx, err := layout.DecodeIndex(s.index); err == nil && !versioned && !layout.WrittenByHauler(idx.Manifests) {
		return errNoLayout
	}
	return nil
}

// blob hashes one blob, and holds it if it may be a manifest.
func (s *streamed) blob(m tarMember, r io.Reader) error {
	d := ocispec.Descriptor{Digest: m.digest, Size: m.size}
	src := layout.NewVerifier(r, d)
	var head [1]byte
	n, err := io.ReadFull(src, head[:])
	switch {
	case err == nil && s.mayBeManifest(m, head[0]):
		if s.total += m.size; s.total > MaxRetained {
			return layout.Errorf(layout.ClassLimit, "the archive has more than %d bytes of manifests, which is too much for a pipe: verify it from a file", MaxRetained)
		}
		b := bytes.NewBuffer(head[:n:n])
		_, err = b.ReadFrom(src)
		s.held[m.digest] = b.Bytes()
		s.expectChildren(m.digest)
	case err == nil:
		_, err = io.Copy(io.Discard, src)
	case err == io.EOF:
		err = nil
	}
	var corrupt *layout.CorruptError
	if err == nil || errors.As(err, &corrupt) && corrupt.Got != "" {
		s.sizes[m.digest] = m.size
	}
	if err != nil {
		delete(s.held, m.digest)
	}
	if errors.As(err, &corrupt) && corrupt.Got != "" {
		s.faults = append(s.faults, Fault{Class: corrupt.Class(), Digest: m.digest, Size: m.size, Message: corrupt.Error()})
		return nil
	}
	if errors.As(err, &corrupt) {
		return io.EOF // the pipe ended in the blob
	}
	return err
}

// mayBeManifest reports whether a blob has to be held. Before the index has come,
// any JSON object may be a manifest.
func (s *streamed) mayBeManifest(m tarMember, first byte) bool {
	return first == '{' && m.size <= layout.MaxManifestSize && (s.manifests == nil || s.manifests[m.digest])
}

func (s *streamed) expectManifests() error {
	idx, err := layout.DecodeIndex(s.index)
	if err != nil {
		return err
	}
	if len(s.sizes) > 0 {
		return nil // blobs have come before: the archive has another order
	}
	s.manifests = map[digest.Digest]bool{}
	s.types = map[digest.Digest]string{}
	s.expect(idx.Manifests)
	return nil
}

func (s *streamed) expect(list []ocispec.Descriptor) {
	for _, d := range list {
		if layout.IsManifest(d.MediaType) {
			s.manifests[d.Digest] = true
			s.types[d.Digest] = d.MediaType
		}
	}
}

// expectChildren lists the manifests that an index among the manifests names. In
// a bundle they come after it.
func (s *streamed) expectChildren(d digest.Digest) {
	if s.manifests == nil || !layout.IsIndex(s.types[d]) {
		return
	}
	raw := s.held[d]
	m, err := layout.DecodeManifest(ocispec.Descriptor{MediaType: s.types[d], Digest: d, Size: int64(len(raw))}, raw)
	if err == nil { // otherwise the walk will say what is wrong
		s.expect(m.Manifests)
	}
}

// Fetch implements [layout.Source] for the manifests that are held.
func (s *streamed) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := s.need(d); err != nil {
		return nil, err
	}
	b, ok := s.held[d.Digest]
	if !ok {
		return nil, layout.Errorf(layout.ClassJSON, "manifest %s is no JSON object, or damaged", d.Digest)
	}
	return layout.VerifyReadCloser(io.NopCloser(bytes.NewReader(b)), d), nil
}

// Absent implements [layout.Partial].
func (s *streamed) Absent() (layout.Absent, error) { return s.absent, nil }

func (s *streamed) need(d ocispec.Descriptor) error {
	size, ok := s.sizes[d.Digest]
	if !ok && s.broken != nil {
		return layout.Errorf(layout.ClassOf(s.broken), "blob %s was not reached", d.Digest)
	}
	if !ok {
		return fmt.Errorf("blob %s is missing: %w", d.Digest, layout.ErrNotFound)
	}
	if size != d.Size {
		return &layout.CorruptError{Descriptor: d, Read: size}
	}
	return nil
}

func (s *streamed) check(_ context.Context, _ *VerifyOptions, fault func(Fault)) error {
	if s.broken != nil {
		fault(Fault{Class: layout.ClassOf(s.broken), Message: s.broken.Error()})
	}
	for _, f := range s.faults {
		fault(f)
	}
	return nil
}

func (s *streamed) extent(digest.Digest) (offset, size int64, ok bool) { return 0, 0, false }

func (s *streamed) bytes() int64 { return 0 }

func (s *streamed) count() int { return len(s.sizes) }

func (s *streamed) dockerManifest() ([]byte, error) { return s.docker, nil }

// skipPadding reads zeros.
func skipPadding(r io.Reader, n int64) error {
	var pad [blockSize]byte
	if _, err := io.ReadFull(r, pad[:n]); err != nil {
		if err == io.ErrUnexpectedEOF {
			return io.EOF
		}
		return err
	}
	if pad != ([blockSize]byte{}) {
		return layout.Errorf(layout.ClassArchive, "the padding of a member is not of zeros")
	}
	return nil
}
