package deck

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/maruel/natural"

	"github.com/airdeck/airdeck/layout"
)

// Dir is a deck in its folder. It is safe for concurrent use.
type Dir struct {
	name  string // of deck.yaml, as the caller gave it
	root  *os.Root
	deck  Deck
	lines []int // where in deck.yaml deck.Images stand
}

// Load reads a deck.yaml and expands its globs. name is the file or the folder
// that holds it. The Dir keeps the folder open, and reads nothing outside it;
// the caller closes it. The slides themselves are read by [Dir.Build].
//
// An error names the file, the line and the remedy. Its class is
//
//   - layout.ClassLocal: a file is missing or can't be read
//   - layout.ClassName: a path is not legal, or a link leaves the folder
//   - layout.ClassJSON: no YAML, an unknown key, a value of the wrong kind
//   - layout.ClassDuplicate: a key is repeated
//   - layout.ClassTrailing: a second document
//   - layout.ClassLimit: over [MaxSpecSize] or [MaxSlides]
//   - layout.ClassPolicy: no title, no slides, a glob that matches nothing, a
//     note for no slide, a date that is none
func Load(name string) (*Dir, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w: name a %s or its folder", err, SpecName)
	}
	dir, base := name, SpecName
	if fi.IsDir() {
		name = filepath.Join(name, SpecName)
	} else if dir, base = filepath.Split(name); dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	d := &Dir{name: name, root: root}
	if err := d.load(base); err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// Close lets go of the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Deck is what deck.yaml says, with the globs expanded.
func (d *Dir) Deck() Deck { return d.deck.clone() }

func (d *Dir) load(base string) error {
	b, err := d.readSpec(base)
	if err != nil {
		return err
	}
	s, err := decodeSpec(b)
	if err != nil {
		return err
	}
	d.deck = s.deck
	for _, im := range s.images {
		paths, err := d.expand(clean(im.text))
		if err != nil {
			return atLine(im.line, err)
		}
		for _, p := range paths {
			d.deck.Images = append(d.deck.Images, p)
			d.lines = append(d.lines, im.line)
		}
		if len(d.deck.Images) > MaxSlides {
			return atLine(im.line, layout.Errorf(layout.ClassLimit, "the deck has more than %d slides: split it", MaxSlides))
		}
	}
	if len(d.deck.Images) == 0 {
		return layout.Errorf(layout.ClassPolicy, "the deck has no slides: list its images under images")
	}
	if err := checkPaths(d.deck.Images, nil); err != nil {
		return err
	}
	return d.setNotes(s.notes)
}

func (d *Dir) readSpec(base string) ([]byte, error) {
	f, _, err := d.open(base)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSpecSize+1))
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	if len(b) > MaxSpecSize {
		return nil, layout.Errorf(layout.ClassLimit, "it has over %d bytes, the limit: is it a %s?", MaxSpecSize, SpecName)
	}
	return b, nil
}

func (d *Dir) setNotes(notes []note) error {
	slide := make(map[string]bool, len(d.deck.Images))
	for _, p := range d.deck.Images {
		slide[p] = true
	}
	for _, n := range notes {
		p := clean(n.path.text)
		if !slide[p] {
			return atLine(n.path.line, layout.Errorf(layout.ClassPolicy, "the note for %q: no slide of the deck has this path: correct it or remove the note", n.path.text))
		}
		if _, ok := d.deck.Notes[p]; ok {
			return atLine(n.path.line, layout.Errorf(layout.ClassDuplicate, "a second note for %q: join the two", p))
		}
		if d.deck.Notes == nil {
			d.deck.Notes = map[string]string{}
		}
		d.deck.Notes[p] = n.text.text
	}
	return nil
}

// unglob makes a path of a glob, to check it as one.
var unglob = strings.NewReplacer("*", "x", "?", "x", "[", "x")

// expand gives the paths of files that one entry of images stands for.
func (d *Dir) expand(entry string) ([]string, error) {
	if !strings.ContainsAny(entry, "*?[") {
		return []string{entry}, d.checkFile(entry)
	}
	if err := checkPath(unglob.Replace(entry)); err != nil {
		// The caller's spelling is what the error has to name.
		return nil, layout.Errorf(layout.ClassOf(err), "glob %q: %w", entry, err)
	}
	if !strings.ContainsAny(entry, "*?") && d.checkFile(entry) == nil {
		return []string{entry}, nil
	}
	matches, err := fs.Glob(d.root.FS(), entry)
	if err != nil {
		return nil, layout.Errorf(layout.ClassPolicy, "glob %q: %w: close its brackets", entry, err)
	}
	matches = slices.DeleteFunc(matches, func(p string) bool {
		fi, err := d.root.Stat(p)
		return hidden(entry, p) || err == nil && fi.IsDir()
	})
	if len(matches) == 0 {
		return nil, d.noMatch(entry)
	}
	for _, p := range matches {
		if err := d.checkFile(p); err != nil {
			return nil, err
		}
	}
	// Numbers that differ in leading zeros alone are equal to natural.
	slices.SortFunc(matches, func(a, b string) int {
		return cmp.Or(natural.Compare(a, b), strings.Compare(a, b))
	})
	return matches, nil
}

// hidden reports whether a glob matched a name with a leading dot that it does
// not spell out, such as .DS_Store.
func hidden(glob, p string) bool {
	g := strings.Split(glob, "/")
	for i, e := range strings.Split(p, "/") {
		if strings.HasPrefix(e, ".") && !strings.HasPrefix(g[i], ".") {
			return true
		}
	}
	return false
}

// noMatch says why a glob gave nothing: fs.Glob passes over a folder that can't
// be read.
func (d *Dir) noMatch(glob string) error {
	dir := path.Dir(glob[:strings.IndexAny(glob, "*?[")] + "x")
	if _, err := d.root.Stat(dir); err != nil {
		return fmt.Errorf("glob %q: %w", glob, openError(dir, err))
	}
	return layout.Errorf(layout.ClassPolicy, "glob %q matches no file: correct it or remove the line", glob)
}

func (d *Dir) checkFile(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	_, err := d.stat(p)
	return err
}

func (d *Dir) stat(p string) (fs.FileInfo, error) {
	fi, err := d.root.Stat(p)
	switch {
	case err != nil:
		return nil, openError(p, err)
	case fi.IsDir():
		return nil, layout.Errorf(layout.ClassLocal, "%q is a folder: name the files in it, as %s/*.png does", p, p)
	case !fi.Mode().IsRegular():
		return nil, layout.Errorf(layout.ClassLocal, "%q is not a regular file: copy its content into one", p)
	}
	return fi, nil
}

// open opens a regular file in the folder. Opening another kind could block.
func (d *Dir) open(p string) (*os.File, fs.FileInfo, error) {
	if _, err := d.stat(p); err != nil {
		return nil, nil, err
	}
	f, err := d.root.Open(p)
	if err != nil {
		return nil, nil, openError(p, err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, openError(p, err)
	}
	return f, fi, nil
}

// openError tells a link that leaves the folder from what the system refuses:
// os.Root has no error value for it, and it is the one that is not the system's.
func openError(p string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return layout.Errorf(layout.ClassLocal, "%q: no such file: correct the path, which begins at the deck's folder: %w", p, fs.ErrNotExist)
	case errors.As(err, &errno), errors.Is(err, fs.ErrClosed):
		return layout.Errorf(layout.ClassLocal, "%q: %w", p, err)
	default:
		return layout.Errorf(layout.ClassName, "%q is a link that leaves the deck's folder: copy the file into the folder", p)
	}
}
