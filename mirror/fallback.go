package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/layout"
)

// maxTagged is how much of a digest's hexadecimal form is in its fallback tag.
const maxTagged = 64

// fallbackTag is the tag under which an index lists what refers to a manifest, where a
// registry does not list it by itself (distribution-spec v1.1, "Referrers Tag
// Schema"). Of a sha512 digest it has the first half.
func fallbackTag(d digest.Digest) string {
	return d.Algorithm().String() + "-" + d.Encoded()[:min(len(d.Encoded()), maxTagged)]
}

// fallback reads what the fallback tag lists. Some registries take it for the digest
// and give the subject, whose children are no referrers.
func fallback(ctx context.Context, repo *remote.Repository, subject digest.Digest) ([]ocispec.Descriptor, error) {
	d, rc, err := repo.FetchReference(ctx, fallbackTag(subject))
	if errors.Is(err, layout.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	if d.MediaType != ocispec.MediaTypeImageIndex || d.Digest == subject {
		return nil, nil
	}
	var idx ocispec.Index
	if d.Size > layout.MaxManifestSize {
		return nil, layout.Errorf(layout.ClassLimit, "the tag %s names an index of %d bytes, over the limit of %d", fallbackTag(subject), d.Size, layout.MaxManifestSize)
	}
	b, err := content.ReadAll(rc, d)
	if err == nil {
		err = json.Unmarshal(b, &idx)
	}
	if err != nil {
		return nil, layout.Errorf(layout.ClassRemote, "the tag %s: %w", fallbackTag(subject), err)
	}
	return idx.Manifests, nil
}

// putReferrer pushes a manifest that refers to one whose digest is longer than a tag may
// be, and sees that it is listed. oras-go does both for other digests, and makes of this
// one a tag that no registry takes.
func (r *pusher) putReferrer(ctx context.Context, a *Planned, m ocispec.Descriptor, raw []byte, reference string) error {
	man, err := layout.DecodeManifest(m, raw)
	if err != nil {
		return err
	}
	repo, err := r.client.repository(ctx, a.Reference.Registry, a.Reference.Repository)
	if err != nil {
		return err
	}
	if err := repo.SetReferrersCapability(true); err != nil { // oras-go leaves the tag alone
		return err
	}
	if err := repo.PushReference(ctx, m, bytes.NewReader(raw), reference); err != nil {
		return err
	}
	a.repo.fallbacks.Lock() // others are read, and written again
	defer a.repo.fallbacks.Unlock()
	list, err := listReferrers(ctx, r.client, a.Reference.Registry, a.Reference.Repository, *man.Subject)
	if err != nil {
		return fmt.Errorf("what refers to %s can't be found out: %w", man.Subject.Digest, err)
	}
	if list.via[m.Digest] != "" {
		return nil
	}
	others, err := fallback(ctx, repo, man.Subject.Digest)
	if err != nil {
		return err
	}
	entry := ocispec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size, ArtifactType: artifactType(man), Annotations: man.Annotations}
	idx := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: append(slices.Clip(others), entry),
	}
	b, err := json.Marshal(idx)
	if err != nil {
		return err
	}
	return repo.PushReference(ctx, content.NewDescriptorFromBytes(idx.MediaType, b), bytes.NewReader(b), fallbackTag(man.Subject.Digest))
}
