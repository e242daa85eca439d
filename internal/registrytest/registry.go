// Package registrytest runs real registry handlers in the process of a test,
// records what they are asked, and has them fail on demand. Cases lists the ways in
// which registries misbehave.
package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Options say what kind of registry is wanted. The zero value is one that keeps
// everything in memory, speaks plain HTTP and asks nobody's name.
type Options struct {
	TLS                bool   // a certificate of its own
	Username, Password string // basic authentication
	Token              string // have a token service give out this bearer token for the user name and the password
	IdentityToken      string // with Token: what the token service takes as well
	Mount              bool   // mount blobs across repositories, as distribution does
	Strict             bool   // refuse manifests whose blobs are not there, as distribution does
	NoReferrers        bool   // lack the referrers API
	DashIsDigest       bool   // take the tag sha256-<hex> for the digest, as GitLab does
	ClientCA           []byte // demand a client certificate of this authority, in PEM; with TLS
}

// Registry is a running registry.
type Registry struct {
	Host    string  // 127.0.0.1:port; whoever leads a name there may set it
	CA      []byte  // the certificate in PEM, if it speaks TLS
	Traffic Traffic // all that it was sent

	server *httptest.Server
	closed chan struct{}
	o      Options
	h      http.Handler
	pool   *pool

	mu       sync.Mutex
	requests []string
	faults   []*Fault
	struck   int
}

// pool is what a registry knows of its blobs beside the handler.
type pool struct {
	mu    sync.Mutex
	blobs map[string]map[string]bool // by repository: digests that were uploaded there
}

// Start runs a registry until Close.
func Start(o Options) *Registry {
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(!o.NoReferrers))
	return start(o, h, &pool{blobs: map[string]map[string]bool{}})
}

// Beside runs another registry with the content of this one, and with options,
// requests and faults of its own.
func (r *Registry) Beside(o Options) *Registry { return start(o, r.h, r.pool) }

func start(o Options, h http.Handler, p *pool) *Registry {
	r := &Registry{o: o, closed: make(chan struct{}), h: h, pool: p}
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
	r.requests, r.faults, r.struck = nil, nil, 0
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.Traffic.record(req)
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.RequestURI())
	f := r.fault(req)
	r.mu.Unlock()
	if f != nil {
		r.fail(w, req, f)
	} else {
		r.honest(w, req)
	}
}

// honest answers as the registry does when nothing goes wrong.
func (r *Registry) honest(w http.ResponseWriter, req *http.Request) {
	switch {
	case r.o.Token != "" && req.URL.Path == tokenPath:
		r.giveToken(w, req)
	case !r.authorized(req):
		r.challenge(w, req)
	default:
		r.content(w, req)
	}
}

// content answers those who may ask.
func (r *Registry) content(w http.ResponseWriter, req *http.Request) {
	if r.o.DashIsDigest && dashDigest.MatchString(req.URL.Path) {
		req.URL.Path = dashDigest.ReplaceAllString(req.URL.Path, "/manifests/sha256:$1")
		if req.Method == http.MethodPut {
			// The handler below does not compare the content with the digest.
			answer(w, http.StatusBadRequest, "DIGEST_INVALID")
			return
		}
	}
	if r.o.Mount && r.mount(w, req) || r.o.Strict && r.refused(w, req) {
		return
	}
	r.h.ServeHTTP(w, req)
}

var (
	dashDigest = regexp.MustCompile(`/manifests/sha256-([0-9a-f]{64})$`)
	blobPath   = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)$`)
	uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
)

// mount keeps blobs apart by repository and mounts them on request. The handler
// below has one pool of blobs for all repositories.
func (r *Registry) mount(w http.ResponseWriter, req *http.Request) bool {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if m := blobPath.FindStringSubmatch(req.URL.Path); m != nil && !r.pool.blobs[m[1]][m[2]] {
		answer(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return true
	}
	m := uploadPath.FindStringSubmatch(req.URL.Path)
	if m == nil {
		return false
	}
	q := req.URL.Query()
	add := func(d string) {
		if r.pool.blobs[m[1]] == nil {
			r.pool.blobs[m[1]] = map[string]bool{}
		}
		r.pool.blobs[m[1]][d] = true
	}
	if d := q.Get("mount"); d != "" && r.pool.blobs[q.Get("from")][d] {
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
