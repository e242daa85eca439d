package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// fixture is content in a store and two registries.
type fixture struct {
	*testing.T
	ctx      context.Context
	store    *layout.Store
	src, dst *registrytest.Registry
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, ctx: t.Context(), store: newStore(t)}
	f.src = registrytest.Start(registrytest.Options{})
	f.dst = registrytest.Start(registrytest.Options{Mount: true})
	t.Cleanup(f.src.Close)
	t.Cleanup(f.dst.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return f
}

func newStore(t *testing.T) *layout.Store {
	t.Helper()
	s, err := layout.OpenStore(t.Context(), filepath.Join(t.TempDir(), "layout"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (f *fixture) client(o ClientOptions) *Client {
	f.Helper()
	c, err := NewClient(o)
	if err != nil {
		f.Fatal(err)
	}
	return c
}

func (f *fixture) push(mediaType string, b []byte) ocispec.Descriptor {
	f.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := layout.PushBytes(f.ctx, f.store, d, b); err != nil {
		f.Fatal(err)
	}
	return d
}

func (f *fixture) json(mediaType string, v any) ocispec.Descriptor {
	f.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	return f.push(mediaType, b)
}

// artifact makes an artifact of blobs of these sizes; equal seeds give equal
// blobs.
func (f *fixture) artifact(seed string, sizes ...int) ocispec.Descriptor {
	f.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: f.push("application/vnd.test.config", []byte(`{"seed":"`+seed+`"}`)),
	}
	for _, n := range sizes {
		m.Layers = append(m.Layers, f.push("application/vnd.test.layer", noise(n)))
	}
	return f.json(m.MediaType, m)
}

func (f *fixture) index(children ...ocispec.Descriptor) ocispec.Descriptor {
	f.Helper()
	return f.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
	})
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func ref(t *testing.T, s string) layout.Reference {
	t.Helper()
	r, err := layout.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send pushes artifacts from the store to names in a registry.
func (f *fixture) send(c *Client, o *PlanOptions, to *registrytest.Registry, artifacts map[string]ocispec.Descriptor) (*Report, error) {
	f.Helper()
	var targets []Target
	for name, d := range artifacts {
		targets = append(targets, Target{Source: name, Descriptor: d, Reference: ref(f.T, to.Host+"/"+name)})
	}
	p, err := c.Plan(f.ctx, f.store, targets, o)
	if err != nil {
		return nil, err
	}
	return p.Push(f.ctx)
}

func (f *fixture) mustSend(to *registrytest.Registry, artifacts map[string]ocispec.Descriptor) {
	f.Helper()
	if _, err := f.send(f.client(ClientOptions{}), nil, to, artifacts); err != nil {
		f.Fatal(err)
	}
}

// same fetches an artifact into a new store, where every byte of it is hashed,
// and compares the digest.
func (f *fixture) same(from *registrytest.Registry, name string, want ocispec.Descriptor) {
	f.Helper()
	got, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(f.T, from.Host+"/"+name)}, newStore(f.T), nil)
	if err != nil {
		f.Fatalf("%s: %v", name, err)
	}
	if got.Entries[0].Digest != want.Digest {
		f.Errorf("%s is %s, want %s", name, got.Entries[0].Digest, want.Digest)
	}
}

func TestPullAndPush(t *testing.T) {
	f := newFixture(t)
	shared := f.artifact("shared", 5000, 1<<20)
	nested := f.index(f.index(shared, f.artifact("b", 300)), shared, f.artifact("c", 1<<20, 0))
	f.mustSend(f.src, map[string]ocispec.Descriptor{"acme/app:v1": nested, "acme/one:v1": shared})

	c, dst := f.client(ClientOptions{}), newStore(t)
	f.src.Reset()
	refs := []layout.Reference{ref(t, f.src.Host+"/acme/app:v1"), ref(t, f.src.Host+"/acme/one:v1")}
	got, err := c.Pull(f.ctx, refs, dst, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []ocispec.Descriptor{nested, shared} {
		if e := got.Entries[i]; e.Digest != want.Digest || layout.EntryName(e) != refs[i].String() {
			t.Errorf("entry %d is %s %s", i, layout.EntryName(e), e.Digest)
		}
	}
	// Shared between artifacts and within one: 1 MiB, 5000, 300, 0, and 3 configs.
	if n := f.src.Count("^GET .*/blobs/"); n != 7 || got.Fetched != 7 {
		t.Errorf("%d blobs were fetched, %d said, want 7", n, got.Fetched)
	}
	if n := f.src.Count("/manifests/v1$"); n != 2 {
		t.Errorf("tags were resolved %d times, want 2", n)
	}
	f.src.Reset()
	if again, err := c.Pull(f.ctx, refs, dst, nil); err != nil || again.Reused != 7 || f.src.Count("/blobs/") != 0 {
		t.Errorf("a second pull: %+v, %v", again, err)
	}
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"sea/app:v1": nested})
	f.same(f.dst, "sea/app:v1", nested)
}

