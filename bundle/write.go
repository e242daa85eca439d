package bundle

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// Compression says how an archive is compressed.
type Compression uint8

// The compressions that a bundle may have.
const (
	Zstd Compression = iota // in frames, for random access
	None
	Gzip // one stream
)

// CompressionFor chooses the compression by the name of the output.
//
// Error: [layout.ClassName] for a name that ends in neither .tar.zst, .tar nor
// .tar.gz.
func CompressionFor(name string) (Compression, error) {
	switch {
	case strings.HasSuffix(name, ".tar.zst"), strings.HasSuffix(name, ".tzst"):
		return Zstd, nil
	case strings.HasSuffix(name, ".tar"):
		return None, nil
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return Gzip, nil
	}
	return 0, layout.Errorf(layout.ClassName, "the name %q does not tell the format: end it in .tar.zst, .tar or .tar.gz", name)
}

// Level is how much is spent on compressing, for [Zstd] and [Gzip]. Blobs that do not
// compress cost the same at every level.
type Level uint8

// The levels of compression.
const (
	LevelDefault Level = iota
	LevelFastest
	LevelBetter
	LevelBest
)

var levelNames = []string{"default", "fastest", "better", "best"}

// ParseLevel reads the name of a level: fastest, default, better or best.
//
// Error: [layout.ClassName].
func ParseLevel(s string) (Level, error) {
	if i := slices.Index(levelNames, s); i >= 0 {
		return Level(i), nil
	}
	return 0, layout.Errorf(layout.ClassName, "level %q: it is fastest, default, better or best", s)
}

// WriteOptions are the options of [Write]. nil stands for the defaults.
type WriteOptions struct {
	Compression Compression
	Level       Level
	// Jobs is how many blobs are read and compressed at once. 0 means one for
	// each processor, up to 4. Each takes about 20 MiB.
	Jobs int
	// Recipients, where there are any, are those for whom the file is encrypted with
	// age; there are at most MaxRecipients. The same input then has other bytes each
	// time.
	Recipients []age.Recipient
	// Progress is told of the phase "writing", in bytes of the archive.
	Progress layout.Progress
}

// Summary says what is in a bundle.
type Summary struct {
	Digest     digest.Digest `json:"digest"`     // of index.json: the bundle's identity
	Artifacts  int           `json:"artifacts"`  // entries of the index
	Blobs      int           `json:"blobs"`      // manifests, configs and layers, each once
	Referenced int64         `json:"referenced"` // bytes if each mention of a blob were a copy
	Unique     int64         `json:"unique"`     // bytes with each blob once
	Written    int64         `json:"written"`    // bytes in the file
}

// Prepared is a bundle that is about to be written.
type Prepared struct {
	src     layout.Source
	index   ocispec.Index
	raw     []byte
	plan    *plan
	archive *archive
}

// Prepare reads the manifests that an index leads to, and finds out what the bundle
// will hold. The entries of the index are sorted; the rest of it is written as it
// is given.
//
// Errors: those of src, of [layout.Walker], [layout.ClassLimit] for an index that is
// too large and for more than [MaxMembers] blobs, and [layout.ClassSize] for a digest
// that is listed with two sizes.
func Prepare(ctx context.Context, src layout.Source, index ocispec.Index) (*Prepared, error) {
	raw, err := layout.MarshalIndex(index)
	if err != nil {
		return nil, err
	}
	index, err = layout.DecodeIndex(raw)
	if err != nil {
		return nil, err
	}
	absent, err := layout.AbsentOf(index)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(ctx, layout.WithAbsent(src, absent), index.Manifests)
	if err != nil {
		return nil, err
	}
	return &Prepared{src, index, raw, p, newArchive(raw, nil, p)}, nil
}

// RawIndex is the index.json of the bundle, byte for byte: what is to be signed.
func (p *Prepared) RawIndex() []byte { return p.raw }

// Attach has the bundle hold the signatures of its index, as index.sigstore.json.
//
// Error: [layout.ClassLimit] for more than [MaxSignatures] bytes.
func (p *Prepared) Attach(signatures []byte) error {
	if len(signatures) > MaxSignatures {
		return layout.Errorf(layout.ClassLimit, "the signatures have %d bytes, over the limit of %d", len(signatures), MaxSignatures)
	}
	p.archive = newArchive(p.raw, signatures, p.plan)
	return nil
}

// Blobs is how many blobs the bundle will hold.
func (p *Prepared) Blobs() int { return len(p.plan.blobs) }

