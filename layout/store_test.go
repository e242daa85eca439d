package layout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// notes collects what a person would be told.
func notes() (layout.Progress, func() []string) {
	var mu sync.Mutex
	var got []string
	return func(e layout.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == layout.EventNote {
				got = append(got, e.Text)
			}
		}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		}
}

// P10: what a killed run or another tool left under the name of a blob is
// replaced, and somebody is told.
func TestBlobThatIsNotWholeIsReplaced(t *testing.T) {
	c := storagetest.NewContent()
	want := []byte("the whole content")
	d := c.Add(storagetest.BlobType, want)
	for name, b := range map[string][]byte{
		"ZeroBytes": {}, "Torn": want[:5], "TornToZeros": make([]byte, len(want)), "Foreign": []byte("some other content"), "Longer": append(slices.Clone(want), 0),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			progress, told := notes()
			s := openStore(t, dir, &layout.StoreOptions{Progress: progress})
			file := blobFile(dir, d.Digest)
			os.MkdirAll(filepath.Dir(file), 0o755)
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := layout.Copy(t.Context(), s, c, []ocispec.Descriptor{d}, nil); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != string(want) {
				t.Errorf("the file has %q, %v", got, err)
			}
			if len(told()) != 1 {
				t.Errorf("notes: %q", told())
			}
		})
	}
}

