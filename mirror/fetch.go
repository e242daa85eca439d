package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/layout"
)

// FetchOptions are the options of [Pulled.Fetch]. nil stands for the defaults.
type FetchOptions struct {
	// Unread takes a blob for whole that the destination has in its size, if it is a
	// [layout.Glancer]. It is for who reads, and so verifies, all blobs anyway.
	Unread bool
}

// Need is how many blobs have to be fetched, and their bytes, if what the
// destination has in its size is whole.
func (p *Pulled) Need(ctx context.Context) (blobs int, bytes int64, err error) {
	for _, w := range p.todo {
		ok, err := p.p.there(ctx, w, true)
		if err != nil {
			return 0, 0, err
		}
		if !ok {
			blobs++
			bytes += w.size
		}
	}
	return blobs, bytes, nil
}

// Fetch brings the blobs, each digest once, however many artifacts share it, and
// not at all where the destination has it. It may be called again, if what was
// there has turned out to be damaged.
//
// Errors: [layout.ClassRemote] with the blob and its repository, and those of the
// destination.
func (p *Pulled) Fetch(ctx context.Context, o *FetchOptions) error {
	if o == nil {
		o = &FetchOptions{}
	}
	defer p.count()
	var total int64
	for _, w := range p.todo {
		total += w.size
	}
	progress := p.p.c.o.Progress
	progress.Start(phaseFetching, total)
	defer progress.Finish(phaseFetching)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(p.jobs, len(p.todo)) {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(p.todo)); i = next.Add(1) - 1 {
				if err := p.bring(ctx, p.todo[i], o.Unread); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// bring makes sure that the destination has a blob.
func (p *Pulled) bring(ctx context.Context, w *wanted, unread bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ok, err := p.p.there(ctx, w, unread)
	if err != nil {
		return err
	}
	if ok {
		p.p.c.o.Progress.Advance(phaseFetching, w.size)
	} else if err := p.p.fetch(ctx, w); err != nil {
		return err
	}
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	w.done = true
	w.fetched = w.fetched || !ok
	p.p.fetched.Broadcast()
	return nil
}

// count says what all calls of Fetch did together.
func (p *Pulled) count() {
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	p.Fetched, p.Bytes, p.Reused = 0, 0, 0
	for _, w := range p.todo {
		switch {
		case w.fetched:
			p.Fetched++
			p.Bytes += w.size
		case w.done:
			p.Reused++
		}
	}
}

// there reports whether the destination has a blob.
func (p *puller) there(ctx context.Context, w *wanted, unread bool) (bool, error) {
	if g, ok := p.dst.(layout.Glancer); ok && unread {
		return g.Glance(ctx, w.descriptor())
	}
	return p.dst.Exists(ctx, w.descriptor())
}

// Source gives what is pulled, and waits for a blob that [Pulled.Fetch] has still to
// bring: a bundle can be written while its blobs arrive. Who gives Fetch up ends
// the context of those who wait.
func (p *Pulled) Source() layout.Source { return arriving{p.p} }

type arriving struct{ *puller }

var _ layout.Prober = arriving{}

// Fetch implements [layout.Source].
func (a arriving) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if w := a.blobs[d.Digest]; w != nil {
		stop := context.AfterFunc(ctx, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.fetched.Broadcast()
		})
		defer stop()
		a.mu.Lock()
		for !w.done && ctx.Err() == nil {
			a.fetched.Wait()
		}
		a.mu.Unlock()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return a.dst.Fetch(ctx, d)
}

// Has implements [layout.Prober].
func (a arriving) Has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if w := a.blobs[d.Digest]; w != nil {
		return true, nil
	}
	return a.dst.Exists(ctx, d)
}

// withheld decides about the layers that are not to be distributed, and that the
// registry may not have.
func (p *puller) withheld(ctx context.Context, out *Pulled) error {
	kept := out.todo[:0]
	for _, w := range out.todo {
		ok, err := p.offered(ctx, w)
		switch {
		case err != nil:
			return err
		case ok:
			kept = append(kept, w)
		case p.o.AllowNondistributable:
			p.c.o.Progress.Note(fmt.Sprintf("the layer %s is not to be distributed, and the registry does not have it: it is left out", w.digest))
			out.Absent[w.digest] = struct{}{}
			delete(p.blobs, w.digest)
		default:
			return layout.Errorf(layout.ClassPolicy, "fetch %s: the layer is not to be distributed, and the registry does not have it (--allow-nondistributable leaves it out)", w.name())
		}
	}
	out.todo = kept
	return nil
}

// offered reports whether a blob can be had. Only layers that are not to be
// distributed are asked for.
func (p *puller) offered(ctx context.Context, w *wanted) (bool, error) {
	if !w.nondistributable {
		return true, nil
	}
	if ok, err := p.there(ctx, w, false); err != nil || ok {
		return ok, err
	}
	for _, repo := range append([]*remote.Repository{w.repo}, w.others...) {
		w.repo = repo
		if ok, err := repo.Blobs().Exists(ctx, w.descriptor()); err != nil || ok {
			return ok, explain("look up", w.name(), err)
		}
	}
	return false, nil
}

func (w *wanted) name() string {
	return fmt.Sprintf("%s/%s@%s", w.repo.Reference.Registry, w.repo.Reference.Repository, w.digest)
}

func (p *puller) fetch(ctx context.Context, w *wanted) error {
	desc := w.descriptor()
	err := againIfCorrupt(func() error {
		r := &download{ctx: ctx, repo: w.repo, desc: desc, progress: p.c.o.Progress}
		err := p.dst.Push(ctx, desc, r)
		r.close()
		var corrupt *layout.CorruptError
		if errors.As(err, &corrupt) {
			p.c.o.Progress.Advance(phaseFetching, -r.n)
		}
		return err
	})
	return explain("fetch", w.name(), remoteFault(err))
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
