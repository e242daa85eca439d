package main

import (
	"fmt"

	"github.com/airdeck/airdeck/internal/vectors"
)

// circles are manifests that belong to each other: by their subjects, for which one
// of them has to lie about its digest, or by names and annotations, which anybody can
// give to anything.
func circles(s *set) {
	s.at("graph", "CVE-2026-55588 oras", vectors.Bundle)
	s.unpacked = true
	_, manifest := (&parts{}).texts()
	intro := desc(typeManifest, manifest)
	leaves := []string{manifest, configBody, firstBody, secondBody}
	add := func(expect, label, comment string, entries []string, ms ...member) {
		s.add(expect, "circle-"+label, comment, archive(append(layoutOf(indexOf(entries...), leaves...), ms...)...))
	}
	claimed := func(size int) string {
		return object(`"mediaType":`+quoted(typeManifest), `"digest":`+quoted(dgst("claimed")), fmt.Sprintf(`"size":%d`, size))
	}
	itself := referrer(claimed(100), 0)
	itself = referrer(claimed(len(itself)), 0)
	add("digest", "subject-itself", "a referrer whose subject is itself, under a digest that is not its own",
		[]string{entryOf(intro, name), claimed(len(itself))}, file(blobName("claimed"), itself))
	one := referrer(claimed(len(itself)), 1) // the other has as many bytes
	two := referrer(desc(typeManifest, one), 2)
	add("digest", "subjects", "two referrers whose subjects are each other, one under a digest that is not its own",
		[]string{entryOf(intro, name), desc(typeManifest, one), claimed(len(two))}, append(blobs(one), file(blobName("claimed"), two))...)
	of := func(body string) string { return "ghcr.io/acme/decks/intro:sha256-" + sha(body) + ".sig" }
	signature := func(n int) string {
		return manifestOf(desc(typeConfig, configBody), desc(typeBlob, firstBody, fmt.Sprintf(`"annotations":{"n":"%d"}`, n)))
	}
	a, b := signature(1), signature(2)
	add(vectors.Success, "tag-itself", "a signature that is its own, by a tag of cosign's",
		[]string{entryOf(intro, name), entryOf(desc(typeManifest, a), of(a))}, blobs(a)...)
	add(vectors.Success, "tags", "two signatures of each other, by tags of cosign's",
		[]string{entryOf(intro, name), entryOf(desc(typeManifest, a), of(b)), entryOf(desc(typeManifest, b), of(a))}, blobs(a, b)...)
	about := referrer(intro, 0)
	add(vectors.Success, "subject-tag", "an artifact that is a signature of what refers to it, by a tag of cosign's",
		[]string{entryOf(intro, of(about)), desc(typeManifest, about)}, blobs(about)...)
	attests := func(of string) string {
		return `"annotations":` + object(`"vnd.docker.reference.digest":`+quoted(dgst(of)), `"vnd.docker.reference.type":"attestation-manifest"`)
	}
	idx := indexOf(desc(typeManifest, a, attests(b)), desc(typeManifest, b, attests(a)))
	add(vectors.Success, "attestations", "an index of two manifests that say to be about each other",
		[]string{entryOf(desc(typeIndex, idx), name)}, blobs(idx, a, b)...)
}
