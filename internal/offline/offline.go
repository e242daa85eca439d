// Package offline makes processes that can reach no network, so that a test sees what
// would have reached for one. It is for tests only.
package offline

import "errors"

// ErrRefused says that this system does not do it, or not for us.
var ErrRefused = errors.New("the system refuses it")
