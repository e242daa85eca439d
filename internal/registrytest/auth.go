package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

const tokenPath = "/token"

// authorized reports whether a request has the credential that it needs.
func (r *Registry) authorized(req *http.Request) bool {
	switch {
	case r.o.Token != "":
		return req.Header.Get("Authorization") == "Bearer "+r.o.Token
	case r.o.Username != "":
		return r.knows(req)
	}
	return true
}

// knows reports whether a request has the user name and the password.
func (r *Registry) knows(req *http.Request) bool {
	u, p, _ := req.BasicAuth()
	return u == r.o.Username && p == r.o.Password
}

// challenge says what a request lacks.
func (r *Registry) challenge(w http.ResponseWriter, req *http.Request) {
	c := `Basic realm="test"`
	if r.o.Token != "" {
		c = bearer(origin(req) + tokenPath)
	}
	w.Header().Set("WWW-Authenticate", c)
	answer(w, http.StatusUnauthorized, "UNAUTHORIZED")
}

func bearer(realm string) string { return fmt.Sprintf("Bearer realm=%q,service=%q", realm, "test") }

// origin is where a request was sent to.
func origin(req *http.Request) string {
	if req.TLS != nil {
		return "https://" + req.Host
	}
	return "http://" + req.Host
}

// expired refuses the first token that comes with a request which was not challenged
// before: one that the client had from an earlier request.
func (r *Registry) expired() http.HandlerFunc {
	var mu sync.Mutex
	challenged, done := map[string]bool{}, false
	return func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		key := req.Method + req.URL.Path
		refuse := r.authorized(req) && !challenged[key] && !done
		done = done || refuse
		challenged[key] = challenged[key] || !r.authorized(req)
		mu.Unlock()
		if refuse {
			r.challenge(w, req)
		} else {
			r.honest(w, req)
		}
	}
}

// giveToken is the token service, in both forms of the distribution project's
// specification: basic authentication, and OAuth 2.
func (r *Registry) giveToken(w http.ResponseWriter, req *http.Request) {
	known := r.knows(req)
	if req.Method == http.MethodPost {
		known = r.o.IdentityToken != "" && req.FormValue("refresh_token") == r.o.IdentityToken ||
			req.FormValue("username") == r.o.Username && req.FormValue("password") == r.o.Password
	}
	if !known {
		answer(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"token": r.o.Token, "access_token": r.o.Token})
}
