// Package disktest has disks that fail: at the n-th operation, in the middle of a
// write, when they are full, or by a power cut.
package disktest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/airdeck/airdeck/internal/disk"
)

// Faulty is this machine, of which operations fail. The zero value fails nothing, and
// counts. Nothing is brought to the disk: where no power is cut that takes time and
// shows nothing.
type Faulty struct {
	N     int   // the operation that fails, from 1
	After bool  // all after it fail too
	Short bool  // a write that fails has written half
	Full  bool  // there is Room, and no more
	Room  int64 // bytes that can still be written; a name takes one

	mu  sync.Mutex
	ops int
}

// Ops is how many operations there were.
func (f *Faulty) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// op counts an operation, and fails it if it is its turn.
func (f *Faulty) op() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	if f.N > 0 && (f.ops == f.N || f.After && f.ops > f.N) {
		return syscall.EIO
	}
	return nil
}

// room takes up to n bytes of the room that is left.
func (f *Faulty) room(n int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.Full {
		return n, nil
	}
	if int64(n) > f.Room {
		n = int(f.Room)
		f.Room = 0
		return n, syscall.ENOSPC
	}
	f.Room -= int64(n)
	return n, nil
}

// change counts an operation that needs room for a name.
func (f *Faulty) change() error {
	if err := f.op(); err != nil {
		return err
	}
	_, err := f.room(1)
	return err
}

// OpenDir implements [disk.System].
func (f *Faulty) OpenDir(path string, create bool) (disk.Dir, error) {
	err := f.op()
	if _, serr := os.Stat(path); err == nil && create && errors.Is(serr, fs.ErrNotExist) {
		_, err = f.room(1)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f.dir(disk.OS.OpenDir(path, create))
}

// Open implements [disk.System].
func (f *Faulty) Open(path string) (disk.File, error) {
	if err := f.op(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f.file(disk.OS.Open(path))
}

// Temp implements [disk.System].
func (f *Faulty) Temp(dir string) (disk.File, error) {
	if err := f.change(); err != nil {
		return nil, &fs.PathError{Op: "create", Path: dir, Err: err}
	}
	return f.file(disk.OS.Temp(dir))
}

func (f *Faulty) dir(d disk.Dir, err error) (disk.Dir, error) {
	if err != nil {
		return nil, err
	}
	return &faultyDir{d, f}, nil
}

func (f *Faulty) file(file disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

type faultyDir struct {
	disk.Dir
	f *Faulty
}

func (d *faultyDir) Open(name string) (disk.File, error) {
	if err := d.f.op(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return d.f.file(d.Dir.Open(name))
}

func (d *faultyDir) OpenDir(name string) (disk.Dir, error) {
	if err := d.f.op(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return d.f.dir(d.Dir.OpenDir(name))
}

func (d *faultyDir) Stat(name string, follow bool) (fs.FileInfo, error) {
	if err := d.f.op(); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return d.Dir.Stat(name, follow)
}

func (d *faultyDir) Create(name string) (disk.File, error) {
	if err := d.f.change(); err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return d.f.file(d.Dir.Create(name))
}

func (d *faultyDir) Mkdir(name string) error {
	if err := d.f.change(); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return d.Dir.Mkdir(name)
}

func (d *faultyDir) Rename(from, to string) error {
	if err := d.f.change(); err != nil {
		return &fs.PathError{Op: "rename", Path: from, Err: err}
	}
	return d.Dir.Rename(from, to)
}

func (d *faultyDir) Remove(name string) error {
	if err := d.f.op(); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return d.Dir.Remove(name)
}

func (d *faultyDir) Lock(name string, kind disk.LockKind) (io.Closer, bool, error) {
	if err := d.f.op(); err != nil {
		return nil, false, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	if _, err := d.Dir.Stat(name, false); errors.Is(err, fs.ErrNotExist) && (kind == disk.Shared || kind == disk.Exclusive) {
		if _, err := d.f.room(1); err != nil { // the lock makes its file
			return nil, false, &fs.PathError{Op: "lock", Path: name, Err: err}
		}
	}
	lock, ok, err := d.Dir.Lock(name, kind)
	if err != nil || !ok {
		return nil, ok, err
	}
	return &faultyCloser{lock, d.f}, true, nil
}

func (d *faultyDir) Close() error { return d.f.close(d.Dir) }

type faultyCloser struct {
	io.Closer
	f *Faulty
}

func (c *faultyCloser) Close() error { return c.f.close(c.Closer) }

// close closes in every case: what fails is what the caller is told.
func (f *Faulty) close(c io.Closer) error {
	failed := f.op()
	if err := c.Close(); err != nil {
		return err
	}
	return failed
}

func (d *faultyDir) Sync(name string) error {
	if err := d.f.op(); err != nil {
		return &fs.PathError{Op: "sync", Path: name, Err: err}
	}
	return nil
}

func (d *faultyDir) SyncAll() error {
	if err := d.f.op(); err != nil {
		return &fs.PathError{Op: "sync", Path: d.Name(), Err: err}
	}
	return nil
}

type faultyFile struct {
	disk.File
	f *Faulty
}

// Begin implements [disk.File].
func (f *faultyFile) Begin(int64, int64) {}

func (f *faultyFile) Read(p []byte) (int, error) {
	if err := f.f.op(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.f.op(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) Write(p []byte) (int, error) {
	failed := f.f.op()
	if failed != nil && !f.f.Short {
		return 0, failed
	}
	if failed != nil {
		p = p[:len(p)/2]
	}
	room, full := f.f.room(len(p))
	n, err := f.File.Write(p[:room])
	switch {
	case err != nil:
		return n, err
	case failed != nil:
		return n, failed
	}
	return n, full
}

func (f *faultyFile) Stat() (fs.FileInfo, error) {
	if err := f.f.op(); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *faultyFile) Chmod(mode fs.FileMode) error {
	if err := f.f.op(); err != nil {
		return err
	}
	return f.File.Chmod(mode)
}

func (f *faultyFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if err := f.f.op(); err != nil {
		return nil, err
	}
	entries, err := f.File.ReadDir(n)
	for i, e := range entries {
		entries[i] = &faultyEntry{e, f.f}
	}
	return entries, err
}

// faultyEntry asks the disk once more for what it tells.
type faultyEntry struct {
	fs.DirEntry
	f *Faulty
}

func (e *faultyEntry) Info() (fs.FileInfo, error) {
	if err := e.f.op(); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: e.Name(), Err: err}
	}
	return e.DirEntry.Info()
}

func (f *faultyFile) Sync() error {
	if err := f.f.op(); err != nil {
		return err
	}
	return nil
}

func (f *faultyFile) Close() error { return f.f.close(f.File) }
