package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"filippo.io/age"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

const phaseVerifying = "verifying"

// VerifyOptions are the options of [Reader.Verify] and [VerifyStream]. nil
// stands for the defaults.
type VerifyOptions struct {
	// Expect, where it is set, is the digest that the bundle must have.
	Expect digest.Digest
	// Jobs is how many blobs are hashed at once. 0 means one for each processor,
	// up to 6.
	Jobs int
	// Platforms, where there are any, are those that matter: what [layout.Select]
	// leaves out for them may be missing, as it is in what docker save writes of
	// an image for several platforms. The Verified lacks it. [VerifyStream] takes
	// none.
	Platforms []ocispec.Platform
	// Trust, where it is set, is asked by [VerifyStream] when the index has come, and
	// before any blob in a bundle that airdeck wrote. A file was asked about when it
	// was opened.
	Trust Trust
	// Check, where it is set, is asked by [VerifyStream] about what was found whole, and
	// may refuse it. The source has the manifests, and where HoldSignatures is set the
	// layers of what refers to others; no other blobs.
	Check          func(ctx context.Context, src layout.Partial, entries []ocispec.Descriptor) error
	HoldSignatures bool
	// Identities are tried by [VerifyStream] on what is encrypted with age.
	Identities []age.Identity
	// Progress is told of the phase "verifying", in bytes of the archive.
	Progress layout.Progress
}

// Fault is one thing that is wrong with a bundle.
type Fault struct {
	Class   layout.Class  `json:"class"`
	Digest  digest.Digest `json:"digest,omitempty"` // of the blob, where it is one
	Message string        `json:"message"`
	// Offset and Length are what of the file holds the blob, in bytes: itself, or the
	// frames that it shares with others. Offset is nil where the blob is missing, and
	// where it has no place: in a directory, a pipe, and an archive that had to be
	// unpacked to be read.
	Offset *int64 `json:"offset,omitempty"`
	Length int64  `json:"length,omitempty"`
	Size   int64  `json:"size,omitempty"` // of the blob, in bytes
	// Artifacts are the references of the entries that need the blob, or their
	// digests where they have no name; the first MaxFaultArtifacts of them.
	Artifacts []string `json:"artifacts,omitempty"`
}

// Report says what was verified, and all that is wrong.
type Report struct {
	Digest    digest.Digest `json:"digest"` // of index.json
	Artifacts int           `json:"artifacts"`
	Blobs     int           `json:"blobs"`  // that the artifacts need
	Bytes     int64         `json:"bytes"`  // in these blobs
	Absent    int           `json:"absent"` // manifests and layers that are left out, as the index says
	Faults    []Fault       `json:"faults"` // the first MaxFaults of them
	Count     int           `json:"count"`  // of all faults
	// Again are the entries that are not whole: what is to be asked for again.
	// They are not told, nor what needs a blob, where that is more than can be kept: over
	// [MaxLost] and [MaxLinks], as a fault of [layout.ClassLimit] says then.
	Again []Damaged `json:"again,omitempty"`

	suffered bool // all that is wrong are blobs that are damaged or missing
}

// Err is nil if nothing is wrong. Otherwise it is one error that counts the
// faults and tells the first; it is [layout.ErrUntrusted] unless all that failed
// is this machine.
func (r *Report) Err() error {
	if r.Count == 0 {
		return nil
	}
	f := r.Faults[0]
	for _, other := range r.Faults {
		if other.Class != layout.ClassLocal {
			f = other
			break
		}
	}
	err := layout.Errorf(f.Class, "%s", f.Message)
	if n := r.Count - 1; n > 0 {
		err = layout.Errorf(f.Class, "%s (and %d more)", f.Message, n)
	}
	return untrusted(err)
}

// Verify hashes every blob, walks the graph from the index, and reports all that
// is wrong. Only where nothing is does it give a Verified; then the error is
// nil.
//
// The error is that of [Report.Err], or of ctx or this machine; in that case
// the Report is nil.
func (r *Reader) Verify(ctx context.Context, o *VerifyOptions) (*Verified, *Report, error) {
	if o == nil {
		o = &VerifyOptions{}
	}
	return r.verify(ctx, o, newFaultList())
}

