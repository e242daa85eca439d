package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// lists makes an image or an index of what n gives for 0, 1, 2, ..., with a number of
// its own. Nothing in it needs to be there.
func lists(c *storagetest.Content, mediaType string, number, n int, item func(i int) string) ocispec.Descriptor {
	var b strings.Builder
	key := "layers"
	if layout.IsIndex(mediaType) {
		key = "manifests"
	} else {
		fmt.Fprintf(&b, `"config":{"mediaType":"a/b","digest":%q,"size":2},`, digest.FromString("{}"))
	}
	for i := range n {
		if i == 0 {
			fmt.Fprintf(&b, `%q:[`, key)
		} else {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	return c.Add(mediaType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,%s],"annotations":{"n":"%d"}}`, mediaType, &b, number))
}

// lost is a descriptor of what is not there.
func lost(mediaType string, i int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%064x","size":1}`, mediaType, i)
}

// handMade packs what no plan would take: the manifests in c, under entries for roots.
func handMade(t *testing.T, c *storagetest.Content, roots []ocispec.Descriptor) []byte {
	t.Helper()
	var idx ocispec.Index
	for i, d := range roots {
		idx.Manifests = append(idx.Manifests, layout.Named(d, fmt.Sprintf("r.io/a:%d", i)))
	}
	raw, err := layout.MarshalIndex(idx)
	if err != nil {
		t.Fatal(err)
	}
	ms := []memberOf{{name: "oci-layout", content: layout.LayoutFile}, {name: "index.json", content: string(raw)}}
	for _, b := range c.Blobs {
		ms = append(ms, blobMember(string(b)))
	}
	return pack(t, append(ms, blobMember("{}"))...)
}

// A small file can name a million blobs that are not there. They are not all kept in
// memory to tell what needs them, and the report says so.
func TestManyLost(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes hundreds of thousands of blobs")
	}
	const each = 20_000
	c := storagetest.NewContent()
	var roots []ocispec.Descriptor
	for n := range MaxLost/each + 1 {
		roots = append(roots, lists(c, ocispec.MediaTypeImageManifest, n, each, func(i int) string { return lost("a/b", n*each+i) }))
	}
	b := handMade(t, c, roots)
	crowded(t, b, MaxLost+1)

	// Where a pipe was cut off, that is why so much is missing.
	if rep, err := verifyStream(b[:len(b)-endSize-1], nil); layout.ClassOf(err) != layout.ClassTruncated || rep == nil || rep.Faults[1].Class != layout.ClassLimit {
		t.Errorf("from a pipe that was cut off: %v", err)
	}

	// What is listed with another size each time is another each time.
	c, roots = storagetest.NewContent(), nil
	for n := range MaxLost/each + 1 {
		roots = append(roots, lists(c, ocispec.MediaTypeImageManifest, n, each, func(i int) string {
			return fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":%d}`, digest.FromString("{}"), 3+n*each+i)
		}))
	}
	crowded(t, handMade(t, c, roots), 2)
}

// All manifests of a bundle can name the same missing blobs.
func TestManyLinks(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes hundreds of thousands of blobs")
	}
	const each = 10_000
	c := storagetest.NewContent()
	var roots []ocispec.Descriptor
	for n := range MaxLinks/each + 1 {
		roots = append(roots, lists(c, ocispec.MediaTypeImageManifest, n, each, func(i int) string { return lost("a/b", i) }))
	}
	crowded(t, handMade(t, c, roots), each+1)
}

// crowded demands that the report says first that there is too much to tell, of so many
// faults. What is to be packed again is not known then, and nothing counts as whole.
func crowded(t *testing.T, b []byte, count int) {
	t.Helper()
	r, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	v, rep, err := r.VerifyIntact(t.Context(), nil)
	if v != nil || rep == nil {
		t.Fatalf("%v, %v, %v", v, rep, err)
	}
	if layout.ClassOf(err) != layout.ClassLimit || !errors.Is(err, layout.ErrUntrusted) {
		t.Errorf("read at random: %v", err)
	}
	if rep.Count != count || len(rep.Faults) != min(count, MaxFaults) || rep.Faults[0].Class != layout.ClassLimit || rep.Again != nil {
		t.Errorf("%d faults, want %d, %d told, to be packed again: %d", rep.Count, count, len(rep.Faults), len(rep.Again))
	}
	if rep, err = verifyStream(b, nil); layout.ClassOf(err) != layout.ClassLimit || rep == nil {
		t.Errorf("from a pipe: %v", err)
	}
}

