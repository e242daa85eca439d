package layout

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// freeSpace gives the bytes that a user may still write on the disk of a path, and a
// name for the disk.
func freeSpace(path string) (free int64, disk string, err error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, "", err
	}
	var avail uint64
	if err := windows.GetDiskFreeSpaceEx(p, &avail, nil, nil); err != nil {
		return 0, "", err
	}
	return int64(min(avail, 1<<62)), filepath.VolumeName(path), nil
}
