package deck_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/layout"
)

func TestLoad(t *testing.T) {
	files := map[string]string{
		"deck.yaml": `
title: 2026
author: &me Ada Lovelace
date: 2026-01-31
license: CC-BY-4.0
description: |
  One line.
  And another.
images:
  - ./cover.svg
  - slides//*.png
  - "odd[1].png"
  - "[xyz]1.png"
  - cover.svg
notes:
  cover.svg: *me
  ./slides/slide-2.png: 12:30
`,
		"cover.svg": svg, "odd[1].png": png, "y1.png": png,
		"slides/.DS_Store.png": "junk",
		"slides/dir.png/x.txt": "no slide",
		"slides/slide-10.png":  png, "slides/slide-2.png": png, "slides/slide-1.png": png,
		"slides/slide-01.png": png, "slides/slide-9b.png": png,
	}
	want := deck.Deck{
		Title: "2026", Author: "Ada Lovelace", Date: "2026-01-31", License: "CC-BY-4.0",
		Description: "One line.\nAnd another.\n",
		Images: []string{
			"cover.svg", "slides/slide-01.png", "slides/slide-1.png", "slides/slide-2.png", "slides/slide-9b.png",
			"slides/slide-10.png", "odd[1].png", "y1.png", "cover.svg",
		},
		Notes: map[string]string{"cover.svg": "Ada Lovelace", "slides/slide-2.png": "12:30"},
	}
	dir := folder(t, files)
	for _, name := range []string{dir, filepath.Join(dir, "deck.yaml")} {
		if got := load(t, name).Deck(); !reflect.DeepEqual(got, want) {
			t.Errorf("Load(%s)\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	const ok = "title: T\nimages: [a.png]\n"
	many := strings.Repeat("- a.png\n", deck.MaxSlides+1)
	for name, tc := range map[string]struct {
		spec  string
		class layout.Class
		want  string
	}{
		"empty":               {"", layout.ClassPolicy, "it is empty"},
		"comments only":       {"# nothing\n", layout.ClassPolicy, "empty"},
		"syntax":              {"title: T\nimages: [a.png\n", layout.ClassJSON, "line "},
		"tab":                 {"title: T\n\timages: [a.png]\n", layout.ClassJSON, "line 2"},
		"not a map":           {"- a.png\n", layout.ClassJSON, "line 1: deck.yaml must be a map"},
		"unknown key":         {ok + "colour: x\n", layout.ClassJSON, `line 3: unknown key "colour"`},
		"key in another case": {ok + "Author: x\n", layout.ClassJSON, `line 3: unknown key "Author"`},
		"merge key":           {ok + "<<: {author: x}\n", layout.ClassJSON, "line 3"},
		"duplicate key":       {ok + "title: U\n", layout.ClassDuplicate, `line 3: key "title" stands in line 1`},
		"duplicate note":      {ok + "notes:\n  a.png: x\n  a.png: y\n", layout.ClassDuplicate, "line 5"},
		"note spelt twice":    {ok + "notes:\n  a.png: x\n  ./a.png: y\n", layout.ClassDuplicate, "line 5"},
		"second document":     {ok + "---\ntitle: U\n", layout.ClassTrailing, "line 3: a second document"},
		"unknown anchor":      {"title: *x\n", layout.ClassJSON, "x"},
		"title a list":        {"title: [T]\nimages: [a.png]\n", layout.ClassJSON, "line 1: title must be one text"},
		"title binary":        {"title: !!binary aGk=\nimages: [a.png]\n", layout.ClassJSON, "line 1"},
		"no title":            {"images: [a.png]\n", layout.ClassPolicy, "it has no title"},
		"null title":          {"title: ~\nimages: [a.png]\n", layout.ClassPolicy, "it has no title"},
		"blank title":         {"title: ' '\nimages: [a.png]\n", layout.ClassPolicy, "line 1: title"},
		"title of two lines":  {"title: \"a\\nb\"\nimages: [a.png]\n", layout.ClassPolicy, "line 1: title"},
		"escape in title":     {"title: \"\\e[2J\"\nimages: [a.png]\n", layout.ClassPolicy, "U+001B"},
		"escape in a note":    {ok + "notes: {a.png: \"\\e[2J\"}\n", layout.ClassPolicy, "line 3"},
		"date":                {ok + "date: 31.1.2026\n", layout.ClassPolicy, "line 3: date"},
		"date that is none":   {ok + "date: 2026-02-30\n", layout.ClassPolicy, "line 3: date"},
		"date without a zone": {ok + "date: 2026-02-01T10:00:00\n", layout.ClassPolicy, "line 3: date"},
		"license":             {ok + "license: \"MIT, I think\"\n", layout.ClassPolicy, "line 3: license"},
		"no images":           {"title: T\n", layout.ClassPolicy, "has no slides"},
		"empty images":        {"title: T\nimages: []\n", layout.ClassPolicy, "has no slides"},
		"images a text":       {"title: T\nimages: a.png\n", layout.ClassJSON, "line 2: images must be a list"},
		"image a map":         {"title: T\nimages: [{a: b}]\n", layout.ClassJSON, "line 2: an image"},
		"too many images":     {"title: T\nimages:\n" + many, layout.ClassLimit, "line 3"},
		"glob of nothing":     {"title: T\nimages:\n- a.png\n- '*.gif'\n", layout.ClassPolicy, `line 4: glob "*.gif" matches no file`},
		"glob of folders":     {"title: T\nimages: ['sub*']\n", layout.ClassPolicy, "matches no file"},
		"glob in no folder":   {"title: T\nimages: [nowhere/*.png]\n", layout.ClassLocal, `line 2: glob "nowhere/*.png"`},
		"glob malformed":      {"title: T\nimages: ['[a.png']\n", layout.ClassPolicy, "line 2: glob"},
		"glob that leaves":    {"title: T\nimages: ['../*.png']\n", layout.ClassName, "line 2: glob"},
		"note for no slide":   {ok + "notes:\n  b.png: hm\n", layout.ClassPolicy, `line 4: the note for "b.png"`},
		"notes a list":        {ok + "notes: [x]\n", layout.ClassJSON, "line 3: notes must be a map"},
		"missing":             {"title: T\nimages: [a.png,\n b.png]\n", layout.ClassLocal, `line 3: "b.png": no such file`},
		"folder":              {"title: T\nimages: [sub]\n", layout.ClassLocal, `"sub" is a folder`},
		"file as a folder":    {"title: T\nimages: [a.png/b.png]\n", layout.ClassLocal, "a.png"},
		"empty path":          {"title: T\nimages: ['']\n", layout.ClassName, "line 2: image"},
		"null path":           {"title: T\nimages: [~]\n", layout.ClassName, "line 2: image"},
		"itself":              {"title: T\nimages: [deck.yaml]\n", layout.ClassName, "deck.yaml"},
		"absolute":            {"title: T\nimages: [/etc/a.png]\n", layout.ClassName, "line 2: image"},
		"parent":              {"title: T\nimages: [sub/../../a.png]\n", layout.ClassName, "leaves the deck's folder"},
		"backslash":           {"title: T\nimages: ['sub\\a.png']\n", layout.ClassName, "backslash"},
		"drive":               {"title: T\nimages: ['C:a.png']\n", layout.ClassName, "Windows"},
		"control":             {"title: T\nimages: [\"a\\u0007.png\"]\n", layout.ClassName, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"deck.yaml": tc.spec, "a.png": png, "sub/a.png": png})
			d, err := deck.Load(dir)
			if err == nil {
				d.Close()
			}
			wantError(t, err, tc.class, tc.want, filepath.Join(dir, "deck.yaml"))
		})
	}
}

