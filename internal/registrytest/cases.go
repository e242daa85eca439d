package registrytest

import (
	"net/http"
	"regexp"
	"slices"
)

// Case is one way in which registries misbehave.
type Case struct {
	Name string
	Want Outcome // what must come of a command that meets it
	// But is what must come of single commands, by their names.
	But map[string]Outcome
	// Class is what the error may be of beside remote, in the words of package layout.
	Class string
	// Faults makes the faults for a registry and another origin.
	Faults func(r *Registry, e *Elsewhere) []Fault
}

// Outcome is what must come of a command.
type Outcome string

// The outcomes. A command that fails says so in one line, which names the registry, and
// leaves nothing half done.
const (
	Recovers Outcome = "recovers" // exit code 0, with all of the result right
	Fails    Outcome = "fails"    // exit code 1
	Partial  Outcome = "partial"  // exit code 4: something did not arrive, or differs
	// Believes is exit code 0 where a command can't know better: it asks whether
	// something is there, and the registry lies. What the command writes is right.
	Believes Outcome = "believes"
)

// Cases are all of them. Those that take clients longest come first.
func Cases() []Case {
	return slices.Concat(referrers(), passing(), lasting(), contents(), lies(), Origins())
}

var (
	blobs       = regexp.MustCompile(`/blobs/sha256:`)
	uploads     = regexp.MustCompile(`/blobs/uploads/`)
	manifests   = regexp.MustCompile(`/manifests/`)
	byDigest    = regexp.MustCompile(`/manifests/sha256:`)
	byTag       = regexp.MustCompile(`/manifests/v1$`)
	listing     = regexp.MustCompile(`/referrers/`)
	fallbackTag = regexp.MustCompile(`/manifests/sha256-[0-9a-f]{64}$`)
	tokens      = regexp.MustCompile(`^/token$`)
	tagList     = regexp.MustCompile(`/tags/list$`)
	all         = regexp.MustCompile(`^/v2/`)
)

// these makes a case of faults that need nothing.
func these(faults ...Fault) func(*Registry, *Elsewhere) []Fault {
	return func(*Registry, *Elsewhere) []Fault { return slices.Clone(faults) }
}

var now = map[string]string{"Retry-After": "0"}

