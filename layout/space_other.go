//go:build !linux && !darwin && !windows

package layout

import "errors"

func freeSpace(string) (free int64, disk string, err error) { return 0, "", errors.ErrUnsupported }
