package layout_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// counted counts the fetches from a source.
type counted struct {
	*storagetest.Content
	fetches int
}

func (c *counted) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	c.fetches++
	return c.Content.Fetch(ctx, d)
}

func (c *counted) Absent() (layout.Absent, error) { return layout.AbsentOf(c.Index) }

// images makes different images. Where a platform is asked for, the first has that and
// each of the others one of its own.
func images(c *storagetest.Content, n int, platforms bool) []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, n)
	for i := range out {
		config := c.Add(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"amd64"}`))
		out[i] = c.AddImage(config, c.Add(storagetest.BlobType, []byte(fmt.Sprint(i))))
		if platforms {
			out[i].Platform = &ocispec.Platform{OS: "linux", Architecture: fmt.Sprintf("made%d", i)}
		}
	}
	return out
}

// shared makes different indexes of one index.
func shared(c *storagetest.Content, n int, inner ocispec.Descriptor) {
	for i := range n {
		inner.Annotations = map[string]string{"n": fmt.Sprint(i)}
		c.Name(c.AddIndex(inner), fmt.Sprintf("r.io/shared:v%d", i))
	}
}

// A Graph visits what a Walker does, whatever it has walked before.
func TestGraphIsLikeAWalker(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		seed := make([]byte, 400)
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		c := storagetest.Graph(storagetest.NewDice(seed), false)
		absent, err := layout.AbsentOf(c.Index)
		if err != nil {
			t.Fatal(err)
		}
		src := layout.WithAbsent(c, absent)
		var got, want []string
		var left, out []digest.Digest
		g := layout.Graph{Source: src, Blobs: true, LeftOut: func(d digest.Digest) { left = append(left, d) }}
		g.Visit = func(v layout.Vertex) error {
			got = append(got, fmt.Sprint(v.Digest, v.Size, v.Subject))
			return nil
		}
		for range 2 {
			for _, e := range c.Index.Manifests {
				w := layout.Walker{Source: src, LeftOut: func(_ ocispec.Descriptor, c layout.Child) { out = append(out, c.Digest) }}
				w.Visit = func(n layout.Node) error {
					subject := digest.Digest("")
					if n.Manifest != nil && n.Manifest.Subject != nil {
						subject = n.Manifest.Subject.Digest
					}
					want = append(want, fmt.Sprint(n.Digest, n.Size, subject))
					return nil
				}
				g.Renew()
				werr, gerr := w.Walk(t.Context(), e), g.Walk(t.Context(), e)
				if layout.ClassOf(werr) != layout.ClassOf(gerr) || !slices.Equal(got, want) {
					t.Fatalf("%v\n%q\n%v\n%q", gerr, got, werr, want)
				}
			}
		}
		slices.Sort(left)
		slices.Sort(out)
		if !slices.Equal(slices.Compact(left), slices.Compact(out)) {
			t.Fatalf("left out: %q, %q", left, out)
		}
	}
}

func TestGraphReadsEachManifestOnce(t *testing.T) {
	c := &counted{Content: storagetest.NewContent()}
	shared(c.Content, 50, c.AddIndex(images(c.Content, 50, false)...))
	visits := 0
	g := layout.Graph{Source: c, Visit: func(layout.Vertex) error { visits++; return nil }}
	for _, e := range c.Index.Manifests {
		g.Renew()
		if err := g.Walk(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if visits != 50*52 || c.fetches != 101 {
		t.Errorf("%d visits, %d fetches", visits, c.fetches)
	}
}

func TestGraphIsBounded(t *testing.T) {
	c := storagetest.NewContent()
	layers := make([]ocispec.Descriptor, layout.MaxListed/2)
	for i := range layers {
		layers[i] = ocispec.Descriptor{MediaType: "b", Digest: digest.FromString(fmt.Sprint(i)), Size: 1}
	}
	shared(c, layout.MaxFollowed/len(layers)+1, c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")), layers...))
	g := layout.Graph{Source: c, Blobs: true, Visit: func(layout.Vertex) error { return nil }}
	var err error
	for _, e := range c.Index.Manifests {
		g.Renew()
		if err == nil {
			err = g.Walk(t.Context(), e)
		}
	}
	if layout.ClassOf(err) != layout.ClassLimit {
		t.Error(err)
	}
}

// Names and roots that share what they lead to cost no fetches of their own.
func TestManyNames(t *testing.T) {
	const many = 100
	for name, build := range map[string]func(c *storagetest.Content){
		"names of an index": func(c *storagetest.Content) {
			root := c.AddIndex(images(c, many, true)...)
			for i := range many {
				c.Name(root, fmt.Sprintf("r.io/app%d:v1", i))
			}
		},
		"images that tell no platform": func(c *storagetest.Content) {
			root := c.AddIndex(images(c, many, false)...)
			for i := range many {
				c.Name(root, fmt.Sprintf("r.io/app:v%d", i))
			}
		},
		"indexes of an index": func(c *storagetest.Content) { shared(c, many, c.AddIndex(images(c, many, false)...)) },
		"a referrer many times": func(c *storagetest.Content) {
			root := images(c, 1, false)[0]
			c.Name(root, "r.io/app:v1")
			signature := c.AddJSON(image, map[string]any{"schemaVersion": 2, "mediaType": image, "config": c.Add(storagetest.ConfigType, []byte("{}")), "layers": []any{}, "subject": root})
			for range many {
				c.Index.Manifests = append(c.Index.Manifests, signature)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &counted{Content: storagetest.NewContent()}
			build(c.Content)
			// A tag of cosign's has Companions look below every name.
			of := c.Index.Manifests[0]
			c.Name(images(c.Content, 1, false)[0], "r.io/app:"+of.Digest.Algorithm().String()+"-"+of.Digest.Encoded()+".sig")
			for what, f := range map[string]func() error{
				"Artifacts": func() error {
					_, _, err := layout.Artifacts(t.Context(), c, c.Index.Manifests)
					return err
				},
				"Companions": func() error {
					_, err := layout.Companions(t.Context(), c, c.Index.Manifests)
					return err
				},
				"Take": func() error {
					_, err := layout.Take(t.Context(), c, c.Index.Manifests, &layout.TakeOptions{Container: "many"})
					return err
				},
				"Take of platforms": func() error {
					want := []ocispec.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "made1"}, {OS: "linux", Architecture: "made2"}}
					_, err := layout.Take(t.Context(), c, c.Index.Manifests, &layout.TakeOptions{Container: "many", Platforms: want})
					return err
				},
			} {
				c.fetches = 0
				if err := f(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if c.fetches > 8*len(c.Blobs) {
					t.Errorf("%s: %d fetches for %d blobs", what, c.fetches, len(c.Blobs))
				}
			}
		})
	}
}

func TestCompanionsAreBounded(t *testing.T) {
	c := storagetest.NewContent()
	all := images(c, 1000, false)
	root := c.AddIndex(all...)
	for i := range layout.MaxCompanions/len(all) + 1 {
		c.Name(root, fmt.Sprintf("r.io/app:v%d", i))
	}
	for _, d := range all {
		c.Name(all[0], "r.io/app:"+d.Digest.Algorithm().String()+"-"+d.Digest.Encoded()+".sig")
	}
	if _, err := layout.Companions(t.Context(), c, c.Index.Manifests); layout.ClassOf(err) != layout.ClassLimit {
		t.Error(err)
	}
	for i := range c.Index.Manifests { // each name in a repository of its own
		name := layout.EntryName(c.Index.Manifests[i])
		c.Index.Manifests[i] = layout.Named(c.Index.Manifests[i], fmt.Sprintf("r.io/app%d%s", i, name[len("r.io/app"):]))
	}
	if got, err := layout.Companions(t.Context(), c, c.Index.Manifests); err != nil || len(got) != 0 {
		t.Errorf("%d, %v", len(got), err)
	}
}

func TestSelectorIsBounded(t *testing.T) {
	c := storagetest.NewContent()
	shared(c, layout.MaxReread>>16+2, c.AddIndex(images(c, 1, true)...))
	s := layout.Selector{Source: c, Platforms: []ocispec.Platform{{OS: "linux", Architecture: "made0"}}}
	for i, e := range c.Index.Manifests {
		_, err := s.Select(t.Context(), e)
		if last := i == len(c.Index.Manifests)-1; last != (layout.ClassOf(err) == layout.ClassLimit) || !last && err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

// An index that another lists many times is looked at once.
func TestPlatformsOfADiamond(t *testing.T) {
	c := &counted{Content: storagetest.NewContent()}
	root := diamond(c.Content, 7, 8)
	sel, err := layout.Select(t.Context(), c, root, []ocispec.Platform{{OS: "linux", Architecture: "amd64"}})
	if err != nil || sel.Root.Digest != root.Digest || c.fetches > 2*len(c.Blobs) {
		t.Errorf("%v, %+v, %d fetches", err, sel, c.fetches)
	}
}

func TestLongChainOfReferrers(t *testing.T) {
	c := &counted{Content: storagetest.NewContent()}
	last := images(c.Content, 1, false)[0]
	c.Name(last, "r.io/app:v1")
	var chain []ocispec.Descriptor
	for range 500 {
		last = c.AddJSON(image, map[string]any{"schemaVersion": 2, "mediaType": image, "config": c.Add(storagetest.ConfigType, []byte("{}")), "layers": []any{}, "subject": last})
		chain = append(chain, last)
	}
	slices.Reverse(chain)
	c.Index.Manifests = append(c.Index.Manifests, chain...)
	got, err := layout.Take(t.Context(), c, c.Index.Manifests, &layout.TakeOptions{Container: "chain"})
	if err != nil || len(got.Entries) != 501 || c.fetches > 5*501 {
		t.Errorf("%d entries, %d fetches, %v", len(got.Entries), c.fetches, err)
	}
}

// A walk has every index above a manifest in memory.
func TestManifestsAboveEachOther(t *testing.T) {
	c := storagetest.NewContent()
	leaf := c.AddImage(c.Add(storagetest.ConfigType, []byte("{}")))
	indexOf := func(d ocispec.Descriptor, n int) ocispec.Descriptor {
		return c.AddJSON(ocispec.MediaTypeImageIndex, map[string]any{
			"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{d}, "annotations": map[string]string{"a": string(make([]byte, n/6))},
		})
	}
	large := indexOf(leaf, 3<<20)
	for name, tt := range map[string]struct {
		root ocispec.Descriptor
		ok   bool
	}{
		"one":         {large, true},
		"small above": {indexOf(large, 0), true},
		"large above": {indexOf(large, 3<<20), false},
		"beside":      {c.AddIndex(large, indexOf(leaf, 3<<20+6)), true},
	} {
		err := layout.Walk(t.Context(), c, tt.root, func(layout.Node) error { return nil })
		if tt.ok != (err == nil) || !tt.ok && layout.ClassOf(err) != layout.ClassLimit {
			t.Errorf("%s: %v", name, err)
		}
	}
}
