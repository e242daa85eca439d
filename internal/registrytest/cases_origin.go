package registrytest

import (
	"net/http"
	"regexp"
	"strings"
)

// TokensElsewhere is the case in which a registry names a token service at another
// origin. With TLS that is legal, and the service is asked with the user name and the
// password.
const TokensElsewhere = "the token service is elsewhere"

// Origins are the cases that lead to another origin. No credential may go there.
func Origins() []Case {
	to := func(name string, want Outcome, method string, path *regexp.Regexp, status int, where func(e *Elsewhere, req *http.Request) string) Case {
		return Case{Name: name, Want: want, Faults: func(r *Registry, e *Elsewhere) []Fault {
			return []Fault{{Method: method, Path: path, Answer: func(w http.ResponseWriter, req *http.Request) {
				if !r.authorized(req) {
					r.challenge(w, req)
					return
				}
				w.Header().Set("Location", where(e, req))
				w.WriteHeader(status)
			}}}
		}}
	}
	// Who only asks can't know that what is elsewhere is not there.
	asks := func(c Case) Case {
		c.But = map[string]Outcome{"mirror --dry-run": Believes}
		return c
	}
	under := func(verb string) func(*Elsewhere, *http.Request) string {
		return func(e *Elsewhere, req *http.Request) string { return e.URL + verb + req.URL.RequestURI() }
	}
	back := func(e *Elsewhere, req *http.Request) string {
		if req.URL.Query().Get("back") != "" {
			return "/v2/" // it has been there
		}
		return e.URL + "/back/" + strings.Replace(origin(req), "://", "/", 1) + req.URL.Path + "?back=1"
	}
	const get, put, post, temporary = http.MethodGet, http.MethodPut, http.MethodPost, http.StatusTemporaryRedirect
	return []Case{
		asks(to("blobs are elsewhere", Recovers, "", blobs, temporary, under("/serve"))),
		asks(to("blobs are elsewhere, for good", Recovers, "", blobs, http.StatusPermanentRedirect, under("/serve"))),
		asks(to("questions are answered elsewhere", Recovers, http.MethodHead, all, temporary, under("/serve"))),
		to("manifests are elsewhere", Recovers, get, manifests, temporary, under("/serve")),
		to("elsewhere asks for a password", Fails, "", blobs, temporary, under("/basic")),
		to("elsewhere asks for a token", Fails, "", blobs, temporary, under("/bearer")),
		to("elsewhere leads back", Fails, "", blobs, temporary, back),
		to("elsewhere does not speak HTTP", Fails, "", blobs, temporary, func(*Elsewhere, *http.Request) string { return "file:///etc/passwd" }),
		to("the upload goes elsewhere", Fails, post, uploads, http.StatusAccepted, under("/take")),
		to("the upload goes nowhere", Fails, post, uploads, http.StatusAccepted, func(*Elsewhere, *http.Request) string { return "://" }),
		to("the upload begins elsewhere", Fails, post, uploads, temporary, under("/take")),
		to("the upload is sent on elsewhere", Fails, put, uploads, temporary, under("/take")),
		to("manifests are sent on elsewhere", Partial, put, byDigest, temporary, under("/take")),
		{Name: "the next page of referrers is elsewhere", Want: Fails, But: map[string]Outcome{"mirror": Partial}, Faults: func(_ *Registry, e *Elsewhere) []Fault {
			return []Fault{{Method: get, Path: listing, Header: map[string]string{"Link": "<" + e.URL + `/serve/v2/acme/app/referrers/x>; rel="next"`}}}
		}},
		{Name: "the next page of tags is elsewhere", Want: Recovers, Faults: func(_ *Registry, e *Elsewhere) []Fault {
			return []Fault{{Method: get, Path: tagList, Answer: func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Link", "<"+e.URL+`/serve/v2/acme/app/tags/list>; rel="next"`)
				says("application/json", `{"name":"acme/app","tags":["v0"]}`)(w, req)
			}}}
		}},
		{Name: TokensElsewhere, Want: Fails, Class: "origin", Faults: realm(func(e *Elsewhere) string { return e.URL + "/token" })},
		{Name: "the token service is elsewhere, without TLS", Want: Fails, Class: "origin", Faults: realm(func(e *Elsewhere) string {
			return "http://" + e.URL[strings.Index(e.URL, "//")+2:] + "/token"
		})},
		{Name: "the token service does not speak HTTP", Want: Fails, Faults: realm(func(*Elsewhere) string { return "file:///etc/passwd" })},
		to("the token service sends elsewhere", Fails, "", tokens, temporary, func(e *Elsewhere, _ *http.Request) string { return e.URL + "/token" }),
	}
}

// realm names a token service.
func realm(where func(e *Elsewhere) string) func(*Registry, *Elsewhere) []Fault {
	return func(r *Registry, e *Elsewhere) []Fault {
		return []Fault{{Path: all, Answer: func(w http.ResponseWriter, req *http.Request) {
			if r.authorized(req) {
				r.content(w, req)
				return
			}
			w.Header().Set("WWW-Authenticate", bearer(where(e)))
			answer(w, http.StatusUnauthorized, "UNAUTHORIZED")
		}}}
	}
}
