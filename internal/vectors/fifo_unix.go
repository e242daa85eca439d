//go:build unix

package vectors

import "syscall"

func makeFifo(name string) error { return syscall.Mkfifo(name, 0o644) }
