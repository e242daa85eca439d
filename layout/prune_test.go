package layout_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// twoDecks is a layout with two artifacts that share a config, a blob that
// nothing needs, and what a killed run left.
func twoDecks(t *testing.T) (s *layout.Store, dir string, c *storagetest.Content, orphan ocispec.Descriptor) {
	t.Helper()
	s, dir = fillStore(t, nil)
	c = storagetest.NewContent()
	config := c.Add(storagetest.ConfigType, []byte("{}"))
	c.Name(c.AddImage(config, c.Add(storagetest.BlobType, []byte("only in a"))), "r.io/a:v1")
	c.Name(c.AddImage(config, c.Add(storagetest.BlobType, []byte("only in b"))), "r.io/b:v1")
	pushAll(t, s, c)
	if err := s.Add(t.Context(), nil, c.Index.Manifests...); err != nil {
		t.Fatal(err)
	}
	unneeded := storagetest.NewContent()
	orphan = unneeded.Add(storagetest.BlobType, []byte("nothing needs this"))
	pushAll(t, s, unneeded)
	for _, folder := range []string{".", "blobs/sha256"} {
		if err := os.WriteFile(filepath.Join(dir, folder, tempPrefix+"DEAD"), []byte("12345"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s, dir, c, orphan
}

func exists(t *testing.T, s layout.Sink, d ocispec.Descriptor) bool {
	t.Helper()
	ok, err := s.Exists(t.Context(), d)
	if err != nil {
		t.Error(err)
	}
	return ok
}

func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	s, dir, c, orphan := twoDecks(t)
	p, err := s.Prune(t.Context())
	if err != nil || p.Blobs != 1 || p.Debris != 2 || p.Bytes != orphan.Size+10 || len(p.References) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, d := range c.Descriptors() {
		if !exists(t, openStore(t, dir, nil), d) {
			t.Errorf("%s is gone", d.Digest)
		}
	}
	if _, err := os.Stat(blobFile(dir, orphan.Digest)); !os.IsNotExist(err) {
		t.Errorf("the orphan is there: %v", err)
	}
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left behind: %q", l)
	}
}

// What prune removed is not there for the same Store either, which has seen it
// whole before.
func TestPrunedBlobCanBePushedAgain(t *testing.T) {
	s, dir, _, orphan := twoDecks(t)
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists(t, s, orphan) {
		t.Error("Exists says that the pruned blob is there")
	}
	if err := layout.PushBytes(t.Context(), s, orphan, []byte("nothing needs this")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(blobFile(dir, orphan.Digest)); err != nil {
		t.Errorf("Push gave nil and stored nothing: %v", err)
	}
}

func TestPruneForgets(t *testing.T) {
	s, dir, c, _ := twoDecks(t)
	p, err := s.Prune(t.Context(), "r.io/a:v1")
	if err != nil || p.Blobs != 3 || len(p.References) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	idx, err := s.Index()
	if err != nil || len(idx.Manifests) != 1 || layout.EntryName(idx.Manifests[0]) != "r.io/b:v1" {
		t.Errorf("%+v, %v", idx.Manifests, err)
	}
	fresh := openStore(t, dir, nil)
	err = layout.Walk(t.Context(), fresh, c.Index.Manifests[1], func(n layout.Node) error {
		if !exists(t, fresh, n.Descriptor) {
			t.Errorf("%s is gone", n.Digest)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPruneOfUnknownReference(t *testing.T) {
	s, dir, _, orphan := twoDecks(t)
	if _, err := s.Prune(t.Context(), "r.io/a:v1", "r.io/unknown:v1"); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(blobFile(dir, orphan.Digest)); err != nil {
		t.Error("something was removed")
	}
	if idx, _ := s.Index(); len(idx.Manifests) != 2 {
		t.Error("something was forgotten")
	}
}

func TestPruneWhileAnotherUsesTheLayout(t *testing.T) {
	s, dir, _, orphan := twoDecks(t)
	other := openStore(t, dir, nil)
	if _, err := s.Prune(t.Context()); !errors.Is(err, layout.ErrBusy) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(blobFile(dir, orphan.Digest)); err != nil {
		t.Error("something was removed")
	}
	// s was refused, and goes on using the layout: so other is refused as well.
	if _, err := other.Prune(t.Context()); !errors.Is(err, layout.ErrBusy) {
		t.Errorf("the other: %v", err)
	}
	other.Close()
	if _, err := s.Prune(t.Context()); err != nil {
		t.Errorf("alone: %v", err)
	}
	// And after a prune that was done.
	other = openStore(t, dir, nil)
	if _, err := other.Prune(t.Context()); !errors.Is(err, layout.ErrBusy) {
		t.Errorf("after a prune: %v", err)
	}
}

func TestPruneRemovesNothingIfAManifestIsDamaged(t *testing.T) {
	s, dir, c, orphan := twoDecks(t)
	flip(t, blobFile(dir, c.Index.Manifests[1].Digest))
	var corrupt *layout.CorruptError
	if _, err := s.Prune(t.Context(), "r.io/a:v1"); !errors.As(err, &corrupt) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(blobFile(dir, orphan.Digest)); err != nil {
		t.Error("something was removed")
	}
	if idx, _ := s.Index(); len(idx.Manifests) != 2 {
		t.Error("something was forgotten")
	}
	// What is damaged can be forgotten.
	if _, err := s.Prune(t.Context(), "r.io/b:v1"); err != nil {
		t.Error(err)
	}
}
