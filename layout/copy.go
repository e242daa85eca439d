package layout

import (
	"context"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// CopyOptions are the options of [Copy]. nil stands for the defaults.
type CopyOptions struct {
	// Jobs is how many blobs are copied at once; 0 means 4.
	Jobs int
	// Progress is told of the phase "copying", in bytes of blobs.
	Progress Progress
}

// Copy brings all that roots lead to from src to dst, each digest once. What dst
// has whole is not copied.
//
// Errors: those of src, of dst and of [Walker].
func Copy(ctx context.Context, dst Sink, src Source, roots []ocispec.Descriptor, o *CopyOptions) error {
	if o == nil {
		o = &CopyOptions{}
	}
	var todo []blob
	var total int64
	w := Walker{Source: src, Visit: func(n Node) error {
		todo = append(todo, blob{n.Digest, n.Size})
		total += n.Size
		return nil
	}}
	for _, r := range roots {
		if err := w.Walk(ctx, r); err != nil {
			return err
		}
	}
	const phase = "copying"
	o.Progress.Start(phase, total)
	defer o.Progress.Finish(phase)
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = 4
	}
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(jobs, len(todo)) {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(todo)); i = next.Add(1) - 1 {
				if err := copyBlob(ctx, dst, src, todo[i]); err != nil {
					return err
				}
				o.Progress.Advance(phase, todo[i].size)
			}
			return nil
		})
	}
	return g.Wait()
}

// blob is all of a descriptor that copying needs: there may be a million.
type blob struct {
	digest digest.Digest
	size   int64
}

func copyBlob(ctx context.Context, dst Sink, src Source, b blob) error {
	d := ocispec.Descriptor{Digest: b.digest, Size: b.size}
	ok, err := dst.Exists(ctx, d)
	if err != nil || ok {
		return err
	}
	rc, err := src.Fetch(ctx, d)
	if err != nil {
		return err
	}
	defer rc.Close()
	return dst.Push(ctx, d, rc)
}
