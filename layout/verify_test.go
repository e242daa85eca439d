package layout_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

func TestNewVerifier(t *testing.T) {
	const content = "what was promised"
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		want := ocispec.Descriptor{Digest: alg.FromString(content), Size: int64(len(content))}
		for _, tt := range []struct {
			name, content string
			class         layout.Class // "" is no error
			read          int64
		}{
			{"right", content, "", 0},
			{"empty", "", layout.ClassSize, 0},
			{"short", content[:10], layout.ClassSize, 10},
			{"long", content + "!", layout.ClassSize, want.Size + 1},
			{"endless", strings.Repeat("x", 1<<20), layout.ClassSize, want.Size + 1},
			{"wrong", strings.ToUpper(content), layout.ClassDigest, want.Size},
		} {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"plain":   func(r io.Reader) io.Reader { return r },
				"oneByte": iotest.OneByteReader, "half": iotest.HalfReader, "dataErr": iotest.DataErrReader,
			} {
				t.Run(string(alg)+"/"+tt.name+"/"+how, func(t *testing.T) {
					r := layout.NewVerifier(wrap(strings.NewReader(tt.content)), want)
					got, err := io.ReadAll(r)
					if tt.class == "" {
						if err != nil || string(got) != content {
							t.Fatalf("%q, %v", got, err)
						}
						return
					}
					var corrupt *layout.CorruptError
					if !errors.As(err, &corrupt) {
						t.Fatalf("%v, not a CorruptError", err)
					}
					if corrupt.Class() != tt.class || layout.ClassOf(err) != tt.class || corrupt.Read != tt.read {
						t.Errorf("class %s, read %d", corrupt.Class(), corrupt.Read)
					}
					if int64(len(got)) > want.Size {
						t.Errorf("gave out %d bytes of %d", len(got), want.Size)
					}
					if n, again := r.Read(make([]byte, 4)); n != 0 || again != err {
						t.Errorf("a later read: %d, %v", n, again)
					}
				})
			}
		}
	}
}

// What the medium says is not made into a verdict about the content.
func TestNewVerifierKeepsReadErrors(t *testing.T) {
	d := ocispec.Descriptor{Digest: digest.FromString("content"), Size: 7}
	broken := errors.New("the cable is cut")
	for _, after := range []string{"", "con", "content"} {
		r := layout.NewVerifier(io.MultiReader(strings.NewReader(after), iotest.ErrReader(broken)), d)
		got, err := io.ReadAll(r)
		if err != broken || string(got) != after {
			t.Errorf("%q, %v", got, err)
		}
		if _, again := r.Read(make([]byte, 1)); again != broken {
			t.Errorf("a later read: %v", again)
		}
	}
}

// A manifest may promise any size. It costs nothing to promise it.
func TestNewVerifierOfTheLargestSize(t *testing.T) {
	for _, size := range []int64{math.MaxInt64, math.MaxInt64 - 1} {
		d := ocispec.Descriptor{Digest: digest.FromString("content"), Size: size}
		if err := layout.CheckDescriptor(d); err != nil {
			continue
		}
		var corrupt *layout.CorruptError
		if _, err := io.ReadAll(layout.NewVerifier(strings.NewReader("content"), d)); !errors.As(err, &corrupt) || corrupt.Read != 7 {
			t.Errorf("%v", err)
		}
	}
}

func TestClassOf(t *testing.T) {
	inner := layout.Errorf(layout.ClassDigest, "inner")
	for _, tt := range []struct {
		err  error
		want layout.Class
	}{
		{errors.New("unknown"), layout.ClassLocal},
		{inner, layout.ClassDigest},
		{layout.Errorf(layout.ClassRemote, "outer: %w", inner), layout.ClassRemote},
		{errors.Join(errors.New("unknown"), inner), layout.ClassDigest},
		{errors.Join(errors.New("unknown"), layout.ErrNotFound), layout.ClassMissing},
		{&layout.CorruptError{}, layout.ClassSize},
		{nil, layout.ClassLocal},
	} {
		if got := layout.ClassOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
