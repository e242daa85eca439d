package mirror

import (
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// Manifests can't refer to each other in a circle, but a registry can list them so. Each
// is asked for once, and what refers to it is asked for once; what is no referrer of what
// it is listed for is none, and what is one is carried.
func TestReferrersInACircle(t *testing.T) {
	const perManifest = 1 + 1 + 1 + 3 // itself, the API, the fallback tag, tags of cosign's
	for _, way := range []string{ViaAPI, ViaTag} {
		f := newFixture(t)
		src := registrytest.Start(registrytest.Options{NoReferrers: way == ViaTag})
		defer src.Close()
		child := f.artifact("child", 10)
		root := f.index(child)
		a := f.referrer("test/a", root)
		b := f.referrer("test/b", a)
		parent := f.index(root) // it names the subject, and does not refer to it
		both := f.json(ocispec.MediaTypeImageIndex, ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{child, a}, Subject: &root,
		})
		all := []ocispec.Descriptor{child, root, a, b, parent, both}
		f.mustSend(src, map[string]ocispec.Descriptor{"app:v1": root, "app:a": a, "app:b": b, "app:parent": parent, "app:both": both})
		listed := map[digest.Digest][]ocispec.Descriptor{}
		for _, d := range all {
			listed[d.Digest] = all // itself as well
		}
		src.Reset()
		src.Fail(registrytest.Fault{Method: http.MethodGet, Path: regexp.MustCompile(`/referrers/|/manifests/sha256-[0-9a-f]{64}$`), Answer: func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/referrers/") != (way == ViaAPI) {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			name := digest.Digest(strings.Replace(path.Base(req.URL.Path), "-", ":", 1))
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_ = json.NewEncoder(w).Encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: listed[name]})
		}})
		got, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/app:v1")}, newStore(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		if found := digests(got.Referrers); len(got.Referrers) != 3 || !found[a.Digest] || !found[b.Digest] || !found[both.Digest] {
			t.Errorf("%s: %d referrers: %+v", way, len(got.Referrers), got.Referrers)
		}
		times := map[string]int{}
		for _, q := range src.Requests() {
			if times[q]++; times[q] > 1 {
				t.Errorf("%s: %s %d times", way, q, times[q])
			}
		}
		if n := src.Count("/manifests/|/referrers/"); n > perManifest*len(all) {
			t.Errorf("%s: %d requests for %d manifests: %v", way, n, len(all), src.Requests())
		}
	}
}
