package main

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"
)

// The media types.
const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeImage    = "application/vnd.oci.image.config.v1+json"
	typeTar      = "application/vnd.oci.image.layer.v1.tar"
	typeForeign  = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	typeConfig   = "application/vnd.example.config.v1+json"
	typeBlob     = "application/octet-stream"

	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerImage    = "application/vnd.docker.container.image.v1+json"
	typeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	typeArtifact       = "application/vnd.oci.artifact.manifest.v1+json"
)

const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// name is the reference of the artifact that most vectors hold.
const name = "ghcr.io/acme/decks/intro:v1"

func sha(body string) string    { return fmt.Sprintf("%x", sha256.Sum256([]byte(body))) }
func sha5(body string) string   { return fmt.Sprintf("%x", sha512.Sum512([]byte(body))) }
func dgst(body string) string   { return "sha256:" + sha(body) }
func quoted(text string) string { return `"` + text + `"` }

// desc is a descriptor: JSON that is written by hand, with further keys as they are
// told.
func desc(mediaType, body string, more ...string) string {
	return object(append([]string{
		`"mediaType":` + quoted(mediaType), `"digest":` + quoted(dgst(body)), fmt.Sprintf(`"size":%d`, len(body)),
	}, more...)...)
}

func object(keys ...string) string { return "{" + strings.Join(keys, ",") + "}" }
func list(items ...string) string  { return "[" + strings.Join(items, ",") + "]" }

// named are the annotations that give an entry a reference.
func named(ref string) string {
	return `"annotations":` + object(`"io.containerd.image.name":`+quoted(ref), `"org.opencontainers.image.ref.name":`+quoted(ref))
}

// titled is the annotation that gives a layer a name.
func titled(title string) string {
	return `"annotations":` + object(`"org.opencontainers.image.title":`+quoted(title))
}

// manifestOf is an image manifest of these descriptors, and indexOf an index.
func manifestOf(config string, layers ...string) string {
	return object(`"schemaVersion":2`, `"mediaType":`+quoted(typeManifest), `"config":`+config, `"layers":`+list(layers...))
}

func indexOf(children ...string) string {
	return object(`"schemaVersion":2`, `"mediaType":`+quoted(typeIndex), `"manifests":`+list(children...))
}

// sub replaces what is there exactly once.
func sub(text, old, with string) string {
	if strings.Count(text, old) != 1 {
		panic(fmt.Sprintf("%q is not once in %s", old, text))
	}
	return strings.Replace(text, old, with, 1)
}

func blobName(body string) string { return "blobs/sha256/" + sha(body) }

func blobs(bodies ...string) []member {
	var ms []member
	for _, b := range bodies {
		ms = append(ms, file(blobName(b), b))
	}
	return ms
}

// layoutOf is a layout with an index.json and blobs.
func layoutOf(index string, bodies ...string) []member {
	return append([]member{file("oci-layout", layoutFile), file("index.json", index)}, blobs(bodies...)...)
}

// parts are one artifact of a config and two layers. A function changes the text of
// what it is named for; all digests above it follow.
type parts struct {
	config, first, second string // bodies

	configDesc, firstDesc, secondDesc, manifest, entry, index, layoutFile func(string) string

	before, after []member // between index.json and the blobs, and behind these
	without       string   // a body that is left out
	damage        func([]member) []member
}

const (
	configBody = `{}`
	firstBody  = "the first slide"
	secondBody = "the second slide"
)

// texts gives the text of index.json and of the manifest.
func (p *parts) texts() (index, manifest string) {
	apply := func(f func(string) string, text string) string {
		if f == nil {
			return text
		}
		return f(text)
	}
	p.config, p.first, p.second = or(p.config, configBody), or(p.first, firstBody), or(p.second, secondBody)
	manifest = apply(p.manifest, manifestOf(
		apply(p.configDesc, desc(typeConfig, p.config)),
		apply(p.firstDesc, desc(typeBlob, p.first)),
		apply(p.secondDesc, desc(typeBlob, p.second)),
	))
	index = apply(p.index, indexOf(apply(p.entry, desc(typeManifest, manifest, named(name)))))
	return index, manifest
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// members are those of a bundle, in its order.
func (p parts) members() []member {
	index, manifest := p.texts()
	version := layoutFile
	if p.layoutFile != nil {
		version = p.layoutFile(version)
	}
	ms := []member{file("oci-layout", version), file("index.json", index)}
	ms = append(ms, p.before...)
	for _, b := range []string{manifest, p.config, p.first, p.second} {
		if b != p.without {
			ms = append(ms, file(blobName(b), b))
		}
	}
	ms = append(ms, p.after...)
	if p.damage != nil {
		ms = p.damage(ms)
	}
	return ms
}

func (p parts) tar() []byte { return archive(p.members()...) }

// good are the members of a bundle without a fault.
func good() []member { return parts{}.members() }
