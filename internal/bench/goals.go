package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// row is a goal and what came of it.
type row struct {
	work, got, against, limit string
	ratio, most               float64 // of got to limit; NaN where there is no goal
	timed                     bool    // and so of no meaning in a small run
}

func (r row) met() bool { return math.IsNaN(r.most) || r.ratio <= r.most }

// goals compares what was measured with what issue 4 of the project asks for.
func (s *site) goals() []row {
	var g goalList
	g.site = s
	g.verify()
	g.pack()
	if s.compressible {
		g.compress()
	}
	for _, to := range []string{toLocal, toDocker} {
		g.compare("mirror"+to+", wall", wall, runMirror+to, runPush+to, 1.2)
	}
	g.second()
	g.inspect()
	g.memory()
	g.disk()
	return g.rows
}

type goalList struct {
	*site
	rows []row
}

// compare adds the ratio of two medians.
func (g *goalList) compare(work string, of func(usage) float64, name, limit string, most float64) {
	a, b := g.find(name), g.find(limit)
	if a == nil || b == nil {
		return
	}
	x, y := a.spread(of), b.spread(of)
	g.rows = append(g.rows, row{work, timeText(x), limit, timeText(y), x.median / y.median, most, true})
}

// bound adds a figure that must not be over a number.
func (g *goalList) bound(work string, got float64, against string, limit float64, text func(float64) string) {
	g.rows = append(g.rows, row{work, text(got), against, text(limit), got / limit, 1, false})
}

var noGoal = math.NaN()

func (g *goalList) verify() {
	goal := func(n float64) float64 {
		if g.compressible {
			return noGoal // the files are not decompressed
		}
		return n
	}
	g.compare("verify, CPU", cpu, runVerify, runHash, goal(1.05))
	g.compare("verify, wall", wall, runVerify, runHash, goal(1.0))
}

func (g *goalList) pack() {
	if g.packOnly {
		return
	}
	goal := func(n float64) float64 {
		if g.name == "images" {
			return noGoal // a part of it is compressed, which is another goal's matter
		}
		return n
	}
	g.compare("pack a layout, CPU", cpu, runPack, runCopy, goal(1.3))
	g.compare("pack from a registry, all cached, CPU", cpu, runWarm, runCopy, goal(1.3))
	g.compare("pack a layout, wall", wall, runPack, runWrite, goal(1.1))
	// What two cores can do at best: the same work in a plain program.
	g.compare("(hash and copy, wall)", wall, runCopy, runWrite, noGoal)
	slower := runFetch
	if f, p := g.find(runFetch), g.find(runPack); f != nil && p != nil && p.spread(wall).median > f.spread(wall).median {
		slower = runPack
	}
	g.compare("pack from a registry, wall", wall, runCold, slower, 1.25)
}

func (g *goalList) compress() {
	a, b := g.find(runPack), g.find(runZstd)
	if a == nil || b == nil {
		return
	}
	g.compare("pack what compresses, wall", wall, runPack, runZstd, 1.0)
	g.compare("pack what compresses, CPU", cpu, runPack, runZstd, noGoal)
	g.rows = append(g.rows, row{
		"pack what compresses, size", bytesText(a.size), runZstd, bytesText(b.size), float64(a.size) / float64(b.size), 1.03, true,
	})
}

// second is about mirroring what is there already.
func (g *goalList) second() {
	if g.again == nil {
		return
	}
	all, sent := 0, 0
	for what, n := range g.again {
		all += n
		if !strings.HasPrefix(what, "GET ") && !strings.HasPrefix(what, "HEAD ") {
			sent += n
		}
	}
	t := g.totals
	g.bound("mirror again, requests", float64(all), "2 a manifest, 1 a blob of a repository", float64(2*t.manifests+t.placed), countText)
	g.rows = append(g.rows, row{"mirror again, requests that send", countText(float64(sent)), "none", "0", float64(sent), 0, false})
}

func (g *goalList) inspect() {
	s := g.find(runInspect)
	if s == nil {
		return
	}
	if g.name == "many" || g.name == "large" {
		const most = 500 * time.Millisecond
		c := s.spread(cpu)
		g.rows = append(g.rows, row{"inspect, CPU", timeText(c), "bound", durationText(most), c.median / float64(most), 1, true})
	}
	g.bound("inspect, read", s.spread(read).most, "index, manifests, configs, seek table", float64(g.totals.readByInspect()), sizeText)
}

// readByInspect is what has to be read of a bundle to list it: the index, and the
// frames that begin with manifests or configs; the last may end with other blobs. The
// seek table has an entry for every frame. The Go runtime reads a few files too.
func (t totals) readByInspect() int64 {
	const frame, entry, runtime = 1 << 20, 12, 64 << 10
	index := int64(t.manifests) * 512
	headers := int64(2*t.manifests+4) * 1024
	frames := t.bytes/frame + int64(t.blobs)/512 + 2
	return index + t.head + headers + frame + frames*entry + runtime
}

func (g *goalList) memory() {
	extra := 300 * float64(g.totals.blobs+g.totals.manifests)
	for _, s := range g.all {
		most := 64.0
		switch {
		case len(s.runs) == 0 || !strings.HasPrefix(s.name, "airdeck ") || s.name == runInspect:
			continue
		case strings.HasPrefix(s.name, runPack[:len("airdeck pack")]):
			most = 128
		}
		name := strings.TrimPrefix(s.name, "airdeck ")
		g.bound(name+", memory", s.spread(memory).most, "bound", most*(1<<20)+extra, sizeText)
	}
}

// disk: a request is taken to be at most 512 bytes.
func (g *goalList) disk() {
	const request = 512
	t := g.totals
	if s := g.find(runPack); s != nil {
		g.bound("pack a layout, written", s.spread(wrote).most, "the bundle", float64(s.size)*1.001+4096, sizeText)
	}
	if s := g.find(runCold); s != nil {
		limit := float64(s.size+t.bytes+int64(t.manifests)*512)*1.001 + float64(request*(t.blobs+4*t.manifests+16))
		g.bound("pack from a registry, written", s.spread(wrote).most, "layout, bundle, requests", limit, sizeText)
	}
	for _, name := range []string{runVerify, runInspect, runMirror + toLocal, runMirror + toDocker} {
		if s := g.find(name); s != nil {
			n := s.spread(disk).most
			g.rows = append(g.rows, row{strings.TrimPrefix(name, "airdeck ") + ", written to the disk", sizeText(n), "nothing", "0", n, 0, false})
		}
	}
}

// growth compares a workload with a tenth of it.
func growth(all, tenth *site) []row {
	var out []row
	for _, name := range []string{runPack, runVerify, runMirror + toLocal} {
		a, b := all.find(name), tenth.find(name)
		if a == nil || b == nil {
			continue
		}
		x, y := a.spread(wall), b.spread(wall)
		out = append(out, row{strings.TrimPrefix(name, "airdeck ") + ", growth", timeText(x), "a tenth of the data", timeText(y), x.median / y.median, 11, true})
	}
	return out
}

func timeText(s spread) string {
	t := func(v float64) string { return durationText(time.Duration(v)) }
	if s.least == s.most {
		return t(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", t(s.median), t(s.least), t(s.most))
}

func sizeText(v float64) string { return bytesText(int64(v)) }

func countText(v float64) string { return fmt.Sprintf("%.0f", v) }
