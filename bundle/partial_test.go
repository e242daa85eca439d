package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// platforms is an index of two images, of which the second has a layer that is not
// to be distributed.
func platforms() (c *storagetest.Content, root, one, two, foreign ocispec.Descriptor) {
	c = storagetest.NewContent()
	foreign = c.Add("application/vnd.oci.image.layer.nondistributable.v1.tar", []byte("foreign"))
	image := func(arch string, layers ...ocispec.Descriptor) ocispec.Descriptor {
		p := ocispec.Platform{OS: "linux", Architecture: arch}
		d := c.AddImage(c.AddJSON(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: p}), append(layers, c.Add(ocispec.MediaTypeImageLayer, []byte(arch)))...)
		d.Platform = &p
		return d
	}
	one, two = image("amd64"), image("arm64", foreign)
	root = c.Name(c.AddIndex(one, two), "ghcr.io/acme/app:v1")
	return c, root, one, two, foreign
}

func marked(idx ocispec.Index, ds ...ocispec.Descriptor) ocispec.Index {
	a := layout.Absent{}
	for _, d := range ds {
		a[d.Digest] = struct{}{}
	}
	a.Mark(&idx)
	return idx
}

// What the index says is left out is not missed, by any way of reading, and what
// is there reads as in a whole bundle.
func TestPartial(t *testing.T) {
	c, _, one, two, foreign := platforms()
	for name, absent := range map[string]ocispec.Descriptor{"platform": two, "layer": foreign} {
		idx := marked(c.Index, absent)
		for comp, kind := range compressions {
			b := write(t, c, idx, &WriteOptions{Compression: kind})
			if rep, err := verifyStream(b, nil); err != nil || rep.Absent != 1 {
				t.Errorf("%s, %s: from a pipe: %v, %+v", name, comp, err, rep)
			}
			if kind == Gzip {
				continue
			}
			r, err := openBytes(b)
			if err != nil || !r.content.(*tarArchive).canonical {
				t.Fatalf("%s, %s: it is not read as a bundle: %v", name, comp, err)
			}
			v, rep, err := r.Verify(t.Context(), nil)
			if err != nil || rep.Absent != 1 {
				t.Fatalf("%s, %s: %v, %+v", name, comp, err, rep)
			}
			if _, err := v.Fetch(t.Context(), absent); !errors.Is(err, layout.ErrNotFound) {
				t.Errorf("%s, %s: %v", name, comp, err)
			}
			if _, err := layout.ReadAll(t.Context(), v, one); err != nil {
				t.Error(err)
			}
		}
	}
}

// An image without one of its layers can't be loaded: docker is not told of it, but
// of the platform that is there.
func TestPartialDockerManifest(t *testing.T) {
	c, _, one, two, foreign := platforms()
	has := func(idx ocispec.Index) bool {
		return slices.ContainsFunc(members(t, write(t, c, idx, &WriteOptions{Compression: None})), func(m memberOf) bool { return m.name == dockerManifestFile })
	}
	if !has(marked(c.Index, one)) || has(marked(c.Index, one, foreign)) || !has(marked(c.Index, two)) {
		t.Error("manifest.json tells of what can't be loaded, or does not tell of what can")
	}
}

// Nothing else may be missing, whatever the index says.
func TestAbsentIsNoExcuse(t *testing.T) {
	c, _, _, two, foreign := platforms()
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString("amd64"), Size: 5}
	good := members(t, write(t, c, marked(c.Index, two), &WriteOptions{Compression: None}))
	without := func(ms []memberOf, d digest.Digest) []memberOf {
		return slices.DeleteFunc(slices.Clone(ms), func(m memberOf) bool { return m.name == blobName(d) })
	}
	whole := members(t, write(t, c, c.Index, &WriteOptions{Compression: None}))
	for name, ms := range map[string][]memberOf{
		"a layer, not listed":         without(good, layer.Digest),
		"a platform, not listed":      without(whole, two.Digest),
		"a foreign layer, not listed": without(whole, foreign.Digest),
		"a layer, listed":             without(members(t, write(t, c, marked(c.Index, layer), &WriteOptions{Compression: None})), layer.Digest),
		"an artifact, listed":         without(members(t, write(t, c, marked(c.Index, c.Index.Manifests[0]), &WriteOptions{Compression: None})), c.Index.Manifests[0].Digest),
	} {
		_, rep, err := verifyBytes(pack(t, ms...), nil)
		if !errors.Is(err, layout.ErrUntrusted) || rep == nil || !slices.ContainsFunc(rep.Faults, func(f Fault) bool { return f.Class == layout.ClassMissing }) {
			t.Errorf("%s: %v, %+v", name, err, rep)
		}
		if _, err := verifyStream(pack(t, ms...), nil); !errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("%s: from a pipe: %v", name, err)
		}
	}
}

