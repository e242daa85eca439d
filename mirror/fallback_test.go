package mirror

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// A sha512 digest does not fit into a tag. What refers to a manifest of such a digest is
// listed all the same: by the registry, or under half of the digest, of which the
// specification makes the fallback tag.
func TestReferrersOfSHA512(t *testing.T) {
	for way, o := range map[string]registrytest.Options{ViaAPI: {}, ViaTag: {NoReferrers: true}} {
		f := newFixture(t)
		dst := registrytest.Start(o)
		t.Cleanup(dst.Close)
		subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.SHA512.FromString("elsewhere"), Size: 9}
		sig, att := f.referrer("test/signature", subject), f.referrer("test/attestation", subject)
		// One after the other: the second finds the list of the first.
		f.mustSend(dst, map[string]ocispec.Descriptor{"app:sig": sig})
		f.mustSend(dst, map[string]ocispec.Descriptor{"app:att": att})

		tag := "sha512-" + subject.Digest.Encoded()[:64]
		if set := slices.Contains(dst.Requests(), "PUT /v2/app/manifests/"+tag); set != (way == ViaTag) {
			t.Errorf("%s: %s is set: %v", way, tag, set)
		}
		list, err := listReferrers(f.ctx, f.client(ClientOptions{}), dst.Host, "app", subject)
		if err != nil || len(list.all) != 2 || list.via[sig.Digest] != way || list.via[att.Digest] != way {
			t.Errorf("%s: %v, %+v", way, err, list)
		}
		for _, d := range list.all {
			// go-containerregistry's own list takes the config's type for it.
			if way == ViaTag && d.ArtifactType != map[digest.Digest]string{sig.Digest: sig.ArtifactType, att.Digest: att.ArtifactType}[d.Digest] {
				t.Errorf("%s is listed as a %q", d.Digest, d.ArtifactType)
			}
		}
	}
}
