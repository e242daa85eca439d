package bundle

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/layout"
)

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
	a.checkHead(fault)
	bs := a.batches()
	return parallel(ctx, workers(o.Jobs), len(bs), func(i int) error {
		buf := a.buffers.get()
		defer a.buffers.put(buf)
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

// checkHead compares what is no blob, and the end of a bundle.
func (a *tarArchive) checkHead(fault func(Fault)) {
	var buf chunkBuffer
	check := func(off int64, want []byte) {
		if err := a.compare(off, want, &buf, true); err != nil {
			fault(Fault{Class: layout.ClassOf(err), Message: err.Error()})
		}
	}
	// The headers were accepted when the archive was opened; another writer may
	// have given them other times.
	for _, m := range a.head {
		check(m.offset, m.data)
		check(m.offset+m.size, make([]byte, padding(m.size)))
	}
	if a.canonical {
		check(a.c.size()-endSize, make([]byte, endSize))
	}
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

// compareHeader finds the header that tarScanner would accept at that place, though
// it is not the one that airdeck writes.
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
