//go:build unix

package vectors_test

import (
	"os"
	"runtime"
	"syscall"
)

// peak gives the most memory that a process had, in bytes.
func peak(s *os.ProcessState) int64 {
	most := s.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return most
	}
	return most << 10
}
