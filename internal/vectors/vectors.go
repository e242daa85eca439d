// Package vectors reads the corpus of bundles, layouts and decks in
// testdata/vectors: hostile ones with one fault each, and others that a reader must
// take. What a vector file looks like is told there, in README.md. It is for tests
// only, and imports nothing of ours, so that any package's tests may use it.
package vectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

//go:generate go run ./gen

// Dir is where the corpus is, seen from the root of the module.
const Dir = "testdata/vectors"

// readme stands beside the vectors.
const readme = "README.md"

// Success is what Expect and Want give for a vector without a fault.
const Success = "success"

// Form is what the body of a vector is.
type Form string

// The forms of bodies.
const (
	Bundle    Form = "bundle"    // a file, in any compression
	Directory Form = "directory" // a layout directory, as a tar archive for [Vector.Unpack]
	Deck      Form = "deck"      // the folder of a deck.yaml, likewise
)

// Stages are what a fault may lie in, from the outermost to the innermost.
var Stages = []string{"compression", "tar", "names", "layout", "json", "digest", "descriptor", "graph", "mediatype", "signature", "deck"}

// The entry points that may judge otherwise than Expect says, since they do not read
// what the fault is in, or more than others do.
const (
	Inspect  = "inspect"   // show what it says it holds
	Verify   = "verify"    // check all of it, as a file or a directory
	Pipe     = "pipe"      // check all of it in one pass, without a seek
	Unpack   = "unpack"    // write it as a layout directory
	Mirror   = "mirror"    // publish it into a registry
	Unpacked = "directory" // check a directory with the members of the bundle as files
)

var entryPoints = []string{Inspect, Verify, Pipe, Unpack, Mirror, Unpacked}

// Vector is one file of the corpus.
type Vector struct {
	Name    string   // of the file
	Expect  string   // Success, or the class of the error
	Stage   string   // one of Stages
	Comment string   // what it is
	Sources []string // who met it: an advisory, a tool, a specification
	Form    Form

	// Entries are the verdicts of entry points that differ from Expect. That of
	// Unpacked is never implied.
	Entries map[string]string
	// ExpectDigest is the digest that the bundle must be demanded to have.
	ExpectDigest string
	// UnreadBy tells by their names which other readers do not read it, and why.
	UnreadBy map[string]string
	// Compressed says that the file holds the body in zstd.
	Compressed bool
	// Given is what the reader is given beside the body.
	Given

	Body []byte
}

// Want is what an entry point must give: Success, a class, or nothing where the
// vector says nothing about it.
func (v *Vector) Want(entry string) string {
	if w, ok := v.Entries[entry]; ok || entry == Unpacked {
		return w
	}
	return v.Expect
}

// Load reads all vectors in a folder, in the order of their names. A folder without
// any is an error: tests that run none would pass.
func Load(dir string) ([]Vector, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Vector
	for _, f := range files {
		if f.Name() == readme {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		v, err := Parse(f.Name(), b)
		if err != nil {
			return nil, fmt.Errorf("vector %s: %w", f.Name(), err)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no vectors", dir)
	}
	return all, nil
}

// repeated are the keys that may stand in several lines.
var repeated = []string{"source", "unread-by", "key", "signature", "file"}

// Parse reads a vector file: lines of keys and values, an empty line, the body.
func Parse(name string, b []byte) (Vector, error) {
	v := Vector{Name: name, Form: Bundle, Entries: map[string]string{}, UnreadBy: map[string]string{}, Given: Given{Files: map[string]string{}}}
	head, body, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return v, errors.New("no empty line ends the header")
	}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(string(head), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok || value == "" {
			return v, fmt.Errorf("the header has the line %q", line)
		}
		if seen[key] && !slices.Contains(repeated, key) {
			return v, fmt.Errorf("the key %q occurs twice", key)
		}
		seen[key] = true
		if err := v.set(key, value); err != nil {
			return v, err
		}
	}
	if v.Expect == "" || v.Comment == "" || !slices.Contains(Stages, v.Stage) {
		return v, fmt.Errorf("expect, stage or comment is missing, or there is no stage %q", v.Stage)
	}
	if err := v.complete(); err != nil {
		return v, err
	}
	if v.Body = body; !v.Compressed {
		return v, nil
	}
	dec, err := zstd.NewReader(bytes.NewReader(body))
	if err != nil {
		return v, err
	}
	defer dec.Close()
	v.Body, err = io.ReadAll(dec)
	return v, err
}

func (v *Vector) set(key, value string) (err error) {
	if known, err := v.Given.set(key, value); known {
		return err
	}
	switch key {
	case "expect":
		v.Expect = value
	case "stage":
		v.Stage = value
	case "comment":
		v.Comment = value
	case "source":
		v.Sources = append(v.Sources, value)
	case "form":
		v.Form = Form(value)
		if v.Form != Bundle && v.Form != Directory && v.Form != Deck {
			err = fmt.Errorf("there is no form %q", value)
		}
	case "expect-digest":
		v.ExpectDigest = value
	case "unread-by":
		reader, why, _ := strings.Cut(value, ": ")
		v.UnreadBy[reader] = why
	case "compressed":
		if v.Compressed = value == "zstd"; !v.Compressed {
			err = fmt.Errorf("there is no compression %q", value)
		}
	default:
		if !slices.Contains(entryPoints, key) {
			return fmt.Errorf("there is no key %q", key)
		}
		v.Entries[key] = value
	}
	return err
}

// Marshal gives the bytes of the file.
func (v *Vector) Marshal() ([]byte, error) {
	var b bytes.Buffer
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	line("expect", v.Expect)
	for _, e := range entryPoints {
		line(e, v.Entries[e])
	}
	line("stage", v.Stage)
	line("comment", v.Comment)
	for _, s := range v.Sources {
		line("source", s)
	}
	if v.Form != Bundle {
		line("form", string(v.Form))
	}
	line("expect-digest", v.ExpectDigest)
	for _, reader := range slices.Sorted(maps.Keys(v.UnreadBy)) {
		line("unread-by", reader+": "+v.UnreadBy[reader])
	}
	if err := v.marshal(line); err != nil {
		return nil, err
	}
	if !v.Compressed {
		b.WriteByte('\n')
		b.Write(v.Body)
		return b.Bytes(), nil
	}
	line("compressed", "zstd")
	b.WriteByte('\n')
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	return enc.EncodeAll(v.Body, b.Bytes()), nil
}
