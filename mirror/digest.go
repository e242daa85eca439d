package mirror

import (
	"net/http"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/layout"
)

const digestHeader = "Docker-Content-Digest"

// digestTransport drops the digest of an answer that is of another algorithm than the
// one that was asked for: distribution knows sha256 only, and answers so where it
// was asked for sha512. oras-go would take that for a lie. Nothing is lost by it,
// since whatever comes is hashed here. An answer that names another digest of the same
// algorithm is asked for once more, as other content is: a cache may be at fault.
type digestTransport struct{ base http.RoundTripper }

func (t digestTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	asked := digest.Digest(path.Base(req.URL.Path))
	if d := req.URL.Query().Get("digest"); d != "" {
		asked = digest.Digest(d)
	}
	for again := false; ; again = true {
		resp, err := t.base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		got := resp.Header.Get(digestHeader)
		if layout.CheckDigest(asked) != nil || got == "" || got == asked.String() {
			return resp, nil
		}
		if !strings.HasPrefix(got, asked.Algorithm().String()+":") {
			resp.Header.Del(digestHeader)
			return resp, nil
		}
		if again || resp.StatusCode/100 != 2 || req.Method != http.MethodGet && req.Method != http.MethodHead {
			return resp, nil // oras-go refuses it, and names both digests
		}
		resp.Body.Close()
	}
}
