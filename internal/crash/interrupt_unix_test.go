//go:build unix

package crash

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Who interrupts airdeck finds nothing left behind, but for the directory that the
// next unpack goes on with.
func TestInterrupt(t *testing.T) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	strikeAll(t, *kills/4, "interrupted", func(p *process) bool {
		p.m.t.Helper()
		// Before it says a word, the system may do with the signal what it likes.
		select {
		case <-p.stderr.first:
		case <-p.ended:
		}
		slices.Reverse(signals)
		_ = p.cmd.Process.Signal(signals[0]) // it may have ended
		if p.wait() == 0 {
			return false
		}
		p.want(130)
		if last := p.stderr.String(); !strings.HasSuffix(last, "\nairdeck: interrupted\n") || strings.Count(last, "airdeck: ") != 1 {
			p.m.t.Errorf("%s: %s", p, last)
		}
		left := slices.DeleteFunc(p.m.debris(), func(name string) bool { return filepath.Base(name) == ".airdeck-partial-dir" })
		if len(left) > 0 {
			p.m.t.Errorf("%s left behind %q", p, left)
		}
		return true
	})
}
