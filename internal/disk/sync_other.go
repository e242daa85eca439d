//go:build !linux

package disk

import (
	"errors"
	"os"
)

// CanSyncAll says that [Keeper.SyncAll] does nothing here.
const CanSyncAll = false

// These systems bring one file at a time to the disk.
func syncAll(*os.Root) error { return errors.ErrUnsupported }

// beginWriting does nothing: these systems can't be told.
func beginWriting(*os.File, int64, int64) {}
