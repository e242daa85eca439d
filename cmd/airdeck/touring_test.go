package main

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// touring is a command that speaks with a registry.
type touring struct {
	name   string
	empty  bool // it speaks with an empty registry, and not with a full one
	asks   asks // of the registry
	args   func(c *cell) []string
	stdin  string
	result string // the file or folder that it writes, and nothing of it when it fails
	always string // the file that it writes in any case
	// right checks what came of it.
	right func(c *cell) error
}

func touringCommands() []touring {
	const out, slides, report = "out.tar.zst", "slides", "report.json"
	right := func(*cell) error { return nil }
	published := func(c *cell) error { return errors.Join(c.site.arrived(c.registry), c.report()) }
	hangs := "manifests/sha256-X.sig manifests/sha256-X.att manifests/sha256-X.sbom"
	both, deck := "acme/app acme/one", "acme/decks/intro"
	return []touring{
		{name: "pack", result: out, right: (*cell).packed, asks: asks{both, []string{
			"GET /token manifests/v1 manifests/sha256:X referrers/sha256:X manifests/sha256-X manifests/sha256-X.sig blobs/sha256:X", "HEAD " + hangs,
		}}, args: func(c *cell) []string {
			return []string{"pack", "-o", out, c.registry.Host + "/acme/app:v1", c.registry.Host + "/acme/one:v1"}
		}},
		{name: "pull", result: slides, right: (*cell).pulled, asks: asks{deck, []string{
			"GET /token manifests/v1 blobs/sha256:X",
		}}, args: func(c *cell) []string {
			return []string{"pull", c.registry.Host + "/acme/decks/intro:v1", slides}
		}},
		{name: "mirror", empty: true, always: report, right: published, asks: asks{both, []string{
			"HEAD manifests/v1 manifests/sha256:X manifests/sha256-X.sig blobs/sha256:X", "GET /token tags/list",
			"POST blobs/uploads/ blobs/uploads/?mount", "PUT blobs/uploads/ID manifests/sha256:X manifests/sha256-X manifests/sha256-X.sig manifests/v1",
			"GET manifests/sha256:X referrers/sha256:X manifests/sha256-X", // read back
		}}, args: func(c *cell) []string {
			return []string{"mirror", "--report", report, c.site.bundle, c.registry.Host}
		}},
		{name: "mirror --dry-run", empty: true, right: right, asks: asks{both, []string{
			"HEAD manifests/v1 manifests/sha256:X manifests/sha256-X.sig blobs/sha256:X", "GET /token tags/list",
		}}, args: func(c *cell) []string {
			return []string{"mirror", "--dry-run", c.site.bundle, c.registry.Host}
		}},
		{name: "push", empty: true, right: (*cell).pushed, asks: asks{deck, []string{
			"HEAD manifests/v1 blobs/sha256:X", "GET /token", "POST blobs/uploads/", "PUT blobs/uploads/ID manifests/v1",
			"GET manifests/sha256:X", // read back
		}}, args: func(c *cell) []string {
			return []string{"push", c.site.deck, c.registry.Host + "/acme/decks/intro:v1"}
		}},
		{name: "compare", right: right, asks: asks{both, []string{
			"HEAD manifests/v1 manifests/sha256:X manifests/sha256-X.sig blobs/sha256:X", "GET /token manifests/sha256:X referrers/sha256:X manifests/sha256-X",
		}}, args: func(c *cell) []string {
			return []string{"compare", c.site.bundle, c.registry.Host}
		}},
		{name: "compare references", right: right, asks: asks{"acme/app", []string{
			"GET /token manifests/v1 manifests/sha256:X referrers/sha256:X manifests/sha256-X manifests/sha256-X.sig", "HEAD " + hangs,
		}}, args: func(c *cell) []string {
			return []string{"compare", c.registry.Host + "/acme/app:v1", c.source.Host + "/acme/app:v1"}
		}},
		{name: "login", empty: true, stdin: homeCanary.password + "\n", right: (*cell).loggedIn, asks: asks{what: []string{
			"GET /v2/ /token /v2/",
		}}, args: func(c *cell) []string {
			return []string{"login", c.registry.Host, "--username", homeCanary.user, "--password-stdin"}
		}},
	}
}

