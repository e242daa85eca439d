//go:build crash

package crash

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const insideNamespace = "AIRDECK_CRASH_INSIDE"

// inside runs a test as root of a namespace, in which anybody may mount file systems,
// where the kernel lets people have such namespaces.
func inside(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(insideNamespace) != "" {
		test(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprint("-test.short=", testing.Short()), fmt.Sprint("-seed=", *seed))
	c.Env = append(os.Environ(), insideNamespace+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("in a namespace of its own: %v (the kernel must allow user namespaces)", err)
	}
}

// mountDisk makes a folder a disk of its own, in memory.
func mountDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,nr_inodes=%d,mode=0755", diskSize, diskFiles)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

const (
	diskSize  = 64 << 20
	diskFiles = 1000
)

// TestReadOnlyMount is TestReadOnlyMedium where root may not write either.
func TestReadOnlyMount(t *testing.T) {
	inside(t, func(t *testing.T) {
		medium := t.TempDir()
		mountDisk(t, medium)
		readOnlyMedium(t, medium, func() {
			if err := unix.Mount("", medium, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestFullDisk has each command that writes meet a disk that is full, or becomes so.
func TestFullDisk(t *testing.T) {
	inside(t, func(t *testing.T) {
		src := source(t)
		src.airdeck("pack", "-o", "talks.tar.gz", "oci:talks")
		ageKey(src)
		src.airdeck("pack", "-o", "talks.tar.gz.age", "--recipients-file", "age.pub", "oci:talks")
		src.env = append(src.env, password...)
		src.airdeck("keygen", "signer")
		writeDeck(t, src.path("slides"), 50, 8, 300_000)
		src.airdeck("pack", "-o", "slides.tar", "slides/deck.yaml=localhost/slides:v1")
		site := src.fill("talks.tar.zst", false)
		src.airdeck("mirror", "slides.tar", site.host)
		for _, w := range writers(src, site) {
			t.Run(w.name, func(t *testing.T) { w.test(t, site) })
		}
	})
}

// writer is a command that writes to a disk: what is below disk/ on its machine.
type writer struct {
	name string
	// before is done while there is still room.
	before func(m *machine)
	env    []string
	args   []string
	shell  string // what has "$0" "$@" run, if that is not all of it
	where  string // what an error must name
	// rooms are bytes that the disk has left when it begins, and files so many files;
	// each is too little.
	rooms []int64
	files []int64
	// during has the disk fill up at some points of the work, too.
	during bool
	// result tells what came of it.
	result func(m *machine) string
}

func (w *writer) machine(t *testing.T, s *site) *machine {
	t.Helper()
	m := newMachine(t, s)
	m.env = append(m.env, w.env...)
	mountDisk(t, m.path("disk"))
	if w.before != nil {
		w.before(m)
	}
	return m
}

func (w *writer) start(m *machine) *process {
	m.t.Helper()
	if w.shell != "" {
		return m.startCommand("sh", append([]string{"-c", w.shell, airdeckBinary}, w.args...)...)
	}
	return m.start(w.args...)
}

func (w *writer) test(t *testing.T, s *site) {
	m := w.machine(t, s)
	begin := m.work()
	w.start(m).want(0)
	work, want := m.work()-begin, w.result(m)
	rooms, files, moments := w.rooms, w.files, []float64{0.1, 0.3, 0.5, 0.7, 0.9}
	if testing.Short() {
		rooms, files, moments = rooms[:min(1, len(rooms))], files[:min(1, len(files))], moments[2:3]
	}
	for _, room := range rooms {
		t.Run(fmt.Sprint("room ", room), func(t *testing.T) {
			m := w.machine(t, s)
			m.fillDisk(room)
			w.fails(m, want)
		})
	}
	for _, n := range files {
		t.Run(fmt.Sprint("files ", n), func(t *testing.T) {
			m := w.machine(t, s)
			m.useUpFiles(n)
			w.fails(m, want)
		})
	}
	if !w.during {
		return
	}
	for _, at := range moments {
		t.Run(fmt.Sprint("at ", at), func(t *testing.T) {
			w.fillsUp(t, s, want, at*float64(work))
		})
	}
}

// fails runs the command on a disk that is nearly full, and again when it is not.
func (w *writer) fails(m *machine, want string) {
	m.t.Helper()
	before := m.visible()
	w.failed(w.start(m), before)
	w.converges(m, want)
}

// fillsUp lets a command begin with room enough, and has another file fill the disk
// when so much work is done.
func (w *writer) fillsUp(t *testing.T, s *site, want string, work float64) {
	t.Helper()
	for range 40 {
		m := w.machine(t, s)
		before, begin := m.visible(), m.work()
		p := w.start(m)
		p.until(begin + int64(work))
		_ = p.cmd.Process.Signal(syscall.SIGSTOP) // it may have ended
		m.fillDisk(0)
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		if p.wait() != 0 {
			w.failed(p, before)
			if line := p.stderr.String(); strings.Contains(line, "the disk has ") {
				t.Errorf("%s: it had not begun to write: %s", p, line)
			}
			w.converges(m, want)
			return
		}
		work *= 0.95 // it was too quick
	}
	t.Fatal("it always ended before the disk was full")
}

// failed checks that the command has said why, and left nothing behind.
func (w *writer) failed(p *process, before map[string]digest.Digest) {
	m := p.m
	m.t.Helper()
	p.failedBy(w.where)
	if line := p.stderr.String(); !strings.Contains(line, "no space left on device") && !strings.Contains(line, "the disk has ") {
		m.t.Errorf("%s: it does not say that the disk is full: %s", p, line)
	}
	if after := m.visible(); !maps.Equal(after, before) {
		m.t.Errorf("%s: the disk had\n%v, and has\n%v", p, before, after)
	}
	for _, layout := range []string{"disk/layout", "layout"} {
		if m.exists(layout + "/index.json") {
			m.airdeck("list", "--layout", layout)
			m.airdeck("verify", layout)
			m.wholeBlobs(layout)
		}
	}
}

func (w *writer) converges(m *machine, want string) {
	m.t.Helper()
	if err := os.RemoveAll(m.path("disk/ballast")); err != nil {
		m.t.Fatal(err)
	}
	w.start(m).want(0)
	if got := w.result(m); got != want {
		m.t.Errorf("then it gives\n%s, want\n%s", got, want)
	}
	m.noDebris()
}

// fillDisk leaves so many bytes of room. Others may write meanwhile.
func (m *machine) fillDisk(room int64) {
	m.t.Helper()
	if err := os.Mkdir(m.path("disk/ballast"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	f, err := os.Create(m.path("disk/ballast/heavy"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	var size int64
	for {
		free := m.diskStat()
		n := int64(free.Bavail)*free.Bsize - room
		if n <= 0 {
			return
		}
		switch err := unix.Fallocate(int(f.Fd()), 0, size, n); {
		case err == nil:
			size += n
		case !errors.Is(err, unix.ENOSPC):
			m.t.Fatal(err)
		}
	}
}

// useUpFiles leaves so many files that can be made.
func (m *machine) useUpFiles(left int64) {
	m.t.Helper()
	if err := os.Mkdir(m.path("disk/ballast"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	for n := int64(m.diskStat().Ffree) - left; n > 0; n-- {
		if err := os.WriteFile(m.path(fmt.Sprint("disk/ballast/", n)), nil, 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) diskStat() (st unix.Statfs_t) {
	m.t.Helper()
	if err := unix.Statfs(m.path("disk"), &st); err != nil {
		m.t.Fatal(err)
	}
	return st
}

// visible is all that is on the disk, but for what a command that failed may leave:
// more blobs in a layout, a directory that unpack goes on with, what the shell made,
// and an empty file of oras-go's.
func (m *machine) visible() map[string]digest.Digest {
	all := m.tree("disk")
	maps.DeleteFunc(all, func(name string, _ digest.Digest) bool {
		if strings.HasPrefix(name, "layout/") {
			return name != "layout/index.json" && !strings.Contains(name, ".airdeck-tmp-")
		}
		for _, p := range []string{"ballast/", ".airdeck-partial-dir/", "piped", "docker/oras_credstore_temp_"} {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	})
	return all
}
