package mirror

import (
	"context"
	"regexp"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// many is an artifact of n layers. Of two, the layers are the same from the first
// of the longer one on that the shorter one has.
func (f *fixture) many(seed string, from, to int) ocispec.Descriptor {
	sizes := make([]int, 0, to-from)
	for n := from; n < to; n++ {
		sizes = append(sizes, 100+n)
	}
	return f.artifact(seed, sizes...)
}

const asked = `^HEAD .*/blobs/`

func TestUnknownRepositoryIsAskedForTheFirstBlobs(t *testing.T) {
	f := newFixture(t)
	a := f.many("a", 0, 50)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"a:v1": a})
	if n := f.dst.Count(asked); n != firstAsked {
		t.Errorf("%d blobs were asked for, want %d", n, firstAsked)
	}
	f.same(f.dst, "a:v1", a)
}

// What a run that was interrupted has sent is not sent again.
func TestInterruptedPushIsFound(t *testing.T) {
	f := newFixture(t)
	dst := registrytest.Start(registrytest.Options{})
	defer dst.Close()
	a := f.many("a", 0, 50)
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var left atomic.Int32
	left.Store(20)
	dst.Fail(registrytest.Fault{Method: "PUT", Path: regexp.MustCompile("/blobs/"), Body: func(b []byte) []byte {
		if left.Add(-1) == 0 {
			cancel()
		}
		return b
	}})
	interrupted := *f
	interrupted.ctx = ctx
	if _, err := interrupted.send(f.client(ClientOptions{}), nil, dst, map[string]ocispec.Descriptor{"a:v1": a}); err == nil {
		t.Fatal("the first run was not interrupted")
	}
	dst.Reset()
	rep, err := f.send(f.client(ClientOptions{}), nil, dst, map[string]ocispec.Descriptor{"a:v1": a})
	if err != nil {
		t.Fatal(err)
	}
	// Some more may have arrived although their answer was not awaited.
	if rep.Uploaded > 51-20 {
		t.Errorf("the first run sent 20 blobs, the second %d, of 51", rep.Uploaded)
	}
	if n := dst.Count(asked); n != 51 {
		t.Errorf("%d blobs were asked for, each once would be 51", n)
	}
	f.same(dst, "a:v1", a)
}

// A new version begins with what is new.
func TestKnownRepositoryIsAskedForEach(t *testing.T) {
	f := newFixture(t)
	f.mustSend(f.dst, map[string]ocispec.Descriptor{"a:v1": f.many("a", 20, 50)})
	f.dst.Reset()
	rep, err := f.send(f.client(ClientOptions{}), nil, f.dst, map[string]ocispec.Descriptor{"a:v2": f.many("b", 0, 50)})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Uploaded != 21 {
		t.Errorf("%d blobs were sent, want 20 layers and the config", rep.Uploaded)
	}
	// Where the registry does not say that it knows no such repository, it may have one.
	f.dst.Reset()
	f.dst.Fail(registrytest.Fault{Path: regexp.MustCompile("/tags/list$"), Status: 404})
	if rep, err = f.send(f.client(ClientOptions{}), nil, f.dst, map[string]ocispec.Descriptor{"b:v1": f.many("c", 0, 50)}); err != nil || rep.Uploaded != 51 || f.dst.Count(asked) != 51 {
		t.Errorf("%d sent, %d asked for, %v", rep.Uploaded, f.dst.Count(asked), err)
	}
}
