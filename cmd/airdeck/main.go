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
   2    the command line is wrong
   3    the bundle is not to be trusted; nothing was sent
   4    some artifacts were mirrored and some not; the report says which
   130  interrupted
`

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := newApp()
	err := app.RunContext(ctx, flagsFirst(app, args))
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "airdeck: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "airdeck: "+oneLine(err.Error()))
	return exitCode(err)
}

func exitCode(err error) int {
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, layout.ErrUntrusted):
		return exitUntrusted
	case errors.Is(err, layout.ErrPartial):
		return exitPartial
	}
	return exitFailed
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// oneLine makes text from outside safe for a terminal: one line, and nothing
// that moves the cursor or changes colours.
func oneLine(s string) string {
	s = strings.ReplaceAll(s, "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
