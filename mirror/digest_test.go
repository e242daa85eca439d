package mirror

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
)

type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) { return a(req), nil }

// A registry that keeps sha256 answers with it where it was asked for sha512. That is
// no lie; another digest of the algorithm that was asked for would be one.
func TestAnswerInAnotherAlgorithm(t *testing.T) {
	sha256, sha512, other := digest.FromString("x"), digest.SHA512.FromString("x"), digest.SHA512.FromString("y")
	for name, tt := range map[string]struct {
		path   string
		answer digest.Digest
		kept   bool
	}{
		"the same":             {"/v2/a/blobs/" + sha512.String(), sha512, true},
		"another algorithm":    {"/v2/a/blobs/" + sha512.String(), sha256, false},
		"another digest":       {"/v2/a/blobs/" + sha512.String(), other, true},
		"the end of an upload": {"/v2/a/blobs/uploads/1?digest=" + sha512.String(), sha256, false},
		"a tag":                {"/v2/a/manifests/v1", sha256, true},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://registry.internal"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := digestTransport{answering(func(*http.Request) *http.Response {
			return &http.Response{Header: http.Header{digestHeader: {tt.answer.String()}}, Body: http.NoBody}
		})}.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if kept := resp.Header.Get(digestHeader) != ""; kept != tt.kept {
			t.Errorf("%s: kept is %v", name, kept)
		}
		resp.Body.Close()
	}
}
