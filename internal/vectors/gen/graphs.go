package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

// nest puts an index round a descriptor, as often as is told.
func nest(d string, depth int) (outer string, bodies []string) {
	for range depth {
		idx := indexOf(d)
		bodies = append(bodies, idx)
		d = desc(typeIndex, idx)
	}
	slices.Reverse(bodies)
	return d, bodies
}

// entryOf gives a descriptor a reference.
func entryOf(d, ref string) string { return d[:len(d)-1] + "," + named(ref) + "}" }

// graphs are graphs that are too deep, too wide, or no trees.
func graphs(s *set) {
	s.at("graph", "CVE-2023-25153 containerd", vectors.Bundle)
	s.unpacked = true
	p := parts{}
	_, manifest := p.texts()
	leaves := []string{manifest, configBody, firstBody, secondBody}
	inIndexes := unreadBy("skopeo", "it takes no index in an index")
	nested := func(expect, label, comment string, depth int, more ...option) {
		d, bodies := nest(desc(typeManifest, manifest), depth)
		s.add(expect, label, comment, archive(layoutOf(indexOf(entryOf(d, name)), append(bodies, leaves...)...)...), more...)
	}
	nested(vectors.Success, "graph-depth-8", "a manifest in eight indexes", 8, inIndexes)
	nested("graph", "graph-depth-9", "a manifest in nine indexes", 9)
	nested("graph", "graph-depth-100", "a manifest in a hundred indexes", 100)

	diamond := func(label, expect, comment string, levels, width int, more ...option) {
		below := []string{desc(typeManifest, manifest)}
		var bodies []string
		for l := range levels {
			var row []string
			for i := range width {
				idx := object(`"schemaVersion":2`, `"mediaType":`+quoted(typeIndex), `"manifests":`+list(below...), fmt.Sprintf(`"annotations":{"n":"%d.%d"}`, l, i))
				bodies = append(bodies, idx)
				row = append(row, desc(typeIndex, idx))
			}
			below = row
		}
		slices.Reverse(bodies)
		s.add(expect, label, comment, archive(layoutOf(indexOf(entryOf(below[0], name)), append(bodies, leaves...)...)...), append(more, metBy("each digest visited once"))...)
	}
	diamond("graph-diamond", vectors.Success, "2^21 paths to one manifest, through eight rows of eight indexes", 8, 8, inIndexes)
	diamond("graph-diamond-deep", "graph", "2^20 paths to one manifest, through twenty rows of two indexes", 20, 2)
	same := indexOf(slices.Repeat([]string{desc(typeManifest, manifest)}, 10_000)...)
	s.add(vectors.Success, "graph-same-child", "an index that lists one manifest 10,000 times", archive(layoutOf(
		indexOf(desc(typeIndex, same, named(name))), append([]string{same}, leaves...)...)...), metBy("CVE-2024-29903 cosign"), everyMention)
	many := manifestOf(desc(typeConfig, configBody), slices.Repeat([]string{desc(typeBlob, firstBody)}, 10_000)...)
	s.add(vectors.Success, "graph-same-layer", "a manifest that lists one layer 10,000 times", archive(layoutOf(
		indexOf(desc(typeManifest, many, named(name))), many, configBody, firstBody)...), metBy("CVE-2024-29903 cosign"), everyMention)
	var lost []string
	for i := range 20_000 {
		lost = append(lost, fmt.Sprintf(`{"mediaType":"a/b","digest":"sha256:%064x","size":1}`, i))
	}
	lots := manifestOf(desc(typeConfig, configBody), lost...)
	s.add("missing", "graph-lost-layers", "a manifest of 20,000 layers that are not there", archive(layoutOf(
		indexOf(desc(typeManifest, lots, named(name))), lots, configBody)...), blobsOnly, metBy("CVE-2024-29903 cosign"))
	big := manifestOf(desc(typeConfig, configBody)) + strings.Repeat(" ", 4<<20)
	s.add("limit", "graph-huge-manifest", "a manifest of over 4 MiB", archive(layoutOf(
		indexOf(desc(typeManifest, big, named(name))), big, configBody)...))
	just := manifestOf(desc(typeConfig, configBody))
	just += strings.Repeat(" ", 4<<20-len(just))
	s.add(vectors.Success, "graph-large-manifest", "a manifest of 4 MiB", archive(layoutOf(
		indexOf(desc(typeManifest, just, named(name))), just, configBody)...))
	heavy := indexOf(desc(typeManifest, manifest)) + strings.Repeat(" ", 3<<20)
	heavier := indexOf(desc(typeIndex, heavy)) + strings.Repeat(" ", 3<<20)
	s.add("limit", "graph-heavy-path", "an index of 3 MiB in an index of 3 MiB", archive(layoutOf(
		indexOf(desc(typeIndex, heavier, named(name))), append([]string{heavier, heavy}, leaves...)...)...), verdict(vectors.Success, vectors.Inspect))
	cycles(s, leaves)
	unfolded(s)
}

