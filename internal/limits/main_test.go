package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// A limit that is changed, added or taken away is to be seen in SECURITY.md.
func TestTableIsUpToDate(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	text, err := rewritten(string(b), root)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(b) {
		t.Errorf("%s has another table than the constants give: run make limits", document)
	}
}

func TestLimitsOf(t *testing.T) {
	for _, tt := range []struct{ name, source, want string }{
		{"bytes", "// MaxA bounds an A, in bytes. More is never needed.\nconst MaxA = 4 << 20", "MaxA 4 MiB an A. More is never needed."},
		{"a number", "const (\n// MaxA bounds the As: [B] takes no more.\nMaxA = 2 * max\nmax = 5_000\n)", "MaxA 10,000 the As: B takes no more."},
		{"bytes that are no round number", "// MaxA bounds an A, in bytes (so it is).\nconst MaxA = 1000", "MaxA 1,000 B an A (so it is)."},
		{"not a limit", "// MaxA bounds it: so it is.\nconst MaxA, B = 1, 2", "MaxA 1 it: so it is."},
		{"no comment", "const MaxA = 1", ""},
		{"a comment of the group", "// MaxA bounds it: so it is.\nconst (\nMaxA = 1\n)", ""},
		{"no reason", "// MaxA bounds an A, in bytes.\nconst MaxA = 1", ""},
		{"another package's", "import \"x\"\n// MaxA bounds it: so it is.\nconst MaxA = x.Y", ""},
		{"no limits", "const A = 1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n"+tt.source), 0o644); err != nil {
				t.Fatal(err)
			}
			limits, err := limitsOf(dir)
			got := ""
			for _, l := range limits {
				got = strings.Join([]string{l.name, l.value, l.reason}, " ")
			}
			if got != tt.want || (err != nil) != (tt.want == "") || len(limits) > 1 {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// What is outside the marks stays as it is.
func TestRewritten(t *testing.T) {
	text, err := rewritten("before\n"+begin+"yesterday's\n"+end+"after\n", root)
	if err != nil || !strings.HasPrefix(text, "before\n"+begin) || !strings.HasSuffix(text, "|\n"+end+"after\n") || strings.Contains(text, "yesterday") {
		t.Errorf("%q, %v", text, err)
	}
	for _, broken := range []string{"", begin, end + begin} {
		if _, err := rewritten(broken, root); err == nil {
			t.Errorf("%q was taken", broken)
		}
	}
}
