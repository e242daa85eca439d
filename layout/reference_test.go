package layout_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

var someDigest = digest.FromString("some")

var references = []struct {
	in                            string
	registry, repository, tag, at string
}{
	{"ghcr.io/acme/decks/intro:v1", "ghcr.io", "acme/decks/intro", "v1", ""},
	{"ghcr.io/acme/intro", "ghcr.io", "acme/intro", "latest", ""},
	{"localhost/a:b", "localhost", "a", "b", ""},
	{"localhost:5000/a", "localhost:5000", "a", "latest", ""},
	{"registry.internal:5000/a/b:c", "registry.internal:5000", "a/b", "c", ""},
	{"127.0.0.1:5000/a:b", "127.0.0.1:5000", "a", "b", ""},
	{"[::1]:5000/a:b", "[::1]:5000", "a", "b", ""},
	{"r.io/a@" + someDigest.String(), "r.io", "a", "", someDigest.String()},
	{"r.io/a:v1@" + someDigest.String(), "r.io", "a", "v1", someDigest.String()},
	{"r.io:1/a@" + digest.SHA512.FromString("x").String(), "r.io:1", "a", "", digest.SHA512.FromString("x").String()},
	{"r.io/a:V1_.-", "r.io", "a", "V1_.-", ""},
	{"r.io/" + strings.Repeat("r", 255), "r.io", strings.Repeat("r", 255), "latest", ""},
	{"r.io/a-b_c.d__e/f:" + strings.Repeat("t", 128), "r.io", "a-b_c.d__e/f", strings.Repeat("t", 128), ""},
}

func TestParseReference(t *testing.T) {
	for _, tt := range references {
		got, err := layout.ParseReference(tt.in)
		want := layout.Reference{Registry: tt.registry, Repository: tt.repository, Tag: tt.tag, Digest: digest.Digest(tt.at)}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		}
	}
}

var badReferences = map[string]layout.Class{
	"": layout.ClassName, "alpine": layout.ClassName, "alpine:3": layout.ClassName,
	"library/alpine:3": layout.ClassName, "acme/decks/intro:v1": layout.ClassName,
	"/a:b": layout.ClassName, "r.io/": layout.ClassName, "r.io/:v1": layout.ClassName, "r.io/a:": layout.ClassName,
	"r.io/A:v1": layout.ClassName, "r.io/a b": layout.ClassName, "r.io/a:v 1": layout.ClassName, "r.io/a:.v1": layout.ClassName,
	"r.io/a:" + strings.Repeat("t", 129): layout.ClassName, "r.io/../a:b": layout.ClassName, "r.io//a:b": layout.ClassName,
	"r.io/a/:b": layout.ClassName, "r.io/a\\b:c": layout.ClassName, "r.io/a\x1b[31m:c": layout.ClassName, "r.io/a\n:c": layout.ClassName,
	"deck:/a/b": layout.ClassName, "r.io/" + strings.Repeat("r", 256): layout.ClassName,
	"https://r.io/a:b": layout.ClassName, "user:pw@r.io/a:b": layout.ClassName, "r.io/a:b:c": layout.ClassName, "r.io/a?x:b": layout.ClassName,
	"r.io/a@": layout.ClassDigest, "r.io/a:v1@latest": layout.ClassDigest, "r.io/a@sha256:abc": layout.ClassDigest,
	"r.io/a@md5:d41d8cd98f00b204e9800998ecf8427e":            layout.ClassPolicy,
	"r.io/a@" + someDigest.String() + "@" + string(x):        layout.ClassDigest,
	"r.io/a@sha256:" + strings.ToUpper(someDigest.Encoded()): layout.ClassDigest,
}

func TestParseReferenceRefuses(t *testing.T) {
	for in, class := range badReferences {
		if got, err := layout.ParseReference(in); err == nil || layout.ClassOf(err) != class {
			t.Errorf("%q: %+v, %v, class %s", in, got, err, layout.ClassOf(err))
		}
	}
}

func TestEntriesAreSortedByReference(t *testing.T) {
	d := func(name string, dg digest.Digest) ocispec.Descriptor {
		e := ocispec.Descriptor{Digest: dg}
		if name != "" {
			e = layout.Named(e, name)
		}
		return e
	}
	want := []ocispec.Descriptor{d("a", "9"), d("b", "1"), d("b", "2"), d("c", "0"), d("", "3"), d("", "4")}
	for _, order := range [][]int{{5, 4, 3, 2, 1, 0}, {2, 5, 0, 4, 1, 3}} {
		var got []ocispec.Descriptor
		for _, i := range order {
			got = append(got, want[i])
		}
		layout.SortEntries(got)
		for i := range got {
			if got[i].Digest != want[i].Digest || layout.EntryName(got[i]) != layout.EntryName(want[i]) {
				t.Errorf("%v: place %d has %v", order, i, got[i])
			}
		}
	}
}

// Of the two names of an entry, the fuller counts; what else it says is kept.
func TestEntryName(t *testing.T) {
	e := ocispec.Descriptor{Annotations: map[string]string{ocispec.AnnotationRefName: "v1", "other": "kept"}}
	if got := layout.EntryName(e); got != "v1" {
		t.Errorf("%q", got)
	}
	named := layout.Named(e, "r.io/a:v1")
	if layout.EntryName(named) != "r.io/a:v1" || named.Annotations["other"] != "kept" || named.Annotations[ocispec.AnnotationRefName] != "r.io/a:v1" {
		t.Errorf("%v", named.Annotations)
	}
	if e.Annotations[ocispec.AnnotationRefName] != "v1" {
		t.Error("Named changed its argument")
	}
	named.Annotations[ocispec.AnnotationRefName] = "v1"
	if got := layout.EntryName(named); got != "r.io/a:v1" {
		t.Errorf("%q", got)
	}
}
