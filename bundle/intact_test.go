package bundle

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// family is artifacts that share blobs, lead to each other and are signed, in both
// ways. Each layer ends in the same filling.
func family(filling string) (c *storagetest.Content, signature ocispec.Descriptor) {
	c = storagetest.NewContent()
	image := func(name string, layers ...string) ocispec.Descriptor {
		var ds []ocispec.Descriptor
		for _, l := range layers {
			ds = append(ds, c.Add(storagetest.BlobType, []byte(l+filling)))
		}
		return c.AddImage(c.Add(storagetest.ConfigType, []byte(`{"name":"`+name+`"}`)), ds...)
	}
	a := c.Name(image("a", "shared", "only a"), "r.io/a:v1")
	c.Name(image("b", "shared", "only b"), "r.io/b:v1")
	child := image("c", "only c")
	c.Name(child, "r.io/c:v1")
	c.Name(c.AddIndex(child, image("d", "only d")), "r.io/index:v1")
	c.Name(image("sig", "signature of c"), "r.io/c:"+layout.CosignTags(child.Digest)[0])
	signature = c.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Subject: &a,
		Config: c.Add(ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: []ocispec.Descriptor{c.Add(storagetest.BlobType, []byte("signature of a"+filling))},
	})
	c.Name(signature, "")
	return c, signature
}

func TestVerifyIntact(t *testing.T) {
	c, signature := family("")
	good := writeContent(t, c, None)
	at := func(text string) int {
		i := bytes.Index(good, []byte(text))
		if i < 0 {
			t.Fatalf("%q is not in the bundle", text)
		}
		return i
	}
	sig := "r.io/c:" + layout.CosignTags(c.Index.Manifests[2].Digest)[0]
	for _, tt := range []struct {
		name  string
		flip  int
		again []string // references; a signature has none
		class layout.Class
	}{
		{"nothing", -1, nil, ""},
		{"a blob of one, which is signed", at("only a"), []string{"", "r.io/a:v1"}, ""},
		{"a blob of one", at("only b"), []string{"r.io/b:v1"}, ""},
		{"a blob of two", at("shared"), []string{"", "r.io/a:v1", "r.io/b:v1"}, ""},
		{"a signature", at("signature of a"), []string{"", "r.io/a:v1"}, ""},
		{"the manifest of a signature", at(string(c.Blobs[signature.Digest])), []string{""}, ""},
		{"a signature under a tag", at("signature of c"), []string{sig, "r.io/c:v1", "r.io/index:v1"}, ""},
		{"a child that has a name and a signature", at("only c"), []string{sig, "r.io/c:v1", "r.io/index:v1"}, ""},
		{"a child", at("only d"), []string{"r.io/index:v1"}, ""},
		{"a header", at("only b") - blockSize, []string{"r.io/b:v1"}, ""},
		{"a blob of all", at("{}\x00"), []string{"", "r.io/a:v1"}, ""},
		{"the end", len(good) - 1, nil, layout.ClassArchive},
		{"the index", at(`"schemaVersion"`), nil, layout.ClassJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := slices.Clone(good)
			if tt.flip >= 0 {
				b[tt.flip] ^= 1
			}
			if tt.class != "" {
				r, err := openBytes(b)
				var v *Verified
				if err == nil {
					v, _, err = r.VerifyIntact(t.Context(), nil)
				}
				if v != nil || !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != tt.class {
					t.Errorf("%v, %v", v, err)
				}
				return
			}
			v, rep := verifyIntact(t, b)
			if v == nil {
				t.Fatal("nothing is whole")
			}
			isWhole(t, c, v, rep)
			if again := references(rep); !slices.Equal(again, tt.again) {
				t.Errorf("to be asked for again: %q, want %q", again, tt.again)
			}
		})
	}
}

// verifyIntact gives no Verified where nothing is whole.
func verifyIntact(t *testing.T, b []byte) (*Verified, *Report) {
	t.Helper()
	r, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	v, rep, err := r.VerifyIntact(t.Context(), nil)
	if (v == nil) != (err != nil) || err != nil && !errors.Is(err, layout.ErrUntrusted) {
		t.Fatalf("%v, %v", v, err)
	}
	return v, rep
}

// references are those of what is to be asked for again. A signature has none.
func references(rep *Report) []string {
	var again []string
	for _, d := range rep.Again {
		again = append(again, d.Reference)
	}
	slices.Sort(again)
	return again
}

