package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
)

// destination is a registry.
type destination interface {
	address() string
	close()
}

var (
	_ destination = (*localRegistry)(nil)
	_ destination = (*dockerRegistry)(nil)
)

// dockerRegistry is Debian's docker-registry: distribution 2.8 in a process of its own,
// with its storage in a folder.
type dockerRegistry struct {
	addr string
	cmd  *exec.Cmd
}

const dockerRegistryName = "docker-registry"

// startDocker starts a server on what is in the folder, which may be nothing.
func startDocker(ctx context.Context, dir string) (*dockerRegistry, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &dockerRegistry{addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage:\n  filesystem: {rootdirectory: %q}\nhttp:\n  addr: %q\n  secret: bench\n", filepath.Join(dir, "storage"), r.addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r.cmd = exec.CommandContext(ctx, dockerRegistryName, "serve", config)
	var out tail
	r.cmd.Stdout, r.cmd.Stderr = &out, &out
	dieWithParent(r.cmd)
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get("http://" + r.addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return r, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			r.close()
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w\n%s", dockerRegistryName, err, out.b), ctx.Err())
		}
	}
}

// fillDocker writes a workload into the storage of a server as the server would do it,
// with links to the files of the layout.
func fillDocker(dir string, c *content) error {
	root := filepath.Join(dir, "storage", "docker", "registry", "v2")
	var first error
	do := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrExist) && first == nil {
			first = err
		}
	}
	write := func(d digest.Digest, path ...string) {
		name := filepath.Join(append([]string{root, "repositories"}, append(path, "link")...)...)
		do(os.MkdirAll(filepath.Dir(name), 0o755))
		do(os.WriteFile(name, []byte(d), 0o644))
	}
	store := func(d digest.Digest) {
		name := filepath.Join(root, "blobs", "sha256", d.Encoded()[:2], d.Encoded(), "data")
		do(os.MkdirAll(filepath.Dir(name), 0o755))
		do(os.Link(c.path(d), name))
	}
	for _, a := range c.artifacts {
		for _, b := range a.blobs {
			store(b.Digest)
			write(b.Digest, a.repo, "_layers", "sha256", b.Digest.Encoded())
		}
		m := a.manifest.Digest
		store(m)
		write(m, a.repo, "_manifests", "revisions", "sha256", m.Encoded())
		write(m, a.repo, "_manifests", "tags", a.tag, "current")
		write(m, a.repo, "_manifests", "tags", a.tag, "index", "sha256", m.Encoded())
	}
	return first
}

func (r *dockerRegistry) address() string { return r.addr }

func (r *dockerRegistry) close() {
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()         // by the signal
}
