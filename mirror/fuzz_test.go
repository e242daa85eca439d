package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// hosted serves content as it is, be it true or not: what a registry of somebody
// else holds.
type hosted struct {
	*storagetest.Content
}

var hostedPath = regexp.MustCompile(`^/v2/([a-z/]+)/(manifests|blobs|referrers)/([^/]+)$`)

func (h hosted) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	m := hostedPath.FindStringSubmatch(req.URL.Path)
	if m == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	name := digest.Digest(m[3])
	mediaType, _, _ := strings.Cut(req.Header.Get("Accept"), ",")
	var b []byte
	switch m[2] {
	case "referrers":
		list := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
		for _, e := range h.Index.Manifests {
			if s, err := layout.SubjectOf(req.Context(), h, e); err == nil && s != nil && s.Digest == name {
				list.Manifests = append(list.Manifests, ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size})
			}
		}
		b, _ = json.Marshal(list)
		name, mediaType = digest.FromBytes(b), ocispec.MediaTypeImageIndex
	case "manifests":
		for _, e := range h.Index.Manifests {
			if ref, err := layout.ParseReference(layout.EntryName(e)); err == nil && ref.Repository == m[1] && ref.Tag == m[3] {
				name, mediaType = e.Digest, e.MediaType
				break
			}
		}
		fallthrough
	case "blobs":
		b = h.Blobs[name]
	}
	if b == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.Header().Set("Docker-Content-Digest", name.String())
	_, _ = w.Write(b)
}

// firstReference is what there is to pull.
func firstReference(c *storagetest.Content) (layout.Reference, bool) {
	for _, e := range c.Index.Manifests {
		if ref, err := layout.ParseReference(layout.EntryName(e)); err == nil && ref.Registry == liarHost {
			return ref, true
		}
	}
	return layout.Reference{}, false
}

// FuzzPull pulls artifacts, which may themselves lie, from a registry that does. The
// client comes to an end, tells its operator whose fault it was, keeps its secret,
// and what it calls success is whole, as a walker says that knows nothing of it.
func FuzzPull(f *testing.F) {
	f.Setenv("DOCKER_CONFIG", f.TempDir())
	for seed := range byte(48) {
		f.Add(storagetest.Random(seed, int(seed)/4), storagetest.Random(seed+100, int(seed)*3), seed)
	}
	f.Fuzz(func(t *testing.T, script, graph []byte, how byte) {
		c := storagetest.Graph(storagetest.NewDice(graph), how&1 != 0)
		ref, ok := firstReference(c)
		if !ok {
			return
		}
		v := c.Judge()
		whole := v.Whole && !v.Deep && len(c.Index.Annotations) == 0
		for _, e := range c.Index.Manifests {
			whole = whole && layout.IsManifest(e.MediaType)
		}
		o := &PullOptions{Jobs: 1 + int(how>>1)%3, NoReferrers: how&8 != 0, AllowNondistributable: how&16 != 0}
		if how&32 != 0 {
			o.Platforms = []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
			defer cancel()
			l := &liar{t: t, honest: hosted{c}, private: how&64 != 0, dice: storagetest.NewDice(script)}
			l.sent = func(req *http.Request, _ []byte) {
				if req.Method != http.MethodGet && req.Method != http.MethodHead && req.URL.Path != tokenPath {
					t.Errorf("a pull sends %s %s", req.Method, req.URL)
				}
			}
			client, dst := liarClient(t, l), storagetest.NewMemory()
			got, err := client.Pull(ctx, []layout.Reference{ref}, dst, o)
			if err != nil {
				if len(script) == 0 && whole && ref.Digest == "" && len(o.Platforms) == 0 {
					t.Errorf("an honest registry: %v", err)
				}
				wantClassed(ctx, t, err)
				return
			}
			if len(got.Entries) != 1 || got.Entries[0].Annotations[layout.AnnotationImageName] == "" {
				t.Fatalf("%+v", got.Entries)
			}
			if ref.Digest != "" && got.Entries[0].Digest != ref.Digest && got.Selections[0].Of == nil {
				t.Fatalf("%s was pulled for %s", got.Entries[0].Digest, ref)
			}
			if v := dst.Content(got.Absent, append(got.Entries, got.Referrers...)...).Judge(); !v.Sound || !v.Whole && !v.Deep {
				t.Fatalf("pulled, and %+v", v)
			}
		})
	})
}

