package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// Referrers are manifests that refer to the targets or to each other. Each
	// goes to every repository that its subject goes to.
	Referrers []ocispec.Descriptor
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
	shared map[digest.Digest]bool // blobs that several artifacts have
	// Artifacts are the targets and what is there of each.
	Artifacts []*Planned
}

// Planned is the part of a [Plan] for one artifact.
type Planned struct {
	Target
	Tag      TagState      // TagNew or TagSame by the manifest, where the target has no tag
	Existing digest.Digest // what the tag names, where it is TagMoved

	repo      *repository
	manifests []ocispec.Descriptor // what has to be there before the tag is set, children before parents
	present   []bool               // by manifest: the registry has it
	blobs     []digest.Digest      // each once
	referrers []referrer           // those among the manifests that refer to others
	absent    layout.Absent        // what of it is left out

	// Tags of cosign's hang on the artifacts of their repository that have what they
	// belong to.
	companions, subjects []*Planned
}

// referrer is a manifest and what it refers to.
type referrer struct {
	ocispec.Descriptor
	subject ocispec.Descriptor
}

// repository is a repository at the destination, and what is known of it.
type repository struct {
	*remote.Repository
	mu    sync.Mutex
	blobs map[digest.Digest]*blobState
}

// blobState is a blob in one repository.
type blobState struct {
	size     int64
	present  bool
	uploaded bool // by this run
}

func (r *repository) has(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.blobs[d]
	return b != nil && b.present
}

func (r *repository) took(d digest.Digest, uploaded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[d].present = true
	r.blobs[d].uploaded = uploaded
}

// tookNow reports whether this run has uploaded a blob to the repository.
func (r *repository) tookNow(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.blobs[d]
	return b != nil && b.uploaded
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
	attached, err := bySubject(ctx, src, o.Referrers)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		a := &Planned{Target: t}
		p.Artifacts = append(p.Artifacts, a)
		if err := p.gather(ctx, a, attached); err != nil {
			return nil, err
		}
	}
	if err := p.orphans(o.Referrers); err != nil {
		return nil, err
	}
	p.link()
	p.share()
	return p, p.ask(ctx)
}

// share finds the blobs that several artifacts have. Only of these is it noted who
// has them and who sends them: most have one user, and there may be a million.
func (p *Plan) share() {
	once := map[digest.Digest]bool{}
	p.shared = map[digest.Digest]bool{}
	for _, a := range p.Artifacts {
		for _, d := range a.blobs {
			if once[d] {
				p.shared[d] = true
			}
			once[d] = true
		}
	}
}

// link finds the companions.
func (p *Plan) link() {
	type place struct {
		repo   *repository
		digest digest.Digest
	}
	holders := map[place][]*Planned{}
	for _, a := range p.Artifacts {
		for _, m := range a.manifests {
			k := place{a.repo, m.Digest}
			holders[k] = append(holders[k], a)
		}
	}
	for _, a := range p.Artifacts {
		for _, s := range holders[place{a.repo, layout.CosignSubject(a.Reference.Tag)}] {
			if s != a {
				a.subjects = append(a.subjects, s)
				s.companions = append(s.companions, a)
			}
		}
	}
}

// groups gives the artifacts that hang together, each group in an order in which
// subjects stand before their companions.
func (p *Plan) groups() [][]*Planned {
	var out [][]*Planned
	seen := map[*Planned]bool{}
	var group []*Planned
	var gather func(a *Planned)
	gather = func(a *Planned) {
		if seen[a] {
			return
		}
		seen[a] = true
		for _, s := range a.subjects {
			gather(s)
		}
		group = append(group, a)
		for _, c := range a.companions {
			gather(c)
		}
	}
	for _, a := range p.Artifacts {
		if group = nil; !seen[a] {
			gather(a)
			out = append(out, group)
		}
	}
	return out
}

// bySubject reads what each referrer refers to.
func bySubject(ctx context.Context, src layout.Source, all []ocispec.Descriptor) (map[digest.Digest][]referrer, error) {
	out := map[digest.Digest][]referrer{}
	for _, d := range all {
		subject, err := layout.SubjectOf(ctx, src, d)
		if err != nil {
			return nil, err
		}
		if subject == nil {
			return nil, layout.Errorf(layout.ClassName, "the entry %s has no reference and refers to nothing: it does not say where it belongs", d.Digest)
		}
		out[subject.Digest] = append(out[subject.Digest], referrer{d, *subject})
	}
	return out, nil
}

// orphans finds referrers whose subject goes nowhere.
func (p *Plan) orphans(all []ocispec.Descriptor) error {
	placed := map[digest.Digest]bool{}
	for _, a := range p.Artifacts {
		for _, r := range a.referrers {
			placed[r.Digest] = true
		}
	}
	for _, d := range all {
		if !placed[d.Digest] {
			return layout.Errorf(layout.ClassMissing, "%s refers to a manifest that is not among the artifacts: it does not say where it belongs", d.Digest)
		}
	}
	return nil
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
	a.Tag = TagNew
	if a.Reference.Tag != "" {
		d, err := a.repo.Manifests().Resolve(ctx, a.Reference.Tag)
		switch {
		case errors.Is(err, layout.ErrNotFound):
		case err != nil:
			return err
		case d.Digest == a.Descriptor.Digest:
			a.Tag = TagSame
		default:
			a.Tag, a.Existing = TagMoved, d.Digest
		}
	}
	for i, m := range a.manifests {
		root := m.Digest == a.Descriptor.Digest
		if root && a.Tag == TagSame {
			a.present[i] = true // the tag's answer told
			continue
		}
		if root && a.tagBrings() {
			continue
		}
		ok, err := a.repo.Manifests().Exists(ctx, m)
		if err != nil {
			return err
		}
		a.present[i] = ok
		if root && ok && a.Reference.Tag == "" {
			a.Tag = TagSame
		}
	}
	return nil
}

// tagBrings reports whether the manifest of the tag is pushed by pushing the tag.
// Where something hangs on it, the manifest comes first, then what hangs on it,
// and then the tag.
func (a *Planned) tagBrings() bool {
	return a.Reference.Tag != "" && len(a.referrers) == 0 && len(a.companions) == 0
}

// Absent are the manifests and layers that the source leaves out, sorted.
func (a *Planned) Absent() []digest.Digest { return slices.Sorted(maps.Keys(a.absent)) }

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

// Missing lists the blobs that an artifact's repository lacks.
func (a *Planned) Missing() []digest.Digest {
	var out []digest.Digest
	for _, d := range a.blobs {
		if !a.repo.blobs[d].present {
			out = append(out, d)
		}
	}
	return out
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
	return a.Tag == TagSame && len(a.Missing()) == 0
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
