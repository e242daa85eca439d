package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// CanSyncAll says that [Keeper.SyncAll] does something here.
const CanSyncAll = true

// syncAll brings all that was written below root to the disk, and what else is on
// the same: a hundred thousand blobs one by one take a minute.
func syncAll(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	err = unix.Syncfs(int(d.Fd()))
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// beginWriting has the disk begin with a part of a file. It is no promise: Sync is.
func beginWriting(f *os.File, off, n int64) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE) })
}
