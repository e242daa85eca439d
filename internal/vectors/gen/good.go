package main

import (
	"slices"

	"github.com/airdeck/airdeck/internal/vectors"
)

// plain is what most vectors change.
func plain(s *set) {
	s.at("tar", "airdeck pack", vectors.Bundle)
	s.unpacked = true
	s.add(vectors.Success, "good", "one artifact, as airdeck packs it", archive(good()...))
}

// goodTars are bundles as known writers make them.
func goodTars(s *set) {
	s.at("tar", "GNU tar", vectors.Bundle)
	s.unpacked = true
	each := func(edit func(i int, m *member)) []member {
		ms := good()
		for i := range ms {
			edit(i, &ms[i])
		}
		return ms
	}
	add := func(name, comment, source string, b []byte, more ...option) {
		s.add(vectors.Success, name, comment, b, append(more, metBy(source))...)
	}
	folders := []member{{name: "./", kind: '5'}, {name: "./blobs/", kind: '5'}, {name: "./blobs/sha256/", kind: '5'}}
	dotted := each(func(_ int, m *member) { m.name = "./" + m.name })
	add("good-dot", "a leading ./ and folders", "tar -C layout -c .", archive(append(folders, dotted...)...))
	add("good-folders", "folders, one of them twice", "tar -c blobs index.json oci-layout", archive(slices.Concat([]member{{name: "blobs", kind: '5'}, {name: "blobs/sha256/", kind: '5'}, {name: "blobs/", kind: '5'}}, good())...))
	reversed := good()
	slices.Reverse(reversed)
	add("good-reversed", "the members in the other order", "skopeo writes blobs first", archive(reversed...))
	add("good-padded", "zeros up to the record size of 10 KiB", "GNU tar", append(archive(good()...), make([]byte, 10<<10-len(archive(good()...)))...))
	add("good-padded-64k", "64 KiB of zeros after the end", "tar -b 128", append(archive(good()...), make([]byte, 64<<10)...))
	add("good-old-gnu", "headers of GNU tar", "GNU tar", archive(each(func(_ int, m *member) { m.edit = put(fieldMagic, "ustar  \x00") })...))
	add("good-v7", "headers without a format", "tar of Unix V7", archive(each(func(_ int, m *member) {
		m.edit = both(put(fieldMagic, string(make([]byte, 8))), put(fieldDevice, string(make([]byte, 16))), put(fieldKind, "\x00"))
	})...))
	add("good-prefix", "names in two fields", posix, archive(each(func(i int, m *member) {
		if i >= 2 {
			m.name = m.name[len("blobs/sha256/"):]
			m.edit = put(fieldPrefix, "blobs/sha256")
		}
	})...))
	add("good-owners", "times, owners and modes", "GNU tar", archive(each(func(_ int, m *member) {
		m.edit = both(put(fieldMode, "0100600\x000001750\x000001750\x00"), put(fieldTime, "15000000000\x00"), put(fieldOwner, "somebody"), put(fieldOwner+32, "users"))
	})...))
	add("good-spaces", "numbers that end in spaces", "tar of BSD 4", archive(each(func(_ int, m *member) {
		m.edit = both(put(fieldMode, "   644 \x00     0 \x00     0 \x00"), put(fieldTime, "          0 "))
		m.size = octal(int64(len(m.body)))[:11] + " "
	})...))
	add("good-base-256", "a size in base-256", "star", last(func(m *member) { m.size = base256(int64(len(m.body))) }))
	add("good-base-256-time", "a time before 1970", "GNU tar", last(func(m *member) { m.edit = put(fieldTime, base256(-1)) }))
	add("good-pax-times", "extended headers with times and owners", "Python's tarfile, bsdtar", func() []byte {
		var ms []member
		for _, m := range good() {
			ms = append(ms, extended('x', record("mtime", "1767225600.123456789"), record("atime", "1767225600"), record("uname", "somebody"), record("LIBARCHIVE.creationtime", "1")), m)
		}
		return archive(ms...)
	}())
	add("good-pax-size", "an extended header with the size that the header has", posix, parts{without: secondBody, after: []member{
		extended('x', record("size", "16")), file(blobName(secondBody), secondBody)}}.tar())
	add("good-global", "a global header with a comment", "git archive", archive(append([]member{extended('g', record("comment", sha("commit")))}, good()...)...))
	add("good-empty-size", "a size without digits, which is 0", "tar of Unix V7", archive(append(parts{second: "x", after: nil}.members(), member{name: blobName(""), size: string(make([]byte, 12))})...))
	add("good-unread", "the files that hauler and docker put beside a layout", "hauler store save, docker save", parts{before: []member{
		file("repositories", "{}"), file("store.json", "{}"), file("audit.log", "saved\n")}}.tar())
}

