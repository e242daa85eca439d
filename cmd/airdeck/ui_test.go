package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/layout"
)

// Of two phases that run beside each other the first has the bar, and the second
// gets it when the first has ended, with what it has done meanwhile.
func TestBarsOneAtATime(t *testing.T) {
	var out bytes.Buffer
	defer func(w io.Writer) { stderr = w }(stderr)
	stderr = &out
	p := layout.Progress((&bars{}).event)
	p.Start("fetching", 100)
	p.Start("writing", 2<<20)
	p.Advance("writing", 1<<20)
	if s := out.String(); strings.Contains(s, "writing") {
		t.Errorf("two bars at once: %q", s)
	}
	p.Advance("fetching", 100)
	p.Finish("fetching")
	if s := out.String(); !strings.Contains(s, "1.0/2.0 MiB") {
		t.Errorf("the second bar is not where it should be: %q", s)
	}
	p.Finish("writing")
	p.Note("done")
	if !strings.HasSuffix(out.String(), "note: done\n") {
		t.Errorf("%q", out.String())
	}
}
