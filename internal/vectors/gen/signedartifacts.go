package main

import (
	"slices"
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

// by gives the reader a policy and its files, which are keys.
func by(policy string, keys ...key) option {
	return func(v *vectors.Vector) {
		v.Policy = "policy.yaml"
		given(v, v.Policy, policy)
		for _, k := range keys {
			given(v, k.file(), k.pem())
		}
	}
}

// The policies. What is invalid is denied also where what is unsigned is not.
const (
	demandsKey       = "rules:\n- match: '**'\n  keys: release.pub\n  unsigned: allow\n"
	demandsSigned    = "rules:\n- match: '**'\n  keys: release.pub\n"
	demandsBoth      = "rules:\n- match: '**'\n  keys: [release.pub, second.pub]\n  threshold: 2\n  unsigned: allow\n"
	demandsAttested  = "rules:\n- match: '**'\n  keys: release.pub\n  attestations: [" + predicateProvenance + "]\n  unsigned: allow\n"
	demandsIdentity  = "trustedRoot: trusted_root.json\nrules:\n- match: '**'\n  identities:\n  - issuer: " + githubIssuer + "\n    subject: " + githubSubject + "\n  unsigned: allow\n"
	demandsSomebody  = "trustedRoot: trusted_root.json\nrules:\n- match: '**'\n  keys: release.pub\n  identities:\n  - issuer: " + githubIssuer + "\n    subjectRegexp: https://github\\.com/acme/.*\n  unsigned: allow\n"
	demandsElsewhere = "rules:\n- match: ghcr.io/acme/images/**\n  keys: release.pub\n"
)

// carried adds vectors of one artifact and what hangs on it.
type carried struct {
	*set
	given option
}

func (s carried) add(expect, name, comment string, hang func(c *carrier), more ...option) {
	c := newCarrier()
	hang(c)
	s.set.add(expect, "signed-artifact-"+name, "an artifact whose signature is demanded: "+comment, c.tar(), append([]option{s.given}, more...)...)
}

// signedArtifacts are bundles of an artifact that a policy demands a signature of.
func signedArtifacts(s *set) {
	s.at("signature", "cosign sign", vectors.Bundle)
	s.unpacked = true
	goodArtifacts(carried{s, by(demandsKey, releaseKey)})
	s.unpacked = false // what follows is no other thing in a directory
	badArtifacts(carried{s, by(demandsKey, releaseKey)})
	badStatements(carried{s, by(demandsKey, releaseKey)})
	attestedArtifacts(carried{s, by(demandsAttested, releaseKey)})
	unsignedArtifacts(carried{s, by(demandsSigned, releaseKey)})
}

func goodArtifacts(s carried) {
	add := func(name, comment string, hang func(c *carrier), more ...option) {
		s.add(vectors.Success, name, comment, hang, more...)
	}
	add("referrer", "by a referrer", func(c *carrier) { c.bundle(releaseKey.statementBundle(predicateSign, c.manifest)) })
	add("message", "by a referrer, over the bytes of the manifest", func(c *carrier) { c.bundle(releaseKey.messageBundle(c.manifest)) })
	add("ed25519", "by a key of Ed25519", func(c *carrier) { c.bundle(edKey.statementBundle(predicateSign, c.manifest)) },
		by(strings.Replace(demandsKey, "release", "ed25519", 1), edKey))
	add("tag", "by a .sig tag", func(c *carrier) { c.tag(".sig", simpleLayer(releaseKey, simplePayload(c.manifest))) }, metBy("cosign 2"))
	add("referrer-older", "by a referrer of the older form", func(c *carrier) {
		c.refer(desc(typeManifest, c.manifest), "application/vnd.dev.cosign.artifact.sig.v1+json", simpleLayer(releaseKey, simplePayload(c.manifest)))
	}, metBy("cosign 2"))
	add("stranger", "with a stranger's beside it, in each form", func(c *carrier) {
		c.bundle(strangeKey.statementBundle(predicateSign, c.manifest))
		c.bundle(releaseKey.statementBundle(predicateSign, c.manifest))
		c.tag(".sig", simpleLayer(strangeKey, simplePayload(c.manifest)))
	})
	add("broken", "with one beside it that is none", func(c *carrier) {
		c.bundle("{}")
		c.tag(".sig", simpleLayer(releaseKey, simplePayload(c.manifest)))
	})
	add("threshold", "by two keys, in two forms, and both have to", func(c *carrier) {
		c.bundle(secondKey.statementBundle(predicateSign, c.manifest))
		c.tag(".sig", simpleLayer(releaseKey, simplePayload(c.manifest)))
	}, by(demandsBoth, releaseKey, secondKey))
	add("thousand", "behind 999 of strangers", func(c *carrier) {
		stranger := simpleLayer(strangeKey, simplePayload(c.manifest))
		c.tag(".sig", append(slices.Repeat([]layer{stranger}, 999), simpleLayer(releaseKey, simplePayload(c.manifest)))...)
	}, everyMention)
	add("index", "over an index, of which no platform is signed", func(c *carrier) {
		c.inIndex()
		c.bundle(releaseKey.statementBundle(predicateSign, c.manifest))
	})
	add("unchecked", "it is signed, and the policy names nobody for it", func(c *carrier) {
		c.bundle(strangeKey.statementBundle(predicateSign, c.manifest))
	}, by("rules:\n- match: '**'\n  unsigned: warn\n"))
}

// badArtifacts carry a signature that does not count.
func badArtifacts(s carried) {
	add := func(name, comment string, hang func(c *carrier), more ...option) {
		s.add("signature", name, comment, hang, more...)
	}
	bundle := func(name, comment string, text func(manifest string) string, more ...option) {
		add(name, comment, func(c *carrier) { c.bundle(text(c.manifest)) }, more...)
	}
	simple := func(name, comment string, text func(manifest string) layer, more ...option) {
		add(name, comment, func(c *carrier) { c.tag(".sig", text(c.manifest)) }, append(more, metBy("cosign 2"))...)
	}
	const other = "another manifest"
	good := func(manifest string) string { return releaseKey.statementBundle(predicateSign, manifest) }
	bundle("wrong-key", "by another key", func(m string) string { return strangeKey.statementBundle(predicateSign, m) })
	simple("wrong-key-tag", "by another key, in a .sig tag", func(m string) layer { return simpleLayer(strangeKey, simplePayload(m)) })
	bundle("other", "for another digest", func(string) string { return good(other) }, metBy("signatures that are moved"))
	simple("other-tag", "for another digest, in a .sig tag", func(string) layer { return simpleLayer(releaseKey, simplePayload(other)) }, metBy("signatures that are moved"))
	bundle("other-message", "over other bytes than those of the manifest", func(string) string { return releaseKey.messageBundle(other) })
	bundle("empty", "no bytes", func(string) string { return "" })
	bundle("object", "an empty object", func(string) string { return "{}" })
	bundle("truncated", "it ends early", func(m string) string { return good(m)[:200] })
	bundle("twice", "two in one blob", func(m string) string { return good(m) + good(m) })
	bundle("key-twice", "a key twice", func(m string) string {
		return sub(good(m), `"mediaType":`, `"mediaType":"","mediaType":`)
	}, metBy("parser differentials"))
	bundle("version", "of a version that nobody knows", func(m string) string { return sub(good(m), "v0.3", "v0.4") })
	bundle("log-entries", "33 entries of a log", func(m string) string {
		entry := strangeIdentity.ofMessage(m, "").in(strangeIdentity.of.log)
		return sub(good(m), `"verificationMaterial":{`, `"verificationMaterial":{"tlogEntries":`+list(slices.Repeat([]string{entry}, 33)...)+",")
	}, metBy("sigstore-go's limit is 32"))
	add("media-type", "its layer is of another type", func(c *carrier) {
		c.refer(desc(typeManifest, c.manifest), typeBundle, layerOf(typeBlob, good(c.manifest)))
	})
	add("two-layers", "two layers, of which each is one", func(c *carrier) {
		l := layerOf(typeBundle, good(c.manifest))
		c.refer(desc(typeManifest, c.manifest), typeBundle, l, l)
	})
	simple("simple-none", "a payload without a signature", func(m string) layer { return layerOf(typeSimple, simplePayload(m)) })
	simple("simple-type", "a payload of another type", func(m string) layer {
		return simpleLayer(releaseKey, sub(simplePayload(m), "cosign container image", "atomic container"))
	})
	simple("simple-digest-twice", "a payload with two digests", func(m string) layer {
		return simpleLayer(releaseKey, sub(simplePayload(m), `"image":{`, `"image":{"docker-manifest-digest":`+quoted(dgst(other))+","))
	}, metBy("parser differentials"))
	add("threshold-unmet", "by one key, and two have to", func(c *carrier) { c.bundle(good(c.manifest)) }, by(demandsBoth, releaseKey, secondKey))
	add("threshold-same", "by one key in two forms, and two have to", func(c *carrier) {
		c.bundle(good(c.manifest))
		c.tag(".sig", simpleLayer(releaseKey, simplePayload(c.manifest)))
	}, by(demandsBoth, releaseKey, secondKey))
	s.add("limit", "crowd", "1001 of them, of which each is good", func(c *carrier) {
		c.tag(".sig", slices.Repeat([]layer{simpleLayer(releaseKey, simplePayload(c.manifest))}, 1001)...)
	}, metBy("CVE-2024-29903 cosign"))
}

// badStatements carry an envelope that is signed, and says something else.
func badStatements(s carried) {
	add := func(name, comment string, text func(manifest string) string, more ...option) {
		s.add("signature", name, comment, func(c *carrier) { c.bundle(text(c.manifest)) }, more...)
	}
	changed := func(name, comment, old, with string, more ...option) {
		add(name, comment, func(m string) string {
			return releaseKey.envelopeBundle(typeStatement, sub(statement(predicateSign, m), old, with))
		}, more...)
	}
	add("payload-type", "an envelope whose payload is of another type", func(m string) string {
		return releaseKey.envelopeBundle("text/plain", statement(predicateSign, m))
	})
	add("payload-type-unsigned", "an envelope that names another type than is signed", func(m string) string {
		text := statement(predicateSign, m)
		return sigstore(releaseKey.material(), `"dsseEnvelope":`+envelopeOf("text/plain", text, releaseKey.signEnvelope(typeStatement, text)))
	})
	add("bare-payload", "the payload of an envelope is signed without its type", func(m string) string {
		text := statement(predicateSign, m)
		return sigstore(releaseKey.material(), `"dsseEnvelope":`+envelopeOf(typeStatement, text, releaseKey.sign(text)))
	})
	add("no-signature", "an envelope without a signature", func(m string) string {
		return sigstore(releaseKey.material(), `"dsseEnvelope":`+envelopeOf(typeStatement, statement(predicateSign, m)))
	})
	add("two-signatures", "an envelope with two signatures, of which one is good", func(m string) string {
		text := statement(predicateSign, m)
		return sigstore(releaseKey.material(), `"dsseEnvelope":`+envelopeOf(typeStatement, text, strangeKey.signEnvelope(typeStatement, text), releaseKey.signEnvelope(typeStatement, text)))
	})
	changed("statement-type", "a statement of a version that nobody knows", "Statement/v1", "Statement/v2")
	changed("statement-twice", "a statement with a key twice", `"_type":`, `"_type":"","_type":`, metBy("parser differentials"))
	changed("statement-folded", "a statement with another type in another case", `"predicate":{}`, `"PredicateType":`+quoted(predicateProvenance)+`,"predicate":{}`, metBy("parser differentials"))
	changed("no-subject", "a statement about nothing", `"subject":`, `"subjects":`)
	changed("subject-algorithm", "a statement with the digest under another algorithm", `"sha256"`, `"sha512"`)
}

func attestedArtifacts(s carried) {
	signed := func(c *carrier) { c.bundle(releaseKey.statementBundle(predicateSign, c.manifest)) }
	add := func(expect, name, comment string, hang func(c *carrier), more ...option) {
		s.add(expect, "attested"+name, "an attestation is demanded too, "+comment, hang, append([]option{metBy("cosign attest")}, more...)...)
	}
	add(vectors.Success, "", "and is there", func(c *carrier) {
		signed(c)
		c.bundle(releaseKey.statementBundle(predicateProvenance, c.manifest))
	})
	add(vectors.Success, "-tag", "and is there in an .att tag", func(c *carrier) {
		signed(c)
		c.tag(".att", layerOf(typeEnvelope, releaseKey.envelope(typeStatement, statement(predicateProvenance, c.manifest))))
	})
	add("signature", "-missing", "and is not there", signed)
	add("signature", "-type", "and one of another type is there", func(c *carrier) {
		signed(c)
		c.bundle(releaseKey.statementBundle(predicateProvenance+".1", c.manifest))
	})
	add("signature", "-wrong-key", "and is by another key", func(c *carrier) {
		signed(c)
		c.bundle(strangeKey.statementBundle(predicateProvenance, c.manifest))
	})
	add("signature", "-other", "and is for another digest", func(c *carrier) {
		signed(c)
		c.tag(".att", layerOf(typeEnvelope, releaseKey.envelope(typeStatement, statement(predicateProvenance, "another manifest"))))
	})
	add("signature", "-alone", "and is there without a signature", func(c *carrier) {
		c.bundle(releaseKey.statementBundle(predicateProvenance, c.manifest))
	})
}

func unsignedArtifacts(s carried) {
	nothing := func(*carrier) {}
	s.add("signature", "unsigned", "it is not signed, and is to be denied", nothing)
	s.add(vectors.Success, "unsigned-warn", "it is not signed, and one is to be warned", nothing, by(demandsSigned+"  unsigned: warn\n", releaseKey))
	s.add(vectors.Success, "unsigned-allow", "it is not signed, and may be", nothing, by(demandsKey, releaseKey))
	s.add("signature", "child", "only what its index lists is signed", func(c *carrier) {
		child := c.inIndex()
		c.refer(desc(typeManifest, child), typeBundle, layerOf(typeBundle, releaseKey.statementBundle(predicateSign, child)))
	})
	s.add("signature", "no-rule", "it is signed, and no rule is for it", func(c *carrier) {
		c.bundle(releaseKey.statementBundle(predicateSign, c.manifest))
	}, by(demandsElsewhere, releaseKey))
	s.add("signature", "repository", "the signature is under a tag of another repository", func(c *carrier) {
		c.tag(".sig", simpleLayer(releaseKey, simplePayload(c.manifest)))
		c.entries[1] = strings.ReplaceAll(c.entries[1], "acme/decks/intro", "acme/decks/other")
	}, metBy("cosign 2"))
}
