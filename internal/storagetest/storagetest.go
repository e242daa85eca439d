package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// OpenSource gives a source over the content, to be closed by t.Cleanup. Where
// damaged is set, one bit of that blob is wrong at rest by the time of a Fetch.
type OpenSource func(t *testing.T, c *Content, damaged digest.Digest) layout.Source

// TestSource proves each line of the comments of [layout.Source].
func TestSource(t *testing.T, open OpenSource) {
	ctx := t.Context()
	c, large := Sample()
	src := open(t, c, "")

	t.Run("ExactBytesThenEOF", func(t *testing.T) {
		for _, d := range c.Descriptors() {
			rc, err := src.Fetch(ctx, d)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(onlyReader{rc}, c.Blobs[d.Digest]); err != nil && d.Size < 1<<16 {
				t.Errorf("%s: %v", d.Digest, err)
			}
			rc.Close()
			if rc, err = src.Fetch(ctx, d); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			if err != nil || !bytes.Equal(got, c.Blobs[d.Digest]) {
				t.Errorf("%s: %d bytes of %d, %v", d.Digest, len(got), d.Size, err)
			}
			if n, err := rc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: after the end: %d, %v", d.Digest, n, err)
			}
			if err := rc.Close(); err != nil {
				t.Errorf("%s: close: %v", d.Digest, err)
			}
		}
	})
	t.Run("SHA512", func(t *testing.T) {
		c, d := SHA512()
		if got := readAll(t, open(t, c, ""), d); !bytes.Equal(got, c.Blobs[d.Digest]) {
			t.Errorf("%q", got)
		}
	})
	t.Run("MediaTypeAndAnnotationsDoNotMatter", func(t *testing.T) {
		d := large
		d.MediaType, d.Annotations = "", map[string]string{"a": "b"}
		if got := readAll(t, src, d); !bytes.Equal(got, c.Blobs[d.Digest]) {
			t.Error("other content")
		}
	})
	t.Run("NotFound", func(t *testing.T) {
		_, err := src.Fetch(ctx, ocispec.Descriptor{Digest: digest.FromString("absent"), Size: 6})
		if !errors.Is(err, layout.ErrNotFound) || layout.ClassOf(err) != layout.ClassMissing {
			t.Errorf("%v", err)
		}
	})
	t.Run("BadDescriptors", func(t *testing.T) {
		for d, class := range badDescriptors {
			rc, err := src.Fetch(ctx, ocispec.Descriptor{Digest: digest.Digest(d), Size: 1})
			if err == nil || layout.ClassOf(err) != class || errors.Is(err, layout.ErrNotFound) {
				t.Errorf("%q: %v, class %s", d, err, layout.ClassOf(err))
			}
			if err == nil {
				rc.Close()
			}
		}
		bad := large
		bad.Size = -1
		if _, err := src.Fetch(ctx, bad); layout.ClassOf(err) != layout.ClassSize {
			t.Errorf("negative size: %v", err)
		}
	})
	t.Run("WrongSize", func(t *testing.T) {
		for _, delta := range []int64{-1, 1} {
			d := large
			d.Size += delta
			var corrupt *layout.CorruptError
			if err := drain(src, d); !errors.As(err, &corrupt) || corrupt.Class() != layout.ClassSize {
				t.Errorf("size %+d: %v", delta, err)
			}
		}
	})
	t.Run("Concurrent", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 4 {
			for _, d := range c.Descriptors() {
				wg.Go(func() {
					if err := drain(src, d); err != nil {
						t.Errorf("%s: %v", d.Digest, err)
					}
				})
			}
		}
		wg.Wait()
	})
	t.Run("DamageStandsInPlaceOfEOF", func(t *testing.T) {
		src := open(t, c, large.Digest)
		rc, err := src.Fetch(ctx, large)
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		_, err = io.Copy(io.Discard, rc)
		var corrupt *layout.CorruptError
		if !errors.As(err, &corrupt) {
			t.Fatalf("%v, not a CorruptError", err)
		}
		if corrupt.Class() != layout.ClassDigest || corrupt.Descriptor.Digest != large.Digest || corrupt.Got == "" {
			t.Errorf("%+v", corrupt)
		}
		for range 2 {
			if n, again := rc.Read(make([]byte, 8)); n != 0 || again != err {
				t.Errorf("a later read: %d, %v", n, again)
			}
		}
	})
}

// onlyReader hides what else the reader can do, and its Close.
type onlyReader struct{ io.Reader }

var badDescriptors = map[string]layout.Class{
	"": layout.ClassDigest, "sha256": layout.ClassDigest, "sha256:": layout.ClassDigest,
	"sha256:../../../etc/passwd":            layout.ClassDigest,
	"sha256:" + strings.Repeat("A", 64):     layout.ClassDigest,
	"sha256:" + strings.Repeat("a", 63):     layout.ClassDigest,
	"sha512:" + strings.Repeat("a", 64):     layout.ClassDigest,
	"md5:" + strings.Repeat("a", 32):        layout.ClassPolicy,
	"sha384:" + strings.Repeat("a", 96):     layout.ClassPolicy,
	"../sha256:" + strings.Repeat("a", 64):  layout.ClassPolicy,
	"sha256+b64:" + strings.Repeat("a", 64): layout.ClassPolicy,
}

