package crash

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// packing is one of several packs into the layout of a machine: some artifacts of a
// registry, and a deck of its own.
type packing struct {
	out, deck string
	refs      []string
}

func (p packing) args() []string { return append([]string{"pack", "-o", p.out, p.deck}, p.refs...) }

// overlapping makes packings each of which shares blobs with others.
func overlapping(m *machine, s *site, n int) []packing {
	all := references(s)
	var out []packing
	for i := range n {
		dir := fmt.Sprintf("deck-%d", i)
		writeDeck(m.t, m.path(dir), byte(2*i), 4, 50_000)
		out = append(out, packing{
			fmt.Sprintf("%d.tar.zst", i), fmt.Sprintf("%s/deck.yaml=localhost/%s:v1", dir, dir),
			[]string{all[i%len(all)], all[(i+1)%len(all)]},
		})
	}
	return out
}

// listed are the names in the layout.
func (m *machine) listed() []string {
	m.t.Helper()
	var entries []struct{ Reference, Kind string }
	if err := json.Unmarshal([]byte(m.airdeck("list", "--json")), &entries); err != nil {
		m.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.Contains(e.Kind, "damaged") {
			m.t.Errorf("%s is %s", e.Reference, e.Kind)
		}
		if e.Reference != "" {
			names = append(names, e.Reference)
		}
	}
	return names
}

// packedWell checks what came of packings: each is a bundle that a pack on its own
// gives as well, for which nothing has to be fetched again.
func (m *machine) packedWell(s *site, packings []packing) {
	m.t.Helper()
	s.Reset()
	for _, p := range packings {
		m.airdeck("verify", p.out)
		before := m.digest(p.out)
		m.airdeck(p.args()...)
		if after := m.digest(p.out); after != before {
			m.t.Errorf("%s was %s, and is %s when it is packed alone", p.out, before, after)
		}
	}
	if f := s.fetched(); len(f) > 0 {
		m.t.Errorf("fetched once more: %q", f)
	}
	m.layoutIsSound()
	m.noDebris()
}

// Eight packs into one layout lose nothing.
func TestPacksSideBySide(t *testing.T) {
	src := source(t)
	site := src.fill("talks.tar.zst", false)
	m := newMachine(t, site)
	packings := overlapping(m, site, 8)
	var running []*process
	for _, p := range packings {
		running = append(running, m.start(p.args()...))
	}
	want := map[string]bool{}
	for i, p := range packings {
		running[i].want(0)
		_, name, _ := strings.Cut(p.deck, "=")
		for _, name := range append(p.refs, name) {
			want[name] = true
		}
	}
	if got := m.listed(); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the layout lists %q, want %q", got, slices.Sorted(maps.Keys(want)))
	}
	for d := range talks().Blobs {
		if !m.wholeBlobs("layout")[d] {
			t.Errorf("the layout lacks %s", d)
		}
	}
	m.packedWell(site, packings)
}

// Prune beside packs says that the layout is in use, or removes what nothing needs. It
// does both, and the packs lose nothing.
func TestPruneBesidePacks(t *testing.T) {
	src := source(t)
	site := src.fill("talks.tar.zst", false)
	m := newMachine(t, site)
	packings := overlapping(m, site, 8)
	writeLayout(t, m.path("layout"), talks()) // blobs that nothing needs, once their names are forgotten
	m.airdeck(append([]string{"prune"}, m.listed()...)...)

	pruned, busy, more := 0, 0, 0
	var running []*process
	for waiting := packings; len(waiting)+len(running) > 0 || pruned == 0 || busy == 0; {
		if len(waiting)+len(running) == 0 { // only one of the two was seen as yet
			if more++; more > 100 {
				t.Fatalf("pruned %d times beside a pack, in use %d times", pruned, busy)
			}
			waiting = packings[:1]
		}
		// Who begins first comes first, most often: pack waits for prune, and prune does
		// not wait for pack.
		prune := m.start("prune", "--quiet")
		if len(running) < 2 && len(waiting) > 0 {
			running, waiting = append(running, m.start(waiting[0].args()...)), waiting[1:]
		}
		code := prune.wait()
		running = slices.DeleteFunc(running, func(p *process) bool {
			select {
			case <-p.ended:
				p.want(0)
				return true
			default:
				return false
			}
		})
		switch {
		case code != 0:
			prune.failedBy("in use by another process")
			busy++
		case len(running) > 0: // it has begun before prune ended, and has not ended
			pruned++
		}
	}
	t.Logf("pruned %d times beside a pack, in use %d times", pruned, busy)
	m.airdeck("prune")
	m.packedWell(site, packings)
}

// Of several that unpack to one directory one does, and the others leave it alone,
// whenever they begin.
func TestUnpacksSideBySide(t *testing.T) {
	src := source(t)
	begin := time.Now()
	src.airdeck("unpack", "talks.tar.zst", "unpacked")
	alone, want := time.Since(begin), src.tree("unpacked")
	rng := random(t)
	for range 1 + *kills/6 {
		m := newMachine(t)
		var running []*process
		for range 8 {
			running = append(running, m.start("unpack", "--quiet", src.path("talks.tar.zst"), "dir"))
			if len(running) >= 4 {
				time.Sleep(time.Duration(rng.Int64N(int64(alone / 4))))
			}
		}
		won := 0
		for _, p := range running {
			if p.wait() == 0 {
				won++
			} else {
				p.failedBy("dir")
			}
		}
		if won != 1 {
			t.Errorf("%d say that they have unpacked it", won)
		}
		m.sameTree("dir", want)
		m.noDebris()
	}
}

// Two mirrors to one registry complete each other.
func TestMirrorsSideBySide(t *testing.T) {
	src := source(t)
	want := src.fill("talks.tar.zst", false).artifacts(t)
	site := startSite(t, false)
	one, other := src.start("mirror", "talks.tar.zst", site.host), src.start("mirror", "talks.tar.zst", site.host)
	one.want(0)
	other.want(0)
	if got := site.artifacts(t); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the registry has\n%v, want\n%v", got, want)
	}
}

// Of packs that write one file the file is one, and whole.
func TestOneOutputForAll(t *testing.T) {
	src := source(t)
	m := newMachine(t)
	packs := [][]string{
		{"pack", "oci:" + src.path("talks"), "-o"},
		{"pack", src.path("early/deck.yaml"), "-o"},
	}
	whole := map[digest.Digest]bool{}
	for i, p := range packs {
		name := fmt.Sprintf("alone-%d.tar.zst", i)
		m.airdeck(append(p, name)...)
		whole[m.digest(name)] = true
	}
	for range 4 {
		var running []*process
		for _, p := range slices.Concat(packs, packs) {
			running = append(running, m.start(append(p, "out.tar.zst")...))
		}
		for _, p := range running {
			p.want(0)
			if d := m.digest("out.tar.zst"); !whole[d] {
				t.Errorf("the file is %s, want one of %v", d, whole)
			}
		}
		if err := os.Remove(m.path("out.tar.zst")); err != nil {
			t.Fatal(err)
		}
	}
	m.noDebris()
}
