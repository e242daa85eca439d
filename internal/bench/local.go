package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// localRegistry is go-containerregistry's registry in this process, with its blobs on
// the disk. It counts what it is asked.
type localRegistry struct {
	addr   string
	server *http.Server
	h      http.Handler
	blobs  diskBlobs

	mu     sync.Mutex
	counts map[string]int             // by method and kind
	has    map[string]map[string]bool // by repository: its blobs; nil: each has all
}

// startLocal starts a registry that keeps its blobs in a folder. It is empty, or, if
// the folder is that of a layout, has all of its blobs in every repository.
func startLocal(dir string, full bool) (*localRegistry, error) {
	if err := os.MkdirAll(filepath.Join(dir, "sha256"), 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	r := &localRegistry{addr: l.Addr().String(), blobs: diskBlobs(dir), counts: map[string]int{}}
	if !full {
		r.has = map[string]map[string]bool{}
	}
	r.h = registry.New(registry.Logger(quiet), registry.WithReferrersSupport(true), registry.WithBlobHandler(r.blobs))
	r.server = &http.Server{Handler: r, ErrorLog: quiet}
	go func() { _ = r.server.Serve(l) }() // it ends by Close
	return r, nil
}

func (r *localRegistry) address() string { return r.addr }

func (r *localRegistry) close() { r.server.Close() }

// asked gives the requests since the last time, by method and kind.
func (r *localRegistry) asked() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.counts
	r.counts = map[string]int{}
	return out
}

var (
	blobPath   = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)$`)
	uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
	kindPath   = regexp.MustCompile(`/(manifests|blobs/uploads|blobs|referrers|tags)/`)
)

// ServeHTTP has each repository keep its own blobs, and mounts them on request, as
// registries do. The handler below has one pool for all repositories.
func (r *localRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	kind := "/v2/"
	if m := kindPath.FindStringSubmatch(req.URL.Path); m != nil {
		kind = m[1]
	}
	r.mu.Lock()
	r.counts[req.Method+" "+kind]++
	r.mu.Unlock()
	if m := blobPath.FindStringSubmatch(req.URL.Path); m != nil && !r.holds(m[1], m[2]) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	m, q := uploadPath.FindStringSubmatch(req.URL.Path), req.URL.Query()
	if m == nil {
		r.h.ServeHTTP(w, req)
		return
	}
	if d := q.Get("mount"); d != "" && r.holds(q.Get("from"), d) {
		r.add(m[1], d)
		w.Header().Set("Docker-Content-Digest", d)
		w.Header().Set("Location", "/v2/"+m[1]+"/blobs/"+d)
		w.WriteHeader(http.StatusCreated)
		return
	}
	d := q.Get("digest")
	if d != "" && req.Method == http.MethodPut {
		// The handler below stores one PUT at a time. For a POST with a digest, which
		// means the same, it has no lock.
		req.Method, req.URL.Path = http.MethodPost, "/v2/"+m[1]+"/blobs/uploads/"
	}
	r.h.ServeHTTP(w, req)
	if d != "" {
		if _, err := os.Stat(r.blobs.path(d)); err == nil {
			r.add(m[1], d)
		}
	}
}

func (r *localRegistry) holds(repo, d string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.has == nil || r.has[repo][d]
}

func (r *localRegistry) add(repo, d string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has == nil {
		return
	}
	if r.has[repo] == nil {
		r.has[repo] = map[string]bool{}
	}
	r.has[repo][d] = true
}

// diskBlobs keeps blobs in files. The registry's own way of that hashes a blob
// whenever its size is asked for.
type diskBlobs string

func (b diskBlobs) path(digest string) string {
	return filepath.Join(string(b), filepath.FromSlash(strings.Replace(digest, ":", "/", 1)))
}

// Get implements [registry.BlobHandler].
func (b diskBlobs) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(b.path(h.String()))
	if errors.Is(err, os.ErrNotExist) {
		err = registry.ErrNotFound
	}
	return f, err
}

// Stat implements [registry.BlobStatHandler].
func (b diskBlobs) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	fi, err := os.Stat(b.path(h.String()))
	if errors.Is(err, os.ErrNotExist) {
		return 0, registry.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// Put implements [registry.BlobPutHandler]. The reader verifies.
func (b diskBlobs) Put(_ context.Context, _ string, h v1.Hash, rc io.ReadCloser) error {
	defer rc.Close()
	f, err := os.CreateTemp(string(b), "upload-")
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{f}, rc, make([]byte, 64<<10))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), b.path(h.String()))
}