// isWhole demands of each entry of c that it is whole or is to be asked for again.
func isWhole(t *testing.T, c *storagetest.Content, v *Verified, rep *Report) {
	t.Helper()
	if n := len(v.Index().Manifests); n+len(rep.Again) != len(c.Index.Manifests) {
		t.Errorf("%d entries are whole, %d are to be asked for again, of %d", n, len(rep.Again), len(c.Index.Manifests))
	}
	for _, e := range v.Index().Manifests {
		if err := layout.Walk(t.Context(), v, e, func(n layout.Node) error {
			got, err := layout.ReadAll(t.Context(), v, n.Descriptor)
			if err == nil && string(got) != string(c.Blobs[n.Digest]) {
				err = errors.New("other bytes")
			}
			return err
		}); err != nil {
			t.Errorf("%s is not whole: %v", layout.EntryName(e), err)
		}
	}
}

// A large blob has frames of its own: a bit of it that is flipped takes no other one,
// whether the frames are raw or no longer decode.
func TestVerifyIntactOfLargeBlobs(t *testing.T) {
	for how, filling := range map[string]string{
		"raw": string(storagetest.Random(1, LargeMember)), "compressed": strings.Repeat("a slide, and another one. ", LargeMember/16),
	} {
		c, _ := family(filling)
		sig := "r.io/c:" + layout.CosignTags(c.Index.Manifests[2].Digest)[0]
		good := writeContent(t, c, Zstd)
		r, err := openBytes(good)
		if err != nil {
			t.Fatal(err)
		}
		for blob, want := range map[string][]string{
			"only a": {"", "r.io/a:v1"}, "only b": {"r.io/b:v1"}, "shared": {"", "r.io/a:v1", "r.io/b:v1"}, "signature of a": {"", "r.io/a:v1"},
			"signature of c": {sig, "r.io/c:v1", "r.io/index:v1"}, "only c": {sig, "r.io/c:v1", "r.io/index:v1"}, "only d": {"r.io/index:v1"},
		} {
			e, ok := r.content.extent(digest.FromString(blob + filling))
			if !ok {
				t.Fatalf("%s: %q has no place", how, blob)
			}
			b := slices.Clone(good)
			b[(e.from+e.to)/2] ^= 1
			v, rep := verifyIntact(t, b)
			if v == nil {
				t.Fatalf("%s: %q is damaged, and nothing is whole", how, blob)
			}
			isWhole(t, c, v, rep)
			if again := references(rep); !slices.Equal(again, want) {
				t.Errorf("%s: %q is damaged; to be asked for again: %q, want %q", how, blob, again, want)
			}
		}
	}
}

// Small blobs share a frame. A bit of it that is flipped may take one of them or, where
// the frame no longer decodes, all.
func TestVerifyIntactOfSmallBlobs(t *testing.T) {
	c, _ := family("")
	good := writeContent(t, c, Zstd)
	r, err := openBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := r.content.extent(digest.FromString("only a"))
	lost := map[int]int{}
	for i := e.from; i < e.to; i += 2 {
		b := slices.Clone(good)
		b[i] ^= 1 << (i % 8)
		v, rep := verifyIntact(t, b)
		lost[len(rep.Again)]++
		if v != nil {
			isWhole(t, c, v, rep)
		}
	}
	if all := len(c.Index.Manifests); lost[all] == 0 || lost[1] == 0 {
		t.Errorf("flips by how many entries they took: %v", lost)
	}
}

// What was made to be misread is refused whole, however much of it could be read.
func TestVerifyIntactRefusesWhatIsNoDamage(t *testing.T) {
	c, _ := family("")
	c.Name(c.Add(ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"config":{},"config":{}}`)), "r.io/evil:v1")
	ms := membersOf(t, func() *storagetest.Content { c, _ := family(""); return c }())
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	ms[1].content = string(raw)
	evil := c.Index.Manifests[len(c.Index.Manifests)-1]
	r, err := openBytes(pack(t, append(ms, blobMember(string(c.Blobs[evil.Digest])))...))
	if err != nil {
		t.Fatal(err)
	}
	if v, rep, err := r.VerifyIntact(t.Context(), nil); v != nil || layout.ClassOf(err) != layout.ClassJSON || len(rep.Again) != 1 {
		t.Errorf("%v, %v", rep, err)
	}
	// Nothing is whole, or it is another bundle.
	other := digest.FromString("other")
	c.Index.Manifests = c.Index.Manifests[:1]
	good := writeContent(t, c, None)
	for name, o := range map[string]*VerifyOptions{"damaged": nil, "another": {Expect: other}} {
		b := slices.Clone(good)
		b[strings.Index(string(b), "only a")] ^= 1
		r, err := openBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if v, _, err := r.VerifyIntact(t.Context(), o); v != nil || !errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
