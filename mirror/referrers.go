package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/airdeck/airdeck/layout"
)

// MaxReferrers bounds what may hang on one artifact, in manifests: a registry can
// make up any number.
const MaxReferrers = 10_000

// referrers finds what refers to the manifests of an artifact, recursively, and
// fetches its manifests. Both ways of the specification are asked, since a
// registry that has learnt the referrers API may hold referrers from before,
// under the fallback tag.
type referrers struct {
	a *artifact

	subjects []ocispec.Descriptor   // manifests whose referrers are still to be found
	asked    map[digest.Digest]bool // those among them at any time
	seen     map[digest.Digest]bool
	found    []ocispec.Descriptor // entries for the index
	taken    map[found]bool
}

// found is an entry: one manifest may be a referrer and stand under several tags.
type found struct {
	digest digest.Digest
	name   string
}

// subject has what refers to a manifest be found, once: an index that refers to another
// may have the same manifests.
func (r *referrers) subject(d ocispec.Descriptor) {
	if !r.asked[d.Digest] {
		r.asked[d.Digest] = true
		r.subjects = append(r.subjects, d)
	}
}

// find works through the subjects, to which what is found is added.
func (r *referrers) find(ctx context.Context) ([]ocispec.Descriptor, error) {
	for len(r.subjects) > 0 {
		subject := r.subjects[0]
		r.subjects = r.subjects[1:]
		list, err := r.list(ctx, subject)
		if err != nil {
			return nil, err
		}
		for _, d := range list.all {
			if err := r.add(ctx, d, subject); err != nil {
				return nil, err
			}
		}
		for _, tag := range layout.CosignTags(subject.Digest) {
			if err := r.addTag(ctx, tag); err != nil {
				return nil, err
			}
		}
	}
	return r.found, nil
}

func (r *referrers) list(ctx context.Context, subject ocispec.Descriptor) (referrerList, error) {
	l, err := listReferrers(ctx, r.a.p.c, r.a.ref.Registry, r.a.ref.Repository, subject)
	if err != nil {
		err = fmt.Errorf("what refers to %s can't be found out (--no-referrers leaves it): %w", subject.Digest, err)
	}
	return l, err
}

// digests gives what refers to a manifest that is not carried, as the registry
// lists it.
func (r *referrers) digests(ctx context.Context, subject ocispec.Descriptor) ([]digest.Digest, error) {
	l, err := r.list(ctx, subject)
	if err != nil {
		return nil, err
	}
	var out []digest.Digest
	for _, d := range l.all {
		if layout.CheckDigest(d.Digest) == nil {
			out = append(out, d.Digest)
		}
	}
	for _, tag := range layout.CosignTags(subject.Digest) {
		switch d, err := r.a.repo.Manifests().Resolve(ctx, tag); {
		case err == nil:
			out = append(out, d.Digest)
		case !errors.Is(err, layout.ErrNotFound):
			return nil, fmt.Errorf("%s: %w", tag, err)
		}
	}
	return out, nil
}

// add takes a referrer in, if its manifest says that it is one. What a registry
// or a fallback tag lists is no proof.
func (r *referrers) add(ctx context.Context, d, subject ocispec.Descriptor) error {
	if r.seen[d.Digest] {
		return nil
	}
	if err := layout.CheckDescriptor(d); err != nil {
		return fmt.Errorf("referrer of %s: %w", subject.Digest, err)
	}
	if !layout.IsManifest(d.MediaType) {
		return nil
	}
	entry := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	said, err := layout.SubjectOf(ctx, r.a.src, entry)
	if err == nil && said != nil && said.Digest == subject.Digest {
		err = r.a.walk(ctx, r.a.src, entry, func(n layout.Node) {
			if n.Digest == d.Digest {
				entry.ArtifactType = artifactType(n.Manifest)
			}
			r.subject(n.Descriptor)
		})
		if err == nil {
			return r.take(entry)
		}
	}
	if err != nil {
		return fmt.Errorf("referrer %s of %s: %w", d.Digest, subject.Digest, err)
	}
	return nil
}

// addTag takes in what cosign left under a tag, as an artifact of that name.
func (r *referrers) addTag(ctx context.Context, tag string) error {
	ref := r.a.ref
	ref.Tag, ref.Digest = tag, ""
	_, err := r.a.repo.Manifests().Resolve(ctx, tag)
	if errors.Is(err, layout.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	root, err := r.a.p.root(ctx, r.a.repo, ref)
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	err = r.a.walk(ctx, r.a.src, root, func(n layout.Node) {
		if n.Digest == root.Digest {
			root.ArtifactType = n.Manifest.ArtifactType
		}
		r.subject(n.Descriptor) // a signature may itself be attested
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	return r.take(layout.Named(root, ref.String()))
}

func (r *referrers) take(d ocispec.Descriptor) error {
	k := found{d.Digest, layout.EntryName(d)}
	if r.taken[k] {
		return nil
	}
	if len(r.found) == MaxReferrers {
		return layout.Errorf(layout.ClassGraph, "more than %d manifests refer to it", MaxReferrers)
	}
	r.seen[d.Digest], r.taken[k] = true, true
	r.found = append(r.found, d)
	return nil
}

// artifactType is what a registry lists a referrer as (distribution-spec v1.1,
// "Listing Referrers").
func artifactType(m *layout.Manifest) string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

// referrerList is what a registry says refers to a manifest, by the way in which
// it says so.
type referrerList struct {
	all []ocispec.Descriptor
	via map[digest.Digest]string
}

// The ways in which referrers are found.
const (
	ViaAPI = "referrers API"
	ViaTag = "fallback tag"
	// ViaCosign is by a tag that cosign makes of the digest.
	ViaCosign = "cosign tag"
)

// listReferrers asks the referrers API and the fallback tag. A registry that has
// no such API says so in many ways: 404, 405, 400, an empty 200, a page of HTML.
func listReferrers(ctx context.Context, c *Client, host, name string, subject ocispec.Descriptor) (referrerList, error) {
	l := referrerList{via: map[digest.Digest]string{}}
	repo, err := c.repository(ctx, host, name)
	if err != nil {
		return l, err
	}
	if err := repo.SetReferrersCapability(true); err != nil {
		return l, err
	}
	begun := false
	err = repo.Referrers(ctx, subject, "", func(page []ocispec.Descriptor) error {
		begun = true
		return l.add(page, ViaAPI)
	})
	if err != nil && (begun || !lacksReferrers(err)) {
		return l, err
	}
	tagged, err := fallback(ctx, repo, subject.Digest)
	if err != nil {
		return l, err
	}
	return l, l.add(tagged, ViaTag)
}

func (l *referrerList) add(some []ocispec.Descriptor, way string) error {
	for _, d := range some {
		if l.via[d.Digest] == "" {
			l.via[d.Digest] = way
			l.all = append(l.all, d)
		}
	}
	if len(l.all) > MaxReferrers {
		return layout.Errorf(layout.ClassGraph, "more than %d manifests refer to it", MaxReferrers)
	}
	return nil
}

// lacksReferrers tells a registry without the API from one that can't answer now
// or does not answer us.
func lacksReferrers(err error) bool {
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) {
		return errors.Is(err, errdef.ErrUnsupported) || isEmpty(err)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return resp.StatusCode < 500 || resp.StatusCode == http.StatusNotImplemented
}

// isEmpty reports whether there was nothing in an answer. A request that was not
// answered at all is something else.
func isEmpty(err error) bool {
	var netw *url.Error
	return errors.Is(err, io.EOF) && !errors.As(err, &netw)
}
