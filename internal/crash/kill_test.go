package crash

import (
	"strconv"
	"testing"
	"time"
)

// task is a command that is struck down and run again on a machine of its own.
type task struct {
	m    *machine
	args []string
	// sound checks what must hold when the command is dead.
	sound func()
	// finished reports whether the command had done all of it before it died, so that it
	// can't be run again.
	finished func() bool
	// remember notes, before the last run, what need not be done once more.
	remember func()
	// done checks what the command has done, when a run of it has ended well. resumed is
	// false where it was not run after remember.
	done func(resumed bool)
}

// kind makes tasks of one command.
type kind struct {
	name  string
	share int // of all kills
	setup func(src *machine) (newTask func(t *testing.T) *task)
}

var kinds = []kind{
	{"pack from a registry", 4, packFromRegistry},
	{"pack of a layout and a bundle", 1, packOfLayout},
	{"pack of decks", 1, packOfDecks},
	{"unpack", 3, unpackTask},
	{"mirror", 3, mirrorTask},
}

// Whenever airdeck is killed, what is there is the old or the new and can be used,
// and the next run does the rest.
func TestKill(t *testing.T) { strikeAll(t, *kills, "killed", (*process).kill) }

// blow ends a process, and reports whether it still ran.
type blow func(p *process) bool

func strikeAll(t *testing.T, n int, name string, strike blow) {
	shares := 0
	for _, k := range kinds {
		shares += k.share
	}
	src := source(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			blows, hits := k.strike(t, src.in(t), (n*k.share+shares-1)/shares, strike)
			tell("%s: %d times %s, of which %d hit a running process", k.name, blows, name, hits)
		})
	}
}

// undisturbed is what a run takes that nobody disturbs.
type undisturbed struct {
	duration time.Duration
	work     int64
}

func measure(j *task) undisturbed {
	before, begin := j.m.work(), time.Now()
	j.m.airdeck(j.args...)
	u := undisturbed{time.Since(begin), j.m.work() - before}
	j.done(false)
	return u
}

// strike strikes until n blows have hit a running process.
func (k *kind) strike(t *testing.T, src *machine, n int, strike blow) (blows, hits int) {
	newTask := k.setup(src)
	u := measure(newTask(t))
	rng := random(t)
	early := 1.0 // gets less while blows come too late
	for round := 0; hits < n; round++ {
		if round > 10+5*n {
			t.Fatalf("of %d blows %d came too late", blows, blows-hits)
		}
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			j := newTask(t)
			base := j.m.work()
			// The first blows of all rounds are spread evenly over the work; those that
			// follow on the same machine come later than the one before.
			at := early * (float64(hits) + rng.Float64()) / float64(n)
			ended := false
			for nth := range 1 + rng.IntN(3) {
				begin, p := time.Now(), j.m.start(j.args...)
				if rng.IntN(2) == 0 {
					time.Sleep(time.Duration(at * float64(u.duration)))
				} else {
					p.until(base + int64(at*float64(u.work)))
				}
				blows++
				if !strike(p) {
					if nth == 0 { // the others have less to do
						u.duration = min(u.duration, time.Since(begin))
					}
					early *= 0.9
					ended = true
					break
				}
				hits++
				early = 1
				j.sound()
				if j.finished() {
					break
				}
				at += rng.Float64() * (1 - at)
			}
			j.finish(ended)
		})
	}
	return blows, hits
}

// finish runs the command to its end.
func (j *task) finish(ended bool) {
	j.m.t.Helper()
	resumed := !ended && !j.finished()
	if resumed {
		j.remember()
		j.m.airdeck(j.args...)
	}
	j.done(resumed)
	j.m.noDebris()
}
