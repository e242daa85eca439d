package bundle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

func newKey(t testing.TB) *age.X25519Identity {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sealed is a bundle that is encrypted for a key.
func sealed(t testing.TB, c *storagetest.Content, comp Compression, key *age.X25519Identity) []byte {
	t.Helper()
	return write(t, c, c.Index, &WriteOptions{Compression: comp, Recipients: []age.Recipient{key.Recipient()}})
}

func openSealed(b []byte, identities ...age.Identity) (*Reader, error) {
	r, _, _, err := openAny(bytes.NewReader(b), int64(len(b)), &FileOptions{Identities: identities})
	return r, err
}

// manyChunks has three blobs of several chunks each.
func manyChunks() *storagetest.Content {
	c := storagetest.NewContent()
	for i := range byte(3) {
		c.Name(c.AddImage(c.Add(storagetest.ConfigType, []byte{'0' + i}),
			c.Add(storagetest.BlobType, storagetest.Random(i, 3*ageChunk))), "r.io/image:"+strconv.Itoa(int(i)))
	}
	return c
}

// tempRecorder keeps what is written to temporary files.
type tempRecorder struct {
	disk.System
	written bytes.Buffer
}

func (s *tempRecorder) Temp(dir string) (disk.File, error) {
	f, err := s.System.Temp(dir)
	return recordedFile{f, &s.written}, err
}

type recordedFile struct {
	disk.File
	written *bytes.Buffer
}

func (f recordedFile) Write(p []byte) (int, error) {
	f.written.Write(p)
	return f.File.Write(p)
}

// What is encrypted is the bundle itself, and it is read in every way without its
// content coming to a disk.
func TestEncrypted(t *testing.T) {
	c, key := manyChunks(), newKey(t)
	for name, comp := range compressions {
		t.Run(name, func(t *testing.T) {
			b := sealed(t, c, comp, key)
			plain, err := age.Decrypt(bytes.NewReader(b), key)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(plain); err != nil || !bytes.Equal(got, writeContent(t, c, comp)) {
				t.Errorf("what is encrypted is another bundle: %v", err)
			}
			file := filepath.Join(t.TempDir(), "bundle.age")
			if err := os.WriteFile(file, b, 0o444); err != nil {
				t.Fatal(err)
			}
			temp := &tempRecorder{System: disk.OS}
			r, err := OpenFile(t.Context(), file, &FileOptions{Identities: []age.Identity{newKey(t), key}, System: temp})
			v := openVerified(t, r, err)
			defer r.Close()
			if err := sameContent(v, c); err != nil {
				t.Error(err)
			}
			if spooled := temp.written.Len() > 0; spooled != (comp == Gzip) {
				t.Errorf("%d bytes are in a temporary file", temp.written.Len())
			}
			for _, blob := range c.Blobs {
				if len(blob) > 100 && bytes.Contains(temp.written.Bytes(), blob[:100]) {
					t.Error("the temporary file has the content")
				}
			}
			if rep, err := verifyStream(b, &VerifyOptions{Identities: []age.Identity{key}}); err != nil || rep.Digest != r.Digest() {
				t.Errorf("as a stream: %v", err)
			}
		})
	}
}

// That nobody can read a file says nothing against it.
func TestWithoutTheKey(t *testing.T) {
	c, key := storagetest.Small(), newKey(t)
	b := sealed(t, c, Zstd, key)
	_, open := openBytes(b)
	_, none := openSealed(b)
	_, other := openSealed(b, newKey(t))
	_, stream := verifyStream(b, nil)
	_, otherStream := verifyStream(b, &VerifyOptions{Identities: []age.Identity{newKey(t)}})
	for how, err := range map[string]error{"Open": open, "none": none, "other": other, "stream": stream, "other, stream": otherStream} {
		if !errors.Is(err, layout.ErrEncrypted) || errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("%s: %v", how, err)
		}
	}
	// Keys are for nothing where nothing is encrypted.
	if r, err := openSealed(writeContent(t, c, Zstd), key); err != nil || r.Blobs() == 0 {
		t.Error(err)
	}
	var twice bytes.Buffer
	w, err := age.Encrypt(&twice, key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openSealed(twice.Bytes(), key); !errors.Is(err, layout.ErrUntrusted) {
		t.Errorf("encrypted twice: %v", err)
	}
}

// No flip of a bit is let through. In the header it may be as if the file were for
// somebody else.
func TestEveryFlippedBitOfAnEncryptedBundleIsFound(t *testing.T) {
	c, key := storagetest.Small(), newKey(t)
	b := sealed(t, c, Zstd, key)
	header, err := age.ExtractHeader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 1 << (i % 8)
		_, err := openSealed(b, key)
		_, serr := verifyStream(b, &VerifyOptions{Identities: []age.Identity{key}})
		for how, err := range map[string]error{"at random": err, "as a stream": serr} {
			if !errors.Is(err, layout.ErrUntrusted) && (i >= len(header) || !errors.Is(err, layout.ErrEncrypted)) {
				t.Errorf("offset %d, %s: %v", i, how, err)
			}
		}
		b[i] ^= 1 << (i % 8)
	}
}

