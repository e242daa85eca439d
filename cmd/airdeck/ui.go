package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

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
		u.bars = &bars{shown: map[string]*progressbar.ProgressBar{}}
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

// bars draws one bar for each phase that is running.
type bars struct {
	mu    sync.Mutex
	shown map[string]*progressbar.ProgressBar
}

func (b *bars) event(e layout.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bar := b.shown[e.Phase]
	switch e.Kind {
	case layout.EventStart:
		// A bar of zero bytes would be taken for one without an end.
		if e.Bytes == 0 {
			return
		}
		b.shown[e.Phase] = progressbar.NewOptions64(e.Bytes,
			progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(e.Phase),
			progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionShowCount(),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionThrottle(100e6), progressbar.OptionFullWidth(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	case layout.EventAdvance:
		if bar != nil {
			_ = bar.Add64(e.Bytes)
		}
	case layout.EventFinish:
		if bar != nil {
			_ = bar.Clear()
			delete(b.shown, e.Phase)
		}
	case layout.EventNote:
		for _, bar := range b.shown {
			_ = bar.Clear()
		}
		fmt.Fprintln(stderr, "note: "+oneLine(e.Text))
	}
}

// result prints a result: v as JSON where that was asked for, else the text,
// unless the command is to be quiet.
func (u *ui) result(v any, text func(p func(format string, args ...any))) error {
	u.printed = true
	if u.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	if u.quiet {
		return nil
	}
	var b strings.Builder
	text(func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) })
	_, err := fmt.Fprint(stdout, b.String())
	return err
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
