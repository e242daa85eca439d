// Package registrytest runs real registry handlers in the process of a test,
// records what they are asked, and has them fail on demand.
package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Options say what kind of registry is wanted. The zero value is one that keeps
// everything in memory, speaks plain HTTP and asks nobody's name.
type Options struct {
	TLS                bool   // a certificate of its own
	Username, Password string // basic authentication
	Mount              bool   // mount blobs across repositories, as distribution does
	NoReferrers        bool   // lack the referrers API
	DashIsDigest       bool   // take the tag sha256-<hex> for the digest, as GitLab does
	ClientCA           []byte // demand a client certificate of this authority, in PEM; with TLS
}

// Registry is a running registry.
type Registry struct {
	Host string // 127.0.0.1:port
	CA   []byte // the certificate in PEM, if it speaks TLS

	server *httptest.Server
	closed chan struct{}
	o      Options
	h      http.Handler

	mu       sync.Mutex
	requests []string
	faults   []*Fault
	blobs    map[string]map[string]bool // by repository: digests that were uploaded there
}

// Fault is something that goes wrong.
type Fault struct {
	Method string         // "" is any
	Path   *regexp.Regexp // nil is any
	Skip   int            // requests that fit and go well first
	Times  int            // requests that fail; 0 is all

	Status  int               // answer with this
	Code    string            // and this error code of the distribution protocol
	Header  map[string]string // set in the answer, whether or not Status is set
	CutBody int64             // >0: break the connection after so many bytes of the answer
	CutSend int64             // >0: break the connection after so many bytes of the request
	Drop    bool              // close the connection without an answer
	Stall   bool              // answer nothing until the client has gone
	Body    func([]byte) []byte
}

// Start runs a registry until Close.
func Start(o Options) *Registry {
	r := &Registry{o: o, closed: make(chan struct{}), blobs: map[string]map[string]bool{}}
	r.h = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(!o.NoReferrers))
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.TLS {
		r.server.EnableHTTP2 = true
		if o.ClientCA != nil {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(o.ClientCA)
			r.server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		}
		r.server.StartTLS()
		r.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	} else {
		r.server.Start()
	}
	r.Host = r.server.Listener.Addr().(*net.TCPAddr).AddrPort().String()
	return r
}

// Close stops the registry.
func (r *Registry) Close() {
	close(r.closed)
	r.server.CloseClientConnections()
	r.server.Close()
}

// Handler is the registry's handler, faults and records included.
func (r *Registry) Handler() http.Handler { return http.HandlerFunc(r.serve) }

// Fail adds a fault. The first that fits a request decides.
func (r *Registry) Fail(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, &f)
}

// Requests lists what was asked since the last Reset, as "METHOD path?query".
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.requests...)
}

// Count counts the requests that match an expression.
func (r *Registry) Count(expr string) int {
	re, n := regexp.MustCompile(expr), 0
	for _, q := range r.Requests() {
		if re.MatchString(q) {
			n++
		}
	}
	return n
}

// Reset forgets requests and faults.
func (r *Registry) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.faults = nil, nil
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.RequestURI())
	dashed := r.o.DashIsDigest && dashDigest.MatchString(req.URL.Path)
	if dashed {
		req.URL.Path = dashDigest.ReplaceAllString(req.URL.Path, "/manifests/sha256:$1")
	}
	f := r.fault(req)
	r.mu.Unlock()
	if r.o.Username != "" {
		u, p, _ := req.BasicAuth()
		if u != r.o.Username || p != r.o.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			answer(w, http.StatusUnauthorized, "UNAUTHORIZED")
			return
		}
	}
	if dashed && req.Method == http.MethodPut {
		// The handler below does not compare the content with the digest.
		answer(w, http.StatusBadRequest, "DIGEST_INVALID")
		return
	}
	if f != nil && r.broken(w, req, f) {
		return
	}
	if r.o.Mount && r.mount(w, req) {
		return
	}
	r.h.ServeHTTP(w, req)
}

func (r *Registry) fault(req *http.Request) *Fault {
	for _, f := range r.faults {
		if f.Method != "" && f.Method != req.Method || f.Path != nil && !f.Path.MatchString(req.URL.Path) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times < 0 {
			continue
		}
		if f.Times == 1 {
			f.Times = -1 // spent
		} else if f.Times > 1 {
			f.Times--
		}
		return f
	}
	return nil
}

// broken answers a request with a fault. It is false where the handler goes on.
func (r *Registry) broken(w http.ResponseWriter, req *http.Request, f *Fault) bool {
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Stall:
		// The server notices that a client has gone when it has read the request.
		go func() { _, _ = io.Copy(io.Discard, req.Body) }()
		select {
		case <-req.Context().Done():
		case <-r.closed:
		}
		panic(http.ErrAbortHandler)
	case f.CutSend > 0:
		_, _ = io.CopyN(io.Discard, req.Body, f.CutSend)
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		_, _ = io.Copy(io.Discard, req.Body)
		for k, v := range f.Header {
			w.Header().Set(k, v)
		}
		answer(w, f.Status, f.Code)
		return true
	}
	rec := httptest.NewRecorder()
	r.h.ServeHTTP(rec, req)
	body := rec.Body.Bytes()
	if f.Body != nil {
		body = f.Body(body)
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(rec.Code)
	if f.CutBody > 0 && f.CutBody < int64(len(body)) {
		_, _ = w.Write(body[:f.CutBody])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
	return true
}

func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if code != "" {
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"as the test has it"}]}`, code)
	}
}

var (
	dashDigest = regexp.MustCompile(`/manifests/sha256-([0-9a-f]{64})$`)
	blobPath   = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)$`)
	uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
)

// mount keeps blobs apart by repository and mounts them on request. The handler
// below has one pool of blobs for all repositories.
func (r *Registry) mount(w http.ResponseWriter, req *http.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := blobPath.FindStringSubmatch(req.URL.Path); m != nil && !r.blobs[m[1]][m[2]] {
		answer(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return true
	}
	m := uploadPath.FindStringSubmatch(req.URL.Path)
	if m == nil {
		return false
	}
	q := req.URL.Query()
	add := func(d string) {
		if r.blobs[m[1]] == nil {
			r.blobs[m[1]] = map[string]bool{}
		}
		r.blobs[m[1]][d] = true
	}
	if d := q.Get("mount"); d != "" && r.blobs[q.Get("from")][d] {
		add(d)
		w.Header().Set("Docker-Content-Digest", d)
		w.Header().Set("Location", strings.TrimSuffix(req.URL.Path, "uploads/")+d)
		w.WriteHeader(http.StatusCreated)
		return true
	}
	if d := q.Get("digest"); d != "" {
		add(d)
	}
	return false
}
