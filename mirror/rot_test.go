package mirror

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// A medium may rot, and a file be changed, after it was verified and before it is sent.
// It is not sent to its end, and nothing that needs it is sent; the error tells what it is.
func TestRotBeforeSending(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	inOrder := []string{"config", "layer", "child", "root", "referrer"}
	for how, tt := range map[string]struct {
		change func([]byte) []byte
		class  layout.Class
	}{
		"other": {spoil, layout.ClassDigest},
		"short": {func(b []byte) []byte { return b[:len(b)/2] }, layout.ClassSize},
		"long":  {func(b []byte) []byte { return append(bytes.Clone(b), 'x') }, layout.ClassSize},
	} {
		for i, what := range inOrder {
			t.Run(what+" is "+how, func(t *testing.T) {
				c := storagetest.NewContent()
				config, layer := c.Add(storagetest.ConfigType, []byte(`{"a":1}`)), c.Add(storagetest.BlobType, noise(aLayer))
				child := c.AddImage(config, layer)
				root := c.AddIndex(child)
				sig := c.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "test/signature",
					Config: config, Layers: []ocispec.Descriptor{layer}, Subject: &root,
				})
				parts := []ocispec.Descriptor{config, layer, child, root, sig}
				dst := registrytest.Start(registrytest.Options{}) // it takes manifests without their blobs
				defer dst.Close()
				client, err := NewClient(ClientOptions{})
				if err != nil {
					t.Fatal(err)
				}
				p, err := client.Plan(t.Context(), c, []Target{{"app", root, ref(t, dst.Host+"/app:v1")}}, &PlanOptions{Referrers: []ocispec.Descriptor{sig}})
				if err != nil {
					t.Fatal(err)
				}
				honest := dst.Beside(registrytest.Options{})
				defer honest.Close()
				dst.Fail(registrytest.Fault{Method: http.MethodPut, Path: uploads, Answer: func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Query().Get("digest") != parts[i].Digest.String() {
						honest.Handler().ServeHTTP(w, req)
						return
					}
					if n, err := io.Copy(io.Discard, req.Body); err == nil {
						t.Errorf("all %d bytes are sent", n)
					}
					w.WriteHeader(http.StatusCreated)
				}})
				c.Blobs[parts[i].Digest] = tt.change(c.Blobs[parts[i].Digest])
				rep, err := p.Push(t.Context())
				if err == nil {
					t.Fatal("it is pushed")
				}
				if layout.ClassOf(err) != tt.class || rep.Artifacts[0].Status != StatusFailed {
					t.Errorf("class %s, %+v", layout.ClassOf(err), rep.Artifacts[0])
				}
				if said := err.Error(); !strings.HasPrefix(said, "push "+dst.Host+"/app:v1: ") || !strings.Contains(said, "blob "+parts[i].Digest.String()+" is damaged: ") {
					t.Errorf("error %v", err)
				}
				if tags := dst.Tags(); len(tags) > 0 {
					t.Errorf("there are tags: %v", tags)
				}
				for j, part := range parts {
					if layout.IsManifest(part.MediaType) && dst.Has("app", part.Digest) != (i >= 2 && j < i) {
						t.Errorf("the %s is there: %v", inOrder[j], dst.Has("app", part.Digest))
					}
				}
				if n := dst.Count("^PUT .*" + parts[i].Digest.Encoded()); n > 1 {
					t.Errorf("it was sent %d times", n)
				}
			})
		}
	}
}