// Size gives bounds of the file's size in bytes. What is compressed already gets no
// smaller, and what else is in it may.
func (p *Prepared) Size(o *WriteOptions) (least, most int64) {
	if o == nil {
		o = &WriteOptions{}
	}
	least, most = p.archive.size, p.archive.size
	if o.Compression != None {
		frames := p.archive.size/FrameSize + int64(len(p.archive.runs))
		least, most = min(p.plan.compressed, least), most+most/1024+frames*(seekEntrySize+64)+64
	}
	if len(o.Recipients) > 0 {
		most = encryptedSize(most, len(o.Recipients))
	}
	return least, most
}

// Write writes the bundle to w.
//
// Memory is bounded by Jobs, whatever the sizes. After an error, what was
// written to w is of no use.
//
// Errors: those of the source and of w.
func (p *Prepared) Write(ctx context.Context, w io.Writer, o *WriteOptions) (Summary, error) {
	if o == nil {
		o = &WriteOptions{}
	}
	out := &counter{w: w}
	if err := p.write(ctx, out, o); err != nil {
		return Summary{}, err
	}
	return Summary{
		Digest: digest.FromBytes(p.raw), Artifacts: len(p.index.Manifests), Blobs: len(p.plan.blobs),
		Referenced: p.plan.referenced, Unique: p.plan.unique, Written: out.n,
	}, nil
}

func (p *Prepared) write(ctx context.Context, w io.Writer, o *WriteOptions) error {
	if len(o.Recipients) == 0 {
		return writeArchive(ctx, w, p.src, p.archive, o)
	}
	enc, err := encrypt(w, o.Recipients)
	if err != nil {
		return err
	}
	if err := writeArchive(ctx, enc, p.src, p.archive, o); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("the bundle needs up to %d bytes: %w", encryptedSize(p.archive.size, len(o.Recipients)), err)
	}
	return nil
}

// Write writes the bundle of an index to w. src must have everything that the
// index leads to and does not list as absent ([layout.AnnotationAbsent]). It is
// [Prepare] and [Prepared.Write], and has their errors.
func Write(ctx context.Context, w io.Writer, src layout.Source, index ocispec.Index, o *WriteOptions) (Summary, error) {
	p, err := Prepare(ctx, src, index)
	if err != nil {
		return Summary{}, err
	}
	return p.Write(ctx, w, o)
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// member is what the archive has at one place: metadata with its content, or a
// blob.
type member struct {
	name   string // of metadata
	data   []byte // of metadata
	digest digest.Digest
	size   int64
}

func (m member) path() string {
	if m.name != "" {
		return m.name
	}
	return blobName(m.digest)
}

// archive is the whole sequence of members, cut into runs. Each run is a number
// of frames that hold whole members and nothing else: either small members that
// share one frame, or one large member. Runs can be made and read independently.
type archive struct {
	members []member
	runs    []run
	size    int64 // of the tar, with its end
}

type run struct {
	from, to int   // members
	size     int64 // bytes of the tar
}

func newArchive(index, signatures []byte, p *plan) *archive {
	a := &archive{members: make([]member, 0, len(p.blobs)+4)}
	a.members = append(a.members,
		member{name: ocispec.ImageLayoutFile, data: []byte(layout.LayoutFile), size: int64(len(layout.LayoutFile))},
		member{name: ocispec.ImageIndexFile, data: index, size: int64(len(index))})
	if signatures != nil {
		a.members = append(a.members, member{name: layout.SignaturesFile, data: signatures, size: int64(len(signatures))})
	}
	if p.docker != nil {
		a.members = append(a.members, member{name: dockerManifestFile, data: p.docker, size: int64(len(p.docker))})
	}
	for _, b := range p.blobs {
		a.members = append(a.members, member{digest: b.digest, size: b.size})
	}
	meta := len(a.members) - len(p.blobs)
	open := run{}
	cut := func(i int) {
		if open.to > open.from {
			a.runs = append(a.runs, open)
		}
		open = run{from: i, to: i}
	}
	for i, m := range a.members {
		n := memberSize(m.digest, m.size)
		section := i > meta && p.blobs[i-meta].kind != p.blobs[i-meta-1].kind
		if section || open.size+n > LargeMember {
			cut(i)
		}
		open.to, open.size = i+1, open.size+n
		a.size += n
		if n >= LargeMember {
			cut(i + 1)
		}
	}
	cut(len(a.members))
	// The end is a run without members.
	a.runs = append(a.runs, run{from: len(a.members), to: len(a.members), size: endSize})
	a.size += endSize
	return a
}