// unfolded are bundles that are small, and large where each mention of a manifest is
// told as if it were another one.
func unfolded(s *set) {
	s.source = "a tree of what a bundle holds, unfolded"
	large := func(layers, n int) string {
		return manifestOf(desc(typeConfig, configBody), append(slices.Repeat([]string{desc(typeBlob, firstBody)}, layers),
			desc(typeBlob, secondBody, fmt.Sprintf(`"annotations":{"n":"%d"}`, n)))...)
	}
	at := func(i int) string { return fmt.Sprintf("ghcr.io/acme/decks/intro:v%d", i) }
	one := large(9_000, 0)
	var names []string
	for i := range 100 {
		names = append(names, entryOf(desc(typeManifest, one), at(i)))
	}
	s.add(vectors.Success, "graph-names", "a hundred names of a manifest that lists one layer 9,000 times", archive(layoutOf(
		indexOf(names...), one, configBody, firstBody, secondBody)...), everyMention)
	var inner, bodies, entries []string
	for i := range 20 {
		bodies = append(bodies, large(450, i))
		inner = append(inner, desc(typeManifest, bodies[i]))
	}
	for i := range 100 {
		idx := object(`"schemaVersion":2`, `"mediaType":`+quoted(typeIndex), `"manifests":`+list(inner...), fmt.Sprintf(`"annotations":{"n":"%d"}`, i))
		bodies = append(bodies, idx)
		entries = append(entries, entryOf(desc(typeIndex, idx), at(i)))
	}
	s.add(vectors.Success, "graph-mentions", "a hundred indexes of the same twenty manifests, which list one layer 450 times each", archive(layoutOf(
		indexOf(entries...), append(bodies, configBody, firstBody, secondBody)...)...), everyMention)
}

