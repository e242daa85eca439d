package deck_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/layout"
)

func TestRoundTrip(t *testing.T) {
	slides := map[string]string{"a.png": png, "übung/ß 1.svg": svg, "übung/ß 10.svg": svg + " ", "x[1].png": gif}
	for name, spec := range map[string]string{
		"plain":   "title: T\nimages: [a.png]\n",
		"golden":  "title: Grüße <1> & “2”\nimages: [a.png, 'übung/*', a.png, 'x[1].png']\nnotes: {a.png: \"\\n  odd\\n\\n text \\n\", übung/ß 1.svg: \"true\"}\n",
		"strings": "title: \"null\"\nauthor: 'yes: \"no\" # maybe'\ndescription: \"\\u2028\\u0085x\"\nimages: [a.png]\n",
		"dated":   "title: '---'\ndate: 2026-01-31\nlicense: MIT OR (Apache-2.0 AND LicenseRef-x)\nimages: [a.png]\n",
		"spaces":  "title: '  a  '\ndescription: \"\\ta\\n\\n\\n\"\nimages: [a.png]\nnotes: {a.png: ''}\n",
	} {
		for _, o := range []*deck.BuildOptions{nil, {SourceDate: time.Unix(1769850000, 0)}} {
			t.Run(name, func(t *testing.T) {
				files := maps.Clone(slides)
				files["deck.yaml"] = spec
				d, err := deck.Load(folder(t, files))
				if name == "strings" {
					// NEL is a control character.
					wantError(t, err, layout.ClassPolicy, "U+0085")
					files["deck.yaml"] = strings.Replace(spec, `\u0085`, "\\uFEFF\\U0001F600", 1)
				} else if err == nil {
					d.Close()
				}
				s := store(t)
				want := build(t, s, folder(t, files), o)
				c, err := deck.Read(t.Context(), s, want)
				if err != nil {
					t.Fatal(err)
				}
				if !c.Native {
					t.Error("not taken for a deck of our own")
				}
				dir := filepath.Join(t.TempDir(), "out")
				if err := c.Extract(t.Context(), s, dir); err != nil {
					t.Fatal(err)
				}
				if got := build(t, store(t), dir, nil); got.Digest != want.Digest {
					b, _ := os.ReadFile(filepath.Join(dir, "deck.yaml"))
					t.Errorf("digest %s, want %s, from\n%s", got.Digest, want.Digest, b)
				}
				if got := entries(t, filepath.Dir(dir)); !slices.Equal(got, []string{"out"}) {
					t.Errorf("left behind: %q", got)
				}
			})
		}
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

// artifact pushes a manifest with images of these titles. A title may be
// followed by = and the content.
func artifact(t *testing.T, s *layout.Store, titles ...string) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.acme.slides", Config: push(t, s, ocispec.MediaTypeEmptyJSON, "{}"),
		Annotations: map[string]string{ocispec.AnnotationTitle: "Foreign", ocispec.AnnotationCreated: "yesterday", ocispec.AnnotationAuthors: "Bob"},
	}
	for _, title := range titles {
		title, content, _ := strings.Cut(title, "=")
		l := push(t, s, "image/png", png+content)
		l.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		m.Layers = append(m.Layers, l)
	}
	return pushJSON(t, s, m.MediaType, m)
}

