package mirror

import (
	"net/http"

	"github.com/airdeck/airdeck/layout"
)

// originTransport refuses to send a credential without TLS to a host for which nobody
// asked for that, such as a token service that a registry names.
type originTransport struct {
	base http.RoundTripper
	// plain reports whether plain HTTP is spoken with a host.
	plain func(host string) bool
}

func (t originTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if host := req.URL.Host; req.URL.Scheme == "http" && carriesCredential(req) && !t.plain(host) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, layout.Errorf(layout.ClassOrigin, "refused: a credential would go to %s without TLS (--plain-http %s allows it)", host, host)
	}
	return t.base.RoundTrip(req)
}

// carriesCredential knows the two places: the header, and the form that a token
// service takes.
func carriesCredential(req *http.Request) bool {
	return req.Header.Get("Authorization") != "" || req.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
}
