package mirror

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// referrer makes a manifest that refers to another.
func (f *fixture) referrer(kind string, subject ocispec.Descriptor) ocispec.Descriptor {
	f.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: kind,
		Config: f.push(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers: []ocispec.Descriptor{f.push("text/plain", []byte(kind+subject.Digest.String()))}, Subject: &subject,
	}
	d := f.json(m.MediaType, m)
	d.ArtifactType = kind
	return d
}

// signed is an index whose root and child have referrers, one of which has one
// itself, and a signature of the older kind.
type signed struct {
	root, child           ocispec.Descriptor
	sig, att, notary, sbo ocispec.Descriptor
}

func (f *fixture) signed(to *registrytest.Registry) signed {
	f.Helper()
	var s signed
	s.child = f.artifact("child", 3000)
	s.root = f.index(s.child)
	s.sig = f.referrer("test/signature", s.root)
	s.att = f.referrer("test/attestation", s.child)
	s.notary = f.referrer("test/signature", s.att)
	s.sbo = f.artifact("sbom", 50)
	var targets []Target
	add := func(name string, d ocispec.Descriptor) {
		targets = append(targets, Target{Source: name, Descriptor: d, Reference: ref(f.T, to.Host+"/"+name)})
	}
	add("acme/app:v1", s.root)
	add("acme/app:"+fallbackTag(s.child.Digest)+".sbom", s.sbo)
	p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, targets, &PlanOptions{Referrers: []ocispec.Descriptor{s.notary, s.att, s.sig}})
	if err != nil {
		f.Fatal(err)
	}
	rep, err := p.Push(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	// Three refer to it or its child, and one is a tag of cosign's.
	if got := rep.Artifacts[0].Fidelity; got.Referrers != 4 || got.Found[ViaCosign] != 1 || len(got.Lost) != 0 || got.Manifests != 5 || !got.Tag {
		f.Errorf("fidelity %+v", got)
	}
	return s
}

func digests(ds []ocispec.Descriptor) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, d := range ds {
		out[d.Digest] = true
	}
	return out
}

