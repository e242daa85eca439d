package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

const differentials = "parser differentials"

// jsons are texts that are no JSON, or that readers take in two ways, in index.json,
// in a manifest, and in an index between them.
func jsons(s *set) {
	s.at("json", differentials, vectors.Bundle)
	s.unpacked = true
	inner := indexOf(desc(typeManifest, `{"other":"manifest"}`)) // nobody gets as far
	for _, v := range []struct {
		expect, name, comment string
		change                func(string) string
		source                string
	}{
		{"json", "key-twice", "a key twice", first(`"schemaVersion":2`, `"schemaVersion":2,"schemaVersion":1`), differentials},
		{"json", "key-twice-escaped", "a key twice, once with an escape", first(`"schemaVersion":2`, `"schemaVersion":2,"\u0073chemaVersion":1`), differentials},
		{"json", "key-folded", "a key in another case", first(`"schemaVersion":2`, `"SchemaVersion":2`), "encoding/json takes it for the same"},
		{"json", "key-folded-twice", "a key in two cases", first(`"schemaVersion":2`, `"schemaVersion":2,"SCHEMAVERSION":1`), "encoding/json takes the last"},
		{"json", "key-long-s", "a key with a letter that folds to another", first(`"schemaVersion":2`, "\"\u017fchemaVersion\":2"), "encoding/json takes it for the same"},
		{"json", "key-twice-annotation", "an annotation twice", first(`"schemaVersion":2`, `"schemaVersion":2,"annotations":{"a":"1","a":"2"}`), differentials},
		{"json", "key-twice-digest", "a digest twice in a descriptor", first(`"digest":"sha256:`, `"digest":"sha256:`+sha("evil")+`","digest":"sha256:`), "CVE-2021-41190"},
		{"json", "trailing", "a second value behind it", func(t string) string { return t + "{}" }, "json.Decoder reads the first"},
		{"json", "trailing-text", "text behind it", func(t string) string { return t + "\nevil" }, "json.Decoder reads the first"},
		{"json", "trailing-nul", "a NUL behind it", func(t string) string { return t + "\x00" }, "parsers in C end there"},
		{"json", "utf-8", "a text that is no UTF-8", first(`"schemaVersion":2`, "\"schemaVersion\":2,\"annotations\":{\"a\":\"\xff\"}"), "encoding/json replaces it"},
		{"json", "surrogate", "half of a surrogate pair", first(`"schemaVersion":2`, `"schemaVersion":2,"annotations":{"a":"\ud800"}`), "encoding/json replaces it"},
		{"json", "bom", "a byte order mark", func(t string) string { return "\ufeff" + t }, "editors of Windows"},
		{"json", "utf-16", "UTF-16", func(t string) string { return "\xff\xfe" + strings.Join(strings.Split(t, ""), "\x00") + "\x00" }, "PowerShell's >"},
		{"json", "comment", "a comment", first(`"schemaVersion":2`, `/* evil */"schemaVersion":2`), "JSON5"},
		{"json", "number-zeros", "a number with leading zeros", first(`"schemaVersion":2`, `"schemaVersion":002`), "RFC 8259"},
		{"json", "cut", "half of it", func(t string) string { return t[:len(t)/2] }, "a disk that was full"},
		{"json", "annotation-number", "an annotation that is a number", first(`"schemaVersion":2`, `"schemaVersion":2,"annotations":{"a":1}`), "image-spec v1.1.1, annotations.md"},
		{"limit", "deep-objects", "objects in objects, 100,000 deep", first(`"schemaVersion":2`, `"schemaVersion":2,"x":`+strings.Repeat(`{"x":`, 100_000)+"1"+strings.Repeat("}", 100_000)), "CVE-2022-28131 encoding/xml"},
	} {
		more := metBy(v.source)
		s.add(v.expect, "json-index-"+v.name, "index.json has "+v.comment, parts{index: v.change}.tar(), more)
		switch v.name { // the same decoder reads them
		case "key-twice", "key-folded", "key-long-s", "trailing", "utf-8", "deep-objects":
			s.add(v.expect, "json-manifest-"+v.name, "a manifest has "+v.comment, parts{manifest: v.change}.tar(), more)
		}
		if v.name == "key-twice-digest" || v.name == "trailing" {
			idx := v.change(inner)
			s.add(v.expect, "json-child-"+v.name, "an index in an index has "+v.comment, archive(layoutOf(
				indexOf(desc(typeIndex, indexOf(desc(typeIndex, idx)), named(name))), indexOf(desc(typeIndex, idx)), idx)...), more)
		}
	}
}

// first gives a function that replaces the first of what there is.
func first(old, with string) func(string) string {
	return func(text string) string {
		if !strings.Contains(text, old) {
			panic(old + " is not in " + text)
		}
		return strings.Replace(text, old, with, 1)
	}
}
