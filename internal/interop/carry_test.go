//go:build interop

package interop

import (
	"net/url"
	"strings"
	"testing"
)

// TestCarry is the main job: decks, an image and an index from one registry over a bundle
// into another, compared by everybody else's eyes.
func TestCarry(t *testing.T) {
	a := startServer(t, debian)
	author := newMachine(t)
	refs := append(author.pushDecks(a), author.pushImage(a), author.pushIndex(a), author.pushDocker(a))
	author.airdeck(append([]string{"pack", "-o", "talks.tar.zst"}, refs...)...)
	bundle := author.path("talks.tar.zst")
	destinations(t, func(t *testing.T, program string) { carry(t, a, bundle, program) })
}

func carry(t *testing.T, a *server, bundle, program string) {
	b := startServer(t, program)
	m := newMachine(t)
	m.airdeck("verify", bundle)
	inspected(t, m, a, bundle)
	to := []string{bundle, b.addr + "/from/afar", "--map", a.addr + "/decks/engine=machines/engine"}

	rep := jsonOf[mirrorReport](m, append([]string{"mirror"}, to...)...)
	pairs := map[place]place{
		{a, "decks/intro", "v1"}:   {b, "from/afar/decks/intro", "v1"},
		{a, "decks/safety", "v1"}:  {b, "from/afar/decks/safety", "v1"},
		{a, "decks/engine", "v1"}:  {b, "from/afar/machines/engine", "v1"},
		{a, "images/app", "v1"}:    {b, "from/afar/images/app", "v1"},
		{a, "images/multi", "v1"}:  {b, "from/afar/images/multi", "v1"},
		{a, "images/docker", "v1"}: {b, "from/afar/images/docker", "v1"},
	}
	// The index has two manifests below it.
	if len(rep.Artifacts) != len(pairs) || rep.Manifests != len(pairs)+2 {
		t.Errorf("the report has %d artifacts and %d manifests, want %d and 2 more", len(rep.Artifacts), rep.Manifests, len(pairs))
	}
	for from, to := range pairs {
		m.sameArtifact(from, to)
		// crane takes a deck's slides for layers of an unknown kind, and checks
		// their digests and sizes; of the image it checks the diff IDs as well.
		m.run("crane", "validate", "--remote", to.String())
	}
	for _, name := range deckNames() {
		ref := b.addr + "/from/afar/decks/" + name + ":v1"
		if name == "engine" {
			ref = b.addr + "/from/afar/machines/engine:v1"
		}
		m.run("oras", "pull", "--plain-http", "-o", "oras-"+name, ref)
		m.sameSlides("oras-"+name, decks[name])
		m.airdeck("pull", ref, "airdeck-"+name)
		m.sameSlides("airdeck-"+name, decks[name])
	}

	before := writes(b.requests())
	if len(before) == 0 {
		t.Fatal("the log of the destination has no uploads: the next check would prove nothing")
	}
	rep = jsonOf[mirrorReport](m, append([]string{"mirror"}, to...)...)
	if after := writes(b.requests()); len(after) != len(before) {
		t.Errorf("the second mirror sent %v", after[len(before):])
	}
	for _, art := range rep.Artifacts {
		if art.Status != "present" || rep.Uploaded+rep.Mounted+rep.Manifests != 0 {
			t.Errorf("the second mirror says %+v", rep)
		}
	}
}

// inspected checks what inspect says of the bundle.
func inspected(t *testing.T, m *machine, a *server, bundle string) {
	t.Helper()
	kinds := map[string]int{}
	for _, art := range jsonOf[inspectReport](m, "inspect", bundle).Artifacts {
		kinds[art.Kind]++
		repository := strings.TrimSuffix(strings.TrimPrefix(art.Reference, a.addr+"/"), ":v1")
		if d := digestOf(a.manifest(repository, "v1")); art.Digest != d {
			t.Errorf("inspect says that %s is %s, and it is %s", art.Reference, art.Digest, d)
		}
		for _, b := range art.Blobs {
			if b.Title == "title.png" && len(b.SharedWith) != 2 {
				t.Errorf("%s shares its title with %v", art.Reference, b.SharedWith)
			}
		}
	}
	if kinds["deck"] != 3 || kinds["image"] != 2 || kinds["image index"] != 1 {
		t.Errorf("inspect finds %v", kinds)
	}
}

// TestMount: what another repository of the destination has is not sent again.
func TestMount(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	refs := m.pushDecks(a)
	m.airdeck(append([]string{"pack", "-o", "all.tar.zst"}, refs...)...)
	m.airdeck("pack", "-o", "intro.tar.zst", a.addr+"/decks/intro:v1")
	title := digestOf(slide(t, "title", 64))
	destinations(t, func(t *testing.T, program string) {
		b := startServer(t, program)
		m := m.on(t)
		m.airdeck("mirror", "intro.tar.zst", b.addr)
		before := b.requests()
		if len(uploads(before, title)) != 1 {
			t.Fatalf("the first mirror uploaded the title %d times", len(uploads(before, title)))
		}

		rep := jsonOf[mirrorReport](m, "mirror", "all.tar.zst", b.addr)
		// The title goes twice, and the contacts once.
		if rep.Mounted != 3 {
			t.Errorf("%d blobs were mounted, want 3: %+v", rep.Mounted, rep)
		}
		mounts := 0
		after := b.requests()[len(before):]
		if up := uploads(after, title); len(up) != 0 {
			t.Errorf("the title was uploaded again: %v", up)
		}
		for _, r := range after {
			if r.method == "POST" && strings.Contains(r.path, "mount=") {
				mounts++
				if r.status != "201" {
					t.Errorf("%s %s: status %s", r.method, r.path, r.status)
				}
			}
		}
		if mounts != rep.Mounted {
			t.Errorf("the log has %d mounts, and the report %d", mounts, rep.Mounted)
		}
		for _, name := range deckNames() {
			m.sameArtifact(place{a, "decks/" + name, "v1"}, place{b, "decks/" + name, "v1"})
		}
	})
}

// uploads are the requests that end the upload of a blob.
func uploads(all []request, digest string) []request {
	var out []request
	for _, r := range all {
		u, err := url.Parse(r.path)
		if err == nil && r.method == "PUT" && strings.Contains(u.Path, "/blobs/uploads/") && u.Query().Get("digest") == digest {
			out = append(out, r)
		}
	}
	return out
}

// on is the same machine in a subtest.
func (m *machine) on(t *testing.T) *machine { return &machine{t, m.dir, m.env} }
