package bundle

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// faultList keeps the first fault of each blob: what follows from it says
// nothing new.
type faultList struct {
	mu    sync.Mutex
	seen  map[digest.Digest]bool // by blob, or by message where it is no blob
	list  []Fault
	other bool // there is one that is no damage of a blob
	added int  // also those of blobs that have one
	full  bool // there were more than are kept
}

func newFaultList() *faultList { return &faultList{seen: map[digest.Digest]bool{}} }

func (l *faultList) add(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.added == MaxLost {
		l.full = true
		return
	}
	l.added++
	key := cmp.Or(f.Digest, digest.Digest(f.Message))
	if l.seen[key] {
		return
	}
	l.seen[key] = true
	l.other = l.other || !f.isDamage()
	if len(l.list) < MaxFaults {
		l.list = append(l.list, f)
	}
}

// The errors that end a walk when there is more than is kept of it.
var (
	errManyLost  = layout.Errorf(layout.ClassLimit, "more than %d blobs are missing or damaged: which else, and what needs them, is not told", MaxLost)
	errManyLinks = layout.Errorf(layout.ClassLimit, "what is missing or damaged is needed by too much for it to be told: manifests name it, and other manifests, more often than %d times", MaxLinks)
)

// walked adds a fault that a walk found.
func (l *faultList) walked(f Fault) error {
	l.add(f)
	if l.full {
		return errManyLost
	}
	return nil
}

// locate completes the faults: where the blobs lie, what needs them, and what is to
// be asked for again. Over [MaxLost] and [MaxLinks] a fault before those of blobs says
// that the last two are not told.
func (r *Reader) locate(ctx context.Context, rep *Report, faults *faultList) error {
	slices.SortStableFunc(rep.Faults, func(a, b Fault) int {
		ae, _ := r.content.extent(a.Digest)
		be, _ := r.content.extent(b.Digest)
		return cmp.Or(cmp.Compare(ae.from, be.from), cmp.Compare(a.Digest, b.Digest))
	})
	up, subjects, err := r.parents(ctx, faults)
	if err == nil {
		rep.Again, err = r.again(ctx, faults.seen, up, subjects)
	}
	if errors.Is(err, errManyLost) || errors.Is(err, errManyLinks) {
		up, rep.suffered = nil, false
		rep.Faults = rep.Faults[:min(len(rep.Faults), MaxFaults-1)]
		at := 0
		for at < len(rep.Faults) && rep.Faults[at].Digest == "" {
			at++ // that the file is cut off says more
		}
		rep.Faults = slices.Insert(rep.Faults, at, Fault{Class: layout.ClassLimit, Message: err.Error()})
		rep.Count++
	} else if err != nil {
		return err
	}
	names := map[digest.Digest][]string{} // of the entries
	for _, e := range r.index.Manifests {
		names[e.Digest] = append(names[e.Digest], cmp.Or(layout.EntryName(e), e.Digest.String()))
	}
	for d, list := range names { // thousands of names may each have thousands of faults
		slices.Sort(list)
		names[d] = list[:min(len(list), MaxFaultArtifacts)]
	}
	for i := range rep.Faults {
		f := &rep.Faults[i]
		if e, ok := r.content.extent(f.Digest); ok {
			f.Size = e.size
			if !r.unpacked {
				f.Offset, f.Length = &e.from, e.to-e.from
			}
		}
		seen := map[digest.Digest]bool{f.Digest: true}
		for todo := []digest.Digest{f.Digest}; len(todo) > 0 && len(f.Artifacts) < MaxFaultArtifacts; todo = todo[1:] {
			f.Artifacts = append(f.Artifacts, names[todo[0]]...)
			for _, p := range up[todo[0]] {
				if !seen[p] {
					seen[p] = true
					todo = append(todo, p)
				}
			}
		}
		slices.Sort(f.Artifacts)
		f.Artifacts = f.Artifacts[:min(len(f.Artifacts), MaxFaultArtifacts)]
	}
	return nil
}

// parents gives the manifests above those blobs that have faults, and above all
// manifests, and what manifests refer to. The walk is made again for it, so that
// nothing is kept of it where nothing is wrong.
//
// Errors: errManyLost and errManyLinks, and those of the walk.
func (r *Reader) parents(ctx context.Context, faults *faultList) (up, subjects map[digest.Digest][]digest.Digest, err error) {
	if faults.full {
		return nil, nil, errManyLost
	}
	up, subjects = map[digest.Digest][]digest.Digest{}, map[digest.Digest][]digest.Digest{}
	links := r.maxLinks()
	w := layout.Walker{
		Source: r.content,
		Visit: func(n layout.Node) error {
			if n.Kind != layout.KindManifest {
				return nil
			}
			if s := n.Manifest.Subject; s != nil {
				subjects[n.Digest] = append(subjects[n.Digest], s.Digest)
			}
			for _, c := range n.Manifest.Children() {
				if !faults.seen[c.Digest] && c.Kind != layout.KindManifest {
					continue
				}
				p := up[c.Digest]
				if len(p) > 0 && p[len(p)-1] == n.Digest {
					continue // it is listed twice
				}
				if links--; links < 0 {
					return errManyLinks
				}
				up[c.Digest] = append(p, n.Digest)
			}
			return nil
		},
		Fault: func(ocispec.Descriptor, error) error { return nil },
	}
	for _, e := range r.index.Manifests {
		if err := w.Walk(ctx, e); err != nil {
			return nil, nil, err
		}
	}
	return up, subjects, nil
}
