package layout_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/vectors"
	"github.com/airdeck/airdeck/layout"
)

// addTexts seeds a target with the values of a key in the JSON of some vectors.
func addTexts(f *testing.F, prefix, key string) {
	f.Helper()
	all, err := vectors.Load(filepath.Join("..", vectors.Dir))
	if err != nil {
		f.Fatal(err)
	}
	value := regexp.MustCompile(`"` + regexp.QuoteMeta(key) + `":("(?:[^"\\]|\\.)*")`)
	known := map[string]bool{}
	for _, v := range all {
		if !strings.HasPrefix(v.Name, prefix) {
			continue
		}
		for _, file := range v.Contents() {
			for _, m := range value.FindAllSubmatch(file.Content, -1) {
				var text string
				if json.Unmarshal(m[1], &text) == nil && !known[text] {
					known[text] = true
					f.Add(text)
				}
			}
		}
	}
	if len(known) == 0 {
		f.Fatalf("no vector of %s has a %s", prefix, key)
	}
}

// FuzzDigest holds the check of digests against go-digest's, and what is made of
// digests against its inverse.
func FuzzDigest(f *testing.F) {
	for _, s := range []string{
		x.String(), digest.SHA512.FromString("x").String(), digest.SHA384.FromString("x").String(), "sha256:", ":", "sha256:" + strings.Repeat("A", 64),
		x.String() + "," + someDigest.String(), someDigest.String() + "," + x.String(), x.String() + ",", "sha256-" + x.Encoded() + ".sig", "sha256:../../etc/passwd",
	} {
		f.Add(s)
	}
	addTexts(f, "digest-", "digest")
	hex := regexp.MustCompile(`^[0-9a-f]+$`)
	f.Fuzz(func(t *testing.T, s string) {
		d := digest.Digest(s)
		err := layout.CheckDigest(d)
		want := d.Validate() == nil && d.Algorithm() != digest.SHA384
		if (err == nil) != want {
			t.Fatalf("%q: %v; go-digest: %v", s, err, d.Validate())
		}
		if err != nil && layout.ClassOf(err) != layout.ClassDigest && layout.ClassOf(err) != layout.ClassPolicy {
			t.Errorf("%q: class %s", s, layout.ClassOf(err))
		}
		if err == nil {
			if !hex.MatchString(d.Encoded()) || strings.ContainsAny(s, "/\\.") {
				t.Errorf("%q makes a path", s)
			}
			for _, tag := range layout.CosignTags(d) {
				if got := layout.CosignSubject(tag); got != d || len(tag) > layout.MaxTagSize {
					t.Errorf("the tag %q belongs to %q", tag, got)
				}
			}
		}
		if d := layout.CosignSubject(s); d != "" {
			if err := layout.CheckDigest(d); err != nil || !strings.HasPrefix(s, strings.Replace(d.String(), ":", "-", 1)+".") {
				t.Errorf("the tag %q belongs to %q: %v", s, d, err)
			}
		}
		list, err := layout.ParseDigests(s)
		if err != nil {
			return
		}
		if layout.JoinDigests(list) != s || !slices.IsSorted(list) || slices.ContainsFunc(list, func(d digest.Digest) bool { return d.Validate() != nil }) {
			t.Errorf("%q is read as %q", s, list)
		}
	})
}

// FuzzParseReference demands that a reference is read as it was written, and that
// another reader finds the same registry and repository in it.
func FuzzParseReference(f *testing.F) {
	for _, tt := range references {
		f.Add(tt.in)
	}
	for in := range badReferences {
		f.Add(in)
	}
	addTexts(f, "reference-", ocispec.AnnotationRefName)
	f.Fuzz(func(t *testing.T, in string) {
		ref, err := layout.ParseReference(in)
		if err != nil {
			if layout.ClassOf(err) == layout.ClassLocal {
				t.Errorf("%q: %v", in, err)
			}
			return
		}
		if ref.Registry == "" || ref.Repository == "" || ref.Tag == "" && ref.Digest == "" {
			t.Errorf("%q: %+v", in, ref)
		}
		if s := ref.String(); s != in && s != in+":latest" {
			t.Errorf("%q becomes %q", in, s)
		}
		if again, err := layout.ParseReference(ref.String()); err != nil || again != ref {
			t.Errorf("%q: %+v, then %+v, %v", in, ref, again, err)
		}
		if strings.ContainsFunc(in, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) || slices.Contains(strings.Split(ref.Repository, "/"), "..") {
			t.Errorf("%q has a character that belongs in no reference", in)
		}
		second, err := secondReference(ref)
		switch {
		case errors.Is(err, errOutside):
		case err != nil:
			t.Errorf("%q: go-containerregistry: %v", in, err)
		case strings.TrimPrefix(second.Context().RegistryStr(), "index.") != strings.TrimPrefix(ref.Registry, "index.") || second.Context().RepositoryStr() != ref.Repository:
			t.Errorf("%q: go-containerregistry reads %s", in, second)
		}
	})
}

