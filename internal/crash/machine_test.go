package crash

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// machine is a person's machine: a home and a layout of its own. All that airdeck
// writes on it is below its directory.
type machine struct {
	t     *testing.T
	dir   string // the current directory of all commands
	env   []string
	sites []*site // the registries that it speaks with
}

func newMachine(t *testing.T, sites ...*site) *machine {
	t.Helper()
	return machineAt(t, t.TempDir(), sites...)
}

func machineAt(t *testing.T, dir string, sites ...*site) *machine {
	t.Helper()
	home := t.TempDir()
	return &machine{t, dir, append(os.Environ(),
		"HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "DOCKER_CONFIG="+filepath.Join(home, "docker"),
		"AIRDECK_LAYOUT="+filepath.Join(dir, "layout"), "SOURCE_DATE_EPOCH=",
	), sites}
}

// in is the same machine in another test.
func (m *machine) in(t *testing.T) *machine {
	n := *m
	n.t = t
	return &n
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, filepath.FromSlash(name)) }

func (m *machine) exists(name string) bool {
	_, err := os.Lstat(m.path(name))
	return err == nil
}

// process is an airdeck that runs.
type process struct {
	m      *machine
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr heard
	ended  chan struct{}
}

// heard is a buffer that tells when something is in it.
type heard struct {
	buf   bytes.Buffer
	once  sync.Once
	first chan struct{}
}

func (h *heard) Write(p []byte) (int, error) {
	n, err := h.buf.Write(p)
	h.once.Do(func() { close(h.first) })
	return n, err
}

func (h *heard) String() string { return h.buf.String() }

// start begins to run airdeck.
func (m *machine) start(args ...string) *process {
	m.t.Helper()
	return m.startCommand(airdeckBinary, args...)
}

func (m *machine) startCommand(name string, args ...string) *process {
	m.t.Helper()
	p := &process{m: m, cmd: exec.CommandContext(m.t.Context(), name, args...), ended: make(chan struct{})}
	p.stderr.first = make(chan struct{})
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = m.dir, m.env, &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit code tells
	}()
	m.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, unless the test failed
		<-p.ended
	})
	return p
}

// wait gives the exit code, and -1 where a signal ended the process.
func (p *process) wait() int {
	p.m.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		p.m.t.Fatalf("%s hangs\n%s", p, p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) String() string { return "airdeck " + strings.Join(p.cmd.Args[1:], " ") }

// want demands an exit code.
func (p *process) want(code int) {
	p.m.t.Helper()
	if got := p.wait(); got != code {
		p.m.t.Fatalf("%s: exit code %d, want %d\n%s%s", p, got, code, p.stdout.String(), p.stderr.String())
	}
}

// failedBy demands exit code 1 and one line, with all of these texts in it. The
// command is to be --quiet.
func (p *process) failedBy(texts ...string) {
	p.m.t.Helper()
	p.want(1)
	line := p.stderr.String()
	if !strings.HasPrefix(line, "airdeck: ") || strings.Count(line, "\n") != 1 {
		p.m.t.Errorf("%s: one line, please:\n%s", p, line)
	}
	for _, s := range texts {
		if !strings.Contains(line, s) {
			p.m.t.Errorf("%s: the error does not have %q: %s", p, s, line)
		}
	}
}

// airdeck runs airdeck, which must succeed, and gives what it printed.
func (m *machine) airdeck(args ...string) string {
	m.t.Helper()
	p := m.start(args...)
	p.want(0)
	return p.stdout.String()
}

// work is how far the commands on this machine have come, in bytes of files and of
// network. It is only good for telling when to strike.
func (m *machine) work() int64 {
	var n int64
	_ = filepath.WalkDir(m.dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if fi, err := e.Info(); err == nil {
				n += fi.Size()
			}
		}
		return nil // files come and go
	})
	for _, s := range m.sites {
		n += s.bytes.Load()
	}
	return n
}

// until waits for so much work, or the end.
func (p *process) until(work int64) {
	for p.m.work() < work {
		select {
		case <-p.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// kill ends the process without a chance to tidy up, and reports whether it ran.
func (p *process) kill() bool {
	p.m.t.Helper()
	_ = p.cmd.Process.Kill() // it may have ended
	code := p.wait()
	if code == 0 {
		return false
	}
	if said := p.stderr.String(); strings.Contains(said, "airdeck: ") || strings.Contains(said, "DATA RACE") {
		p.m.t.Fatalf("%s: exit code %d before it was killed\n%s", p, code, p.stderr.String())
	}
	return true
}

// tree is the digest of each file below a directory of the machine.
func (m *machine) tree(dir string) map[string]digest.Digest {
	m.t.Helper()
	out := map[string]digest.Digest{}
	err := fs.WalkDir(os.DirFS(m.path(dir)), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			out[name+"/"] = ""
			return nil
		}
		out[name] = m.digest(dir + "/" + name)
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// digest is that of a file, and "" where there is none.
func (m *machine) digest(name string) digest.Digest {
	m.t.Helper()
	b, err := os.ReadFile(m.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return digest.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(b)))
}

// debris lists what is there of files that are not complete.
func (m *machine) debris() []string {
	m.t.Helper()
	var found []string
	err := filepath.WalkDir(m.dir, func(name string, e fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(name), ".airdeck-") {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return found
}

func (m *machine) noDebris() {
	m.t.Helper()
	if d := m.debris(); len(d) > 0 {
		m.t.Errorf("left behind: %q", d)
	}
}

// wholeBlobs lists the blobs of a layout. What stands under the name of a blob
// must be that blob.
func (m *machine) wholeBlobs(layout string) map[digest.Digest]bool {
	m.t.Helper()
	out := map[digest.Digest]bool{}
	names, err := filepath.Glob(m.path(layout + "/blobs/sha256/*"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, name := range names {
		d := digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(name))
		if got := m.digest(layout + "/blobs/sha256/" + filepath.Base(name)); got != d {
			m.t.Errorf("the layout has %s with the content of %s", d, got)
		}
		out[d] = true
	}
	return out
}
