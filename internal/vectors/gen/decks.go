package main

import (
	"fmt"
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

const (
	cveCompose = "CVE-2025-62725 compose"
	cveLaughs  = "CVE-2019-11253 Kubernetes"
	yamlSpec   = "YAML 1.2"
	deckSpec   = "airdeck: deck.yaml"
)

// picture is the smallest image: a GIF of one pixel.
const picture = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// deckOf is a folder with a deck.yaml, a slide and whatever else.
func deckOf(yaml string, more ...member) []byte {
	return archive(append([]member{file("deck.yaml", yaml), file("a.gif", picture)}, more...)...)
}

func slides(paths ...string) string {
	yaml := "title: A talk\nimages:\n"
	for _, p := range paths {
		yaml += "  - " + p + "\n"
	}
	return yaml
}

// deckPaths are slides whose paths are not legal, or lead elsewhere.
func deckPaths(s *set) {
	s.at("deck", cveCompose, vectors.Deck)
	for _, v := range []struct{ name, comment, path, source string }{
		{"dotdot", "leaves the folder", "../a.gif", cveCompose},
		{"dotdot-inside", "leaves the folder from inside", "slides/../../a.gif", cveCompose},
		{"dotdot-glob", "a glob that leaves the folder", `"../*.gif"`, cveCompose},
		{"absolute", "absolute", "/etc/passwd", cveCompose},
		{"absolute-glob", "an absolute glob", `"/etc/*"`, cveCompose},
		{"backslash", "backslashes", `slides\a.gif`, windows},
		{"device", "a device of Windows", "nul.gif", windows},
		{"trailing-dot", "a dot that Windows drops", "a.gif.", windows},
		{"escape", "clears the terminal", `"\e[2J.gif"`, "CVE-2021-21303 helm"},
		{"nul", "a NUL", `"a.gif\0.exe"`, cveCompose},
		{"empty", "empty", `""`, deckSpec},
		{"itself", "deck.yaml itself", "Deck.YAML", deckSpec},
		{"long", "1,001 bytes", strings.Repeat("a/", 500) + "a", deckSpec},
	} {
		s.add("name", "deck-path-"+v.name, "the path of a slide: "+v.comment, deckOf(slides(v.path)), metBy(v.source))
	}
	link := func(expect, name, comment, path string, ms ...member) {
		s.add(expect, "deck-link-"+name, "a slide: "+comment, deckOf(slides(path), ms...))
	}
	link("name", "out", "a link that leaves the folder", "b.gif", member{name: "b.gif", kind: '2', link: "/etc/passwd"})
	link("name", "up", "a link to what lies beside the folder", "b.gif", member{name: "b.gif", kind: '2', link: "../medium"})
	link("name", "folder", "behind a link to a folder outside", "slides/passwd", member{name: "slides", kind: '2', link: "/etc"})
	link("name", "glob", "a glob that finds a link that leaves the folder", `"*.gif"`, member{name: "b.gif", kind: '2', link: "/etc/passwd"})
	link("local", "fifo", "a fifo, at which a reader waits", "b.gif", member{name: "b.gif", kind: '6'})
	link("local", "folder-as-slide", "a folder", "b.gif", member{name: "b.gif", kind: '5'})
	s.source = deckSpec
	link(vectors.Success, "inside", "a link to another slide", "b.gif", member{name: "b.gif", kind: '2', link: "a.gif"})
	s.add("name", "deck-link-spec", "deck.yaml is a link that leaves the folder", archive(member{name: "deck.yaml", kind: '2', link: "/etc/passwd"}, file("a.gif", picture)), metBy(cveCompose))
	s.add("local", "deck-missing", "a slide that is not there", deckOf(slides("b.gif")))
	s.add("name", "deck-case", "slides that differ in case alone", deckOf(slides("a.gif", "A.gif"), file("A.gif", picture)))
	s.add("mediatype", "deck-slide-text", "a slide that is a text", deckOf(slides("b.gif"), file("b.gif", "no picture at all")))
	s.add("mediatype", "deck-slide-empty", "a slide without bytes", deckOf(slides("b.gif"), file("b.gif", "")))
	s.add("mediatype", "deck-slide-html", "a slide that is a web page", deckOf(slides("b.svg"), file("b.svg", "<!DOCTYPE html><script>alert(1)</script>")), metBy("stored cross-site scripting"))
}

// deckTexts are deck.yaml that say too much or nothing.
func deckTexts(s *set) {
	s.at("deck", yamlSpec, vectors.Deck)
	yaml := func(expect, name, comment, text string, more ...option) {
		s.add(expect, "deck-"+name, "deck.yaml: "+comment, deckOf(text), more...)
	}
	laughs := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'k'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), ", "))
	}
	yaml("json", "laughs", "aliases that stand for 9^11 texts", laughs+slides("a.gif"), metBy(cveLaughs))
	yaml("json", "laughs-images", "aliases that stand for 9^11 texts, among the images", "title: A talk\nimages: [&a [x, x], &b [*a, *a], &c [*b, *b]]\n", metBy(cveLaughs))
	yaml("json", "alias-itself", "an alias of what holds it", "title: A talk\nimages: &a [*a]\n", metBy(cveLaughs))
	yaml("json", "alias-unknown", "an alias of nothing", "title: *a\nimages: [a.gif]\n")
	yaml("json", "merge", "a merge key", "x: &x {title: A talk}\n<<: *x\nimages: [a.gif]\n")
	yaml("json", "deep", "lists in lists, 100,000 deep", "title: A talk\nimages: "+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"\n", metBy("CVE-2022-3064 yaml"))
	yaml("duplicate", "key-twice", "a key twice", "title: A talk\n"+slides("a.gif"))
	yaml("duplicate", "note-twice", "a note twice", slides("a.gif")+"notes: {a.gif: x, a.gif: y}\n")
	yaml("json", "key-unknown", "a key that nobody knows", slides("a.gif")+"script: evil\n", metBy(deckSpec))
	yaml("json", "key-folded", "a key in another case", "Title: A talk\nimages: [a.gif]\n", metBy(deckSpec))
	yaml("json", "key-list", "a key that is a list", "? [title]\n: A talk\n")
	yaml("json", "title-list", "a title that is a list", "title: [A, talk]\nimages: [a.gif]\n")
	yaml("json", "images-text", "images that are a text", "title: A talk\nimages: a.gif\n")
	yaml("json", "binary", "a title in base64", "title: !!binary QSB0YWxr\nimages: [a.gif]\n")
	yaml("json", "tag", "a title with a tag that other readers run", "title: !!python/object/apply:os.system [id]\nimages: [a.gif]\n", metBy("CVE-2017-18342 PyYAML"))
	yaml("json", "tab", "a tab for white space", "title: A talk\nimages:\n\t- a.gif\n")
	yaml("json", "utf-8", "no UTF-8", "title: A \xfftalk\nimages: [a.gif]\n")
	yaml("json", "nul", "a NUL", "title: A talk\x00\nimages: [a.gif]\n")
	yaml("json", "list", "a list", "- a.gif\n")
	yaml("json", "text", "a text", "a.gif\n")
	yaml("trailing", "second-document", "a second document", slides("a.gif")+"---\n"+slides("a.gif"))
	yaml("limit", "huge", "over 1 MiB", slides("a.gif")+strings.Repeat("# comment\n", 110_000))
	yaml("limit", "slides", "10,001 slides", "title: A talk\nimages: ["+strings.Repeat("a.gif,", 10_001)+"]\n", metBy(deckSpec))
	s.source = deckSpec
	yaml("policy", "empty", "no bytes", "")
	yaml("policy", "no-title", "no title", "images: [a.gif]\n")
	yaml("policy", "no-images", "no images", "title: A talk\nimages: []\n")
	yaml("policy", "glob-nothing", "a glob that finds nothing", slides(`"*.png"`))
	yaml("policy", "glob-open", "a glob with an open bracket", slides(`"[a.gif*"`))
	yaml("policy", "title-blank", "a title of white space", "title: \"  \"\nimages: [a.gif]\n")
	yaml("policy", "title-escape", "a title that clears the terminal", "title: \"\\e[2JA talk\"\nimages: [a.gif]\n", metBy("CVE-2021-21303 helm"))
	yaml("policy", "title-nul", "a title with a NUL", "title: \"A\\0talk\"\nimages: [a.gif]\n")
	yaml("policy", "title-lines", "a title of two lines", "title: \"A\\ntalk\"\nimages: [a.gif]\n")
	yaml("policy", "note-escape", "a note that clears the terminal", slides("a.gif")+"notes: {a.gif: \"\\e[2J\"}\n", metBy("CVE-2021-21303 helm"))
	yaml("policy", "note-of-nothing", "a note for no slide", slides("a.gif")+"notes: {b.gif: x}\n")
	yaml("policy", "date", "a date that is none", slides("a.gif")+"date: 2026-02-30\n")
	yaml("policy", "license", "a license that is a sentence", slides("a.gif")+"license: \"All rights reserved; ask first!\"\n")

	yaml(vectors.Success, "good", "a slide twice, a glob, a note", slides("a.gif", "./a.gif", `"*.gif"`)+"notes: {a.gif: Wait.}\n")
	yaml(vectors.Success, "alias", "an alias of a text", "title: &t A talk\nauthor: *t\nimages: [a.gif]\n")
	yaml(vectors.Success, "windows", "a byte order mark and the line ends of Windows", "\ufefftitle: A talk\r\nimages:\r\n  - a.gif\r\n", metBy("editors of Windows"))
	yaml(vectors.Success, "title-markup", "a title with markup, which is text", "title: <script>alert(1)</script>\nimages: [a.gif]\n", metBy("stored cross-site scripting"))
}
