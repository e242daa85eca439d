package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/layout"
)

// DefaultJobs is how many blobs are moved at once. Registries begin to refuse
// clients that ask for more.
const DefaultJobs = 4

const phaseFetching = "fetching"

// PullOptions are the options of [Client.Pull]. nil stands for the defaults.
type PullOptions struct {
	Jobs int // blobs that are fetched at once; 0 means DefaultJobs
	// NoReferrers leaves what refers to an artifact, such as its signatures.
	NoReferrers bool
	// ManifestsOnly fetches no blobs.
	ManifestsOnly bool
	// Platforms, where there are any, are those that are fetched; see
	// [layout.Select].
	Platforms []ocispec.Platform
	// AllowNondistributable goes on without layers that are not to be distributed
	// and that the registry does not have.
	AllowNondistributable bool
}

// Pulled says what a pull brought.
type Pulled struct {
	// Entries are the artifacts, in the order of the references, each named by
	// its reference.
	Entries []ocispec.Descriptor
	// Selections say what of the artifacts was fetched, in the same order.
	Selections []layout.Selection
	// Referrers are what refers to them, each once: entries without a name, and
	// what cosign keeps under tags of its own with the name of that tag.
	Referrers []ocispec.Descriptor
	Fetched   int64 // blobs, manifests not counted
	Bytes     int64 // in them
	Reused    int64 // blobs that dst had, whole
}

