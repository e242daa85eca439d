package mirror

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/layout"
)

// blobs brings blobs to the repository. Where anew is set, what the registry says
// of having them is not believed.
func (r *pusher) blobs(ctx context.Context, a *Planned, blobs []digest.Digest, anew bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.jobs)
	for _, d := range blobs {
		if !anew && a.repo.has(d) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return r.blob(ctx, a.repo, d, anew) })
	}
	return g.Wait()
}

// blob brings one blob to a repository. Artifacts that share it wait for each
// other, and the later ones have the registry mount what the first uploaded.
func (r *pusher) blob(ctx context.Context, repo *repository, d digest.Digest, anew bool) error {
	lock := r.lock(d)
	lock.Lock()
	defer lock.Unlock()
	if !anew && repo.has(d) {
		return nil
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	desc := ocispec.Descriptor{Digest: d, Size: repo.blobs[d].size}
	from := ""
	if !anew {
		from = r.sibling(repo, d)
	}
	uploaded := false
	err := again(ctx, func() error {
		up := &upload{progress: r.client.o.Progress}
		open := func() (io.ReadCloser, error) {
			rc, err := r.src.Fetch(ctx, desc)
			if err != nil {
				return nil, err
			}
			up.open(rc, desc.Size)
			uploaded = true
			return up, nil
		}
		var err error
		if from != "" {
			err = repo.Mount(ctx, desc, from, open)
		} else if _, err = open(); err == nil {
			err = repo.Blobs().Push(ctx, desc, up)
			up.Close()
		}
		if err != nil {
			up.takeBack()
			from = "" // a registry that stumbles over mounting gets the bytes
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	r.holds(repo, d, uploaded)
	r.mu.Lock()
	defer r.mu.Unlock()
	if uploaded {
		r.report.Uploaded++
		r.report.Bytes += desc.Size
	} else {
		r.report.Mounted++
	}
	return nil
}

// sibling finds another repository of the registry that has a blob.
func (r *pusher) sibling(repo *repository, d digest.Digest) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.holders[holder{repo.Reference.Registry, d}]; other != repo.Reference.Repository {
		return other
	}
	return ""
}

// holder is a registry and a blob that one of its repositories has.
type holder struct {
	registry string
	digest   digest.Digest
}

// holds notes that a repository has a blob.
func (r *pusher) holds(repo *repository, d digest.Digest, uploaded bool) {
	repo.took(d, uploaded)
	if !r.shared[d] {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holders[holder{repo.Reference.Registry, d}] = repo.Reference.Repository
}

func (r *pusher) lock(d digest.Digest) *sync.Mutex {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.shared[d] {
		return new(sync.Mutex)
	}
	l := r.locks[d]
	if l == nil {
		l = new(sync.Mutex)
		r.locks[d] = l
	}
	return l
}

// upload counts what leaves, and lets the last byte out only when all were read, and so
// verified: of what has changed meanwhile even a registry that does not hash keeps nothing.
// net/http may still read it, in a goroutine of its own, when the request has failed.
type upload struct {
	rc       io.ReadCloser
	ahead    *bufio.Reader // of rc
	progress layout.Progress

	mu   sync.Mutex
	n    int64
	gone bool // what it counts does not count any more
}

func (u *upload) open(rc io.ReadCloser, size int64) {
	u.rc, u.ahead = rc, bufio.NewReaderSize(rc, int(min(size, 64<<10))) // most blobs are small
}

func (u *upload) Read(p []byte) (int, error) {
	_, err := u.ahead.Peek(2)
	switch {
	case err == nil:
		p = p[:min(len(p), u.ahead.Buffered()-1)]
	case err != io.EOF:
		return 0, err
	}
	n, err := u.ahead.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.gone {
		u.n += int64(n)
		u.progress.Advance(phaseSending, int64(n))
	}
	return n, err
}

func (u *upload) Close() error { return u.rc.Close() }

// takeBack undoes what was counted for a transfer that failed.
func (u *upload) takeBack() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone = true
	u.progress.Advance(phaseSending, -u.n)
}