// order proves P4: what a request needs was sent before it.
func TestPushOrder(t *testing.T) {
	f := newFixture(t)
	child := f.artifact("a", 100)
	root := f.index(f.index(child), child)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"app:v1": root})
	var manifests []string
	blobs := true
	for _, q := range f.dst.Requests() {
		switch {
		case len(q) > 3 && q[:3] == "PUT" && bytes.Contains([]byte(q), []byte("/blobs/uploads/")):
			if !blobs {
				t.Errorf("a blob came after a manifest: %s", q)
			}
		case len(q) > 3 && q[:3] == "PUT":
			blobs = false
			manifests = append(manifests, q)
		}
	}
	if len(manifests) != 3 || manifests[2] != "PUT /v2/app/manifests/v1" || manifests[0] != "PUT /v2/app/manifests/"+child.Digest.String() {
		t.Errorf("manifests came as %q", manifests)
	}
}

func TestConflictSendsNothing(t *testing.T) {
	f := newFixture(t)
	old, fresh := f.artifact("old", 10), f.artifact("new", 20)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"a:v1": old, "b:v1": old})
	f.dst.Reset()
	artifacts := map[string]ocispec.Descriptor{"a:v1": fresh, "b:v1": fresh, "c:v1": fresh}
	rep, err := f.send(f.client(ClientOptions{}), nil, f.dst, artifacts)
	if !errors.Is(err, layout.ErrConflict) || layout.ClassOf(err) != layout.ClassPolicy || len(rep.Artifacts) != 0 {
		t.Errorf("error %v, report %+v", err, rep)
	}
	if n := f.dst.Count("^(PUT|POST|PATCH|DELETE)"); n != 0 {
		t.Errorf("%d requests sent something", n)
	}
	if _, err := f.send(f.client(ClientOptions{}), &PlanOptions{Force: true}, f.dst, artifacts); err != nil {
		t.Fatal(err)
	}
	f.same(f.dst, "a:v1", fresh)
}

func TestMount(t *testing.T) {
	f := newFixture(t)
	a, b := f.artifact("a", 1<<16, 77), f.artifact("b", 1<<16)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"one:v1": a})
	// Only one:v1 is part of the same plan, so it is known to have the blob.
	rep, err := f.send(f.client(ClientOptions{}), nil, f.dst, map[string]ocispec.Descriptor{"one:v1": a, "two:v1": b})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Mounted != 1 || rep.Uploaded != 1 {
		t.Errorf("%d mounted and %d uploaded, want 1 and 1 (the config)", rep.Mounted, rep.Uploaded)
	}
	f.same(f.dst, "two:v1", b)

	// A registry that can't mount says 202, and gets the bytes in the session that
	// it opened.
	other := registrytest.Start(registrytest.Options{})
	defer other.Close()
	other.Fail(registrytest.Fault{Method: "HEAD", Path: blobs, Status: 404})
	rep, err = f.send(f.client(ClientOptions{}), &PlanOptions{Jobs: 1}, other, map[string]ocispec.Descriptor{"one:v1": a, "two:v1": b})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Mounted != 0 || rep.Uploaded != 5 {
		t.Errorf("%d mounted and %d uploaded, want 0 and 5", rep.Mounted, rep.Uploaded)
	}
}

func TestPushByDigest(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", 10)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"one@" + a.Digest.String(): a})
	f.same(f.dst, "one@"+a.Digest.String(), a)
	rep, err := f.send(f.client(ClientOptions{}), nil, f.dst, map[string]ocispec.Descriptor{"one@" + a.Digest.String(): a})
	if err != nil || rep.Artifacts[0].Status != StatusPresent {
		t.Errorf("a second run: %+v, %v", rep, err)
	}
}

func TestCancelledPush(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", 10)
	f.dst.Fail(registrytest.Fault{Method: "PUT", Stall: true})
	ctx, cancel := context.WithTimeout(f.ctx, 200*time.Millisecond)
	defer cancel()
	f.ctx = ctx
	if _, err := f.send(f.client(ClientOptions{}), nil, f.dst, map[string]ocispec.Descriptor{"one:v1": a}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A tag that somebody sets while blobs are uploaded is not moved.
func TestTagSetMeanwhile(t *testing.T) {
	f := newFixture(t)
	mine, theirs := f.artifact("mine", 10), f.artifact("theirs", 20)
	target := []Target{{Source: "a", Descriptor: mine, Reference: ref(t, f.dst.Host+"/a:v1")}}
	p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"a:v1": theirs})
	if _, err := p.Push(f.ctx); !errors.Is(err, layout.ErrConflict) {
		t.Errorf("error %v", err)
	}
	f.same(f.dst, "a:v1", theirs)
}

// A registry that restarts is waited for; one that never answered is not, for
// long.
func TestRestart(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", 1000)
	target := []Target{{Source: "a", Descriptor: a, Reference: ref(t, f.dst.Host+"/a:v1")}}
	p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.dst.Fail(registrytest.Fault{Method: "POST", Times: 3, Drop: true})
	if _, err := p.Push(f.ctx); err != nil {
		t.Error(err)
	}
	f.dst.Reset()
	f.same(f.dst, "a:v1", a)
}

// Over HTTP/2 a stream that is reset is no broken connection, and goes on too.
func TestResumeHTTP2(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", aLayer)
	src := registrytest.Start(registrytest.Options{TLS: true})
	t.Cleanup(src.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, src.CA, 0o644); err != nil {
		t.Fatal(err)
	}
	c := f.client(ClientOptions{CAFile: ca})
	if _, err := f.send(c, nil, src, map[string]ocispec.Descriptor{"a:v1": a}); err != nil {
		t.Fatal(err)
	}
	src.Fail(registrytest.Fault{Method: "GET", Path: blobs, Times: 2, CutBody: aLayer / 2})
	if _, err := c.Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/a:v1")}, newStore(t), nil); err != nil {
		t.Error(err)
	}
}

func TestWithoutHome(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	t.Setenv("DOCKER_CONFIG", "")
	if _, err := NewClient(ClientOptions{}); err != nil {
		t.Error(err)
	}
}

// Indexes can name manifests without end. What an artifact may take of the layout before
// anything else is known of it is bounded.
func TestManifestsWithoutEnd(t *testing.T) {
	f := newFixture(t)
	var children []ocispec.Descriptor
	for i := range 4 {
		children = append(children, f.artifact(strconv.Itoa(i)))
	}
	root := f.index(children...)
	f.mustSend(f.src, map[string]ocispec.Descriptor{"a:v1": root})
	repo, err := f.client(ClientOptions{}).repository(f.ctx, f.src.Host, "a")
	if err != nil {
		t.Fatal(err)
	}
	for room, want := range map[int64]layout.Class{5 * leastManifest: "", 5*leastManifest - 1: layout.ClassLimit} {
		f.src.Reset()
		src := &manifestSource{repo: repo, dst: newStore(t), room: room}
		err := layout.Walk(f.ctx, layout.WithAbsent(src, nil), root, func(layout.Node) error { return nil })
		if (err == nil) != (want == "") || err != nil && layout.ClassOf(err) != want {
			t.Errorf("%d: %v", room, err)
		}
		if n := f.src.Count("GET .*/manifests/"); int64(n) != room/leastManifest {
			t.Errorf("%d: %d manifests are fetched", room, n)
		}
	}
}
