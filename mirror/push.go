package mirror

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/airdeck/airdeck/layout"
)

const phaseSending = "sending"

// Status is what became of an artifact.
type Status string

// The statuses of an artifact.
const (
	StatusPushed  Status = "pushed"
	StatusPresent Status = "present" // all of it was there
	StatusFailed  Status = "failed"
	StatusDamaged Status = "damaged" // left out: the bundle does not have all of it
	StatusEqual   Status = "equal"   // compared: all of it came back
	StatusDiffers Status = "differs" // compared: something did not
)

// Report says what a push did.
type Report struct {
	Artifacts []*ArtifactReport `json:"artifacts"`
	Uploaded  int               `json:"uploaded"` // blobs
	Bytes     int64             `json:"bytes"`    // in them
	Mounted   int               `json:"mounted"`  // blobs that the registry took from another repository
	Manifests int               `json:"manifests"`
}

// ArtifactReport says what became of one artifact.
type ArtifactReport struct {
	Source   string        `json:"source"`
	Target   string        `json:"target,omitempty"` // none where it was left out
	Digest   digest.Digest `json:"digest"`
	Status   Status        `json:"status"`
	Replaced digest.Digest `json:"replaced,omitempty"` // what the tag named before
	Fidelity *Fidelity     `json:"fidelity,omitempty"` // what was read back; nil where it failed before
	// Absent are the manifests and layers that the bundle leaves out.
	Absent []digest.Digest `json:"absent,omitempty"`
	// PlatformOf is the index of which the artifact is one platform, and Uncovered
	// what belongs to that index, such as its signatures: it does not cover what is
	// here.
	PlatformOf digest.Digest   `json:"platformOf,omitempty"`
	Uncovered  []digest.Digest `json:"uncovered,omitempty"`
	Error      string          `json:"error,omitempty"`
	err        error
}

func newArtifactReport(a *Planned, s Status) *ArtifactReport {
	rep := &ArtifactReport{Source: a.Source, Target: a.Reference.String(), Digest: a.Descriptor.Digest, Status: s, Absent: a.Absent()}
	rep.PlatformOf, rep.Uncovered = layout.PlatformOf(a.Descriptor)
	return rep
}

func (rep *ArtifactReport) fail(op string, err error) {
	rep.Status, rep.err = StatusFailed, explain(op, rep.Target, err)
	rep.Error = rep.err.Error()
}

// Err is nil if every artifact is at the destination, [layout.ErrPartial] if
// some are or anything was lost on the way, and the first artifact's error if
// none is.
func (r *Report) Err() error {
	var (
		first     error
		lost      *lostError
		dependent *dependentError
	)
	for _, a := range r.Artifacts {
		if a.err != nil {
			// What failed by itself tells more than what failed with it.
			if first == nil || errors.As(first, &dependent) {
				first = a.err
			}
			errors.As(a.err, &lost)
		}
	}
	failed := r.failed()
	switch {
	case failed == 0:
		return nil
	case failed < len(r.Artifacts) || lost != nil:
		return fmt.Errorf("%w: %d of %d failed: %w", layout.ErrPartial, failed, len(r.Artifacts), first)
	}
	return first
}

// LeaveOut notes an artifact that was not sent because the bundle has it damaged.
func (r *Report) LeaveOut(source string, d, damaged digest.Digest) {
	err := layout.Errorf(layout.ClassDigest, "not sent: it is not whole in the bundle, because of %s", damaged)
	r.Artifacts = append(r.Artifacts, &ArtifactReport{
		Source: cmp.Or(source, d.String()), Digest: d, Status: StatusDamaged, Error: err.Error(), err: err,
	})
}

func (r *Report) failed() int {
	n := 0
	for _, a := range r.Artifacts {
		if a.err != nil {
			n++
		}
	}
	return n
}

// pusher is one run of a plan.
type pusher struct {
	*Plan
	slots chan struct{} // transfers at once

	readOnly bool // nothing is sent

	mu      sync.Mutex
	report  Report
	locks   map[digest.Digest]*sync.Mutex
	holders map[holder]string // the name of a repository
}

