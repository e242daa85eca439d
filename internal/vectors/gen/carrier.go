package main

import (
	"slices"
	"strings"
)

// layer is a layer of a manifest, and what is in it.
type layer struct{ desc, body string }

func layerOf(mediaType, body string, more ...string) layer {
	return layer{desc(mediaType, body, more...), body}
}

// simpleLayer is a signature of the form that cosign's .sig tags have.
func simpleLayer(k key, payload string) layer {
	return layerOf(typeSimple, payload, `"annotations":`+object(`"dev.cosignproject.cosign/signature":`+quoted(base64Of(k.sign(payload)))))
}

// carrier is a bundle of one artifact, and of what hangs on it.
type carrier struct {
	manifest        string // of the artifact
	mediaType       string
	entries, bodies []string
}

func newCarrier() *carrier {
	_, manifest := (&parts{}).texts()
	return &carrier{manifest, typeManifest, []string{entryOf(desc(typeManifest, manifest), name)}, []string{manifest, configBody, firstBody, secondBody}}
}

// inIndex has the artifact be an index that lists what it was.
func (c *carrier) inIndex() (child string) {
	child = c.manifest
	c.manifest, c.mediaType = indexOf(desc(typeManifest, child, `"platform":{"architecture":"amd64","os":"linux"}`)), typeIndex
	c.entries[0] = entryOf(desc(typeIndex, c.manifest), name)
	c.bodies = append(c.bodies, c.manifest)
	return child
}

func (c *carrier) add(entry, manifest string, layers []layer) {
	c.entries = append(c.entries, entry)
	c.bodies = append(c.bodies, manifest)
	for _, l := range layers {
		c.bodies = append(c.bodies, l.body)
	}
}

// refer hangs layers on a manifest, as a referrer.
func (c *carrier) refer(subject, artifactType string, layers ...layer) {
	m := object(`"schemaVersion":2`, `"mediaType":`+quoted(typeManifest), `"artifactType":`+quoted(artifactType),
		`"config":`+desc(typeEmpty, configBody), `"layers":`+list(descs(layers)...), `"subject":`+subject)
	c.add(desc(typeManifest, m, `"artifactType":`+quoted(artifactType)), m, layers)
}

// bundle hangs a Sigstore bundle on the artifact.
func (c *carrier) bundle(text string) {
	c.refer(desc(c.mediaType, c.manifest), typeBundle, layerOf(typeBundle, text))
}

// tag hangs layers on the artifact, by a tag of cosign's.
func (c *carrier) tag(ending string, layers ...layer) {
	m := manifestOf(desc(typeImage, configBody), descs(layers)...)
	c.add(entryOf(desc(typeManifest, m), strings.TrimSuffix(name, "v1")+"sha256-"+sha(c.manifest)+ending), m, layers)
}

func descs(layers []layer) []string {
	var out []string
	for _, l := range layers {
		out = append(out, l.desc)
	}
	return out
}

// tar is the bundle. What occurs twice is in it once.
func (c *carrier) tar() []byte {
	var bodies []string
	for _, b := range c.bodies {
		if !slices.Contains(bodies, b) {
			bodies = append(bodies, b)
		}
	}
	return archive(layoutOf(indexOf(c.entries...), bodies...)...)
}
