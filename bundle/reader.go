package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/layout"
)

// content is where a Reader finds blobs: an archive or a directory. Fetch
// verifies what it gives.
type content interface {
	layout.Partial
	// need notes that the graph needs a blob. Its error says that the blob is
	// not there, or not of that size.
	need(d ocispec.Descriptor) error
	// check hashes every blob that is needed, and in an archive every other one
	// too, and reports each fault. Its error is one of this machine, or of ctx.
	check(ctx context.Context, o *VerifyOptions, fault func(Fault)) error
	// extent tells where a blob lies in the file. ok is false where that means
	// nothing.
	extent(d digest.Digest) (e extent, ok bool)
	// bytes is how much check reads.
	bytes() int64
	// count is how many blobs there are, as far as that is known.
	count() int
	// dockerManifest gives manifest.json, or nil where there is none.
	dockerManifest() ([]byte, error)
}

// extent is where a blob lies: from a byte of the file to the one behind the last, with
// whatever shares its frames.
type extent struct {
	from, to int64
	size     int64 // of the blob
}

// Reader is a bundle that nobody has verified. It tells what the bundle claims
// to hold; it can't give out content. Its methods may be called concurrently.
type Reader struct {
	raw        []byte // index.json
	index      ocispec.Index
	signatures []byte // index.sigstore.json; nil where there is none
	content    content
	unpacked   bool // from a file in which nothing has a place
	close      func() error
}

// Trust decides by the index.json of a bundle and its signatures, as they stand in
// index.sigstore.json or nil, whether it is to be read on. Nothing of it was believed
// when it is asked, and no blob was read.
type Trust func(index, signatures []byte) error

func (t Trust) ask(r *Reader) error {
	if t == nil {
		return nil
	}
	return t(r.raw, r.signatures)
}

// Open opens a bundle of size bytes: zstd frames that can be read at random, or
// a plain tar archive. It checks structure and limits. In a bundle that airdeck
// wrote it reads the index and the manifests; in archives with another order of
// members, their headers.
//
// Errors: [layout.ErrNotSeekable] for an archive in one compressed stream, or over
// [MaxRereads], and [layout.ErrEncrypted] for an age file, all of which [OpenFile] can
// read, and [layout.ErrUntrusted] with a class for all that is wrong with the file.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	return open(r, size, nil)
}

func open(r io.ReaderAt, size int64, trust Trust) (*Reader, error) {
	c, err := openContainer(r, size)
	if err != nil {
		return nil, untrusted(err)
	}
	if d, ok := r.(*decrypted); ok {
		c = placed{c, d}
	}
	rd, err := openTar(c, trust)
	return rd, untrusted(err)
}

// OpenLayout opens a layout directory in the way of a bundle: nothing in it is
// believed before [Reader.Verify].
func OpenLayout(ctx context.Context, dir string) (*Reader, error) {
	return openLayout(ctx, dir, disk.OS, nil)
}

func openLayout(ctx context.Context, dir string, system disk.System, trust Trust) (*Reader, error) {
	store, err := layout.OpenStore(ctx, dir, &layout.StoreOptions{ReadOnly: true, System: system})
	if err != nil {
		return nil, untrusted(err)
	}
	content := &directory{Store: store}
	rd := &Reader{content: content, close: store.Close}
	rd.raw, rd.index, err = store.ReadIndex()
	if err == nil {
		content.absent, err = layout.AbsentOf(rd.index)
	}
	if err == nil {
		rd.signatures, err = store.ReadMetadata(layout.SignaturesFile, MaxSignatures)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = trust.ask(rd)
	}
	if err != nil {
		store.Close()
		return nil, untrusted(err)
	}
	return rd, nil
}

// untrusted marks what is wrong with a bundle, as against this machine.
func untrusted(err error) error {
	if err == nil || errors.Is(err, layout.ErrNotSeekable) || errors.Is(err, layout.ErrUntrusted) ||
		layout.ClassOf(err) == layout.ClassLocal {
		return err
	}
	return fmt.Errorf("%w: %w", layout.ErrUntrusted, err)
}

var (
	zstdMagic = []byte{0x28, 0xB5, 0x2F, 0xFD}
	gzipMagic = []byte{0x1F, 0x8B}
)

// format tells the compression of a file from its first bytes.
func format(head []byte) (Compression, error) {
	switch {
	case bytes.HasPrefix(head, zstdMagic),
		len(head) >= 4 && head[0]&0xF0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2A, 0x4D, 0x18}):
		return Zstd, nil
	case bytes.HasPrefix(head, gzipMagic):
		return Gzip, nil
	case len(head) >= 4:
		return None, nil
	}
	return None, layout.Errorf(layout.ClassTruncated, "the file has %d bytes: it is no bundle", len(head))
}

