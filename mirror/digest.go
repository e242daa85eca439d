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
// since whatever comes is hashed here.
type digestTransport struct{ base http.RoundTripper }

func (t digestTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	asked := digest.Digest(path.Base(req.URL.Path))
	if d := req.URL.Query().Get("digest"); d != "" {
		asked = digest.Digest(d)
	}
	got := resp.Header.Get(digestHeader)
	if layout.CheckDigest(asked) == nil && got != "" && !strings.HasPrefix(got, asked.Algorithm().String()+":") {
		resp.Header.Del(digestHeader)
	}
	return resp, nil
}
