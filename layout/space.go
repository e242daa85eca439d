package layout

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
)

// Need is room that is needed on the disk of a file or directory.
type Need struct {
	Path  string // it, or the nearest folder above it that is there, tells the disk
	Bytes int64
}

// CheckSpace refuses what the disks have certainly no room for. Needs on one disk
// add up. free is the room on the disk of the first need, and -1 where the system
// does not tell; then nothing is refused.
//
// Error: [ClassLocal] with the bytes needed and free.
func CheckSpace(needs ...Need) (free int64, err error) {
	free = -1
	sums := map[string]int64{}
	for i, n := range needs {
		dir := existing(n.Path)
		avail, disk, err := freeSpace(dir)
		if err != nil {
			continue // not every file system tells
		}
		if i == 0 {
			free = avail
		}
		if sums[disk] += n.Bytes; sums[disk] > avail {
			return free, Errorf(ClassLocal, "%s: the disk has %s free, and %s are needed: free some space or choose another disk",
				n.Path, humanize.IBytes(uint64(avail)), humanize.IBytes(uint64(sums[disk])))
		}
	}
	return free, nil
}

// existing is the nearest folder at or above a path that is there.
func existing(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for {
		if _, err := os.Stat(abs); err == nil || !errors.Is(err, os.ErrNotExist) || filepath.Dir(abs) == abs {
			return abs
		}
		abs = filepath.Dir(abs)
	}
}
