package main

import (
	_ "embed"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// report is what the bench prints, in Markdown.
type report struct {
	small  bool
	head   string
	rows   []row
	tables strings.Builder
}

func newReport(b *bench) *report {
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	facts := append([]string{fmt.Sprintf("%d cores", runtime.NumCPU())}, machine()...)
	facts = append(facts, runtime.Version())
	var h strings.Builder
	fmt.Fprintf(&h, "# Benchmarks\n\nMade by `make bench` of commit %s on %s: %s.\n", strings.TrimSpace(string(commit)), time.Now().UTC().Format(time.DateOnly), strings.Join(facts, ", "))
	fmt.Fprintf(&h, "Every figure is the median of %d runs, with the least and the most. Contenders take turns, with their\ninput in the page cache. Ratios are of medians of the same run. ", b.runs)
	h.WriteString("`go doc ./internal/bench` says what the\nplain programs do.\n")
	if b.small {
		h.WriteString("\n**A small run: it shows that the bench works. Starting the programs is most of what it\nmeasures, and only what is exact has a verdict.**\n")
	}
	return &report{small: b.small, head: h.String()}
}

// add adds the tables of a workload, and of its growth where that was measured.
func (r *report) add(s, tenth *site) {
	t := s.totals
	title := s.title
	if r.small {
		title = "About a hundredth of: " + title
	}
	fmt.Fprintf(&r.tables, "\n## %s\n\n%s. Blobs: %s, manifests: %s, in all %s.\n\n", s.name, title,
		humanize.Comma(int64(t.blobs)), humanize.Comma(int64(t.manifests)), bytesText(t.bytes))
	rows := s.goals()
	if tenth != nil {
		rows = append(rows, growth(s, tenth)...)
	}
	for i, x := range rows {
		if x.timed && r.small {
			rows[i].most = noGoal
		}
		if !math.IsNaN(rows[i].most) {
			x.work = s.name + ": " + x.work
			r.rows = append(r.rows, x)
		}
	}
	r.goals(rows)
	r.usages(s)
	if tenth != nil {
		r.tables.WriteString("\nA tenth of it:\n\n")
		r.usages(tenth)
	}
}

func (r *report) goals(rows []row) {
	p := func(format string, args ...any) { fmt.Fprintf(&r.tables, format+"\n", args...) }
	p("| goal | airdeck | against | limit | ratio | at most | |")
	p("|---|--:|---|--:|--:|--:|---|")
	for _, x := range rows {
		most, verdict := "", ""
		if !math.IsNaN(x.most) {
			most = fmt.Sprintf("%.4g", x.most)
			verdict = "**missed**"
			if x.met() {
				verdict = "met"
			}
		}
		p("| %s | %s | %s | %s | %s | %s | %s |", cell(x.work), x.got, cell(x.against), x.limit, ratioText(x), most, verdict)
	}
	p("")
}

// ratioText is empty where the limit is nothing.
func ratioText(x row) string {
	if x.most == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", x.ratio)
}

func (r *report) usages(s *site) {
	p := func(format string, args ...any) { fmt.Fprintf(&r.tables, format+"\n", args...) }
	p("| program | wall | CPU | peak memory | read | written | to disk | its output |")
	p("|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, c := range s.all {
		if c.skipped != "" {
			why, _, _ := strings.Cut(c.skipped, "\n")
			p("| %s | %s | | | | | | |", cell(c.name), cell(shorten(why)))
			continue
		}
		size := ""
		if c.size > 0 {
			size = bytesText(c.size)
		}
		p("| %s | %s | %s | %s | %s | %s | %s | %s |", cell(c.name), timeText(c.spread(wall)), timeText(c.spread(cpu)),
			sizeText(c.spread(memory).most), sizeText(c.spread(read).median), sizeText(c.spread(wrote).median), sizeText(c.spread(disk).median), size)
	}
	p("")
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// missed lists the goals that were not met.
func (r *report) missed() []string {
	var out []string
	for _, x := range r.rows {
		if !x.met() {
			out = append(out, fmt.Sprintf("%s: %s against %s (%s)", x.work, x.got, x.limit, x.against))
		}
	}
	return out
}

func (r *report) text() string {
	missed := r.missed()
	sum := fmt.Sprintf("\n%d of %d goals are met.\n", len(r.rows)-len(missed), len(r.rows))
	if len(missed) > 0 {
		sum += "\nMissed:\n\n- " + strings.Join(missed, "\n- ") + "\n"
	}
	if !r.small {
		sum += "\n" + why
	}
	return r.head + sum + r.tables.String()
}

// why explains what is missed, as far as is known.
//
//go:embed missed.md
var why string