// Push sends what is missing. Within an artifact, blobs come before manifests,
// children before parents, then what refers to them, tags of cosign's among it, and
// the tag last, so that a tag never names something incomplete. An artifact that
// fails does not keep others from being sent.
//
// The Report is never nil. The error is [layout.ErrConflict], with every tag that
// names something else, if there are any and the plan was made without Force:
// then nothing was sent. Otherwise it is that of [Report.Err], or of ctx.
func (p *Plan) Push(ctx context.Context) (*Report, error) {
	if err := p.Refused(); err != nil {
		return &Report{Artifacts: []*ArtifactReport{}}, err
	}
	r := &pusher{Plan: p, slots: make(chan struct{}, p.jobs), locks: map[digest.Digest]*sync.Mutex{}, holders: map[holder]string{}}
	for _, repo := range p.repos {
		for d, b := range repo.blobs {
			if b.present && p.shared[d] {
				r.holders[holder{repo.Reference.Registry, d}] = repo.Reference.Repository
			}
		}
	}
	rows := map[*Planned]*ArtifactReport{}
	for _, a := range p.Artifacts {
		rows[a] = newArtifactReport(a, StatusPresent)
		rows[a].Replaced = a.Existing
		r.report.Artifacts = append(r.report.Artifacts, rows[a])
	}
	_, total := p.ToSend()
	p.client.o.Progress.Start(phaseSending, total)
	defer p.client.o.Progress.Finish(phaseSending)
	var g errgroup.Group
	g.SetLimit(p.jobs)
	for _, group := range p.groups() {
		g.Go(func() error {
			r.group(ctx, group, rows)
			return nil
		})
	}
	_ = g.Wait() // the errors are in the report
	if ctx.Err() != nil {
		return &r.report, context.Cause(ctx)
	}
	return &r.report, r.report.Err()
}

// Refused is the error with which Push would send nothing: [layout.ErrConflict],
// with every tag that names something else, unless the plan was made with Force.
func (p *Plan) Refused() error {
	if p.force {
		return nil
	}
	var lines []string
	for _, a := range p.Conflicts() {
		lines = append(lines, fmt.Sprintf("%s names %s, not %s", a.Reference, a.Existing, a.Descriptor.Digest))
	}
	if len(lines) == 0 {
		return nil
	}
	return layout.Errorf(layout.ClassPolicy, "%w: %s; nothing is sent (--force moves tags)", layout.ErrConflict, strings.Join(lines, "; "))
}

// group sends artifacts that hang together: what they consist of in their order,
// and then the tags, those of companions before those of their subjects.
func (r *pusher) group(ctx context.Context, group []*Planned, rows map[*Planned]*ArtifactReport) {
	for _, a := range group {
		rep := rows[a]
		if !a.Done() {
			rep.Status = StatusPushed
		}
		for _, s := range a.subjects {
			if rows[s].err != nil {
				rep.fail("push", &dependentError{"what it belongs to was not pushed: " + rows[s].Target})
			}
		}
		if rep.err == nil {
			if err := r.content(ctx, a); err != nil {
				rep.fail("push", err)
			}
		}
	}
	for _, a := range slices.Backward(group) {
		rep := rows[a]
		if rep.err != nil {
			continue
		}
		err := r.tag(ctx, a, rows)
		if err == nil {
			err = r.settle(ctx, a, rep)
		}
		if err == nil {
			rep.Fidelity.companions(len(a.companions), len(a.companions))
		} else {
			rep.fail("push", err)
		}
	}
}

// dependentError says that something failed because of something else.
type dependentError struct{ text string }

func (e *dependentError) Error() string { return e.text }

// scoped asks for one token for all requests of an artifact.
func scoped(ctx context.Context, a *Planned) context.Context {
	return auth.AppendRepositoryScope(ctx, a.repo.Reference, auth.ActionPull, auth.ActionPush)
}

