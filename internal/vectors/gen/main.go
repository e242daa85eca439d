// Gen writes the corpus of testdata/vectors. It has its own writers of tar, zstd, gzip
// and JSON, since proper ones refuse to write what most vectors are about.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/airdeck/airdeck/internal/vectors"
)

func main() {
	dir := filepath.Join("..", "..", vectors.Dir) // as go generate runs it
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := write(dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// write makes the folder hold the corpus, and no other vectors.
func write(dir string) error {
	all, err := corpus()
	if err != nil {
		return err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range old {
		name := filepath.Join(dir, f.Name())
		if all[f.Name()] != nil || f.IsDir() {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := vectors.Parse(f.Name(), b); err != nil {
			continue // it is none
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := os.WriteFile(filepath.Join(dir, name), all[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// corpus gives the bytes of all vector files, by their names.
func corpus() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, stage := range []func(*set){
		plain, goodTars, goodLayouts, memberNames, memberTypes, duplicates, headers, sizes, paxHeaders, ends, crowds,
		goodFrames, zstdFrames, zstdAmounts, hiddenFrames, zstdEnds, seekTables, gzips,
		layoutFiles, missing, dockerFiles, signatures, jsons, digests, contents, descriptors, graphs, crowded, circles, mediaTypes,
		signedBundles, signedArtifacts, keylessArtifacts, directories, references, deckPaths, deckTexts,
	} {
		s := &set{}
		stage(s)
		for _, v := range s.all {
			if out[v.Name] != nil {
				return nil, fmt.Errorf("two vectors are called %s", v.Name)
			}
			b, err := v.Marshal()
			if err != nil {
				return nil, err
			}
			out[v.Name] = b
		}
	}
	return out, nil
}

// largest is the size of a body, in bytes, from which it is compressed.
const largest = 8 << 10

// set gathers vectors of a stage.
type set struct {
	stage, source string
	form          vectors.Form
	unpacked      bool // the verdict is that on the members as files as well
	all           []vectors.Vector
}

// at begins a part of the corpus. source is where what follows was met, unless it is
// told otherwise.
func (s *set) at(stage, source string, form vectors.Form) {
	s.stage, s.source, s.form = stage, source, form
}

// add adds a vector.
func (s *set) add(expect, name, comment string, body []byte, more ...option) {
	v := vectors.Vector{
		Name: name, Expect: expect, Stage: s.stage, Comment: comment, Sources: []string{s.source}, Form: s.form,
		Entries: map[string]string{}, UnreadBy: map[string]string{}, Body: body,
	}
	if s.unpacked {
		v.Entries[vectors.Unpacked] = expect
	}
	for _, o := range more {
		o(&v)
	}
	v.Compressed = len(body) > largest
	s.all = append(s.all, v)
}

type option func(*vectors.Vector)

// verdict gives entry points another one.
func verdict(want string, entries ...string) option {
	return func(v *vectors.Vector) {
		for _, e := range entries {
			v.Entries[e] = want
		}
	}
}

// blobsOnly says that the fault lies where inspect does not read.
func blobsOnly(v *vectors.Vector) { v.Entries[vectors.Inspect] = vectors.Success }

// notUnpacked says that nothing follows for a directory.
func notUnpacked(v *vectors.Vector) { delete(v.Entries, vectors.Unpacked) }

// metBy names the sources in the place of that of the set.
func metBy(sources ...string) option {
	return func(v *vectors.Vector) { v.Sources = sources }
}

// unreadBy says that another reader does not read it.
func unreadBy(reader, why string) option {
	return func(v *vectors.Vector) { v.UnreadBy[reader] = why }
}

// Why skopeo does not read some.
var (
	fetchesURLs  = unreadBy("skopeo", "it fetches what the urls of a layer name")
	everyMention = unreadBy("skopeo", "it copies what is listed as often as it is listed, and is not done before long")
)