// goodLayouts are layouts that a reader must take.
func goodLayouts(s *set) {
	s.at("layout", imageLayout, vectors.Bundle)
	s.unpacked = true
	add := func(name, comment, source string, ms []member, more ...option) {
		s.add(vectors.Success, name, comment, archive(ms...), append(more, metBy(source))...)
	}
	_, manifest := (&parts{}).texts()
	leaves := []string{manifest, configBody, firstBody, secondBody}
	add("good-no-artifacts", "no artifacts", "umoci init", layoutOf(indexOf()), unreadBy("skopeo", "it wants an artifact"))
	add("good-white-space", "JSON with white space", "oras, crane", parts{layoutFile: to("{\n \"imageLayoutVersion\": \"1.0.0\"\n}\n"), index: func(t string) string { return sub(t, `"schemaVersion":2,`, "\n  \"schemaVersion\": 2,\r\n\t") + "\n" }}.members())
	add("good-unknown-keys", "keys that nobody knows", "image-spec v1.1.1, considerations.md", parts{manifest: first(`"schemaVersion":2`, `"schemaVersion":2,"x-future":{"a":[1,2]}`)}.members())
	add("good-unnamed", "an artifact without a name", "crane pull", parts{entry: to(desc(typeManifest, manifest))}.members())
	add("good-tag", "an artifact whose name is a tag", "oras copy, regctl", parts{entry: to(desc(typeManifest, manifest, `"annotations":{"org.opencontainers.image.ref.name":"v1"}`))}.members())
	add("good-stray-blob", "a blob that nothing refers to", "prune is not run by most", parts{after: blobs("stray")}.members())
	add("good-empty-blob", "a blob without bytes", "oras push of an empty file", parts{second: "x", secondDesc: to(desc(typeBlob, "")), without: "x", after: blobs("")}.members())
	add("good-empty-config", "the empty config", "oras push", parts{configDesc: to(desc("application/vnd.oci.empty.v1+json", configBody, `"data":"e30="`))}.members())
	add("good-sha512", "a layer with a sha512 digest, whose name does not fit a header", descriptorSpec, parts{
		without: secondBody, secondDesc: to(sub(desc(typeBlob, secondBody), dgst(secondBody), "sha512:"+sha5(secondBody))), after: sha512Member(secondBody, secondBody)}.members(),
		unreadBy("skopeo", "it knows no sha512"))
	idx := indexOf(desc(typeManifest, manifest, `"platform":{"architecture":"amd64","os":"linux"}`), desc(typeArtifact, "left out"))
	add("good-absent-manifest", "a manifest of an index is left out, as index.json says", "airdeck pack --platform", layoutOf(
		absent(dgst("left out"))(indexOf(desc(typeIndex, idx, named(name)))), append([]string{idx}, leaves...)...), unreadBy("skopeo", "it wants all that an index lists"))
	add("good-absent-layer", "a layer that is not to be distributed is left out, as index.json says", "Windows base images", parts{
		without: secondBody, secondDesc: to(desc(typeForeign, secondBody, `"urls":["http://127.0.0.1:1/layer"]`)), index: absent(dgst(secondBody))}.members(), fetchesURLs)
	add("good-foreign-layer", "a layer that is not to be distributed is there", "Windows base images", parts{secondDesc: to(desc(typeForeign, secondBody))}.members())
	add("good-index", "an index of platforms", "docker buildx", layoutOf(indexOf(desc(typeIndex, indexOf(desc(typeManifest, manifest, `"platform":{"architecture":"amd64","os":"linux"}`)), named(name))),
		append([]string{indexOf(desc(typeManifest, manifest, `"platform":{"architecture":"amd64","os":"linux"}`))}, leaves...)...))
	schema := object(`"schemaVersion":2`, `"mediaType":`+quoted(typeDockerManifest), `"config":`+desc(typeDockerImage, configBody), `"layers":`+list(desc(typeDockerLayer, firstBody)))
	fat := object(`"schemaVersion":2`, `"mediaType":`+quoted(typeDockerList), `"manifests":`+list(desc(typeDockerManifest, schema)))
	add("good-docker", "docker's media types", "docker push", layoutOf(indexOf(desc(typeDockerList, fat, named(name))), fat, schema, configBody, firstBody), unreadBy("skopeo", "it finds no lists of docker's in a layout"))
	artifact := object(`"mediaType":`+quoted(typeArtifact), `"artifactType":"application/vnd.example"`, `"blobs":`+list(desc(typeBlob, firstBody)))
	add("good-artifact-manifest", "an artifact manifest, which nobody writes any more", "image-spec v1.1.0-rc2", layoutOf(indexOf(desc(typeArtifact, artifact, named(name))), artifact, firstBody),
		unreadBy("skopeo", "it does not know the type"))
	signature := object(`"schemaVersion":2`, `"mediaType":`+quoted(typeManifest), `"artifactType":"application/vnd.example.signature"`, `"config":`+desc(typeConfig, configBody), `"layers":[]`, `"subject":`+desc(typeManifest, manifest))
	add("good-referrer", "a referrer", "oras attach", layoutOf(indexOf(desc(typeManifest, manifest, named(name)), desc(typeManifest, signature)), append([]string{signature}, leaves...)...))
	signed := "ghcr.io/acme/decks/intro:sha256-" + sha(manifest) + ".sig"
	simple := manifestOf(desc(typeConfig, configBody), desc("application/vnd.dev.cosign.simplesigning.v1+json", firstBody))
	add("good-cosign-tag", "a signature under a tag of cosign's", "cosign 2", layoutOf(indexOf(desc(typeManifest, manifest, named(name)), desc(typeManifest, simple, named(signed))), append([]string{simple}, leaves...)...))
	haul := desc(typeManifest, manifest, `"annotations":`+object(`"io.containerd.image.name":`+quoted(name), `"kind":"dev.hauler/image"`, `"org.opencontainers.image.ref.name":"acme/decks/intro:v1"`))
	add("good-hauler", "no oci-layout, in what hauler wrote", "hauler store save", layoutOf(indexOf(haul), leaves...)[1:], notUnpacked)
	add("good-two", "two artifacts that share a layer", "airdeck pack", layoutOf(indexOf(desc(typeManifest, manifest, named(name)), desc(typeManifest, manifestOf(desc(typeConfig, configBody), desc(typeBlob, firstBody)), named("quay.io/corp/other:v2"))),
		append([]string{manifestOf(desc(typeConfig, configBody), desc(typeBlob, firstBody))}, leaves...)...))
}

