package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// packAll is an archive of everything that c has, true or not, as somebody else
// would write it.
func packAll(t testing.TB, c *storagetest.Content) []byte {
	t.Helper()
	raw, err := layout.MarshalIndex(c.Index)
	if err != nil {
		t.Fatal(err)
	}
	ms := []memberOf{{name: ocispec.ImageLayoutFile, content: layout.LayoutFile}, {name: ocispec.ImageIndexFile, content: string(raw)}}
	for _, d := range slices.Sorted(maps.Keys(c.Blobs)) {
		ms = append(ms, memberOf{name: blobName(d), content: string(c.Blobs[d])})
	}
	return pack(t, ms...)
}

// tryWrite is write for what may be refused.
func tryWrite(src layout.Source, index ocispec.Index) ([]byte, error) {
	var b bytes.Buffer
	_, err := Write(context.Background(), &b, src, index, &WriteOptions{Compression: None, Jobs: 1})
	return b.Bytes(), err
}

// FuzzGraph holds writing and reading against a walker that knows nothing of them:
// they accept what is whole, and nothing else.
func FuzzGraph(f *testing.F) {
	f.Add([]byte{})
	for seed := range byte(64) {
		f.Add(storagetest.Random(seed, 120))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := storagetest.Graph(storagetest.NewDice(b), true)
		verdict := c.Judge()
		if verdict.Deep {
			return
		}
		written, err := tryWrite(c, c.Index)
		if (err == nil) != verdict.Whole {
			t.Fatalf("Write: %v; whole: %v", err, verdict.Whole)
		}
		if err == nil {
			v, rep, err := verifyBytes(written, &VerifyOptions{Jobs: 1})
			if err != nil {
				t.Fatalf("written, and then: %v", err)
			}
			if _, err := verifyStream(written, nil); err != nil {
				t.Fatalf("written, and from a pipe: %v", err)
			}
			if v.r.Blobs() != len(verdict.Reached) || rep.Artifacts != len(c.Index.Manifests) {
				t.Fatalf("%d blobs, and %d are reached; %+v", v.r.Blobs(), len(verdict.Reached), rep)
			}
			reached := storagetest.Content{Blobs: maps.Clone(c.Blobs)}
			maps.DeleteFunc(reached.Blobs, func(d digest.Digest, _ []byte) bool { return !verdict.Reached[d] })
			if err := sameContent(v, &reached); err != nil {
				t.Fatal(err)
			}
		} else if layout.ClassOf(err) == layout.ClassLocal {
			t.Fatalf("Write: not a fault of this machine: %v", err)
		}

		// What somebody else packs may hold the lies, and content that nothing needs.
		archive := packAll(t, c)
		_, _, err = verifyBytes(archive, &VerifyOptions{Jobs: 1})
		_, serr := verifyStream(archive, nil)
		for how, err := range map[string]error{"Verify": err, "VerifyStream": serr} {
			if (err == nil) != (verdict.Whole && verdict.Sound) {
				t.Fatalf("%s: %v; whole: %v, sound: %v", how, err, verdict.Whole, verdict.Sound)
			}
			if err != nil && !errors.Is(err, layout.ErrUntrusted) {
				t.Fatalf("%s: %v", how, err)
			}
		}
		intact(t, c, archive)
	})
}

// intact demands that what is taken for whole of an archive that is damaged is so,
// and that what is not is told.
func intact(t *testing.T, c *storagetest.Content, archive []byte) {
	t.Helper()
	r, err := openBytes(archive)
	if err != nil {
		return
	}
	v, rep, err := r.VerifyIntact(t.Context(), &VerifyOptions{Jobs: 1})
	if err != nil {
		return
	}
	part := storagetest.Content{Blobs: c.Blobs, Index: v.Index()}
	if verdict := part.Judge(); !verdict.Whole {
		t.Fatalf("intact: %v", verdict.Wrong)
	}
	if all := len(v.Index().Manifests) + len(rep.Again); all != len(c.Index.Manifests) {
		t.Fatalf("%d entries are whole, %d are to be asked for again, of %d", len(v.Index().Manifests), len(rep.Again), len(c.Index.Manifests))
	}
}

