package mirror

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

var (
	blobs     = regexp.MustCompile(`/blobs/sha256:`)
	uploads   = regexp.MustCompile(`/blobs/uploads/`)
	manifests = regexp.MustCompile(`/manifests/`)
)

const aLayer = 300_000

// What passes is met by a second try, in both directions.
func TestPassingFaults(t *testing.T) {
	now := map[string]string{"Retry-After": "0"}
	for name, fault := range map[string]registrytest.Fault{
		"429 for a manifest":      {Method: "GET", Path: manifests, Times: 2, Status: 429, Header: now},
		"503 for a blob":          {Method: "GET", Path: blobs, Times: 2, Status: 503, Header: now},
		"reset in a manifest":     {Method: "GET", Path: manifests, Times: 1, CutBody: 20},
		"reset in a blob":         {Method: "GET", Path: blobs, Times: 2, CutBody: 1000},
		"another blob, once":      {Method: "GET", Path: blobs, Times: 1, Body: spoil},
		"another manifest, once":  {Method: "GET", Path: manifests, Times: 1, Body: spoil},
		"429 for HEAD":            {Method: "HEAD", Times: 2, Status: 429, Header: now},
		"502 for POST":            {Method: "POST", Times: 2, Status: 502, Header: now},
		"500 for an upload":       {Method: "PUT", Path: uploads, Times: 2, Status: 500},
		"upload session is lost":  {Method: "PUT", Path: uploads, Times: 1, Status: 404, Code: "BLOB_UPLOAD_UNKNOWN"},
		"reset in an upload":      {Method: "PUT", Path: uploads, Times: 2, CutSend: 100},
		"429 for PUT of manifest": {Method: "PUT", Path: manifests, Times: 2, Status: 429, Header: now},
		"stall in an upload":      {Method: "PUT", Path: uploads, Times: 1, Stall: true},
		"stall in a download":     {Method: "GET", Path: blobs, Times: 1, Stall: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			a := f.artifact("a", aLayer)
			f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": a})
			f.src.Fail(fault)
			f.dst.Fail(fault)
			c := f.client(ClientOptions{StallTimeout: 300 * time.Millisecond})
			dst := newStore(t)
			if _, err := c.Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/app:v1")}, dst, nil); err != nil {
				t.Errorf("pull: %v", err)
			}
			if _, err := f.send(c, nil, f.dst, map[string]ocispec.Descriptor{"app:v1": a}); err != nil {
				t.Errorf("push: %v", err)
			}
			f.dst.Reset()
			f.same(f.dst, "app:v1", a)
		})
	}
}

func spoil(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return b
}

// A download that breaks off goes on where it stopped, and at its begin where the
// registry does not offer parts.
func TestResume(t *testing.T) {
	for name, tt := range map[string]struct {
		header map[string]string
		parts  bool
	}{
		"parts":    {map[string]string{"Accept-Ranges": "bytes"}, true},
		"no parts": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			a := f.artifact("a", aLayer)
			f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": a})
			layer := regexp.MustCompile("/blobs/" + digest.FromBytes(noise(aLayer)).String())
			src := f.src.Beside(registrytest.Options{}) // which has not been sent anything yet
			defer src.Close()
			fault := registrytest.Fault{Method: "GET", Path: layer, CutBody: aLayer / 4, Header: tt.header}
			if !tt.parts {
				fault.Times = 3
			}
			src.Fail(fault)
			if _, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/app:v1")}, newStore(t), nil); err != nil {
				t.Fatal(err)
			}
			asked := regexp.MustCompile(`\r\nRange: bytes=(\d+)-(\d+)\r\n`).FindAllSubmatch(src.Traffic.Bytes(), -1)
			if !tt.parts && len(asked) > 0 || tt.parts && len(asked) < 3 {
				t.Errorf("%d parts were asked for: %q", len(asked), asked)
			}
			last := 0
			for _, part := range asked {
				from, err := strconv.Atoi(string(part[1]))
				if err != nil || from <= last || string(part[2]) != strconv.Itoa(aLayer-1) {
					t.Errorf("after %d: %q, %v", last, part[0], err)
				}
				last = from
			}
		})
	}
}

