package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LayoutFile is the content of the oci-layout file, byte for byte.
const LayoutFile = `{"imageLayoutVersion":"1.0.0"}`

const (
	lockDir   = ".airdeck"
	useLock   = lockDir + "/use.lock"
	indexLock = lockDir + "/index.lock"
)

// Store is an OCI image layout directory, shared by all artifacts and runs. It
// is safe for several goroutines and several processes.
type Store struct {
	root     *os.Root
	progress Progress
	durable  bool
	use      *flock.Flock // shared while the Store is open; nil if read-only

	mu    sync.Mutex
	whole map[digest.Digest]int64 // sizes of the blobs seen whole by this Store
	dirs  map[digest.Algorithm]*os.Root
}

var (
	_ Storage = (*Store)(nil)
	_ Partial = (*Store)(nil)
	_ Glancer = (*Store)(nil)
)

// StoreOptions are the options of [OpenStore]. nil stands for the defaults.
type StoreOptions struct {
	// ReadOnly opens a layout that any tool may have written, for reading. No
	// lock is taken and nothing is written.
	ReadOnly bool

	// Durable brings the blobs to the disk before Export returns, as a layout
	// needs that is handed to others. In airdeck's own layout a blob that a
	// power cut tore is found by its digest and fetched again.
	Durable bool

	// Exclusive keeps other processes out until Close.
	Exclusive bool

	// Progress is told when a damaged blob was found, which Push then replaces.
	Progress Progress
}

// OpenStore opens the layout in dir, and creates it unless it is to be read
// only. The caller closes it.
//
// Errors: [ClassLayout] if dir holds a layout of another version or something
// else, and [ErrBusy] if it is to be Exclusive and another process uses it. While
// another process has it to itself, OpenStore waits.
func OpenStore(ctx context.Context, dir string, o *StoreOptions) (*Store, error) {
	if o == nil {
		o = &StoreOptions{}
	}
	if !o.ReadOnly {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, Errorf(ClassLocal, "layout %s: %w", dir, err)
		}
	}
	// Lock files are opened by their path, which must outlast a change of directory.
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, Errorf(ClassLocal, "layout %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, Errorf(ClassLocal, "layout %s: %w", dir, err)
	}
	s := &Store{root: root, progress: o.Progress, durable: o.Durable, whole: map[digest.Digest]int64{}, dirs: map[digest.Algorithm]*os.Root{}}
	if err := s.prepare(ctx, o); err != nil {
		s.Close()
		return nil, fmt.Errorf("layout %s: %w", dir, err)
	}
	if o.ReadOnly {
		return s, nil
	}
	// A damaged index is better found before the work than after.
	if _, err := s.Index(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context, o *StoreOptions) error {
	readOnly := o.ReadOnly
	b, err := s.readSmall(ocispec.ImageLayoutFile)
	switch {
	case err == nil:
		if err := CheckLayoutFile(b); err != nil && (readOnly || len(b) > 0) {
			return err
		}
	case readOnly || !errors.Is(err, fs.ErrNotExist):
		return Errorf(ClassLayout, "it is no OCI image layout: %w", err)
	}
	if readOnly {
		return nil
	}
	if len(b) == 0 {
		if err := s.checkEmpty(); err != nil {
			return err
		}
	}
	if err := s.root.MkdirAll(lockDir, 0o755); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	if fi, err := s.root.Lstat(lockDir); err != nil || !fi.IsDir() {
		return Errorf(ClassLayout, "%s in it is no directory", lockDir)
	}
	if err := s.lockUse(ctx, o.Exclusive); err != nil {
		return err
	}
	if len(b) == 0 {
		// Another process may do the same at this moment, with the same bytes.
		if err := WriteFile(s.root, ocispec.ImageLayoutFile, []byte(LayoutFile)); err != nil {
			return err
		}
	}
	return nil
}

// lockUse marks the layout as used until Close. Who is alone with it takes the
// opportunity to remove what a killed run left.
func (s *Store) lockUse(ctx context.Context, exclusive bool) error {
	s.use = flock.New(s.path(useLock))
	ok, err := s.use.TryLock()
	if err != nil {
		return Errorf(ClassLocal, "lock: %w", err)
	}
	if exclusive && !ok {
		return Errorf(ClassLocal, "%w", ErrBusy)
	}
	if ok {
		removeDebris(s.root, lockDir, true)
		if exclusive {
			return nil
		}
		if err := s.use.Unlock(); err != nil {
			return Errorf(ClassLocal, "lock: %w", err)
		}
	}
	if ok, err := s.use.TryRLockContext(ctx, lockPoll); err != nil || !ok {
		return Errorf(ClassLocal, "lock: %w", err)
	}
	return nil
}

// checkEmpty keeps a mistyped --layout from filling somebody's home directory.
func (s *Store) checkEmpty() error {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			continue // another process begins to use the layout
		}
		switch e.Name() {
		case lockDir, ocispec.ImageLayoutFile, ocispec.ImageIndexFile, ocispec.ImageBlobsDir:
		default:
			return Errorf(ClassLayout, "the directory holds other files and no oci-layout: name an empty one or a layout")
		}
	}
	return nil
}

// CheckLayoutFile refuses an oci-layout file of a version that is not 1.0.0.
func CheckLayoutFile(b []byte) error {
	var l ocispec.ImageLayout
	if len(b) > MaxManifestSize {
		return Errorf(ClassLimit, "oci-layout has %d bytes", len(b))
	}
	if err := decodeStrict(b, &l); err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	if l.Version != ocispec.ImageLayoutVersion {
		return Errorf(ClassLayout, "oci-layout has version %q; airdeck reads %s", clip(l.Version), ocispec.ImageLayoutVersion)
	}
	return nil
}

// Close lets go of the directory.
func (s *Store) Close() error {
	if s.use != nil {
		s.use.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dirs {
		d.Close()
	}
	return s.root.Close()
}

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 50 * time.Millisecond

func (s *Store) path(name string) string {
	return s.root.Name() + string(os.PathSeparator) + name
}

// Export ends the use of this directory as a store of airdeck and leaves it as a
// plain layout: index is written as it is, blobs that it does not lead to go, and
// so do the lock files. The Store can only be closed after that.
func (s *Store) Export(ctx context.Context, index []byte) error {
	idx, err := DecodeIndex(index)
	if err != nil {
		return err
	}
	absent, err := AbsentOf(idx)
	if err != nil {
		return err
	}
	needed := map[digest.Digest]struct{}{}
	w := Walker{Source: WithAbsent(s, absent), Visit: func(n Node) error {
		needed[n.Digest] = struct{}{}
		return nil
	}}
	for _, d := range idx.Manifests {
		if err := w.Walk(ctx, d); err != nil {
			return err
		}
	}
	if err := s.sweep(ctx, needed, &Pruned{}); err != nil {
		return err
	}
	if s.durable && canSyncAll {
		if err := syncAll(s.root); err != nil {
			return Errorf(ClassLocal, "layout %s: %w", s.root.Name(), err)
		}
	}
	if err := WriteFile(s.root, ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if err := s.use.Close(); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	if err := s.root.RemoveAll(lockDir); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	return nil
}
