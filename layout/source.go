package layout

import (
	"bytes"
	"context"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source hands out content that is verified while it is read.
//
// Implementations are safe for concurrent use.
type Source interface {
	// Fetch opens the content of a descriptor; its media type and annotations
	// do not matter. The reader gives exactly d.Size bytes that hash to
	// d.Digest and then io.EOF. If it can't, a [*CorruptError] stands in the
	// place of io.EOF, and every later Read gives the same error. The caller
	// closes the reader; as the body of a request it is also closed beside a Read
	// and more than once, and must bear it.
	//
	// Errors: [ErrNotFound] if the source lacks the content, those of
	// [CheckDescriptor], and whatever the medium gives.
	Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
}

// Prober is a [Source] that can tell without a fetch whether it has something for a
// descriptor, or will have: one whose content still arrives would make the fetch
// wait. It is optional. What it has may be damaged: who reads it finds out.
type Prober interface {
	Source
	// Has reports whether there is, or will be, something to fetch.
	//
	// Errors: those of the medium.
	Has(ctx context.Context, d ocispec.Descriptor) (bool, error)
}

// Sink stores content under its digest.
//
// Implementations are safe for concurrent use.
type Sink interface {
	// Exists reports whether the content is there, whole: it is hashed unless
	// this Sink has seen it whole before.
	Exists(ctx context.Context, d ocispec.Descriptor) (bool, error)

	// Push stores the content of r. nil means that the content is stored, not
	// that this call stored it; r may be left unread where the content is known
	// to be there. Content that does not match d is not stored, and the error
	// is a [*CorruptError].
	Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error
}

// Glancer is a [Sink] that can tell without reading it whether it has something for
// a descriptor. It is optional. What it finds may be damaged: who reads it finds
// out.
type Glancer interface {
	Sink
	// Glance reports whether there is something of the size of d under its digest.
	Glance(ctx context.Context, d ocispec.Descriptor) (bool, error)
}

// Storage is a Source and Sink over the same content.
type Storage interface {
	Source
	Sink
}

// ReadAll gives the whole content of a small descriptor, such as a manifest or
// a config. Content over [MaxManifestSize] is refused with [ClassLimit] before
// it is read.
func ReadAll(ctx context.Context, src Source, d ocispec.Descriptor) ([]byte, error) {
	return readInto(ctx, src, d, nil)
}

// readManifest reads and decodes a manifest or an index.
func readManifest(ctx context.Context, src Source, d ocispec.Descriptor) (*Manifest, error) {
	raw, err := ReadAll(ctx, src, d)
	if err != nil {
		return nil, err
	}
	return DecodeManifest(d, raw)
}

// readInto is [ReadAll] into the room that b has. What is allocated at once follows
// the declared size only as far as it is small.
func readInto(ctx context.Context, src Source, d ocispec.Descriptor, b []byte) ([]byte, error) {
	if d.Size > MaxManifestSize {
		return nil, Errorf(ClassLimit, "%s has %d bytes, over the limit of %d for a manifest", d.Digest, d.Size, MaxManifestSize)
	}
	rc, err := src.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	if b == nil {
		b = make([]byte, 0, min(d.Size, 64<<10)+bytes.MinRead)
	}
	buf := bytes.NewBuffer(b[:0])
	_, err = buf.ReadFrom(rc)
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	return buf.Bytes(), err
}

// PushBytes stores b, whose descriptor is d.
func PushBytes(ctx context.Context, dst Sink, d ocispec.Descriptor, b []byte) error {
	return dst.Push(ctx, d, bytes.NewReader(b))
}

// Join makes one source of several. Content comes from the first that has it.
func Join(sources ...Source) Source { return joined(sources) }

type joined []Source

func (j joined) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	for _, src := range j {
		rc, err := src.Fetch(ctx, d)
		if !isNotFound(err) {
			return rc, err
		}
	}
	return nil, fmt.Errorf("%s: %w", d.Digest, ErrNotFound)
}
