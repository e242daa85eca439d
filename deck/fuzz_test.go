package deck

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/airdeck/airdeck/internal/vectors"
	"github.com/airdeck/airdeck/layout"
)

// FuzzSpec demands of each deck.yaml that is accepted that it is written and
// read again as the same deck, and that its name is a reference.
func FuzzSpec(f *testing.F) {
	for _, s := range []string{
		"", "title: T\nimages: [a.png]\n", "title: 2026\nimages:\n- a.png\n- ./b/*.png\nnotes: {a.png: x}\n",
		"title: |\n  a\nauthor: \"\\u2028\"\nimages: [~]\ndate: 2026-01-31\nlicense: MIT\n", "a: &x [*x]\n", "---\n---\n", "- - - -",
		"title: &t T\nauthor: *t\ndescription: \"\\n x\\n\\ty\\uFEFF\"\nimages: &i [a]\n", "title: \"\\uFFFF\\U0001F600'\"\n",
		"\xff\xfet\x00", "? [a]\n: b\n", "title: !x y\n", "%YAML 1.2\n---\ntitle: a",
	} {
		f.Add([]byte(s))
	}
	all, err := vectors.Load(filepath.Join("..", vectors.Dir))
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range all {
		for _, file := range v.Contents() {
			if v.Form == vectors.Deck && file.Name == SpecName && len(file.Content) < 16<<10 {
				f.Add(file.Content)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSpec(b)
		if err != nil {
			if layout.ClassOf(err) == layout.ClassLocal {
				t.Fatalf("%v: no class", err)
			}
			return
		}
		texts := []string{s.deck.Title, s.deck.Author, s.deck.Date, s.deck.Description, s.deck.License}
		for _, n := range s.notes {
			texts = append(texts, n.text.text)
		}
		for _, text := range texts {
			if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
				t.Errorf("%q would act on a terminal", text)
			}
		}
		d := s.deck
		d.Images = []string{}
		for _, im := range s.images {
			if p := clean(im.text); checkPath(p) == nil {
				d.Images = append(d.Images, p)
			}
		}
		for _, n := range s.notes {
			if d.Notes == nil {
				d.Notes = map[string]string{}
			}
			if p := clean(n.path.text); checkPath(p) == nil {
				d.Notes[p] = n.text.text
			}
		}
		out, err := encodeSpec(&d)
		if err != nil && layout.ClassOf(err) == layout.ClassLimit {
			return
		}
		if err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		again, err := decodeSpec(out)
		if err != nil {
			t.Fatalf("%v, from\n%s", err, out)
		}
		if !reflect.DeepEqual(again.deck, s.deck) {
			t.Fatalf("%+v\nbecame %+v, from\n%s", s.deck, again.deck, out)
		}
		if name := d.DefaultName(); checkName(name) != nil {
			t.Fatalf("title %q: %v", d.Title, checkName(name))
		}
	})
}

func checkName(name string) error {
	_, err := layout.ParseReference(name)
	return err
}
