package main

import (
	"strings"
	"time"

	"github.com/airdeck/airdeck/internal/vectors"
)

// The authority that is trusted, one that is not, and who has certificates of them.
var (
	acme     = newAuthority("acme")
	stranger = newAuthority("stranger")

	githubIdentity  = acme.identify(githubSubject, githubIssuer, acme.certificates)
	strangeIdentity = stranger.identify(githubSubject, githubIssuer, stranger.certificates)
)

// withRoot gives the reader a policy and a trusted_root.json.
func withRoot(policy string, e until, keys ...key) option {
	return func(v *vectors.Vector) {
		by(policy, keys...)(v)
		given(v, "trusted_root.json", acme.trustedRoot(e))
	}
}

// keylessArtifacts are signed with a certificate.
func keylessArtifacts(s *set) {
	s.at("signature", "cosign sign", vectors.Bundle)
	c := carried{s, withRoot(demandsIdentity, until{})}
	bundle := func(expect, name, comment string, text func(manifest string) string, more ...option) {
		c.add(expect, "keyless"+name, "with a certificate, "+comment, func(c *carrier) { c.bundle(text(c.manifest)) }, more...)
	}
	signed := func(id *identity, change func(l *logged)) func(m string) string {
		return func(m string) string { return id.statement(predicateSign, m, change) }
	}
	good := signed(githubIdentity, nil)
	bundle(vectors.Success, "", "in the log while it was valid", good)
	bundle(vectors.Success, "-message", "over the bytes of the manifest", func(m string) string {
		sig := githubIdentity.sign(m)
		return githubIdentity.bundle(overMessage(m, sig), githubIdentity.ofMessage(m, sig).in(acme.log))
	})
	bundle(vectors.Success, "-or-key", "where a key would do too", good, withRoot(demandsSomebody, until{}, releaseKey))
	c.add(vectors.Success, "keyless-tag", "with a certificate, by a .sig tag", func(c *carrier) {
		payload := simplePayload(c.manifest)
		c.tag(".sig", layerOf(typeSimple, payload, githubIdentity.simple(payload)))
	}, metBy("cosign 2"))

	bad := func(name, comment string, text func(m string) string, more ...option) {
		bundle("signature", "-"+name, comment, text, more...)
	}
	bad("expired", "which had expired when it was signed", signed(githubIdentity, func(l *logged) { l.at = signedAt.Add(6 * time.Minute) }))
	bad("early", "which was not valid yet when it was signed", signed(githubIdentity, func(l *logged) { l.at = signedAt.Add(-6 * time.Minute) }))
	past := signedAt.AddDate(0, -1, 0)
	bad("authority-expired", "of an authority that was to be trusted until a month before", good, withRoot(demandsIdentity, until{authority: past}))
	bad("log-expired", "in a log whose key was to be trusted until a month before", good, withRoot(demandsIdentity, until{log: past}))
	bad("certificates-expired", "promised by a log whose key was to be trusted until a month before", good, withRoot(demandsIdentity, until{certificates: past}))
	bad("stranger", "of another authority", signed(strangeIdentity, nil))
	logged := *strangeIdentity
	logged.of = &authority{log: acme.log}
	bad("stranger-logged", "of another authority, in the log that is trusted", signed(&logged, nil))
	bad("subject", "for another subject", signed(acme.identify(githubSubject+"2", githubIssuer, acme.certificates), nil))
	bad("issuer", "from another issuer", signed(acme.identify(githubSubject, githubIssuer+"2", acme.certificates), nil))
	bad("no-promise", "without the promise of a log of certificates", signed(acme.identify(githubSubject, githubIssuer), nil))
	bad("other-promise", "with the promise of another log of certificates", signed(acme.identify(githubSubject, githubIssuer, stranger.certificates), nil))
	bad("no-log", "not in the log", func(m string) string {
		return githubIdentity.bundle(`"dsseEnvelope":` + githubIdentity.envelope(typeStatement, statement(predicateSign, m)))
	})
	bad("other-log", "in another log", func(m string) string {
		text := statement(predicateSign, m)
		sig := githubIdentity.signEnvelope(typeStatement, text)
		return githubIdentity.bundle(`"dsseEnvelope":`+envelopeOf(typeStatement, text, sig), githubIdentity.ofEnvelope(typeStatement, text, sig).in(stranger.log))
	})
	bad("other-entry", "with the entry of another signature", func(m string) string {
		text := statement(predicateSign, "another manifest")
		entry := githubIdentity.ofEnvelope(typeStatement, text, githubIdentity.signEnvelope(typeStatement, text)).in(acme.log)
		return githubIdentity.bundle(`"dsseEnvelope":`+githubIdentity.envelope(typeStatement, statement(predicateSign, m)), entry)
	}, metBy("CVE-2022-36056 cosign"))
	bad("time", "at a time that the log did not promise", func(m string) string {
		return strings.Replace(good(m), `"integratedTime":"17`, `"integratedTime":"16`, 1)
	})
	limit := metBy("sigstore-go's limit is 32")
	bundle(vectors.Success, "-log-32", "with 32 entries of the log", func(m string) string { return githubIdentity.statementOften(m, 32) }, limit)
	bad("log-entries", "with 33 entries of the log", func(m string) string { return githubIdentity.statementOften(m, 33) }, limit)
	bad("key", "and only keys are trusted", good, by(demandsKey, releaseKey))
	bad("by-key", "where a key has signed", func(m string) string { return releaseKey.statementBundle(predicateSign, m) })
}

// statementOften is a statement that is in the log so often.
func (id *identity) statementOften(manifest string, n int) string {
	text := statement(predicateSign, manifest)
	sig := id.signEnvelope(typeStatement, text)
	var entries []string
	for i := range n {
		l := id.ofEnvelope(typeStatement, text, sig)
		l.index = i
		entries = append(entries, l.in(id.of.log))
	}
	return id.bundle(`"dsseEnvelope":`+envelopeOf(typeStatement, text, sig), entries...)
}