// Pull brings artifacts into dst. Each reference is resolved once, and what it
// named then is fetched by digest. Each digest is fetched once, however many
// artifacts share it, and not at all where dst has it whole.
//
// Errors: [layout.ClassRemote] with the reference, [layout.ClassMissing] where there
// is nothing for the platforms, [layout.ClassPolicy] for a layer that is not to be
// distributed and that the registry does not have, and those of dst.
func (c *Client) Pull(ctx context.Context, refs []layout.Reference, dst layout.Storage, o *PullOptions) (*Pulled, error) {
	if o == nil {
		o = &PullOptions{}
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	p := &puller{c: c, o: o, dst: dst, blobs: map[digest.Digest]*wanted{}}
	out := &Pulled{Entries: make([]ocispec.Descriptor, len(refs)), Selections: make([]layout.Selection, len(refs))}
	trees := make([][]*wanted, len(refs))
	found := make([][]ocispec.Descriptor, len(refs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i, ref := range refs {
		g.Go(func() error {
			a := &artifact{p: p, ref: ref}
			err := a.resolve(gctx)
			out.Entries[i], out.Selections[i], trees[i], found[i] = a.entry, a.selection, a.tree, a.referrers
			return explain("fetch", ref.String(), err)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.Referrers = unique(slices.Concat(found...))
	if o.ManifestsOnly {
		return out, nil
	}
	return out, p.fetchAll(ctx, trees, jobs, out)
}

// entryName is the tag where there is one: the digest beside it was a demand,
// and is met.
func entryName(ref layout.Reference) string {
	if ref.Tag != "" {
		ref.Digest = ""
	}
	return ref.String()
}

// unique leaves out the entries that occur twice: artifacts may share manifests.
func unique(entries []ocispec.Descriptor) []ocispec.Descriptor {
	type key struct {
		digest digest.Digest
		name   string
	}
	seen := map[key]bool{}
	return slices.DeleteFunc(entries, func(d ocispec.Descriptor) bool {
		k := key{d.Digest, layout.EntryName(d)}
		defer func() { seen[k] = true }()
		return seen[k]
	})
}

// puller gathers what is to be fetched for several artifacts.
type puller struct {
	c   *Client
	o   *PullOptions
	dst layout.Storage

	mu    sync.Mutex
	blobs map[digest.Digest]*wanted
}

// wanted is a blob and a repository that has it.
type wanted struct {
	desc ocispec.Descriptor
	repo *remote.Repository
	// nondistributable says that no mention of it is of a type that a registry has to
	// have; others are more repositories that may have it.
	nondistributable bool
	others           []*remote.Repository
}

// artifact is one reference on its way.
type artifact struct {
	p    *puller
	ref  layout.Reference
	repo *remote.Repository

	selection layout.Selection
	entry     ocispec.Descriptor
	tree      []*wanted            // blobs that no other artifact wanted before
	referrers []ocispec.Descriptor // entries of what refers to it
}

// resolve fetches the manifests of one artifact and of what refers to it.
func (a *artifact) resolve(ctx context.Context) (err error) {
	if a.repo, err = a.p.c.repository(ctx, a.ref.Registry, a.ref.Repository); err != nil {
		return err
	}
	named, err := a.p.root(ctx, a.repo, a.ref)
	if err != nil {
		return err
	}
	manifests := &manifestSource{a.repo, a.p.dst}
	if a.selection, err = layout.Select(ctx, manifests, named, a.p.o.Platforms); err != nil {
		return err
	}
	root := &a.selection.Root
	r := &referrers{a: a, seen: map[digest.Digest]bool{}}
	err = a.walk(ctx, layout.WithAbsent(manifests, a.selection.Absent), *root, func(n layout.Node) {
		r.subjects = append(r.subjects, n.Descriptor)
		if n.Digest == root.Digest {
			root.ArtifactType = n.Manifest.ArtifactType
		}
	})
	if err != nil {
		return err
	}
	var uncovered []digest.Digest
	if !a.p.o.NoReferrers {
		if a.referrers, err = r.find(ctx); err != nil {
			return err
		}
		if a.selection.Of != nil {
			if uncovered, err = r.digests(ctx, *a.selection.Of); err != nil {
				return err
			}
		}
	}
	a.entry = a.selection.Entry(entryName(a.ref), uncovered)
	return nil
}

// walk fetches the manifests below root, shows each of them, and notes the blobs.
func (a *artifact) walk(ctx context.Context, src layout.Source, root ocispec.Descriptor, visit func(layout.Node)) error {
	p := a.p
	return layout.Walk(ctx, src, root, func(n layout.Node) error {
		if n.Kind == layout.KindManifest {
			visit(n)
			return nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		w := p.blobs[n.Digest]
		if w == nil {
			// Only what fetching needs is kept: there may be many.
			w = &wanted{desc: ocispec.Descriptor{Digest: n.Digest, Size: n.Size}, repo: a.repo, nondistributable: true}
			p.blobs[n.Digest] = w
			a.tree = append(a.tree, w)
		} else if layout.IsNondistributable(n.MediaType) {
			w.others = append(w.others, a.repo)
		}
		w.nondistributable = w.nondistributable && layout.IsNondistributable(n.MediaType)
		return nil
	})
}

// root asks what a reference names, and keeps the manifest that was the answer.
func (p *puller) root(ctx context.Context, repo *remote.Repository, ref layout.Reference) (ocispec.Descriptor, error) {
	what := ref.Tag
	if what == "" {
		what = ref.Digest.String()
	}
	var root ocispec.Descriptor
	err := again(ctx, func() error {
		d, rc, err := repo.Manifests().(registry.ReferenceFetcher).FetchReference(ctx, what)
		if err != nil {
			return err
		}
		defer rc.Close()
		if d.Size > layout.MaxManifestSize {
			return layout.Errorf(layout.ClassLimit, "the manifest has %d bytes, over the limit of %d", d.Size, layout.MaxManifestSize)
		}
		if ref.Digest != "" && d.Digest != ref.Digest {
			return layout.Errorf(layout.ClassRemote, "the tag names %s, not the digest that was asked for", d.Digest)
		}
		root = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
		if err := layout.CheckDescriptor(root); err != nil {
			return err
		}
		return remoteFault(p.dst.Push(ctx, root, body{rc}))
	})
	if err == nil && !layout.IsManifest(root.MediaType) {
		err = layout.Errorf(layout.ClassMediaType, "the registry names a %q, which is no manifest that airdeck knows", root.MediaType)
	}
	return root, err
}

// remoteFault says whose fault content is that came from a registry.
func remoteFault(err error) error {
	var corrupt *layout.CorruptError
	if errors.As(err, &corrupt) {
		return layout.Errorf(layout.ClassRemote, "the registry sent other content: %w", err)
	}
	return err
}

// manifestSource gives the manifests of a repository, and configs where they are
// asked for, and keeps them in dst.
type manifestSource struct {
	repo *remote.Repository
	dst  layout.Storage
}

func (s *manifestSource) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	ok, err := s.dst.Exists(ctx, d)
	if err != nil {
		return nil, err
	}
	if !ok {
		if d.Size > layout.MaxManifestSize {
			return nil, layout.Errorf(layout.ClassLimit, "manifest %s has %d bytes", d.Digest, d.Size)
		}
		store := s.repo.Blobs()
		if layout.IsManifest(d.MediaType) {
			store = s.repo.Manifests()
		}
		err := again(ctx, func() error {
			rc, err := store.Fetch(ctx, d)
			if err != nil {
				return err
			}
			defer rc.Close()
			return remoteFault(s.dst.Push(ctx, d, body{rc}))
		})
		if err != nil {
			return nil, err
		}
	}
	return s.dst.Fetch(ctx, d)
}

// fetchAll brings the blobs of all artifacts, in their order.
func (p *puller) fetchAll(ctx context.Context, trees [][]*wanted, jobs int, out *Pulled) error {
	var total int64
	for _, w := range p.blobs {
		total += w.desc.Size
	}
	progress := p.c.o.Progress
	progress.Start(phaseFetching, total)
	defer progress.Finish(phaseFetching)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for _, tree := range trees {
		for _, w := range tree {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error {
				ok, err := p.dst.Exists(ctx, w.desc)
				if err != nil {
					return err
				}
				if ok {
					atomic.AddInt64(&out.Reused, 1)
					progress.Advance(phaseFetching, w.desc.Size)
					return nil
				}
				err = p.fetch(ctx, w)
				for i := 0; i < len(w.others) && errors.Is(err, layout.ErrNotFound); i++ {
					w.repo = w.others[i]
					err = p.fetch(ctx, w)
				}
				if w.nondistributable && errors.Is(err, layout.ErrNotFound) {
					progress.Advance(phaseFetching, w.desc.Size)
					return p.withheld(w, err)
				}
				if err == nil {
					atomic.AddInt64(&out.Fetched, 1)
					atomic.AddInt64(&out.Bytes, w.desc.Size)
				}
				return err
			})
		}
	}
	return g.Wait()
}

// withheld decides about a layer that is not to be distributed, and that the
// registry does not have.
func (p *puller) withheld(w *wanted, err error) error {
	if p.o.AllowNondistributable {
		p.c.o.Progress.Note(fmt.Sprintf("the layer %s is not to be distributed, and the registry does not have it: it is left out", w.desc.Digest))
		return nil
	}
	return layout.Errorf(layout.ClassPolicy, "%w: the layer is not to be distributed, and the registry does not have it (--allow-nondistributable leaves it out)", err)
}

func (p *puller) fetch(ctx context.Context, w *wanted) error {
	what := fmt.Sprintf("%s/%s@%s", w.repo.Reference.Registry, w.repo.Reference.Repository, w.desc.Digest)
	var err error
	// Content that does not hash is asked for once more: a cache on the way may
	// have been at fault.
	for range 2 {
		r := &download{ctx: ctx, repo: w.repo, desc: w.desc, progress: p.c.o.Progress}
		err = p.dst.Push(ctx, w.desc, r)
		r.close()
		var corrupt *layout.CorruptError
		if !errors.As(err, &corrupt) {
			break
		}
		p.c.o.Progress.Advance(phaseFetching, -r.n)
	}
	return explain("fetch", what, remoteFault(err))
}

// download reads a blob, and goes on where a connection broke off.
type download struct {
	ctx      context.Context // of the one transfer that this is
	repo     *remote.Repository
	desc     ocispec.Descriptor
	progress layout.Progress

	rc     io.ReadCloser
	n      int64 // bytes handed out
	failed int   // connections since bytes last came
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.rc == nil {
			if err := again(d.ctx, d.open); err != nil {
				return 0, err
			}
		}
		n, err := d.rc.Read(p)
		d.n += int64(n)
		d.progress.Advance(phaseFetching, int64(n))
		if n > 0 {
			d.failed = 0
		}
		// An early end is a broken connection where the length was not known.
		if err == io.EOF && d.n < d.desc.Size {
			err = io.ErrUnexpectedEOF
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		d.close()
		if d.failed++; d.failed >= transferAttempts || d.ctx.Err() != nil || !brokenConnection(err) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// open begins the transfer at the byte that is wanted next.
func (d *download) open() error {
	rc, err := d.repo.Blobs().Fetch(d.ctx, d.desc)
	if err != nil || d.n == 0 {
		d.rc = rc
		return err
	}
	if s, ok := rc.(io.Seeker); ok {
		_, err = s.Seek(d.n, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, rc, d.n)
	}
	if err != nil {
		rc.Close()
		return err
	}
	d.rc = rc
	return nil
}

func (d *download) close() {
	if d.rc != nil {
		d.rc.Close()
		d.rc = nil
	}
}
