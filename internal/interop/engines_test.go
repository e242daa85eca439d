//go:build interop

package interop

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEngines: container engines load a bundle without a registry, all names
// right. Decks and signatures in it do not disturb them.
func TestEngines(t *testing.T) {
	asRoot(t)
	a := startServer(t, debian)
	m := newMachine(t)
	m.pushPlatforms(a, "images/harbour", "linux/arm64", "linux/amd64")
	refs := []string{m.pushDecks(a)[0], m.pushImage(a), m.pushIndex(a), m.pushDocker(a), a.addr + "/images/harbour:v1"}
	m.airdeck(append([]string{"pack", "-o", "all.tar.zst"}, refs...)...)
	writeFile(t, m.path("all.tar"), m.run("zstd", "-dc", "all.tar.zst"))
	digests, configs := map[string]string{}, map[string]string{}
	for i, ref := range refs {
		digests[ref] = m.digest(ref)
		if i > 0 { // the first is a deck
			configs[ref] = digestOf(m.run("crane", "config", "--platform", "linux/amd64", ref))
		}
	}

	t.Run("docker", func(t *testing.T) {
		for name, load := range map[string]func(d *docker){
			"file": func(d *docker) { d.run("load", "-i", "all.tar") },
			"pipe": func(d *docker) { d.machine.run("sh", "-c", "zstd -dc all.tar.zst | docker -H "+d.socket+" load") },
		} {
			t.Run(name, func(t *testing.T) {
				d := m.on(t).startDocker("dockerd", "--storage-driver", "vfs")
				load(d)
				d.holds(configs)
			})
		}
	})
	// From 23 on docker takes the file as it is.
	t.Run("docker 29", func(t *testing.T) {
		for _, s := range dockerStores {
			t.Run(s.name, func(t *testing.T) {
				d := m.on(t).startDocker("moby-dockerd", s.flags...)
				d.run("load", "-i", "all.tar.zst")
				want := configs
				if s.containerd {
					want = digests // containerd's store keeps all, and calls an image by its manifest or index
				}
				d.holds(want)
			})
		}
	})
	t.Run("containerd", func(t *testing.T) {
		m := m.on(t)
		socket := m.path("containerd.sock")
		m.daemon("containerd", socket, "--root", m.path("containerd"), "--state", m.path("containerd-state"), "-a", socket)
		m.run("ctr", "-a", socket, "image", "import", "--no-unpack", "--all-platforms", "all.tar")
		list := m.run("ctr", "-a", socket, "image", "ls")
		got := map[string]string{}
		for _, line := range bytes.Split(list, []byte("\n"))[1:] {
			if f := strings.Fields(string(line)); len(f) > 2 {
				got[f[0]] = f[2]
			}
		}
		if !maps.Equal(got, digests) { // the deck as well
			t.Errorf("ctr has %v, want %v:\n%s", got, digests, list)
		}
	})
	t.Run("podman", func(t *testing.T) {
		m := m.on(t)
		m.podman("load", "-i", "all.tar.zst")
		for ref, config := range configs {
			if id := string(bytes.TrimSpace(m.podman("image", "inspect", "--format", "sha256:{{.Id}}", ref))); id != config {
				t.Errorf("podman has %s as %s, want %s", ref, id, config)
			}
		}
	})
}

// asRoot demands that the test runs as root.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("engines run as root: run make interop as root")
	}
}

// podman runs with a store of the machine's own. It fails if DOCKER_CONFIG is set
// and there is no file.
func (m *machine) podman(args ...string) []byte {
	m.t.Helper()
	m = &machine{m.t, m.dir, append(slices.Clip(m.env), "DOCKER_CONFIG=")}
	return m.run("podman", append([]string{"--root", m.path("podman"), "--runroot", m.path("podman-run"), "--storage-driver", "vfs"}, args...)...)
}

// dockerStores are the stores that Docker 29 has for images, by the flags of its
// dockerd.
var dockerStores = []struct {
	name       string
	containerd bool
	flags      []string
}{
	{"graphdriver", false, []string{"--storage-driver", "vfs", "--feature", "containerd-snapshotter=false"}},
	{"containerd", true, []string{"--storage-driver", "native"}},
}

// docker is an engine of Docker's and its command.
type docker struct {
	*machine
	socket string
}

// startDocker starts an engine with nothing in it.
func (m *machine) startDocker(program string, flags ...string) *docker {
	m.t.Helper()
	// The path of a socket has 107 bytes at most, and containerd's lies deeper.
	dir, err := os.MkdirTemp("", "docker-")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { os.RemoveAll(dir) })
	d := &docker{m, "unix://" + dir + "/sock"}
	m.daemon(program, dir+"/sock", append([]string{
		"--bridge=none", "--iptables=false", "--ip6tables=false", "-H", d.socket,
		"--data-root", dir + "/data", "--exec-root", dir + "/exec", "--pidfile", dir + "/pid",
	}, flags...)...)
	return d
}

func (d *docker) run(args ...string) []byte {
	d.t.Helper()
	return d.machine.run("docker", append([]string{"-H", d.socket}, args...)...)
}

// holds demands that the engine has these images and no others: the IDs by the
// names.
func (d *docker) holds(want map[string]string) {
	d.t.Helper()
	got := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(d.run("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"))), "\n") {
		name, id, _ := strings.Cut(line, " ")
		got[name] = id
	}
	if !maps.Equal(got, want) {
		d.t.Errorf("docker has\n%v\nwant\n%v", got, want)
	}
}

// daemon starts an engine and waits for its socket.
func (m *machine) daemon(name, socket string, args ...string) {
	m.t.Helper()
	log, err := os.Create(filepath.Join(m.t.TempDir(), "log"))
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(tool(m.t, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if m.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			m.t.Logf("%s says\n%s", name, b)
		}
	})
	for range 300 {
		if _, err := os.Stat(socket); err == nil {
			time.Sleep(500 * time.Millisecond) // the socket is there before the service
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	m.t.Fatalf("%s did not start", name)
}
