package crash

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// source is a machine with all the talks in a layout directory and in a bundle, and
// with something else in a bundle and in airdeck's own layout.
func source(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	writeLayout(t, m.path("talks"), talks())
	m.airdeck("pack", "-o", "talks.tar.zst", "oci:talks")
	writeDeck(t, m.path("early"), 200, 2, 1000)
	m.airdeck("pack", "-o", "earlier.tar.zst", "early/deck.yaml")
	return m
}

// packTask packs sources on a machine that is fresh, or has packed something else
// before, under the same name and into the same layout. src has under name what it
// is to become.
func packTask(t *testing.T, src *machine, name string, fresh bool, sources []string, sites ...*site) *task {
	t.Helper()
	m := newMachine(t, sites...)
	var earlier digest.Digest
	if !fresh {
		copyTo(t, m.path("out.tar.zst"), src.path("earlier.tar.zst"))
		if err := os.CopyFS(m.path("layout"), os.DirFS(src.path("layout"))); err != nil {
			t.Fatal(err)
		}
		earlier = m.digest("out.tar.zst")
	}
	want := src.digest(name)
	var whole map[digest.Digest]bool
	return &task{
		m: m, args: append([]string{"pack", "-o", "out.tar.zst"}, sources...),
		sound: func() {
			t.Helper()
			if got := m.digest("out.tar.zst"); got != earlier && got != want {
				t.Errorf("the bundle is %s: neither the earlier %s nor the new %s", got, earlier, want)
			}
			if m.exists("out.tar.zst") {
				m.airdeck("verify", "out.tar.zst")
			}
			m.layoutIsSound()
		},
		finished: func() bool { return false },
		remember: func() {
			whole = m.wholeBlobs("layout")
			for _, s := range sites {
				s.Reset()
			}
		},
		done: func(bool) {
			t.Helper()
			if got := m.digest("out.tar.zst"); got != want {
				t.Errorf("the bundle is %s, want %s", got, want)
			}
			m.layoutIsSound()
			for _, s := range sites {
				for _, d := range s.fetched() {
					if whole[d] {
						t.Errorf("%s was whole in the layout, and was fetched once more", d)
					}
				}
			}
		},
	}
}

// layoutIsSound has the layout used in all ways that only read, if it has come so
// far as to be one.
func (m *machine) layoutIsSound() {
	m.t.Helper()
	m.wholeBlobs("layout")
	if m.exists("layout/oci-layout") {
		m.airdeck("list")
	}
	if m.exists("layout/index.json") {
		m.airdeck("inspect", "layout")
		m.airdeck("verify", "layout")
	}
}

