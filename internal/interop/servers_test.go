//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The registry servers, by their programs.
const (
	debian       = "docker-registry" // distribution 2.8, as Debian has it
	distribution = "registry"        // distribution 3
)

// destinations runs a test against each server as the destination.
func destinations(t *testing.T, test func(t *testing.T, program string)) {
	for _, program := range []string{debian, distribution} {
		t.Run(program, func(t *testing.T) { test(t, program) })
	}
}

// server is a registry server: a process, its storage and its log.
type server struct {
	t       *testing.T
	program string
	addr    string
	dir     string
	url     string
	client  *http.Client
	log     *logBuffer
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
}

// startServer starts a server with nothing in it, on plain HTTP.
func startServer(t *testing.T, program string) *server {
	t.Helper()
	return startConfigured(t, program, "")
}

// startConfigured starts a server with more in its configuration.
func startConfigured(t *testing.T, program, more string) *server {
	t.Helper()
	s := newServer(t, program)
	s.configure(more)
	s.start()
	return s
}

func newServer(t *testing.T, program string) *server {
	t.Helper()
	addr := freeAddress(t)
	s := &server{t: t, program: program, addr: addr, url: "http://" + addr, dir: t.TempDir(), client: http.DefaultClient, log: &logBuffer{}}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the log of %s at %s:\n%s", program, addr, s.log.tail(20_000))
		}
	})
	return s
}

// port is the last that a server was given.
var port atomic.Int32

func init() { port.Store(10_000 + rand.Int32N(10_000)) }

// freeAddress is where a server may listen, also when it is started again. Its port is
// none that the system gives to whoever asks for any, nor one of another server here.
func freeAddress(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		addr := fmt.Sprint("127.0.0.1:", port.Add(1))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}

// configure writes the configuration, in which more follows on the section http.
// There is no cache of descriptors: a server that remembers blobs says that they
// are there when their files are gone.
func (s *server) configure(more string) {
	s.t.Helper()
	text := fmt.Sprintf(`version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http:
  addr: %q
  secret: interop
%s`, s.storage(), s.addr, more)
	if err := os.WriteFile(filepath.Join(s.dir, "config.yml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) storage() string { return filepath.Join(s.dir, "storage") }

// start starts the process and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(tool(s.t, s.program), "serve", filepath.Join(s.dir, "config.yml"))
	s.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended, cmd := make(chan struct{}), s.cmd
	s.ended = ended
	go func() {
		_ = cmd.Wait() // it is killed at the end
		close(ended)
	}()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := s.client.Get(s.url + "/v2/")
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-ended:
			s.t.Fatalf("%s ended before it answered", s.program)
		default:
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s does not answer: %v", s.program, err)
		}
	}
}

// kill ends the process as a power cut does.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.ended
}

// get asks for something, and gives the status and the body.
func (s *server) get(path string) (int, []byte) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header["Accept"] = []string{
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json", "*/*",
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, body.Bytes()
}

// request is one line of the server's log.
type request struct {
	method, path string
	status       string
}

var accessLine = regexp.MustCompile(`"([A-Z]+) (\S+) HTTP/[0-9.]+" ([0-9]+) `)

// requests gives what the server has been asked so far, apart from our own marks.
func (s *server) requests() []request {
	s.t.Helper()
	s.settle()
	var out []request
	for _, m := range accessLine.FindAllStringSubmatch(s.log.String(), -1) {
		if !strings.HasPrefix(m[2], "/v2/?mark=") {
			out = append(out, request{m[1], m[2], m[3]})
		}
	}
	return out
}

// settle waits for the log: a server writes a line after its answer.
func (s *server) settle() {
	s.t.Helper()
	mark := fmt.Sprintf("/v2/?mark=%d", time.Now().UnixNano())
	s.get(mark)
	for end := time.Now().Add(10 * time.Second); ; {
		n := s.log.Len()
		time.Sleep(50 * time.Millisecond)
		if s.log.Len() == n && strings.Contains(s.log.String(), mark) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s does not log its requests", s.program)
		}
	}
}

// writes gives the requests that change something.
func writes(all []request) []request {
	var out []request
	for _, r := range all {
		switch r.method {
		case http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
			out = append(out, r)
		}
	}
	return out
}

// logBuffer holds what a server prints. onLine is called with each line.
type logBuffer struct {
	mu     sync.Mutex
	text   []byte
	from   int // where the line begins that is not yet whole
	onLine func(line string)
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	for {
		i := bytes.IndexByte(b.text[b.from:], '\n')
		if i < 0 {
			return len(p), nil
		}
		if b.onLine != nil {
			b.onLine(string(b.text[b.from : b.from+i]))
		}
		b.from += i + 1
	}
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

func (b *logBuffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.text)
}

func (b *logBuffer) watch(onLine func(line string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onLine = onLine
}

func (b *logBuffer) tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}
