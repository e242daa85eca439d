//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of other tools that the README shows are run as they stand there,
// on the bundle that it packs.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	decks, err := filepath.Abs("../../testdata/decks")
	if err != nil {
		t.Fatal(err)
	}
	m.airdeck("pack", "-o", "talks.tar.zst",
		filepath.Join(decks, "intro", "deck.yaml")+"=ghcr.io/acme/decks/intro:v1",
		filepath.Join(decks, "safety", "deck.yaml")+"=ghcr.io/acme/decks/safety:v1")
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(readme, -1) {
		for line := range strings.Lines(string(block[1])) {
			commands++
			m.run("sh", "-c", strings.TrimSpace(line))
		}
	}
	if commands < 5 {
		t.Errorf("only %d commands were found", commands)
	}
	for _, slide := range []string{"slide-1.png", "slide-2.png", "slide-10.png"} {
		want, err := os.ReadFile(filepath.Join(decks, "intro", "slides", slide))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(m.path("slides/" + slide))
		if err != nil || string(got) != string(want) {
			t.Errorf("oras pull gave another %s: %v", slide, err)
		}
	}
}