// docker save writes of an index what is there: that is enough for who asks for no
// more.
func TestVerifyPlatforms(t *testing.T) {
	c, root, one, two, _ := platforms()
	whole := members(t, write(t, c, c.Index, &WriteOptions{Compression: None}))
	archive := pack(t, slices.DeleteFunc(whole, func(m memberOf) bool { return m.name == blobName(two.Digest) })...)
	if _, _, err := verifyBytes(archive, nil); !errors.Is(err, layout.ErrUntrusted) {
		t.Errorf("a platform is missing, and the error is %v", err)
	}
	amd := &VerifyOptions{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}}
	v, _, err := verifyBytes(archive, amd)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[digest.Digest]bool{}
	if err := layout.Walk(t.Context(), v, root, func(n layout.Node) error { seen[n.Digest] = true; return nil }); err != nil || !seen[one.Digest] || seen[two.Digest] {
		t.Errorf("%v, %v", err, seen)
	}
	arm := &VerifyOptions{Platforms: []ocispec.Platform{{OS: "linux", Architecture: "arm64"}}}
	if _, _, err := verifyBytes(archive, arm); !errors.Is(err, layout.ErrUntrusted) {
		t.Errorf("the platform that was asked for is missing, and the error is %v", err)
	}
}

// countedFetches counts the fetches from a bundle.
type countedFetches struct {
	content
	n int
}

func (c *countedFetches) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	c.n++
	return c.content.Fetch(ctx, d)
}

// One index under many names is looked at once for its platforms.
func TestPlatformsOfManyNames(t *testing.T) {
	const many = 100
	c := storagetest.NewContent()
	var images []ocispec.Descriptor
	for i := range many {
		config := c.Add(ocispec.MediaTypeImageConfig, fmt.Appendf(nil, `{"os":"linux","architecture":"made%d"}`, i))
		images = append(images, c.AddImage(config))
	}
	root := c.AddIndex(images...)
	for i := range many {
		c.Name(root, fmt.Sprintf("r.io/a:v%d", i))
	}
	r, err := openBytes(write(t, c, c.Index, nil))
	if err != nil {
		t.Fatal(err)
	}
	f := &countedFetches{content: r.content}
	r.content = f
	v, _, err := r.Verify(t.Context(), &VerifyOptions{Jobs: 1, Platforms: []ocispec.Platform{{OS: "linux", Architecture: "made7"}}})
	if err != nil {
		t.Fatal(err)
	}
	if absent, err := v.Absent(); err != nil || len(absent) != many-1 {
		t.Errorf("%d are left out, %v", len(absent), err)
	}
	if f.n > 5*len(c.Blobs) {
		t.Errorf("%d fetches for %d blobs", f.n, len(c.Blobs))
	}
}

// hauler puts files beside the layout, and some of its versions leave oci-layout out.
func TestHaul(t *testing.T) {
	c, root, _, _, _ := platforms()
	root.Annotations["kind"] = "dev.hauler/imageIndex"
	c.Index.Manifests = []ocispec.Descriptor{root}
	haul := members(t, write(t, c, c.Index, &WriteOptions{Compression: None}))[1:]
	haul = append(haul, memberOf{name: "store.json", content: "{}"}, memberOf{name: "audit.log"})
	for name, tt := range map[string]struct {
		members []memberOf
		class   layout.Class
	}{
		"as hauler writes it":             {haul, ""},
		"for containerd alone":            {append(slices.Clone(haul), memberOf{name: haulerIndexFile, content: "{}"}), layout.ClassName},
		"of somebody else, no oci-layout": {members(t, write(t, c, ocispec.Index{Manifests: []ocispec.Descriptor{layout.Named(c.AddIndex(), "ghcr.io/x:1")}}, &WriteOptions{Compression: None}))[1:], layout.ClassLayout},
	} {
		archive := pack(t, tt.members...)
		_, _, err := verifyBytes(archive, nil)
		_, serr := verifyStream(archive, nil)
		for _, err := range []error{err, serr} {
			if tt.class == "" && err != nil || tt.class != "" && layout.ClassOf(err) != tt.class {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
