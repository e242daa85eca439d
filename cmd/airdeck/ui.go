package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/airdeck/airdeck/layout"
)

// ui is where a command shows what it does and what came of it.
type ui struct {
	quiet, json bool
	bars        *bars // nil: no terminal
	printed     bool  // the result
}

func newUI(c *cli.Context) *ui {
	u := &ui{quiet: c.Bool("quiet"), json: c.Bool("json")}
	if !u.quiet && term.IsTerminal(int(os.Stderr.Fd())) {
		u.bars = &bars{}
	}
	return u
}

// progress draws events: bars on a terminal, one line a step elsewhere.
func (u *ui) progress() layout.Progress {
	if u.quiet {
		return nil
	}
	if u.bars != nil {
		return u.bars.event
	}
	return func(e layout.Event) {
		switch e.Kind {
		case layout.EventStart:
			if e.Bytes >= 0 {
				fmt.Fprintf(stderr, "%s: %s\n", e.Phase, size(e.Bytes))
			} else {
				fmt.Fprintln(stderr, e.Phase)
			}
		case layout.EventNote:
			fmt.Fprintln(stderr, "note: "+oneLine(e.Text))
		}
	}
}

// bars draws the bar of one phase at a time: of those that run beside each other, the
// one that began first. What the others do is counted, so that theirs begin where
// they are.
type bars struct {
	mu      sync.Mutex
	running []*phase
	bar     *progressbar.ProgressBar // of running[0]; nil where its length is 0
}

// phase is what is known of a step that has begun.
type phase struct {
	name        string
	total, done int64
}

func (b *bars) event(e layout.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.running, func(p *phase) bool { return p.name == e.Phase })
	switch e.Kind {
	case layout.EventStart:
		b.running = append(b.running, &phase{name: e.Phase, total: e.Bytes})
		if len(b.running) == 1 {
			b.draw()
		}
	case layout.EventAdvance:
		if i < 0 {
			return
		}
		b.running[i].done += e.Bytes
		if i == 0 && b.bar != nil {
			_ = b.bar.Add64(e.Bytes)
		}
	case layout.EventFinish:
		if i < 0 {
			return
		}
		b.running = slices.Delete(b.running, i, i+1)
		if i == 0 {
			b.clear()
			b.draw()
		}
	case layout.EventNote:
		if b.bar != nil {
			_ = b.bar.Clear()
		}
		fmt.Fprintln(stderr, "note: "+oneLine(e.Text))
	}
}

func (b *bars) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
		b.bar = nil
	}
}

// draw begins the bar of the phase that is the first now.
func (b *bars) draw() {
	// A bar of zero bytes would be taken for one without an end.
	if len(b.running) == 0 || b.running[0].total == 0 {
		return
	}
	p := b.running[0]
	b.bar = progressbar.NewOptions64(p.total,
		progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(p.name),
		progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(100e6), progressbar.OptionFullWidth(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	if p.done > 0 {
		_ = b.bar.Set64(p.done)
	}
}

// result prints a result: v as JSON where that was asked for, else the text,
// unless the command is to be quiet.
func (u *ui) result(v any, text func(p func(format string, args ...any))) error {
	u.printed = true
	if u.json {
		enc := json.NewEncoder(escaper{stdout})
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	if u.quiet {
		return nil
	}
	w := bufio.NewWriterSize(stdout, 64<<10) // there may be a line for each blob
	text(func(format string, args ...any) {
		fmt.Fprintf(w, format, args...)
		_, _ = w.WriteString("\n") // Flush gives the first error
	})
	return w.Flush()
}

// escaper writes JSON without what could act on a terminal: package json escapes the
// control characters of ASCII and no others. It takes whole values.
type escaper struct{ w io.Writer }

func (e escaper) Write(p []byte) (int, error) {
	if !slices.ContainsFunc(p, func(c byte) bool { return c >= 0x7f }) {
		return e.w.Write(p)
	}
	var b bytes.Buffer
	for rest := p; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, "\\u%04x", u)
			}
		} else {
			b.Write(rest[:n])
		}
		rest = rest[n:]
	}
	if _, err := e.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// failure prints the one JSON document of a command that failed before it had a
// result.
func (u *ui) failure(err error) error {
	if err == nil || !u.json || u.printed {
		return nil
	}
	return u.result(struct {
		Error string       `json:"error"`
		Class layout.Class `json:"class"`
		Exit  int          `json:"exit"`
	}{err.Error(), layout.ClassOf(err), exitCode(err)}, nil)
}

// size prints bytes as people read them.
func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// count prints a number with its noun, whose plural has an s unless it is given.
func count(n int, noun string, plural ...string) string {
	switch {
	case n == 1:
	case len(plural) > 0:
		noun = plural[0]
	default:
		noun += "s"
	}
	return fmt.Sprintf("%s %s", humanize.Comma(int64(n)), noun)
}
