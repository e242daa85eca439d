//go:build !linux

package layout

import (
	"errors"
	"os"
)

// canSyncAll is false: each blob is brought to the disk by itself.
const canSyncAll = false

func syncAll(*os.Root) error { return errors.ErrUnsupported }

// beginWriting does nothing: these systems can't be told.
func beginWriting(*os.File, int64, int64) {}
