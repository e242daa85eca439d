package deck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gabriel-vasile/mimetype"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// BuildOptions are the options of [Dir.Build]. nil stands for the defaults.
type BuildOptions struct {
	// SourceDate is the date of a deck whose deck.yaml has none, in whole
	// seconds: what SOURCE_DATE_EPOCH gives. The zero Time gives no date.
	SourceDate time.Time

	// Progress is told of the phase "building", in bytes of slides.
	Progress layout.Progress
}

// Build stores the deck in dst: the slides, then the config, then the manifest,
// whose descriptor it gives. Slides are streamed, and what dst has is not stored
// again.
//
// An error that a slide is the cause of names the file and the line. Its class
// is
//
//   - layout.ClassMediaType: a file is no image of a kind that decks have
//   - layout.ClassLocal: a file is missing, can't be read, or changed meanwhile
//   - layout.ClassName: a link leaves the folder
//   - layout.ClassPolicy: SourceDate lies beyond the year 9999
//   - layout.ClassLimit: deck.yaml is over [MaxSpecSize] with its globs expanded
//
// Other errors are those of dst.
func (d *Dir) Build(ctx context.Context, dst layout.Sink, o *BuildOptions) (ocispec.Descriptor, error) {
	if o == nil {
		o = &BuildOptions{}
	}
	desc, err := d.build(ctx, dst, o)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", d.name, err)
	}
	return desc, nil
}

func (d *Dir) build(ctx context.Context, dst layout.Sink, o *BuildOptions) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	deck := d.deck.clone()
	if deck.Date == "" && !o.SourceDate.IsZero() {
		deck.Date = o.SourceDate.UTC().Format(time.RFC3339)
		if err := checkDate(deck.Date); err != nil {
			return none, fmt.Errorf("source date: %w", err)
		}
	}
	// What is built now must be loaded again when it has been pulled.
	if _, err := encodeSpec(&deck); err != nil {
		return none, err
	}
	layers, err := d.pushSlides(ctx, dst, o.Progress)
	if err != nil {
		return none, err
	}
	config, manifest, err := assemble(&deck, layers)
	if err != nil {
		return none, err
	}
	if err := layout.PushBytes(ctx, dst, descriptor(MediaTypeConfig, config), config); err != nil {
		return none, err
	}
	desc := descriptor(ocispec.MediaTypeImageManifest, manifest)
	desc.ArtifactType = MediaTypeArtifact
	return desc, layout.PushBytes(ctx, dst, desc, manifest)
}

// assemble gives the bytes of the config and of the manifest.
func assemble(deck *Deck, layers []ocispec.Descriptor) (config, manifest []byte, err error) {
	config, err = canonical(deck)
	if err != nil {
		return nil, nil, err
	}
	manifest, err = canonical(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: MediaTypeArtifact,
		Config:       descriptor(MediaTypeConfig, config),
		Layers:       layers,
		Annotations:  deck.annotations(),
	})
	return config, manifest, err
}

func descriptor(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// layer is the descriptor of a slide, and nothing that a slide has not.
func layer(mediaType string, d digest.Digest, size int64, p string) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: mediaType, Digest: d, Size: size,
		Annotations: map[string]string{ocispec.AnnotationTitle: p},
	}
}

func (d *Dir) pushSlides(ctx context.Context, dst layout.Sink, p layout.Progress) ([]ocispec.Descriptor, error) {
	const phase = "building"
	once := map[string]ocispec.Descriptor{}
	var total int64
	for i, name := range d.deck.Images {
		if _, ok := once[name]; ok {
			continue
		}
		fi, err := d.stat(name)
		if err != nil {
			return nil, atLine(d.lines[i], err)
		}
		once[name] = ocispec.Descriptor{}
		total += fi.Size()
	}
	p.Start(phase, total)
	defer p.Finish(phase)
	layers := make([]ocispec.Descriptor, 0, len(d.deck.Images))
	for i, name := range d.deck.Images {
		desc := once[name]
		if desc.Digest == "" {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			var err error
			if desc, err = d.pushSlide(ctx, dst, name); err != nil {
				return nil, atLine(d.lines[i], err)
			}
			once[name] = desc
			p.Advance(phase, desc.Size)
		}
		layers = append(layers, desc)
	}
	return layers, nil
}

// pushSlide reads the file twice: a sink must know the digest before the bytes.
// If the file changes in between, the sink refuses it.
func (d *Dir) pushSlide(ctx context.Context, dst layout.Sink, name string) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	f, _, err := d.open(name)
	if err != nil {
		return none, err
	}
	defer f.Close()
	desc, err := describe(f, name)
	if err != nil {
		return none, err
	}
	if ok, err := dst.Exists(ctx, desc); err != nil || ok {
		return desc, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return none, layout.Errorf(layout.ClassLocal, "%q: %w", name, err)
	}
	err = dst.Push(ctx, desc, f)
	var corrupt *layout.CorruptError
	if errors.As(err, &corrupt) {
		return none, layout.Errorf(layout.ClassLocal, "%q changed while it was read: build again: %w", name, err)
	}
	if err != nil {
		return none, fmt.Errorf("%q: %w", name, err)
	}
	return desc, nil
}

func describe(f *os.File, name string) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return none, layout.Errorf(layout.ClassLocal, "%q: %w", name, err)
	}
	mediaType, err := imageType(head[:n])
	if err != nil {
		return none, fmt.Errorf("%q %w", name, err)
	}
	hash := digest.Canonical.Digester()
	hash.Hash().Write(head[:n])
	rest, err := io.Copy(hash.Hash(), f)
	if err != nil {
		return none, layout.Errorf(layout.ClassLocal, "%q: %w", name, err)
	}
	return layer(mediaType, hash.Digest(), int64(n)+rest, name), nil
}

// slideType reports whether a media type is one that browsers show.
func slideType(mediaType string) bool {
	switch mediaType {
	case "image/png", "image/jpeg", "image/webp", "image/svg+xml", "image/gif", "image/avif":
		return true
	}
	return false
}

// imageType finds the media type of a slide from its first bytes.
func imageType(head []byte) (string, error) {
	if len(head) == 0 {
		return "", layout.Errorf(layout.ClassMediaType, "is empty: write the image again")
	}
	// Windows editors begin an SVG with a byte order mark.
	found := mimetype.Detect(bytes.TrimPrefix(head, []byte("\uFEFF")))
	for m := found; m != nil; m = m.Parent() {
		if slideType(m.String()) {
			return m.String(), nil
		}
	}
	return "", layout.Errorf(layout.ClassMediaType, "is %s by its content: save it as PNG, JPEG, WebP, SVG, GIF or AVIF", found)
}
