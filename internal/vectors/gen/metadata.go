package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

const imageLayout = "image-spec v1.1.1, image-layout.md"

// to gives a function that gives a text, whatever it was.
func to(text string) func(string) string { return func(string) string { return text } }

// replace gives a function that replaces what occurs once.
func replace(old, with string) func(string) string {
	return func(text string) string { return sub(text, old, with) }
}

// layoutFiles are faults of oci-layout and index.json that are no faults of JSON.
func layoutFiles(s *set) {
	s.at("layout", imageLayout, vectors.Bundle)
	ms := good()
	s.add("layout", "layout-no-oci-layout", "there is no oci-layout", archive(ms[1:]...), metBy("tar of a folder that is no layout"))
	s.add("layout", "layout-no-index", "there is no index.json", archive(append(ms[:1:1], ms[2:]...)...))
	s.add("layout", "layout-empty", "an archive without members", archive(), metBy("tar of an empty folder"))
	s.unpacked = true
	version := func(expect, name, comment, text string, more ...option) {
		s.add(expect, "layout-"+name, "oci-layout: "+comment, parts{layoutFile: to(text)}.tar(), more...)
	}
	version("layout", "version-2", "another version", `{"imageLayoutVersion":"2.0.0"}`)
	version("layout", "no-version", "no version", `{}`)
	version("json", "version-number", "a version that is a number", `{"imageLayoutVersion":1.0}`)
	version("json", "version-twice", "the version twice", `{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"2.0.0"}`)
	version("json", "version-folded", "the version in another case", `{"imageLayoutVersion":"1.0.0","ImageLayoutVersion":"2.0.0"}`)
	version("json", "version-trailing", "data behind it", layoutFile+`{"imageLayoutVersion":"2.0.0"}`)
	version("json", "version-bom", "a byte order mark", "\ufeff"+layoutFile, metBy("editors of Windows"))
	version("json", "version-empty", "no bytes", "", metBy("a disk that was full"))
	version("limit", "version-huge", "over 4 MiB", strings.Repeat(" ", 4<<20)+layoutFile)

	index := func(expect, name, comment string, change func(string) string, more ...option) {
		s.add(expect, "layout-index-"+name, "index.json: "+comment, parts{index: change}.tar(), more...)
	}
	index("layout", "schema-1", "schemaVersion 1", replace(`"schemaVersion":2`, `"schemaVersion":1`))
	index("layout", "no-schema", "no schemaVersion", replace(`"schemaVersion":2,`, ``))
	index("layout", "null", "null", to("null"))
	index("json", "schema-text", "a schemaVersion that is a text", replace(`"schemaVersion":2`, `"schemaVersion":"2"`))
	index("json", "list", "a list", to("[]"))
	index("json", "manifests-object", "manifests that are no list", to(`{"schemaVersion":2,"manifests":{}}`))
	index("json", "empty", "no bytes", to(""), metBy("a power cut"))
	index("json", "torn", "zeros in the place of its end", func(text string) string {
		return text[:100] + strings.Repeat("\x00", len(text)-100)
	}, metBy("a power cut"))
	index("limit", "huge", "over 4 MiB", func(text string) string { return text + strings.Repeat(" ", 4<<20) }, metBy("CVE-2023-25153 containerd"))
	index("layout", "absent-text", "an absent list that is no list of digests", absent("everything"), metBy("airdeck"))
	index("layout", "absent-order", "an absent list that is not sorted", absent("sha256:"+strings.Repeat("f", 64)+",sha256:"+strings.Repeat("0", 64)), metBy("airdeck"))
	index("layout", "absent-md5", "an absent list with an algorithm that is not verified", absent("md5:d41d8cd98f00b204e9800998ecf8427e"), metBy("airdeck"))
	second := func(ref string) func(string) string {
		return replace(`ref.name":`+quoted(name), `ref.name":`+quoted(ref))
	}
	index("name", "two-names", "an entry that has one name for containerd and another for skopeo", second("ghcr.io/acme/payments:v9"), metBy("skopeo, podman, containerd"))
	index("name", "two-tags", "an entry that has another tag for skopeo", second("v9"), metBy("skopeo, podman, containerd"))
	index("name", "two-ends", "an entry whose second name ends as the first does, within a word", second("ro:v1"), metBy("skopeo, podman, containerd"))
	index("name", "two-registries", "an entry that has below one registry the whole name that it has for skopeo", func(text string) string {
		return sub(text, `image.name":`+quoted(name), `image.name":`+quoted("x.io/"+name))
	}, metBy("skopeo, podman, containerd"))
	index(vectors.Success, "name-tag", "an entry whose second name is the tag of the first", second("v1"), metBy("docker save"))
	index(vectors.Success, "name-path", "an entry whose second name has no host", second("acme/decks/intro:v1"), metBy("hauler store save"))
	index("json", "absent-list", "an absent list that is a list of JSON", replace(`"manifests":[`, `"annotations":{"io.github.airdeck.absent":[]},"manifests":[`), metBy("airdeck"))
}