// A chunk that is damaged takes those artifacts with it that have something in it.
func TestDamagedChunk(t *testing.T) {
	c, key := manyChunks(), newKey(t)
	for _, name := range []string{"tar", "zst"} {
		t.Run(name, func(t *testing.T) {
			b := sealed(t, c, compressions[name], key)
			r, err := openSealed(b, key)
			if err != nil {
				t.Fatal(err)
			}
			second := c.Index.Manifests[1]
			var blob layout.Node
			if err := r.Walk(t.Context(), second, func(n layout.Node) error { blob = n; return nil }, nil); err != nil {
				t.Fatal(err)
			}
			e, _ := r.content.extent(blob.Digest)
			at := e.from + ageChunk + ageTag
			b[at] ^= 1
			r, err = openSealed(b, key)
			if err != nil {
				t.Fatal(err)
			}
			_, rep, err := r.Verify(t.Context(), nil)
			if !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassArchive {
				t.Fatalf("%v", err)
			}
			i := slices.IndexFunc(rep.Faults, func(f Fault) bool { return f.Digest == blob.Digest })
			if i < 0 || !slices.Contains(rep.Faults[i].Artifacts, "r.io/image:1") {
				t.Fatalf("%+v", rep.Faults)
			}
			for _, f := range rep.Faults { // of all that shares the chunk
				if f.Offset == nil || *f.Offset > at || at >= *f.Offset+f.Length || *f.Offset+f.Length > int64(len(b)) {
					t.Errorf("byte %d of %d is changed, and what is told is %+v", at, len(b), f)
				}
			}
			header, _ := age.ExtractHeader(bytes.NewReader(b))
			payload := int64(len(header)) + ageNonce
			chunk := payload + (at-payload)/(ageChunk+ageTag)*(ageChunk+ageTag)
			if want := errChunk(chunk).Error(); !bytes.Contains([]byte(rep.Faults[i].Message), []byte(want)) {
				t.Errorf("%q does not say %q", rep.Faults[i].Message, want)
			}
			rep, err = verifyStream(b, &VerifyOptions{Identities: []age.Identity{key}})
			if rep == nil || !errors.Is(err, layout.ErrUntrusted) {
				t.Errorf("as a stream: %v", err)
			}
			if name != "tar" {
				return // here all blobs share one frame
			}
			v, _, err := r.VerifyIntact(t.Context(), nil)
			if err != nil || len(v.Index().Manifests) != 2 {
				t.Errorf("what is intact: %v", err)
			}
		})
	}
}

func TestTruncatedEncryptedBundle(t *testing.T) {
	c, key := manyChunks(), newKey(t)
	b := sealed(t, c, None, key)
	header, err := age.ExtractHeader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{len(ageMagic) + 3, len(header) - 1, len(header), len(header) + ageNonce - 1, len(b) - 1}
	for n := len(header) + ageNonce; n < len(b); n += ageChunk + ageTag {
		sizes = append(sizes, n, n+1, n+ageTag, n+ageTag+1, n-1)
	}
	for _, n := range sizes {
		_, err := openSealed(b[:n], key)
		if !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassTruncated {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
		_, err = verifyStream(b[:n], &VerifyOptions{Identities: []age.Identity{key}})
		if !errors.Is(err, layout.ErrUntrusted) || layout.ClassOf(err) != layout.ClassTruncated {
			t.Errorf("%d of %d bytes, as a stream: %v", n, len(b), err)
		}
	}
	for _, more := range [][]byte{{'x'}, make([]byte, ageChunk+ageTag), b} {
		long := slices.Concat(b, more)
		_, err := openSealed(long, key)
		_, serr := verifyStream(long, &VerifyOptions{Identities: []age.Identity{key}})
		if !errors.Is(err, layout.ErrUntrusted) || !errors.Is(serr, layout.ErrUntrusted) {
			t.Errorf("with %d bytes more: %v, %v", len(more), err, serr)
		}
	}
}

// brokenAt fails from an offset on.
type brokenAt struct {
	io.ReaderAt
	at int64
}

var errMedium = errors.New("the medium is broken")

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errMedium
	}
	return b.ReaderAt.ReadAt(p, off)
}

