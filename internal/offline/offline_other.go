//go:build !linux

package offline

import "os/exec"

// KillSockets is not done on this system.
func KillSockets() error { return ErrRefused }

// KillDatagrams is not done on this system.
func KillDatagrams() error { return ErrRefused }

// Isolate does nothing on this system.
func Isolate(*exec.Cmd) {}

// Loopback is not done on this system.
func Loopback() error { return ErrRefused }
