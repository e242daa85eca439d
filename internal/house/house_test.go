// Package house holds the structure of the project: which package may import
// which, and that what its documents say of it is there. The arrows are those of the
// design, and they run one way.
package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/airdeck/airdeck"

// arrows are the packages of ours that each package may import.
var arrows = map[string][]string{
	"layout":      {"internal/disk"},
	"deck":        {"layout", "internal/disk"},
	"bundle":      {"layout", "internal/disk"},
	"mirror":      {"layout"},
	"trust":       {"layout"},
	"cmd/airdeck": {"layout", "deck", "bundle", "mirror", "trust", "internal/disk"},
}

// rooms are the folders at the top.
var rooms = []string{"bundle", "cmd", "deck", "internal", "layout", "mirror", "testdata", "trust"}

const root = "../.."

func TestArrows(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") && name != root {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(pkg, "internal") {
			return nil
		}
		allowed, ok := arrows[pkg]
		if !ok {
			t.Errorf("package %s has no place in the house", pkg)
			return nil
		}
		found[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", rel, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range arrows {
		if !found[pkg] {
			t.Errorf("package %s is not there", pkg)
		}
	}
}

// Only mirror opens connections, so the packages that read what came in on a
// stick must not be able to, by any dependency.
func TestNoNetwork(t *testing.T) {
	for _, pkg := range []string{"layout", "deck", "bundle"} {
		out, err := exec.Command("go", "list", "-deps", module+"/"+pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			if dep == "net/http" || dep == "oras.land/oras-go/v2/registry/remote" {
				t.Errorf("%s depends on %s", pkg, dep)
			}
		}
	}
}

func TestRooms(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n := e.Name()
		// bin and dist are what make builds.
		if e.IsDir() && !strings.HasPrefix(n, ".") && n != "bin" && n != "dist" && !slices.Contains(rooms, n) {
			t.Errorf("the folder %s has no place in the house", n)
		}
	}
}