// A pipe does not wait for manifests without end.
func TestStreamOfManyPending(t *testing.T) {
	s := &streamed{manifests: map[digest.Digest]string{}, pending: map[digest.Digest]bool{}}
	var list []ocispec.Descriptor
	for i := range MaxPending + 1 {
		list = append(list, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(fmt.Sprintf("sha256:%064x", i))})
	}
	if err := s.expect(list[:MaxPending], nil); err != nil {
		t.Fatal(err)
	}
	if err := s.expect(list, nil); layout.ClassOf(err) != layout.ClassLimit || len(s.pending) != MaxPending {
		t.Errorf("%v, %d pending", err, len(s.pending))
	}
}

// Of manifest.json no more is kept than there can be images.
func TestManyDockerImages(t *testing.T) {
	items := "[" + strings.Repeat("{},", layout.MaxListed) + "{}]"
	if err := eachDockerImage([]byte(items), func(dockerImage) error { return nil }); layout.ClassOf(err) != layout.ClassLimit {
		t.Errorf("%v", err)
	}
}

// The index of a directory is decoded when it is opened, and not again by each walk.
func TestDirectoryIndexIsReadOnce(t *testing.T) {
	v, _, err := verifyBytes(writeContent(t, storagetest.Small(), None), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if err := v.Unpack(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	r, err := OpenLayout(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	v, _, err = r.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(v.RawIndex(), r.RawIndex()) {
		t.Error("another index was verified than was opened")
	}
}

// Small manifests in large frames are read at random if their order allows it. If each
// of them would have a frame decoded, the archive is unpacked once instead.
func TestManifestsInFramesByTurns(t *testing.T) {
	const frames, manifests = 6, 600
	c := storagetest.NewContent()
	var turns, rows [frames][]memberOf
	children := make([]ocispec.Descriptor, manifests)
	for i := range children {
		children[i] = c.AddIndex(ocispec.Descriptor{MediaType: "a/b", Digest: c.Add("a/b", nil).Digest, Annotations: map[string]string{"n": fmt.Sprint(i)}})
		m := blobMember(string(c.Blobs[children[i].Digest]))
		turns[i%frames] = append(turns[i%frames], m)
		rows[i*frames/manifests] = append(rows[i*frames/manifests], m)
	}
	c.Name(c.AddIndex(children...), "r.io/a:v1")
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	archive := func(order [frames][]memberOf) []byte {
		head := []memberOf{{name: "oci-layout", content: layout.LayoutFile}, {name: "index.json", content: string(raw)}, blobMember(""), blobMember(string(c.Blobs[c.Index.Manifests[0].Digest]))}
		piece := func(ms []memberOf) []byte {
			b := pack(t, ms...)
			return enc.EncodeAll(b[:len(b)-endSize], nil)
		}
		b := piece(head)
		for i, ms := range order {
			b = append(b, piece(append(ms, blobMember(fmt.Sprint(i)+strings.Repeat(" ", FrameSize))))...)
		}
		return append(b, enc.EncodeAll(make([]byte, endSize), nil)...)
	}
	if _, _, err := verifyBytes(archive(rows), nil); err != nil {
		t.Errorf("in order: %v", err)
	}
	b := archive(turns)
	if _, err := openBytes(b); !errors.Is(err, layout.ErrNotSeekable) {
		t.Errorf("in turns: %v", err)
	}
	name := filepath.Join(t.TempDir(), "turns.tar.zst")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := OpenFile(t.Context(), name, &FileOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.Verify(t.Context(), nil); err != nil {
		t.Errorf("unpacked: %v", err)
	}
}
