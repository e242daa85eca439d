package deck

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/gosimple/slug"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Deck is what deck.yaml and the config of the artifact say. Empty fields were
// not given.
type Deck struct {
	Title       string            `json:"title" yaml:"title"`
	Author      string            `json:"author,omitempty" yaml:"author,omitempty"`
	Date        string            `json:"date,omitempty" yaml:"date,omitempty"` // YYYY-MM-DD or RFC 3339
	Description string            `json:"description,omitempty" yaml:"description,omitempty"`
	License     string            `json:"license,omitempty" yaml:"license,omitempty"` // an SPDX expression
	Images      []string          `json:"images" yaml:"images"`                       // paths of the slides, in order
	Notes       map[string]string `json:"notes,omitempty" yaml:"notes,omitempty"`     // by path of the slide
}

// maxSlug is the length of the name that a title gives, in bytes. Repository
// names of 255 are legal and no pleasure to type.
const maxSlug = 64

// DefaultName is the reference of a deck that was given none:
// localhost/decks/<title as slug>:latest. The host localhost says that it comes
// from no registry. A title that gives no slug gives "deck".
func (d *Deck) DefaultName() string {
	words := strings.FieldsFunc(slug.Make(d.Title), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	name := ""
	for _, w := range words {
		if name != "" {
			w = name + "-" + w
		}
		if name != "" && len(w) > maxSlug {
			break
		}
		name = w[:min(len(w), maxSlug)]
	}
	if name == "" {
		name = "deck"
	}
	return "localhost/decks/" + name + ":latest"
}

func (d *Deck) clone() Deck {
	c := *d
	c.Images = slices.Clone(d.Images)
	c.Notes = maps.Clone(d.Notes)
	return c
}

// A field is one of the plain texts of a deck.
type field struct {
	key        string
	annotation string
	of         func(*Deck) *string
	check      func(string) error // of a text that is not empty
}

var fields = []field{
	{"title", ocispec.AnnotationTitle, func(d *Deck) *string { return &d.Title }, checkTitle},
	{"author", ocispec.AnnotationAuthors, func(d *Deck) *string { return &d.Author }, checkLine},
	{"date", ocispec.AnnotationCreated, func(d *Deck) *string { return &d.Date }, checkDate},
	{"description", ocispec.AnnotationDescription, func(d *Deck) *string { return &d.Description }, checkText},
	{"license", ocispec.AnnotationLicenses, func(d *Deck) *string { return &d.License }, checkLicense},
}

func fieldOf(key string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

func checkTitle(s string) error {
	if strings.TrimSpace(s) == "" {
		return layout.Errorf(layout.ClassPolicy, "it is blank: give the deck a title")
	}
	return checkLine(s)
}

// checkLine refuses what does not fit on a line.
func checkLine(s string) error {
	if strings.ContainsAny(s, "\n\t") {
		return layout.Errorf(layout.ClassPolicy, "it has a line break or a tab: write it on one line")
	}
	return checkText(s)
}

// checkText refuses what no text has: it would come back from YAML and JSON as
// something else, or act on the terminal that shows it.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return layout.Errorf(layout.ClassPolicy, "it is not valid UTF-8: save the file as UTF-8")
	}
	for _, r := range s {
		if isControl(r) && r != '\n' && r != '\t' {
			return layout.Errorf(layout.ClassPolicy, "it has the control character %U: remove it", r)
		}
	}
	return nil
}

// isControl also holds for U+FFFE and U+FFFF, which YAML has no room for either.
func isControl(r rune) bool {
	return unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF
}

func checkDate(s string) error {
	if _, err := created(s); err != nil {
		return layout.Errorf(layout.ClassPolicy, "%q is no date: write YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ", s)
	}
	return nil
}

// checkLicense finds a sentence where an expression belongs. Whether SPDX knows
// the license is not checked: its list grows.
func checkLicense(s string) error {
	for _, r := range s {
		if r >= 0x80 || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-.+:() ", r) {
			return layout.Errorf(layout.ClassPolicy, "%q is no SPDX expression: write one such as CC-BY-4.0 (https://spdx.org/licenses)", s)
		}
	}
	return nil
}

// created gives a date as image-spec wants it in an annotation (RFC 3339).
func created(date string) (string, error) {
	if t, err := time.Parse(time.DateOnly, date); err == nil {
		return t.Format(time.RFC3339), nil
	}
	// Unlike time.Parse, this takes RFC 3339 and nothing near it.
	err := new(time.Time).UnmarshalText([]byte(date))
	return date, err
}

// annotations are those of the manifest. The deck must have been checked.
func (d *Deck) annotations() map[string]string {
	a := map[string]string{}
	for _, f := range fields {
		if s := *f.of(d); s != "" {
			a[f.annotation] = s
		}
	}
	if d.Date != "" {
		a[ocispec.AnnotationCreated], _ = created(d.Date)
	}
	return a
}

// canonical is the canonical JSON (RFC 8785) of v.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, layout.Errorf(layout.ClassJSON, "%w", err)
	}
	out, err := jsoncanonicalizer.Transform(b.Bytes())
	if err != nil {
		return nil, layout.Errorf(layout.ClassJSON, "%w", err)
	}
	if len(out) > layout.MaxManifestSize {
		return nil, layout.Errorf(layout.ClassLimit, "the deck's manifest or config would have %d bytes, over the limit of %d: split the deck or shorten its notes", len(out), layout.MaxManifestSize)
	}
	return out, nil
}
