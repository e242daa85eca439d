package main

import "github.com/airdeck/airdeck/internal/vectors"

const cveConfusion = "CVE-2021-41190"

// mediaTypes are manifests that could be taken for something else.
func mediaTypes(s *set) {
	s.at("mediatype", cveConfusion, vectors.Bundle)
	s.unpacked = true
	p := parts{}
	_, manifest := p.texts()
	children := `"manifests":` + list(desc(typeManifest, "other"))
	both := func(t string) string { return t[:len(t)-1] + "," + children + "}" }
	listed := func(as string) func(string) string { return replace(quoted(typeManifest), quoted(as)) }
	s.add("mediatype", "type-both-as-manifest", "a manifest that is also an index, listed as a manifest", parts{manifest: both}.tar())
	untyped := func(t string) string { return sub(t, `"mediaType":`+quoted(typeManifest)+",", "") }
	s.add("mediatype", "type-both-untyped", "the same, without a media type of its own", parts{manifest: func(t string) string { return both(untyped(t)) }}.tar())
	s.add("mediatype", "type-both-as-index", "the same, listed as an index", parts{
		manifest: func(t string) string { return both(untyped(t)) }, entry: listed(typeIndex)}.tar())
	s.add("mediatype", "type-empty-lists", "a manifest with an empty list of manifests", parts{manifest: func(t string) string { return t[:len(t)-1] + `,"manifests":[]}` }}.tar())
	s.add("mediatype", "type-inside", "a manifest that calls itself one of docker's", parts{manifest: listed(typeDockerManifest)}.tar())
	s.add("mediatype", "type-inside-index", "a manifest that calls itself an index", parts{manifest: listed(typeIndex)}.tar())
	s.add("mediatype", "type-inside-case", "a manifest that calls itself one in upper case", parts{manifest: listed("APPLICATION/VND.OCI.IMAGE.MANIFEST.V1+JSON")}.tar())
	s.add("mediatype", "type-listed-docker", "a manifest that is listed as one of docker's", parts{entry: listed(typeDockerManifest)}.tar())
	s.add("mediatype", "type-manifest-as-index", "a manifest without a type of its own that is listed as an index", parts{manifest: untyped, entry: listed(typeIndex)}.tar())
	idx := object(`"schemaVersion":2`, `"manifests":`+list(desc(typeManifest, manifest)))
	s.add("mediatype", "type-index-as-manifest", "an index without a type of its own that is listed as a manifest", archive(layoutOf(
		indexOf(desc(typeManifest, idx, named(name))), idx, manifest, configBody, firstBody, secondBody)...))
	s.add("mediatype", "type-no-config", "a manifest without a config", parts{manifest: func(t string) string {
		return sub(t, `"config":`+desc(typeConfig, configBody)+",", "")
	}}.tar())
	s.add("mediatype", "type-index-with-layers", "an index that has layers too", archive(layoutOf(
		indexOf(desc(typeIndex, both(untyped(manifest)), named(name))), both(untyped(manifest)), configBody, firstBody, secondBody)...))
	s.add("mediatype", "type-index-file", "index.json calls itself a manifest", parts{index: func(t string) string {
		return first(quoted(typeIndex), quoted(typeManifest))(t)
	}}.tar())
	s.add("json", "type-number", "a media type that is a number", parts{entry: replace(quoted(typeManifest), "1")}.tar(), metBy(descriptorSpec))
	s.add("json", "type-layers-object", "layers that are an object", parts{manifest: to(object(`"schemaVersion":2`, `"config":`+desc(typeConfig, configBody), `"layers":{}`))}.tar(), metBy(descriptorSpec))
	s.add("json", "type-manifest-list", "a manifest that is a list", parts{manifest: to("[]")}.tar(), metBy(descriptorSpec))
	s.add("mediatype", "type-manifest-null", "a manifest that is null", parts{manifest: to("null")}.tar(), metBy(descriptorSpec), verdict("json", vectors.Pipe))

	// What is no manifest by its type is a blob, and registries have no place for it.
	s.source = "registries take manifests of types that they know"
	for _, v := range []struct{ name, comment, as string }{
		{"unknown", "a type that nobody knows", "application/vnd.example.unknown+json"},
		{"parameter", "a parameter behind its type", typeManifest + "; charset=utf-8"},
		{"upper-case", "its type in upper case", "Application/vnd.oci.image.manifest.v1+json"},
		{"schema-1", "the type of docker's first schema", "application/vnd.docker.distribution.manifest.v1+prettyjws"},
	} {
		s.add(vectors.Success, "type-listed-"+v.name, "a manifest that is listed under "+v.comment, parts{entry: listed(v.as)}.tar(), verdict("mediatype", vectors.Mirror), unreadBy("skopeo", "it does not know the type"))
	}
	s.add(vectors.Success, "type-listed-none", "an entry without a media type", parts{entry: replace(`"mediaType":`+quoted(typeManifest)+",", "")}.tar(), verdict("mediatype", vectors.Mirror), unreadBy("skopeo", "it does not know the type"))
}