// What does not pass ends with an error of its class that names the reference,
// and nothing of it is kept.
func TestLastingFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault registrytest.Fault
		class layout.Class
	}{
		"another manifest":      {registrytest.Fault{Method: "GET", Path: manifests, Body: spoil}, layout.ClassRemote},
		"another blob":          {registrytest.Fault{Method: "GET", Path: blobs, Body: spoil}, layout.ClassRemote},
		"a short blob":          {registrytest.Fault{Method: "GET", Path: blobs, Body: func(b []byte) []byte { return b[:len(b)/2] }}, layout.ClassRemote},
		"a long blob":           {registrytest.Fault{Method: "GET", Path: blobs, Body: func(b []byte) []byte { return append(b, 'x') }}, layout.ClassRemote},
		"another digest":        {registrytest.Fault{Method: "GET", Path: manifests, Header: map[string]string{"Docker-Content-Digest": digest.FromString("x").String()}}, layout.ClassRemote},
		"a bad digest":          {registrytest.Fault{Method: "GET", Path: manifests, Header: map[string]string{"Docker-Content-Digest": "sha256:../../x"}}, layout.ClassRemote},
		"forbidden":             {registrytest.Fault{Method: "GET", Path: blobs, Status: 403, Code: "DENIED"}, layout.ClassRemote},
		"a huge manifest":       {registrytest.Fault{Method: "GET", Path: manifests, Body: func([]byte) []byte { return make([]byte, layout.MaxManifestSize+1) }, Header: map[string]string{"Docker-Content-Digest": ""}}, layout.ClassLimit},
		"an unknown media type": {registrytest.Fault{Method: "GET", Path: manifests, Header: map[string]string{"Content-Type": "text/html"}}, layout.ClassMediaType},
		"a blob is not there":   {registrytest.Fault{Method: "GET", Path: blobs, Status: 404}, layout.ClassMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			f := newFixture(t)
			f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": f.artifact("a", 5000)})
			f.src.Reset()
			f.src.Fail(tt.fault)
			name := f.src.Host + "/app"
			_, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, name+":v1")}, newStore(t), nil)
			if err == nil {
				t.Fatal("it was taken")
			}
			if got := layout.ClassOf(err); got != tt.class {
				t.Errorf("class %s, want %s: %v", got, tt.class, err)
			}
			if !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error does not name %s in one line: %v", name, err)
			}
		})
	}
}

// A registry that says it has blobs and children, and does not, gets them.
func TestLyingRegistry(t *testing.T) {
	f := newFixture(t)
	child := f.artifact("a", 1000)
	root := f.index(child)
	artifacts := map[string]ocispec.Descriptor{"app:v1": root}
	f.dst.Fail(registrytest.Fault{Method: "HEAD", Path: blobs, Status: 200, Header: map[string]string{"Docker-Content-Digest": "", "Content-Length": "1000"}})
	f.dst.Fail(registrytest.Fault{Method: "HEAD", Path: regexp.MustCompile(`/manifests/sha256:`), Status: 200, Header: map[string]string{
		"Docker-Content-Digest": child.Digest.String(), "Content-Type": child.MediaType, "Content-Length": fmt.Sprint(child.Size),
	}})
	f.dst.Fail(registrytest.Fault{Method: "PUT", Path: manifests, Times: 1, Status: 400, Code: "MANIFEST_BLOB_UNKNOWN"})
	f.dst.Fail(registrytest.Fault{Method: "PUT", Path: manifests, Times: 1, Status: 404, Code: "MANIFEST_BLOB_UNKNOWN"})
	if _, err := f.send(f.client(ClientOptions{}), nil, f.dst, artifacts); err != nil {
		t.Fatal(err)
	}
	f.dst.Reset()
	f.same(f.dst, "app:v1", root)
}

// One artifact that fails keeps no other from arriving, and its tag stays away.
func TestPartial(t *testing.T) {
	f := newFixture(t)
	a, b := f.artifact("a", 1000), f.artifact("b", 2000)
	f.dst.Fail(registrytest.Fault{Method: "PUT", Path: regexp.MustCompile("/v2/a/blobs"), Status: 403, Code: "DENIED"})
	rep, err := f.send(f.client(ClientOptions{}), nil, f.dst, map[string]ocispec.Descriptor{"a:v1": a, "b:v1": b})
	if !errors.Is(err, layout.ErrPartial) {
		t.Errorf("error %v", err)
	}
	for _, r := range rep.Artifacts {
		if want := map[string]Status{"a:v1": StatusFailed, "b:v1": StatusPushed}[r.Source]; r.Status != want {
			t.Errorf("%s is %s, want %s", r.Source, r.Status, want)
		}
	}
	if n := f.dst.Count("PUT /v2/a/manifests/"); n != 0 {
		t.Error("a manifest was pushed whose blobs had failed")
	}
	f.dst.Reset()
	f.same(f.dst, "b:v1", b)
}

// Whichever request of a push is the one that fails for good, the tag names
// nothing or the whole artifact, and the next run completes it.
func TestEveryRequestFails(t *testing.T) {
	f := newFixture(t)
	child := f.artifact("a", 1000, 2000)
	root := f.index(child, f.artifact("b", 1000))
	artifacts := map[string]ocispec.Descriptor{"app:v1": root}
	for n := 0; ; n++ {
		dst := registrytest.Start(registrytest.Options{Mount: true})
		dst.Fail(registrytest.Fault{Skip: n, Times: 1, Status: 403, Code: "DENIED"})
		c := f.client(ClientOptions{})
		_, err := f.send(c, &PlanOptions{Jobs: 1}, dst, artifacts)
		asked := len(dst.Requests())
		dst.Reset()
		_, perr := c.Pull(f.ctx, []layout.Reference{ref(t, dst.Host+"/app:v1")}, newStore(t), nil)
		if err == nil && perr != nil || err != nil && perr != nil && !errors.Is(perr, layout.ErrNotFound) {
			t.Errorf("request %d: push %v, pull %v", n, err, perr)
		}
		if _, err := f.send(c, nil, dst, artifacts); err != nil {
			t.Errorf("request %d: the second run: %v", n, err)
		}
		f.same(dst, "app:v1", root)
		dst.Close()
		if asked <= n {
			if err != nil {
				t.Errorf("a push without a fault: %v", err)
			}
			return
		}
		if n > 200 {
			t.Fatal("no end")
		}
	}
}