// FuzzPush sends artifacts that are true to a registry that lies. No manifest is
// sent before the registry has said yes to all that it names, no content is sent
// under another digest, and nothing at all where a tag would have to be moved.
func FuzzPush(f *testing.F) {
	f.Setenv("DOCKER_CONFIG", f.TempDir())
	for seed := range byte(48) {
		f.Add(storagetest.Random(seed, int(seed)/4), storagetest.Random(seed+100, int(seed)*2), seed)
	}
	f.Fuzz(func(t *testing.T, script, graph []byte, how byte) {
		c := storagetest.Graph(storagetest.NewDice(graph), false)
		if v := c.Judge(); !v.Whole || v.Deep {
			return
		}
		absent, err := layout.AbsentOf(c.Index)
		if err != nil {
			t.Fatal(err)
		}
		src := layout.WithAbsent(c, absent)
		artifacts, referrers, err := layout.Artifacts(t.Context(), src, c.Index.Manifests)
		if err != nil {
			t.Fatal(err)
		}
		if referrers, err = layout.Attached(t.Context(), src, artifacts, referrers); err != nil {
			t.Fatal(err)
		}
		dest := Destination{Registry: liarHost, Container: "box"}
		targets, err := dest.Targets(t.Context(), src, artifacts)
		if err != nil {
			return
		}
		// One at a time: who waits for a lock keeps the clock of the bubble from moving
		// while the registry stalls.
		o := &PlanOptions{Jobs: 1, Force: how&4 != 0, Referrers: referrers}
		synctest.Test(t, pushing{src, targets, o, script, how}.run)
	})
}

// pushing is one push of a fuzz target.
type pushing struct {
	src     layout.Partial
	targets []Target
	o       *PlanOptions
	script  []byte // of the lies; without one the registry is honest
	how     byte
}

func (p pushing) run(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	w := &witness{t: t, src: p.src, granted: map[string]bool{}, uploads: map[string]string{}}
	l := &liar{t: t, private: p.how&32 != 0, dice: storagetest.NewDice(p.script), sent: w.see, granted: w.grant}
	l.honest = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(p.how&8 != 0))
	taken := false
	if p.how&16 != 0 {
		taken = occupy(t, l.honest, p.targets)
	}
	client := liarClient(t, l)
	plan, err := client.Plan(ctx, p.src, p.targets, p.o)
	if w.wrote > 0 {
		t.Fatalf("a plan sends")
	}
	if err != nil {
		wantClassed(ctx, t, err)
		return
	}
	honest, refused := len(p.script) == 0, plan.Refused() != nil
	if honest && refused != (taken && !p.o.Force) {
		t.Errorf("tags are taken: %v, and that is refused: %v", taken, refused)
	}
	rep, err := plan.Push(ctx)
	if refused && (err == nil || w.wrote > 0) {
		t.Fatalf("refused, and then: %v, %d requests", err, w.wrote)
	}
	if err != nil {
		// Such a registry takes no index of which a manifest is left out.
		partial := slices.ContainsFunc(plan.Artifacts, func(a *Planned) bool { return len(a.Absent()) > 0 }) && strings.Contains(err.Error(), "carried in part")
		if honest && !refused && !partial {
			t.Errorf("an honest registry: %v", err)
		}
		wantClassed(ctx, t, err)
		return
	}
	p.done(ctx, t, client, plan, rep)
}

// done judges what is called a success.
func (p pushing) done(ctx context.Context, t *testing.T, client *Client, plan *Plan, rep *Report) {
	t.Helper()
	for _, a := range rep.Artifacts {
		if a.Status != StatusPushed && a.Status != StatusPresent || a.Fidelity == nil || len(a.Fidelity.Lost) > 0 {
			t.Errorf("done, and %+v", a)
		}
	}
	for _, a := range plan.Artifacts {
		if m := a.Missing(); len(m) > 0 {
			t.Errorf("done, and %s lacks %v", a.Reference, m)
		}
	}
	if len(p.script) > 0 {
		return
	}
	again, err := client.Plan(ctx, p.src, p.targets, p.o)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := again.ToSend(); n > 0 || len(again.Conflicts()) > 0 {
		t.Errorf("done, and %d blobs are to be sent", n)
	}
}

