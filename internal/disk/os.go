package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gofrs/flock"
)

var errNoFile = errors.New("it is no regular file")

// OS is the file systems of this machine.
var OS System = system{}

type system struct{}

func (system) OpenDir(path string, create bool) (Dir, error) {
	if create {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, err
		}
	}
	// Locks are opened by their path, which must outlast a change of directory.
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, err
	}
	return At(root), nil
}

func (system) Open(path string) (File, error) { return opened(os.OpenFile(path, openFlags, 0)) }

func (system) Temp(dir string) (File, error) {
	f, err := os.CreateTemp(dir, "airdeck-*.tar")
	if err != nil {
		return nil, err
	}
	// Where a file needs no name, nothing is left even by a kill.
	if runtime.GOOS != "windows" && os.Remove(f.Name()) == nil {
		return file{f}, nil
	}
	return named{file{f}}, nil
}

// At is an open folder of this machine.
func At(root *os.Root) Dir { return dir{root} }

type dir struct{ *os.Root }

func (d dir) Open(name string) (File, error) { return opened(d.OpenFile(name, openFlags, 0)) }

func (d dir) OpenDir(name string) (Dir, error) {
	root, err := d.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return At(root), nil
}

func (d dir) Stat(name string, follow bool) (fs.FileInfo, error) {
	if follow {
		return d.Root.Stat(name)
	}
	return d.Lstat(name)
}

func (d dir) Create(name string) (File, error) {
	return opened(d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644))
}

func (d dir) Mkdir(name string) error { return d.MkdirAll(name, 0o755) }

func (d dir) Lock(name string, kind LockKind) (io.Closer, bool, error) {
	// The lock is opened by its path, which may be that of a link to somewhere else.
	if fi, err := d.Lstat(name); err == nil && !fi.Mode().IsRegular() && kind != OfFolder {
		return nil, false, &fs.PathError{Op: "lock", Path: name, Err: errNoFile}
	}
	var o []flock.Option
	switch kind {
	case OfFile:
		o = append(o, flock.SetFlag(os.O_RDWR))
	case OfFolder:
		o = append(o, flock.SetFlag(os.O_RDONLY))
	}
	lock := flock.New(filepath.Join(d.Name(), filepath.FromSlash(name)), o...)
	try := lock.TryLock
	if kind == Shared {
		try = lock.TryRLock
	}
	ok, err := try()
	if err != nil || !ok {
		lock.Close()
		return nil, false, err
	}
	return lock, true, nil
}

func (d dir) Sync(name string) error {
	if runtime.GOOS == "windows" {
		return nil // it does that by itself, and can't be asked
	}
	f, err := d.Root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (d dir) SyncAll() error { return syncAll(d.Root) }

type file struct{ *os.File }

func opened(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (f file) Begin(off, n int64) { beginWriting(f.File, off, n) }

// named is a temporary file that still has a name.
type named struct{ file }

func (n named) Close() error {
	err := n.file.Close()
	if rerr := os.Remove(n.Name()); err == nil {
		err = rerr
	}
	return err
}