// The same blob is pushed by two who both saw that it was torn. Whoever looks
// late must not remove what the other stored.
func TestExistsNeverRemovesAWholeBlob(t *testing.T) {
	c := storagetest.NewContent()
	d := c.Add(storagetest.BlobType, storagetest.Random(3, 100_000))
	for range 50 {
		dir := t.TempDir()
		a, b := openStore(t, dir, nil), openStore(t, dir, nil)
		os.MkdirAll(filepath.Dir(blobFile(dir, d.Digest)), 0o755)
		if err := os.WriteFile(blobFile(dir, d.Digest), make([]byte, d.Size), 0o644); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, s := range []*layout.Store{a, b, a, b} {
			wg.Go(func() {
				if err := layout.Copy(t.Context(), s, c, []ocispec.Descriptor{d}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if _, err := os.Stat(blobFile(dir, d.Digest)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		b.Close()
	}
}

// A size that is a lie is told of the content, and must not cost those the
// content who told the truth.
func TestLieAboutASizeDoesNotRemoveTheBlob(t *testing.T) {
	c := storagetest.NewContent()
	d := c.Add(storagetest.BlobType, []byte("the content"))
	first, dir := fillStore(t, nil)
	pushAll(t, first, c)
	later := openStore(t, dir, nil)
	lie := d
	lie.Size = 3
	if ok, err := later.Exists(t.Context(), lie); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := later.Exists(t.Context(), d); !ok || err != nil {
		t.Errorf("the content is gone: %v, %v", ok, err)
	}
}

func TestReadOnlyStoreWritesNothing(t *testing.T) {
	c := storagetest.Small()
	s, dir := fillStore(t, nil)
	pushAll(t, s, c)
	if err := s.Add(t.Context(), nil, c.Index.Manifests...); err != nil {
		t.Fatal(err)
	}
	s.Close()
	os.RemoveAll(filepath.Join(dir, ".airdeck"))
	d := c.Descriptors()[0]
	flip(t, blobFile(dir, d.Digest))
	before := leftoversAndBlobs(t, dir)

	ro := openStore(t, dir, &layout.StoreOptions{ReadOnly: true})
	for _, d := range c.Descriptors() {
		ro.Exists(t.Context(), d)
	}
	if _, err := ro.Index(); err != nil {
		t.Error(err)
	}
	ro.Close()
	if after := leftoversAndBlobs(t, dir); !slices.Equal(before, after) {
		t.Errorf("before: %q\nafter: %q", before, after)
	}
}

func leftoversAndBlobs(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err == nil {
			names = append(names, fmt.Sprint(p, fi.Size()))
		}
		return err
	})
	return names
}

func TestSymlinkOutOfTheLayoutIsNotFollowed(t *testing.T) {
	c := storagetest.NewContent()
	d := c.Add(storagetest.BlobType, []byte("a secret of the operator"))
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, c.Blobs[d.Digest], 0o600); err != nil {
		t.Fatal(err)
	}
	s, dir := fillStore(t, nil)
	os.MkdirAll(filepath.Dir(blobFile(dir, d.Digest)), 0o755)
	if err := os.Symlink(outside, blobFile(dir, d.Digest)); err != nil {
		t.Skip(err)
	}
	if rc, err := s.Fetch(t.Context(), d); err == nil {
		rc.Close()
		t.Error("Fetch followed the link")
	}
	if ok, _ := s.Exists(t.Context(), d); ok {
		t.Error("Exists followed the link")
	}
	// What is stored goes beside the link's target, never into it.
	secret := c.Blobs[d.Digest]
	if err := os.WriteFile(outside, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := layout.PushBytes(t.Context(), s, d, secret); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(outside); string(b) != "changed" {
		t.Error("Push wrote through the link")
	}
	if fi, err := os.Lstat(blobFile(dir, d.Digest)); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("the link is still there: %v, %v", fi, err)
	}
}

func TestUpdatesOfTheIndexLoseNothing(t *testing.T) {
	dir := t.TempDir()
	stores := []*layout.Store{openStore(t, dir, nil), openStore(t, dir, nil)}
	var wg sync.WaitGroup
	const each = 5
	for g := range 8 {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("r.io/repo%d:v%d", g, i)
				d := layout.Named(ocispec.Descriptor{MediaType: image, Digest: digest.FromString(name), Size: 1}, name)
				if err := stores[g%2].Add(context.Background(), nil, d); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	idx, err := stores[0].Index()
	if err != nil || len(idx.Manifests) != 8*each {
		t.Errorf("%d entries of %d, %v", len(idx.Manifests), 8*each, err)
	}
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left behind: %q", l)
	}
}

func TestEditThatFailsChangesNothing(t *testing.T) {
	s, dir := fillStore(t, nil)
	if err := s.Add(t.Context(), nil, layout.Named(ocispec.Descriptor{Digest: x, Size: 1}, "r.io/a:v1")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, "index.json"))
	refused := errors.New("refused")
	err := s.UpdateIndex(t.Context(), func(i *ocispec.Index) error {
		i.Manifests = nil
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "index.json")); string(after) != string(before) {
		t.Errorf("%s", after)
	}
	// The lock must have been let go.
	if err := s.UpdateIndex(t.Context(), func(*ocispec.Index) error { return nil }); err != nil {
		t.Error(err)
	}
}

// A full reference keeps two repositories apart that have one tag in common, and
// a name that is added again moves.
func TestAddKeepsRepositoriesApart(t *testing.T) {
	s, _ := fillStore(t, nil)
	add := func(ref, content string) {
		t.Helper()
		d := ocispec.Descriptor{MediaType: image, Digest: digest.FromString(content), Size: 1}
		if ref != "" {
			d = layout.Named(d, ref)
		}
		if err := s.Add(t.Context(), nil, d); err != nil {
			t.Fatal(err)
		}
	}
	add("r.io/two:v1", "2")
	add("r.io/one:v1", "1")
	add("", "referrer")
	add("", "another referrer")
	add("r.io/two:v1", "2, moved")
	idx, err := s.Index()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range idx.Manifests {
		names = append(names, layout.EntryName(d))
	}
	if !slices.Equal(names, []string{"r.io/one:v1", "r.io/two:v1", "", ""}) {
		t.Errorf("%q", names)
	}
	if idx.Manifests[1].Digest != digest.FromString("2, moved") {
		t.Error("the name did not move")
	}
}

func TestOpenStore(t *testing.T) {
	write := func(files map[string]string) string {
		dir := t.TempDir()
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, tt := range []struct {
		name     string
		files    map[string]string
		readOnly bool
		class    layout.Class // "" is no error
	}{
		{"empty", nil, false, ""},
		{"empty, read only", nil, true, layout.ClassLayout},
		{"other files", map[string]string{"thesis.odt": "x"}, false, layout.ClassLayout},
		{"other files and a torn oci-layout", map[string]string{"thesis.odt": "x", "oci-layout": ""}, false, layout.ClassLayout},
		{"torn oci-layout", map[string]string{"oci-layout": ""}, false, ""},
		{"torn oci-layout, read only", map[string]string{"oci-layout": ""}, true, layout.ClassJSON},
		{"other version", map[string]string{"oci-layout": `{"imageLayoutVersion":"2.0.0"}`}, false, layout.ClassLayout},
		{"other spelling", map[string]string{"oci-layout": "{\n  \"imageLayoutVersion\": \"1.0.0\"\n}\n"}, true, ""},
		{"folded key", map[string]string{"oci-layout": `{"ImageLayoutVersion":"1.0.0"}`}, true, layout.ClassJSON},
		{"layout with other files", map[string]string{"oci-layout": layout.LayoutFile, "README": "x"}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(tt.files)
			s, err := layout.OpenStore(t.Context(), dir, &layout.StoreOptions{ReadOnly: tt.readOnly})
			if (err == nil) != (tt.class == "") || err != nil && layout.ClassOf(err) != tt.class {
				t.Fatalf("%v, class %s", err, layout.ClassOf(err))
			}
			if err != nil {
				for name, content := range tt.files {
					if b, _ := os.ReadFile(filepath.Join(dir, name)); string(b) != content {
						t.Errorf("%s was changed", name)
					}
				}
				return
			}
			defer s.Close()
			if !tt.readOnly {
				b, err := os.ReadFile(filepath.Join(dir, "oci-layout"))
				if err != nil || layout.CheckLayoutFile(b) != nil {
					t.Errorf("%q, %v", b, err)
				}
			}
		})
	}
}

func TestDamagedIndexIsAnErrorAndStays(t *testing.T) {
	for _, content := range []string{"", "\x00\x00", `{"schemaVersion":2,"manifests":[`} {
		s, dir := fillStore(t, nil)
		if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(t.Context(), nil, layout.Named(ocispec.Descriptor{Digest: x, Size: 1}, "r.io/a:b")); layout.ClassOf(err) != layout.ClassJSON {
			t.Errorf("%q: %v", content, err)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "index.json")); string(b) != content {
			t.Errorf("%q became %q", content, b)
		}
	}
}