// passing are the cases that pass, and are met by another try.
func passing() []Case {
	one := func(name string, faults ...Fault) Case {
		return Case{Name: name, Want: Recovers, Faults: these(faults...)}
	}
	return []Case{
		one("429 for a while", Fault{Times: 3, Status: 429, Header: now}),
		one("429 with a second to wait", Fault{Times: 1, Status: 429, Header: map[string]string{"Retry-After": "1"}}),
		one("429 until a date", Fault{Times: 1, Status: 429, Header: map[string]string{"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}}),
		one("408, 500, 502, 503 and 504", Fault{Times: 1, Status: 408, Header: now}, Fault{Times: 1, Status: 500, Header: now},
			Fault{Times: 1, Status: 502, Header: now}, Fault{Times: 1, Status: 503, Header: now}, Fault{Times: 1, Status: 504, Header: now}),
		one("503 for blobs", Fault{Path: blobs, Times: 2, Status: 503, Header: now}),
		one("500 for uploads", Fault{Method: http.MethodPut, Path: uploads, Times: 2, Status: 500}),
		one("500 for manifests", Fault{Method: http.MethodPut, Path: manifests, Times: 2, Status: 500, Header: now}),
		one("no answer, and the connection closed", Fault{Path: all, Skip: 1, Times: 2, Drop: true}),
		one("no answer at first", Fault{Times: 1, Drop: true}),
		one("reset in a manifest", Fault{Method: http.MethodGet, Path: manifests, Times: 2, CutBody: 20}),
		one("reset in a blob", Fault{Method: http.MethodGet, Path: blobs, Times: 3, CutBody: 100}),
		one("reset in a blob, with ranges", Fault{
			Method: http.MethodGet, Path: blobs, Times: 3, CutBody: 100, Header: map[string]string{"Accept-Ranges": "bytes"},
		}),
		one("reset in a list of referrers", Fault{Method: http.MethodGet, Path: listing, Times: 1, CutBody: 40}),
		one("reset in a token", Fault{Path: tokens, Times: 1, CutBody: 5}),
		one("reset in an upload", Fault{Method: http.MethodPut, Path: uploads, Times: 2, CutSend: 100}),
		one("reset in the push of a manifest", Fault{Method: http.MethodPut, Path: manifests, Times: 2, CutSend: 100}),
		one("silence", Fault{Path: all, Skip: 1, Times: 1, Stall: true}),
		one("silence in a manifest", Fault{Method: http.MethodGet, Path: manifests, Times: 1, StallBody: 20}),
		one("silence in a blob", Fault{Method: http.MethodGet, Path: blobs, Times: 1, StallBody: 100}),
		one("silence in a list of referrers", Fault{Method: http.MethodGet, Path: listing, Times: 1, StallBody: 40}),
		one("silence in an upload", Fault{Method: http.MethodPut, Path: uploads, Times: 1, StallSend: 100}),
		one("silence after an upload", Fault{Method: http.MethodPut, Path: uploads, Times: 1, Stall: true}),
		one("silence in the push of a manifest", Fault{Method: http.MethodPut, Path: manifests, Times: 1, StallSend: 100}),
		one("silence of the token service", Fault{Path: tokens, Times: 1, Stall: true}),
		one("an upload session is lost", Fault{Method: http.MethodPut, Path: uploads, Times: 1, Status: 404, Code: "BLOB_UPLOAD_UNKNOWN"}),
		one("another blob, once", Fault{Method: http.MethodGet, Path: blobs, Times: 1, Body: spoil}),
		one("another manifest, once", Fault{Method: http.MethodGet, Path: byDigest, Times: 1, Body: spoil}),
		{Name: "a token expires", Want: Recovers, Faults: func(r *Registry, _ *Elsewhere) []Fault {
			return []Fault{{Path: all, Answer: r.expired()}}
		}},
		{Name: "a token expires before an upload", Want: Recovers, Faults: func(r *Registry, _ *Elsewhere) []Fault {
			return []Fault{{Method: http.MethodPut, Path: uploads, Times: 1, Answer: r.challenge}}
		}},
	}
}

// lasting are the cases that do not pass.
func lasting() []Case {
	one := func(name string, faults ...Fault) Case {
		return Case{Name: name, Want: Fails, Faults: these(faults...)}
	}
	return []Case{
		one("429 for good", Fault{Path: all, Status: 429, Header: now}),
		one("503 for good", Fault{Path: all, Status: 503, Header: now}),
		one("501", Fault{Path: all, Status: 501}),
		one("403", Fault{Path: all, Status: 403, Code: "DENIED"}),
		one("403 for uploads", Fault{Method: http.MethodPut, Path: uploads, Status: 403, Code: "DENIED"}),
		one("403 for manifests", Fault{Method: http.MethodPut, Path: manifests, Status: 403, Code: "DENIED"}),
		{Name: "403 for the tag", Want: Partial, But: map[string]Outcome{"push": Fails},
			Faults: these(Fault{Method: http.MethodPut, Path: byTag, Status: 403, Code: "DENIED"})},
		{Name: "403 for one repository", Want: Partial, But: map[string]Outcome{"push": Fails},
			Faults: these(Fault{Method: http.MethodPut, Path: regexp.MustCompile(`/acme/one/|/decks/`), Status: 403, Code: "DENIED"})},
		one("413", Fault{Method: http.MethodPut, Path: uploads, Status: 413}),
		{Name: "401, whoever asks", Want: Fails, Faults: func(r *Registry, _ *Elsewhere) []Fault {
			return []Fault{{Path: all, Answer: r.challenge}}
		}},
		one("401 without a challenge", Fault{Path: all, Status: 401}),
		one("the token service refuses", Fault{Path: tokens, Status: 401, Code: "UNAUTHORIZED"}),
		one("the token service fails", Fault{Path: tokens, Status: 503, Header: now}),
		one("no token in the token", Fault{Path: tokens, Answer: says("application/json", `{}`)}),
		one("an endless token", Fault{Path: tokens, Answer: endless("application/json", `{"token":"`)}),
		one("every connection closed", Fault{Path: all, Drop: true}),
		one("silence for good", Fault{Path: all, Stall: true}),
		one("an endless error", Fault{Path: all, Answer: func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			endless("", "x")(w, req)
		}}),
		{Name: "a page of HTML", Want: Fails, Class: "mediatype", But: map[string]Outcome{"login": Believes},
			Faults: these(Fault{Path: all, Answer: says("text/html", "<html>who are you?</html>")})},
		one("redirected in a circle", Fault{Path: all, Answer: func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, origin(req)+req.URL.RequestURI(), http.StatusTemporaryRedirect)
		}}),
	}
}

func spoil(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return b
}

// says answers 200.
func says(mediaType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write([]byte(body))
	}
}

// endless goes on for as long as the client listens, and 64 MiB at most.
func endless(mediaType, begin string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if mediaType != "" {
			w.Header().Set("Content-Type", mediaType)
		}
		b := append([]byte(begin), make([]byte, 64<<10)...)
		for i := len(begin); i < len(b); i++ {
			b[i] = 'x'
		}
		for range 1024 {
			if _, err := w.Write(b); err != nil {
				return
			}
			b = b[len(b)-64<<10:]
		}
	}
}
