package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

const (
	// faultStall is how long a command waits for a registry that falls silent. Where
	// none does, it waits as long as anybody's: a busy machine is silent, too.
	faultStall = 2500 * time.Millisecond
	// faultWatchdog ends what hangs. No command waits that long for anything.
	faultWatchdog = 3 * time.Minute
)

// cell is a folder in which one command runs against one registry, with a credential
// for that and for others.
type cell struct {
	dir       string
	site      *faultSite
	registry  *registrytest.Registry
	source    *registrytest.Registry // another, which has all of it
	elsewhere *registrytest.Elsewhere
	secrets   []secret
	env       []string // beside its own
	silent    bool     // the registry will fall silent
	closers   []func()
}

func newCell(t testing.TB, s *faultSite, r *registrytest.Registry) *cell {
	t.Helper()
	source, elsewhere := s.full.Beside(sourceCanary.options()), registrytest.StartElsewhere(s.full)
	c := newCellOf(t, s, r, source, elsewhere)
	c.closers = append(c.closers, source.Close, elsewhere.Close)
	return c
}

func newCellOf(t testing.TB, s *faultSite, r, source *registrytest.Registry, elsewhere *registrytest.Elsewhere) *cell {
	t.Helper()
	dir, err := os.MkdirTemp("", "airdeck-cell")
	if err != nil {
		t.Fatal(err)
	}
	c := &cell{dir: dir, site: s, registry: r, source: source, elsewhere: elsewhere, secrets: canaries()}
	c.configure(t, dockerConfig(false, c.hosts()))
	if err := os.Mkdir(c.path("tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// newTouringCell is a cell as a command needs it: who logs in has no credential yet.
func newTouringCell(t testing.TB, s *faultSite, r *registrytest.Registry, tour touring) *cell {
	t.Helper()
	c := newCell(t, s, r)
	if tour.name == "login" {
		c.logOut(t)
	}
	return c
}

// hosts are those for which there is a credential.
func (c *cell) hosts() map[string]canary {
	_, elsewhere, _ := strings.Cut(c.elsewhere.URL, "//")
	return map[string]canary{c.registry.Host: homeCanary, c.source.Host: sourceCanary, elsewhere: elsewhereCanary}
}

// logOut takes the credential of the registry away.
func (c *cell) logOut(t testing.TB) {
	t.Helper()
	hosts := c.hosts()
	delete(hosts, c.registry.Host)
	c.configure(t, dockerConfig(false, hosts))
}

func (c *cell) configure(t testing.TB, config []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(c.path(".docker"), 0o700), os.WriteFile(c.path(".docker", "config.json"), config, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (c *cell) path(elem ...string) string { return filepath.Join(append([]string{c.dir}, elem...)...) }

func (c *cell) remove() {
	for _, f := range c.closers {
		f()
	}
	os.RemoveAll(c.dir)
}

// ran is what came of a command.
type ran struct {
	code           int
	stdout, stderr string
}

// run runs the real main. A command that hangs has the code -1.
func (c *cell) run(args []string, stdin string) ran {
	ctx, cancel := context.WithTimeout(context.Background(), faultWatchdog)
	defer cancel()
	cmd := exec.CommandContext(ctx, "airdeck", args...)
	cmd.Dir, cmd.Stdin = c.dir, strings.NewReader(stdin)
	cmd.Env = append([]string{
		"PATH=", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT"), "HOME=" + c.dir, "USERPROFILE=" + c.dir,
		"TMPDIR=" + c.path("tmp"), "TMP=" + c.path("tmp"), "TEMP=" + c.path("tmp"),
		"DOCKER_CONFIG=" + c.path(".docker"), "AIRDECK_LAYOUT=" + c.path("layout"),
	}, c.env...)
	if c.silent {
		cmd.Env = append(cmd.Env, stallVariable+"="+faultStall.String())
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := ran{stdout: stdout.String(), stderr: stderr.String()}
	if err != nil {
		r.code = -1
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			r.code = exit.ExitCode()
		} else {
			r.stderr += err.Error()
		}
	}
	return r
}

// wellSaid checks that a command that failed says so in one line, and names the
// registry.
func (c *cell) wellSaid(r ran) error {
	var said []string
	for line := range strings.Lines(r.stderr) {
		if strings.HasPrefix(line, "airdeck: ") {
			said = append(said, line)
		}
	}
	switch {
	case r.code < 0:
		return fmt.Errorf("it hangs, or was killed: %s", r.stderr)
	case strings.Contains(r.stderr, "goroutine ") || strings.Contains(r.stderr, "panic"):
		return fmt.Errorf("it panics: %s", r.stderr)
	case r.code == exitDone:
		if len(said) > 0 {
			return fmt.Errorf("it is done, and says %s", said)
		}
		return nil
	case r.code != exitFailed && r.code != exitPartial:
		return fmt.Errorf("exit code %d: %s", r.code, r.stderr)
	case len(said) != 1 || !strings.HasSuffix(r.stderr, said[0]):
		return fmt.Errorf("no error in one line: %s", r.stderr)
	case !strings.Contains(said[0], c.registry.Host):
		return fmt.Errorf("the error does not name the registry: %s", said[0])
	}
	return nil
}

var (
	layoutPath = regexp.MustCompile(`^layout(/\.airdeck(/[a-z]+\.lock)?|/oci-layout|/index\.json|/blobs(/sha256(/[0-9a-f]{64})?)?)?$`)
	otherPath  = regexp.MustCompile(`^(\.|\.docker(/config\.json|/ca\.pem)?|tmp)$`)
)

// clean checks that a command left nothing half done: temporaries, blobs that are not
// what they are called, and files that are none of its results.
func (c *cell) clean(results ...string) error {
	return filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		for _, r := range results {
			if rel == r || strings.HasPrefix(rel, r+"/") {
				return nil
			}
		}
		switch {
		case layoutPath.MatchString(rel):
			if !e.Type().IsRegular() || !strings.Contains(rel, "/sha256/") {
				return nil
			}
			b, err := os.ReadFile(name)
			if err == nil && digest.FromBytes(b).Encoded() != e.Name() {
				err = fmt.Errorf("%s has other content", rel)
			}
			return err
		case otherPath.MatchString(rel):
			return nil
		}
		return fmt.Errorf("it left %s", rel)
	})
}

// packed checks that the bundle has what the registry has.
func (c *cell) packed() error {
	r, err := bundle.OpenFile(context.Background(), c.path("out.tar.zst"), nil)
	if err != nil {
		return err
	}
	defer r.Close()
	v, _, err := r.Verify(context.Background(), nil)
	if err != nil {
		return err
	}
	has := map[string]digest.Digest{}
	for _, e := range v.Index().Manifests {
		has[strings.TrimPrefix(layout.EntryName(e), c.registry.Host+"/")] = e.Digest
		has[e.Digest.String()] = e.Digest
	}
	for name, d := range c.site.tags {
		if has[name] != d {
			err = errors.Join(err, fmt.Errorf("%s is %q in the bundle, not %s", name, has[name], d))
		}
	}
	for _, d := range c.site.referrers {
		if has[d.String()] == "" {
			err = errors.Join(err, fmt.Errorf("the referrer %s is not in the bundle", d))
		}
	}
	return err
}

// pulled checks that the slides are those of the deck.
func (c *cell) pulled() error {
	deck := os.DirFS(filepath.Dir(c.site.deck))
	slides, err := fs.Glob(deck, "slides/*.png")
	if err != nil || len(slides) == 0 {
		return errors.Join(err, errors.New("there are no slides"))
	}
	for _, name := range slides {
		got, err := os.ReadFile(c.path("slides", filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		want, err := fs.ReadFile(deck, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s is another picture", name)
		}
	}
	_, err = os.Stat(c.path("slides", "deck.yaml"))
	return err
}

func (c *cell) pushed() error {
	if d := c.registry.Tags()["acme/decks/intro:v1"]; d != c.site.pushed {
		return fmt.Errorf("the deck is %q, not %s", d, c.site.pushed)
	}
	return nil
}

func (c *cell) loggedIn() error {
	b, err := os.ReadFile(c.path(".docker", "config.json"))
	if err == nil && registrytest.FindSecret(b, homeCanary.password) == "" {
		err = errors.New("the password is not kept")
	}
	return err
}

// report checks that the report of a mirror is one JSON document.
func (c *cell) report() error {
	b, err := os.ReadFile(c.path("report.json"))
	if err != nil {
		return err
	}
	var r mirrored
	return json.Unmarshal(b, &r)
}
