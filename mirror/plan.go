package mirror

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/layout"
)

// MaxPlanned bounds the manifests and blobs of all artifacts of a plan, and what of them is
// left out or belongs to others, each counted for each of them: thousands of names for
// one manifest of thousands of blobs fit into a small file, and each is asked for.
const MaxPlanned = 3_000_000

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

	planned int // manifests and blobs, for each artifact
	// Artifacts are the targets and what is there of each.
	Artifacts []*Planned
}

// Planned is the part of a [Plan] for one artifact.
type Planned struct {
	Target
	Tag      TagState      // TagNew or TagSame by the manifest, where the target has no tag
	Existing digest.Digest // what the tag names, where it is TagMoved

	repo *repository
	*gathered
	present []bool // by manifest: the registry has it

	// Tags of cosign's hang on the artifacts of their repository that have what they
	// belong to.
	companions, subjects []*Planned
}

// gathered is what an artifact leads to, whatever its name.
type gathered struct {
	manifests []*ocispec.Descriptor  // what has to be there before the tag is set, children before parents
	blobs     []digest.Digest        // each once
	sizes     []int64                // of the blobs
	referrers []referrer             // those among the manifests that refer to others
	untagged  map[digest.Digest]bool // those that refer to what has a longer digest than a tag may
	absent    layout.Absent          // what of it is left out
}

// referrer is a manifest and what it refers to.
type referrer struct {
	ocispec.Descriptor
	subject digest.Digest
}

// repository is a repository at the destination, and what is known of it.
type repository struct {
	*remote.Repository
	// The registry does not know the repository, and none of the first blobs is
	// there: the others were not asked for.
	unknown bool

	mu    sync.Mutex
	blobs map[digest.Digest]*blobState

	fallbacks sync.Mutex // held by who reads a fallback tag and sets it again
}

// blobState is a blob in one repository.
type blobState struct {
	size     int64
	asked    bool // present is what the registry said
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
// that its children are (oras-go#1212). Only of a repository that the registry does
// not know are the rest taken to be missing if the first blobs are.
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
	g := newGatherer(src)
	if err := g.bySubject(ctx, o.Referrers); err != nil {
		return nil, err
	}
	for _, t := range targets {
		a := &Planned{Target: t}
		p.Artifacts = append(p.Artifacts, a)
		if err := p.gather(ctx, a, g); err != nil {
			return nil, err
		}
	}
	if err := p.orphans(o.Referrers); err != nil {
		return nil, err
	}
	if err := p.link(); err != nil {
		return nil, err
	}
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
//
// Error: [layout.ClassLimit] over [MaxPlanned].
func (p *Plan) link() error {
	type place struct {
		repo   *repository
		digest digest.Digest
	}
	holders := map[place][]*Planned{} // of what something belongs to
	for _, a := range p.Artifacts {
		if d := layout.CosignSubject(a.Reference.Tag); d != "" {
			holders[place{a.repo, d}] = nil
		}
	}
	if len(holders) == 0 {
		return nil
	}
	for _, a := range p.Artifacts {
		for _, m := range a.manifests {
			k := place{a.repo, m.Digest}
			if list, ok := holders[k]; ok {
				holders[k] = append(list, a)
			}
		}
	}
	for _, a := range p.Artifacts {
		for _, s := range holders[place{a.repo, layout.CosignSubject(a.Reference.Tag)}] {
			if s == a {
				continue
			}
			if err := p.count(1); err != nil {
				return err
			}
			a.subjects = append(a.subjects, s)
			s.companions = append(s.companions, a)
		}
	}
	return nil
}

// count adds to what is planned.
func (p *Plan) count(n int) error {
	if p.planned += n; p.planned > MaxPlanned {
		return layout.Errorf(layout.ClassLimit, "the artifacts have more than %d manifests and blobs, each counted for each of them: mirror fewer at once", MaxPlanned)
	}
	return nil
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
