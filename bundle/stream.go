package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unique"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// VerifyStream verifies a bundle in one pass over a pipe, in any compression, and
// decrypts one that is encrypted. It writes nothing and holds no blob in memory.
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
	r, err := decryptStream(r, o.Identities)
	if err != nil {
		return nil, untrusted(err)
	}
	plain, closePlain, err := decompress(r)
	if err != nil {
		return nil, untrusted(err)
	}
	defer closePlain()
	s := &streamed{sizes: map[digest.Digest]int64{}, held: map[digest.Digest][]byte{}, faulty: map[digest.Digest]int{}}
	if o.HoldSignatures {
		s.signing = map[digest.Digest]bool{}
	}
	o.Progress.Start(phaseVerifying, -1)
	err = s.read(ctx, plain, o)
	o.Progress.Finish(phaseVerifying)
	if s.refused != nil {
		return nil, untrusted(s.refused)
	}
	if err != nil && (s.index == nil || ctx.Err() != nil || layout.ClassOf(err) == layout.ClassLocal) {
		return nil, untrusted(err)
	}
	// With the index at hand, it can be told what the damage touches.
	s.broken = err
	rd := &Reader{raw: s.index, content: s}
	if rd.index, err = layout.DecodeIndex(s.index); err != nil {
		return nil, untrusted(err)
	}
	faults := newFaultList()
	if s.broken != nil { // first: more may be missing for it than is told
		faults.add(Fault{Class: layout.ClassOf(s.broken), Message: s.broken.Error()})
	}
	_, rep, err := rd.verify(ctx, &VerifyOptions{Expect: o.Expect}, faults)
	if err == nil && o.Check != nil {
		err = o.Check(ctx, s, rd.index.Manifests)
	}
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
	faulty map[digest.Digest]int // by blob: its place among the faults
	docker []byte                // manifest.json

	signatures []byte // index.sigstore.json
	asked      bool   // whether the bundle is trusted
	refused    error  // it is not
	broken     error  // what ended the pipe early
	absent     layout.Absent

	// manifests are those that the index and the manifests before name. nil while
	// there is no index.
	manifests map[digest.Digest]string // by digest, their media types
	pending   map[digest.Digest]bool   // those that have not come
	crowded   bool                     // something was not held for lack of room
	tags      map[digest.Digest]bool   // manifests under tags of cosign's, whose layers are signatures
	signing   map[digest.Digest]bool   // layers of what may be signatures; nil where nobody will ask
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
			// In a bundle the signatures have come before.
			if s.manifests != nil {
				err = s.ask(o.Trust)
			}
			if err == nil {
				err = s.blob(m, content)
			}
		case m.name == layout.SignaturesFile:
			s.signatures, err = readWhole(content, m, MaxSignatures)
		case m.name == dockerManifestFile:
			s.docker, err = readWhole(content, m, MaxDockerManifest)
			s.total += int64(len(s.docker)) // it is held like a manifest
		case m.name == ocispec.ImageLayoutFile || m.name == ocispec.ImageIndexFile:
			var b []byte
			if b, err = readWhole(content, m, layout.MaxManifestSize); err != nil {
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
	if err := s.ask(o.Trust); err != nil {
		return err
	}
	if versioned {
		return nil
	}
	if idx, err := layout.DecodeIndex(s.index); err == nil && !layout.WrittenByHauler(idx.Manifests) {
		return errNoLayout
	}
	return nil
}

// ask asks once whether the bundle is trusted.
func (s *streamed) ask(trust Trust) error {
	if !s.asked {
		s.asked = true
		s.refused = trust.ask(&Reader{raw: s.index, signatures: s.signatures})
	}
	return s.refused
}

// blob hashes one blob, and holds it if it may be a manifest.
func (s *streamed) blob(m tarMember, r io.Reader) error {
	delete(s.pending, m.digest)
	d := ocispec.Descriptor{Digest: m.digest, Size: m.size}
	src := layout.NewVerifier(r, d)
	var head [1]byte
	n, err := io.ReadFull(src, head[:])
	switch {
	case (err == nil && head[0] == '{' || s.signing[m.digest]) && s.mayBeManifest(m):
		if s.total += m.size; s.total > MaxRetained {
			return layout.Errorf(layout.ClassLimit, "the archive has more than %d bytes of manifests, which is too much for a pipe: verify it from a file", MaxRetained)
		}
		b := bytes.NewBuffer(head[:n:n])
		_, err = b.ReadFrom(src)
		s.held[m.digest] = bytes.Clone(b.Bytes()) // without the room that is left
		if lerr := s.expectChildren(m.digest); err == nil {
			err = lerr
		}
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
		if len(s.faults) == MaxLost {
			return errManyLost
		}
		s.faulty[m.digest] = len(s.faults)
		s.faults = append(s.faults, Fault{Class: corrupt.Class(), Digest: m.digest, Size: m.size, Message: corrupt.Error()})
		return nil
	}
	if errors.As(err, &corrupt) {
		return io.EOF // the pipe ended in the blob
	}
	return err
}

