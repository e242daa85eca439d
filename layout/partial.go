package layout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationAbsent lists, on an index.json, what the layout is meant to lack: the
// digests, sorted and separated by commas. image-spec allows a layout to lack
// blobs (image-layout.md, "Blobs"); the annotation tells what was left out from
// what was lost, and the digest of index.json pins it.
//
// Only two things are left out, and a mention of anything else here has no
// meaning: manifests that an index lists, and layers that are not to be
// distributed.
const AnnotationAbsent = "io.github.airdeck.absent"

// Annotations of an entry that was one platform of an index.
const (
	// AnnotationPlatformOf is the digest of the index.
	AnnotationPlatformOf = "io.github.airdeck.platform-of"
	// AnnotationUncovered lists what belongs to that index, such as its signatures,
	// and so says nothing of the entry: digests, sorted and separated by commas.
	AnnotationUncovered = "io.github.airdeck.uncovered"
)

// Absent is a set of content that is left out on purpose.
type Absent map[digest.Digest]struct{}

// AbsentOf reads [AnnotationAbsent]. It is nil where nothing is left out.
//
// Error: [ClassLayout] for what is no sorted list of digests.
func AbsentOf(idx ocispec.Index) (Absent, error) {
	text, ok := idx.Annotations[AnnotationAbsent]
	if !ok {
		return nil, nil
	}
	list, err := ParseDigests(text)
	if err != nil {
		return nil, Errorf(ClassLayout, "index.json: annotation %s: %w", AnnotationAbsent, err)
	}
	out := make(Absent, len(list))
	for _, d := range list {
		out[d] = struct{}{}
	}
	return out, nil
}

// Mark writes the annotation, and removes it where nothing is left out.
func (a Absent) Mark(idx *ocispec.Index) {
	idx.Annotations = maps.Clone(idx.Annotations)
	delete(idx.Annotations, AnnotationAbsent)
	if len(a) == 0 {
		return
	}
	if idx.Annotations == nil {
		idx.Annotations = map[string]string{}
	}
	idx.Annotations[AnnotationAbsent] = JoinDigests(slices.Collect(maps.Keys(a)))
}

// JoinDigests sorts digests and writes them as one text, separated by commas.
func JoinDigests(list []digest.Digest) string {
	text := make([]string, len(list))
	for i, d := range list {
		text[i] = d.String()
	}
	slices.Sort(text)
	return strings.Join(slices.Compact(text), ",")
}

// ParseDigests reads what [JoinDigests] writes, and nothing else.
//
// Errors: those of [CheckDigest], and [ClassLayout] for a list in another order.
func ParseDigests(text string) ([]digest.Digest, error) {
	var out []digest.Digest
	for s := range strings.SplitSeq(text, ",") {
		d := digest.Digest(s)
		if err := CheckDigest(d); err != nil {
			return nil, err
		}
		if n := len(out); n > 0 && out[n-1] >= d {
			return nil, Errorf(ClassLayout, "the digests are not sorted, or one occurs twice")
		}
		out = append(out, d)
	}
	return out, nil
}

// Partial is a [Source] that is meant to lack something. It is optional: a
// [Walker] asks its source for it, and goes round what is absent.
type Partial interface {
	Source
	// Absent gives what is left out. It must not be changed.
	Absent() (Absent, error)
}

// WithAbsent is src without a. What src itself is meant to lack does not count any
// more.
func WithAbsent(src Source, a Absent) Partial { return partial{src, a} }

type partial struct {
	Source
	absent Absent
}

func (p partial) Absent() (Absent, error) { return p.absent, nil }

// Has implements [Prober] for any source.
func (p partial) Has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	return has(ctx, p.Source, d)
}

// IsNondistributable reports whether a layer has a media type that says that it
// is not to be distributed (image-spec v1.1, layer.md, "Non-Distributable
// Layers"). Registries may lack such layers, and many do.
func IsNondistributable(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.") ||
		strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.foreign.")
}

// MayBeAbsent reports whether a child of a manifest is of a kind that can be left
// out.
func MayBeAbsent(parent ocispec.Descriptor, c Child) bool {
	if c.Kind == KindManifest {
		return IsIndex(parent.MediaType)
	}
	return c.Kind == KindBlob && IsNondistributable(c.MediaType)
}

// Part is entries that come from one source.
type Part struct {
	Source  Source // a [Partial] where something is left out
	Entries []ocispec.Descriptor
}

// Merge finds what is absent when the entries of several parts come together in
// one layout, whose content is that of all of them: what one part leaves out, and
// no other brings. lacking are the layers that are not to be distributed and that
// no part has; they are among the absent.
//
// Errors: those of the sources and of [Walker].
func Merge(ctx context.Context, parts ...Part) (absent Absent, lacking []ocispec.Descriptor, err error) {
	// What one manifest lists as a manifest, another may have for its config.
	type mention struct {
		digest   digest.Digest
		manifest bool
	}
	brought, left := map[mention]bool{}, map[mention]bool{}
	for _, p := range parts {
		w := Walker{Source: p.Source}
		w.LeftOut = func(_ ocispec.Descriptor, c Child) { left[mention{c.Digest, c.Kind == KindManifest}] = true }
		w.Visit = func(n Node) error {
			m := mention{n.Digest, n.Kind == KindManifest}
			if n.Kind == KindBlob && IsNondistributable(n.MediaType) && !brought[m] {
				ok, err := anyHas(ctx, parts, n.Descriptor)
				if err != nil {
					return err
				}
				if !ok {
					lacking = append(lacking, n.Descriptor)
					left[m] = true
					return nil
				}
			}
			brought[m] = true
			return nil
		}
		for _, e := range p.Entries {
			if err := w.Walk(ctx, e); err != nil {
				return nil, nil, err
			}
		}
	}
	absent = Absent{}
	for m := range left {
		if !brought[m] {
			absent[m.digest] = struct{}{}
		}
	}
	return absent, lacking, nil
}

// anyHas reports whether one of the parts has something for a descriptor.
func anyHas(ctx context.Context, parts []Part, d ocispec.Descriptor) (bool, error) {
	for _, p := range parts {
		if ok, err := has(ctx, p.Source, d); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// has asks a source as a [Prober], or else by a fetch.
func has(ctx context.Context, src Source, d ocispec.Descriptor) (bool, error) {
	if p, ok := src.(Prober); ok {
		return p.Has(ctx, d)
	}
	rc, err := src.Fetch(ctx, d)
	var corrupt *CorruptError
	switch {
	case isNotFound(err):
		return false, nil
	case errors.As(err, &corrupt):
		return true, nil // it will be found out when it is read
	case err != nil:
		return false, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return true, rc.Close()
}