// asks is what a command asks a registry for when nothing goes wrong: the repositories,
// and the kinds of requests. Each is a method with the paths that it is used for; X
// stands for a digest.
type asks struct {
	repos string
	what  []string
}

// kinds lists the requests, a method and a path each.
func (a asks) kinds() [][2]string {
	var out [][2]string
	for _, what := range a.what {
		paths := strings.Fields(what)
		for _, path := range paths[1:] {
			out = append(out, [2]string{paths[0], path})
		}
	}
	return out
}

// meets reports whether a fault strikes one of the requests.
func (a asks) meets(faults []registrytest.Fault) bool {
	for _, f := range faults {
		left := f.Skip
		for _, kind := range a.kinds() {
			for _, path := range a.paths(kind[1]) {
				if !f.Fits(kind[0], path) {
					continue
				}
				if left == 0 {
					return true
				}
				left--
			}
		}
	}
	return false
}

// paths are where a registry is asked for something.
func (a asks) paths(kind string) []string {
	if strings.HasPrefix(kind, "/") {
		return []string{kind}
	}
	path, _, _ := strings.Cut(strings.ReplaceAll(kind, "X", strings.Repeat("0", 64)), "?")
	var out []string
	for repo := range strings.FieldsSeq(a.repos) {
		out = append(out, "/v2/"+repo+"/"+path)
	}
	return out
}

var (
	askedPath = regexp.MustCompile(`^/v2/(.+)/((?:manifests|blobs|referrers|tags)/.*)$`)
	askedHex  = regexp.MustCompile(`[0-9a-f]{64}`)
	askedID   = regexp.MustCompile(`uploads/.+`)
)

// asked is what a registry was asked for.
func asked(r *registrytest.Registry) (repos string, kinds [][2]string) {
	in := map[string]bool{}
	for _, request := range r.Requests() {
		method, target, _ := strings.Cut(request, " ")
		path, query, _ := strings.Cut(target, "?")
		if m := askedPath.FindStringSubmatch(path); m != nil {
			in[m[1]] = true
			path = askedID.ReplaceAllString(askedHex.ReplaceAllString(m[2], "X"), "uploads/ID")
		}
		if strings.HasPrefix(query, "mount=") {
			path += "?mount"
		}
		kinds = append(kinds, [2]string{method, path})
	}
	return strings.Join(slices.Sorted(maps.Keys(in)), " "), kinds
}

// Each command asks for what is said of it above, all of that and nothing else. What is
// said decides which faults it must meet.
func TestWhatCommandsAsk(t *testing.T) {
	t.Parallel()
	site := newFaultSite(t)
	for _, tour := range touringCommands() {
		r := site.beside(tour, siteOptions)
		defer r.Close()
		c := newTouringCell(t, site, r, tour)
		defer c.remove()
		if got := c.run(tour.args(c), tour.stdin); got.code != exitDone {
			t.Errorf("%s: exit code %d: %s", tour.name, got.code, got.stderr)
		}
		repos, kinds := asked(r)
		if repos != tour.asks.repos {
			t.Errorf("%s asks for something in %q, not in %q", tour.name, repos, tour.asks.repos)
		}
		said := tour.asks.kinds()
		for _, kind := range said {
			if !slices.Contains(kinds, kind) {
				t.Errorf("%s does not ask for %s any more", tour.name, kind)
			}
		}
		for _, kind := range kinds {
			if !slices.Contains(said, kind) {
				t.Errorf("%s asks for %s now", tour.name, kind)
			}
		}
	}
}