// What can't be read is no fault of the bundle, encrypted or not.
func TestMediumOfAnEncryptedBundle(t *testing.T) {
	c, key := manyChunks(), newKey(t)
	b := sealed(t, c, None, key)
	for _, at := range []int64{0, 50, 190, 70_000, int64(len(b)) - 1} {
		_, _, _, err := openAny(brokenAt{bytes.NewReader(b), at}, int64(len(b)), &FileOptions{Identities: []age.Identity{key}})
		if !errors.Is(err, errMedium) || errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("from %d on: %v", at, err)
		}
		broken := io.MultiReader(bytes.NewReader(b[:at]), iotest.ErrReader(errMedium))
		_, err = VerifyStream(t.Context(), broken, &VerifyOptions{Identities: []age.Identity{key}})
		if !errors.Is(err, errMedium) || errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("from %d on, as a stream: %v", at, err)
		}
	}
}

func TestPassphrase(t *testing.T) {
	c, key := storagetest.Small(), newKey(t)
	secret := func(factor int) []byte {
		r, err := age.NewScryptRecipient("ship ahoy")
		if err != nil {
			t.Fatal(err)
		}
		r.SetWorkFactor(factor)
		return write(t, c, c.Index, &WriteOptions{Recipients: []age.Recipient{r}})
	}
	asked := 0
	says := func(text string, err error) age.Identity {
		return Passphrase(func() (string, error) { asked++; return text, err })
	}
	b := secret(10)
	if _, err := openSealed(b, says("ship ahoy", nil)); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	if _, err := openSealed(b, says("another", nil)); !errors.Is(err, layout.ErrEncrypted) {
		t.Errorf("another passphrase: %v", err)
	}
	nobody := errors.New("nobody is there")
	for _, err := range []error{nobody, layout.Errorf(layout.ClassLocal, "%w", nobody)} {
		if _, err := openSealed(b, says("", err)); !errors.Is(err, nobody) || errors.Is(err, layout.ErrUntrusted) {
			t.Errorf("no passphrase: %v", err)
		}
	}
	asked = 0
	if _, err := openSealed(sealed(t, c, Zstd, key), says("ship ahoy", nil), key); err != nil || asked != 0 {
		t.Errorf("for a key: asked %d times, %v", asked, err)
	}
	// It is not tried at any price.
	b = bytes.Replace(b, []byte(" 10\n"), []byte(" "+strconv.Itoa(MaxWorkFactor+1)+"\n"), 1)
	if _, err := openSealed(b, says("ship ahoy", nil)); layout.ClassOf(err) != layout.ClassLimit || asked != 0 {
		t.Errorf("at any price: asked %d times, %v", asked, err)
	}
}

func TestRecipients(t *testing.T) {
	c, key := storagetest.Small(), newKey(t)
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	many := slices.Repeat([]age.Recipient{pq.Recipient()}, MaxRecipients)
	for _, comp := range compressions {
		o := &WriteOptions{Compression: comp, Recipients: many}
		b := write(t, c, c.Index, o)
		if _, err := verifyStream(b, &VerifyOptions{Identities: []age.Identity{pq}}); err != nil {
			t.Error(err)
		}
		p, err := Prepare(t.Context(), c, c.Index)
		if err != nil {
			t.Fatal(err)
		}
		if least, most := p.Size(o); int64(len(b)) < least || int64(len(b)) > most {
			t.Errorf("%d bytes are not between %d and %d", len(b), least, most)
		}
	}
	for what, rs := range map[string][]age.Recipient{
		"too many": append(many, pq.Recipient()),
		"mixed":    {key.Recipient(), pq.Recipient()},
	} {
		var out bytes.Buffer
		if _, err := Write(t.Context(), &out, c, c.Index, &WriteOptions{Recipients: rs}); err == nil || out.Len() > 0 {
			t.Errorf("%s: %d bytes, %v", what, out.Len(), err)
		}
	}
}