// A run that is killed may have sent a referrer, and not the fallback tag that lists
// it. The next one has it listed before it sets the tag.
func TestReferrersAreListedBeforeTheTag(t *testing.T) {
	f := newFixture(t)
	dst := registrytest.Start(registrytest.Options{NoReferrers: true})
	t.Cleanup(dst.Close)
	root := f.artifact("signed", 100)
	sig := f.referrer("test/signature", root)
	send := func() {
		t.Helper()
		target := Target{Source: "app", Descriptor: root, Reference: ref(t, dst.Host+"/app:v1")}
		p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{target}, &PlanOptions{Referrers: []ocispec.Descriptor{sig}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Push(f.ctx); err != nil {
			t.Fatal(err)
		}
	}
	send()
	for _, tag := range []string{"v1", fallbackTag(root.Digest)} {
		req, err := http.NewRequestWithContext(f.ctx, http.MethodDelete, "http://"+dst.Host+"/v2/app/manifests/"+tag, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	dst.Reset()
	send()
	requests := dst.Requests()
	listed := slices.Index(requests, "PUT /v2/app/manifests/"+fallbackTag(root.Digest))
	tagged := slices.Index(requests, "PUT /v2/app/manifests/v1")
	if listed < 0 || tagged < listed {
		t.Errorf("%q", requests)
	}
}

// What hangs on an artifact goes with it, from registries with and without the
// referrers API to registries with and without it.
func TestReferrers(t *testing.T) {
	for _, from := range []bool{false, true} {
		for _, to := range []bool{false, true} {
			f := newFixture(t)
			src := registrytest.Start(registrytest.Options{NoReferrers: from})
			dst := registrytest.Start(registrytest.Options{NoReferrers: to})
			t.Cleanup(src.Close)
			t.Cleanup(dst.Close)
			s := f.signed(src)
			store := newStore(t)
			c := f.client(ClientOptions{})
			got, err := c.Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/acme/app:v1")}, store, nil)
			if err != nil {
				t.Fatal(err)
			}
			found := digests(got.Referrers)
			for _, d := range []ocispec.Descriptor{s.sig, s.att, s.notary, s.sbo} {
				if !found[d.Digest] {
					t.Errorf("%v: %s was not found", from, d.ArtifactType)
				}
			}
			if len(got.Referrers) != 4 {
				t.Errorf("%d referrers: %+v", len(got.Referrers), got.Referrers)
			}
			var targets []Target
			var unnamed []ocispec.Descriptor
			for _, e := range append(got.Entries, got.Referrers...) {
				if n := layout.EntryName(e); n != "" {
					r := ref(t, n)
					r.Registry = dst.Host
					targets = append(targets, Target{n, e, r})
				} else {
					unnamed = append(unnamed, e)
				}
			}
			for run := range 2 {
				p, err := c.Plan(f.ctx, store, targets, &PlanOptions{Referrers: unnamed})
				if err != nil {
					t.Fatal(err)
				}
				rep, err := p.Push(f.ctx)
				if err != nil {
					t.Fatal(err)
				}
				way := map[bool]string{false: ViaAPI, true: ViaTag}[to]
				for _, a := range rep.Artifacts {
					if a.Digest == s.root.Digest && (a.Fidelity.Found[way] != 3 || a.Status != []Status{StatusPushed, StatusPresent}[run]) {
						t.Errorf("run %d: %s %+v", run, a.Status, a.Fidelity)
					}
				}
			}
			// Found there in their turn, everything is what it was.
			back, err := c.Pull(f.ctx, []layout.Reference{ref(t, dst.Host+"/acme/app:v1")}, newStore(t), nil)
			if err != nil || len(back.Referrers) != 4 || back.Entries[0].Digest != s.root.Digest {
				t.Errorf("%v to %v: %v, %+v", from, to, err, back)
			}
			none, err := c.Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/acme/app:v1")}, newStore(t), &PullOptions{NoReferrers: true})
			if err != nil || len(none.Referrers) != 0 {
				t.Errorf("without referrers: %v, %+v", err, none)
			}
		}
	}
}

// P4: the tag comes after everything that hangs on what it names, tags of cosign's
// among it, and these come after what they belong to.
func TestTagAfterReferrers(t *testing.T) {
	f := newFixture(t)
	s := f.signed(f.dst)
	const put = "PUT /v2/acme/app/manifests/"
	var order []string
	for _, q := range f.dst.Requests() {
		if m, ok := strings.CutPrefix(q, put); ok {
			order = append(order, m)
		}
	}
	child, sbom := slices.Index(order, s.child.Digest.String()), slices.Index(order, fallbackTag(s.child.Digest)+".sbom")
	if child < 0 || sbom < child {
		t.Errorf("the child is number %d and its SBOM number %d of %v", child, sbom, order)
	}
	if tag := slices.Index(order, "v1"); tag != len(order)-1 {
		t.Errorf("the tag is number %d of %v", tag, order)
	}
}

// A registry that answers the referrers API in its own way has none; one that
// can't answer now is an error, since silence would lose signatures.
func TestReferrersAPIAnswers(t *testing.T) {
	api := regexp.MustCompile("/referrers/")
	for name, tt := range map[string]struct {
		fault registrytest.Fault
		lost  bool
	}{
		"404":             {registrytest.Fault{Path: api, Status: 404}, false},
		"405":             {registrytest.Fault{Path: api, Status: 405}, false},
		"400":             {registrytest.Fault{Path: api, Status: 400}, false},
		"501":             {registrytest.Fault{Path: api, Status: 501}, false},
		"an empty 200":    {registrytest.Fault{Path: api, Body: func([]byte) []byte { return nil }}, false},
		"a page of HTML":  {registrytest.Fault{Path: api, Header: map[string]string{"Content-Type": "text/html"}}, false},
		"403":             {registrytest.Fault{Path: api, Status: 403}, true},
		"the image again": {registrytest.Fault{Path: regexp.MustCompile(`/manifests/sha256-[0-9a-f]+$`), Status: 200, Header: map[string]string{"Content-Type": ocispec.MediaTypeImageManifest}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			a := f.artifact("a", 10)
			src := registrytest.Start(registrytest.Options{NoReferrers: true})
			defer src.Close()
			sig := f.referrer("test/signature", a)
			p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"a:v1", a, ref(t, src.Host+"/a:v1")}}, &PlanOptions{Referrers: []ocispec.Descriptor{sig}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Push(f.ctx); err != nil {
				t.Fatal(err)
			}
			src.Fail(tt.fault)
			got, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/a:v1")}, newStore(t), nil)
			switch {
			case tt.lost:
				if layout.ClassOf(err) != layout.ClassRemote {
					t.Errorf("error %v", err)
				}
			case name == "the image again":
				if err != nil || len(got.Referrers) != 0 {
					t.Errorf("%v, %+v", err, got)
				}
			case err != nil || len(got.Referrers) != 1 || got.Referrers[0].ArtifactType != "test/signature":
				t.Errorf("%v, %+v", err, got)
			}
		})
	}
}

// A registry that begins to answer has the referrers API.
func TestReferrersAPIBreaks(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"half a list":     {Body: func(b []byte) []byte { return b[:len(b)/2] }},
		"no next page":    {Header: map[string]string{"Link": "<http://elsewhere.invalid/>; rel=next"}},
		"no end of pages": {Header: map[string]string{"Link": "<?n=1>; rel=next"}},
		"another page is not there": {Answer: func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Has("n") {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			w.Header().Set("Link", "<?n=1>; rel=next")
			_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"text/plain","digest":"` + digest.FromString("x") + `","size":1}]}`))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mustSend(f.src, map[string]ocispec.Descriptor{"a:v1": f.artifact("a", 10)})
			fault.Path = regexp.MustCompile("/referrers/")
			f.src.Fail(fault)
			if _, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/a:v1")}, newStore(t), nil); layout.ClassOf(err) != layout.ClassRemote {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What a registry lists is a referrer if its manifest says so.
func TestListedIsNoReferrer(t *testing.T) {
	f := newFixture(t)
	a, other := f.artifact("a", 10), f.artifact("other", 20)
	src := registrytest.Start(registrytest.Options{NoReferrers: true})
	defer src.Close()
	f.mustSend(src, map[string]ocispec.Descriptor{
		"a:v1": a, "a:other": other, "a:" + fallbackTag(a.Digest): f.index(other, f.referrer("test/of-another", other)),
	})
	got, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/a:v1")}, newStore(t), nil)
	if err != nil || len(got.Referrers) != 0 || got.Fetched != 2 { // the config and the layer of a
		t.Errorf("%v, %+v", err, got)
	}
}

// GitLab takes the fallback tag for the digest and gives the subject, whose children
// are no referrers; what is pushed there is refused or lost, and never a success.
func TestFallbackTagIsTheSubject(t *testing.T) {
	f := newFixture(t)
	gitlab := registrytest.Start(registrytest.Options{NoReferrers: true, DashIsDigest: true})
	defer gitlab.Close()
	child := f.artifact("child", 100)
	root := f.index(child)
	f.mustSend(gitlab, map[string]ocispec.Descriptor{"a:v1": root})
	got, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, gitlab.Host+"/a:v1")}, newStore(t), nil)
	if err != nil || len(got.Referrers) != 0 || got.Entries[0].Digest != root.Digest {
		t.Errorf("%v, %+v", err, got)
	}
	p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"b:v1", root, ref(t, gitlab.Host+"/b:v1")}},
		&PlanOptions{Referrers: []ocispec.Descriptor{f.referrer("test/signature", root)}})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := p.Push(f.ctx)
	if err == nil || rep.Artifacts[0].Status != StatusFailed {
		t.Errorf("%v, %+v", err, rep.Artifacts[0])
	}
	if _, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, gitlab.Host+"/b:v1")}, newStore(t), nil); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("there is a tag, and the signature is lost: %v", err)
	}
}

// A registry that takes a manifest and does not give it back has lost it.
func TestLost(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"manifest":         {Method: "GET", Path: regexp.MustCompile("/manifests/sha256:"), Status: 404},
		"changed manifest": {Method: "GET", Path: regexp.MustCompile("/manifests/sha256:"), Body: spoil},
		"tag":              {Method: "HEAD", Path: regexp.MustCompile("/manifests/v1$"), Status: 404},
		"referrers":        {Method: "GET", Path: regexp.MustCompile("/referrers/|/manifests/sha256-"), Status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			a := f.artifact("a", 10)
			f.dst.Fail(fault)
			p, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"a:v1", a, ref(t, f.dst.Host+"/a:v1")}},
				&PlanOptions{Referrers: []ocispec.Descriptor{f.referrer("test/signature", a)}})
			if err != nil {
				t.Fatal(err)
			}
			rep, err := p.Push(f.ctx)
			if !errors.Is(err, layout.ErrPartial) || rep.Artifacts[0].Status != StatusFailed || len(rep.Artifacts[0].Fidelity.Lost) == 0 {
				t.Errorf("%v, %+v", err, rep.Artifacts[0])
			}
		})
	}
}

func TestOrphanIsRefused(t *testing.T) {
	f := newFixture(t)
	a, other := f.artifact("a", 10), f.artifact("other", 20)
	_, err := f.client(ClientOptions{}).Plan(f.ctx, f.store, []Target{{"a:v1", a, ref(t, f.dst.Host+"/a:v1")}},
		&PlanOptions{Referrers: []ocispec.Descriptor{f.referrer("test/signature", other)}})
	if layout.ClassOf(err) != layout.ClassMissing || f.dst.Count("^"+http.MethodPut) != 0 {
		t.Errorf("error %v", err)
	}
}
