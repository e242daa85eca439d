//go:build unix

package disk

import (
	"os"
	"syscall"
)

// openFlags are those for reading. A fifo must not make it wait for a writer.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK
