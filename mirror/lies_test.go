package mirror

import (
	"errors"
	"regexp"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// What a registry says it has and does not give is sent after all.
func TestClaimedIsSent(t *testing.T) {
	for _, path := range []string{"/manifests/sha256:", "/manifests/v1$", "/manifests/", "."} {
		f := newFixture(t)
		child := f.artifact("child", 100, 200)
		root := f.index(child)
		sig := f.referrer("test/signature", child)
		full := registrytest.Start(registrytest.Options{})
		defer full.Close()
		dst := registrytest.Start(registrytest.Options{Strict: true})
		defer dst.Close()
		for _, to := range []*registrytest.Registry{full, dst} {
			if to == dst {
				dst.Fail(registrytest.Fault{Method: "HEAD", Path: regexp.MustCompile(path), Answer: full.Handler().ServeHTTP})
			}
			p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"a:v1", root, ref(t, to.Host+"/a:v1")}}, &PlanOptions{Referrers: []ocispec.Descriptor{sig}})
			if err != nil {
				t.Fatal(err)
			}
			if rep, err := p.Push(f.ctx); err != nil || rep.Artifacts[0].Status != StatusPushed {
				t.Errorf("%s: %v, %+v", path, err, rep.Artifacts[0])
			}
		}
		if err := dst.Audit(); err != nil || dst.Tags()["a:v1"] != root.Digest || !dst.Has("a", sig.Digest) {
			t.Errorf("%s: %v, %v", path, err, dst.Tags())
		}
	}
}

// A blob of another size is not the blob.
func TestBlobOfAnotherSize(t *testing.T) {
	f := newFixture(t)
	artifacts := map[string]ocispec.Descriptor{"a:v1": f.artifact("a", 100)}
	f.mustSend(f.dst, artifacts)
	f.dst.Reset()
	f.dst.Fail(registrytest.Fault{Method: "HEAD", Path: blobs, Header: map[string]string{"Content-Length": "7"}})
	p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"a:v1", artifacts["a:v1"], ref(t, f.dst.Host+"/a:v1")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Compare(f.ctx); !errors.Is(err, layout.ErrDiffers) {
		t.Errorf("compare: %v", err)
	}
	if rep, err := p.Push(f.ctx); err != nil || rep.Uploaded != 2 {
		t.Errorf("push: %v, %+v", err, rep)
	}
}

// What can't be found out is no difference.
func TestCompareCantTell(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", 100)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"a:v1": a})
	f.dst.Fail(registrytest.Fault{Method: "GET", Path: manifests, Status: 403, Code: "DENIED"})
	p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"a:v1", a, ref(t, f.dst.Host+"/a:v1")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := p.Compare(f.ctx)
	if errors.Is(err, layout.ErrDiffers) || layout.ClassOf(err) != layout.ClassRemote || rep.Artifacts[0].Status != StatusFailed {
		t.Errorf("%v, %+v", err, rep.Artifacts[0])
	}
}
