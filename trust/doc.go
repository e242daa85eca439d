// Package trust says whose signatures stand behind artifacts, without a network: it
// verifies with what the operator holds.
//
// # What is looked at
//
// The signatures and attestations that cosign and others who speak Sigstore's
// formats hang on an artifact, on its manifest or index or on a manifest that its
// index lists:
//
//   - Sigstore bundles, in a referrer whose artifactType, the media type of its one
//     layer and the mediaType in the bundle are the same:
//     application/vnd.dev.sigstore.bundle.v0.3+json, or
//     application/vnd.dev.sigstore.bundle+json;version=0.1, 0.2 or 0.3. A bundle holds
//     a DSSE envelope with an in-toto statement, or a signature over the bytes of the
//     manifest.
//   - the older form under the tag sha256-….sig of the same repository: each layer
//     is a payload, application/vnd.dev.cosign.simplesigning.v1+json, and its
//     annotations hold the signature
//   - attestations of the older form under the tag sha256-….att: each layer is a DSSE
//     envelope, application/vnd.dsse.envelope.v1+json
//   - the two older forms in a referrer of artifactType
//     application/vnd.dev.cosign.artifact.sig.v1+json, or att
//
// All of these types are compared exactly. What else hangs on an artifact is
// carried with it and is not judged: SBOMs without a signature, signatures of
// notation, and what hangs on a referrer.
//
// A statement of predicate type https://sigstore.dev/cosign/sign/v1 is a signature;
// one of any other type is an attestation.
//
// # What verified means
//
// A signature is verified if all of this holds:
//
//   - It is whole, of a form and size that are known ([layout.MaxManifestSize]), and
//     can be read in one way only. An envelope has one signature, its payload type is
//     application/vnd.in-toto+json, and its statement is one of in-toto v0.1 or v1. A
//     payload has the type "cosign container image signature".
//   - The digest that is signed is that of the manifest or index on which it hangs:
//     a subject of the statement, the docker-manifest-digest of the payload, or the
//     bytes themselves.
//   - A key that the policy names made it. Nothing else is demanded of a key, neither
//     a log nor a time: who takes a key out of the policy no longer trusts it.
//   - Or a certificate made it. Then the certificate leads to an authority of the
//     operator's trusted_root.json; it holds the promise of a log of certificates
//     there; a transparency log there has the signature, by its signed promise or a
//     proof; the certificate was valid at the time that this log or a timestamping
//     authority there signed; and its issuer and subject are those of an identity
//     that the policy names. A chain that is carried beside the certificate does not
//     count.
//
// sigstore-go verifies these, with what it allows of entries of logs, timestamps and
// subjects. Nothing is fetched: whether a log is consistent, or a key was revoked
// since the trusted_root.json was made, can't be known here.
//
// An artifact is verified if the signers of its rule made as many signatures over the
// artifact itself as the threshold says, and each attestation that the rule demands
// is there from its signers. Signatures over what an index lists are verified and
// reported with the digest that they cover, and don't stand for the index: who can
// write an index can list what he likes. One platform of an index that was taken
// alone is the artifact then, and the signature over it counts.
//
// A signature that does not verify does no harm beside those that do, since anybody
// who can write to a repository can add one, and others may sign for others. If not
// enough of them verify, the artifact is invalid, and is denied in every case. Where
// nothing is carried of what the rule demands, it is unsigned, and the rule says what
// that means: who can leave out a signature can leave out all of them.
//
// What is signed is a digest, not a name. A signature does not say that an artifact
// is the newest, nor that its tag is the one that the signer gave it; and the name by
// which the rule is found is that in index.json, which is whose who made the bundle.
//
// # The policy
//
// A policy is one YAML file, and its keys are these:
//
//	trustedRoot: trusted_root.json       # for identities
//	bundle:                              # who signs bundles
//	  keys: [release.pub]
//	  threshold: 1
//	rules:
//	  - match: ghcr.io/acme/**           # one pattern or a list
//	    keys: [acme.pub, acme-next.pub]
//	    identities:
//	      - issuer: https://token.actions.githubusercontent.com
//	        subjectRegexp: https://github\.com/acme/.*
//	    threshold: 1
//	    attestations:
//	      - https://slsa.dev/provenance/v1
//	      - type: https://spdx.dev/Document
//	        keys: [sbom.pub]
//	    unsigned: deny
//	  - match: "**"
//	    unsigned: warn
//
// The first rule with a pattern for the artifact decides, as in the lists of
// firewalls; one that could never decide is an error. A * stands for anything in one
// component of registry/repository, and ** at the end for one component or more.
// Tags and digests have no part in it. ** alone is for all artifacts, also those that
// have no full name. What no rule is for is denied.
//
// The threshold says how many of the keys and identities must have signed, each
// counted once however often it did, and each signature for one of them. It is 1
// unless it is given, so that any of them suffices, as any authority does for
// sigstore's policy-controller and any key for containers-policy.json: a list is first
// of all for changing keys.
//
// Of an attestation there must be one of its type from the signers of the rule, or
// from its own where it names some. Where a rule names signers only for attestations,
// no signature is demanded.
//
// An identity needs issuer or issuerRegexp, and subject or subjectRegexp. Unlike
// cosign's, an expression must fit the whole text.
//
// unsigned says what happens to an artifact that carries nothing of what is demanded:
// deny, which is the default, warn or allow. A rule that names nobody must say warn or
// allow, and what is carried is unchecked then. So it is without a policy, or in one
// that has no rules.
//
// Files are found from the folder of the policy. Keys stand once, and there are no
// aliases.
//
// # Bundles
//
// A bundle is signed by signing the bytes of its index.json, which pin every byte of
// every artifact and do not change with the compression. A signature is a Sigstore
// bundle of version 0.3 with a message signature
// (https://docs.sigstore.dev/about/bundle/), made with a key: cosign sign-blob makes
// them and cosign verify-blob checks them. Several stand one behind the other, each in a
// line; in the bundle as the member index.sigstore.json, or in a file beside it.
//
// A signature is good if one of the given keys has made it over exactly these bytes.
// That there are others, by keys that nobody has named, means nothing. What a signature
// says of its key means nothing either. Bytes are signed, and not what they are for: who
// has signed an image index with a message signature has also signed the bundle of which
// it is the index.json, with the same content and without names.
package trust
