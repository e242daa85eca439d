package layout

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"syscall"

	"github.com/airdeck/airdeck/internal/disk"
)

// tempPrefix begins the names of files that are not complete yet. They are
// dotfiles beside their target, so that a rename never crosses a file system.
const tempPrefix = ".airdeck-tmp-"

// File is a file that appears under its name when it is complete, or not at
// all. Everything that airdeck writes to a disk is written through it.
type File struct {
	root disk.Dir
	f    disk.File
	dir  string
	temp string
	name string
	err  error

	early       chan span // what the disk may begin with before the end; nil where it is not told
	written     int64     // bytes
	begun       int64     // bytes that were handed to early
	least, most int64     // bytes that it will have; 0 where that is not known
}

// span is a part of a file.
type span struct{ off, n int64 }

// earlyStep is how much is written before the disk is told to begin with it, in bytes.
const earlyStep = 16 << 20

// CreateFile begins a file of that name, a slash-separated path within root. Its
// folder must exist. The caller ends it with Commit or Close.
func CreateFile(root disk.Dir, name string) (*File, error) {
	return createFile(root, path.Dir(name), name, 0)
}

// createFile has the temporary in another folder of root. size is that which the file
// will have, or 0.
func createFile(root disk.Dir, tempDir, name string, size int64) (_ *File, err error) {
	f := &File{root: root, dir: path.Dir(name), temp: path.Join(tempDir, tempPrefix+rand.Text()), name: name}
	f.Expect(size, size)
	if f.f, err = root.Create(f.temp); err != nil {
		return nil, f.diskError(err)
	}
	return f, nil
}

// Expect notes how many bytes the file will have, for the error that says that the disk is
// full.
func (f *File) Expect(least, most int64) { f.least, f.most = least, most }

// Write implements [io.Writer]. A File that failed stays failed.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.f.Write(p)
	f.written += int64(n)
	if err != nil {
		f.err = f.diskError(err)
	}
	if f.early != nil && f.written-f.begun >= earlyStep {
		select {
		case f.early <- span{f.begun, f.written - f.begun}:
			f.begun = f.written
		default: // the disk is behind: it gets more at once later
		}
	}
	return n, f.err
}

// beginEarly has the disk begin while the file is still written. Otherwise all of a
// large file would wait for Commit.
func (f *File) beginEarly() {
	parts := make(chan span)
	f.early = parts
	go func() {
		for s := range parts {
			f.f.Begin(s.off, s.n)
		}
	}()
}

func (f *File) endEarly() {
	if f.early != nil {
		close(f.early)
		f.early = nil
	}
}

// Commit makes the file appear under its name, in the place of an earlier one,
// and on the disk: after a power cut the name is that of the earlier file or of
// the whole new one.
func (f *File) Commit() error { return f.commit(true) }

// commit without sync leaves the order to the file system. It is for blobs of
// the layout: their names tell whether their bytes are right, and they are
// hashed before they count.
func (f *File) commit(sync bool) error {
	f.endEarly()
	if f.err == nil && sync {
		f.err = f.f.Sync()
	}
	if err := f.f.Close(); f.err == nil {
		f.err = err
	}
	if f.err == nil {
		f.err = f.root.Rename(f.temp, f.name)
	}
	if f.err != nil {
		_ = f.root.Remove(f.temp) // the error that counts is the one before
		return f.diskError(f.err)
	}
	f.err = fs.ErrClosed
	if !sync {
		return nil
	}
	if err := f.root.Sync(f.dir); err != nil {
		return f.diskError(err)
	}
	return nil
}

// Close gives the file up unless it was committed: nothing of it remains, and
// an earlier file of the name is as it was.
func (f *File) Close() error {
	if errors.Is(f.err, fs.ErrClosed) {
		return nil
	}
	f.endEarly()
	f.err = fs.ErrClosed
	f.f.Close()
	return f.root.Remove(f.temp)
}

// WriteFile writes b to a file of that name in root, complete or not at all.
func WriteFile(root disk.Dir, name string, b []byte) error {
	return writeFile(root, path.Dir(name), name, b)
}

func writeFile(root disk.Dir, tempDir, name string, b []byte) error {
	f, err := createFile(root, tempDir, name, int64(len(b)))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Commit()
}

// CreateOutput is [CreateFile] for a file that the operator named. It also
// removes what a killed run left of the same kind in that folder, which may be
// as large as the disk; what a living process writes is kept. The File holds
// the folder open until Commit or Close.
func CreateOutput(name string) (*Output, error) { return CreateOutputOn(disk.OS, name) }

