package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

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

// MaxManifestBytes bounds the manifests that are fetched of one artifact and of what refers
// to it, in bytes, each counted with at least four kilobytes: indexes can name manifests
// without end, and no size tells before they are there. Ten thousand images have a tenth of
// it.
const MaxManifestBytes = 1 << 30

// leastManifest is what a manifest counts at least, in bytes: small ones cost a request
// and a file each.
const leastManifest = 4 << 10

const phaseFetching = "fetching"

// PullOptions are the options of [Client.Resolve]. nil stands for the defaults.
type PullOptions struct {
	Jobs int // blobs that are fetched at once; 0 means DefaultJobs
	// NoReferrers leaves what refers to an artifact, such as its signatures.
	NoReferrers bool
	// Platforms, where there are any, are those that are fetched; see
	// [layout.Select].
	Platforms []ocispec.Platform
	// AllowNondistributable goes on without layers that are not to be distributed
	// and that the registry does not have.
	AllowNondistributable bool
}

// Pulled is artifacts whose manifests have been fetched. Their blobs are brought by
// [Pulled.Fetch].
type Pulled struct {
	// Entries are the artifacts, in the order of the references, each named by
	// its reference.
	Entries []ocispec.Descriptor
	// Selections say what of the artifacts is fetched, in the same order.
	Selections []layout.Selection
	// Referrers are what refers to them, each once: entries without a name, and
	// what cosign keeps under tags of its own with the name of that tag.
	Referrers []ocispec.Descriptor
	// Absent is what they lead to and is not fetched.
	Absent layout.Absent

	// What [Pulled.Fetch] did; manifests are not counted.
	Fetched int64 // blobs that came from the registries
	Bytes   int64 // in them
	Reused  int64 // blobs that were there

	p    *puller
	jobs int
	todo []*wanted // in the order in which a bundle has them
}

