package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

// references are entries whose names are none, or act on who shows them. That a bundle
// holds them is no fault of its content: nothing is published under them.
func references(s *set) {
	s.at("layout", "CVE-2021-21303 helm", vectors.Bundle)
	s.unpacked = true
	entry := func(name, comment, ref string, more ...option) {
		s.add(vectors.Success, "reference-"+name, "a reference: "+comment, parts{entry: func(t string) string {
			i := strings.Index(t, `"annotations"`)
			return t[:i] + named(ref) + "}"
		}}.tar(), append([]option{verdict("name", vectors.Mirror)}, more...)...)
	}
	noName := unreadBy("skopeo", "it takes no such name")
	entry("escape", "it clears the terminal", `ghcr.io/acme/\u001b[2J\u001b]0;owned\u0007:v1`, noName)
	entry("bidi", "it is shown backwards", `ghcr.io/acme/\u202e1v:ortni`, metBy("CVE-2021-42574 Trojan Source"), noName)
	entry("newline", "it is two lines", `ghcr.io/acme/intro:v1\nghcr.io/acme/other:v1`, noName)
	entry("dotdot", "its repository goes up", `ghcr.io/../../v2/_catalog:v1`, metBy("CVE-2024-3727 containers/image"), noName)
	entry("query", "its repository has a query", `ghcr.io/acme/intro?x=y:v1`, metBy("registry clients that join addresses"), noName)
	entry("userinfo", "its host has a password", `user:secret@ghcr.io/acme/intro:v1`, metBy("registry clients that join addresses"))
	entry("scheme", "it is an address", `file:///etc/passwd`, metBy("registry clients that join addresses"), noName)
	entry("upper-case", "its repository is in upper case", `ghcr.io/Acme/Intro:v1`, metBy("distribution-spec v1.1"))
	entry("long-tag", "its tag has 129 bytes", `ghcr.io/acme/intro:`+strings.Repeat("a", 129), metBy("distribution-spec v1.1"))
	entry("digest", "it pins another digest", name+"@"+dgst("other"), verdict("policy", vectors.Mirror), metBy("distribution-spec v1.1"))

	_, manifest := (&parts{}).texts()
	other := manifestOf(desc(typeConfig, configBody))
	s.add(vectors.Success, "reference-twice", "two entries of one name", archive(layoutOf(
		indexOf(desc(typeManifest, manifest, named(name)), desc(typeManifest, other, named(name))), manifest, other, configBody, firstBody, secondBody)...),
		verdict("policy", vectors.Mirror), metBy("CVE-2026-31801 zot"))
	titles := func(name, comment, title string) {
		s.add(vectors.Success, "reference-title-"+name, "the title of a layer: "+comment, parts{
			secondDesc: to(desc(typeBlob, secondBody, titled(title)))}.tar())
	}
	titles("escape", "it clears the terminal", `\u001b[2J\u001b[1;1H`)
	titles("path", "it leaves the folder", `../../../../etc/passwd`)
	s.add(vectors.Success, "reference-media-type-escape", "the media type of a layer clears the terminal", parts{
		secondDesc: to(desc(`text/\u001b[2J`, secondBody))}.tar())
}