// CreateOutputOn is [CreateOutput] on another system.
func CreateOutputOn(system disk.System, name string) (*Output, error) {
	dir, base := splitPath(name)
	if base == "" {
		return nil, Errorf(ClassLocal, "%q is no file name", name)
	}
	root, err := system.OpenDir(dir, false)
	if err != nil {
		return nil, Errorf(ClassLocal, "write %s: %w", name, err)
	}
	if fi, err := root.Stat(base, true); err == nil && !fi.Mode().IsRegular() {
		root.Close()
		return nil, Errorf(ClassLocal, "write %s: it is there and is not a regular file", name)
	}
	removeDebris(root, ".", false)
	for range 100 {
		f, err := CreateFile(root, base)
		if err != nil {
			root.Close()
			return nil, err
		}
		f.beginEarly()
		o := &Output{File: f, root: root}
		if runtime.GOOS == "windows" {
			return o, nil
		}
		var ok bool
		o.lock, ok, err = root.Lock(f.temp, disk.OfFile)
		if ok && f.inPlace() {
			return o, nil
		}
		// Until it is locked, another run takes the temporary for debris.
		if ok {
			o.lock.Close()
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			root.Close()
			return nil, Errorf(ClassLocal, "write %s: %w", name, err)
		}
	}
	root.Close()
	return nil, Errorf(ClassLocal, "write %s: %w", name, ErrBusy)
}

// inPlace reports whether the temporary is still there under its name.
func (f *File) inPlace() bool {
	mine, err := f.f.Stat()
	if err != nil {
		return false
	}
	named, err := f.root.Stat(f.temp, false)
	return err == nil && os.SameFile(mine, named)
}

// Output is a [File] that holds its folder open.
type Output struct {
	*File
	root disk.Dir
	lock io.Closer // on the temporary, for removeDebris; nil on Windows
}

// Restrict keeps others than the owner from reading the file.
func (o *Output) Restrict() error {
	if err := o.f.Chmod(0o600); err != nil {
		return o.diskError(err)
	}
	return nil
}

// Commit is that of [File].
func (o *Output) Commit() error {
	defer o.release()
	return o.File.Commit()
}

// Close is that of [File].
func (o *Output) Close() error {
	defer o.release()
	return o.File.Close()
}

func (o *Output) release() {
	if o.lock != nil {
		o.lock.Close()
	}
	o.root.Close()
}

func splitPath(name string) (dir, base string) {
	i := strings.LastIndexFunc(name, func(r rune) bool { return r == '/' || r == os.PathSeparator })
	if i < 0 {
		return ".", name
	}
	return name[:i+1], name[i+1:]
}

// removeDebris removes the temporaries in a folder that no living process
// writes, and gives how many bytes that freed. alone says that there is no other
// process. Otherwise a lock tells, which a writer holds on its temporary; Windows
// has no such locks, and there nothing is removed.
func removeDebris(root disk.Dir, dir string, alone bool) (files int, bytes int64) {
	if runtime.GOOS == "windows" && !alone {
		return 0, 0
	}
	_ = eachEntry(root, dir, func(e fs.DirEntry) error { // what can't be listed stays
		if !strings.HasPrefix(e.Name(), tempPrefix) || !e.Type().IsRegular() {
			return nil
		}
		name := path.Join(dir, e.Name())
		if runtime.GOOS != "windows" {
			lock, ok, err := root.Lock(name, disk.OfFile)
			if err != nil || !ok {
				return nil
			}
			defer lock.Close()
		}
		fi, err := e.Info()
		if err == nil && root.Remove(name) == nil {
			files++
			bytes += fi.Size()
		}
		return nil
	})
	return files, bytes
}

// eachEntry shows the entries of a folder, a thousand at a time: there may be a
// million. They may be removed while they are shown.
func eachEntry(root disk.Dir, dir string, show func(fs.DirEntry) error) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if err := show(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// diskError names the remedy where the disk is full, and the bytes that are needed as far
// as that is known.
func (f *File) diskError(err error) error {
	var classed *Error
	if errors.As(err, &classed) {
		return err // it has failed before
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return Errorf(ClassLocal, "write %s: %w", f.name, err)
	}
	done := fmt.Sprintf("%d bytes", f.written)
	switch {
	case f.most > f.least:
		done = fmt.Sprintf("%d of %d to %d bytes", f.written, f.least, f.most)
	case f.most > 0:
		done = fmt.Sprintf("%d of %d bytes", f.written, f.most)
	}
	return Errorf(ClassLocal, "write %s: the disk is full after %s; free some space or choose another disk, and run again: %w", f.name, done, err)
}
