package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

const (
	descriptorSpec = "image-spec v1.1.1, descriptor.md"
	cveDigest      = "CVE-2024-3727 containers/image"
)

// digests are descriptors whose digest is none that is verified, and contents that do
// not hash to theirs.
func digests(s *set) {
	s.at("digest", cveDigest, vectors.Bundle)
	s.unpacked = true
	hex := sha(secondBody)
	for _, v := range []struct{ expect, name, comment, digest, source string }{
		{"digest", "path", "a path in it", "sha256:../../../../etc/passwd", cveDigest},
		{"policy", "path-algorithm", "a path for an algorithm", "../../../etc:" + hex, cveDigest},
		{"digest", "no-colon", "no colon", "sha256" + hex, cveDigest},
		{"digest", "empty", "no text", "", cveDigest},
		{"digest", "short", "a digit less", "sha256:" + hex[1:], "CVE-2024-37032 ollama"},
		{"digest", "upper-case", "digits in upper case", "sha256:" + strings.ToUpper(hex), descriptorSpec},
		{"policy", "upper-algorithm", "an algorithm in upper case", "SHA256:" + hex, descriptorSpec},
		{"digest", "no-digit", "a letter that is no digit", "sha256:g" + hex[1:], descriptorSpec},
		{"digest", "newline", "a line break behind it", `sha256:` + hex + `\n`, "regular expressions whose $ matches before a line break"},
		{"digest", "twice", "a second colon", "sha256:sha256:" + hex, descriptorSpec},
		{"policy", "md5", "an algorithm that is broken", "md5:d41d8cd98f00b204e9800998ecf8427e", "descriptor.md names no such algorithm"},
		{"policy", "sha384", "an algorithm that descriptor.md does not register", "sha384:" + strings.Repeat("0", 96), "go-digest knows it"},
		{"policy", "multihash", "an algorithm with a separator", "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", descriptorSpec},
		{"digest", "sha512-short", "sha512 with the length of sha256", "sha512:" + hex, descriptorSpec},
	} {
		right := quoted(dgst(secondBody))
		s.add(v.expect, "digest-layer-"+v.name, "the digest of a layer: "+v.comment, parts{secondDesc: replace(right, quoted(v.digest))}.tar(), metBy(v.source))
		switch v.name { // the same check is made
		case "path", "path-algorithm", "no-colon", "short", "upper-case", "md5", "sha384":
		default:
			continue
		}
		s.add(v.expect, "digest-entry-"+v.name, "the digest of an entry of index.json: "+v.comment, parts{entry: func(t string) string {
			i := strings.Index(t, `"sha256:`)
			return t[:i] + quoted(v.digest) + t[i+len(right):]
		}}.tar(), metBy(v.source))
	}
	s.source = descriptorSpec
	s.add("json", "digest-number", "the digest of a layer is a number", parts{secondDesc: replace(quoted(dgst(secondBody)), "256")}.tar())
	s.add("digest", "digest-none", "a layer has no digest", parts{secondDesc: replace(`"digest":`+quoted(dgst(secondBody))+",", "")}.tar())
	s.add("digest", "digest-config-path", "the digest of a config has a path in it", parts{configDesc: replace(sha(configBody), "../"+sha(configBody))}.tar(), metBy(cveDigest))
	s.add("digest", "digest-subject-path", "the digest of a subject has a path in it", parts{manifest: func(t string) string {
		return t[:len(t)-1] + `,"subject":` + sub(desc(typeManifest, "x"), sha("x"), "../"+sha("x")) + "}"
	}}.tar(), metBy(cveDigest))
}

// contents are blobs that are others than their names say.
func contents(s *set) {
	s.at("digest", "a bit flipped on the medium", vectors.Bundle)
	s.unpacked = true
	damage := func(i int, body string) func([]member) []member {
		return func(ms []member) []member {
			ms[i].body = body
			return ms
		}
	}
	p := parts{}
	_, manifest := p.texts()
	s.add("digest", "content-layer", "a bit of a layer is flipped", parts{damage: damage(5, "the second slidf")}.tar(), blobsOnly)
	s.add("digest", "content-config", "a bit of a config is flipped", parts{damage: damage(3, "{|")}.tar(), blobsOnly)
	s.add("digest", "content-image-config", "a bit of the config of an image is flipped", parts{configDesc: to(desc(typeImage, configBody)), damage: damage(3, "{|")}.tar())
	s.add("digest", "content-manifest", "a bit of a manifest is flipped", parts{damage: damage(2, sub(manifest, `"size":15`, `"size":51`))}.tar())
	s.add("digest", "content-swapped", "a layer has the content of another of its size", parts{first: "the fourth slide", damage: damage(5, "the fourth slide")}.tar(), blobsOnly, metBy("CVE-2019-18658 helm"))
	s.add("digest", "content-zeros", "a layer is of zeros", parts{damage: damage(5, strings.Repeat("\x00", len(secondBody)))}.tar(), blobsOnly, metBy("a power cut"))
	stray := []member{file(blobName("stray"), "strax")}
	s.add("digest", "content-stray", "a bit of a blob is flipped that nothing refers to", parts{after: stray}.tar(), blobsOnly, verdict(vectors.Success, vectors.Unpacked))
	long := sub(desc(typeBlob, secondBody), dgst(secondBody), "sha512:"+sha5("the other slide!"))
	s.add("digest", "content-sha512", "a layer does not hash to its sha512 digest", parts{
		without: secondBody, secondDesc: to(long), after: sha512Member("the other slide!", secondBody)}.tar(), blobsOnly, metBy(descriptorSpec))
	s.unpacked = false
	s.add("digest", "content-expected", "another bundle than the one that is demanded", archive(good()...),
		verdict(vectors.Success, vectors.Inspect), metBy("the layout has no protection"), func(v *vectors.Vector) { v.ExpectDigest = dgst("another index.json") })
	index, _ := (&parts{index: func(text string) string { return strings.ReplaceAll(text, "intro:v1", "intro:v2") }}).texts()
	s.add("digest", "content-index-swapped", "index.json is that of another bundle of the same blobs", archive(append([]member{good()[0], file("index.json", index)}, good()[2:]...)...),
		verdict(vectors.Success, vectors.Inspect), metBy("the layout has no protection"), func(v *vectors.Vector) { v.ExpectDigest = dgst(good()[1].body) })
}

