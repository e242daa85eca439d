package registrytest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// referrers are the ways not to have the referrers API, and to lie in it and in the
// fallback tag.
func referrers() []Case {
	const index = ocispec.MediaTypeImageIndex
	// What is read back after a push concerns one artifact of several.
	one := map[string]Outcome{"mirror": Partial}
	api := func(name string, want Outcome, f Fault) Case {
		f.Path = listing
		c := Case{Name: "referrers API: " + name, Want: want, Faults: these(f)}
		if want == Fails {
			c.But = one
		}
		return c
	}
	tag := func(name string, want Outcome, f Fault) Case {
		f.Path, f.Method = fallbackTag, http.MethodGet
		c := api(name, want, f)
		c.Name, c.Faults = "fallback tag: "+name, these(f)
		return c
	}
	// Who reads back looks for what it sent, and not for more.
	more := func(class string, c Case) Case {
		c.But, c.Class = map[string]Outcome{"mirror": Recovers, "compare": Recovers}, class
		return c
	}
	none := func([]byte) []byte { return []byte(listOf()) }
	return []Case{
		api("404", Recovers, Fault{Status: 404}),
		api("404 in JSON", Recovers, Fault{Status: 404, Code: "UNSUPPORTED"}),
		api("404 in HTML", Recovers, Fault{Status: 404, Header: map[string]string{"Content-Type": "text/html"}}),
		api("405", Recovers, Fault{Status: 405}),
		api("HTML", Recovers, Fault{Answer: says("text/html", "<html>")}),
		api("another media type", Recovers, Fault{Header: map[string]string{"Content-Type": "application/json"}}),
		api("nothing", Recovers, Fault{Answer: says(index, "")}),
		api("none", Recovers, Fault{Body: none}),
		api("403", Fails, Fault{Status: 403, Code: "DENIED"}),
		api("503", Fails, Fault{Status: 503, Header: now}),
		api("half a list", Fails, Fault{Body: func(b []byte) []byte { return b[:len(b)/2] }}),
		api("always reset", Fails, Fault{CutBody: 40}),
		api("an endless list", Fails, Fault{Answer: endless(index, `{"schemaVersion":2,"manifests":[{"mediaType":"`)}),
		api("always silent", Fails, Fault{StallBody: 40}),
		api("pages without end", Fails, Fault{Header: map[string]string{"Link": `</v2/acme/app/referrers/sha256:` + strings.Repeat("0", 64) + `?n=1>; rel="next"`}}),
		api("a strange link", Fails, Fault{Header: map[string]string{"Link": "next"}}),
		more("missing", api("what is not there", Fails, Fault{Answer: says(index, listOf(digest.FromString("nobody")))})),
		more("digest", api("an illegal digest", Fails, Fault{Answer: says(index, listOf("sha256:../../x"))})),
		tag("another index", Fails, Fault{Body: spoil}),
		tag("half an index", Fails, Fault{Body: func(b []byte) []byte { return b[:len(b)/2] }}),
		tag("no index", Recovers, Fault{Answer: says("text/html", "<html>")}),
		tag("403", Fails, Fault{Status: 403, Code: "DENIED"}),
		tag("503", Fails, Fault{Status: 503, Header: now}),
		more("missing", tag("what is not there", Fails, Fault{
			Body: func([]byte) []byte { return []byte(listOf(digest.FromString("nobody"))) }, Header: map[string]string{"Docker-Content-Digest": ""},
		})),
		tag("an endless index", Fails, Fault{Answer: endless(index, `{"schemaVersion":2,"manifests":[{"mediaType":"`)}),
		{Name: "referrers are not listed", Want: Partial, But: map[string]Outcome{"pack": Believes, "compare references": Believes}, Faults: these(
			Fault{Method: http.MethodGet, Path: listing, Body: none}, Fault{Method: http.MethodGet, Path: fallbackTag, Status: 404})},
		{Name: "the subject is listed as its own referrer", Want: Recovers, Faults: func(r *Registry, _ *Elsewhere) []Fault {
			return []Fault{{Method: http.MethodGet, Path: listing, Answer: r.listsTheSubject}}
		}},
	}
}

// listOf is an index of manifests that have nothing but their digests.
func listOf(ds ...digest.Digest) string {
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for _, d := range ds {
		idx.Manifests = append(idx.Manifests, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 100})
	}
	b, err := json.Marshal(idx)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// listsTheSubject says of every manifest that it refers to itself.
func (r *Registry) listsTheSubject(w http.ResponseWriter, req *http.Request) {
	if !r.authorized(req) {
		r.challenge(w, req)
		return
	}
	rec := r.do(http.MethodGet, strings.Replace(req.URL.Path, "/referrers/", "/manifests/", 1), "", nil)
	d := ocispec.Descriptor{MediaType: rec.Header().Get("Content-Type"), Size: int64(rec.Body.Len()), Digest: digest.FromBytes(rec.Body.Bytes())}
	b, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d},
	})
	if err != nil {
		panic(err)
	}
	says(ocispec.MediaTypeImageIndex, string(b))(w, req)
}
