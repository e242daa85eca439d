package bundle

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// sizedContent is artifacts of blobs as the dice have it: small ones, and up to two
// of the sizes at which members and frames are cut.
func sizedContent(d *storagetest.Dice) *storagetest.Content {
	c := storagetest.NewContent()
	large := 0
	for i := range 1 + d.N(3) {
		config := c.Add(storagetest.ConfigType, fmt.Appendf(nil, `{"n":%d}`, i))
		var layers []ocispec.Descriptor
		for range d.N(8) {
			size := d.N(256) * storagetest.Pick(d, 1, 2, 100, 1000)
			if large < 2 && d.Once(20) {
				large++
				size = storagetest.Pick(d, LargeMember, FrameSize, FrameSize+LargeMember, rawMember, samples*sampleSize) - blockSize*d.N(4) + d.N(3) - 1
			}
			layers = append(layers, c.AddAs(storagetest.Pick(d, digest.SHA256, digest.SHA256, digest.SHA512), storagetest.BlobType, sizedBlob(d, size)))
		}
		c.Name(c.AddImage(config, layers...), fmt.Sprintf("r.io/sized:v%d", 9-i))
	}
	return c
}

// sizedBlob is content that compresses, does not, or does in part.
func sizedBlob(d *storagetest.Dice, size int) []byte {
	b := storagetest.Random(byte(d.N(256)), size)
	switch d.N(4) {
	case 1:
		clear(b)
	case 2:
		clear(b[:size/2])
	case 3:
		copy(b, bytes.Repeat([]byte("a slide "), size/8))
	}
	return b
}

// FuzzRoundTrip writes and reads any content in every compression: what comes back
// is what was given, and whoever writes it again writes the same file.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{})
	for seed := range byte(24) {
		f.Add(storagetest.Random(seed, 40))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := storagetest.NewDice(b)
		o := WriteOptions{
			Compression: storagetest.Pick(d, Zstd, None, Gzip), Jobs: 1,
			Level: storagetest.Pick(d, LevelDefault, LevelFastest, LevelBetter),
		}
		jobs := 2 + d.N(6)
		c := sizedContent(d)
		first := write(t, c, c.Index, &o)
		o.Jobs = jobs
		reversed := c.Index
		reversed.Manifests = slices.Clone(reversed.Manifests)
		slices.Reverse(reversed.Manifests)
		if !bytes.Equal(write(t, c, reversed, &o), first) {
			t.Fatalf("%d jobs write another file", jobs)
		}
		p, err := Prepare(t.Context(), c, c.Index)
		if err != nil {
			t.Fatal(err)
		}
		if least, most := p.Size(&o); int64(len(first)) < least || int64(len(first)) > most {
			t.Fatalf("%d bytes, and between %d and %d were said", len(first), least, most)
		}
		tar := unpack(t, first)
		raw, err := layout.MarshalIndex(c.Index)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := verifyStream(first, nil)
		if err != nil || rep.Digest != digest.FromBytes(raw) || rep.Blobs != len(c.Blobs) {
			t.Fatalf("from a pipe: %+v, %v", rep, err)
		}
		if o.Compression == Gzip {
			first = tar
		}
		v, rep, err := verifyBytes(first, &VerifyOptions{Jobs: jobs})
		if err != nil || rep.Blobs != len(c.Blobs) || !bytes.Equal(v.RawIndex(), raw) {
			t.Fatalf("%+v, %v", rep, err)
		}
		if err := sameContent(v, c); err != nil {
			t.Fatal(err)
		}
		// What was read is written again as it was, whatever it was written in.
		if !bytes.Equal(write(t, v, v.Index(), &WriteOptions{Compression: None, Jobs: 1}), tar) {
			t.Fatal("written once more, the tar is another")
		}
	})
}
