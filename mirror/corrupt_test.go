package mirror

import (
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// Content that is not what it was asked for is asked for once more, and the error tells
// both digests.
func TestCorruptIsAskedForOnceMore(t *testing.T) {
	f := newFixture(t)
	child := f.artifact("a", 5000)
	root := f.index(child)
	f.mustSend(f.src, map[string]ocispec.Descriptor{"app:v1": root})
	layer := digest.FromBytes(noise(5000))
	other := digest.FromString("other")
	header := map[string]string{"Docker-Content-Digest": other.String()}
	raw := func(d ocispec.Descriptor) digest.Digest {
		b, err := layout.ReadAll(f.ctx, f.store, d)
		if err != nil {
			t.Fatal(err)
		}
		return digest.FromBytes(spoil(b))
	}
	tag, byDigest := regexp.MustCompile("/manifests/v1$"), regexp.MustCompile("/manifests/"+child.Digest.String())
	for name, tt := range map[string]struct {
		fault     registrytest.Fault
		want, got digest.Digest
	}{
		"a manifest":                       {registrytest.Fault{Path: byDigest, Body: spoil}, child.Digest, raw(child)},
		"a manifest by its tag":            {registrytest.Fault{Path: tag, Body: spoil, Header: map[string]string{"Docker-Content-Digest": root.Digest.String()}}, root.Digest, raw(root)},
		"a blob":                           {registrytest.Fault{Path: regexp.MustCompile("/blobs/" + layer.String()), Body: spoil}, layer, digest.FromBytes(spoil(noise(5000)))},
		"the digest of a manifest":         {registrytest.Fault{Path: byDigest, Header: header}, child.Digest, other},
		"the digest of a blob":             {registrytest.Fault{Path: regexp.MustCompile("/blobs/" + layer.String()), Header: header}, layer, other},
		"the digest of what the tag names": {registrytest.Fault{Path: tag, Header: header}, other, root.Digest},
	} {
		t.Run(name, func(t *testing.T) {
			f.src.Reset()
			tt.fault.Method = "GET"
			f.src.Fail(tt.fault)
			_, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/app:v1")}, newStore(t), nil)
			if layout.ClassOf(err) != layout.ClassRemote || !strings.Contains(err.Error(), tt.want.String()) || !strings.Contains(err.Error(), tt.got.String()) {
				t.Errorf("error %v\nwants %s and %s", err, tt.want, tt.got)
			}
			if n := f.src.Struck(); n != 2 {
				t.Errorf("asked %d times, want once and once more", n)
			}
		})
		t.Run(name+", once", func(t *testing.T) {
			f.src.Reset()
			tt.fault.Times = 1
			f.src.Fail(tt.fault)
			got, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/app:v1")}, newStore(t), nil)
			if err != nil || got.Entries[0].Digest != root.Digest || f.src.Struck() != 1 {
				t.Errorf("%v, %d faults", err, f.src.Struck())
			}
		})
	}
}
