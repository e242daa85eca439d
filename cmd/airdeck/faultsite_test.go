package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// canary is the secrets of one host, which are sent to no other and shown to nobody.
type canary struct{ user, password, token, identity string }

func canaryOf(whose string) canary {
	return canary{
		user:     "canary-Ada?Lovelace@" + whose,
		password: "canary/p4ss+w0rd~&=%" + whose,
		token:    "canary-bearer.t0k3n_of-" + whose,
		identity: "canary-identity.t0k3n_of-" + whose,
	}
}

// Each host has other secrets.
var (
	homeCanary      = canaryOf("home")      // the registry that a command speaks with
	sourceCanary    = canaryOf("source")    // the one that it is compared with
	elsewhereCanary = canaryOf("elsewhere") // where they lead to
	idleCanary      = canaryOf("idle")      // one that nobody asks
)

// options are those of a registry that asks for the secrets.
func (k canary) options() registrytest.Options {
	return registrytest.Options{
		Username: k.user, Password: k.password, Token: k.token, IdentityToken: k.identity, Mount: true, Strict: true,
	}
}

var siteOptions = homeCanary.options()

// faultSite is what the commands carry: a registry that has all of it, and a bundle.
type faultSite struct {
	full   *registrytest.Registry
	bundle string
	deck   string // a deck.yaml

	tags      map[string]digest.Digest // what the tags of acme/app and acme/one name
	referrers []digest.Digest          // manifests in acme/app that refer to others
	pushed    digest.Digest            // the deck
}

func newFaultSite(t *testing.T) *faultSite {
	t.Helper()
	s := &faultSite{full: registrytest.Start(siteOptions), tags: map[string]digest.Digest{}}
	t.Cleanup(s.full.Close)
	s.fill()
	if err := s.full.Audit(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "deck"), os.DirFS(filepath.Join("..", "..", "testdata", "decks", "intro"))); err != nil {
		t.Fatal(err)
	}
	s.deck, s.bundle = filepath.Join(dir, "deck", "deck.yaml"), filepath.Join(dir, "talks.tar.zst")
	for _, args := range [][]string{
		{"push", s.deck, s.full.Host + "/acme/decks/intro:v1"},
		{"pack", "-o", s.bundle, s.full.Host + "/acme/app:v1", s.full.Host + "/acme/one:v1"},
	} {
		c := newCell(t, s, s.full)
		if r := c.run(args, ""); r.code != exitDone {
			t.Fatalf("%s: %s", args, r.stderr)
		}
		c.remove()
	}
	s.pushed = s.full.Tags()["acme/decks/intro:v1"]
	return s
}

// fill puts a nested index with shared manifests and blobs into the registry, with what
// refers to it, and another artifact that shares blobs with it.
func (s *faultSite) fill() {
	const app, image = "acme/app", ocispec.MediaTypeImageManifest
	version := specs.Versioned{SchemaVersion: 2}
	blob := func(repo, mediaType string, seed uint64, n int) ocispec.Descriptor {
		b, r := make([]byte, n), rand.New(rand.NewPCG(seed, seed))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return s.full.AddBlob(repo, mediaType, b)
	}
	artifact := func(repo string, config uint64, m ocispec.Manifest, layers ...uint64) ocispec.Manifest {
		m.Versioned, m.MediaType = version, image
		m.Config = blob(repo, "application/vnd.test.config", config, 100)
		for _, seed := range layers {
			m.Layers = append(m.Layers, blob(repo, "application/vnd.test.layer", seed, 1000*int(seed)))
		}
		return m
	}
	index := func(tags []string, children ...ocispec.Descriptor) ocispec.Descriptor {
		return s.full.AddManifest(app, ocispec.MediaTypeImageIndex, ocispec.Index{
			Versioned: version, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
		}, tags...)
	}
	refer := func(kind string, config uint64, subject ocispec.Descriptor) ocispec.Descriptor {
		d := s.full.AddManifest(app, image, artifact(app, config, ocispec.Manifest{ArtifactType: kind, Subject: &subject}, config))
		d.ArtifactType = kind
		s.referrers = append(s.referrers, d.Digest)
		// Some registries of the cases below have no referrers API.
		index([]string{strings.Replace(subject.Digest.String(), ":", "-", 1)}, d)
		return d
	}
	a := s.full.AddManifest(app, image, artifact(app, 1, ocispec.Manifest{}, 2, 3))
	b := s.full.AddManifest(app, image, artifact(app, 4, ocispec.Manifest{}, 2, 5))
	root := index([]string{"v1"}, index(nil, a, b), a)
	refer("test/signature", 6, root)
	refer("test/signature", 7, refer("test/attestation", 8, a))
	sig := layout.CosignTags(a.Digest)[0]
	cosign := s.full.AddManifest(app, image, artifact(app, 9, ocispec.Manifest{}, 9), sig)
	one := s.full.AddManifest("acme/one", image, artifact("acme/one", 1, ocispec.Manifest{}, 3, 11), "v1")
	s.tags = map[string]digest.Digest{app + ":v1": root.Digest, app + ":" + sig: cosign.Digest, "acme/one:v1": one.Digest}
}

// arrived says what of the tags and what hangs on them a registry does not have, or has
// as something else.
func (s *faultSite) arrived(r *registrytest.Registry) error {
	tags := r.Tags()
	for name, d := range s.tags {
		if tags[name] != d {
			return fmt.Errorf("%s is %q, not %s", name, tags[name], d)
		}
	}
	return s.complete(r)
}

// complete says what is missing below or beside the tags that a registry has.
func (s *faultSite) complete(r *registrytest.Registry) error {
	tags := r.Tags()
	if tags["acme/app:v1"] != "" {
		for _, d := range s.referrers {
			if !r.Has("acme/app", d) {
				return fmt.Errorf("acme/app:v1 is there, and the referrer %s is not", d)
			}
		}
	}
	for name, d := range tags {
		if want := s.tags[name]; want != "" && want != d {
			return fmt.Errorf("%s names %s", name, d)
		}
	}
	return r.Audit()
}

// dockerConfig is a Docker configuration with a credential for each of the hosts, and for
// one that nobody asks.
func dockerConfig(identity bool, hosts map[string]canary) []byte {
	type entry struct {
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken,omitempty"`
	}
	auths := map[string]entry{}
	add := func(host string, k canary) {
		e := entry{Auth: base64.StdEncoding.EncodeToString([]byte(k.user + ":" + k.password))}
		if identity {
			e = entry{base64.StdEncoding.EncodeToString([]byte("00000000-0000-0000-0000-000000000000:")), k.identity}
		}
		auths[host] = e
	}
	add("registry.invalid", idleCanary)
	for host, k := range hosts {
		add(host, k)
	}
	b, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err)
	}
	return b
}