// Resolve asks what the references name, each once, and brings the manifests of
// the artifacts into dst, and those of what refers to them. What is named now is
// what is fetched later.
//
// Errors: [layout.ClassRemote] with the reference, [layout.ClassMissing] where there
// is nothing for the platforms, [layout.ClassPolicy] for a layer that is not to be
// distributed and that the registry does not have, and those of dst.
func (c *Client) Resolve(ctx context.Context, refs []layout.Reference, dst layout.Storage, o *PullOptions) (*Pulled, error) {
	if o == nil {
		o = &PullOptions{}
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	p := &puller{c: c, o: o, dst: dst, blobs: map[digest.Digest]*wanted{}}
	p.fetched.L = &p.mu
	artifacts := make([]*artifact, len(refs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i, ref := range refs {
		g.Go(func() error {
			artifacts[i] = &artifact{p: p, ref: ref}
			return explain("fetch", ref.String(), artifacts[i].resolve(gctx))
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &Pulled{Absent: layout.Absent{}, p: p, jobs: jobs}
	for _, a := range artifacts {
		out.Entries = append(out.Entries, a.entry)
		out.Selections = append(out.Selections, a.selection)
		out.Referrers = append(out.Referrers, a.referrers...)
		if a.selection.Of == nil {
			maps.Copy(out.Absent, a.selection.Absent)
		}
	}
	out.Referrers = unique(out.Referrers)
	out.todo = inOrder(artifacts)
	return out, p.withheld(ctx, out)
}

// inOrder lists the blobs as a bundle has them, so that a bundle that is written
// meanwhile need not wait: configs first, and artifacts by their names. What refers to
// the artifacts comes before them all: by signatures it may be refused to write any.
func inOrder(artifacts []*artifact) []*wanted {
	sorted := slices.Clone(artifacts)
	slices.SortStableFunc(sorted, func(a, b *artifact) int {
		return cmp.Compare(layout.EntryName(a.entry), layout.EntryName(b.entry))
	})
	var early, configs, others []*wanted
	for _, a := range sorted {
		for _, w := range a.tree {
			switch {
			case w.early:
				early = append(early, w)
			case w.config:
				configs = append(configs, w)
			default:
				others = append(others, w)
			}
		}
	}
	return slices.Concat(early, configs, others)
}

// Pull is [Client.Resolve] and [Pulled.Fetch]. What dst has is hashed, and fetched
// again if it is damaged.
func (c *Client) Pull(ctx context.Context, refs []layout.Reference, dst layout.Storage, o *PullOptions) (*Pulled, error) {
	out, err := c.Resolve(ctx, refs, dst, o)
	if err != nil {
		return nil, err
	}
	return out, out.Fetch(ctx, nil)
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

	mu      sync.Mutex
	fetched sync.Cond // some blob is done
	blobs   map[digest.Digest]*wanted
}

// wanted is a blob and a repository that has it. There may be a million of them.
type wanted struct {
	digest digest.Digest
	size   int64
	repo   *remote.Repository
	others []*remote.Repository // more that may have a layer which is not to be distributed
	config bool
	early  bool // it is of a referrer, and may be a signature that decides about all
	// nondistributable says that no mention of it is of a type that a registry has to
	// have.
	nondistributable bool
	done             bool // it is in dst
	fetched          bool // it was not there before
}

func (w *wanted) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: w.digest, Size: w.size}
}

// artifact is one reference on its way.
type artifact struct {
	p    *puller
	ref  layout.Reference
	repo *remote.Repository
	src  *manifestSource

	selection layout.Selection
	entry     ocispec.Descriptor
	tree      []*wanted            // blobs that no other artifact wanted before
	referrers []ocispec.Descriptor // entries of what refers to it
	early     bool                 // what is wanted now is of these
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
	a.src = &manifestSource{repo: a.repo, dst: a.p.dst, room: MaxManifestBytes}
	if a.selection, err = layout.Select(ctx, a.src, named, a.p.o.Platforms); err != nil {
		return err
	}
	root := &a.selection.Root
	r := &referrers{a: a, asked: map[digest.Digest]bool{}, seen: map[digest.Digest]bool{}, taken: map[found]bool{}}
	err = a.walk(ctx, layout.WithAbsent(a.src, a.selection.Absent), *root, func(n layout.Node) {
		r.subject(n.Descriptor)
		if n.Digest == root.Digest {
			root.ArtifactType = n.Manifest.ArtifactType
		}
	})
	if err != nil {
		return err
	}
	var uncovered []digest.Digest
	if !a.p.o.NoReferrers {
		a.early = true
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
	w := layout.Walker{Source: src, Fault: missingPlatform}
	w.Visit = func(n layout.Node) error {
		if n.Kind != layout.KindManifest {
			return nil
		}
		visit(n)
		// Of the mentions of a blob a walk comes to the first, and any may be the one
		// that says what it is.
		for _, c := range n.Manifest.Children() {
			if c.Kind == layout.KindManifest {
				continue
			}
			if err := a.want(c); err != nil {
				return err
			}
		}
		return nil
	}
	return w.Walk(ctx, root)
}

// want notes a mention of a blob.
func (a *artifact) want(c layout.Child) error {
	withheld := c.Kind == layout.KindBlob && layout.IsNondistributable(c.MediaType)
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	b := a.p.blobs[c.Digest]
	if b == nil {
		b = &wanted{digest: c.Digest, size: c.Size, repo: a.repo, nondistributable: true}
		a.p.blobs[c.Digest] = b
		a.tree = append(a.tree, b)
	} else if withheld && b.repo != a.repo && !slices.Contains(b.others, a.repo) {
		b.others = append(b.others, a.repo)
	}
	if b.size != c.Size {
		return layout.Errorf(layout.ClassSize, "%s is listed with %d and with %d bytes", c.Digest, b.size, c.Size)
	}
	b.config = b.config || c.Kind == layout.KindConfig
	b.early = b.early || a.early
	b.nondistributable = b.nondistributable && withheld
	return nil
}

// missingPlatform names the remedy where a registry has an index without all of its
// manifests.
func missingPlatform(d ocispec.Descriptor, err error) error {
	if p := layout.FormatPlatform(d.Platform); p != "" && errors.Is(err, layout.ErrNotFound) {
		return fmt.Errorf("%w (the index lists it for %s; --platform takes what is there for others)", err, p)
	}
	return err
}

// root asks what a reference names, and keeps the manifest that was the answer.
func (p *puller) root(ctx context.Context, repo *remote.Repository, ref layout.Reference) (ocispec.Descriptor, error) {
	what := ref.Tag
	if what == "" {
		what = ref.Digest.String()
	}
	var root ocispec.Descriptor
	fetch := func() error {
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
	}
	err := againIfCorrupt(func() error { return again(ctx, fetch) })
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

// manifestSource gives the manifests of an artifact, and configs where they are asked
// for, and keeps them in dst.
type manifestSource struct {
	repo *remote.Repository
	dst  layout.Storage
	room int64 // for what is not in dst, in bytes
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
		if s.room -= max(d.Size, leastManifest); s.room < 0 {
			return nil, layout.Errorf(layout.ClassLimit, "its manifests have more than %d bytes: take parts of it by their digests", MaxManifestBytes)
		}
		store := s.repo.Blobs()
		if layout.IsManifest(d.MediaType) {
			store = s.repo.Manifests()
		}
		fetch := func() error {
			rc, err := store.Fetch(ctx, d)
			if err != nil {
				return err
			}
			defer rc.Close()
			return remoteFault(s.dst.Push(ctx, d, body{rc}))
		}
		err := againIfCorrupt(func() error { return again(ctx, fetch) })
		if err != nil {
			return nil, err
		}
	}
	return s.dst.Fetch(ctx, d)
}
