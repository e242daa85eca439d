package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/layout"
)

// PlanOptions are the options of [Client.Plan]. nil stands for the defaults.
type PlanOptions struct {
	Jobs  int  // requests and transfers at once; 0 means DefaultJobs
	Force bool // let tags that name something else be moved
}

// TagState is what a tag at the destination names before anything is sent.
type TagState string

// The states of a tag.
const (
	TagNew   TagState = "new"   // the tag is not there
	TagSame  TagState = "same"  // it names this artifact already
	TagMoved TagState = "moved" // it names something else
)

// Plan is what a push would do. It is made without sending anything.
type Plan struct {
	client *Client
	src    layout.Source
	jobs   int
	force  bool
	repos  map[string]*repository
	// Artifacts are the targets and what is there of each.
	Artifacts []*Planned
}

// Planned is the part of a [Plan] for one artifact.
type Planned struct {
	Target
	Tag      TagState      // TagNew or TagSame by the manifest, where the target has no tag
	Existing digest.Digest // what the tag names, where it is TagMoved

	repo      *repository
	manifests []ocispec.Descriptor // children before parents; the root is last
	present   []bool               // by manifest: the registry has it
	blobs     []digest.Digest      // each once
}

// repository is a repository at the destination, and what is known of it.
type repository struct {
	*remote.Repository
	mu    sync.Mutex
	blobs map[digest.Digest]*blobState
}

// blobState is a blob in one repository.
type blobState struct {
	size    int64
	present bool
}

func (r *repository) has(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.blobs[d]
	return b != nil && b.present
}

func (r *repository) set(d digest.Digest, present bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[d].present = present
}

// Plan finds out what is missing at the destination. Every blob of every artifact
// is asked for, also below manifests that are there: a manifest does not prove
// that its children are (oras-go#1212).
//
// Errors: those of src, and [layout.ClassRemote].
func (c *Client) Plan(ctx context.Context, src layout.Source, targets []Target, o *PlanOptions) (*Plan, error) {
	if o == nil {
		o = &PlanOptions{}
	}
	p := &Plan{client: c, src: src, jobs: o.Jobs, force: o.Force, repos: map[string]*repository{}}
	if p.jobs <= 0 {
		p.jobs = DefaultJobs
	}
	for _, t := range targets {
		a := &Planned{Target: t}
		p.Artifacts = append(p.Artifacts, a)
		if err := p.gather(ctx, a); err != nil {
			return nil, err
		}
	}
	return p, p.ask(ctx)
}

