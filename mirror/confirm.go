package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/layout"
)

// Fidelity says what of an artifact was read back from the destination.
type Fidelity struct {
	Manifests int            `json:"manifests"`      // that came back with their digest
	Tag       bool           `json:"tag"`            // the tag names the artifact; also where the target has no tag
	Referrers int            `json:"referrers"`      // that were carried
	Found     map[string]int `json:"found"`          // referrers that the registry lists, by the way it does
	Lost      []string       `json:"lost,omitempty"` // what did not come back
}

// Text is the fidelity in a few words.
func (f *Fidelity) Text() string {
	n := 0
	var ways []string
	for _, way := range []string{ViaAPI, ViaTag, ViaCosign} {
		if f.Found[way] > 0 {
			n += f.Found[way]
			ways = append(ways, way)
		}
	}
	s := "digest and tag equal"
	if f.Referrers > 0 {
		s += fmt.Sprintf(", %d of %d referrers found by %s", n, f.Referrers, strings.Join(ways, " and "))
	}
	return s
}

// companions counts the tags of cosign's, which are read back on their own account.
func (f *Fidelity) companions(all, found int) {
	f.Referrers += all
	if found > 0 {
		f.Found[ViaCosign] = found
	}
}

// lostError says that a registry took something and does not give it back.
type lostError struct{ what []string }