func drain(src layout.Source, d ocispec.Descriptor) error {
	rc, err := src.Fetch(context.Background(), d)
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = io.Copy(io.Discard, rc)
	return err
}

func readAll(t *testing.T, src layout.Source, d ocispec.Descriptor) []byte {
	t.Helper()
	rc, err := src.Fetch(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSink proves each line of the comments of [layout.Sink]. leftovers gives the
// names of what is in the medium beside whole blobs: there must be nothing after
// a failed Push.
func TestSink(t *testing.T, open func(t *testing.T) (sink layout.Storage, leftovers func() []string)) {
	ctx := t.Context()
	exists := func(t *testing.T, s layout.Sink, d ocispec.Descriptor, want bool) {
		t.Helper()
		if ok, err := s.Exists(ctx, d); err != nil || ok != want {
			t.Errorf("Exists: %v, %v", ok, err)
		}
	}
	t.Run("StoresEveryBlob", func(t *testing.T) {
		s, _ := open(t)
		c, _ := Sample()
		long, _ := SHA512()
		maps.Copy(c.Blobs, long.Blobs)
		for _, d := range c.Descriptors() {
			exists(t, s, d, false)
			if err := s.Push(ctx, d, iotest.DataErrReader(bytes.NewReader(c.Blobs[d.Digest]))); err != nil {
				t.Fatal(err)
			}
			exists(t, s, d, true)
			if got := readAll(t, s, d); !bytes.Equal(got, c.Blobs[d.Digest]) {
				t.Errorf("%s: other bytes", d.Digest)
			}
			if err := s.Push(ctx, d, bytes.NewReader(c.Blobs[d.Digest])); err != nil {
				t.Errorf("%s once more: %v", d.Digest, err)
			}
		}
	})
	want := []byte("the content")
	d := ocispec.Descriptor{Digest: digest.FromBytes(want), Size: int64(len(want))}
	t.Run("MismatchStoresNothing", func(t *testing.T) {
		for name, b := range map[string]string{
			"empty": "", "short": "the conten", "long": "the content!", "other": "the c0ntent", "much too long": strings.Repeat("x", 1<<20),
		} {
			s, leftovers := open(t)
			var corrupt *layout.CorruptError
			if err := s.Push(ctx, d, strings.NewReader(b)); !errors.As(err, &corrupt) {
				t.Errorf("%s: %v, not a CorruptError", name, err)
			}
			exists(t, s, d, false)
			if _, err := s.Fetch(ctx, d); !errors.Is(err, layout.ErrNotFound) {
				t.Errorf("%s: fetched: %v", name, err)
			}
			if l := leftovers(); len(l) > 0 {
				t.Errorf("%s: left behind: %q", name, l)
			}
		}
	})
	t.Run("FailedReadStoresNothing", func(t *testing.T) {
		s, leftovers := open(t)
		broken := errors.New("the cable is cut")
		err := s.Push(ctx, d, io.MultiReader(bytes.NewReader(want[:5]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Push(cancelled, d, bytes.NewReader(want)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		exists(t, s, d, false)
		if l := leftovers(); len(l) > 0 {
			t.Errorf("left behind: %q", l)
		}
	})
	t.Run("BadDescriptors", func(t *testing.T) {
		s, leftovers := open(t)
		for dg, class := range badDescriptors {
			bad := ocispec.Descriptor{Digest: digest.Digest(dg), Size: 1}
			if err := s.Push(ctx, bad, strings.NewReader("x")); err == nil || layout.ClassOf(err) != class {
				t.Errorf("Push %q: %v", dg, err)
			}
			if _, err := s.Exists(ctx, bad); err == nil || layout.ClassOf(err) != class {
				t.Errorf("Exists %q: %v", dg, err)
			}
		}
		if l := leftovers(); len(l) > 0 {
			t.Errorf("left behind: %q", l)
		}
	})
	// A manifest may lie about the size of a blob that other artifacts have told
	// the truth about.
	t.Run("KnownDigestOfAnotherSize", func(t *testing.T) {
		s, _ := open(t)
		if err := s.Push(ctx, d, bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		lie := d
		lie.Size++
		exists(t, s, lie, false)
		var corrupt *layout.CorruptError
		if err := s.Push(ctx, lie, bytes.NewReader(want)); !errors.As(err, &corrupt) {
			t.Errorf("Push: %v, not a CorruptError", err)
		}
		exists(t, s, d, true)
		if got := readAll(t, s, d); !bytes.Equal(got, want) {
			t.Error("the true content is lost")
		}
	})
	t.Run("ImpossibleSize", func(t *testing.T) {
		s, _ := open(t)
		var corrupt *layout.CorruptError
		huge := ocispec.Descriptor{Digest: d.Digest, Size: layout.MaxBlobSize}
		if err := s.Push(ctx, huge, bytes.NewReader(want)); !errors.As(err, &corrupt) {
			t.Errorf("%v, not a CorruptError", err)
		}
	})
	t.Run("ManyPushTheSame", func(t *testing.T) {
		s, leftovers := open(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := s.Push(ctx, d, iotest.OneByteReader(bytes.NewReader(want))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		exists(t, s, d, true)
		if l := leftovers(); len(l) > 0 {
			t.Errorf("left behind: %q", l)
		}
	})
}
