package registrytest

import (
	"bytes"
	"net/http"

	"github.com/opencontainers/go-digest"
)

// contents are answers that are not what they say.
func contents() []Case {
	get := func(name string, f Fault) Case {
		f.Method = http.MethodGet
		return Case{Name: name, Want: Fails, Faults: these(f)}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	longer := func(b []byte) []byte { return append(bytes.Clone(b), ' ') }
	// What was sent and does not come back is lost; other artifacts may have arrived.
	lost := func(c Case) Case {
		c.But = map[string]Outcome{"mirror": Partial, "push": Partial, "compare": Partial}
		return c
	}
	class := func(class string, c Case) Case {
		c.Class = class
		return c
	}
	another := digest.FromString("another").String()
	return []Case{
		lost(get("another manifest", Fault{Path: byDigest, Body: spoil})),
		get("another manifest for the tag", Fault{Path: byTag, Body: spoil}),
		{Name: "another index", Want: Fails, But: map[string]Outcome{"mirror": Partial, "pull": Recovers, "push": Recovers},
			Faults: these(Fault{Method: http.MethodGet, Path: manifests, Body: func(b []byte) []byte {
				if bytes.Contains(b, []byte(`"manifests"`)) {
					b = spoil(b)
				}
				return b
			}})},
		get("half a manifest", Fault{Path: byDigest, Body: half}),
		get("half a manifest for the tag", Fault{Path: byTag, Body: half}),
		get("a manifest goes on", Fault{Path: manifests, Body: longer}),
		get("a manifest is empty", Fault{Path: manifests, Body: func([]byte) []byte { return nil }}),
		get("another digest in the header", Fault{Path: manifests, Header: map[string]string{"Docker-Content-Digest": another}}),
		get("an illegal digest in the header", Fault{Path: manifests, Header: map[string]string{"Docker-Content-Digest": "sha256:../../../etc/passwd"}}),
		get("a weak digest in the header", Fault{Path: byTag, Header: map[string]string{"Docker-Content-Digest": "md5:d41d8cd98f00b204e9800998ecf8427e"}}),
		{Name: "no digest in the header", Want: Recovers, Faults: these(
			Fault{Method: http.MethodGet, Path: manifests, Header: map[string]string{"Docker-Content-Digest": ""}})},
		class("mediatype", get("another media type for a manifest", Fault{Path: manifests, Header: map[string]string{"Content-Type": "application/octet-stream"}})),
		get("no media type for a manifest", Fault{Path: manifests, Answer: says(" ", `{}`)}),
		class("mediatype", get("HTML for a manifest", Fault{Path: manifests, Answer: says("text/html", "<html>")})),
		get("HTML for a blob", Fault{Path: blobs, Answer: says("text/html", "<html>")}),
		class("limit", get("a huge manifest", Fault{Path: manifests, Body: func(b []byte) []byte { return append(bytes.Clone(b), make([]byte, 5<<20)...) }})),
		lost(get("an endless manifest", Fault{Path: manifests, Answer: endless("application/vnd.oci.image.manifest.v1+json", `{"schemaVersion":2,"x":"`)})),
		get("another blob", Fault{Path: blobs, Body: spoil}),
		get("half a blob", Fault{Path: blobs, Body: half}),
		get("a blob goes on", Fault{Path: blobs, Body: longer}),
		get("an endless blob", Fault{Path: blobs, Answer: endless("application/octet-stream", "x")}),
		class("missing", lost(get("a manifest is not there", Fault{Path: byDigest, Status: 404, Code: "MANIFEST_UNKNOWN"}))),
		class("missing", get("the tag is not there", Fault{Path: byTag, Status: 404, Code: "MANIFEST_UNKNOWN"})),
		{Name: "a blob is not there", Want: Fails, Class: "missing", But: map[string]Outcome{"compare": Partial, "mirror": Recovers, "mirror --dry-run": Recovers, "push": Recovers},
			Faults: these(Fault{Path: blobs, Status: 404, Code: "BLOB_UNKNOWN"})},
		{Name: "a range from another place", Want: Fails, Faults: func(r *Registry, _ *Elsewhere) []Fault {
			return []Fault{{Method: http.MethodGet, Path: blobs, Answer: r.wrongRange}}
		}},
	}
}

// wrongRange breaks off in a blob, and goes on where it began.
func (r *Registry) wrongRange(w http.ResponseWriter, req *http.Request) {
	if !r.authorized(req) {
		r.challenge(w, req)
		return
	}
	if asked := req.Header.Get("Range"); asked != "" {
		w.Header().Set("Content-Range", "bytes "+asked[len("bytes="):]+"/*")
		w.WriteHeader(http.StatusPartialContent)
		b := r.do(http.MethodGet, req.URL.Path, "", nil).Body.Bytes()
		_, _ = w.Write(b[:len(b)-10])
		return
	}
	r.changed(w, req, &Fault{CutBody: 10, Header: map[string]string{"Accept-Ranges": "bytes"}})
}

// lies are what a registry says of what it has and takes. Elsewhere's registry has
// everything.
func lies() []Case {
	has := func(r *Registry, e *Elsewhere) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if r.authorized(req) {
				e.of.content(w, req)
			} else {
				r.challenge(w, req)
			}
		}
	}
	lying := func(name string, want Outcome, but map[string]Outcome, f Fault) Case {
		return Case{Name: name, Want: want, But: but, Faults: func(r *Registry, e *Elsewhere) []Fault {
			lie := f // each registry has its own
			if lie.Answer == nil && lie.changes() && lie.Header == nil {
				lie.Answer = has(r, e)
			}
			return []Fault{lie}
		}}
	}
	took := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	// Who only asks can't know that a registry lies.
	asks := map[string]Outcome{"mirror --dry-run": Believes}
	return []Case{
		lying("a blob is said to be there", Recovers, asks, Fault{Method: http.MethodHead, Path: blobs}),
		lying("a manifest is said to be there", Recovers, asks, Fault{Method: http.MethodHead, Path: byDigest}),
		lying("the tag is said to be there", Recovers, asks, Fault{Method: http.MethodHead, Path: byTag}),
		lying("everything is said to be there", Recovers, asks, Fault{Method: http.MethodHead}),
		lying("blobs have another size", Recovers, map[string]Outcome{"compare": Partial},
			Fault{Method: http.MethodHead, Path: blobs, Header: map[string]string{"Content-Length": "7"}}),
		{Name: "a blob is said to be mounted", Want: Recovers, Faults: func(r *Registry, _ *Elsewhere) []Fault {
			return []Fault{{Method: http.MethodPost, Path: uploads, Answer: func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Query().Get("mount") == "" || !r.authorized(req) {
					r.honest(w, req)
				} else {
					took(http.StatusCreated)(w, req)
				}
			}}}
		}},
		lying("blobs are taken and dropped", Fails, nil, Fault{Method: http.MethodPut, Path: uploads, Answer: took(http.StatusCreated)}),
		lying("blobs are refused for their digest", Fails, nil, Fault{Method: http.MethodPut, Path: uploads, Status: 400, Code: "DIGEST_INVALID"}),
		lying("manifests are taken and dropped", Partial, nil, Fault{Method: http.MethodPut, Path: byDigest, Answer: took(http.StatusCreated)}),
		lying("the tag is taken and dropped", Partial, nil, Fault{Method: http.MethodPut, Path: byTag, Answer: took(http.StatusCreated)}),
		lying("manifests are taken under another digest", Fails, nil, Fault{
			Method: http.MethodPut, Path: manifests, Header: map[string]string{"Docker-Content-Digest": digest.FromString("another").String()},
		}),
		lying("no digest for HEAD", Fails, map[string]Outcome{"mirror": Partial, "mirror --dry-run": Believes},
			Fault{Method: http.MethodHead, Path: byTag, Header: map[string]string{"Docker-Content-Digest": ""}}),
	}
}
