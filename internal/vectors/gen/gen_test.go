package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/airdeck/airdeck/internal/vectors"
)

// The corpus is what the generator makes, byte for byte: nobody has changed a vector
// by hand, and the generator makes the same on every system.
func TestCorpusIsGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes one goroutine, for a minute with the race detector")
	}
	want, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("..", "..", "..", filepath.FromSlash(vectors.Dir))
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() == "README.md" {
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want[f.Name()]) {
			t.Errorf("%s is not what the generator makes: make vectors", f.Name())
		}
		delete(want, f.Name())
	}
	for name := range want {
		t.Errorf("%s is not in the corpus: make vectors", name)
	}
}
