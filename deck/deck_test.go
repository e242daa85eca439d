package deck_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/layout"
)

const (
	png  = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	jpeg = "\xff\xd8\xff\xe0\x00\x10JFIF\x00"
	webp = "RIFF\x1a\x00\x00\x00WEBPVP8L"
	gif  = "GIF89a\x01\x00\x01\x00"
	avif = "\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf"
	svg  = `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`
	apng = png + "\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\x08acTL"
)

// folder makes a folder of files, given by path.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func store(t *testing.T) *layout.Store {
	t.Helper()
	s, err := layout.OpenStore(t.Context(), t.TempDir()+"/layout", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func load(t *testing.T, dir string) *deck.Dir {
	t.Helper()
	d, err := deck.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func build(t *testing.T, dst layout.Sink, dir string, o *deck.BuildOptions) ocispec.Descriptor {
	t.Helper()
	desc, err := load(t, dir).Build(t.Context(), dst, o)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

func manifest(t *testing.T, src layout.Source, d ocispec.Descriptor) *layout.Manifest {
	t.Helper()
	b, err := layout.ReadAll(t.Context(), src, d)
	if err != nil {
		t.Fatal(err)
	}
	m, err := layout.DecodeManifest(d, b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// push stores bytes as a blob of a media type.
func push(t *testing.T, dst layout.Sink, mediaType, content string) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	if err := layout.PushBytes(t.Context(), dst, d, []byte(content)); err != nil {
		t.Fatal(err)
	}
	return d
}

func pushJSON(t *testing.T, dst layout.Sink, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return push(t, dst, mediaType, string(b))
}

// wantError demands one line, a class, and each of the fragments.
func wantError(t *testing.T, err error, class layout.Class, fragments ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one of class %s", class)
	}
	if got := layout.ClassOf(err); got != class {
		t.Errorf("error of class %s, want %s: %v", got, class, err)
	}
	for _, f := range fragments {
		if !strings.Contains(err.Error(), f) {
			t.Errorf("error lacks %q: %v", f, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("error is not one plain line: %q", err)
	}
}

// countingSink counts how often a digest is pushed.
type countingSink struct {
	layout.Sink
	pushed map[digest.Digest]int
}

func (c *countingSink) Push(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	c.pushed[d.Digest]++
	return c.Sink.Push(ctx, d, r)
}

func TestDefaultName(t *testing.T) {
	for title, want := range map[string]string{
		"Shipping across the gap":        "shipping-across-the-gap",
		"Größe & Über_maß: 50% / ___ !":  "grosse-and-uber-mass-50",
		"日本語":                            "ri-ben-yu",
		"":                               "deck",
		"…!?":                            "deck",
		"\x1b]0;x":                       "0-x",
		"a__b___c":                       "a-b-c",
		strings.Repeat("x", 300):         strings.Repeat("x", 64),
		strings.Repeat("long title ", 9): "long-title-long-title-long-title-long-title-long-title-long",
	} {
		d := deck.Deck{Title: title}
		got := d.DefaultName()
		if _, err := layout.ParseReference(got); err != nil {
			t.Errorf("title %q: %v", title, err)
		}
		if want = "localhost/decks/" + want + ":latest"; got != want {
			t.Errorf("title %q gives %s, want %s", title, got, want)
		}
	}
}
