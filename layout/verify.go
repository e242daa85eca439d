package layout

import (
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// NewVerifier reads from r what d promises, and nothing else: a mismatch
// replaces io.EOF with a [*CorruptError], and content that is too long fails as
// soon as it is seen. d must have passed [CheckDescriptor].
//
// The last bytes of a blob are handed out before its digest is known, as they
// must be to bound memory. Whoever reads must not act on the content before
// io.EOF.
func NewVerifier(r io.Reader, d ocispec.Descriptor) io.Reader {
	return &verifier{r: r, want: d, hash: d.Digest.Algorithm().Digester()}
}

// VerifyReadCloser is [NewVerifier] for a stream that is to be closed.
func VerifyReadCloser(rc io.ReadCloser, d ocispec.Descriptor) io.ReadCloser {
	return &verifyCloser{verifier{r: rc, want: d, hash: d.Digest.Algorithm().Digester()}, rc}
}

type verifyCloser struct {
	verifier
	io.Closer
}

// verified is r if it verifies what it reads as d already, and [NewVerifier] of it
// otherwise: nothing is hashed twice on its way from a source to a sink.
func verified(r io.Reader, d ocispec.Descriptor) io.Reader {
	if v, ok := r.(*verifyCloser); ok && v.n == 0 && v.want.Digest == d.Digest && v.want.Size == d.Size {
		return r
	}
	return NewVerifier(r, d)
}

type verifier struct {
	r    io.Reader
	want ocispec.Descriptor
	hash digest.Digester
	n    int64
	err  error // sticky: a stream that failed stays failed
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	// Read at most one byte too many: enough to see that there is one.
	if left := v.want.Size - v.n; int64(len(p))-1 > left {
		p = p[:left+1]
	}
	n, err := v.r.Read(p)
	if v.n+int64(n) > v.want.Size {
		v.err = &CorruptError{Descriptor: v.want, Read: v.n + int64(n)}
		return 0, v.err
	}
	v.hash.Hash().Write(p[:n])
	v.n += int64(n)
	switch {
	case err == io.EOF:
		v.err = v.verdict()
	case err != nil:
		v.err = err
	}
	return n, v.err
}

func (v *verifier) verdict() error {
	if v.n != v.want.Size {
		return &CorruptError{Descriptor: v.want, Read: v.n}
	}
	if got := v.hash.Digest(); got != v.want.Digest {
		return &CorruptError{Descriptor: v.want, Read: v.n, Got: got}
	}
	return io.EOF
}
