package deck

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airdeck/airdeck/layout"
)

// spec is deck.yaml as it is written: globs not expanded, paths not checked.
type spec struct {
	deck   Deck // its texts, which are checked
	images []scalar
	notes  []note
}

// scalar is a text and the line where it stands.
type scalar struct {
	text string
	line int
}

type note struct{ path, text scalar }

// atLine says where in deck.yaml an error is. The class stays that of err.
func atLine(line int, err error) error {
	if err == nil || line == 0 {
		return err
	}
	return fmt.Errorf("line %d: %w", line, err)
}

// decodeSpec reads deck.yaml. The nodes are walked here, and not by
// yaml.Decoder with KnownFields, since its errors have several lines and speak
// of Go types, and since an image's line is needed when its file is found wrong.
//
// Errors: layout.ClassJSON for what is not YAML, an unknown key or a value of the
// wrong kind, layout.ClassDuplicate for a repeated key, layout.ClassTrailing for a
// second document, layout.ClassPolicy for a text that is refused.
func decodeSpec(b []byte) (*spec, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, layout.Errorf(layout.ClassPolicy, "it is empty: give it a title and images")
	} else if err != nil {
		return nil, syntaxError(err)
	}
	if err := dec.Decode(&next); err == nil {
		return nil, atLine(next.Line, layout.Errorf(layout.ClassTrailing, "a second document begins: put each deck in a folder of its own"))
	} else if err != io.EOF {
		return nil, syntaxError(err)
	}
	s := &spec{}
	err := eachKey(doc.Content[0], SpecName, func(key scalar, value *yaml.Node) error {
		return s.set(key, value)
	})
	if err == nil && s.deck.Title == "" {
		err = layout.Errorf(layout.ClassPolicy, "it has no title: add a line such as title: My talk")
	}
	return s, err
}

func syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	return layout.Errorf(layout.ClassJSON, "%s", strings.Join(strings.Fields(text), " "))
}

func (s *spec) set(key scalar, value *yaml.Node) error {
	switch key.text {
	case "images":
		return s.setImages(value)
	case "notes":
		return eachKey(value, "notes", func(p scalar, value *yaml.Node) error {
			text, err := scalarOf(value, "a note")
			if err == nil {
				err = atLine(text.line, checkText(text.text))
			}
			s.notes = append(s.notes, note{p, text})
			return err
		})
	}
	f, ok := fieldOf(key.text)
	if !ok {
		return atLine(key.line, layout.Errorf(layout.ClassJSON, "unknown key %q: known are title, images, author, date, description, license and notes", key.text))
	}
	v, err := scalarOf(value, f.key)
	if err != nil || v.text == "" {
		return err
	}
	if err := f.check(v.text); err != nil {
		return atLine(v.line, fmt.Errorf("%s: %w", f.key, err))
	}
	*f.of(&s.deck) = v.text
	return nil
}

func (s *spec) setImages(value *yaml.Node) error {
	value = target(value)
	if value.Kind != yaml.SequenceNode {
		return atLine(value.Line, layout.Errorf(layout.ClassJSON, "images must be a list: begin each line with a dash"))
	}
	if len(value.Content) > MaxSlides {
		return atLine(value.Line, layout.Errorf(layout.ClassLimit, "images has %d entries, over the limit of %d slides: split the deck", len(value.Content), MaxSlides))
	}
	for _, n := range value.Content {
		v, err := scalarOf(n, "an image")
		if err != nil {
			return err
		}
		s.images = append(s.images, v)
	}
	return nil
}

// eachKey calls f for the keys of a map, in order, each key once.
func eachKey(n *yaml.Node, what string, f func(scalar, *yaml.Node) error) error {
	n = target(n)
	if n.Kind != yaml.MappingNode {
		return atLine(n.Line, layout.Errorf(layout.ClassJSON, "%s must be a map: write its lines as key: value", what))
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := scalarOf(n.Content[i], "a key")
		if err != nil {
			return err
		}
		if first, ok := seen[key.text]; ok {
			return atLine(key.line, layout.Errorf(layout.ClassDuplicate, "key %q stands in line %d already: remove one", key.text, first))
		}
		seen[key.text] = key.line
		if err := f(key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// target is the node that an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// scalarOf gives the text of a scalar as it is written, so that a title of 2026
// and a date without quotes are what they look like. null is the empty text.
func scalarOf(n *yaml.Node, what string) (scalar, error) {
	line := n.Line
	n = target(n)
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
			return scalar{n.Value, line}, nil
		case "!!null":
			return scalar{"", line}, nil
		}
	}
	return scalar{}, atLine(line, layout.Errorf(layout.ClassJSON, "%s must be one text: put it in quotes", what))
}

// encodeSpec writes a deck.yaml that says what d says, to the letter.
//
// Errors: layout.ClassLimit if it would have over [MaxSpecSize] bytes.
func encodeSpec(d *Deck) ([]byte, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(d); err != nil {
		return nil, layout.Errorf(layout.ClassPolicy, "%s can't be written: %w", SpecName, err)
	}
	b := buf.Bytes()
	if !says(b, d) {
		// A block of YAML can't hold every text. JSON is YAML, and can.
		var err error
		if b, err = canonical(d); err != nil {
			return nil, err
		}
		if b = append(b, '\n'); !says(b, d) {
			return nil, layout.Errorf(layout.ClassPolicy, "%s can't be written: a text of the deck has no form in YAML", SpecName)
		}
	}
	if len(b) > MaxSpecSize {
		return nil, layout.Errorf(layout.ClassLimit, "%s with its globs expanded would have %d bytes, over the limit of %d: split the deck or shorten its notes", SpecName, len(b), MaxSpecSize)
	}
	return b, nil
}

func says(b []byte, d *Deck) bool {
	s, err := decodeSpec(b)
	if err != nil {
		return false
	}
	for _, f := range fields {
		if *f.of(&s.deck) != *f.of(d) {
			return false
		}
	}
	notes := map[string]string{}
	for _, n := range s.notes {
		notes[n.path.text] = n.text.text
	}
	return maps.Equal(notes, d.Notes) &&
		slices.EqualFunc(s.images, d.Images, func(im scalar, p string) bool { return im.text == p })
}

// clean is the one spelling of a path that deck.yaml may write as ./a.png.
func clean(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}
