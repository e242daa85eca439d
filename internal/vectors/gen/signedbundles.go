package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

// The keys that vectors trust, and one that nobody does.
var (
	releaseKey = ecdsaKey("release")
	secondKey  = ecdsaKey("second")
	edKey      = ed25519Key("ed25519")
	strangeKey = ecdsaKey("stranger")
)

// given adds a file that the reader is given.
func given(v *vectors.Vector, name, text string) {
	if v.Files == nil {
		v.Files = map[string]string{}
	}
	v.Files[name] = text
}

// demands has a signature of the bundle by one of these keys demanded.
func demands(keys ...key) option {
	return func(v *vectors.Vector) {
		for _, k := range keys {
			name := k.file()
			given(v, name, k.pem())
			v.Keys = append(v.Keys, name)
		}
	}
}

// detached gives the reader a signature beside the bundle.
func detached(text string) option {
	return func(v *vectors.Vector) {
		const name = "talks.sigstore.json"
		given(v, name, text)
		v.Signatures = append(v.Signatures, name)
	}
}

// signedBundles are bundles whose signature is demanded.
func signedBundles(s *set) {
	s.at("signature", "airdeck sign", vectors.Bundle)
	s.unpacked = true
	index, _ := (&parts{}).texts()
	older, _ := (&parts{second: "an older slide"}).texts()
	good := releaseKey.messageBundle(index)
	cosign := metBy("cosign sign-blob")
	add := func(expect, name, comment, signatures string, more ...option) {
		var before []member
		if signatures != "" {
			before = []member{file("index.sigstore.json", signatures)}
		}
		body := parts{before: before}.tar()
		s.add(expect, strings.TrimSuffix("signed-bundle-"+name, "-"), "a demanded signature of the bundle: "+comment, body, more...)
		if v := &s.all[len(s.all)-1]; len(v.Keys)+len(v.Policy) == 0 {
			demands(releaseKey)(v)
		}
	}
	add(vectors.Success, "", "by the key", good, cosign)
	add(vectors.Success, "two-keys", "by two keys, and either is enough", good+secondKey.messageBundle(index), demands(releaseKey, secondKey))
	add(vectors.Success, "either-key", "by one of two keys", secondKey.messageBundle(index), demands(releaseKey, secondKey))
	add(vectors.Success, "threshold", "by two keys, and both have to", good+secondKey.messageBundle(index), by("bundle: {keys: [release.pub, second.pub], threshold: 2}\n", releaseKey, secondKey))
	add(vectors.Success, "ed25519", "by a key of Ed25519", edKey.messageBundle(index), demands(edKey))
	add(vectors.Success, "strangers", "by strangers too", strangeKey.messageBundle(index)+good+edKey.messageBundle(index))
	add(vectors.Success, "hundred", "behind 99 of strangers", strings.Repeat(strangeKey.messageBundle(index), 99)+good)
	add(vectors.Success, "detached", "beside the bundle", "", detached(good), cosign)
	add(vectors.Success, "detached-too", "in the bundle by a stranger, and beside it by the key", strangeKey.messageBundle(index), detached(good))
	add(vectors.Success, "white-space", "in several lines", strings.ReplaceAll(good, ",", ",\r\n\t"), cosign)
	s.add(vectors.Success, "signed-bundle-unchecked", "a signature of the bundle, and nobody asks for one", parts{before: []member{file("index.sigstore.json", strangeKey.messageBundle(index))}}.tar())

	add("signature", "none", "it is not signed", "")
	add("signature", "empty", "no bytes", "", func(v *vectors.Vector) {
		v.Body = parts{before: []member{file("index.sigstore.json", "")}}.tar()
	})
	add("signature", "wrong-key", "by another key", strangeKey.messageBundle(index))
	add("signature", "wrong-key-hint", "by another key, which says it is this one", sub(strangeKey.messageBundle(index), base64Of(strangeKey.id()), base64Of(releaseKey.id())))
	add("signature", "other", "of another bundle", releaseKey.messageBundle(indexOf()))
	add("signature", "older", "of an older index.json of the same artifact", releaseKey.messageBundle(older), metBy("an old signature that is kept"))
	add("signature", "older-detached", "of an older index.json, beside the bundle", "", detached(releaseKey.messageBundle(older)), metBy("an old signature that is kept"))
	add("signature", "reformatted", "of an index.json with other white space", releaseKey.messageBundle(index+"\n"))
	add("signature", "truncated", "it ends early", good[:len(good)/2], metBy("a disk that was full"))
	add("signature", "last-byte", "its last byte is not there", strings.TrimSuffix(good, "}\n"), metBy("a disk that was full"))
	add("signature", "trailing", "text behind it", good+"signed")
	add("signature", "text", "no JSON", "signed\n")
	add("signature", "list", "a list of one", list(good))
	add("signature", "bare", "the bytes of a signature alone, as older ones were", base64Of(releaseKey.sign(index)), metBy("cosign sign-blob --output-signature"))
	add("signature", "flipped", "a bit of it is flipped", signedBy(releaseKey, index, flip(releaseKey.sign(index))))
	add("signature", "zero", "r and s are 0", signedBy(releaseKey, index, "\x30\x06\x02\x01\x00\x02\x01\x00"), metBy("CVE-2022-21449 Java"))
	add("signature", "no-signature", "its signature is empty", signedBy(releaseKey, index, ""))
	add("signature", "other-digest", "it names the digest of other bytes", sub(good, sum(index), sum(older)))
	add("signature", "hash", "it names another hash than the digest is of", sub(good, "SHA2_256", "SHA2_512"))
	add("signature", "hash-unknown", "it names a hash that nobody knows", sub(good, "SHA2_256", "SHA1"))
	add("signature", "over-digest", "it is over the digest, and not over the bytes", signedBy(releaseKey, index, releaseKey.sign(dgst(index))))
	add("signature", "envelope", "an envelope with index.json in it, by the key", releaseKey.envelopeBundle("application/json", index)+"\n")
	add("signature", "statement", "a statement about index.json, by the key", releaseKey.statementBundle(predicateSign, index)+"\n", metBy("cosign attest-blob"))
	add("signature", "certificate", "with a certificate, and a key is demanded", func() string {
		sig := githubIdentity.sign(index)
		return githubIdentity.bundle(overMessage(index, sig), githubIdentity.ofMessage(index, sig).in(acme.log)) + "\n"
	}(), metBy("cosign sign-blob"))
	add("signature", "version", "of a version that nobody knows", sub(good, "v0.3", "v0.9"))
	add("signature", "key-twice", "a key twice", sub(good, `"mediaType":`, `"mediaType":"","mediaType":`), metBy("parser differentials"))
	add("signature", "threshold-unmet", "by one key, and two have to", good, by("bundle: {keys: [release.pub, second.pub], threshold: 2}\n", releaseKey, secondKey))
	add("signature", "threshold-same", "twice by one key, and two have to", good+good, by("bundle: {keys: [release.pub, second.pub], threshold: 2}\n", releaseKey, secondKey))
	add("signature", "threshold-stranger", "by one key and a stranger, and two have to", good+strangeKey.messageBundle(index), by("bundle: {keys: [release.pub, second.pub], threshold: 2}\n", releaseKey, secondKey))
	add("limit", "crowd", "a hundred thousand", strings.Repeat("{}\n", 100_000))
	add("limit", "crowd-good", "101, of which each is good", strings.Repeat(good, 101))
	add("limit", "large", "one of over 256 KiB", sub(good, base64Of(releaseKey.id()), strings.Repeat("A", 256<<10)))
}

// signedBy is a bundle over a message, with a signature that need not be one.
func signedBy(k key, message, signature string) string {
	return sigstore(k.material(), overMessage(message, signature)) + "\n"
}

// flip changes a bit of the last byte.
func flip(text string) string {
	b := []byte(text)
	b[len(b)-1] ^= 1
	return string(b)
}