// An address that a registry redirects to may be signed, and must not be shown.
func TestErrorsShowNoAddresses(t *testing.T) {
	f := newFixture(t)
	f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": f.artifact("a", 5000)})
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "short") },
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "ftp://bucket/?signature=canary")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
	} {
		f.src.Reset()
		f.src.Fail(registrytest.Fault{Method: "GET", Path: blobs, Answer: func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Has("signature") {
				answer(w, req)
			} else {
				http.Redirect(w, req, "/bucket/blobs/sha256:?signature=canary", http.StatusTemporaryRedirect)
			}
		}})
		_, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/app:v1")}, newStore(t), nil)
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), f.src.Host) {
			t.Errorf("error %v", err)
		}
	}
}

// A connection that breaks at the first question does not make a registry one with
// TLS.
func TestFirstConnectionBreaks(t *testing.T) {
	f := newFixture(t)
	f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": f.artifact("a", 10)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for first := true; ; first = false {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", f.src.Host)
			if first || err != nil {
				conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, conn); to.Close() }()
			go func() { _, _ = io.Copy(conn, to); conn.Close() }()
		}
	}()
	if _, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, l.Addr().String()+"/app:v1")}, newStore(t), nil); err != nil {
		t.Error(err)
	}
}

// A registry that goes on refusing is asked as often as the policy says, and not
// as often again.
func TestLastingRefusalIsCounted(t *testing.T) {
	f := newFixture(t)
	f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": f.artifact("a", 10)})
	c, refs := f.client(ClientOptions{}), []layout.Reference{ref(t, f.src.Host+"/app:v1")}
	if _, err := c.Pull(f.ctx, refs, newStore(t), nil); err != nil {
		t.Fatal(err)
	}
	f.src.Reset()
	f.src.Fail(registrytest.Fault{Path: manifests, Status: 429, Header: map[string]string{"Retry-After": "0"}})
	if _, err := c.Pull(f.ctx, refs, newStore(t), nil); layout.ClassOf(err) != layout.ClassRemote {
		t.Errorf("error %v", err)
	}
	if n := f.src.Count("/manifests/"); n != 6 {
		t.Errorf("asked %d times, want once and five times more", n)
	}
}

// Only layers may be left out. What says of itself that it is not to be distributed
// and is the config of an image is missing, and so is what another mention says is to
// be distributed.
func TestOnlyLayersAreLeftOut(t *testing.T) {
	f := newFixture(t)
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	foreign := f.push(ocispec.MediaTypeImageLayerNonDistributable, []byte("{}")) //nolint:staticcheck // it is what others still write
	m.Config = foreign
	asConfig := f.json(m.MediaType, m)
	plain := foreign
	plain.MediaType = ocispec.MediaTypeImageLayer
	m.Config, m.Layers = f.push("a/b", []byte("config")), []ocispec.Descriptor{foreign, plain}
	asBoth := f.json(m.MediaType, m)
	m.Layers = m.Layers[:1]
	f.mustSend(f.src, map[string]ocispec.Descriptor{"config:v1": asConfig, "both:v1": asBoth, "later:v1": f.index(f.json(m.MediaType, m), asConfig)})
	f.src.Fail(registrytest.Fault{Path: regexp.MustCompile("/blobs/" + foreign.Digest.String()), Status: 404, Code: "BLOB_UNKNOWN"})
	for _, name := range []string{"config:v1", "both:v1", "later:v1"} {
		_, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/"+name)}, newStore(t), &PullOptions{AllowNondistributable: true})
		if layout.ClassOf(err) != layout.ClassMissing {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A blob of two sizes is found before any is fetched: one of the two is a lie.
func TestTwoSizesOfOneBlob(t *testing.T) {
	f := newFixture(t)
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: f.push("a/b", []byte("{}"))}
	lie := m.Config
	lie.Size++
	m.Layers = []ocispec.Descriptor{m.Config, lie}
	f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": f.json(m.MediaType, m)})
	f.src.Reset()
	_, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/app:v1")}, newStore(t), nil)
	if layout.ClassOf(err) != layout.ClassSize || f.src.Count("^GET .*/blobs/") > 0 {
		t.Errorf("error %v", err)
	}
}
