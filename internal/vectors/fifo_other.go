//go:build !unix

package vectors

import "errors"

func makeFifo(string) error { return errors.ErrUnsupported }
