package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
)

func blobPath(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// dir gives the folder of the blobs of an algorithm. It is opened once: to go down
// from the root for each of a hundred thousand blobs takes longer than to read
// them.
func (s *Store) dir(a digest.Algorithm, create bool) (disk.Dir, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.dirs[a]; d != nil {
		return d, nil
	}
	name := path.Join(ocispec.ImageBlobsDir, a.String())
	if create {
		if err := s.root.Mkdir(name); err != nil {
			return nil, Errorf(ClassLocal, "%w", err)
		}
	}
	d, err := s.root.OpenDir(name)
	switch {
	case err == nil:
		s.dirs[a] = d
	case create: // it was made above: this is no absent blob
		err = Errorf(ClassLocal, "%w", err)
	}
	return d, err
}

// open opens the file of a blob.
func (s *Store) open(d digest.Digest) (disk.File, fs.FileInfo, error) {
	dir, err := s.dir(d.Algorithm(), false)
	if err != nil {
		return nil, nil, err
	}
	f, err := dir.Open(d.Encoded())
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}

// isSystemError tells a fault of this machine, such as too many open files, from a
// path that leads where it should not, which [os.Root] refuses by itself.
func isSystemError(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ELOOP && errno != syscall.ENOTDIR
}

// Fetch implements [Source].
func (s *Store) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := CheckDescriptor(d); err != nil {
		return nil, err
	}
	f, fi, err := s.open(d.Digest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("layout %s: %s: %w", s.root.Name(), d.Digest, ErrNotFound)
	case isSystemError(err):
		return nil, Errorf(ClassLocal, "layout %s: %w", s.root.Name(), err)
	case err != nil:
		return nil, Errorf(ClassLayout, "layout %s: the blob %s is no file in it: %w", s.root.Name(), d.Digest, err)
	case !fi.Mode().IsRegular():
		err = Errorf(ClassLayout, "layout %s: the blob %s is no regular file in it: remove what is in its place", s.root.Name(), d.Digest)
	case fi.Size() != d.Size:
		err = &CorruptError{Descriptor: d, Read: fi.Size()}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return VerifyReadCloser(f, d), nil
}

// Exists implements [Sink]. A blob whose bytes do not hash to its name does not
// count, and a note says so; Push replaces it. It stays until then: another
// process may just have replaced it, and d may lie about its size.
func (s *Store) Exists(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if err := CheckDescriptor(d); err != nil {
		return false, err
	}
	if s.knownWhole(d) {
		return true, nil
	}
	rc, err := s.Fetch(ctx, d)
	if err == nil {
		_, err = io.Copy(io.Discard, ctxReader{ctx, rc})
		rc.Close()
	}
	var corrupt *CorruptError
	switch {
	case err == nil:
		s.setWhole(d)
		return true, nil
	case isNotFound(err):
		return false, nil
	case errors.As(err, &corrupt):
		s.progress.Note(fmt.Sprintf("the layout's copy does not count and is replaced: %v", corrupt))
		return false, nil
	default:
		return false, err
	}
}

// Glance implements [Glancer].
func (s *Store) Glance(_ context.Context, d ocispec.Descriptor) (bool, error) {
	if err := CheckDescriptor(d); err != nil {
		return false, err
	}
	var fi fs.FileInfo
	dir, err := s.dir(d.Digest.Algorithm(), false)
	if err == nil {
		fi, err = dir.Stat(d.Digest.Encoded(), false)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, Errorf(ClassLocal, "%w", err)
	}
	return fi.Mode().IsRegular() && fi.Size() == d.Size, nil
}

func (s *Store) knownWhole(d ocispec.Descriptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, ok := s.whole[d.Digest]
	return ok && size == d.Size
}

func (s *Store) setWhole(d ocispec.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[d.Digest] = d.Size
}

// copyBufferSize is how much of a blob is moved at a time, in bytes.
const copyBufferSize = 128 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// Push implements [Sink].
func (s *Store) Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	if err := CheckDescriptor(d); err != nil {
		return err
	}
	if s.knownWhole(d) {
		return nil
	}
	if _, err := s.dir(d.Digest.Algorithm(), true); err != nil {
		return err
	}
	f, err := createFile(s.root, lockDir, blobPath(d.Digest), d.Size)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(f, ctxReader{ctx, verified(r, d)}, buf[:]); err != nil {
		return err
	}
	if err := f.commit(s.durable && !disk.CanSyncAll); err != nil {
		return err
	}
	s.setWhole(d)
	return nil
}

// ctxReader ends a long copy when ctx does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