// absent gives a function that annotates an index.json.
func absent(text string) func(string) string {
	return replace(`"manifests":[`, `"annotations":{"io.github.airdeck.absent":`+quoted(text)+`},"manifests":[`)
}

// missing are blobs that are not there, and no index says so rightly.
func missing(s *set) {
	s.at("layout", imageLayout, vectors.Bundle)
	s.unpacked = true
	p := parts{}
	_, manifest := p.texts()
	s.add("missing", "missing-layer", "a layer is not there", parts{without: secondBody}.tar(), blobsOnly)
	s.add("missing", "missing-config", "a config is not there", parts{without: configBody}.tar(), blobsOnly)
	s.add("missing", "missing-image-config", "the config of an image is not there, and its platform with it", parts{
		configDesc: to(desc(typeImage, configBody)), without: configBody}.tar())
	s.add("missing", "missing-manifest", "a manifest is not there", parts{without: manifest}.tar())
	idx := indexOf(desc(typeManifest, manifest), desc(typeManifest, `{"other":"manifest"}`))
	s.add("missing", "missing-child", "a manifest of an index is not there", archive(layoutOf(
		indexOf(desc(typeIndex, idx, named(name))), idx, manifest, configBody, firstBody, secondBody)...), blobsOnly, metBy("docker save of an image for several platforms"))
	s.add("missing", "missing-all", "no blob is there", archive(good()[:2]...))
	s.add("missing", "missing-urls", "a layer is elsewhere, where it must not be fetched", parts{without: secondBody,
		secondDesc: to(desc(typeForeign, secondBody, `"urls":["http://127.0.0.1:1/latest/meta-data"]`))}.tar(), blobsOnly, metBy("CVE-2020-15157 containerd"))
	s.add("missing", "missing-data", "a layer is only embedded in its descriptor", parts{without: secondBody,
		secondDesc: to(desc(typeBlob, secondBody, `"data":"dGhlIHNlY29uZCBzbGlkZQ=="`))}.tar(), blobsOnly, metBy("image-spec v1.1.1, descriptor.md"))
	for _, v := range []struct{ name, comment, body string }{
		{"layer", "a layer that may be distributed", secondBody}, {"config", "a config", configBody},
	} {
		s.add("missing", "absent-"+v.name, "the absent list names "+v.comment+", which is not there", parts{
			without: v.body, index: absent(dgst(v.body))}.tar(), blobsOnly, metBy("airdeck"))
	}
	s.add("missing", "absent-manifest", "the absent list names an artifact itself, which is not there", parts{
		without: manifest, index: absent(dgst(manifest))}.tar(), metBy("airdeck"))
	child := manifestOf(desc(typeConfig, configBody), desc(typeManifest, `{"other":"manifest"}`))
	s.add("missing", "absent-manifest-as-layer", "the absent list names a manifest that is listed as a layer", archive(layoutOf(
		absent(dgst(`{"other":"manifest"}`))(indexOf(desc(typeManifest, child, named(name)))), child, configBody)...), blobsOnly, metBy("airdeck"))
}

