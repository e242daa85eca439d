package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// diskless is what packages that reach a disk have besides, by package: names, constants
// and what is known already.
var diskless = map[string][]string{
	"os":                     {"FileInfo", "PathSeparator", "SameFile", "TempDir"},
	"path/filepath":          {"Base", "Clean", "Dir", "FromSlash", "IsAbs", "Join", "ToSlash", "VolumeName"},
	"syscall":                {"EIO", "ELOOP", "ENOSPC", "ENOTDIR", "Errno"},
	"io/ioutil":              nil,
	"golang.org/x/sys":       nil,
	"github.com/gofrs/flock": nil,
}

// besides are the files that may go past internal/disk, and why.
var besides = map[string]string{
	"layout/space.go":         "looks for the folder whose disk is asked",
	"layout/space_unix.go":    "asks a disk for the room that it has",
	"layout/space_windows.go": "asks a disk for the room that it has",
}

// What layout and bundle do to files goes through internal/disk: what does not, no test
// has ever seen fail.
func TestFilesGoThroughDisk(t *testing.T) {
	needed := map[string]bool{}
	for _, pkg := range []string{"layout", "bundle"} {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Fatalf("there is no package %s", pkg)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			name := path.Join(pkg, filepath.Base(file))
			found := diskCalls(t, file)
			if besides[name] != "" {
				needed[name] = len(found) > 0
				continue
			}
			for _, f := range found {
				t.Errorf("%s goes past internal/disk: %s", name, f)
			}
		}
	}
	for name, why := range besides {
		if !needed[name] {
			t.Errorf("%s needs no exception (%s)", name, why)
		}
	}
}

// diskCalls lists what a file uses of packages that reach a disk.
func diskCalls(t *testing.T, file string) []string {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	names := map[string]string{} // of imported packages, by the name that the file has for them
	for _, i := range f.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		pkg := imported
		if strings.HasPrefix(pkg, "golang.org/x/sys/") {
			pkg = "golang.org/x/sys"
		}
		allowed, reaches := diskless[pkg]
		switch {
		case !reaches:
		case allowed == nil:
			found = append(found, imported)
		case i.Name == nil:
			names[path.Base(imported)] = imported
		case i.Name.Name == ".":
			found = append(found, "import . "+i.Path.Value)
		default:
			names[i.Name.Name] = imported
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" && !slices.Contains(diskless[names[x.Name]], sel.Sel.Name) {
			found = append(found, x.Name+"."+sel.Sel.Name+" in line "+strconv.Itoa(fset.Position(n.Pos()).Line))
		}
		return true
	})
	return found
}
