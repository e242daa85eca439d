package crash

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// site is a registry that outlives its clients, and counts what goes in and out.
type site struct {
	*registrytest.Registry
	host        string
	noReferrers bool
	bytes       atomic.Int64 // of all bodies
}

func startSite(t *testing.T, noReferrers bool) *site {
	t.Helper()
	s := &site{Registry: registrytest.Start(registrytest.Options{Mount: true, NoReferrers: noReferrers}), noReferrers: noReferrers}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients die
	server.Start()
	s.host = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		s.Close()
	})
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	r.Body = countedBody{r.Body, &s.bytes}
	if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
		// The handler keeps half a manifest when the client dies. No registry does.
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	s.Handler().ServeHTTP(countedAnswer{w, &s.bytes}, r)
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type countedAnswer struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c countedAnswer) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

var (
	blobFetched = regexp.MustCompile(`^GET /v2/.+/blobs/(sha256:[0-9a-f]+)$`)
	blobStored  = regexp.MustCompile(`^(?:PUT|POST|PATCH) /v2/(.+)/blobs/uploads/.*[?&]digest=(sha256)(?::|%3A)([0-9a-f]+)`)
)

// fetched lists the blobs that were asked for since the last Reset.
func (s *site) fetched() []digest.Digest {
	var out []digest.Digest
	for _, q := range s.Requests() {
		if m := blobFetched.FindStringSubmatch(q); m != nil {
			out = append(out, digest.Digest(m[1]))
		}
	}
	return out
}

// stored lists the blobs that were sent since the last Reset, as REPOSITORY@DIGEST.
func (s *site) stored() []string {
	var out []string
	for _, q := range s.Requests() {
		if m := blobStored.FindStringSubmatch(q); m != nil {
			out = append(out, m[1]+"@"+m[2]+":"+m[3])
		}
	}
	return out
}

// has asks for a blob of a repository.
func (s *site) has(t *testing.T, repo, d string) bool {
	t.Helper()
	resp, err := http.Head("http://" + path.Join(s.host, "v2", repo, "blobs", d))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// artifacts fetches all that the tags lead to, and what refers to it. All of it must
// be there and hash to its name. It gives the digests by REPOSITORY:TAG, that of the
// tag first.
func (s *site) artifacts(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	reg, err := remote.NewRegistry(s.host)
	if err != nil {
		t.Fatal(err)
	}
	reg.PlainHTTP = true
	ctx := t.Context()
	err = reg.Repositories(ctx, "", func(repos []string) error {
		for _, name := range repos {
			repo, err := reg.Repository(ctx, name)
			if err != nil {
				return err
			}
			if err := repo.Tags(ctx, "", func(tags []string) error {
				for _, tag := range tags {
					if strings.HasPrefix(tag, "sha256-") && !s.noReferrers {
						continue // the handler has the referrers API and does not say so: this is one too many
					}
					content, err := fetchAll(ctx, repo.(*remote.Repository), tag)
					if err != nil {
						t.Errorf("%s:%s is not complete: %v", name, tag, err)
					}
					out[name+":"+tag] = content
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fetchAll(ctx context.Context, repo *remote.Repository, tag string) ([]string, error) {
	var digests []string
	o := oras.DefaultExtendedCopyOptions
	o.Concurrency = 1
	o.PostCopy = func(_ context.Context, d ocispec.Descriptor) error {
		digests = append(digests, d.Digest.String())
		return nil
	}
	root, err := oras.ExtendedCopy(ctx, repo, tag, memory.New(), tag, o)
	slices.Sort(digests)
	return append([]string{root.Digest.String()}, slices.Compact(digests)...), err
}
