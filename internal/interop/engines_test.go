//go:build interop

package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEngines: container engines load a bundle without a registry, all names
// right. Decks and signatures in it do not disturb them.
func TestEngines(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("engines run as root: run make interop as root")
	}
	a := startServer(t, debian)
	m := newMachine(t)
	refs := []string{m.pushDecks(a)[0], m.pushImage(a), m.pushIndex(a), m.pushDocker(a)}
	m.airdeck(append([]string{"pack", "-o", "all.tar.zst"}, refs...)...)
	images := refs[1:]
	writeFile(t, m.path("all.tar"), m.run("zstd", "-dc", "all.tar.zst"))

	t.Run("docker", func(t *testing.T) {
		m := m.on(t)
		socket := "unix://" + m.path("docker.sock")
		m.daemon("dockerd", m.path("docker.sock"), "--storage-driver", "vfs", "--bridge=none", "--iptables=false", "-H", socket,
			"--data-root", m.path("docker"), "--exec-root", m.path("docker-exec"), "--pidfile", m.path("docker.pid"))
		m.run("docker", "-H", socket, "load", "-i", "all.tar")
		m.named(images, m.run("docker", "-H", socket, "images", "--format", "{{.Repository}}:{{.Tag}}"))
	})
	t.Run("containerd", func(t *testing.T) {
		m := m.on(t)
		socket := m.path("containerd.sock")
		m.daemon("containerd", socket, "--root", m.path("containerd"), "--state", m.path("containerd-state"), "-a", socket)
		m.run("ctr", "-a", socket, "image", "import", "--no-unpack", "--all-platforms", "all.tar")
		list := m.run("ctr", "-a", socket, "image", "ls")
		m.named(refs, list) // the deck as well
		for _, ref := range refs {
			digest := strings.TrimSpace(string(m.run("crane", "digest", ref)))
			if !bytes.Contains(list, []byte(digest)) {
				t.Errorf("%s has another digest than %s:\n%s", ref, digest, list)
			}
		}
	})
	t.Run("podman", func(t *testing.T) {
		m := m.on(t)
		store := []string{"--root", m.path("podman"), "--runroot", m.path("podman-run"), "--storage-driver", "vfs"}
		m.run("podman", append(store, "load", "-i", "all.tar.zst")...)
		m.named(images, m.run("podman", append(store, "images", "--format", "{{.Repository}}:{{.Tag}}")...))
	})
}

// named looks for references in what an engine lists.
func (m *machine) named(refs []string, list []byte) {
	m.t.Helper()
	for _, ref := range refs {
		if !bytes.Contains(list, []byte(ref)) {
			m.t.Errorf("%s is not there:\n%s", ref, list)
		}
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
