package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
)

// Pruned says what [Store.Prune] removed.
type Pruned struct {
	References []string // names that were forgotten, with those that went along
	Blobs      int      // blobs that no reference needs
	Debris     int      // what killed runs left
	Bytes      int64    // in both
}

// Prune forgets the references named in forget, and removes the blobs that no
// remaining reference needs and what killed runs left behind. No other goroutine
// may use the Store meanwhile.
//
// Errors: [ErrBusy] while another process uses the layout, [ErrNotFound] if it
// lacks one of the references, and those of [Walker] if a manifest that is
// needed can't be read; then nothing was removed.
func (s *Store) Prune(ctx context.Context, forget ...string) (p Pruned, err error) {
	if s.use == nil {
		return p, Errorf(ClassLocal, "layout %s was opened for reading only", s.root.Name())
	}
	if slices.Contains(forget, "") {
		return p, fmt.Errorf("a reference without a name: %w", ErrNotFound)
	}
	// Those who fetch or pack hold the lock shared: what they have fetched has
	// no reference yet.
	if err := s.use.Close(); err != nil {
		return p, Errorf(ClassLocal, "lock of the layout: %w", err)
	}
	exclusive, ok, err := s.root.Lock(useLock, disk.Exclusive)
	// Whatever happens, the Store stays in use until Close.
	defer func() {
		if ok {
			err = errors.Join(err, exclusive.Close())
		}
		use, lerr := disk.Wait(context.WithoutCancel(ctx), s.root, useLock, disk.Shared)
		if lerr == nil {
			s.use = use
		}
		err = errors.Join(err, lerr)
	}()
	if err != nil {
		return p, Errorf(ClassLocal, "lock of the layout: %w", err)
	}
	if !ok {
		return p, Errorf(ClassLocal, "layout %s: %w: run prune again when it has ended", s.root.Name(), ErrBusy)
	}

	idx, err := s.Index()
	if err != nil {
		return p, err
	}
	for _, name := range forget {
		if !slices.ContainsFunc(idx.Manifests, func(d ocispec.Descriptor) bool { return EntryName(d) == name }) {
			return p, fmt.Errorf("layout %s: %q: %w: see airdeck list", s.root.Name(), name, ErrNotFound)
		}
	}
	needed, absent := map[digest.Digest]struct{}{}, Absent{}
	w := Walker{
		Source: s,
		Visit: func(n Node) error {
			needed[n.Digest] = struct{}{}
			return nil
		},
		LeftOut: func(_ ocispec.Descriptor, c Child) { absent[c.Digest] = struct{}{} },
	}
	var gone, roots, others []ocispec.Descriptor
	for _, d := range idx.Manifests {
		switch {
		case slices.Contains(forget, EntryName(d)):
			gone = append(gone, d)
		case EntryName(d) == "":
			others = append(others, d)
		default:
			roots = append(roots, d)
		}
	}
	// What belongs to an artifact goes when the artifact goes: without a name, or
	// under a tag of cosign's.
	roots, tags, err := s.tagsOf(ctx, gone, roots)
	if err != nil {
		return p, err
	}
	for _, d := range roots {
		if err := w.Walk(ctx, d); err != nil {
			return p, fmt.Errorf("%s: %w: fetch it again or forget it (airdeck prune %[1]s)", EntryName(d), err)
		}
	}
	kept, err := Attached(ctx, s, roots, slices.Concat(others, tags))
	if err != nil {
		return p, err
	}
	for _, d := range kept {
		if err := w.Walk(ctx, d); err != nil {
			return p, err
		}
	}
	if left := slices.Concat(roots, kept); len(left) < len(idx.Manifests) {
		if err := s.UpdateIndex(ctx, func(i *ocispec.Index) error {
			i.Manifests = left
			absent.Mark(i)
			return nil
		}); err != nil {
			return p, err
		}
		stay := map[string]bool{}
		for _, k := range kept {
			stay[EntryName(k)] = true
		}
		for _, d := range slices.Concat(gone, tags) {
			if !stay[EntryName(d)] {
				p.References = append(p.References, EntryName(d))
			}
		}
	}
	p.Debris, p.Bytes = removeDebris(s.root, ".", true)
	files, bytes := removeDebris(s.root, lockDir, true)
	p.Debris += files
	p.Bytes += bytes
	err = s.sweep(ctx, needed, &p)
	return p, err
}

// tagsOf parts the roots that remain from the tags of cosign's that belong to what
// goes. What can't be read any more has none.
func (s *Store) tagsOf(ctx context.Context, gone, roots []ocispec.Descriptor) (remain, tags []ocispec.Descriptor, err error) {
	for _, d := range roots {
		if IsCosignTag(d) {
			tags = append(tags, d)
		}
	}
	belongs := map[string]bool{}
	once := map[named]bool{} // roots in a repository
	for _, g := range gone {
		in := named{repositoryOf(EntryName(g)), g.Digest}
		if once[in] {
			continue
		}
		once[in] = true
		found, err := Attached(ctx, s, []ocispec.Descriptor{g}, tags)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		for i := 0; err == nil && i < len(found); i++ {
			belongs[EntryName(found[i])] = true
		}
	}
	tags = nil
	for _, d := range roots {
		if belongs[EntryName(d)] {
			tags = append(tags, d)
		} else {
			remain = append(remain, d)
		}
	}
	return remain, tags, nil
}

func (s *Store) sweep(ctx context.Context, needed map[digest.Digest]struct{}, p *Pruned) error {
	err := eachEntry(s.root, ocispec.ImageBlobsDir, func(alg fs.DirEntry) error {
		dir := path.Join(ocispec.ImageBlobsDir, alg.Name())
		files, bytes := removeDebris(s.root, dir, true)
		p.Debris += files
		p.Bytes += bytes
		return eachEntry(s.root, dir, func(b fs.DirEntry) error {
			d := digest.Digest(alg.Name() + ":" + b.Name())
			if _, ok := needed[d]; ok || CheckDigest(d) != nil || ctx.Err() != nil {
				return ctx.Err()
			}
			fi, err := b.Info()
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // it has gone
			case err != nil:
				return err
			}
			if err := s.root.Remove(path.Join(dir, b.Name())); err != nil {
				return err
			}
			s.forget(d)
			p.Blobs++
			p.Bytes += fi.Size()
			return nil
		})
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Errorf(ClassLocal, "%w", err)
	}
	return ctx.Err()
}

func (s *Store) forget(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.whole, d)
}
