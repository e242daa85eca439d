package mirror

import (
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// A registry that falls silent for good, wherever in a transfer that is, is given up,
// and the error says what did not move and where.
func TestSilence(t *testing.T) {
	// More than a connection takes in while nobody reads it.
	const large = 32 << 20
	f := newFixture(t)
	a := f.artifact("a", 5000)
	b := make([]byte, large)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{}), b); err != nil {
		t.Fatal(err)
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: f.push("application/vnd.test.config", []byte("{}"))}
	m.SchemaVersion = 2
	m.Layers = []ocispec.Descriptor{f.push("application/vnd.test.layer", b)}
	big := f.json(m.MediaType, m)

	const host = "(?:127.0.0.1:[0-9]+)"
	pull := func(c *Client, r *registrytest.Registry) error {
		_, err := c.Pull(f.ctx, []layout.Reference{ref(t, r.Host+"/app:v1")}, newStore(t), nil)
		return err
	}
	push := func(c *Client, r *registrytest.Registry) error {
		_, err := f.send(c, &PlanOptions{Jobs: 1}, r, map[string]ocispec.Descriptor{"big:v1": big})
		return err
	}
	login := func(c *Client, _ *registrytest.Registry) error { return c.Login(f.ctx) }
	var wg sync.WaitGroup
	for name, tt := range map[string]struct {
		fault registrytest.Fault
		run   func(*Client, *registrytest.Registry) error
		where string
	}{
		"login":              {registrytest.Fault{Stall: true}, login, "log in to " + host},
		"manifest":           {registrytest.Fault{Method: "GET", Path: manifests, StallBody: 20}, pull, "fetch " + host + "/app:v1"},
		"blob":               {registrytest.Fault{Method: "GET", Path: blobs, Stall: true}, pull, "fetch " + host + "/app@sha256:[0-9a-f]{64}"},
		"middle of a blob":   {registrytest.Fault{Method: "GET", Path: blobs, StallBody: 5}, pull, "fetch " + host + "/app@sha256:[0-9a-f]{64}"},
		"question":           {registrytest.Fault{Method: "HEAD", Path: blobs, Stall: true}, push, "look up " + host + "/big@sha256:[0-9a-f]{64}"},
		"begin of an upload": {registrytest.Fault{Method: "POST", Stall: true}, push, "push " + host + "/big:v1: blob sha256:[0-9a-f]{64}"},
		"middle of an upload": {
			registrytest.Fault{Method: "PUT", Path: regexp.MustCompile(`/uploads/`), Skip: 1, StallSend: 1000}, push,
			"push " + host + "/big:v1: blob " + digest.FromBytes(b).String(),
		},
	} {
		wg.Go(func() {
			r := registrytest.Start(registrytest.Options{})
			defer r.Close()
			c := f.client(ClientOptions{StallTimeout: 300 * time.Millisecond, Credential: Credential{"ada", "x"}, CredentialHost: r.Host})
			if _, err := f.send(c, nil, r, map[string]ocispec.Descriptor{"app:v1": a}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			r.Reset()
			r.Fail(tt.fault)
			err := tt.run(c, r)
			if err == nil || !strings.HasSuffix(err.Error(), "the registry moved no byte for 300ms") || !regexp.MustCompile("^"+tt.where+": ").MatchString(err.Error()) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}
