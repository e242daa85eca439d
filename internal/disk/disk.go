// Package disk is all that airdeck asks of file systems. Whatever it writes goes
// through these interfaces, so that tests can have any operation fail, and can
// tell what a power cut would leave.
//
// The contracts are those of package os. Errors are as os gives them, with the
// system's error number inside.
package disk

import (
	"io"
	"io/fs"
)

// System opens things by the path that an operator named.
type System interface {
	// OpenDir opens a folder. Where create is set, it and those above it are made.
	OpenDir(path string, create bool) (Dir, error)
	// Open opens a file for reading. A fifo does not make it wait.
	Open(path string) (File, error)
	// Temp makes a file in the folder of that path, or in the one that the system
	// has for that if it is "". It is gone when it is closed.
	Temp(dir string) (File, error)
}

// Dir is a folder. Names are slash-separated paths below it; none leads out of it,
// not by a symlink either.
type Dir interface {
	Finder
	Changer
	Keeper
	io.Closer
	// Name is the path of the folder, for messages.
	Name() string
}

// Finder looks at what is in a folder.
type Finder interface {
	// Open opens a file or folder for reading. A fifo does not make it wait.
	Open(name string) (File, error)
	// OpenDir opens a folder.
	OpenDir(name string) (Dir, error)
	// Stat tells of a file, or where follow is not set of a symlink itself.
	Stat(name string, follow bool) (fs.FileInfo, error)
}

// Changer changes what is in a folder. No change is on the disk before it is synced.
type Changer interface {
	// Create makes a file that is not there, for reading and writing.
	Create(name string) (File, error)
	// Mkdir makes a folder and those above it, unless they are there.
	Mkdir(name string) error
	// Rename takes the place of what has the new name.
	Rename(from, to string) error
	// Remove removes a file or an empty folder.
	Remove(name string) error
}

// Keeper is about others and about later.
type Keeper interface {
	// Lock takes a lock on a file, without waiting. ok is false where another process
	// holds one that excludes it. Close lets go of it.
	Lock(name string, kind LockKind) (lock io.Closer, ok bool, err error)
	// Sync brings the names in a folder to the disk.
	Sync(name string) error
	// SyncAll brings all that was written below the folder to the disk. Where a system
	// can't, it is [errors.ErrUnsupported].
	SyncAll() error
}

// LockKind says who is excluded, and from what.
type LockKind uint8

// The kinds of locks. Those on a file of lock's own make it.
const (
	Shared    LockKind = iota // excludes Exclusive
	Exclusive                 // excludes all others
	OfFile                    // is Exclusive, on a file that is there
	OfFolder                  // is Exclusive, on a folder; not all systems can
)

// File is an open file, or folder for ReadDir.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
	Stat() (fs.FileInfo, error)
	Chmod(mode fs.FileMode) error
	// ReadDir gives the next n entries of a folder.
	ReadDir(n int) ([]fs.DirEntry, error)
	// Sync brings what was written to the disk, and Begin has the disk begin with a
	// part of it.
	Sync() error
	Begin(off, n int64)
}