// sha512Member is a blob of that algorithm under the digest of a body: its name does
// not fit a header, and stands in a PAX record.
func sha512Member(named, body string) []member {
	path := "blobs/sha512/" + sha5(named)
	return []member{extended('x', record("path", path)), file(path, body)}
}

// descriptors are descriptors whose size or other keys contradict the content.
func descriptors(s *set) {
	s.at("descriptor", descriptorSpec, vectors.Bundle)
	s.unpacked = true
	size := func(expect, name, comment, value string, more ...option) {
		s.add(expect, "descriptor-layer-size-"+name, "the size of a layer: "+comment, parts{secondDesc: replace(`"size":16`, `"size":`+value)}.tar(), more...)
		if name == "smaller" || name == "2-63" {
			s.add(expect, "descriptor-config-size-"+name, "the size of a config: "+comment, parts{configDesc: replace(`"size":2`, `"size":`+value)}.tar(), more...)
		}
		switch name {
		case "smaller", "larger", "negative", "2-63", "text":
		default:
			return
		}
		s.add(expect, "descriptor-entry-size-"+name, "the size of an entry of index.json: "+comment, parts{entry: func(t string) string {
			i := strings.Index(t, `"size":`) + len(`"size":`)
			return t[:i] + value + t[i+strings.IndexAny(t[i:], ",}"):]
		}}.tar(), append(more, func(v *vectors.Vector) { delete(v.Entries, vectors.Inspect) })...)
	}
	size("size", "smaller", "too small", "1", blobsOnly, metBy("umoci 0.5.1"))
	size("size", "larger", "too large", "1000", blobsOnly, metBy("umoci 0.5.1"))
	size("size", "zero", "0", "0", blobsOnly, metBy("umoci 0.5.1"))
	size("size", "negative", "-1", "-1", metBy("umoci 0.5.1"))
	size("size", "2-63", "2^63-1", "9223372036854775807", metBy("CVE-2024-29902 cosign"))
	size("json", "over-2-63", "2^63", "9223372036854775808", metBy("CVE-2024-29902 cosign"))
	size("json", "float", "1.5", "1.5")
	size("json", "text", "a text", `"16"`)
	size("size", "null", "null", "null", blobsOnly)

	s.add("size", "descriptor-two-sizes", "a blob is listed with two sizes", parts{manifest: func(t string) string {
		return sub(t, `"layers":[`, `"layers":[`+sub(desc(typeBlob, secondBody), `"size":16`, `"size":17`)+",")
	}}.tar(), blobsOnly, metBy("each digest visited once"))
	data := func(expect, name, comment, value string, more ...option) {
		s.add(expect, "descriptor-data-"+name, "data in the descriptor of a layer: "+comment, parts{
			secondDesc: to(desc(typeBlob, secondBody, `"data":`+quoted(value)))}.tar(), more...)
	}
	data(vectors.Success, "good", "the content", "dGhlIHNlY29uZCBzbGlkZQ==")
	data("digest", "other", "other content", "dGhlIHNlY29uZCBzbGlkZg==")
	data("size", "shorter", "content that is too short", "dGhlIHNlY29uZCBzbGlk")
	data("size", "empty", "no content", "")
	data("json", "text", "no base64", "the second slide")
	s.add(vectors.Success, "descriptor-urls", "a layer is also elsewhere, where it must not be fetched", parts{
		secondDesc: to(desc(typeBlob, secondBody, `"urls":["http://127.0.0.1:1/latest/meta-data"]`))}.tar(), metBy("CVE-2020-15157 containerd"), fetchesURLs)
	s.add("json", "descriptor-urls-text", "urls that are no list", parts{
		secondDesc: to(desc(typeBlob, secondBody, `"urls":"http://example.com"`))}.tar())
	s.add("json", "descriptor-null-annotation", "annotations that are no texts", parts{
		secondDesc: to(desc(typeBlob, secondBody, `"annotations":{"a":{"b":"c"}}`))}.tar())
	s.add("json", "descriptor-platform", "a platform that is a text", parts{
		entry: func(t string) string { return t[:len(t)-1] + `,"platform":"linux/amd64"}` }}.tar())
	s.add("json", "descriptor-list", "a layer that is a text", parts{secondDesc: to(quoted(dgst(secondBody)))}.tar())
	s.add("json", "descriptor-key-folded", "a size in another case", parts{secondDesc: replace(`"size":16`, `"size":16,"Size":1`)}.tar(), metBy(differentials))
}
