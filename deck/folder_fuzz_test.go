package deck_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/internal/vectors"
)

// secret is a slide beside the folder of a deck.
const secret = png + "n0t y0urs"

// addVectors seeds a target with the decks of the corpus.
func addVectors(f *testing.F) {
	f.Helper()
	all, err := vectors.Load(filepath.Join("..", vectors.Dir))
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range all {
		for _, file := range v.Contents() {
			if v.Form == vectors.Deck && file.Name == deck.SpecName && len(file.Content) < 16<<10 {
				f.Add(file.Content)
			}
		}
	}
}

// besideASecret makes a folder of slides, with a slide that is not its own beside it
// and a link to there.
func besideASecret(f *testing.F) string {
	f.Helper()
	dir := filepath.Join(f.TempDir(), "deck")
	files := map[string]string{"a.png": png, "b.png": png + "b", "b/2.png": png + "2", "b/10.png": jpeg, "x[1].png": gif, "cover.svg": svg, "../secret.png": secret}
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	_ = os.Symlink("..", filepath.Join(dir, "link")) // Windows may not allow it
	return dir
}

// FuzzFolder builds what a deck.yaml says of a folder, extracts it and builds it
// again: the digest is the same, and nothing outside the folder is read or written.
func FuzzFolder(f *testing.F) {
	for _, s := range []string{
		"title: T\nimages: [a.png]\n", "title: T\nimages: ['*.png', 'b/*', a.png]\nnotes: {a.png: x, b/10.png: \"\\n y\"}\n", "title: T\nimages: [../secret.png]\n",
		"title: T\nimages: ['../*.png']\n", "title: T\nimages: ['b/../../secret.png']\n", "title: T\nimages: [link/secret.png]\n", "title: T\nimages: ['l*/*']\n",
		"title: T\nimages: ['[a-b].png', 'x[1].png', './b//2.png']\ndate: 2026-01-31\nauthor: Ada\nlicense: MIT\ndescription: |\n  a\n\n  b\n", "title: T\nimages: [b]\n",
	} {
		f.Add([]byte(s))
	}
	addVectors(f)
	dir := besideASecret(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, deck.SpecName), b, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := deck.Load(dir)
		if err != nil {
			return
		}
		defer d.Close()
		store := storagetest.NewMemory()
		desc, err := d.Build(t.Context(), store, nil)
		for _, blob := range store.Content(nil).Blobs {
			if string(blob) == secret {
				t.Fatal("a file outside the folder is read")
			}
		}
		if err != nil {
			return
		}
		c, err := deck.Read(t.Context(), store, desc)
		if err != nil || !c.Native {
			t.Fatalf("built, and then: %v, %+v", err, c)
		}
		out := t.TempDir()
		if err := c.Extract(t.Context(), store, filepath.Join(out, "out")); err != nil {
			t.Fatalf("built, and then: %v", err)
		}
		again, err := deck.Load(filepath.Join(out, "out"))
		if err != nil {
			t.Fatalf("extracted, and then: %v", err)
		}
		defer again.Close()
		second, err := again.Build(t.Context(), storagetest.NewMemory(), nil)
		if err != nil || second.Digest != desc.Digest {
			t.Fatalf("%s, built again %s, %v", desc.Digest, second.Digest, err)
		}
		if names := entries(t, out); !slices.Equal(names, []string{"out"}) {
			t.Fatalf("left behind: %q", names)
		}
	})
}

// FuzzExtract extracts slides of any title: all of them are in the folder that was
// named, each under its title, or there is no folder.
func FuzzExtract(f *testing.F) {
	for _, s := range []string{"a.png", "a.png\nb/c.svg\na.png", "../evil.png", "/etc/passwd", "a\na/b", "A.png\na.png", "deck.yaml", "CON", "a\\..\\b", "ü.png\nu\u0308.png", "b/../../x", "x:y", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, titles string) {
		if !utf8.ValidString(titles) {
			return // JSON has no such text
		}
		c := storagetest.NewContent()
		var layers []ocispec.Descriptor
		want := map[string]bool{deck.SpecName: true}
		for title := range strings.SplitSeq(titles, "\n") {
			l := c.Add("image/png", []byte(png+title))
			l.Annotations = map[string]string{ocispec.AnnotationTitle: title}
			layers = append(layers, l)
			want[title] = true
		}
		root := c.AddImage(c.Add(ocispec.MediaTypeEmptyJSON, []byte("{}")), layers...)
		d, err := deck.Read(t.Context(), c, root)
		if err != nil {
			return
		}
		above := t.TempDir()
		out := filepath.Join(above, "out")
		if err := d.Extract(t.Context(), c, out); err != nil {
			if _, serr := os.Lstat(out); serr == nil || len(entries(t, above)) > 0 {
				t.Fatalf("%v, and there is something", err)
			}
			return
		}
		if names := entries(t, above); !slices.Equal(names, []string{"out"}) {
			t.Fatalf("left behind: %q", names)
		}
		got := map[string]bool{}
		err = filepath.WalkDir(out, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, err := filepath.Rel(out, name)
			got[filepath.ToSlash(rel)] = true
			return err
		})
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v, want %v, %v", got, want, err)
		}
		for title := range got {
			if !want[title] || !filepath.IsLocal(filepath.FromSlash(title)) {
				t.Errorf("a file %q", title)
			}
		}
	})
}
