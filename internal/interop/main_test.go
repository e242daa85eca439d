//go:build interop

// Package interop runs the real airdeck against tools that others wrote: two
// registry servers, and the clients that people have. make interop installs
// them (install.sh) and runs it. Nothing is skipped: a tool that is missing is a
// failure, since a suite that passes without them proves nothing.
package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// airdeckBinary is the airdeck that TestMain built.
var airdeckBinary string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "airdeck-interop-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	airdeckBinary = filepath.Join(dir, "airdeck")
	build := exec.Command("go", "build", "-o", airdeckBinary, "github.com/airdeck/airdeck/cmd/airdeck")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build airdeck: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// tool finds a program that make interop installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run this by make interop, which installs it: %v", name, err)
	}
	return path
}

// machine is a person's machine: a home of its own, so that no test sees the
// credentials, the layout or the settings of the one who runs it.
type machine struct {
	t   *testing.T
	dir string // the current directory of all commands
	env []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	home, dir := t.TempDir(), t.TempDir()
	return &machine{t: t, dir: dir, env: append(os.Environ(),
		"HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_RUNTIME_DIR="+home,
		"DOCKER_CONFIG="+filepath.Join(home, "docker"),
		"AIRDECK_LAYOUT="+filepath.Join(home, "layout"),
		"REGCTL_CONFIG="+filepath.Join(home, "regctl.json"),
	)}
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// output is what a command left behind.
type output struct {
	stdout, stderr []byte
	code           int
}

func (m *machine) exec(path, stdin string, args ...string) output {
	m.t.Helper()
	var out, errs bytes.Buffer
	c := exec.CommandContext(m.t.Context(), path, args...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = m.dir, m.env, strings.NewReader(stdin), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatalf("%s: %v", path, err)
	}
	return output{out.Bytes(), errs.Bytes(), c.ProcessState.ExitCode()}
}

// run runs a tool of others, which must succeed, and gives its standard output.
func (m *machine) run(name string, args ...string) []byte {
	m.t.Helper()
	o := m.exec(tool(m.t, name), "", args...)
	if o.code != 0 {
		m.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
	return o.stdout
}

// skopeo needs no policy.json on the machine.
func (m *machine) skopeo(args ...string) []byte {
	m.t.Helper()
	return m.run("skopeo", append([]string{"--insecure-policy"}, args...)...)
}

// regctl speaks plain HTTP with the servers that are named.
func (m *machine) regctl(plain []*server, args ...string) []byte {
	m.t.Helper()
	for _, s := range plain {
		args = append([]string{"--host", "reg=" + s.addr + ",tls=disabled"}, args...)
	}
	return m.run("regctl", args...)
}

// airdeckFor runs airdeck, which must end with an exit code.
func (m *machine) airdeckFor(code int, args ...string) output {
	m.t.Helper()
	return m.airdeckWith("", code, args...)
}

func (m *machine) airdeckWith(stdin string, code int, args ...string) output {
	m.t.Helper()
	o := m.exec(airdeckBinary, stdin, args...)
	if o.code != code {
		m.t.Fatalf("airdeck %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), o.code, code, o.stdout, o.stderr)
	}
	return o
}

// airdeck runs airdeck, which must succeed.
func (m *machine) airdeck(args ...string) output {
	m.t.Helper()
	return m.airdeckFor(0, args...)
}

// jsonOf runs airdeck with --json and decodes what it prints.
func jsonOf[T any](m *machine, args ...string) T {
	m.t.Helper()
	o := m.airdeck(append(args, "--json")...)
	var v T
	if err := json.Unmarshal(o.stdout, &v); err != nil {
		m.t.Fatalf("airdeck %s: %v in\n%s", strings.Join(args, " "), err, o.stdout)
	}
	return v
}

// mirrorReport is what mirror --json prints.
type mirrorReport struct {
	Bundle    string
	Artifacts []mirroredArtifact
	Uploaded  int
	Bytes     int64
	Mounted   int
	Manifests int
}

type mirroredArtifact struct {
	Source, Target, Digest, Status, Replaced, Error string

	PlatformOf        string
	Absent, Uncovered []string
}

// inspectReport is what inspect --json prints.
type inspectReport struct {
	Digest    string
	Artifacts []inspectedArtifact
}

type inspectedArtifact struct {
	Reference, Kind, Title, Digest, Platform, PlatformOf string
	As                                                   string // the artifact that shows the same

	Uncovered []string
	Blobs     []struct {
		Title, Digest  string
		Config, Absent bool
		SharedWith     []string
	}
	Manifests, Referrers []inspectedArtifact
}

// config is the digest of the config.
func (a inspectedArtifact) config() string {
	for _, b := range a.Blobs {
		if b.Config {
			return b.Digest
		}
	}
	return ""
}
