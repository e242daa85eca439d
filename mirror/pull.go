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
}

// Pulled says what a pull brought.
type Pulled struct {
	// Entries are the artifacts, in the order of the references, each named by
	// its reference.
	Entries []ocispec.Descriptor
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
// Errors: [layout.ClassRemote] with the reference, and those of dst.
func (c *Client) Pull(ctx context.Context, refs []layout.Reference, dst layout.Storage, o *PullOptions) (*Pulled, error) {
	if o == nil {
		o = &PullOptions{}
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	p := &puller{c: c, dst: dst, blobs: map[digest.Digest]*wanted{}}
	out := &Pulled{Entries: make([]ocispec.Descriptor, len(refs))}
	trees := make([][]*wanted, len(refs))
	found := make([][]ocispec.Descriptor, len(refs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i, ref := range refs {
		g.Go(func() error {
			root, err := p.resolve(gctx, ref, o, &trees[i], &found[i])
			out.Entries[i] = layout.Named(root, entryName(ref))
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
	dst layout.Storage

	mu    sync.Mutex
	blobs map[digest.Digest]*wanted
}

// wanted is a blob and a repository that has it.
type wanted struct {
	desc ocispec.Descriptor
	repo *remote.Repository
}

// resolve fetches the manifests of one artifact and of what refers to it, and adds
// to tree the blobs that no other artifact wanted before.
func (p *puller) resolve(ctx context.Context, ref layout.Reference, o *PullOptions, tree *[]*wanted, found *[]ocispec.Descriptor) (ocispec.Descriptor, error) {
	repo, err := p.c.repository(ctx, ref.Registry, ref.Repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	root, err := p.root(ctx, repo, ref)
	if err != nil {
		return root, err
	}
	r := &referrers{p: p, ref: ref, repo: repo, tree: tree, seen: map[digest.Digest]bool{}}
	err = p.walk(ctx, repo, root, tree, func(n layout.Node) {
		r.subjects = append(r.subjects, n.Descriptor)
		if n.Digest == root.Digest {
			root.ArtifactType = n.Manifest.ArtifactType
		}
	})
	if err != nil || o.NoReferrers {
		return root, err
	}
	*found, err = r.find(ctx)
	return root, err
}

// walk fetches the manifests below root, shows each of them, and notes the blobs.
func (p *puller) walk(ctx context.Context, repo *remote.Repository, root ocispec.Descriptor, tree *[]*wanted, visit func(layout.Node)) error {
	return layout.Walk(ctx, &manifestSource{repo, p.dst}, root, func(n layout.Node) error {
		if n.Kind == layout.KindManifest {
			visit(n)
			return nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.blobs[n.Digest] == nil {
			// Only what fetching needs is kept: there may be many.
			w := &wanted{ocispec.Descriptor{Digest: n.Digest, Size: n.Size}, repo}
			p.blobs[n.Digest] = w
			*tree = append(*tree, w)
		}
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

// manifestSource gives the manifests of a repository, and keeps them in dst.
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
		err := again(ctx, func() error {
			rc, err := s.repo.Manifests().Fetch(ctx, d)
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
				atomic.AddInt64(&out.Fetched, 1)
				atomic.AddInt64(&out.Bytes, w.desc.Size)
				return p.fetch(ctx, w)
			})
		}
	}
	return g.Wait()
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