// dockerFiles are manifest.json that say otherwise than the index: docker would load
// what nobody has verified.
func dockerFiles(s *set) {
	s.at("layout", "docker save", vectors.Bundle)
	docker := func(expect, name, comment, text string, more ...option) {
		s.add(expect, "docker-"+name, "manifest.json: "+comment, parts{
			configDesc: to(desc(typeImage, configBody)), before: []member{file("manifest.json", text)},
			after: blobs("evil"),
		}.tar(), append(more, blobsOnly)...)
	}
	layers := quoted(blobName(firstBody)) + "," + quoted(blobName(secondBody))
	item := func(config, tags, layers string) string {
		return `{"Config":` + quoted(config) + `,"RepoTags":[` + tags + `],"Layers":[` + layers + `]}`
	}
	right := item(blobName(configBody), quoted(name), layers)
	docker(vectors.Success, "good", "what the index says", "["+right+"]")
	docker("layout", "config", "another config", "["+item(blobName("evil"), quoted(name), layers)+"]")
	docker("layout", "config-path", "a config that leaves the folder", "["+item("../../etc/passwd", quoted(name), layers)+"]", metBy(cveArchiver))
	docker("layout", "layer", "another layer", "["+item(blobName(configBody), quoted(name), quoted(blobName(firstBody))+","+quoted(blobName("evil")))+"]")
	docker("layout", "layer-order", "layers in another order", "["+item(blobName(configBody), quoted(name), quoted(blobName(secondBody))+","+quoted(blobName(firstBody)))+"]")
	docker("layout", "layer-less", "a layer less", "["+item(blobName(configBody), quoted(name), quoted(blobName(firstBody)))+"]")
	docker("layout", "tag", "another name", "["+item(blobName(configBody), quoted("docker.io/library/alpine:3"), layers)+"]")
	docker("layout", "untagged", "content without a name that the index does not have", "["+right+","+item(blobName("evil"), "", quoted(blobName("evil")))+"]")
	docker("json", "text", "no JSON", "not JSON")
	docker("json", "object", "an object", right)
	docker("json", "trailing", "data behind it", "["+right+"][]")
	docker("json", "key-twice", "a key twice, the first with another config", "["+sub(right, `"Config":`, `"Config":`+quoted(blobName("evil"))+`,"Config":`)+"]", metBy("parser differentials"))
	docker("json", "key-folded", "a key in another case, with another config", "["+sub(right, `"Config":`, `"config":`+quoted(blobName("evil"))+`,"Config":`)+"]", metBy("parser differentials"))
	docker("json", "utf-8", "a name that is no UTF-8", "["+item(blobName(configBody), quoted(name)+","+quoted(name+"\xff"), layers)+"]", metBy("parser differentials"))
	docker("limit", "crowd", "over 50,000 images", "["+right+strings.Repeat(",{}", 50_000)+"]", metBy("CVE-2024-29903 cosign"))
	docker("limit", "huge", "over 16 MiB", strings.Repeat(" ", 16<<20)+"["+right+"]")
}

// signatures are index.sigstore.json where nobody demands a signature.
func signatures(s *set) {
	s.at("layout", "airdeck sign", vectors.Bundle)
	signed := func(expect, name, comment, text string, more ...option) {
		s.add(expect, "signature-"+name, "index.sigstore.json: "+comment, parts{before: []member{file("index.sigstore.json", text)}}.tar(), more...)
	}
	signed("signature", "text", "no JSON", "no signature\n")
	signed(vectors.Success, "empty", "no bytes", "")
	signed("limit", "huge", "over 1 MiB", strings.Repeat("{}\n", 400_000))
	twice := file("index.sigstore.json", "{}\n")
	s.add("duplicate", "signature-twice", "index.sigstore.json is there twice", parts{before: []member{twice}, after: []member{twice}}.tar(), metBy("read last-wins by most"))
}
