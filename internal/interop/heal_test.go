//go:build interop

package interop

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestHeal: the manifest is there and a blob below it is not. A client that
// believes the manifest never repairs this.
func TestHeal(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	m.airdeck(append([]string{"pack", "-o", "talks.tar.zst"}, m.pushDecks(a)...)...)
	lost := digestOf(slide(t, "title", 64)) // all three need it
	destinations(t, func(t *testing.T, program string) {
		b := startServer(t, program)
		m := m.on(t)
		m.airdeck("mirror", "talks.tar.zst", b.addr)
		hex := strings.TrimPrefix(lost, "sha256:")
		file := filepath.Join(b.storage(), "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if code, _ := b.get("/v2/decks/intro/blobs/" + lost); code != 404 {
			t.Fatalf("the blob is gone, and the server answers %d", code)
		}
		b.manifest("decks/intro", "v1")

		rep := jsonOf[mirrorReport](m, "mirror", "talks.tar.zst", b.addr)
		if rep.Uploaded != 1 || rep.Mounted != 2 {
			t.Errorf("%d blobs were uploaded and %d mounted, want 1 and 2", rep.Uploaded, rep.Mounted)
		}
		for _, name := range deckNames() {
			m.sameArtifact(place{a, "decks/" + name, "v1"}, place{b, "decks/" + name, "v1"})
		}
	})
}

// TestConflict: a tag that names something else stays, unless it is to move.
func TestConflict(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	m.airdeck(append([]string{"pack", "-o", "talks.tar.zst"}, m.pushDecks(a)...)...)
	destinations(t, func(t *testing.T, program string) {
		b := startServer(t, program)
		m := m.on(t)
		// Another deck has the name already. crane put it there, not airdeck.
		m.run("crane", "copy", a.addr+"/decks/safety:v1", b.addr+"/decks/intro:v1")
		old := digestOf(b.manifest("decks/intro", "v1"))
		before, files := writes(b.requests()), tree(t, b.storage())

		o := m.airdeckFor(1, "mirror", "--quiet", "talks.tar.zst", b.addr)
		oneLine(t, o.stderr, b.addr+"/decks/intro:v1", old, "--force")
		if after := writes(b.requests()); len(after) != len(before) {
			t.Errorf("airdeck sent %v", after[len(before):])
		}
		if !maps.Equal(files, tree(t, b.storage())) {
			t.Error("the destination has changed")
		}

		rep := jsonOf[mirrorReport](m, "mirror", "--force", "talks.tar.zst", b.addr)
		for _, art := range rep.Artifacts {
			if strings.HasSuffix(art.Target, "/decks/intro:v1") && art.Replaced != old {
				t.Errorf("the report says that %q was replaced, and not %s", art.Replaced, old)
			}
		}
		for _, name := range deckNames() {
			m.sameArtifact(place{a, "decks/" + name, "v1"}, place{b, "decks/" + name, "v1"})
		}
		// What the tag named before is there still, by its digest.
		b.manifest("decks/intro", old)
	})
}

// oneLine demands that an error is one line, with some words in it.
func oneLine(t *testing.T, stderr []byte, words ...string) {
	t.Helper()
	text := string(stderr)
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "airdeck: ") {
		t.Errorf("that is not one line of airdeck:\n%s", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in:\n%s", w, text)
		}
	}
}

// TestKilled: the destination dies in the middle, at every stage of a mirror.
func TestKilled(t *testing.T) {
	a := startServer(t, debian)
	m := newMachine(t)
	var refs []string
	all := map[string][]string{}
	for i := range 3 {
		name := fmt.Sprintf("talk-%d", i)
		for j := range 8 {
			all[name] = append(all[name], fmt.Sprintf("%s-%d", name, j))
		}
		m.writeDeck(name, all[name], 200)
		ref := a.addr + "/decks/" + name + ":v1"
		m.airdeck("push", name+"/deck.yaml", ref)
		refs = append(refs, ref)
	}
	m.airdeck(append([]string{"pack", "-o", "talks.tar.zst"}, refs...)...)
	const blobs = 3 * (8 + 1)
	destinations(t, func(t *testing.T, program string) {
		for _, after := range []int{1, 7, 14, 20} {
			t.Run(fmt.Sprintf("after %d", after), func(t *testing.T) {
				t.Parallel() // most of it is waiting for a server that has gone
				killed(t, m.on(t), a, program, after, blobs)
			})
		}
	})
}

func killed(t *testing.T, m *machine, a *server, program string, after, blobs int) {
	b := startServer(t, program)
	var puts atomic.Int32
	b.log.watch(func(line string) {
		// One manifest is put for each deck as well: it counts as an upload.
		if r := accessLine.FindStringSubmatch(line); r != nil && r[1] == "PUT" && r[3] == "201" && puts.Add(1) == int32(after) {
			_ = b.cmd.Process.Kill() // the test's end finds a mirror that was not broken off
		}
	})
	o := m.exec(airdeckBinary, "", "mirror", "--quiet", "--jobs", "1", "talks.tar.zst", b.addr)
	if o.code != 1 && o.code != 4 {
		t.Fatalf("the destination was killed, and airdeck ends with %d:\n%s%s", o.code, o.stdout, o.stderr)
	}
	oneLine(t, o.stderr, b.addr)
	<-b.ended
	b.log.watch(nil)
	b.start()

	// No tag names what is not complete.
	complete := 0
	for i := range 3 {
		repository := fmt.Sprintf("decks/talk-%d", i)
		code, raw := b.get("/v2/" + repository + "/manifests/v1")
		if code != 200 {
			continue
		}
		complete++
		for _, d := range childrenOf(t, raw).blobs() {
			b.blob(repository, d.Digest.String())
		}
	}
	rep := jsonOf[mirrorReport](m, "mirror", "talks.tar.zst", b.addr)
	t.Logf("killed after %d uploads: %d of 3 decks were there, and the second run sent %d of %d blobs", after, complete, rep.Uploaded, blobs)
	if rep.Uploaded >= blobs {
		t.Errorf("the second run sent all %d blobs again", rep.Uploaded)
	}
	for i := range 3 {
		repository := fmt.Sprintf("decks/talk-%d", i)
		m.sameArtifact(place{a, repository, "v1"}, place{b, repository, "v1"})
	}
}
