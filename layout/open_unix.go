//go:build unix

package layout

import (
	"os"
	"syscall"
)

// openBlob opens a blob for reading. A fifo in its place must not make it wait for
// a writer.
const openBlob = os.O_RDONLY | syscall.O_NONBLOCK
