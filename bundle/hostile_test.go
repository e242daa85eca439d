package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// net/http closes the body of a request while it reads it, and more than once.
// The buffer behind it must not serve two readers for that.
func TestCloseBesideRead(t *testing.T) {
	c, large := storagetest.Sample()
	v, _, err := verifyBytes(writeContent(t, c, Zstd), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		rc, err := v.Fetch(t.Context(), large)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, rc) })
		wg.Go(func() { rc.Close() })
		wg.Go(func() { rc.Close() })
		for range 2 {
			wg.Go(func() {
				if err := sameContent(v, c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// A small file can list thousands of missing blobs under thousands of names. The
// work is that of reading it, and the report is bounded.
func TestManyFaultsManyArtifacts(t *testing.T) {
	c := storagetest.NewContent()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: c.Add("application/x", []byte("{}")),
	}
	for i := range 3000 {
		d := digest.FromString(fmt.Sprint(i))
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: "application/y", Digest: d, Size: 1})
	}
	root := c.AddJSON(m.MediaType, m)
	idx := ocispec.Index{}
	for i := range 2000 {
		idx.Manifests = append(idx.Manifests, layout.Named(root, fmt.Sprintf("localhost/x:%d", i)))
	}
	raw, err := layout.MarshalIndex(idx)
	if err != nil {
		t.Fatal(err)
	}
	archive := pack(t, memberOf{name: "oci-layout", content: layout.LayoutFile}, memberOf{name: "index.json", content: string(raw)},
		blobMember(string(c.Blobs[root.Digest])), blobMember("{}"))
	_, rep, err := verifyBytes(archive, nil)
	if !errors.Is(err, layout.ErrUntrusted) || rep.Count != 3000 || len(rep.Faults) != MaxFaults || len(rep.Faults[0].Artifacts) != MaxFaultArtifacts {
		t.Errorf("%v: %d faults, %d told", err, rep.Count, len(rep.Faults))
	}
}

func TestZerosWithoutEnd(t *testing.T) {
	c := storagetest.Small()
	plain := writeContent(t, c, None)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := enc.EncodeAll(plain, nil)
	zeros := enc.EncodeAll(make([]byte, FrameSize), nil)
	for range 100 {
		b = append(b, zeros...)
	}
	if _, err := openBytes(b); layout.ClassOf(err) != layout.ClassLimit {
		t.Errorf("opened: %v", err)
	}
	if _, err := verifyStream(b, nil); !errors.Is(err, layout.ErrUntrusted) {
		t.Errorf("from a pipe: %v", err)
	}
}

// What is wrong with the bundle weighs more than what is wrong with this machine.
func TestReportErr(t *testing.T) {
	rep := &Report{Count: 2, Faults: []Fault{{Class: layout.ClassLocal, Message: "read"}, {Class: layout.ClassDigest, Message: "digest"}}}
	if err := rep.Err(); !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassDigest {
		t.Errorf("%v", err)
	}
	rep = &Report{Count: 1, Faults: rep.Faults[:1]}
	if err := rep.Err(); errors.Is(err, layout.ErrUntrusted) || err == nil {
		t.Errorf("%v", err)
	}
}

// Layers may be JSON, and large: a pipe holds the manifests of a bundle only.
func TestStreamOfJSONLayers(t *testing.T) {
	c := storagetest.NewContent()
	var layers []ocispec.Descriptor
	for i := range 9 {
		layers = append(layers, c.Add("application/json", fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, i, bytes.Repeat([]byte("x"), layout.MaxManifestSize-100))))
	}
	c.Name(c.AddIndex(c.AddImage(c.Add("application/x", []byte("{}")), layers...)), "localhost/x:1")
	if rep, err := verifyStream(writeContent(t, c, None), nil); err != nil || rep.Blobs != len(c.Blobs) {
		t.Errorf("%+v, %v", rep, err)
	}
}

// A pipe that breaks off tells which artifacts it did not reach.
func TestBrokenPipeTellsArtifacts(t *testing.T) {
	c, _ := storagetest.Sample()
	for name, comp := range compressions {
		b := writeContent(t, c, comp)
		rep, err := verifyStream(b[:len(b)*2/3], nil)
		if !errors.Is(err, layout.ErrUntrusted) || rep == nil || layout.ClassOf(err) != layout.ClassTruncated {
			t.Errorf("%s: %v", name, err)
			continue
		}
		touched := false
		for _, f := range rep.Faults {
			touched = touched || len(f.Artifacts) > 0
		}
		if !touched {
			t.Errorf("%s: no artifact is named: %+v", name, rep.Faults)
		}
	}
}

// A pipe that ends in a file of the layout is cut, and says so: what came of the file
// is no JSON.
func TestPipeCutInIndex(t *testing.T) {
	b := writeContent(t, storagetest.Small(), None)
	for _, n := range []int{blockSize + 10, 3*blockSize + 100} {
		if _, err := verifyStream(b[:n], nil); layout.ClassOf(err) != layout.ClassTruncated {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A pipe tells of a damaged manifest what a file does.
func TestPipeOfDamagedManifest(t *testing.T) {
	c := storagetest.Small()
	b := bytes.Replace(writeContent(t, c, None), []byte(`"layers"`), []byte(`"layerz"`), 1)
	if rep, err := verifyStream(b, nil); layout.ClassOf(err) != layout.ClassDigest || len(rep.Faults) != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
}

type countedReads struct {
	io.ReaderAt
	n int
}

func (c *countedReads) ReadAt(p []byte, off int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(p, off)
}

// A crowd of small frames is no crowd of reads.
func TestSmallFramesAreReadTogether(t *testing.T) {
	b := bytes.Repeat(appendRawFrame(nil, []byte("x")), 10_000)
	r := &countedReads{ReaderAt: bytes.NewReader(b)}
	frames, known, err := scanFrames(r, int64(len(b)))
	if err != nil || len(frames) != 10_000 || known != 10_000 {
		t.Fatalf("%d frames of %d bytes, %v", len(frames), known, err)
	}
	if r.n > 100 {
		t.Errorf("%d reads", r.n)
	}
}

// endless is the same bytes again and again.
type endless []byte

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

// Folders and global headers compress to nothing, and are counted as members are.
func TestHeadersWithoutEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a million headers, each of two kinds")
	}
	for _, header := range [][]byte{appendBlock(nil, "blobs/", 0, '5'), appendBlock(nil, "x", 0, 'g')} {
		if _, err := newTarScanner(endless(header)).next(); layout.ClassOf(err) != layout.ClassLimit {
			t.Errorf("type %c: %v", header[156], err)
		}
	}
}