// content sends the blobs and manifests of an artifact, and what refers to them.
func (r *pusher) content(ctx context.Context, a *Planned) error {
	if a.Done() {
		return nil
	}
	ctx = scoped(ctx, a)
	if err := r.blobs(ctx, a, a.blobs, false); err != nil {
		return err
	}
	for i, m := range a.manifests {
		if !a.present[i] && (m.Digest != a.Descriptor.Digest || !a.tagBrings()) {
			if err := r.manifest(ctx, a, *m, m.Digest.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// tag sets the tag of an artifact, if all that hangs on it is there.
func (r *pusher) tag(ctx context.Context, a *Planned, rows map[*Planned]*ArtifactReport) error {
	for _, c := range a.companions {
		if rows[c].err != nil && !slices.Contains(a.subjects, c) {
			return &dependentError{"what cosign keeps beside it was not pushed: " + rows[c].Target}
		}
	}
	if a.Reference.Tag == "" || a.Tag == TagSame {
		return nil
	}
	ctx = scoped(ctx, a)
	if a.hadReferrers() {
		// The run that sent them may have ended before the fallback tag listed them.
		if err := r.confirmReferrers(ctx, a, &Fidelity{Found: map[string]int{}}); err != nil {
			return err
		}
	}
	if err := r.stillFree(ctx, a); err != nil {
		return err
	}
	return r.manifest(ctx, a, a.Descriptor, a.Reference.Tag)
}

// hadReferrers reports whether the registry had manifests that refer to others before
// anything was sent.
func (a *Planned) hadReferrers() bool {
	there := map[digest.Digest]bool{}
	for i, m := range a.manifests {
		there[m.Digest] = a.present[i]
	}
	return slices.ContainsFunc(a.referrers, func(o referrer) bool { return there[o.Digest] })
}

// stillFree looks at a tag once more: the uploads may have taken hours. Between
// this and the push somebody may still set it; the protocol has no condition for
// that.
func (r *pusher) stillFree(ctx context.Context, a *Planned) error {
	if r.force {
		return nil
	}
	d, err := a.repo.Manifests().Resolve(ctx, a.Reference.Tag)
	switch {
	case errors.Is(err, layout.ErrNotFound):
		return nil
	case err != nil:
		return err
	case d.Digest != a.Descriptor.Digest:
		return layout.Errorf(layout.ClassPolicy, "%w: it has come to name %s meanwhile (--force moves tags)", layout.ErrConflict, d.Digest)
	}
	return nil
}

// manifest pushes a manifest under its digest or a tag. A registry that misses a
// blob or a child which it claimed to have gets all of them again, once.
func (r *pusher) manifest(ctx context.Context, a *Planned, m ocispec.Descriptor, reference string) error {
	raw, err := layout.ReadAll(ctx, r.src, m)
	if err != nil {
		return err
	}
	put := func() error {
		if a.untagged[m.Digest] {
			return r.putReferrer(ctx, a, m, raw, reference)
		}
		return a.repo.PushReference(ctx, m, bytes.NewReader(raw), reference)
	}
	if err = put(); err != nil && missesContent(err) {
		complete, sent, cerr := r.children(ctx, a, m, raw)
		if cerr != nil {
			return cerr
		}
		if sent {
			err = put()
		}
		if err != nil && missesContent(err) && !complete {
			return layout.Errorf(layout.ClassRemote, "manifest %s is carried in part, and the registry takes it whole or not at all: pack all platforms or a single one, and every layer, or have the registry allow it: %w", m.Digest, err)
		}
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w%s", m.Digest, err, manifestHint(m, raw))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Manifests++
	return nil
}

// manifestHint says why a registry may not take a manifest of its kind.
func manifestHint(m ocispec.Descriptor, raw []byte) string {
	if m.Digest.Algorithm() != digest.SHA256 {
		return " (many registries keep sha256 digests only)"
	}
	man, err := layout.DecodeManifest(m, raw)
	if err != nil {
		return ""
	}
	for _, l := range man.Layers {
		if layout.IsNondistributable(l.MediaType) {
			return " (it has layers that are not to be distributed: the registry may have to allow their addresses)"
		}
	}
	return ""
}

// missesContent reports whether a registry refused a manifest for lack of what
// it names. Registries say so in different words and statuses.
func missesContent(err error) bool {
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) && isCode(resp.Errors, errcode.ErrorCodeDigestInvalid, errcode.ErrorCodeManifestInvalid, errcode.ErrorCodeSizeInvalid, errcode.ErrorCodeNameInvalid) {
		return false
	}
	return errors.As(err, &resp) && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest ||
		isCode(resp.Errors, errcode.ErrorCodeManifestBlobUnknown, errcode.ErrorCodeBlobUnknown, errcode.ErrorCodeManifestUnknown))
}

// children pushes what a manifest names, whatever the registry says of having
// it, but for blobs that it took in this run. complete is false where something of
// it is left out, and sent where something was pushed.
func (r *pusher) children(ctx context.Context, a *Planned, m ocispec.Descriptor, raw []byte) (complete, sent bool, err error) {
	man, err := layout.DecodeManifest(m, raw)
	if err != nil {
		return false, false, err
	}
	var blobs []digest.Digest
	seen := map[digest.Digest]bool{}
	complete = true
	for _, c := range man.Children() {
		if _, out := a.absent[c.Digest]; out && layout.MayBeAbsent(m, c) {
			complete = false
			continue
		}
		if c.Kind == layout.KindManifest {
			if err := r.manifest(ctx, a, ocispec.Descriptor{MediaType: c.MediaType, Digest: c.Digest, Size: c.Size}, c.Digest.String()); err != nil {
				return false, false, err
			}
			sent = true
		} else if !seen[c.Digest] && !a.repo.tookNow(c.Digest) {
			seen[c.Digest] = true
			blobs = append(blobs, c.Digest)
		}
	}
	return complete, sent || len(blobs) > 0, r.blobs(ctx, a, blobs, true)
}