func (e *lostError) Error() string {
	s := fmt.Sprintf("lost: %s", e.what[0])
	if n := len(e.what) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// settle reads back an artifact. What the registry said it had, and does not give, is
// sent once after all.
func (r *pusher) settle(ctx context.Context, a *Planned, rep *ArtifactReport) error {
	var err error
	rep.Fidelity, err = r.confirm(ctx, a, rep.Status == StatusPushed)
	var lost *lostError
	if !errors.As(err, &lost) || a.Tag != TagSame && !slices.Contains(a.present, true) {
		return err
	}
	ctx = scoped(ctx, a)
	rep.Status = StatusPushed
	for i, m := range a.manifests {
		if a.present[i] {
			if err := r.manifest(ctx, a, *m, m.Digest.String()); err != nil {
				return err
			}
		}
	}
	if a.Reference.Tag != "" && a.Tag == TagSame {
		if err := r.stillFree(ctx, a); err != nil {
			return err
		}
		if err := r.manifest(ctx, a, a.Descriptor, a.Reference.Tag); err != nil {
			return err
		}
	}
	rep.Fidelity, err = r.confirm(ctx, a, true)
	return err
}

// confirm reads back what a registry should have now. Only a referrer that is not
// listed is sent again: registries forget to list what they have. What was not
// sent now and comes back under its tag is not asked for by its digest as well.
func (r *pusher) confirm(ctx context.Context, a *Planned, sent bool) (*Fidelity, error) {
	f := &Fidelity{Referrers: len(a.referrers), Found: map[string]int{}, Tag: true}
	tagged := false
	if tag := a.Reference.Tag; tag != "" {
		named, err := r.names(ctx, a, sent)
		if err != nil {
			return f, fmt.Errorf("read back the tag: %w", err)
		}
		switch f.Tag = named == a.Descriptor.Digest; {
		case f.Tag:
		case named == "":
			f.Lost = append(f.Lost, "the tag "+tag)
		default:
			f.Lost = append(f.Lost, fmt.Sprintf("the tag %s, which names %s", tag, named))
		}
		tagged = f.Tag && !sent
	}
	for _, m := range a.manifests {
		if tagged && m.Digest == a.Descriptor.Digest {
			f.Manifests++
			continue
		}
		switch ok, err := comesBack(ctx, a.repo, *m); {
		case err != nil:
			return f, fmt.Errorf("read back %s: %w", m.Digest, err)
		case ok:
			f.Manifests++
		default:
			f.Lost = append(f.Lost, "manifest "+m.Digest.String())
		}
	}
	if err := r.confirmReferrers(ctx, a, f); err != nil {
		return f, err
	}
	if len(f.Lost) > 0 {
		return f, &lostError{f.Lost}
	}
	return f, nil
}

// names gives what the tag of an artifact names, or "". Where the manifest was sent
// it is read by its digest too, and the registry's word is enough here; otherwise
// its bytes are what counts.
func (r *pusher) names(ctx context.Context, a *Planned, sent bool) (named digest.Digest, err error) {
	if sent {
		d, err := a.repo.Manifests().Resolve(ctx, a.Reference.Tag)
		if errors.Is(err, layout.ErrNotFound) {
			return "", nil
		}
		return d.Digest, err
	}
	fetch := func() error {
		d, rc, err := a.repo.FetchReference(ctx, a.Reference.Tag)
		if err != nil {
			return err
		}
		defer rc.Close()
		named = d.Digest
		if d.Digest == a.Descriptor.Digest {
			_, err = io.Copy(io.Discard, layout.NewVerifier(body{rc}, a.Descriptor))
		}
		return err
	}
	err = againIfCorrupt(func() error { return again(ctx, fetch) })
	var corrupt *layout.CorruptError
	if errors.Is(err, layout.ErrNotFound) || errors.As(err, &corrupt) {
		return "", nil
	}
	return named, err
}

// comesBack reports whether a registry gives the bytes of a manifest.
func comesBack(ctx context.Context, repo *repository, m ocispec.Descriptor) (bool, error) {
	fetch := func() error {
		rc, err := repo.Manifests().Fetch(ctx, m)
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.Copy(io.Discard, layout.NewVerifier(body{rc}, m))
		return err
	}
	err := againIfCorrupt(func() error { return again(ctx, fetch) })
	var corrupt *layout.CorruptError
	if errors.Is(err, layout.ErrNotFound) || errors.As(err, &corrupt) {
		return false, nil
	}
	return err == nil, err
}

func (r *pusher) confirmReferrers(ctx context.Context, a *Planned, f *Fidelity) error {
	of := map[digest.Digest][]ocispec.Descriptor{}
	for _, o := range a.referrers {
		of[o.subject] = append(of[o.subject], o.Descriptor)
	}
	for _, first := range a.referrers {
		subject := ocispec.Descriptor{Digest: first.subject}
		mine := of[subject.Digest]
		if mine == nil {
			continue
		}
		delete(of, subject.Digest)
		list, err := listReferrers(ctx, r.client, a.Reference.Registry, a.Reference.Repository, subject)
		if err != nil {
			return fmt.Errorf("read back what refers to %s: %w", subject.Digest, err)
		}
		again := false
		for _, o := range mine {
			if list.via[o.Digest] == "" && !r.readOnly {
				again = true
				if err := r.manifest(ctx, a, o, o.Digest.String()); err != nil {
					return err
				}
			}
		}
		if again {
			if list, err = listReferrers(ctx, r.client, a.Reference.Registry, a.Reference.Repository, subject); err != nil {
				return fmt.Errorf("read back what refers to %s: %w", subject.Digest, err)
			}
		}
		for _, o := range mine {
			if way := list.via[o.Digest]; way != "" {
				f.Found[way]++
			} else {
				f.Lost = append(f.Lost, fmt.Sprintf("referrer %s of %s", o.Digest, subject.Digest))
			}
		}
	}
	return nil
}

// Compare reads back all that the plan is about, and sends nothing. Of blobs the
// registry is asked whether it has them.
//
// The Report is never nil. The error is [layout.ErrDiffers] if anything is not
// there or is something else, with what of the first artifact. Where that can't be
// told, it is of [layout.ClassRemote].
func (p *Plan) Compare(ctx context.Context) (*Report, error) {
	r := &pusher{Plan: p, readOnly: true}
	rows := map[*Planned]*ArtifactReport{}
	for _, a := range p.Artifacts {
		rows[a] = newArtifactReport(a, StatusEqual)
		r.report.Artifacts = append(r.report.Artifacts, rows[a])
	}
	var g errgroup.Group
	g.SetLimit(p.jobs)
	for _, a := range p.Artifacts {
		g.Go(func() error {
			r.compare(ctx, a, rows[a])
			return nil
		})
	}
	_ = g.Wait() // the errors are in the report
	for _, a := range p.Artifacts {
		n := 0
		for _, c := range a.companions {
			if rows[c].err == nil {
				n++
			}
		}
		rows[a].Fidelity.companions(len(a.companions), n)
	}
	if ctx.Err() != nil {
		return &r.report, context.Cause(ctx)
	}
	return &r.report, r.report.compared()
}

func (r *pusher) compare(ctx context.Context, a *Planned, rep *ArtifactReport) {
	var err error
	rep.Fidelity, err = r.confirm(ctx, a, true)
	var lost *lostError
	if err != nil && !errors.As(err, &lost) {
		rep.fail("compare", err)
		return
	}
	for _, d := range a.Missing() {
		rep.Fidelity.Lost = append(rep.Fidelity.Lost, "blob "+d.String())
	}
	if len(rep.Fidelity.Lost) > 0 {
		rep.fail("compare", &lostError{rep.Fidelity.Lost})
		rep.Status = StatusDiffers
	}
}

// compared is the error of a comparison.
func (r *Report) compared() error {
	var differs, failed error
	n := 0
	for _, a := range r.Artifacts {
		switch a.Status {
		case StatusDiffers:
			n++
			differs = cmp.Or(differs, a.err)
		case StatusFailed:
			failed = cmp.Or(failed, a.err)
		}
	}
	if n > 0 {
		return fmt.Errorf("%w in %d of %d artifacts: %w", layout.ErrDiffers, n, len(r.Artifacts), differs)
	}
	return failed
}
