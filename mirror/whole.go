package mirror

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/airdeck/airdeck/layout"
)

// wholeTransport reads an answer that is no blob to its end before it hands it out.
// A connection that breaks in the middle of it is then a request that failed, and is
// repeated like one: oras-go reads tokens and lists of referrers itself, and what it
// says of half of one can't be told from what it says of a registry that has none.
type wholeTransport struct{ base http.RoundTripper }

func (t wholeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || asksForBlob(req) {
		return resp, err
	}
	// Whoever reads an answer bounds it; this bounds what is kept of it.
	b, err := io.ReadAll(io.LimitReader(resp.Body, layout.MaxManifestSize+1))
	if err == nil {
		err = checkLists(b)
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), resp.Body), resp.Body}
	return resp, nil
}

// checkLists refuses an answer that is small and becomes large: oras-go makes a descriptor
// of 150 bytes of each {} in a list. What is no JSON is for others to judge.
func checkLists(b []byte) error {
	if len(b) < len("{},")*layout.MaxListed {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(b), jsontext.AllowDuplicateNames(true))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return nil
		}
		if in, n := dec.StackIndex(dec.StackDepth()); in == '[' && n > layout.MaxListed {
			return layout.Errorf(layout.ClassRemote, "the registry answers with a list of more than %d items", layout.MaxListed)
		}
	}
}

// asksForBlob reports whether a request is for a blob. One that follows a redirect is
// for what was asked for first, whatever its path is.
func asksForBlob(req *http.Request) bool {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return strings.Contains(req.URL.Path, "/blobs/")
}