func TestForeign(t *testing.T) {
	s := store(t)
	c, err := deck.Read(t.Context(), s, artifact(t, s, "1.png", "sub/2.png", "1.png"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Native || c.Deck.Title != "Foreign" || len(c.Slides) != 3 || c.Deck.Images[1] != "sub/2.png" {
		t.Errorf("read %+v", c)
	}
	dir := t.TempDir() // an empty folder is as good as none
	if err := c.Extract(t.Context(), s, dir); err != nil {
		t.Fatal(err)
	}
	got := load(t, dir).Deck()
	if got.Title != "Foreign" || got.Author != "Bob" || got.Date != "" || len(got.Images) != 3 {
		t.Errorf("extracted %+v", got)
	}
	build(t, s, dir, nil)
}

func TestUntitled(t *testing.T) {
	s := store(t)
	c, err := deck.Read(t.Context(), s, artifact(t, s, "1.png"))
	if err != nil {
		t.Fatal(err)
	}
	c.Deck.Title, c.Deck.Author, c.Deck.License = "\x1b[2J", "a\nb", "MIT; rm"
	c.Deck.Notes = map[string]string{"1.png": "\x00", "2.png": "x"}
	dir := filepath.Join(t.TempDir(), "out")
	if err := c.Extract(t.Context(), s, dir); err != nil {
		t.Fatal(err)
	}
	if got := load(t, dir).Deck(); got.Title != "Untitled" || got.Author != "" || got.License != "" || got.Notes != nil {
		t.Errorf("extracted %+v", got)
	}
}

func TestHostileTitles(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, titles := range [][]string{
		{"../a.png"}, {"a/../../b.png"}, {".."}, {"."}, {"/etc/passwd"}, {"//host/share/a.png"}, {`a\b.png`}, {`..\a.png`},
		{"C:a.png"}, {"a.png:stream"}, {"a\x00.png"}, {"a\n.png"}, {"a\x1b[2J.png"}, {"a\u0085.png"},
		{"a//b.png"}, {"./a.png"}, {"a/"}, {"a/./b.png"}, {"a/b/../c.png"},
		{"CON"}, {"con.png"}, {"sub/NUL.tar.png"}, {"Lpt1"}, {"COM¹.png"}, {"aux .png"}, {"CONIN$"},
		{"a."}, {"a.png "}, {"a. /b.png"}, {"a*.png"}, {"a?.png"}, {"a|b.png"}, {"<a>.png"}, {`"a".png`},
		{"deck.yaml"}, {"DECK.YAML"}, {"deck.yaml/a.png"}, {long}, {strings.Repeat("x/", 600) + "x"},
		{"a.png=1", "a.png=2"}, {"a.png", "A.png"}, {"sub/a.png=1", "SUB/a.png=2"}, {"é.png", "É.png"}, {"k.png", "\u212a.png"},
		{"a", "a/b.png"}, {"x/a/b.png", "X/A"},
	} {
		s := store(t)
		root := artifact(t, s, append([]string{"ok.png"}, titles...)...)
		c, err := deck.Read(t.Context(), s, root)
		if err != nil {
			t.Errorf("%q: %v", titles, err)
			continue
		}
		parent := t.TempDir()
		src := &countingSource{Source: s}
		err = c.Extract(t.Context(), src, filepath.Join(parent, "sub", "..", "out"))
		wantError(t, err, layout.ClassName)
		if left := entries(t, parent); len(left) > 0 || src.n > 0 {
			t.Errorf("%q: wrote %q after %d fetches", titles, left, src.n)
		}
	}
}

type countingSource struct {
	layout.Source
	n      int
	failAt int // the n-th fetch fails
}

func (c *countingSource) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	c.n++
	rc, err := c.Source.Fetch(ctx, d)
	if err == nil && c.n == c.failAt {
		rc.Close()
		rc = io.NopCloser(layout.NewVerifier(strings.NewReader("short"), d))
	}
	return rc, err
}

func TestExtractFails(t *testing.T) {
	s := store(t)
	c, err := deck.Read(t.Context(), s, artifact(t, s, "1.png=1", "sub/2.png=2", "3.png=3"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		parent := t.TempDir()
		err := c.Extract(t.Context(), &countingSource{Source: s, failAt: n}, filepath.Join(parent, "out"))
		wantError(t, err, layout.ClassSize, "slide")
		if left := entries(t, parent); len(left) > 0 {
			t.Errorf("fetch %d fails: %q is left", n, left)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	parent := t.TempDir()
	if err := c.Extract(ctx, s, filepath.Join(parent, "out")); !errors.Is(err, context.Canceled) || len(entries(t, parent)) > 0 {
		t.Errorf("cancelled: %v, %q", err, entries(t, parent))
	}
}

func TestExtractTaken(t *testing.T) {
	s := store(t)
	c, err := deck.Read(t.Context(), s, artifact(t, s, "1.png"))
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, map[string]string{"full/mine.txt": "x", "file": "x"})
	for _, name := range []string{"full", "file"} {
		if err := c.Extract(t.Context(), s, filepath.Join(dir, name)); !errors.Is(err, layout.ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err = c.Extract(t.Context(), s, filepath.Join(dir, "none", "out"))
	wantError(t, err, layout.ClassLocal, "make the folder first")
	t.Chdir(t.TempDir())
	wantError(t, c.Extract(t.Context(), s, "."), layout.ClassLocal, "current folder")
	if got := entries(t, dir); !slices.Equal(got, []string{"file", "full"}) {
		t.Errorf("now there are %q", got)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "link")); err == nil {
		if err := c.Extract(t.Context(), s, filepath.Join(dir, "link")); !errors.Is(err, layout.ErrExists) {
			t.Errorf("link: %v", err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	s := store(t)
	image := func(edit func(*ocispec.Manifest)) ocispec.Descriptor {
		l := push(t, s, "image/png", png)
		l.Annotations = map[string]string{ocispec.AnnotationTitle: "a.png"}
		m := ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: push(t, s, ocispec.MediaTypeEmptyJSON, "{}"), Layers: []ocispec.Descriptor{l},
		}
		edit(&m)
		return pushJSON(t, s, m.MediaType, m)
	}
	config := func(text string) func(*ocispec.Manifest) {
		return func(m *ocispec.Manifest) { m.Config = push(t, s, deck.MediaTypeConfig, text) }
	}
	for name, tc := range map[string]struct {
		root  ocispec.Descriptor
		class layout.Class
		want  string
	}{
		"index":    {pushJSON(t, s, ocispec.MediaTypeImageIndex, ocispec.Index{}), layout.ClassMediaType, "is an index"},
		"blob":     {push(t, s, "image/png", png), layout.ClassMediaType, "is no deck"},
		"untitled": {image(func(m *ocispec.Manifest) { m.Layers[0].Annotations = nil }), layout.ClassMediaType, "layer 1 has no"},
		"tar": {image(func(m *ocispec.Manifest) {
			m.Layers = append(m.Layers, push(t, s, ocispec.MediaTypeImageLayer, "x"))
		}), layout.ClassMediaType, "layer 2 is a"},
		"no layers":      {image(func(m *ocispec.Manifest) { m.Layers = []ocispec.Descriptor{} }), layout.ClassMediaType, "no layers"},
		"too many":       {image(func(m *ocispec.Manifest) { m.Layers = slices.Repeat(m.Layers, deck.MaxSlides+1) }), layout.ClassLimit, "10001"},
		"config no JSON": {image(config("{")), layout.ClassJSON, "config"},
		"config repeats": {image(config(`{"title":"a","title":"b","images":["a.png"]}`)), layout.ClassJSON, "config"},
		"config deep":    {image(config(strings.Repeat("[", 1<<20))), layout.ClassJSON, "config"},
		"config differs": {image(config(`{"title":"a","images":["b.png"]}`)), layout.ClassMediaType, "other slides"},
		"config missing": {image(func(m *ocispec.Manifest) {
			m.Config.MediaType, m.Config.Digest = deck.MediaTypeConfig, digest.FromString("none")
		}), layout.ClassMissing, "config"},
		"config too long": {image(func(m *ocispec.Manifest) { m.Config.MediaType, m.Config.Size = deck.MediaTypeConfig, 1<<40 }), layout.ClassLimit, "config"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := deck.Read(t.Context(), s, tc.root)
			wantError(t, err, tc.class, tc.want)
		})
	}
	// What another program wrote with our media types is a deck, and not ours.
	c, err := deck.Read(t.Context(), s, image(config(`{"title":"a","images":["a.png"],"later":1}`)))
	if err != nil || c.Native || c.Deck.Title != "a" {
		t.Errorf("read %+v, %v", c, err)
	}
}
