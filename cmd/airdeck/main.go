// Airdeck carries slideshow decks, and any other OCI artifact, across an air gap.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/airdeck/airdeck/layout"
)

// The exit codes. They are documented in exitCodesHelp and in the README.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUntrusted   = 3
	exitPartial     = 4
	exitInterrupted = 130
)

const exitCodesHelp = `EXIT CODES:
   0    done
   1    failed; a second run may succeed
   2    the command line is wrong, or a key or policy that it names
   3    the bundle is not to be trusted, or an artifact by the policy; nothing was packed, unpacked or sent
   4    some artifacts were mirrored and some not, the report says which; or compare found a difference
   130  interrupted
`

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	// Signals are caught to the end: who has done his work is not killed on the way out.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once. Nor is a read waited for that
	// nothing ends, of a terminal or a pipe.
	context.AfterFunc(ctx, func() {
		stop()
		time.AfterFunc(grace, func() { os.Exit(interrupted()) })
	})
	app := newApp()
	args, err := flagsFirst(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		return interrupted()
	}
	fmt.Fprintln(os.Stderr, "airdeck: "+oneLine(err.Error()))
	return exitCode(err)
}

// grace is how long an interrupted command may take to clean up.
const grace = 3 * time.Second

func interrupted() int {
	fmt.Fprintln(os.Stderr, "airdeck: interrupted")
	return exitInterrupted
}

func exitCode(err error) int {
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, layout.ErrUntrusted):
		return exitUntrusted
	case errors.Is(err, layout.ErrPartial), errors.Is(err, layout.ErrDiffers):
		return exitPartial
	}
	return exitFailed
}

// usageError is a mistake in the command line, or in a file that it names.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// oneLine makes text from outside safe for a terminal: one line, and nothing
// that moves the cursor or changes colours.
func oneLine(s string) string {
	if isPlain(s) {
		return s
	}
	s = strings.ReplaceAll(s, "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// isPlain reports whether a text is of printable ASCII, as nearly all are: inspect
// shows a hundred thousand.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
