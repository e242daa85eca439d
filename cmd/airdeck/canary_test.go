package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// mode is a way to prove to registries who one is.
type mode struct {
	name     string
	options  func(canary) registrytest.Options
	identity bool
	gets     func(canary) []string // the secrets that a registry is sent
}

func modes() []mode {
	basic := func(k canary) registrytest.Options {
		o := k.options()
		o.Token = ""
		return o
	}
	identity := func(k canary) registrytest.Options {
		o := k.options()
		o.Password = "not by password"
		return o
	}
	return []mode{
		{"a password", basic, false, func(k canary) []string { return []string{k.user, k.password} }},
		{"a password for a token", canary.options, false, func(k canary) []string { return []string{k.user, k.password, k.token} }},
		{"an identity token for a token", identity, true, func(k canary) []string { return []string{k.identity, k.token} }},
	}
}

// A registry with a name and TLS leads its clients to another host. There are secrets
// for each host, and wherever one turns up that it does not belong, this fails: in what
// another host is sent, in output, and in any file. What a host is sent at the wish of
// another has none, also none that are kept for it. That the registries are sent their
// own shows that they are used, and would be found.
func TestCanaries(t *testing.T) {
	t.Parallel()
	site := newFaultSite(t)
	var jobs []func()
	for m, mode := range modes() {
		for i, tour := range touringCommands() {
			if tour.name == "login" && mode.identity {
				continue // it is about a password
			}
			n := newNamedCell(t, site, tour, mode)
			jobs = append(jobs, func() {
				if err := n.unharmed(); err != nil {
					t.Errorf("%s, %s: %v", tour.name, mode.name, err)
				}
			})
			for k, fault := range registrytest.Origins() {
				if every := part(9); (k+i)%every != every/3*m {
					continue
				}
				n := newNamedCell(t, site, tour, mode)
				jobs = append(jobs, func() {
					if err := n.led(fault); err != nil {
						t.Errorf("%s, %s: %s: %v", tour.name, mode.name, fault.Name, err)
					}
				})
			}
		}
	}
	atOnce(faultsAtOnce, jobs)
	t.Logf("%d cells", len(jobs))
}

// namedCell is a cell whose registry is registry.test, beside source.test and
// elsewhere.test.
type namedCell struct {
	*cell
	tour touring
	mode mode
}

func newNamedCell(t *testing.T, site *faultSite, tour touring, m mode) *namedCell {
	t.Helper()
	const home, other, source = "registry.test", "elsewhere.test", "source.test"
	r, full := site.beside(tour, m.options(homeCanary)), site.full.Beside(m.options(sourceCanary))
	t.Cleanup(r.Close)
	t.Cleanup(full.Close)
	elsewhere := registrytest.NewElsewhere("https://"+other, full)
	proxy, ca := startNames(t, map[string]http.Handler{home: r.Handler(), source: full.Handler(), other: elsewhere.Handler()})
	r.Host, full.Host = home, source
	c := newCellOf(t, site, r, full, elsewhere)
	t.Cleanup(c.remove)
	c.env = []string{"HTTPS_PROXY=http://" + proxy, "HTTP_PROXY=http://" + proxy}
	c.configure(t, dockerConfig(m.identity, c.hosts()))
	if tour.name == "login" {
		c.logOut(t)
	}
	if err := os.WriteFile(c.path(".docker", "ca.pem"), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	return &namedCell{c, tour, m}
}

func (n *namedCell) run() ran {
	return n.cell.run(append(n.tour.args(n.cell), "--ca-file", n.path(".docker", "ca.pem")), n.tour.stdin)
}

// unharmed runs the command without a fault: each registry gets its own secrets.
func (n *namedCell) unharmed() error {
	got := n.run()
	if got.code != exitDone {
		return fmt.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	err := errors.Join(n.hunt(got), n.tour.right(n.cell), sent(n.mode.gets(homeCanary), toRegistry, &n.registry.Traffic))
	if len(n.source.Requests()) > 0 {
		err = errors.Join(err, sent(n.mode.gets(sourceCanary), toSource, &n.source.Traffic))
	}
	return err
}

// sent says which secrets are not where they should be.
func sent(secrets []string, where string, traffic *registrytest.Traffic) (err error) {
	for _, secret := range secrets {
		if registrytest.FindSecret(traffic.Bytes(), secret) == "" {
			err = errors.Join(err, fmt.Errorf("%s is not in %s", secret, where))
		}
	}
	return err
}

// led runs the command with a registry that leads it elsewhere.
func (n *namedCell) led(fault registrytest.Case) error {
	n.registry.Fail(fault.Faults(n.registry, n.elsewhere)...)
	got := n.run()
	err := n.wellSaid(got)
	if fault.Name != registrytest.TokensElsewhere {
		return errors.Join(err, n.hunt(got))
	}
	// A token service with TLS is asked with what the registry's own would be asked with.
	asked := n.mode.gets(homeCanary)
	if asked[len(asked)-1] == homeCanary.token {
		asked = asked[:len(asked)-1]
	}
	return errors.Join(err, n.hunt(got, asked...), sent(asked, toElsewhere, &n.elsewhere.Traffic))
}

// A registry leads to another one that has a credential here, and that is asked with it
// in the same run. What it is asked at the wish of the first has no credential: who has
// one registry is not given what another keeps for us.
func TestLedToAnotherRegistry(t *testing.T) {
	t.Parallel()
	site := newFaultSite(t)
	led := regexp.MustCompile(`(?s)\?led=1 HTTP/1\.1\r\n(.*?)\r\n\r\n`)
	for _, mode := range modes() {
		n := newNamedCell(t, site, touring{name: "pack", args: func(c *cell) []string {
			return []string{"pack", "-o", "out.tar.zst", "--jobs", "1", c.source.Host + "/acme/one:v1", c.registry.Host + "/acme/app:v1"}
		}}, mode)
		n.registry.Fail(registrytest.Fault{Method: http.MethodGet, Path: regexp.MustCompile(`/manifests/`), Answer: func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "https://"+n.source.Host+req.URL.Path+"?led=1", http.StatusTemporaryRedirect)
		}})
		got := n.run()
		if got.code != exitFailed {
			t.Errorf("%s: exit code %d: %s", mode.name, got.code, got.stderr)
		}
		if err := errors.Join(n.wellSaid(got), n.hunt(got), sent(mode.gets(sourceCanary), toSource, &n.source.Traffic)); err != nil {
			t.Errorf("%s: %v", mode.name, err)
		}
		requests := led.FindAllSubmatch(n.source.Traffic.Bytes(), -1)
		if len(requests) == 0 {
			t.Errorf("%s: nothing was asked at the wish of the other registry", mode.name)
		}
		for _, request := range requests {
			if regexp.MustCompile(`(?im)^(Authorization|Cookie):`).Match(request[1]) {
				t.Errorf("%s: a credential goes where another registry leads: %s", mode.name, request[0])
			}
		}
	}
}
