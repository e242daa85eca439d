//go:build linux || darwin

package layout

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeSpace gives the bytes that a user may still write on the disk of a path, and a
// name for the disk.
func freeSpace(path string) (free int64, disk string, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, "", err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, "", err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), fmt.Sprint(st.Dev), nil //nolint:unconvert // the types differ between systems
}
