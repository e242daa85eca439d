package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// way is one way for a request to go wrong.
type way struct {
	name    string
	fault   registrytest.Fault
	lasting bool // and every one after it
	// believed is set where a command can't tell the lie from the truth.
	believed bool
}

func ways() []way {
	now := map[string]string{"Retry-After": "0"}
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>"))
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	spoil := func(b []byte) []byte {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return b
	}
	return []way{
		{name: "429", fault: registrytest.Fault{Status: 429, Header: now}},
		{name: "500", fault: registrytest.Fault{Status: 500, Header: now}},
		{name: "503", fault: registrytest.Fault{Status: 503}},
		{name: "401", fault: registrytest.Fault{Status: 401}},
		{name: "403", fault: registrytest.Fault{Status: 403, Code: "DENIED"}},
		{name: "404", fault: registrytest.Fault{Status: 404}, believed: true},
		{name: "closed", fault: registrytest.Fault{Drop: true}},
		{name: "reset in the request", fault: registrytest.Fault{CutSend: 50}},
		{name: "reset in the answer", fault: registrytest.Fault{CutBody: 10}},
		{name: "silence", fault: registrytest.Fault{Stall: true}},
		{name: "silence in the request", fault: registrytest.Fault{StallSend: 50}},
		{name: "silence in the answer", fault: registrytest.Fault{StallBody: 10}},
		{name: "half the answer", fault: registrytest.Fault{Body: half}},
		{name: "another answer", fault: registrytest.Fault{Body: spoil}},
		{name: "HTML", fault: registrytest.Fault{Answer: html}},
		{name: "403 from there on", fault: registrytest.Fault{Status: 403, Code: "DENIED"}, lasting: true},
		{name: "503 from there on", fault: registrytest.Fault{Status: 503, Header: now}, lasting: true},
		{name: "closed from there on", fault: registrytest.Fault{Drop: true}, lasting: true},
	}
}

// laxOptions are those of a registry that takes manifests without their blobs, as many
// do: that a tag names nothing incomplete is then the client's doing alone.
func laxOptions() registrytest.Options {
	o := siteOptions
	o.Strict = false
	return o
}

// Whichever request of a run goes wrong, and in whatever way: the command ends, and with
// an error it leaves nothing half done; no tag names something incomplete; a second run
// does all of it. The short form tries some of the requests.
func TestEveryRequest(t *testing.T) {
	t.Parallel()
	site := newFaultSite(t)
	every := part(79)
	var jobs []func()
	var points atomic.Int64
	for _, tour := range touringCommands() {
		if tour.name != "pack" && tour.name != "mirror" {
			continue
		}
		n := site.requests(t, tour)
		for w, way := range ways() {
			for i := (w * 7) % every; i < n; i += every {
				jobs = append(jobs, func() {
					struck, err := site.request(t, tour, way, i)
					if struck {
						points.Add(1)
					}
					if err != nil {
						t.Errorf("%s: request %d: %s: %v", tour.name, i, way.name, err)
					}
				})
			}
		}
		t.Logf("%s: %d requests", tour.name, n)
	}
	atOnce(faultsAtOnce, jobs)
	t.Logf("%d ways, %d cells, %d fault points", len(ways()), len(jobs), points.Load())
	if points.Load() == 0 {
		t.Error("no fault was met")
	}
}

// requests counts the requests of a command that goes well, one at a time.
func (s *faultSite) requests(t *testing.T, tour touring) int {
	t.Helper()
	r := s.beside(tour, laxOptions())
	defer r.Close()
	c := newCell(t, s, r)
	defer c.remove()
	if got := c.run(append(tour.args(c), "--jobs", "1"), ""); got.code != exitDone {
		t.Fatal(got.stderr)
	}
	return len(r.Requests())
}

// request has one request of a command go wrong.
func (s *faultSite) request(t *testing.T, tour touring, w way, i int) (struck bool, err error) {
	r := s.beside(tour, laxOptions())
	defer r.Close()
	c := newCell(t, s, r)
	defer c.remove()
	w.fault.Skip = i
	if !w.lasting {
		w.fault.Times = 1
	}
	c.silent = w.fault.Silent()
	r.Fail(w.fault)
	got := c.run(append(tour.args(c), "--jobs", "1"), "")
	err = errors.Join(c.wellSaid(got), c.hunt(got), c.left(tour, got))
	struck = r.Struck() > 0
	switch {
	case got.code == exitDone && !w.believed:
		err = errors.Join(err, tour.right(c))
	case !struck && got.code != exitDone:
		err = errors.Join(err, fmt.Errorf("it failed without a fault: %s", got.stderr))
	}
	if tour.empty {
		err = errors.Join(err, s.complete(r))
	}
	r.Reset()
	return struck, errors.Join(err, c.converges(tour))
}