// verify is Verify with the faults that are known before.
func (r *Reader) verify(ctx context.Context, o *VerifyOptions, faults *faultList) (*Verified, *Report, error) {
	rep := &Report{Digest: r.Digest(), Artifacts: len(r.index.Manifests), Faults: []Fault{}}
	if fault, ok := expect(o.Expect, rep.Digest); !ok {
		rep.Faults, rep.Count = append(rep.Faults, fault), 1
		return nil, rep, rep.Err()
	}
	if len(o.Platforms) > 0 {
		var err error
		if r, err = r.narrow(ctx, o.Platforms, faults); err != nil {
			return nil, nil, err
		}
	}
	var docker *dockerCheck
	var dockerErr error
	if len(o.Platforms) == 0 { // it may name what is left out, and nothing is made of it
		docker, dockerErr = r.dockerCheck()
	}
	absent := map[digest.Digest]bool{}
	w := layout.Walker{
		Source: r.content,
		Visit: func(n layout.Node) error {
			rep.Blobs++
			if rep.Blobs > MaxMembers {
				return layout.Errorf(layout.ClassLimit, "more than %d blobs", MaxMembers)
			}
			if n.Kind == layout.KindManifest {
				docker.add(n)
			}
			rep.Bytes = saturate(rep.Bytes, n.Size)
			if err := r.content.need(n.Descriptor); err != nil {
				return faults.walked(Fault{Class: layout.ClassOf(err), Digest: n.Digest, Message: err.Error()})
			}
			return nil
		},
		Fault: func(d ocispec.Descriptor, err error) error {
			f := Fault{Class: layout.ClassOf(err), Digest: d.Digest, Message: err.Error()}
			if p := layout.FormatPlatform(d.Platform); p != "" && errors.Is(err, layout.ErrNotFound) {
				f.Message += fmt.Sprintf(" (an index lists it for %s; airdeck pack --platform takes what is there for others)", p)
			}
			return faults.walked(f)
		},
		LeftOut: func(parent ocispec.Descriptor, c layout.Child) {
			absent[c.Digest] = true
			docker.leave(parent.Digest, c)
		},
	}
	for _, e := range r.index.Manifests {
		if err := w.Walk(ctx, e); errors.Is(err, errManyLost) {
			return r.conclude(ctx, rep, faults)
		} else if err != nil {
			return nil, nil, untrusted(err)
		}
	}
	rep.Absent = len(absent)
	if dockerErr == nil && docker != nil {
		// It is read again: it may be large, and was not held meanwhile.
		var raw []byte
		if raw, dockerErr = r.content.dockerManifest(); dockerErr == nil {
			dockerErr = docker.check(raw)
		}
	}
	if dockerErr != nil {
		faults.add(Fault{Class: layout.ClassOf(dockerErr), Message: dockerErr.Error()})
	}
	o.Progress.Start(phaseVerifying, r.content.bytes())
	err := r.content.check(ctx, o, faults.add)
	o.Progress.Finish(phaseVerifying)
	if err != nil {
		return nil, nil, err
	}
	return r.conclude(ctx, rep, faults)
}

// dockerCheck is nil where there is no manifest.json.
func (r *Reader) dockerCheck() (*dockerCheck, error) {
	raw, err := r.content.dockerManifest()
	if err != nil {
		return nil, err
	}
	return newDockerCheck(raw, r.index.Manifests, r.maxLinks())
}

func (r *Reader) maxLinks() int { return MaxLinks + r.content.count() }

// conclude completes the report, and gives a Verified if there are no faults.
func (r *Reader) conclude(ctx context.Context, rep *Report, faults *faultList) (*Verified, *Report, error) {
	rep.Faults, rep.Count, rep.suffered = append(rep.Faults, faults.list...), len(faults.seen), !faults.other
	if rep.Count > 0 {
		if err := r.locate(ctx, rep, faults); err != nil {
			return nil, nil, err
		}
	}
	if err := rep.Err(); err != nil {
		return nil, rep, err
	}
	return &Verified{r: r}, rep, nil
}

// narrow is the same bundle without what the platforms leave out.
func (r *Reader) narrow(ctx context.Context, platforms []ocispec.Platform, faults *faultList) (*Reader, error) {
	absent := maps.Clone(r.Absent())
	if absent == nil {
		absent = layout.Absent{}
	}
	selector, once := layout.Selector{Source: r.content, Platforms: platforms}, map[layout.Root]bool{}
	for _, e := range r.index.Manifests {
		root := layout.RootOf(e)
		if once[root] {
			continue
		}
		once[root] = true
		sel, err := selector.Select(ctx, e)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// That there is nothing for the platforms is no fault of the bundle, and who
		// takes something of it will say what there is.
		nothing := err != nil && layout.ClassOf(err) == layout.ClassMissing && !errors.Is(err, layout.ErrNotFound)
		if err != nil && !nothing {
			faults.add(Fault{Class: layout.ClassOf(err), Digest: e.Digest, Message: err.Error()})
		}
		for d := range sel.Absent {
			if _, there := r.content.extent(d); !nothing || !there {
				absent[d] = struct{}{}
			}
		}
	}
	return &Reader{raw: r.raw, index: r.index, content: narrowed{r.content, absent}, close: r.close}, nil
}

// narrowed is content of which more is left out than its index says.
type narrowed struct {
	content
	absent layout.Absent
}

// Absent implements [layout.Partial].
func (n narrowed) Absent() (layout.Absent, error) { return n.absent, nil }

// expect compares the digest of the index with the one that is demanded.
func expect(want, got digest.Digest) (Fault, bool) {
	if want == "" || want == got {
		return Fault{}, true
	}
	return Fault{Class: layout.ClassDigest, Message: fmt.Sprintf("this is another bundle: its digest is %s, expected %s", got, want)}, false
}
