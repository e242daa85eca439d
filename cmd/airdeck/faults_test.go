package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// faultsVariable is set for the long forms of the tests of registries that misbehave.
const faultsVariable = "AIRDECK_FAULTS"

// part is how sparsely a test goes through its cases: all of them in the long form, else
// one of so many, and fewer still for the race detector, which makes each ten times as long.
func part(every int) int {
	switch {
	case os.Getenv(faultsVariable) != "":
		return 1
	case testing.Short():
		return 3 * every
	}
	return every
}

// Every command that speaks with registries meets every way in which they misbehave;
// in the short form each meets some, and each way is met. What comes of it is what the
// case says; the command ends, leaves nothing half done and no tag that names something
// incomplete, shows no secret to anybody, and when the fault is gone a second run does
// all of it.
func TestRegistriesThatMisbehave(t *testing.T) {
	t.Parallel()
	site := newFaultSite(t)
	cases, tours := registrytest.Cases(), touringCommands()
	var jobs []func()
	all, meeting := 0, 0
	for n, fault := range cases {
		var meet []touring
		for _, tour := range tours {
			if site.strikes(fault, tour) {
				meet = append(meet, tour)
			}
		}
		if len(meet) == 0 {
			t.Errorf("%s: no command meets it", fault.Name)
		}
		all, meeting = all+len(tours), meeting+len(meet)
		for _, tour := range cellsOf(tours, meet, n) {
			jobs = append(jobs, func() {
				if err := meets(t, site, tour, fault); err != nil {
					t.Errorf("%s: %s: %v", tour.name, fault.Name, err)
				}
			})
		}
	}
	atOnce(faultsAtOnce, jobs)
	t.Logf("%d commands, %d cases, %d cells, in %d of which the fault is met; %d were tried", len(tours), len(cases), all, meeting, len(jobs))
}

// strikes reports whether a command must meet the faults of a case.
func (s *faultSite) strikes(fault registrytest.Case, tour touring) bool {
	return tour.asks.meets(fault.Faults(s.full, registrytest.NewElsewhere("", s.full)))
}

// cellsOf are the commands that meet the n-th case: in the long form all, also those that
// do not meet its faults. In the short form they are one of those that do, in turn, and
// for every other case, without the race detector, what writes bundles or publishes them.
func cellsOf(tours, meet []touring, n int) []touring {
	if os.Getenv(faultsVariable) != "" {
		return tours
	}
	var out []touring
	for i, tour := range meet {
		if i == n%len(meet) || !testing.Short() && n%2 == 0 && (tour.name == "pack" || tour.name == "mirror") {
			out = append(out, tour)
		}
	}
	return out
}

// faultsAtOnce is how many commands run at once, most of which wait.
const faultsAtOnce = 16

func atOnce(n int, jobs []func()) {
	var wg sync.WaitGroup
	queue := make(chan func())
	for range n {
		wg.Go(func() {
			for job := range queue {
				job()
			}
		})
	}
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	wg.Wait()
}

// beside is the registry of one cell.
func (s *faultSite) beside(tour touring, o registrytest.Options) *registrytest.Registry {
	if tour.empty {
		return registrytest.Start(o)
	}
	return s.full.Beside(o)
}

// meets has one command meet one case.
func meets(t *testing.T, site *faultSite, tour touring, fault registrytest.Case) error {
	r := site.beside(tour, siteOptions)
	defer r.Close()
	c := newTouringCell(t, site, r, tour)
	defer c.remove()
	faults := fault.Faults(r, c.elsewhere)
	c.silent = slices.ContainsFunc(faults, registrytest.Fault.Silent)
	r.Fail(faults...)
	want := fault.Want
	if o, ok := fault.But[tour.name]; ok {
		want = o
	}
	got := c.run(append(tour.args(c), "--json"), tour.stdin)
	switch must, met := tour.asks.meets(faults), r.Struck() > 0; {
	case must && !met:
		return errors.New("no request met the fault")
	case met && !must:
		return errors.New("a request met the fault, and the command does not make such requests")
	case !met:
		want = registrytest.Recovers
	}
	err := errors.Join(c.wellSaid(got), c.hunt(got), c.came(tour, got, want, fault.Class))
	if tour.empty {
		err = errors.Join(err, site.complete(r))
	}
	r.Reset()
	return errors.Join(err, c.converges(tour))
}

// converges runs a command once more, without any fault.
func (c *cell) converges(tour touring) error {
	if tour.result != "" {
		if err := os.RemoveAll(c.path(tour.result)); err != nil {
			return err
		}
	}
	got := c.run(tour.args(c), tour.stdin)
	if got.code != exitDone {
		return fmt.Errorf("the second run ends with %d: %s", got.code, got.stderr)
	}
	return errors.Join(c.clean(tour.result, tour.always), tour.right(c))
}

// came compares what came of a command with what the case says.
func (c *cell) came(tour touring, got ran, want registrytest.Outcome, class string) error {
	code := map[registrytest.Outcome]int{registrytest.Fails: exitFailed, registrytest.Partial: exitPartial}[want]
	if got.code != code {
		return fmt.Errorf("exit code %d, and it %s: %s", got.code, want, got.stderr)
	}
	err := c.left(tour, got)
	switch want {
	case registrytest.Recovers:
		err = errors.Join(err, tour.right(c))
	case registrytest.Fails:
		err = errors.Join(err, classed(got.stdout, class))
	}
	return err
}

// left checks the files that a command leaves.
func (c *cell) left(tour touring, got ran) error {
	if got.code == exitDone {
		return c.clean(tour.result, tour.always)
	}
	if tour.always != "" {
		return errors.Join(c.clean(tour.always), c.report())
	}
	return c.clean()
}

// classed checks the one JSON document of a command that failed, and the class in it
// where it failed before it had a result.
func classed(stdout, class string) error {
	var doc json.RawMessage
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil && stdout != "" {
		return fmt.Errorf("standard output is no JSON document: %w: %s", err, stdout)
	}
	var failure struct{ Class string }
	if json.Unmarshal(doc, &failure) != nil || failure.Class == "" || failure.Class == class || failure.Class == string(layout.ClassRemote) {
		return nil
	}
	return fmt.Errorf("it is of the class %s: %s", failure.Class, stdout)
}