// errOutside says that go-containerregistry has a narrower idea of something than
// the specification, or none.
var errOutside = errors.New("it is not read elsewhere")

// secondReference reads a reference by go-containerregistry.
func secondReference(ref layout.Reference) (name.Reference, error) {
	if len(ref.Repository) < 2 || ref.Digest.Validate() == nil && ref.Digest.Algorithm() != digest.SHA256 {
		return nil, errOutside
	}
	s := ref.Name() + ":" + ref.Tag
	if ref.Digest != "" {
		s = ref.Name() + "@" + ref.Digest.String()
	}
	return name.ParseReference(s, name.StrictValidation)
}

// FuzzPlatforms demands that a platform is written as it was read.
func FuzzPlatforms(f *testing.F) {
	for _, s := range []string{"linux/arm64/v8, linux/x86_64,windows/amd64", "linux", "linux/", "windows(10.0.17763)/amd64", "linux/arm", "linux/amd64,", "Linux/AARCH64", "a/b/c/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := layout.ParsePlatforms(s)
		if err != nil {
			if layout.ClassOf(err) != layout.ClassName {
				t.Errorf("%q: class %s", s, layout.ClassOf(err))
			}
			return
		}
		if len(list) != strings.Count(s, ",")+1 {
			t.Errorf("%q is %v", s, list)
		}
		for i := range list {
			text := layout.FormatPlatform(&list[i])
			// What is not said would be that of this machine.
			if list[i].OS == "" || list[i].Architecture == "" || !strings.Contains(strings.Split(s, ",")[i], "/") {
				t.Errorf("%q is %+v", s, list[i])
			}
			again, err := layout.ParsePlatforms(text)
			if err != nil || layout.FormatPlatform(&again[0]) != text {
				t.Errorf("%q: %q is read as %v, %v", s, text, again, err)
			}
		}
	})
}

// FuzzCompleteName demands that whatever an entry is called, its full name is a
// reference, that it does not change when it is completed again, and that a name
// which is full stays.
func FuzzCompleteName(f *testing.F) {
	for _, s := range []string{"", "v1", "acme/a:v1", "r.io/a:v1", x.String(), ":sha256-" + x.Encoded() + ".sig", "@" + x.String(), "index.docker.io/library/a:1", "a b"} {
		f.Add(s, "dev.hauler/sigs", "talks")
	}
	f.Fuzz(func(t *testing.T, entry, kind, container string) {
		e := ocispec.Descriptor{MediaType: image, Digest: x, Size: 1, Annotations: map[string]string{"kind": kind, ocispec.AnnotationRefName: entry}}
		resolved := layout.ResolveNames([]ocispec.Descriptor{e})
		if again := layout.ResolveNames(resolved); layout.EntryName(again[0]) != layout.EntryName(resolved[0]) {
			t.Errorf("%q: %q, and then %q", entry, layout.EntryName(resolved[0]), layout.EntryName(again[0]))
		}
		full, err := layout.CompleteName(resolved[0], container)
		if err != nil {
			if layout.ClassOf(err) != layout.ClassName {
				t.Errorf("%q: class %s", entry, layout.ClassOf(err))
			}
			return
		}
		if _, err := layout.ParseReference(full); err != nil {
			t.Errorf("%q in %q is completed to %q: %v", entry, container, full, err)
		}
		if _, err := layout.ParseReference(layout.EntryName(resolved[0])); err == nil && full != layout.EntryName(resolved[0]) {
			t.Errorf("%q becomes %q", layout.EntryName(resolved[0]), full)
		}
		if again, err := layout.CompleteName(layout.Named(e, full), "other"); err != nil || again != full {
			t.Errorf("%q becomes %q, %v", full, again, err)
		}
	})
}
