package vectors_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/airdeck/airdeck/internal/vectors"
)

// fileClasses are the classes of what a file can be the cause of. local is that of a
// deck whose slides are not there.
var fileClasses = []string{
	"archive", "name", "duplicate", "limit", "layout", "json", "digest", "size", "mediatype", "missing", "graph", "truncated", "trailing", "policy", "signature", "local",
}

// The corpus is small enough to be carried about, and nothing of it is missing.
func TestCorpusIsComplete(t *testing.T) {
	all, err := vectors.Load(corpus)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 150 {
		t.Errorf("%d vectors", len(all))
	}
	classes, stages, forms := map[string]int{}, map[string]int{}, map[vectors.Form]int{}
	for _, v := range all {
		classes[v.Expect]++
		stages[v.Stage]++
		forms[v.Form]++
		for _, w := range append(slices.Collect(maps.Values(v.Entries)), v.Expect) {
			if w != vectors.Success && !slices.Contains(fileClasses, w) {
				t.Errorf("%s: there is no class %q", v.Name, w)
			}
		}
	}
	for _, want := range append(fileClasses, vectors.Success) {
		if classes[want] == 0 {
			t.Errorf("no vector must give %s", want)
		}
	}
	if len(stages) != len(vectors.Stages) || len(forms) != 3 {
		t.Errorf("stages %v, forms %v", stages, forms)
	}
	t.Logf("%d vectors: %v %v %v", len(all), forms, stages, classes)
	var total int64
	files, err := os.ReadDir(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		fi, err := os.Stat(filepath.Join(corpus, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if total += fi.Size(); fi.Size() > 100<<10 {
			t.Errorf("%s has %d bytes", f.Name(), fi.Size())
		}
	}
	if total > 4<<20 {
		t.Errorf("the corpus has %d bytes", total)
	}
}