// FuzzTake takes artifacts out of a layout twice, for platforms or all, and demands
// that what was taken is a bundle of its own, of which all can be taken again. Where
// the layout lies, what is refused has a class.
func FuzzTake(f *testing.F) {
	f.Add(byte(0), false, []byte{})
	for seed := range byte(64) {
		f.Add(seed, seed%4 == 0, storagetest.Random(seed, 120))
	}
	platforms := [][]ocispec.Platform{
		nil, {{OS: "linux", Architecture: "amd64"}}, {{OS: "linux", Architecture: "arm64"}},
		{{OS: "linux", Architecture: "amd64"}, {OS: "windows", Architecture: "amd64"}},
	}
	f.Fuzz(func(t *testing.T, how byte, lies bool, b []byte) {
		c := storagetest.Graph(storagetest.NewDice(b), lies)
		verdict := c.Judge()
		refused := func(err error, whole bool) bool {
			if err != nil && (whole || layout.ClassOf(err) == layout.ClassLocal) {
				t.Fatalf("%v; %+v", err, verdict)
			}
			return err != nil
		}
		absent, err := layout.AbsentOf(c.Index)
		if refused(err, verdict.Whole) {
			return
		}
		// What is said to be left out and is there after all is not left out of what is
		// written, and a lie about it is a lie again.
		all := storagetest.Content{Blobs: c.Blobs, Index: c.Index}
		left := maps.Clone(absent)
		maps.DeleteFunc(left, func(d digest.Digest, _ struct{}) bool { return verdict.Reached[d] })
		left.Mark(&all.Index)
		whole := verdict.Whole && !verdict.Deep && all.Judge().Whole
		var parts []layout.Part
		var idx ocispec.Index
		needed := map[digest.Digest]bool{}
		for range 1 + how>>7 {
			o := &layout.TakeOptions{Container: "box", Platforms: platforms[how%4], NoReferrers: how&4 != 0}
			if how&8 != 0 {
				o.Only = layout.EntryName(c.Index.Manifests[0])
			}
			how >>= 4
			taken, err := layout.Take(t.Context(), layout.WithAbsent(c, absent), c.Index.Manifests, o)
			if refused(err, false) { // there may be nothing for a platform
				return
			}
			demand(c, o, taken, needed)
			parts = append(parts, layout.Part{Source: layout.WithAbsent(c, taken.Absent), Entries: taken.Entries})
			idx.Manifests = append(idx.Manifests, taken.Entries...)
		}
		missing, lacking, err := layout.Merge(t.Context(), parts...)
		if refused(err, whole) || len(lacking) > 0 && !whole {
			return
		}
		missing.Mark(&idx)
		written, err := tryWrite(c, idx)
		if refused(err, whole) {
			return
		}
		v, _, err := verifyBytes(written, &VerifyOptions{Jobs: 1})
		if err != nil {
			t.Fatalf("written, and then: %v", err)
		}
		for d := range needed {
			_, there := v.r.content.extent(d)
			if _, out := absent[d]; !there && !out {
				t.Fatalf("%s is lost", d)
			}
		}
		again, err := layout.Take(t.Context(), v, v.Index().Manifests, &layout.TakeOptions{Container: "other"})
		if err != nil {
			t.Fatalf("taken again: %v", err)
		}
		// A referrer that has the name of what it refers to loses it; that of two
		// artifacts is nobody's. What has no name need not be an entry where another
		// leads to it.
		got, want := named(t, again.Entries), named(t, idx.Manifests)
		for _, e := range again.Entries {
			if err := layout.Walk(t.Context(), v, e, func(n layout.Node) error {
				if n.Kind == layout.KindManifest {
					got[" "+n.Digest.String()] = true
					want[" "+n.Digest.String()] = true
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if !maps.Equal(got, want) && !ambiguous(idx.Manifests) {
			t.Fatalf("taken again: %v\nfirst: %v", got, want)
		}
	})
}

// demand adds what has to be there of what was taken.
func demand(c *storagetest.Content, o *layout.TakeOptions, taken layout.Taken, want map[digest.Digest]bool) {
	if o.Only == "" && !o.NoReferrers && len(o.Platforms) == 0 {
		// What refers to something that is not there has no place of its own.
		artifacts := storagetest.Content{Blobs: c.Blobs, Index: c.Index}
		artifacts.Index.Manifests = slices.DeleteFunc(slices.Clone(c.Index.Manifests), func(e ocispec.Descriptor) bool {
			return layout.EntryName(e) == "" || e.Annotations["kind"] != ""
		})
		maps.Copy(want, artifacts.Judge().Reached)
	}
	found := map[digest.Digest]bool{}
	absent, _ := layout.AbsentOf(c.Index)
	for _, sel := range taken.Selections {
		if sel.Of == nil {
			matching(c, sel.Root, absent, o.Platforms, found)
		}
	}
	maps.Copy(want, found)
}

// matching adds the manifests below an index that it lists for one of the platforms.
func matching(c *storagetest.Content, d ocispec.Descriptor, absent layout.Absent, platforms []ocispec.Platform, want map[digest.Digest]bool) {
	if !layout.IsIndex(d.MediaType) {
		return
	}
	var idx ocispec.Index
	if json.Unmarshal(c.Blobs[d.Digest], &idx) != nil {
		return
	}
	for _, m := range idx.Manifests {
		// What is said to be about another manifest, an index too, goes or stays with that.
		if _, out := absent[m.Digest]; out || m.Annotations["vnd.docker.reference.type"] != "" {
			continue
		}
		matching(c, m, absent, platforms, want)
		if m.Platform == nil || layout.IsIndex(m.MediaType) || !layout.IsManifest(m.MediaType) {
			continue
		}
		if slices.ContainsFunc(platforms, func(p ocispec.Platform) bool {
			return p.OS == m.Platform.OS && p.Architecture == m.Platform.Architecture
		}) {
			want[m.Digest] = true
		}
	}
}

// ambiguous reports whether one name stands for two artifacts.
func ambiguous(entries []ocispec.Descriptor) bool {
	of := map[string]digest.Digest{}
	for _, e := range entries {
		name := layout.EntryName(e)
		if d, ok := of[name]; ok && d != e.Digest && name != "" {
			return true
		}
		of[name] = e.Digest
	}
	return false
}

// named gives the names and digests of entries, of which every name must be full.
func named(t *testing.T, entries []ocispec.Descriptor) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, e := range entries {
		name := layout.EntryName(e)
		if _, err := layout.ParseReference(name); name != "" && err != nil {
			t.Fatal(err)
		}
		out[name+" "+e.Digest.String()] = true
	}
	return out
}
