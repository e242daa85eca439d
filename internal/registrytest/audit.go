package registrytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// do asks the registry for its content. It is not recorded, and no fault is met.
func (r *Registry) do(method, path, mediaType string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", mediaType)
	rec := httptest.NewRecorder()
	r.content(rec, req)
	return rec
}

// AddBlob puts a blob into a repository.
func (r *Registry) AddBlob(repo, mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if rec := r.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d.Digest.String(), "application/octet-stream", b); rec.Code != http.StatusCreated {
		panic(fmt.Sprintf("the blob was not taken: %d", rec.Code))
	}
	return d
}

// AddManifest puts a manifest into a repository, under its digest and the tags.
func (r *Registry) AddManifest(repo, mediaType string, manifest any, tags ...string) ocispec.Descriptor {
	b, err := json.Marshal(manifest)
	if err != nil {
		panic(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	for _, reference := range append(tags, d.Digest.String()) {
		if rec := r.do(http.MethodPut, "/v2/"+repo+"/manifests/"+reference, mediaType, b); rec.Code != http.StatusCreated {
			panic(fmt.Sprintf("the manifest was not taken: %d", rec.Code))
		}
	}
	return d
}

// Has reports whether a repository has a manifest.
func (r *Registry) Has(repo string, d digest.Digest) bool {
	return r.do(http.MethodHead, "/v2/"+repo+"/manifests/"+d.String(), "", nil).Code == http.StatusOK
}

// Tags gives what every tag of every repository names, as repository:tag.
func (r *Registry) Tags() map[string]digest.Digest {
	out := map[string]digest.Digest{}
	var catalog struct{ Repositories []string }
	r.decode("/v2/_catalog", &catalog)
	for _, repo := range catalog.Repositories {
		var list struct{ Tags []string }
		r.decode("/v2/"+repo+"/tags/list", &list)
		for _, tag := range list.Tags {
			out[repo+":"+tag] = digest.FromBytes(r.do(http.MethodGet, "/v2/"+repo+"/manifests/"+tag, "", nil).Body.Bytes())
		}
	}
	return out
}

func (r *Registry) decode(path string, v any) {
	if err := json.Unmarshal(r.do(http.MethodGet, path, "", nil).Body.Bytes(), v); err != nil {
		panic(path + ": " + err.Error())
	}
}

// Audit fetches and hashes everything that can be reached from any tag, and says
// what is not there or is something else.
func (r *Registry) Audit() error {
	var wrong []error
	for name, d := range r.Tags() {
		repo, _, _ := strings.Cut(name, ":")
		if err := r.audit(repo, ocispec.Descriptor{Digest: d, MediaType: ocispec.MediaTypeImageIndex}); err != nil {
			wrong = append(wrong, fmt.Errorf("%s is incomplete: %w", name, err))
		}
	}
	return errors.Join(wrong...)
}

func (r *Registry) audit(repo string, d ocispec.Descriptor) error {
	kind := "/blobs/"
	if isManifest(d.MediaType) {
		kind = "/manifests/"
	}
	rec := r.do(http.MethodGet, "/v2/"+repo+kind+d.Digest.String(), "", nil)
	b, err := io.ReadAll(rec.Body)
	switch {
	case err != nil:
		return err
	case rec.Code != http.StatusOK:
		return fmt.Errorf("%s: %d", d.Digest, rec.Code)
	case d.Digest.Algorithm().FromBytes(b) != d.Digest:
		return fmt.Errorf("%s: other content", d.Digest)
	case kind == "/blobs/":
		return nil
	}
	children, err := childrenOf(b)
	for _, c := range children {
		err = errors.Join(err, r.audit(repo, c))
	}
	return err
}

func isManifest(mediaType string) bool {
	return strings.HasSuffix(mediaType, "manifest.v1+json") || strings.HasSuffix(mediaType, "index.v1+json") ||
		strings.HasSuffix(mediaType, "manifest.v2+json") || strings.HasSuffix(mediaType, "manifest.list.v2+json")
}

func childrenOf(manifest []byte) ([]ocispec.Descriptor, error) {
	var m struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	err := json.Unmarshal(manifest, &m)
	out := slices.Concat(m.Layers, m.Manifests)
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	return out, err
}

// refused refuses a manifest whose blobs are not in its repository. The handler below
// looks for manifests only.
func (r *Registry) refused(w http.ResponseWriter, req *http.Request) bool {
	repo, _, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
	if !ok || req.Method != http.MethodPut {
		return false
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return true // the client has gone
	}
	req.Body = io.NopCloser(bytes.NewReader(b))
	children, err := childrenOf(b)
	if err != nil {
		answer(w, http.StatusBadRequest, "MANIFEST_INVALID")
		return true
	}
	for _, c := range children {
		if !isManifest(c.MediaType) && r.do(http.MethodHead, "/v2/"+repo+"/blobs/"+c.Digest.String(), "", nil).Code != http.StatusOK {
			answer(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			return true
		}
	}
	return false
}