func TestLoadTooLarge(t *testing.T) {
	spec := "title: T\nimages: [a.png]\n#"
	fits := spec + strings.Repeat("x", deck.MaxSpecSize-len(spec))
	load(t, folder(t, map[string]string{"deck.yaml": fits, "a.png": png}))
	_, err := deck.Load(folder(t, map[string]string{"deck.yaml": fits + "x", "a.png": png}))
	wantError(t, err, layout.ClassLimit, "1048576")
}

func TestLoadMissing(t *testing.T) {
	_, err := deck.Load(t.TempDir())
	wantError(t, err, layout.ClassLocal, "deck.yaml")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not fs.ErrNotExist: %v", err)
	}
	_, err = deck.Load(filepath.Join(t.TempDir(), "none"))
	wantError(t, err, layout.ClassLocal, "none")
}

func TestLoadCaseCollision(t *testing.T) {
	dir := folder(t, map[string]string{"deck.yaml": "title: T\nimages: [É.png, é.png]\n", "É.png": png, "é.png": png})
	_, err := deck.Load(dir)
	wantError(t, err, layout.ClassName, "differ in case alone")
}

func TestLinks(t *testing.T) {
	outside := folder(t, map[string]string{"deck.yaml": "title: T\nimages: [a.png]\n", "a.png": png})
	dir := folder(t, map[string]string{"real/a.png": png})
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skipf("links are not permitted here: %v", err)
		}
	}
	link(filepath.Join(outside, "a.png"), "abs.png")
	link(filepath.Join("..", filepath.Base(outside), "a.png"), "rel.png")
	link(outside, "away")
	link(filepath.Join("real", "a.png"), "inside.png")
	link("loop.png", "loop.png")
	for images, class := range map[string]layout.Class{
		"inside.png":  "",
		"abs.png":     layout.ClassName,
		"rel.png":     layout.ClassName,
		"away/a.png":  layout.ClassName,
		"away/*.png":  layout.ClassName,
		"a*.png":      layout.ClassName,
		"*/a.png":     "", // only real/a.png: a glob does not follow the link
		"loop.png":    layout.ClassLocal,
		"real/../*/*": "",
	} {
		t.Run(images, func(t *testing.T) {
			if runtime.GOOS == "windows" && class == layout.ClassLocal {
				t.Skip("Windows has its own way with loops")
			}
			spec := "title: T\nimages: ['" + images + "']\n"
			if err := os.WriteFile(filepath.Join(dir, "deck.yaml"), []byte(spec), 0o644); err != nil {
				t.Fatal(err)
			}
			d, err := deck.Load(dir)
			if class == "" {
				if err != nil {
					t.Fatal(err)
				}
				d.Close()
				return
			}
			wantError(t, err, class, "deck.yaml: line 2")
		})
	}
	os.Remove(filepath.Join(dir, "deck.yaml"))
	link(filepath.Join(outside, "deck.yaml"), "deck.yaml")
	_, err := deck.Load(dir)
	wantError(t, err, layout.ClassName, "deck.yaml")
}
