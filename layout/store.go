package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
)

// LayoutFile is the content of the oci-layout file, byte for byte.
const LayoutFile = `{"imageLayoutVersion":"1.0.0"}`

// SignaturesFile is where the signatures of an index.json stand, beside it.
const SignaturesFile = "index.sigstore.json"

const (
	lockDir   = ".airdeck"
	useLock   = lockDir + "/use.lock"
	indexLock = lockDir + "/index.lock"
)

// Store is an OCI image layout directory, shared by all artifacts and runs. It
// is safe for several goroutines and several processes.
type Store struct {
	root     disk.Dir
	progress Progress
	durable  bool
	use      io.Closer // the lock that is shared while the Store is open; nil if read-only

	mu    sync.Mutex
	whole map[digest.Digest]int64 // sizes of the blobs seen whole by this Store
	dirs  map[digest.Algorithm]disk.Dir
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

	// System is where dir is; nil is this machine.
	System disk.System

	// Progress is told when a damaged blob was found, which Push then replaces.
	Progress Progress
}

// OpenStore opens the layout in dir, and creates it unless it is to be read
// only. The caller closes it.
//
// Errors: [ClassLayout] if dir holds a layout of another version or something
// else, [ErrBusy] if it is to be Exclusive and another process uses it, and
// [ClassLocal] for what this machine can't read or make. While another process has
// it to itself, OpenStore waits.
func OpenStore(ctx context.Context, dir string, o *StoreOptions) (*Store, error) {
	if o == nil {
		o = &StoreOptions{}
	}
	system := o.System
	if system == nil {
		system = disk.OS
	}
	root, err := system.OpenDir(dir, !o.ReadOnly)
	if err != nil {
		return nil, Errorf(ClassLocal, "layout %s: %w", dir, err)
	}
	s := &Store{root: root, progress: o.Progress, durable: o.Durable, whole: map[digest.Digest]int64{}, dirs: map[digest.Algorithm]disk.Dir{}}
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
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case readOnly:
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
	if err := s.root.Mkdir(lockDir); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	fi, err := s.root.Stat(lockDir, false)
	if err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	if !fi.IsDir() {
		return Errorf(ClassLayout, "%s in it is no directory", lockDir)
	}
	if err := s.lockUse(ctx, o.Exclusive); err != nil {
		return err
	}
	if len(b) == 0 {
		// Another process may do the same at this moment, with the same bytes.
		if err := s.writeFile(ocispec.ImageLayoutFile, []byte(LayoutFile)); err != nil {
			return err
		}
	}
	return nil
}

// lockUse marks the layout as used until Close. Who is alone with it takes the
// opportunity to remove what a killed run left.
func (s *Store) lockUse(ctx context.Context, exclusive bool) error {
	use, ok, err := s.root.Lock(useLock, disk.Exclusive)
	if err != nil {
		return Errorf(ClassLocal, "lock: %w", err)
	}
	if exclusive && !ok {
		return Errorf(ClassLocal, "%w", ErrBusy)
	}
	if ok {
		removeDebris(s.root, lockDir, true)
		if exclusive {
			s.use = use
			return nil
		}
		if err := use.Close(); err != nil {
			return Errorf(ClassLocal, "lock: %w", err)
		}
	}
	if s.use, err = disk.Wait(ctx, s.root, useLock, disk.Shared); err != nil {
		return Errorf(ClassLocal, "lock: %w", err)
	}
	return nil
}

// writeFile writes a file of metadata. The temporary is where the next run looks for
// what a killed one has left.
func (s *Store) writeFile(name string, b []byte) error { return writeFile(s.root, lockDir, name, b) }

// checkEmpty keeps a mistyped --layout from filling somebody's home directory.
func (s *Store) checkEmpty() error {
	errOther := Errorf(ClassLayout, "the directory holds other files and no oci-layout: name an empty one or a layout")
	err := eachEntry(s.root, ".", func(e fs.DirEntry) error {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			return nil // another process begins to use the layout
		}
		switch e.Name() {
		case lockDir, ocispec.ImageLayoutFile, ocispec.ImageIndexFile, ocispec.ImageBlobsDir:
			return nil
		}
		return errOther
	})
	if err != nil && err != errOther {
		return Errorf(ClassLocal, "%w", err)
	}
	return err
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

// onlyLayout refuses what is no part of a layout: somebody may have made the directory
// before, to have his own files appear in it.
func (s *Store) onlyLayout() error {
	strange := func(dir, name string) error {
		return Errorf(ClassLocal, "layout %s: %s is no part of it: remove it", s.root.Name(), path.Join(dir, name))
	}
	err := eachEntry(s.root, ".", func(e fs.DirEntry) error {
		switch e.Name() {
		case lockDir, ocispec.ImageLayoutFile, ocispec.ImageIndexFile, SignaturesFile, ocispec.ImageBlobsDir:
			return nil
		}
		return strange(".", e.Name())
	})
	if err != nil {
		return err
	}
	err = eachEntry(s.root, ocispec.ImageBlobsDir, func(alg fs.DirEntry) error {
		if !alg.IsDir() {
			return strange(ocispec.ImageBlobsDir, alg.Name())
		}
		dir := path.Join(ocispec.ImageBlobsDir, alg.Name())
		return eachEntry(s.root, dir, func(b fs.DirEntry) error {
			if CheckDigest(digest.Digest(alg.Name()+":"+b.Name())) != nil || !b.Type().IsRegular() {
				return strange(dir, b.Name())
			}
			return nil
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no blob
	}
	return err
}

// Export ends the use of this directory as a store of airdeck and leaves it as a
// plain layout: index is written as it is, its signatures beside it as
// index.sigstore.json unless they are nil, blobs that it does not lead to go, and so
// do the lock files. The Store can only be closed after that.
func (s *Store) Export(ctx context.Context, index, signatures []byte) error {
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
	if err := s.onlyLayout(); err != nil {
		return err
	}
	if s.durable {
		bring := s.root.SyncAll
		if !disk.CanSyncAll { // each blob was, and what is left is the folder's name
			bring = func() error { return s.root.Sync(ocispec.ImageBlobsDir) }
		}
		if err := bring(); err != nil {
			return Errorf(ClassLocal, "layout %s: %w", s.root.Name(), err)
		}
	}
	if signatures == nil {
		err = s.root.Remove(SignaturesFile) // an interrupted run may have brought it
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = s.writeFile(SignaturesFile, signatures)
	}
	if err != nil {
		return err
	}
	if err := s.writeFile(ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if err := s.use.Close(); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	if err := eachEntry(s.root, lockDir, func(e fs.DirEntry) error { return s.root.Remove(path.Join(lockDir, e.Name())) }); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	if err := s.root.Remove(lockDir); err != nil {
		return Errorf(ClassLocal, "%w", err)
	}
	return nil
}
