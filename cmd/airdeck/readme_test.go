package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// The README's transcripts are true: each command in a console block is run from
// the top of the repository, in order, and prints what stands below it. The
// registries have the names that stand there, behind a proxy that leads every
// name to a registry of its own in this process.
//
// UPDATE_README=1 writes what the commands print into the README.
func TestReadme(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux does SSL_CERT_FILE lead a program to other certificates")
	}
	const file = "../../README.md"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ci, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	s := newReadmeShell(t)
	s.mustRun("airdeck push testdata/decks/intro/deck.yaml ghcr.io/acme/decks/intro:v1")
	s.mustRun("airdeck push testdata/decks/safety/deck.yaml ghcr.io/acme/decks/safety:v1")
	s.mustRun("rm -rf layout")
	s.writeKey("key.txt", "recipients.txt")

	commands := 0
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```")
	updated := blocks.ReplaceAllFunc(readme, func(block []byte) []byte {
		out := "```console\n"
		for _, step := range steps(string(blocks.FindSubmatch(block)[1])) {
			commands++
			got := step.want
			if name, ok := strings.CutPrefix(step.command, "make "); ok {
				if !bytes.Contains(ci, []byte("make "+name+"\n")) {
					t.Errorf("%q is not run by .ci/run", step.command)
				}
			} else if got = s.run(step.command); mask(got) != mask(step.want) {
				t.Errorf("$ %s\nprints\n%s\nand the README says\n%s", step.command, got, step.want)
			}
			out += "$ " + step.command + "\n" + got
		}
		return []byte(out + "```")
	})
	if commands < 10 {
		t.Errorf("only %d commands were found", commands)
	}
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(file, updated, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type step struct{ command, want string }

// steps reads a transcript: lines that begin with "$ ", and what they print. A
// backslash at the end of a line goes on on the next.
func steps(transcript string) []step {
	var out []step
	more := false
	for line := range strings.Lines(transcript) {
		command, ok := strings.CutPrefix(line, "$ ")
		switch {
		case more:
			out[len(out)-1].command += "\n" + strings.TrimSuffix(line, "\n")
		case ok:
			out = append(out, step{command: strings.TrimSuffix(command, "\n")})
		default:
			out[len(out)-1].want += line
		}
		more = (ok || more) && strings.HasSuffix(line, "\\\n")
	}
	return out
}

// mask takes out what differs from run to run: times, and keys.
func mask(s string) string {
	s = regexp.MustCompile(`\bkey sha256:[0-9a-f]+`).ReplaceAllString(s, "KEY")
	return regexp.MustCompile(`\b[0-9.]+m?s\n`).ReplaceAllString(s, "TIME\n")
}

// readmeShell runs commands at the top of a copy of the repository's examples.
type readmeShell struct {
	*testing.T
	dir string
	env []string
}

func newReadmeShell(t *testing.T) *readmeShell {
	t.Helper()
	s := &readmeShell{T: t, dir: t.TempDir()}
	if err := os.CopyFS(filepath.Join(s.dir, "testdata", "decks"), os.DirFS("../../testdata/decks")); err != nil {
		t.Fatal(err)
	}
	// The test binary is airdeck where its name says so: see TestMain.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(s.dir, ".bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "airdeck")); err != nil {
		t.Fatal(err)
	}
	names := map[string]http.Handler{}
	for _, name := range []string{"ghcr.io", "registry.internal"} {
		r := registrytest.Start(registrytest.Options{Mount: true})
		t.Cleanup(r.Close)
		names[name] = r.Handler()
	}
	proxy, ca := startNames(t, names)
	caFile := filepath.Join(s.dir, ".ca.pem")
	if err := os.WriteFile(caFile, ca, 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + s.dir, "DOCKER_CONFIG=" + s.dir + "/.docker",
		"COSIGN_PASSWORD=there is nobody to ask", "AIRDECK_LAYOUT=" + s.dir + "/layout", "HTTPS_PROXY=http://" + proxy, "SSL_CERT_FILE=" + caFile,
	}
	return s
}

// run gives what a command prints; of what goes to the standard error, only the
// one line of an error, with its exit code.
func (s *readmeShell) run(command string) string {
	s.Helper()
	cmd := exec.CommandContext(context.Background(), "sh", "-c", command)
	cmd.Dir, cmd.Env = s.dir, s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String()
	}
	lines := slices.Collect(strings.Lines(stderr.String()))
	return stdout.String() + lines[len(lines)-1]
}

func (s *readmeShell) mustRun(command string) {
	s.Helper()
	cmd := exec.CommandContext(context.Background(), "sh", "-c", command)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// writeKey makes a key of age's, as age-keygen does.
func (s *readmeShell) writeKey(secretFile, publicFile string) {
	s.Helper()
	secret, public, err := newAgeKey("")
	for name, text := range map[string]string{secretFile: secret, publicFile: public} {
		err = errors.Join(err, os.WriteFile(filepath.Join(s.dir, name), []byte(text+"\n"), 0o600))
	}
	if err != nil {
		s.Fatal(err)
	}
}

// startNames starts a proxy that ends TLS for every name with a certificate of its
// own authority, and leads it to its handler.
func startNames(t *testing.T, handlers map[string]http.Handler) (proxy string, ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "README"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	names := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	mux := http.NewServeMux()
	names.Handler = mux
	for name, h := range handlers {
		mux.Handle(name+"/", h)
	}
	conns := &connListener{conns: make(chan net.Conn), done: make(chan struct{})}
	go func() {
		_ = names.Serve(tls.NewListener(conns, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			leaf := &x509.Certificate{
				SerialNumber: big.NewInt(2), DNSNames: []string{h.ServerName},
				NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
			}
			der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), key)
			return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
		}}))
	}()
	t.Cleanup(func() { names.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// The client speaks when it has its answer, and by then nobody else may read.
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			conn.Close()
			return
		}
		conns.conns <- conn
	})}
	go func() { _ = p.Serve(l) }()
	t.Cleanup(func() { p.Close() })
	return l.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// connListener hands out connections that somebody else accepted.
type connListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *connListener) Addr() net.Addr { return &net.TCPAddr{} }
