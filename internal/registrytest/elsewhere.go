package registrytest

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
)

// Traffic is what a server was sent: request lines, headers and bodies.
type Traffic struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// record notes a request, and its body as it is read.
func (t *Traffic) record(req *http.Request) {
	head, err := httputil.DumpRequest(req, false)
	if err != nil {
		head = []byte(err.Error())
	}
	_, _ = t.Write(append(head, '\n'))
	req.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(req.Body, t), req.Body}
}

// Write implements [io.Writer].
func (t *Traffic) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

// Bytes is all of it.
func (t *Traffic) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.b.Bytes())
}

// Elsewhere is another origin, which a registry may lead its clients to. It records
// all that it is sent. What it does with a request is the first part of its path:
//
//	/serve/…                   gives the content of the registry, to everybody
//	/basic/…, /bearer/…        asks for a credential
//	/back/SCHEME/HOST/…        redirects there
//	/take/…                    takes what it is sent
//	/token                     gives a token
type Elsewhere struct {
	URL     string // its origin
	Traffic Traffic

	of     *Registry
	server *httptest.Server
}

// NewElsewhere is another origin beside a registry. It has no server; see Handler.
func NewElsewhere(url string, of *Registry) *Elsewhere { return &Elsewhere{URL: url, of: of} }

// StartElsewhere runs another origin until Close. It has the address of the registry,
// and another port.
func StartElsewhere(of *Registry) *Elsewhere {
	e := NewElsewhere("", of)
	e.server = httptest.NewUnstartedServer(e.Handler())
	e.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.server.Start()
	e.URL = "http://" + e.server.Listener.Addr().(*net.TCPAddr).AddrPort().String()
	return e
}

// Close stops the server.
func (e *Elsewhere) Close() {
	e.server.CloseClientConnections()
	e.server.Close()
}

// Handler answers.
func (e *Elsewhere) Handler() http.Handler { return http.HandlerFunc(e.serve) }

func (e *Elsewhere) serve(w http.ResponseWriter, req *http.Request) {
	e.Traffic.record(req)
	verb, rest, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	switch verb {
	case "serve":
		req.URL.Path = "/" + rest
		e.of.content(w, req)
	case "basic":
		w.Header().Set("WWW-Authenticate", `Basic realm="elsewhere"`)
		answer(w, http.StatusUnauthorized, "UNAUTHORIZED")
	case "bearer":
		w.Header().Set("WWW-Authenticate", bearer(e.URL+"/token"))
		answer(w, http.StatusUnauthorized, "UNAUTHORIZED")
	case "back":
		scheme, rest, _ := strings.Cut(rest, "/")
		w.Header().Set("Location", scheme+"://"+rest+"?"+req.URL.RawQuery)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "take":
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Location", e.URL+"/take/on")
		w.WriteHeader(http.StatusCreated)
	case "token":
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"token":"from elsewhere","access_token":"from elsewhere"}`)
	default:
		answer(w, http.StatusNotFound, "")
	}
}
