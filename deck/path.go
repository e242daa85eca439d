package deck

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/layout"
)

// checkPath refuses a path that is not legal for a slide; the package comment
// has the rules. They do not depend on the system this runs on.
func checkPath(p string) error {
	bad := func(why string) error {
		if len(p) > 160 {
			p = p[:160] + "…"
		}
		return layout.Errorf(layout.ClassName, "image %q %s", p, why)
	}
	switch {
	case p == "" || p == ".":
		return bad("has no path: name a file")
	case !utf8.ValidString(p):
		return bad("is not valid UTF-8: rename the file")
	case len(p) > MaxPathSize:
		return bad("has a path that is too long: shorten it")
	case strings.ContainsFunc(p, isControl):
		return bad("has a control character in its path: rename the file")
	case strings.Contains(p, `\`):
		return bad("has a backslash in its path: separate folders by /")
	case strings.HasPrefix(p, "/"):
		return bad("has an absolute path: write it relative to deck.yaml")
	case p == ".." || strings.HasPrefix(p, "../"):
		return bad("leaves the deck's folder: copy the file into the folder")
	case path.Clean(p) != p:
		return bad("is spelt with a needless . or / in its path: write it as " + path.Clean(p))
	case strings.ContainsAny(p, `:*?"<>|`):
		return bad(`has one of : * ? " < > | in its path, which Windows can't write: rename the file`)
	}
	elements := strings.Split(p, "/")
	for _, e := range elements {
		switch {
		case len(e) > 255:
			return bad("has a name of over 255 bytes in its path: shorten it")
		case strings.HasSuffix(e, ".") || strings.HasSuffix(e, " "):
			return bad("has a name that ends in a dot or a space, which Windows drops: rename it")
		case reserved(e):
			return bad("has a name that Windows reserves for a device: rename it")
		}
	}
	if fold(elements[0]) == fold(SpecName) {
		return bad("has the place of the deck's " + SpecName + ": rename it")
	}
	return nil
}

// reserved reports whether Windows takes a file name for a device, whatever its
// extension.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
func reserved(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		n, ok := strings.CutPrefix(stem, port)
		if r, size := utf8.DecodeRuneInString(n); ok && size > 0 && size == len(n) && strings.ContainsRune("0123456789¹²³", r) {
			return true
		}
	}
	return false
}

// checkPaths refuses a path that is not legal, and paths that some system takes
// for one file though they are two. digests are those of the slides, or nil
// where equal paths are one file in any case.
func checkPaths(paths []string, digests []digest.Digest) error {
	seen := make(map[string]int, len(paths))
	for i, p := range paths {
		if err := checkPath(p); err != nil {
			return err
		}
		j, ok := seen[fold(p)]
		switch {
		case !ok:
			seen[fold(p)] = i
		case paths[j] != p:
			return layout.Errorf(layout.ClassName, "images %q and %q differ in case alone, and are one file on Windows and macOS: rename one", paths[j], p)
		case digests != nil && digests[i] != digests[j]:
			return layout.Errorf(layout.ClassName, "image %q stands for two different slides: rename one", p)
		}
	}
	for _, p := range paths {
		for i, k := 0, fold(p); i < len(k); i++ {
			if k[i] != '/' {
				continue
			}
			if j, ok := seen[k[:i]]; ok {
				return layout.Errorf(layout.ClassName, "image %q is the folder of image %q: rename one", paths[j], p)
			}
		}
	}
	return nil
}

// fold gives the same for names that differ in case alone.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