// crowded are lists of more items than memory should be spent on. Descriptors take more
// bytes than a manifest may have before there are as many; what is in these is none.
func crowded(s *set) {
	s.at("graph", "CVE-2024-29903 cosign", vectors.Bundle)
	s.unpacked = true
	const limit, most = 50_000, 1_300_000
	items := func(n int) string { return strings.Repeat("{},", n-1) + "{}" }
	index := func(expect, label, comment, text string) {
		s.add(expect, "crowd-index-"+label, "index.json: "+comment, parts{index: to(text)}.tar())
	}
	index("limit", "entries", "over 50,000 entries", indexOf(items(limit+1)))
	index("limit", "million-entries", "1,300,000 entries, in less than 4 MiB", indexOf(items(most)))
	manifest := func(expect, label, comment string, change func(string) string) {
		s.add(expect, "crowd-manifest-"+label, "a manifest: "+comment, parts{manifest: change}.tar())
	}
	layers := func(n int) func(string) string { return to(manifestOf(desc(typeConfig, configBody), items(n))) }
	unknown := func(n int) func(string) string {
		return first(`"schemaVersion":2`, `"schemaVersion":2,"x-future":[0`+strings.Repeat(",0", n-1)+"]")
	}
	manifest("limit", "layers", "over 50,000 layers", layers(limit+1))
	manifest("limit", "million-layers", "1,300,000 layers, in less than 4 MiB", layers(most))
	manifest("limit", "unknown", "over 50,000 items of a list that nobody knows", unknown(limit+1))
	const keys = 150_000
	manifest("limit", "keys", "over 150,000 keys, in layers of annotations and nothing else",
		to(manifestOf(desc(typeConfig, configBody), slices.Repeat([]string{`{"annotations":{"a":"","b":"","c":""}}`}, keys/4+1)...)))
	manifest("limit", "lists", "over 50,000 items, in six lists of lists", first(`"schemaVersion":2`,
		`"schemaVersion":2,"x-future":`+list(slices.Repeat([]string{"[0" + strings.Repeat(",0", limit/6) + "]"}, 6)...)))
	index("limit", "platforms", "over 150,000 keys, in entries of platforms and nothing else",
		indexOf(slices.Repeat([]string{`{"platform":{"os":"","architecture":""},"annotations":{"":""}}`}, keys/5+1)...))
	annotated := desc(typeBlob, firstBody, `"annotations":{"n":""}`)
	s.add(vectors.Success, "crowd-manifest-annotated", "a manifest of as many layers, each with an annotation, as fit into 4 MiB", parts{manifest: to(manifestOf(
		desc(typeConfig, configBody), slices.Repeat([]string{annotated}, (4<<20-1000)/(len(annotated)+1))...))}.tar(), everyMention)
	manifest(vectors.Success, "most", "50,000 items, two layers and a list that nobody knows", unknown(limit-2))
}

// referrer is one of several that refer to something.
func referrer(subject string, n int) string {
	return object(`"schemaVersion":2`, `"mediaType":`+quoted(typeManifest), `"artifactType":"application/vnd.example.signature"`,
		`"config":`+desc(typeConfig, configBody), `"layers":[]`, `"subject":`+subject, fmt.Sprintf(`"annotations":{"n":"%d"}`, n))
}

// cycles can't be made of right digests.
func cycles(s *set, leaves []string) {
	s.source = "CVE-2026-55588 oras"
	placeholder := dgst("itself")
	self := indexOf(sub(desc(typeIndex, "itself"), `"size":6`, `"size":`+fmt.Sprint(len(indexOf(desc(typeIndex, "itself")))+2)))
	m := file("blobs/"+strings.Replace(placeholder, ":", "/", 1), self)
	s.add("digest", "graph-cycle", "an index that lists itself under a digest that is not its own", archive(append(layoutOf(
		indexOf(sub(desc(typeIndex, "itself", named(name)), `"size":6`, `"size":`+fmt.Sprint(len(self))))), m)...))
	subject := desc(typeManifest, leaves[0])
	entries := []string{entryOf(subject, name)}
	var bodies []string
	for i := range 100 {
		b := referrer(subject, i)
		bodies = append(bodies, b)
		subject = desc(typeManifest, b)
		entries = append(entries, subject)
	}
	s.add(vectors.Success, "graph-referrer-chain", "a referrer of a referrer, a hundred times", archive(layoutOf(indexOf(entries...), append(bodies, leaves...)...)...))
	lone := referrer(desc(typeManifest, "nothing here"), 0)
	s.add(vectors.Success, "graph-referrer-of-nothing", "a referrer whose subject is not there", archive(layoutOf(
		indexOf(entryOf(desc(typeManifest, leaves[0]), name), desc(typeManifest, lone)), append([]string{lone}, leaves...)...)...), verdict("missing", vectors.Mirror), metBy("cosign copy"))
	tag := indexOf(desc(typeManifest, leaves[0]))
	s.add(vectors.Success, "graph-fallback-lies", "a fallback tag whose index lists what refers to nothing", archive(layoutOf(
		indexOf(entryOf(desc(typeManifest, leaves[0]), name), desc(typeIndex, tag, named("ghcr.io/acme/decks/intro:sha256-"+sha(leaves[0])))),
		append([]string{tag}, leaves...)...)...))
}