// occupy has the tags name something else, and reports whether there are any.
func occupy(t *testing.T, h http.Handler, targets []Target) (taken bool) {
	t.Helper()
	for _, target := range targets {
		if ref := target.Reference; ref.Tag != "" {
			body := `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"` + digest.FromString("").String() + `","size":0},"layers":[]}`
			req := httptest.NewRequest(http.MethodPut, "/v2/"+ref.Repository+"/manifests/"+ref.Tag, strings.NewReader(body))
			req.Header.Set("Content-Type", ocispec.MediaTypeImageManifest)
			rec := httptest.NewRecorder()
			if h.ServeHTTP(rec, req); rec.Code != http.StatusCreated {
				t.Fatal(rec.Code, rec.Body)
			}
			taken = true
		}
	}
	return taken
}

// witness watches what is sent to a registry.
type witness struct {
	t       *testing.T
	src     layout.Partial
	granted map[string]bool // by repository and digest
	// The place that an upload was sent to, and the repository it is for: a registry
	// may have uploads go anywhere.
	uploads map[string]string
	wrote   int
}

var (
	manifestURL = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
	blobURL     = regexp.MustCompile(`^/v2/(.+)/blobs/([^/]+:[^/]+)$`)
	isFallback  = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}$`)
	uploadURL   = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
)

// see judges a request by what was granted before.
func (w *witness) see(req *http.Request, body []byte) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead || req.URL.Path == tokenPath {
		return
	}
	w.wrote++
	if want := digest.Digest(req.URL.Query().Get("digest")); req.Method == http.MethodPut && want.Validate() == nil && want.Algorithm().FromBytes(body) != want {
		w.t.Errorf("%d other bytes are sent as %s", len(body), want)
	}
	m := manifestURL.FindStringSubmatch(req.URL.Path)
	if m == nil || req.Method != http.MethodPut {
		return
	}
	if want := digest.Digest(m[2]); want.Validate() == nil && want.Algorithm().FromBytes(body) != want {
		w.t.Errorf("another manifest is sent as %s", want)
	}
	d := ocispec.Descriptor{MediaType: req.Header.Get("Content-Type"), Digest: digest.FromBytes(body), Size: int64(len(body))}
	man, err := layout.DecodeManifest(d, body)
	if err != nil {
		// The fallback for referrers is an index that oras-go makes, or we.
		w.t.Errorf("what is sent as a manifest: %v", err)
		return
	}
	absent, _ := w.src.Absent()
	for _, child := range man.Children() {
		if _, out := absent[child.Digest]; !out && !w.granted[m[1]+"@"+child.Digest.String()] && !isFallback.MatchString(path.Base(req.URL.Path)) {
			w.t.Errorf("PUT %s comes before %s", req.URL.Path, child.Digest)
		}
	}
}

// grant notes what the registry says that it has.
func (w *witness) grant(req *http.Request, body []byte, resp *http.Response) {
	q := req.URL.Query()
	if m := manifestURL.FindStringSubmatch(req.URL.Path); m != nil {
		if req.Method == http.MethodPut {
			w.granted[m[1]+"@"+digest.FromBytes(body).String()] = true
		} else {
			w.granted[m[1]+"@"+m[2]] = true
		}
	}
	if m := blobURL.FindStringSubmatch(req.URL.Path); m != nil {
		w.granted[m[1]+"@"+m[2]] = true
	}
	m := uploadURL.FindStringSubmatch(req.URL.Path)
	if m != nil {
		w.granted[m[1]+"@"+q.Get("mount")] = true
	}
	if to, err := resp.Location(); req.Method == http.MethodPost && m != nil && err == nil {
		w.uploads[to.Host+to.Path] = m[1]
	}
	if repo, ok := w.uploads[req.URL.Host+req.URL.Path]; ok && req.Method == http.MethodPut {
		w.granted[repo+"@"+q.Get("digest")] = true
	}
}
