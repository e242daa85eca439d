package layout

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
)

// Index reads index.json. A layout that was never written to has an empty one.
func (s *Store) Index() (ocispec.Index, error) {
	_, idx, err := s.ReadIndex()
	if errors.Is(err, ErrNotFound) {
		return ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}, nil
	}
	return idx, err
}

// ReadIndex gives the bytes of index.json and what they say.
//
// Errors: [ErrNotFound] where there is none, and those of [DecodeIndex].
func (s *Store) ReadIndex() ([]byte, ocispec.Index, error) {
	b, err := s.readSmall(ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ocispec.Index{}, Errorf(ClassLayout, "layout %s has no index.json: %w", s.root.Name(), ErrNotFound)
	}
	if err != nil {
		return nil, ocispec.Index{}, fmt.Errorf("layout %s: %w", s.root.Name(), err)
	}
	idx, err := DecodeIndex(b)
	if err != nil && s.use != nil {
		return nil, idx, fmt.Errorf("layout %s is damaged: remove its index.json and run again (blobs are kept and found by their digest): %w", s.root.Name(), err)
	}
	if err != nil {
		return nil, idx, fmt.Errorf("layout %s: %w", s.root.Name(), err)
	}
	return b, idx, nil
}

// ReadMetadata reads a small file that stands beside index.json.
//
// Errors: [fs.ErrNotExist] where there is none, and [ClassLimit] for more than limit
// bytes.
func (s *Store) ReadMetadata(name string, limit int) ([]byte, error) {
	b, err := s.readSmall(name)
	if err == nil && len(b) > limit {
		return nil, Errorf(ClassLimit, "%s has more than %d bytes", name, limit)
	}
	return b, err
}

// readSmall reads a file of metadata, up to one byte more than a manifest may have.
func (s *Store) readSmall(name string) ([]byte, error) {
	fi, err := s.root.Stat(name, true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !isSystemError(err) {
		return nil, Errorf(ClassLayout, "%s is no file in it: %w", name, err)
	}
	if err != nil {
		return nil, Errorf(ClassLocal, "%w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, Errorf(ClassLayout, "%s is no regular file", name)
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, Errorf(ClassLocal, "%w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxManifestSize+1))
	if err != nil {
		return nil, Errorf(ClassLocal, "%w", err)
	}
	return b, nil
}

// UpdateIndex changes index.json: it locks, reads, calls edit, sorts the entries
// and replaces the file at once. If edit gives an error, nothing is changed.
func (s *Store) UpdateIndex(ctx context.Context, edit func(*ocispec.Index) error) (err error) {
	lock, err := disk.Wait(ctx, s.root, indexLock, disk.Exclusive)
	if err != nil {
		return Errorf(ClassLocal, "lock of the layout: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	idx, err := s.Index()
	if err != nil {
		return err
	}
	if err := edit(&idx); err != nil {
		return err
	}
	b, err := MarshalIndex(idx)
	if err != nil {
		return err
	}
	return s.writeFile(ocispec.ImageIndexFile, b)
}

// MarshalIndex sorts the entries of an index.json and gives its bytes, the same
// for the same entries.
func MarshalIndex(idx ocispec.Index) ([]byte, error) {
	idx.SchemaVersion = 2
	idx.MediaType = ocispec.MediaTypeImageIndex
	idx.Manifests = slices.Clone(idx.Manifests)
	SortEntries(idx.Manifests)
	if idx.Manifests == nil {
		idx.Manifests = []ocispec.Descriptor{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(idx); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if b.Len() > MaxManifestSize {
		return nil, Errorf(ClassLimit, "index.json would have %d bytes, over the limit of %d: fewer artifacts in one layout, please", b.Len(), MaxManifestSize)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Add puts entries into the index. An entry of the same name is replaced, and an
// entry without a name is there once. absent is what the entries lead to and the
// layout is meant to lack, unless other entries have it.
func (s *Store) Add(ctx context.Context, absent Absent, entries ...ocispec.Descriptor) error {
	key := func(d ocispec.Descriptor) string { return cmp.Or(EntryName(d), d.Digest.String()) }
	return s.UpdateIndex(ctx, func(idx *ocispec.Index) error {
		fresh := map[string]bool{}
		for _, d := range entries {
			fresh[key(d)] = true
		}
		idx.Manifests = slices.DeleteFunc(idx.Manifests, func(d ocispec.Descriptor) bool { return fresh[key(d)] })
		known, err := AbsentOf(*idx)
		if err != nil {
			return err
		}
		if len(known)+len(absent) > 0 {
			all := Absent{}
			maps.Copy(all, known)
			maps.Copy(all, absent)
			brought := s.brought(ctx, known, idx.Manifests)
			maps.Copy(brought, s.brought(ctx, absent, entries))
			maps.DeleteFunc(all, func(d digest.Digest, _ struct{}) bool { return brought[d] })
			all.Mark(idx)
		}
		idx.Manifests = append(idx.Manifests, entries...)
		return ctx.Err()
	})
}

// brought gives what entries lead to, apart from what is absent. That a manifest is
// in the layout does not say so: it may have been read alone.
func (s *Store) brought(ctx context.Context, absent Absent, entries []ocispec.Descriptor) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	w := Walker{
		Source: WithAbsent(s, absent),
		Visit: func(n Node) error {
			out[n.Digest] = true
			return nil
		},
		Fault: func(ocispec.Descriptor, error) error { return nil }, // what is damaged brings nothing
	}
	for _, e := range entries {
		_ = w.Walk(ctx, e) // only ctx ends it, and the caller looks at that
	}
	return out
}

// Absent implements [Partial].
func (s *Store) Absent() (Absent, error) {
	idx, err := s.Index()
	if err != nil {
		return nil, err
	}
	return AbsentOf(idx)
}
