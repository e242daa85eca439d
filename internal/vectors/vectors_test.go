package vectors_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/airdeck/airdeck/internal/vectors"
)

func TestEmptyFolder(t *testing.T) {
	if _, err := vectors.Load(t.TempDir()); err == nil {
		t.Error("a folder without vectors was loaded")
	}
}

func TestParse(t *testing.T) {
	const head = "expect: name\nstage: tar\ncomment: a comment: with a colon\n"
	for _, bad := range []string{
		"", head, "expect: name\n\n", "expect: name\nstage: other\ncomment: x\n\n", head + "stage: tar\n\n", head + "colour: red\n\n",
		head + "nothing\n\n", head + "form: other\n\n", head + "compressed: xz\n\n", head + "compressed: zstd\n\nno zstd",
		head + "key: a.pub\n\n", head + "policy: p\nfile: q \"\"\n\n", head + "file: a.pub text\n\n", head + "file: a \"\"\nfile: a \"\"\n\n", head + "file: ../a \"\"\n\n",
	} {
		if _, err := vectors.Parse("x", []byte(bad)); err == nil {
			t.Errorf("parsed: %q", bad)
		}
	}
	whole := []byte("expect: name\ninspect: success\nstage: tar\ncomment: a comment: with a colon\nsource: a\nsource: b\nform: deck\n" +
		"unread-by: skopeo: it can't\nkey: a.pub\nkey: b.pub\nsignature: s.json\npolicy: p.yaml\n" +
		`file: a.pub "<a>\n"` + "\n" + `file: b.pub "b: \"x\""` + "\n" + `file: p.yaml ""` + "\n" + `file: s.json "{}\n"` + "\n\nbody\n\nbody")
	v, err := vectors.Parse("x", whole)
	if err != nil {
		t.Fatal(err)
	}
	if v.Want(vectors.Inspect) != vectors.Success || v.Want(vectors.Verify) != "name" || v.Want(vectors.Unpacked) != "" || string(v.Body) != "body\n\nbody" {
		t.Errorf("%+v", v)
	}
	dir := t.TempDir()
	if err := v.Write(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a.pub": "<a>\n", "b.pub": `b: "x"`, "p.yaml": "", "s.json": "{}\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if !slices.Equal(v.Keys, []string{"a.pub", "b.pub"}) || !slices.Equal(v.Signatures, []string{"s.json"}) || v.Policy != "p.yaml" {
		t.Errorf("%+v", v.Given)
	}
	if b, err := v.Marshal(); err != nil || !bytes.Equal(b, whole) {
		t.Errorf("written again as %q, %v", b, err)
	}
}

// What is in the hostile vectors is found, in any compression and behind the fault.
func TestContents(t *testing.T) {
	all, err := vectors.Load(corpus)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"good": "index.json", "name-dotdot-first": "index.json", "gzip": "index.json", "frames-empty": "index.json", "seek-size": "index.json",
		"directory-fifo": "index.json", "docker-key-folded": "manifest.json", "deck-good": "deck.yaml",
	}
	found := 0
	for _, v := range all {
		files := v.Contents()
		name, ok := want[v.Name]
		if !ok {
			continue
		}
		found++
		if !slices.ContainsFunc(files, func(f vectors.File) bool { return f.Name == name && len(f.Content) > 10 }) {
			t.Errorf("%s: %q", v.Name, files)
		}
	}
	if found != len(want) {
		t.Errorf("%d of %d vectors are there", found, len(want))
	}
}