// goodFrames are bundles in zstd without a fault.
func goodFrames(s *set) {
	s.at("compression", "airdeck pack", vectors.Bundle)
	fs := frames()
	a := archive(good()...)
	add := func(name, comment, source string, b []byte, more ...option) {
		s.add(vectors.Success, name, comment, b, append(more, metBy(source))...)
	}
	add("zstd", "frames with a seek table, as airdeck packs them", "airdeck pack", bundleOf(rawFrame(a[:head]), rawFrame(a[head:len(a)-len(end)]), rawFrame(end)))
	add("zstd-no-table", "frames without a seek table", "zstd of parts", joined(fs...))
	add("zstd-small-frames", "a frame for each block of the archive", seekFormat, func() []byte {
		var at []int
		for i := block; i < len(a); i += block {
			at = append(at, i)
		}
		return bundleOf(cut(a, at...)...)
	}())
	add("zstd-odd-frames", "frames that begin in the middle of headers and blobs", seekFormat, bundleOf(cut(a, 100, 700, 3000, 5000)...))
	add("zstd-one-frame", "one frame that tells its size", "zstd", frameOf(a).bytes())
	add("zstd-unsized", "one frame that does not tell its size", "zstd of a pipe", unsized(nil, blocksOf(a, true)).bytes())
	add("zstd-rle", "blocks of one byte that is repeated", rfcZstd, bundleOf(fs[0], fs[1], zeros(len(end))))
	add("zstd-skippable", "skippable frames before each frame", "pzstd", func() []byte {
		var b []byte
		for _, f := range fs {
			n := uint32(len(f.bytes()))
			b = append(append(b, skippable(0x184d2a50, le.AppendUint32(nil, n))...), f.bytes()...)
		}
		return b
	}(), unreadBy("skopeo", "it knows zstd by a first frame that is not skippable"))
	add("zstd-no-checksums", "frames without checksums", "zstd --no-check", func() []byte {
		for i := range fs {
			fs[i].descriptor &^= checksum
			fs[i].checksum = nil
		}
		return bundleOf(fs...)
	}())
	add("zstd-unused-bit", "a bit of the descriptor that decoders ignore", rfcZstd, changed(0, func(f *frame) { f.descriptor |= unused }))
	add("zstd-checksum-of-blobs", "a frame of blobs whose checksum is wrong: their digests are right", "digests tell which blob is damaged", changed(1, func(f *frame) { f.checksum[0] ^= 1 }), verdict("archive", vectors.Pipe), unreadBy("zstd", "it reads no frame whose checksum is wrong"))
	table := func(name, comment string, change func(t *seekTable)) {
		fs := frames()
		t := tableOf(fs...)
		change(&t)
		add("seek-"+name, "a seek table "+comment, seekFormat, append(joined(fs...), t.bytes()...))
	}
	table("without-checksums", "without checksums", func(t *seekTable) { t.flags = 0 })
	table("checksum", "with a checksum that is wrong, which nobody has to read", func(t *seekTable) { t.entries[0].checksum ^= 1 })
	table("footer", "without its mark, which is none", func(t *seekTable) { t.footer ^= 1 })
	table("large-frames", "with frames of 4 GiB, which is somebody else's", func(t *seekTable) { t.entries[0].content = 1<<32 - 1 })
	large := parts{second: string(make([]byte, 96<<20))}.members()
	before := tarOf(large[:5]...)
	add("zstd-large-blob", "a blob of 96 MiB of zeros", "bombs", bundleOf(slices.Concat(
		[]frame{frameOf(append(before, large[5].header()...))}, slices.Repeat([]frame{zeros(8 << 20)}, 12), []frame{frameOf(end)})...))
}
