package mirror

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// recorder is another origin than the registry's, and keeps all that it is sent.
type recorder struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := httputil.DumpRequest(req, true)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, string(b))
		w.Header().Set("WWW-Authenticate", `Basic realm="me too"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// way is one in which a registry may lead a client to another origin.
type way struct {
	fault   registrytest.Fault
	arrives bool // something does, and no secret
}

func strayed(elsewhere string, secure bool) map[string]way {
	location := map[string]string{"Location": elsewhere + "/v2/app/blobs/uploads/1"}
	bearer := map[string]string{"WWW-Authenticate": `Bearer realm="` + elsewhere + `/token",service="x",scope="repository:app:pull"`}
	next := map[string]string{"Link": "<" + elsewhere + `/next>; rel="next"`}
	ways := map[string]way{
		"redirected blob":     {registrytest.Fault{Method: "GET", Path: blobs, Status: 307, Header: location}, !secure},
		"redirected manifest": {registrytest.Fault{Method: "GET", Path: manifests, Status: 302, Header: location}, !secure},
		"redirected question": {registrytest.Fault{Method: "HEAD", Path: blobs, Status: 308, Header: location}, !secure},
		"redirected upload":   {registrytest.Fault{Method: "POST", Path: uploads, Status: 307, Header: location}, !secure},
		"place of an upload":  {registrytest.Fault{Method: "POST", Path: uploads, Status: 202, Header: location}, false},
		"next page":           {registrytest.Fault{Method: "GET", Path: regexp.MustCompile(`/referrers/`), Header: next}, false},
	}
	if secure { // a registry without TLS may have its tokens from one without TLS
		ways["token service"] = way{registrytest.Fault{Method: "GET", Path: manifests, Status: 401, Header: bearer}, false}
	}
	return ways
}

// A registry that has the client's password can't have it sent to another origin:
// not by redirects, the place of an upload, the next page of a list, or a token
// service without TLS where the registry has it.
func TestSecretsReachOneOrigin(t *testing.T) {
	const user, secret = "ada", "c4n4ry/s3cr3t"
	forms := []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))}
	for _, secure := range []bool{false, true} {
		for name := range strayed("", secure) {
			t.Run(name+map[bool]string{true: ", TLS"}[secure], func(t *testing.T) {
				elsewhere := newRecorder(t)
				way := strayed(elsewhere.URL, secure)[name]
				reg := registrytest.Start(registrytest.Options{TLS: secure, Username: user, Password: secret})
				defer reg.Close()
				f := newFixture(t)
				o := ClientOptions{Credential: Credential{user, secret}, CredentialHost: reg.Host}
				if secure {
					o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
					if err := os.WriteFile(o.CAFile, reg.CA, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := f.send(f.client(o), nil, reg, map[string]ocispec.Descriptor{"app:v1": f.artifact("a", 5000)}); err != nil {
					t.Fatal(err)
				}
				reg.Reset()
				reg.Fail(way.fault)
				c := f.client(o) // it has no token yet
				_, err := c.Pull(f.ctx, []layout.Reference{ref(t, reg.Host+"/app:v1")}, newStore(t), nil)
				_, serr := f.send(c, nil, reg, map[string]ocispec.Descriptor{"new:v1": f.artifact("new", 6000)})
				if err == nil && serr == nil {
					t.Error("nothing went wrong")
				}
				if n := reg.Count(way.fault.Method + " .*" + way.fault.Path.String()); secure && way.fault.Status/100 == 3 && n > 4 {
					t.Errorf("asked %d times for what is refused", n)
				}
				got := elsewhere.requests()
				if way.arrives != (len(got) > 0) {
					t.Errorf("%d requests: %v, %v", len(got), err, serr)
				}
				all := strings.Join(got, "\n")
				for _, e := range []error{err, serr} {
					if e != nil {
						all += e.Error()
					}
				}
				for _, form := range forms {
					if strings.Contains(all, form) {
						t.Errorf("the secret left its origin: %s", all)
					}
				}
			})
		}
	}
}

// The addresses in a descriptor are asked by nobody, whether its blob is there or not.
func TestURLsAreNotAsked(t *testing.T) {
	f := newFixture(t)
	elsewhere := newRecorder(t)
	layer := f.push("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("a layer"))
	layer.URLs = []string{elsewhere.URL + "/layer"}
	a := f.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: f.push("application/vnd.test.config", []byte("{}")), Layers: []ocispec.Descriptor{layer},
	})
	f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": a})
	refs := []layout.Reference{ref(t, f.src.Host+"/app:v1")}
	if _, err := f.client(ClientOptions{}).Pull(f.ctx, refs, newStore(t), nil); err != nil {
		t.Error(err)
	}
	f.src.Fail(registrytest.Fault{Path: blobs, Status: 404})
	if _, err := f.client(ClientOptions{}).Pull(f.ctx, refs, newStore(t), nil); err == nil {
		t.Error("a layer came that the registry does not have")
	}
	if got := elsewhere.requests(); len(got) > 0 {
		t.Errorf("asked: %q", got)
	}
}