// mayBeManifest reports whether a JSON object has to be held. Before the index has
// come, any may be a manifest, and while one is still to come, any may be its child:
// tar packs a folder in an order that is not that of a bundle.
func (s *streamed) mayBeManifest(m tarMember) bool {
	switch {
	case m.size > layout.MaxManifestSize:
		return false
	case s.manifests == nil || s.manifests[m.digest] != "":
		return true
	case !s.signing[m.digest] && len(s.pending) == 0:
		return false
	case s.total+m.size > MaxRetained:
		s.crowded = true
		return false
	}
	return true
}

func (s *streamed) expectManifests() error {
	idx, err := layout.DecodeIndex(s.index)
	if err != nil {
		return err
	}
	if s.absent, err = layout.AbsentOf(idx); err != nil {
		return err
	}
	if len(s.sizes) > 0 {
		return nil // blobs have come before: the archive has another order
	}
	s.manifests, s.pending, s.tags = map[digest.Digest]string{}, map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, e := range idx.Manifests {
		if layout.IsCosignTag(e) {
			s.tags[e.Digest] = true
		}
	}
	return s.expect(idx.Manifests, nil)
}

// expect notes that manifests are to come.
//
// Error: [layout.ClassLimit] for more than can be missing.
func (s *streamed) expect(list []ocispec.Descriptor, absent layout.Absent) error {
	for _, d := range list {
		if _, out := absent[d.Digest]; out || !layout.IsManifest(d.MediaType) || s.manifests[d.Digest] != "" {
			continue
		}
		s.manifests[d.Digest] = unique.Make(d.MediaType).Value() // there are few
		if _, came := s.sizes[d.Digest]; came {
			if err := s.expectChildren(d.Digest); err != nil {
				return err
			}
			continue
		}
		if len(s.pending) == MaxPending {
			return layout.Errorf(layout.ClassLimit, "the archive lists more than %d manifests before they come, which is too much for a pipe: verify it from a file", MaxPending)
		}
		s.pending[d.Digest] = true
	}
	return nil
}

// expectChildren lists the manifests that an index among the manifests names, and the
// layers of what refers to others. In a bundle they come after it.
func (s *streamed) expectChildren(d digest.Digest) error {
	raw, held := s.held[d]
	mediaType := s.manifests[d]
	refers := s.signing != nil && (s.tags[d] || bytes.Contains(raw, []byte(`"subject"`)))
	if !held || !layout.IsIndex(mediaType) && !refers {
		return nil
	}
	m, err := layout.DecodeManifest(ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}, raw)
	if err != nil {
		return nil // the walk will say what is wrong
	}
	if refers && (s.tags[d] || m.Subject != nil) {
		for _, l := range m.Layers {
			if len(s.signing) == MaxPending {
				s.crowded = true
				break
			}
			s.signing[l.Digest] = true
		}
	}
	return s.expect(m.Manifests, s.absent)
}

// Fetch implements [layout.Source] for the manifests that are held.
func (s *streamed) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := s.need(d); err != nil {
		return nil, err
	}
	if i, ok := s.faulty[d.Digest]; ok {
		return nil, layout.Errorf(s.faults[i].Class, "%s", s.faults[i].Message)
	}
	b, ok := s.held[d.Digest]
	if !ok && s.crowded {
		return nil, layout.Errorf(layout.ClassLimit, "manifest %s was not held: the archive has too much before its manifests for a pipe: verify it from a file", d.Digest)
	}
	if !ok {
		return nil, layout.Errorf(layout.ClassJSON, "manifest %s is no JSON object", d.Digest)
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
	for _, f := range s.faults {
		fault(f)
	}
	return nil
}

func (s *streamed) extent(digest.Digest) (extent, bool) { return extent{}, false }

func (s *streamed) bytes() int64 { return 0 }

func (s *streamed) count() int { return len(s.sizes) }

func (s *streamed) dockerManifest() ([]byte, error) { return s.docker, nil }

// readWhole reads a member of at most limit bytes. It gives io.EOF where the pipe ends
// in it, so that its beginning is not taken for the whole.
func readWhole(r io.Reader, m tarMember, limit int64) ([]byte, error) {
	if m.size > limit {
		return nil, layout.Errorf(layout.ClassLimit, "%s has %d bytes, over the limit of %d", m.name, m.size, limit)
	}
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) < m.size {
		err = io.EOF
	}
	return b, err
}

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
