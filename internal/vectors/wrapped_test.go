package vectors_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/internal/vectors"
	"github.com/airdeck/airdeck/layout"
)

// An archive is judged as it is in any compression: what lies in small frames is read
// by other code than what lies in a plain file.
func TestCompressedVectors(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads a thousand archives one after the other, for minutes with the race detector")
	}
	all, err := vectors.Load(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.Stage == "signature" || v.Expect == "signature" {
			continue // package bundle reads none
		}
		if v.Form != vectors.Bundle || v.Stage == "compression" || len(v.Body) < 512 || len(v.Body) > 1<<20 || isCompressed(v.Body) {
			continue
		}
		framed := inFrames(t, v.Body)
		if r, err := bundle.Open(bytes.NewReader(framed), int64(len(framed))); err != nil {
			judge(t, &v, vectors.Verify, "in frames", err, nil)
		} else {
			_, rep, err := r.Verify(t.Context(), &bundle.VerifyOptions{Expect: demanded(&v)})
			judge(t, &v, vectors.Verify, "in frames", err, rep)
		}
		for how, b := range map[string][]byte{"in frames": framed, "in gzip": inGzip(t, v.Body)} {
			rep, err := bundle.VerifyStream(t.Context(), bytes.NewReader(b), &bundle.VerifyOptions{Expect: demanded(&v)})
			judge(t, &v, vectors.Pipe, "in a pipe, "+how, err, rep)
		}
	}
}

func judge(t *testing.T, v *vectors.Vector, entry, how string, err error, rep *bundle.Report) {
	t.Helper()
	want := v.Want(entry)
	if want == vectors.Success {
		if err != nil {
			t.Errorf("%s %s: %v", v.Name, how, err)
		}
		return
	}
	found := []string{string(layout.ClassOf(err))}
	if rep != nil {
		for _, f := range rep.Faults {
			found = append(found, string(f.Class))
		}
	}
	if !errors.Is(err, layout.ErrUntrusted) || !slices.Contains(found, want) {
		t.Errorf("%s %s: %q, want %s: %v", v.Name, how, found, want, err)
	}
}

func demanded(v *vectors.Vector) digest.Digest { return digest.Digest(v.ExpectDigest) }

func inFrames(t *testing.T, b []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true)) // so that small ones tell their size
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var out []byte
	for part := range slices.Chunk(b, 1000) {
		out = enc.EncodeAll(part, out)
	}
	return out
}

func inGzip(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