func openContainer(r io.ReaderAt, size int64) (container, error) {
	head := make([]byte, min(size, int64(len(ageMagic))))
	if err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, ageMagic) {
		if _, again := r.(*decrypted); again {
			return nil, layout.Errorf(layout.ClassArchive, "what the encrypted file holds is encrypted again")
		}
		return nil, layout.ErrEncrypted
	}
	f, err := format(head)
	if err != nil {
		return nil, err
	}
	switch f {
	case Gzip:
		return nil, layout.ErrNotSeekable
	case None:
		return &plain{r, size}, nil
	}
	frames, ok, err := readSeekTable(r, size)
	if err == nil && !ok {
		frames, _, err = scanFrames(r, size)
	}
	if err != nil {
		return nil, err
	}
	return newFramed(r, frames)
}

// Close lets go of what [OpenFile] and [OpenLayout] opened.
func (r *Reader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

// Blobs is how many blobs the file holds. It is 0 for a directory.
func (r *Reader) Blobs() int { return r.content.count() }

// Digest is the identity of the bundle: the sha256 digest of its index.json.
func (r *Reader) Digest() digest.Digest { return digest.FromBytes(r.raw) }

// RawIndex is index.json, byte for byte. It must not be changed.
func (r *Reader) RawIndex() []byte { return r.raw }

// Signatures is index.sigstore.json, or nil where the bundle has none. Nobody has checked
// it.
func (r *Reader) Signatures() []byte { return r.signatures }

// Index is what index.json says. It must not be changed.
func (r *Reader) Index() ocispec.Index { return r.index }

// Walk visits the graph below root as [layout.Walk] does. The manifests hash to
// their digests; whether the blobs do is not known. missing, where it is not nil, is
// called for manifests below root that are not there.
func (r *Reader) Walk(ctx context.Context, root ocispec.Descriptor, visit func(layout.Node) error, missing func(ocispec.Descriptor)) error {
	w := layout.Walker{Source: r.content, Visit: visit}
	if missing != nil {
		w.Fault = func(d ocispec.Descriptor, err error) error {
			if d.Digest == root.Digest || !errors.Is(err, layout.ErrNotFound) {
				return err
			}
			missing(d)
			return nil
		}
	}
	return untrusted(w.Walk(ctx, root))
}

// Has reports whether there is something for a descriptor. Whether it is whole, reading
// it tells.
//
// Errors: those of [layout.Source].
func (r *Reader) Has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	rc, err := r.content.Fetch(ctx, d)
	if errors.Is(err, layout.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, untrusted(err)
	}
	return true, rc.Close()
}

// Absent is what the index says is left out.
func (r *Reader) Absent() layout.Absent {
	a, _ := r.content.Absent() // it was decoded when the bundle was opened
	return a
}

// Config gives the bytes of a config, a manifest or a signature, for describing what an
// artifact is. They hash to the digest.
//
// Errors: those of [layout.ReadAll].
func (r *Reader) Config(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	b, err := layout.ReadAll(ctx, r.content, d)
	return b, untrusted(err)
}

// directory is the content of an unpacked layout.
type directory struct {
	*layout.Store
	absent layout.Absent // as index.json said when the directory was opened
	needed []neededFile
	total  int64
}

// neededFile is a blob that is to be hashed.
type neededFile struct {
	digest digest.Digest
	size   int64
}

// Absent implements [layout.Partial]. The index is large, and each walk asks.
func (d *directory) Absent() (layout.Absent, error) { return d.absent, nil }

func (d *directory) bytes() int64 { return d.total }

func (d *directory) count() int { return 0 }

// Nobody loads a directory into docker.
func (d *directory) dockerManifest() ([]byte, error) { return nil, nil }

func (d *directory) extent(digest.Digest) (extent, bool) { return extent{}, false }

func (d *directory) need(desc ocispec.Descriptor) error {
	rc, err := d.Fetch(context.Background(), desc)
	if err != nil {
		return err
	}
	d.needed = append(d.needed, neededFile{desc.Digest, desc.Size})
	d.total += desc.Size
	return rc.Close()
}

func (d *directory) check(ctx context.Context, o *VerifyOptions, fault func(Fault)) error {
	return parallel(ctx, workers(o.Jobs), len(d.needed), func(i int) error {
		desc := ocispec.Descriptor{Digest: d.needed[i].digest, Size: d.needed[i].size}
		rc, err := d.Fetch(ctx, desc)
		if err == nil {
			_, err = io.Copy(io.Discard, rc)
			rc.Close()
		}
		o.Progress.Advance(phaseVerifying, desc.Size)
		if err != nil {
			fault(Fault{Class: layout.ClassOf(err), Digest: desc.Digest, Message: err.Error()})
		}
		return ctx.Err()
	})
}
