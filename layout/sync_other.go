//go:build !linux

package layout

import (
	"errors"
	"os"
)

// canSyncAll is false: each blob is brought to the disk by itself.
const canSyncAll = false

func syncAll(*os.Root) error { return errors.ErrUnsupported }