func copyTo(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// alternating gives false and true in turn.
func alternating() func() bool {
	last := true
	return func() bool { last = !last; return last }
}

func packFromRegistry(src *machine) func(*testing.T) *task {
	site := src.fill("talks.tar.zst", false)
	const want = "registry.tar.zst"
	src.airdeck(append([]string{"pack", "-o", want, "--layout", "scratch"}, references(site)...)...)
	fresh := alternating()
	return func(t *testing.T) *task {
		return packTask(t, src, want, fresh(), references(site), site)
	}
}

func packOfLayout(src *machine) func(*testing.T) *task {
	return func(t *testing.T) *task {
		return packTask(t, src, "talks.tar.zst", false, []string{"oci:" + src.path("talks"), src.path("talks.tar.zst")})
	}
}

func packOfDecks(src *machine) func(*testing.T) *task {
	const want = "decks.tar.zst"
	var decks []string
	for i := range byte(4) {
		dir := fmt.Sprintf("deck-%d", i)
		writeDeck(src.t, src.path(dir), 10*i, 6, 300_000)
		decks = append(decks, src.path(dir+"/deck.yaml"))
	}
	src.airdeck(append([]string{"pack", "-o", want, "--layout", "scratch"}, decks...)...)
	fresh := alternating()
	return func(t *testing.T) *task { return packTask(t, src, want, fresh(), decks) }
}

func unpackTask(src *machine) func(*testing.T) *task {
	src.airdeck("unpack", "talks.tar.zst", "unpacked")
	want := src.tree("unpacked")
	const partial = ".airdeck-partial-dir"
	return func(t *testing.T) *task {
		m := newMachine(t)
		var written map[string]os.FileInfo
		return &task{
			m: m, args: []string{"unpack", src.path("talks.tar.zst"), "dir"},
			sound: func() {
				t.Helper()
				if m.exists("dir") {
					m.sameTree("dir", want)
				}
				m.wholeBlobs(partial)
			},
			finished: func() bool { return m.exists("dir") },
			remember: func() { written = m.files(partial + "/blobs/sha256") },
			done: func(bool) {
				t.Helper()
				m.sameTree("dir", want)
				m.airdeck("verify", "dir")
				for name, now := range m.files("dir/blobs/sha256") {
					if before := written[name]; before != nil && !os.SameFile(before, now) {
						t.Errorf("%s was whole, and was written once more", name)
					}
				}
			},
		}
	}
}

func (m *machine) sameTree(dir string, want map[string]digest.Digest) {
	m.t.Helper()
	if got := m.tree(dir); !maps.Equal(got, want) {
		m.t.Errorf("%s has\n%v, want\n%v", dir, got, want)
	}
}

// files describes the files in a folder of the machine, which may not be there.
func (m *machine) files(dir string) map[string]os.FileInfo {
	m.t.Helper()
	names, err := filepath.Glob(m.path(dir + "/*"))
	if err != nil {
		m.t.Fatal(err)
	}
	out := map[string]os.FileInfo{}
	for _, name := range names {
		fi, err := os.Lstat(name)
		if err != nil {
			m.t.Fatal(err)
		}
		out[filepath.Base(name)] = fi
	}
	return out
}

func mirrorTask(src *machine) func(*testing.T) *task {
	wants := map[bool]map[string][]string{}
	for _, noReferrers := range []bool{false, true} {
		wants[noReferrers] = src.fill("talks.tar.zst", noReferrers).artifacts(src.t)
	}
	noReferrers := alternating()
	return func(t *testing.T) *task {
		site := startSite(t, noReferrers())
		want := wants[site.noReferrers]
		m := newMachine(t, site)
		copyTo(t, m.path("report.json"), src.path("early/deck.yaml"))
		earlier := m.digest("report.json")
		there := map[string]bool{} // REPOSITORY@DIGEST
		return &task{
			m: m, args: []string{"mirror", src.path("talks.tar.zst"), site.host, "--report", "report.json"},
			sound: func() {
				t.Helper()
				for name, content := range site.artifacts(t) {
					if !slices.Equal(content, want[name]) {
						t.Errorf("%s leads to %v, want %v", name, content, want[name])
					}
				}
				if m.digest("report.json") != earlier {
					m.reportIsWhole()
				}
			},
			finished: func() bool { return false },
			remember: func() {
				for name, digests := range want {
					repo, _, _ := strings.Cut(name, ":")
					for _, d := range digests {
						there[repo+"@"+d] = site.has(t, repo, d)
					}
				}
				site.Reset()
			},
			done: func(resumed bool) {
				t.Helper()
				if got := site.artifacts(t); len(want) == 0 || !maps.EqualFunc(got, want, slices.Equal) {
					t.Errorf("the registry has\n%v, want\n%v", got, want)
				}
				m.reportIsWhole()
				for _, b := range site.stored() {
					if resumed && there[b] {
						t.Errorf("%s was there, and was sent once more", b)
					}
				}
			},
		}
	}
}

func (m *machine) reportIsWhole() {
	m.t.Helper()
	b, err := os.ReadFile(m.path("report.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	if !json.Valid(b) {
		m.t.Errorf("the report is no JSON: %s", b)
	}
}
