package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/airdeck/airdeck/layout"
)

// firstAsked is how many blobs of an artifact tell whether an earlier run has begun
// to send it. Blobs are sent in their order, some at once: where none of as many is
// there, none of those behind them was begun.
const firstAsked = 2 * DefaultJobs

// ask sends the requests: one for each tag and manifest, and one for each blob of
// the repositories that may have some.
func (p *Plan) ask(ctx context.Context) error {
	const phase = "comparing"
	progress := p.client.o.Progress
	progress.Start(phase, -1)
	defer progress.Finish(phase)
	if err := p.each(ctx, func(g *errgroup.Group, ctx context.Context) {
		for _, a := range p.Artifacts {
			g.Go(func() error { return explain("look up", a.Reference.String(), a.askManifests(ctx)) })
		}
	}); err != nil {
		return err
	}
	if err := p.each(ctx, func(g *errgroup.Group, ctx context.Context) {
		for r, list := range p.strangers() {
			g.Go(func() error { return r.askFirst(ctx, list, max(p.jobs, firstAsked)) })
		}
	}); err != nil {
		return err
	}
	return p.each(ctx, func(g *errgroup.Group, ctx context.Context) {
		for _, r := range p.repos {
			for d, b := range r.blobs {
				if ctx.Err() != nil {
					return
				}
				if !r.unknown && !b.asked {
					g.Go(func() error { return r.askBlob(ctx, d, b) })
				}
			}
		}
	})
}

// each runs what start begins, as many at once as the plan allows.
func (p *Plan) each(ctx context.Context, start func(g *errgroup.Group, ctx context.Context)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.jobs)
	start(g, ctx)
	return g.Wait()
}

// strangers are the repositories that have none of the tags and manifests that were
// asked for, with what is to go there.
func (p *Plan) strangers() map[*repository][]*Planned {
	out := map[*repository][]*Planned{}
	for _, a := range p.Artifacts {
		out[a.repo] = append(out[a.repo], a)
	}
	for _, a := range p.Artifacts {
		if a.Tag != TagNew || slices.Contains(a.present, true) {
			delete(out, a.repo)
		}
	}
	return out
}

// askFirst finds out whether the registry does not know a repository: then there is
// no manifest in it, and blobs only where a run was interrupted. The question for
// each blob would take longer than many a blob does.
func (r *repository) askFirst(ctx context.Context, artifacts []*Planned, n int) error {
	if len(r.blobs) <= n {
		return nil // nothing to be saved
	}
	err := r.Tags(ctx, "", func([]string) error { return io.EOF })
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) || !isCode(resp.Errors, errcode.ErrorCodeNameUnknown) {
		return nil // it is known; or it can't be told, and there is no harm in asking for each blob
	}
	for _, a := range artifacts {
		for _, d := range a.blobs[:min(n, len(a.blobs))] {
			if err := r.askBlob(ctx, d, r.blobs[d]); err != nil || r.blobs[d].present {
				return err
			}
		}
	}
	r.unknown = true
	return nil
}

// askBlob asks for one blob. One that has another size at the registry is not there.
func (r *repository) askBlob(ctx context.Context, d digest.Digest, b *blobState) error {
	there, err := r.Blobs().Resolve(ctx, d.String())
	if err != nil && !errors.Is(err, layout.ErrNotFound) {
		return explain("look up", fmt.Sprintf("%s/%s@%s", r.Reference.Registry, r.Reference.Repository, d), err)
	}
	b.asked, b.present = true, err == nil && there.Size == b.size
	return nil
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
		ok, err := a.repo.Manifests().Exists(ctx, *m)
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
