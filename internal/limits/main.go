// Command limits writes the table of limits in SECURITY.md: the exported constants
// that begin with Max, each with its value and with the reason that its comment gives.
//
//	go run ./internal/limits
package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// packages are those whose limits are listed, in this order.
var packages = []string{"layout", "bundle", "deck", "mirror", "trust"}

const (
	document = "SECURITY.md"
	begin    = "<!-- The table is made by make limits. -->\n"
	end      = "<!-- end of the table -->\n"
)

func main() {
	if err := update(document); err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(1)
	}
}

func update(name string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text, err := rewritten(string(old), ".")
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// rewritten is a document with the table of the packages below root.
func rewritten(text, root string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", errors.New(document + " lacks the marks between which the table stands")
	}
	rows := []string{"| limit | value | what it bounds, and why |", "|---|---|---|"}
	for _, pkg := range packages {
		limits, err := limitsOf(filepath.Join(root, pkg))
		if err != nil {
			return "", fmt.Errorf("%s: %w", pkg, err)
		}
		for _, l := range limits {
			rows = append(rows, fmt.Sprintf("| `%s.%s` | %s | %s |", pkg, l.name, l.value, l.reason))
		}
	}
	return before + begin + strings.Join(rows, "\n") + "\n" + end + after, nil
}

// limit is one constant.
type limit struct{ name, value, reason string }

// limitsOf reads the limits of the package in a folder, sorted by name.
func limitsOf(dir string) ([]limit, error) {
	fset := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	// Nothing is imported, so most of the package does not check; constants do.
	conf := types.Config{Importer: none{}, Error: func(error) {}}
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}}
	_, _ = conf.Check(dir, fset, files, info)
	var out []limit
	for _, f := range files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				more, err := limitsIn(g, s.(*ast.ValueSpec), info)
				if err != nil {
					return nil, err
				}
				out = append(out, more...)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no limits: %w", fs.ErrNotExist)
	}
	slices.SortFunc(out, func(a, b limit) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// none has no packages.
type none struct{}

func (none) Import(string) (*types.Package, error) { return nil, errors.New("nothing is imported") }

func limitsIn(g *ast.GenDecl, s *ast.ValueSpec, info *types.Info) ([]limit, error) {
	doc := s.Doc
	if doc == nil && !g.Lparen.IsValid() {
		doc = g.Doc
	}
	var out []limit
	for _, id := range s.Names {
		if !strings.HasPrefix(id.Name, "Max") {
			continue
		}
		c, ok := info.Defs[id].(*types.Const)
		if !ok || c.Val().Kind() != constant.Int {
			return nil, fmt.Errorf("%s has a value that is no whole number, or that another package gives", id.Name)
		}
		n, _ := constant.Int64Val(c.Val())
		reason, inBytes, err := reasonOf(id.Name, doc)
		if err != nil {
			return nil, err
		}
		value := humanize.Comma(n)
		switch {
		case inBytes && n%1024 == 0:
			value = strings.Replace(humanize.IBytes(uint64(n)), ".0 ", " ", 1)
		case inBytes:
			value += " B"
		}
		out = append(out, limit{id.Name, value, reason})
	}
	return out, nil
}

// reasonOf makes a cell of a comment. It must begin with "NAME bounds" and go on after
// what is bounded: that is the reason.
func reasonOf(name string, doc *ast.CommentGroup) (text string, inBytes bool, err error) {
	var p comment.Parser
	pr := comment.Printer{}
	text = strings.Join(strings.Fields(string(pr.Comment(p.Parse(doc.Text())))), " ")
	text, ok := strings.CutPrefix(text, name+" bounds ")
	i := strings.IndexAny(text, ".:(")
	if !ok || i < 0 || strings.Trim(text[i:], ".:( ") == "" {
		return "", false, fmt.Errorf("the comment of %s does not say what it bounds, and then why: %q", name, text)
	}
	// Links have a meaning in godoc alone, and the value tells its unit.
	inBytes = strings.Contains(text, ", in bytes")
	return strings.NewReplacer("[", "", "]", "", "|", `\|`, ", in bytes", "").Replace(text), inBytes, nil
}
