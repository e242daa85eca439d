package house

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows gives the cells of the table that begins with a header.
func rows(t *testing.T, text, header string) [][]string {
	t.Helper()
	_, table, ok := strings.Cut(text, "\n| "+header)
	if !ok {
		t.Fatalf("there is no table %q", header)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var out [][]string
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[2:] { // after the header and the rule
		out = append(out, strings.Split(strings.Trim(line, "| "), " | "))
	}
	if len(out) == 0 {
		t.Fatalf("the table %q is empty", header)
	}
	return out
}

var testName = regexp.MustCompile("`([a-z/]+)\\.(Test[A-Za-z0-9]+)(?:/([a-z]+))?`")

// Every promise of SECURITY.md names tests, and they are there.
func TestPromisesHaveTests(t *testing.T) {
	for _, row := range rows(t, document(t, "SECURITY.md"), "promise") {
		named := testName.FindAllStringSubmatch(row[len(row)-1], -1)
		if len(named) == 0 || len(named) != strings.Count(row[len(row)-1], "`")/2 {
			t.Errorf("%s: %q are not all names of tests", row[0], row[len(row)-1])
		}
		for _, n := range named {
			pkg, name, script := n[1], n[2], n[3]
			if !slices.Contains(testsOf(t, pkg), name) {
				t.Errorf("%s: there is no test %s in %s", row[0], name, pkg)
			}
			if script == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, "testdata", "script", script+".txtar")); err != nil || name != "TestScripts" {
				t.Errorf("%s: there is no script %s", row[0], script)
			}
		}
	}
}

// testsOf lists the tests of a package.
func testsOf(t *testing.T, pkg string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				out = append(out, f.Name.Name)
			}
		}
	}
	return out
}

// DEPENDENCIES.md has each direct dependency of go.mod, once, in its order, with a
// reason.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, "go.mod")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var required, listed []string
	for _, r := range mod.Require {
		if !r.Indirect {
			required = append(required, r.Path)
		}
	}
	for _, row := range rows(t, document(t, "DEPENDENCIES.md"), "module") {
		listed = append(listed, row[0])
		if len(row) != 3 || row[1] == "" || !strings.HasSuffix(row[2], ".") {
			t.Errorf("%s: where is its reason?", row[0])
		}
	}
	if !slices.Equal(listed, required) {
		t.Errorf("DEPENDENCIES.md lists %q, and go.mod requires %q", listed, required)
	}
}
