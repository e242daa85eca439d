package main

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/airdeck/airdeck/layout"
)

// source is one SOURCE of airdeck pack. Exactly one of its places is set.
type source struct {
	text      string
	reference layout.Reference // in a registry
	deck      string           // a deck.yaml
	bundle    string           // a bundle
	layout    string           // a layout directory
	name      string           // of a deck: its reference; of a layout: the one entry that is meant
}

// parseSource tells the kinds apart by what is there: a file is a deck or a
// bundle, and what is no file is a reference.
func parseSource(s string) (source, error) {
	src := source{text: s}
	if rest, ok := strings.CutPrefix(s, "oci:"); ok {
		return layoutSource(src, rest)
	}
	path, name := s, ""
	if i := strings.LastIndex(s, "="); i >= 0 && isDeckName(s[:i]) {
		path, name = s[:i], s[i+1:]
		if _, err := parseReference(name); err != nil {
			return src, err
		}
	}
	fi, err := os.Stat(path)
	switch {
	case err == nil && fi.IsDir():
		return src, usagef("%s is a directory: a layout is written as oci:%s, a deck as its deck.yaml", s, s)
	case err == nil && isDeckName(path):
		src.deck, src.name = path, name
		return src, nil
	case err == nil:
		src.bundle = path
		return src, nil
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && isFileName(path):
		return src, err
	case isFileName(path):
		return src, usagef("there is no file %s", path)
	}
	src.reference, err = parseReference(s)
	return src, err
}

func isDeckName(s string) bool {
	ext := strings.ToLower(filepath.Ext(s))
	return ext == ".yaml" || ext == ".yml"
}

// isFileName recognizes what can hardly be a reference.
func isFileName(s string) bool {
	for _, end := range []string{".tar", ".tar.zst", ".tar.gz", ".tgz", ".tzst"} {
		if strings.HasSuffix(strings.TrimSuffix(s, ".age"), end) {
			return true
		}
	}
	return isDeckName(s) || strings.HasPrefix(s, ".") || filepath.IsAbs(s)
}

// layoutSource splits DIR[:REF] at the first colon behind which the directory is
// there: both may have colons in them.
func layoutSource(src source, s string) (source, error) {
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != ':' {
			continue
		}
		if fi, err := os.Stat(s[:i]); err != nil || !fi.IsDir() {
			continue
		}
		src.layout = s[:i]
		if i < len(s) {
			src.name = s[i+1:]
		}
		return src, nil
	}
	return src, usagef("%s: there is no such directory", src.text)
}

// readSources reads sources one a line. Empty lines and what follows # at the
// start of a line or after white space is left out.
func readSources(name string) ([]string, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var out []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		for i, f := range fields {
			if strings.HasPrefix(f, "#") {
				fields = fields[:i]
				break
			}
		}
		switch len(fields) {
		case 0:
		case 1:
			out = append(out, fields[0])
		default:
			return nil, usagef("%s: one source a line, please: %q", name, lines.Text())
		}
	}
	return out, lines.Err()
}
