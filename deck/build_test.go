package deck_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/layout"
)

var golden = map[string]string{
	"deck.yaml":   "title: Grüße <1> & “2”\nauthor: Ada\ndate: 2026-01-31\nimages: [cover.svg, 's/*', cover.svg]\nnotes: {s/2.png: \"a\\nb\"}\n",
	"cover.svg":   svg,
	"s/2.png":     png,
	"s/10.png":    jpeg,
	"s/.DS_Store": "x",
}

// The digest of a deck is a promise: what was published must be found again.
func TestGolden(t *testing.T) {
	const (
		config = `{"author":"Ada","date":"2026-01-31","images":["cover.svg","s/2.png","s/10.png","cover.svg"],"notes":{"s/2.png":"a\nb"},"title":"Grüße <1> & “2”"}`
		want   = "sha256:0eec72312e74cd5c75ea8ce3079505b9ab3a3e0d0873f042dc1e568adc063756"
	)
	for range 2 {
		s := store(t)
		desc := build(t, s, folder(t, golden), nil)
		if desc.Digest != want {
			t.Errorf("digest %s, want %s", desc.Digest, want)
		}
		if desc.MediaType != ocispec.MediaTypeImageManifest || desc.ArtifactType != deck.MediaTypeArtifact || desc.Size == 0 {
			t.Errorf("descriptor %+v", desc)
		}
		m := manifest(t, s, desc)
		b, err := layout.ReadAll(t.Context(), s, *m.Config)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != config || m.Config.MediaType != deck.MediaTypeConfig || m.ArtifactType != deck.MediaTypeArtifact {
			t.Errorf("config %s\nof %+v", b, m)
		}
		if got := m.Annotations[ocispec.AnnotationCreated]; got != "2026-01-31T00:00:00Z" {
			t.Errorf("created %q", got)
		}
		if err := layout.Walk(t.Context(), s, desc, func(n layout.Node) error {
			ok, err := s.Exists(t.Context(), n.Descriptor)
			if err == nil && !ok {
				t.Errorf("%s was not stored", n.Digest)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnnotations(t *testing.T) {
	s := store(t)
	desc := build(t, s, folder(t, map[string]string{
		"deck.yaml": "title: T\nauthor: A\ndescription: D\nlicense: MIT\ndate: 2026-01-31T09:00:00+01:00\nimages: [a.png]\n", "a.png": png,
	}), &deck.BuildOptions{SourceDate: time.Unix(1, 0)})
	got := manifest(t, s, desc).Annotations
	for k, want := range map[string]string{
		ocispec.AnnotationTitle: "T", ocispec.AnnotationAuthors: "A", ocispec.AnnotationDescription: "D",
		ocispec.AnnotationLicenses: "MIT", ocispec.AnnotationCreated: "2026-01-31T09:00:00+01:00",
	} {
		if got[k] != want {
			t.Errorf("%s: %q, want %q", k, got[k], want)
		}
	}
	bare := build(t, s, folder(t, map[string]string{"deck.yaml": "title: T\nimages: [a.png]\n", "a.png": png}), nil)
	if got := manifest(t, s, bare).Annotations; len(got) != 1 {
		t.Errorf("annotations that the deck does not give: %v", got)
	}
}

func TestMediaTypes(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"png": {png, "image/png"}, "apng": {apng, "image/png"}, "jpeg": {jpeg, "image/jpeg"},
		"webp": {webp, "image/webp"}, "gif": {gif, "image/gif"}, "avif": {avif, "image/avif"},
		"svg": {svg, "image/svg+xml"}, "svg with a mark": {"\uFEFF" + svg, "image/svg+xml"},
		"svg with a header": {"<?xml version=\"1.0\"?>\n<!-- x -->\n" + svg, "image/svg+xml"},
		"empty":             {"", ""}, "text": {"hello", ""}, "pdf": {"%PDF-1.7\n", ""}, "bmp": {"BM\x00\x00", ""},
		"html with an svg": {"<!DOCTYPE html><html><body>" + svg + "</body></html>", ""},
		"script":           {"#!/bin/sh\necho", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			// The name lies: .png for all, and .txt for the PNG.
			file := map[bool]string{false: "a.png", true: "a.txt"}[name == "png"]
			d := load(t, folder(t, map[string]string{"deck.yaml": "title: T\nimages:\n- " + file + "\n", file: tc.content}))
			desc, err := d.Build(t.Context(), s, nil)
			if tc.want == "" {
				wantError(t, err, layout.ClassMediaType, "deck.yaml: line 3", file)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := manifest(t, s, desc).Layers[0].MediaType; got != tc.want {
				t.Errorf("media type %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRepeatedSlides(t *testing.T) {
	s := store(t)
	count := &countingSink{Sink: s, pushed: map[digest.Digest]int{}}
	desc := build(t, count, folder(t, map[string]string{
		"deck.yaml": "title: T\nimages: [a.png, b.png, a.png, same.png]\n",
		"a.png":     png + "a", "b.png": png + "b", "same.png": png + "a",
	}), nil)
	m := manifest(t, s, desc)
	var got []string
	for _, l := range m.Layers {
		got = append(got, l.Annotations[ocispec.AnnotationTitle])
	}
	if strings.Join(got, " ") != "a.png b.png a.png same.png" {
		t.Errorf("layers %q", got)
	}
	if m.Layers[0].Digest != m.Layers[2].Digest || m.Layers[0].Digest != m.Layers[3].Digest || m.Layers[0].Digest == m.Layers[1].Digest {
		t.Errorf("digests of the layers: %v", m.Layers)
	}
	if len(count.pushed) != 4 {
		t.Errorf("%d blobs were pushed, want 2 slides, a config and a manifest", len(count.pushed))
	}
	for d, n := range count.pushed {
		if n != 1 {
			t.Errorf("%s was pushed %d times", d, n)
		}
	}
}

func TestSourceDate(t *testing.T) {
	files := map[string]string{"deck.yaml": "title: T\nimages: [a.png]\n", "a.png": png}
	s := store(t)
	for epoch, want := range map[int64]string{0: "1970-01-01T00:00:00Z", 1769850000: "2026-01-31T09:00:00Z"} {
		here := time.Unix(epoch, 999).In(time.FixedZone("far", 3600))
		desc := build(t, s, folder(t, files), &deck.BuildOptions{SourceDate: here})
		if got := manifest(t, s, desc).Annotations[ocispec.AnnotationCreated]; got != want {
			t.Errorf("created %q, want %q", got, want)
		}
		c, err := deck.Read(t.Context(), s, desc)
		if err != nil || c.Deck.Date != want {
			t.Errorf("date %+v, want %q (%v)", c, want, err)
		}
	}
	_, err := load(t, folder(t, files)).Build(t.Context(), s, &deck.BuildOptions{SourceDate: time.Unix(1<<40, 0)})
	wantError(t, err, layout.ClassPolicy, "source date")
}

func TestBuildErrors(t *testing.T) {
	files := map[string]string{"deck.yaml": "title: T\nimages:\n- a.png\n", "a.png": png}
	t.Run("removed", func(t *testing.T) {
		dir := folder(t, files)
		d := load(t, dir)
		os.Remove(filepath.Join(dir, "a.png"))
		_, err := d.Build(t.Context(), store(t), nil)
		wantError(t, err, layout.ClassLocal, "line 3", "a.png")
	})
	t.Run("changed", func(t *testing.T) {
		dir := folder(t, files)
		d := load(t, dir)
		_, err := d.Build(t.Context(), &meddler{store(t), filepath.Join(dir, "a.png")}, nil)
		wantError(t, err, layout.ClassLocal, "line 3", "a.png", "changed while it was read")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := load(t, folder(t, files)).Build(ctx, store(t), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("sink fails", func(t *testing.T) {
		for n := range 3 { // slide, config, manifest
			desc, err := load(t, folder(t, files)).Build(t.Context(), &failing{store(t), n}, nil)
			if !errors.Is(err, errDisk) || desc.Digest != "" {
				t.Errorf("push %d fails: got %v, %v", n, desc, err)
			}
		}
	})
	t.Run("expanded over the limit", func(t *testing.T) {
		many := map[string]string{}
		long := strings.Repeat("x", 200)
		for i := range 100 {
			many[long+string(rune('A'+i/26))+"-"+string(rune('a'+i%26))+".png"] = png
		}
		many["deck.yaml"] = "title: T\nimages:\n" + strings.Repeat("- '*.png'\n", 60)
		_, err := load(t, folder(t, many)).Build(t.Context(), store(t), nil)
		wantError(t, err, layout.ClassLimit, "expanded")
	})
}

// meddler changes a file between the two times that it is read.
type meddler struct {
	layout.Sink
	file string
}

func (m *meddler) Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	if err := os.WriteFile(m.file, []byte(png+"more"), 0o644); err != nil {
		return err
	}
	return m.Sink.Push(ctx, d, r)
}

var errDisk = errors.New("disk full")

// failing fails the n-th push.
type failing struct {
	layout.Sink
	n int
}

func (f *failing) Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	if f.n--; f.n < 0 {
		return errDisk
	}
	return f.Sink.Push(ctx, d, r)
}
