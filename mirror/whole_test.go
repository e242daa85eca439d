package mirror

import (
	"regexp"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

const (
	canaryUser     = "canary-Ada"
	canaryPassword = "canary/p4ss+w0rd"
	canaryToken    = "canary-token"
)

// A connection that breaks in an answer that oras-go reads is asked again, and not
// taken for a registry that has nothing to say.
func TestHalfAnswersAreAskedForAgain(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"reset in a list of referrers":   {Path: regexp.MustCompile("/referrers/"), Times: 1, CutBody: 20},
		"silence in a list of referrers": {Path: regexp.MustCompile("/referrers/"), Times: 1, StallBody: 20},
		"reset in the fallback tag":      {Method: "GET", Path: regexp.MustCompile("/manifests/sha256-[0-9a-f]{64}$"), Times: 1, CutBody: 20},
		"reset in a token":               {Path: regexp.MustCompile("^/token$"), Times: 1, CutBody: 5},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			src := registrytest.Start(registrytest.Options{Username: canaryUser, Password: canaryPassword, Token: canaryToken, NoReferrers: name == "reset in the fallback tag"})
			defer src.Close()
			c := f.client(ClientOptions{
				Credential: Credential{canaryUser, canaryPassword}, CredentialHost: src.Host, StallTimeout: 300 * time.Millisecond,
			})
			a := f.artifact("a", 10)
			p, err := c.Plan(f.ctx, f.store, []Target{{"a:v1", a, ref(t, src.Host+"/a:v1")}}, &PlanOptions{Referrers: []ocispec.Descriptor{f.referrer("test/signature", a)}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Push(f.ctx); err != nil {
				t.Fatal(err)
			}
			src.Reset()
			src.Fail(fault)
			c = f.client(c.o)
			got, err := c.Pull(f.ctx, []layout.Reference{ref(t, src.Host+"/a:v1")}, newStore(t), nil)
			if err != nil || len(got.Referrers) != 1 || src.Struck() != 1 {
				t.Errorf("%v, %+v, %d faults", err, got, src.Struck())
			}
		})
	}
}

// A list of a few megabytes can become one of hundreds in memory, for each request that
// is under way. It is refused before anybody decodes it.
func TestListOfNothings(t *testing.T) {
	f := newFixture(t)
	a := f.artifact("a", 10)
	f.mustSend(f.src, map[string]ocispec.Descriptor{"a:v1": a})
	nothings := `{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", layout.MaxListed) + `{}]}`
	f.src.Reset()
	f.src.Fail(registrytest.Fault{Path: regexp.MustCompile("/referrers/"), Body: func([]byte) []byte { return []byte(nothings) }})
	_, err := f.client(ClientOptions{}).Pull(f.ctx, []layout.Reference{ref(t, f.src.Host+"/a:v1")}, newStore(t), nil)
	if layout.ClassOf(err) != layout.ClassRemote || !strings.Contains(err.Error(), "a list of more than 50000 items") {
		t.Errorf("%v", err)
	}
	if n := f.src.Count(`GET /v2/a/referrers/`); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