// gather walks one artifact.
func (p *Plan) gather(ctx context.Context, a *Planned) error {
	name := a.Reference.Name()
	if a.repo = p.repos[name]; a.repo == nil {
		repo, err := p.client.repository(ctx, a.Reference.Registry, a.Reference.Repository)
		if err != nil {
			return err
		}
		a.repo = &repository{Repository: repo, blobs: map[digest.Digest]*blobState{}}
		p.repos[name] = a.repo
	}
	seen := map[digest.Digest]bool{}
	err := layout.Walk(ctx, p.src, a.Descriptor, func(n layout.Node) error {
		switch {
		case n.Kind == layout.KindManifest:
			a.manifests = append(a.manifests, ocispec.Descriptor{MediaType: n.MediaType, Digest: n.Digest, Size: n.Size})
		case !seen[n.Digest]:
			seen[n.Digest] = true
			a.blobs = append(a.blobs, n.Digest)
			if a.repo.blobs[n.Digest] == nil {
				a.repo.blobs[n.Digest] = &blobState{size: n.Size}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", a.Source, err)
	}
	if len(a.manifests) == 0 {
		return layout.Errorf(layout.ClassMediaType, "%s is a %q, which no registry takes as an artifact", a.Source, a.Descriptor.MediaType)
	}
	a.order(ctx, p.src)
	return nil
}

// order puts children before their parents. The walk gave a parent before its
// children, but a manifest that two indexes share stands where the first had
// it, so reversing is not enough.
func (a *Planned) order(ctx context.Context, src layout.Source) {
	at := map[digest.Digest]ocispec.Descriptor{}
	for _, m := range a.manifests {
		at[m.Digest] = m
	}
	var ordered []ocispec.Descriptor
	var visit func(d ocispec.Descriptor)
	visit = func(d ocispec.Descriptor) {
		m, ok := at[d.Digest]
		if !ok {
			return
		}
		delete(at, d.Digest)
		if layout.IsIndex(m.MediaType) {
			// It was read and decoded a moment ago.
			if raw, err := layout.ReadAll(ctx, src, m); err == nil {
				if man, err := layout.DecodeManifest(m, raw); err == nil {
					for _, c := range man.Manifests {
						visit(c)
					}
				}
			}
		}
		ordered = append(ordered, m)
	}
	visit(a.Descriptor)
	a.manifests = ordered
	a.present = make([]bool, len(ordered))
}

// ask sends the requests: one for each tag, manifest and blob.
func (p *Plan) ask(ctx context.Context) error {
	const phase = "comparing"
	progress := p.client.o.Progress
	progress.Start(phase, -1)
	defer progress.Finish(phase)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.jobs)
	for _, a := range p.Artifacts {
		g.Go(func() error { return explain("look up", a.Reference.String(), a.askManifests(ctx)) })
	}
	for _, r := range p.repos {
		for d, b := range r.blobs {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error {
				ok, err := r.Blobs().Exists(ctx, ocispec.Descriptor{Digest: d, Size: b.size})
				if err != nil {
					return explain("look up", fmt.Sprintf("%s/%s@%s", r.Reference.Registry, r.Reference.Repository, d), err)
				}
				b.present = ok
				return nil
			})
		}
	}
	return g.Wait()
}

func (a *Planned) askManifests(ctx context.Context) error {
	root := len(a.manifests) - 1
	a.Tag = TagNew
	if a.Reference.Tag != "" {
		d, err := a.repo.Manifests().Resolve(ctx, a.Reference.Tag)
		switch {
		case errors.Is(err, layout.ErrNotFound):
		case err != nil:
			return err
		case d.Digest == a.Descriptor.Digest:
			a.Tag, a.present[root] = TagSame, true
		default:
			a.Tag, a.Existing = TagMoved, d.Digest
		}
	}
	for i, m := range a.manifests {
		if a.present[i] || i == root && a.Reference.Tag != "" {
			continue // the tag's answer told, or the push of the tag will bring it
		}
		ok, err := a.repo.Manifests().Exists(ctx, m)
		if err != nil {
			return err
		}
		a.present[i] = ok
	}
	if a.Reference.Tag == "" && a.present[root] {
		a.Tag = TagSame
	}
	return nil
}

// Conflicts lists the tags that name something else and would have to be moved.
func (p *Plan) Conflicts() []*Planned {
	var out []*Planned
	for _, a := range p.Artifacts {
		if a.Tag == TagMoved {
			out = append(out, a)
		}
	}
	return out
}

// Missing counts the blobs that an artifact's repository lacks, and their bytes.
func (a *Planned) Missing() (blobs int, bytes int64) {
	for _, d := range a.blobs {
		if b := a.repo.blobs[d]; !b.present {
			blobs++
			bytes += b.size
		}
	}
	return blobs, bytes
}

// Blobs counts the blobs of an artifact, each once.
func (a *Planned) Blobs() int { return len(a.blobs) }

// Done reports whether nothing of the artifact has to be sent.
func (a *Planned) Done() bool {
	for _, ok := range a.present {
		if !ok {
			return false
		}
	}
	missing, _ := a.Missing()
	return a.Tag == TagSame && missing == 0
}

// ToSend is the number of blobs and bytes that have to be uploaded: those that
// no repository of this plan has.
func (p *Plan) ToSend() (blobs int, bytes int64) {
	there := map[digest.Digest]bool{}
	sizes := map[digest.Digest]int64{}
	for _, r := range p.repos {
		for d, b := range r.blobs {
			there[d] = there[d] || b.present
			sizes[d] = b.size
		}
	}
	for d, ok := range there {
		if !ok {
			blobs++
			bytes += sizes[d]
		}
	}
	return blobs, bytes
}
