package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// Who signs without a key of his own.
const (
	githubIssuer  = "https://token.actions.githubusercontent.com"
	githubSubject = "https://github.com/acme/decks/.github/workflows/release.yaml@refs/heads/main"
)

// signedAt is when all is signed, and begins is when the authorities began.
var (
	signedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	begins   = signedAt.AddDate(-1, 0, 0)
)

// authority is a Sigstore of its own: who gives certificates, the log of these and
// the log of signatures.
type authority struct {
	root, intermediate *x509.Certificate
	key                key // of the intermediate
	certificates, log  key // of the logs
}

func newAuthority(name string) *authority {
	rootKey := ecdsaKey(name + " root")
	a := &authority{key: ecdsaKey(name + " intermediate"), certificates: ecdsaKey(name + " certificates"), log: ecdsaKey(name + " log")}
	ca := func(what string, k key, more x509.ExtKeyUsage) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: what, Organization: []string{name}},
			NotBefore: begins, NotAfter: begins.AddDate(10, 0, 0), SubjectKeyId: k.id()[:20],
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
		}
		if more != 0 {
			c.ExtKeyUsage = []x509.ExtKeyUsage{more}
		}
		return c
	}
	template := ca("root", rootKey, 0)
	a.root = certify(template, template, rootKey, rootKey)
	a.intermediate = certify(ca("intermediate", a.key, x509.ExtKeyUsageCodeSigning), a.root, a.key, rootKey)
	return a
}

func certify(template, parent *x509.Certificate, of, by key) *x509.Certificate {
	return must(x509.ParseCertificate(must(x509.CreateCertificate(nil, template, parent, of.Public(), by.Signer))))
}

// validity is when something of a trusted_root.json counts; without an end as long as
// one likes.
func validity(end time.Time) string {
	keys := []string{`"start":` + quoted(begins.Format(time.RFC3339))}
	if !end.IsZero() {
		keys = append(keys, `"end":`+quoted(end.Format(time.RFC3339)))
	}
	return `"validFor":` + object(keys...)
}

// until is when the parts of an authority stop to count.
type until struct{ authority, certificates, log time.Time }

// trustedRoot is a trusted_root.json.
func (a *authority) trustedRoot(e until) string {
	log := func(name string, k key, end time.Time) string {
		return list(object(`"baseUrl":`+quoted("https://"+name+".test"), `"hashAlgorithm":"SHA2_256"`,
			`"publicKey":`+object(`"rawBytes":`+quoted(base64Of(k.der())), `"keyDetails":"PKIX_ECDSA_P256_SHA_256"`, validity(end)),
			`"logId":`+object(`"keyId":`+quoted(base64Of(k.id())))))
	}
	raw := func(c *x509.Certificate) string { return object(`"rawBytes":` + quoted(base64Of(c.Raw))) }
	return object(`"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"`,
		`"tlogs":`+log("log", a.log, e.log), `"ctlogs":`+log("certificates", a.certificates, e.certificates),
		`"certificateAuthorities":`+list(object(`"subject":{"organization":"acme","commonName":"root"}`, `"uri":"https://ca.test"`,
			`"certChain":`+object(`"certificates":`+list(raw(a.intermediate), raw(a.root))), validity(e.authority))))
}

// identity is a certificate and its key.
type identity struct {
	key
	of   *authority
	cert *x509.Certificate
}

// identify gives a certificate that is valid for ten minutes round signedAt. It holds
// the promise of a log of certificates, unless there is none.
func (a *authority) identify(subject, issuer string, promises ...key) *identity {
	id := &identity{key: ecdsaKey(subject + " " + issuer), of: a}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{must(url.Parse(subject))},
		NotBefore: signedAt.Add(-5 * time.Minute), NotAfter: signedAt.Add(5 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}},
	}
	id.cert = certify(template, a.intermediate, id.key, a.key)
	for _, p := range promises {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: a.promise(id.cert, p),
		})
		id.cert = certify(template, a.intermediate, id.key, a.key)
	}
	return id
}

// promise is the list of one signed certificate timestamp (RFC 6962, section 3.3).
func (a *authority) promise(cert *x509.Certificate, log key) []byte {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(signedAt.UnixMilli()))
	issuer := sha256.Sum256(a.intermediate.RawSubjectPublicKeyInfo)
	tbs := cert.RawTBSCertificate
	signed := bytes.Join([][]byte{
		{0, 0}, stamp, {0, 1}, issuer[:], {byte(len(tbs) >> 16), byte(len(tbs) >> 8), byte(len(tbs))}, tbs, {0, 0},
	}, nil)
	sct := bytes.Join([][]byte{{0}, log.id(), stamp, {0, 0, 4, 3}, lengthed([]byte(log.sign(string(signed))))}, nil)
	return must(asn1.Marshal(lengthed(lengthed(sct))))
}

// lengthed puts the length of b before it, in two bytes.
func lengthed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func (id *identity) pem() string { return pemOf("CERTIFICATE", id.cert.Raw) }

// logged is an entry of a log of signatures: what it is over, and when it was made.
type logged struct {
	kind, body string
	at         time.Time
	index      int
}

// ofEnvelope is the entry for an envelope.
func (id *identity) ofEnvelope(payloadType, payload, signature string) logged {
	hash := func(text string) string { return object(`"algorithm":"sha256"`, `"value":`+quoted(sha(text))) }
	return logged{"dsse", object(`"apiVersion":"0.0.1"`, `"kind":"dsse"`, `"spec":`+object(
		`"envelopeHash":`+hash(envelopeOf(payloadType, payload, signature)), `"payloadHash":`+hash(payload),
		`"signatures":`+list(object(`"signature":`+quoted(base64Of(signature)), `"verifier":`+quoted(base64Of(id.pem())))))), signedAt, 7}
}

// ofMessage is the entry for a signature over a message.
func (id *identity) ofMessage(message, signature string) logged {
	return logged{"hashedrekord", object(`"apiVersion":"0.0.1"`, `"kind":"hashedrekord"`, `"spec":`+object(
		`"data":`+object(`"hash":`+object(`"algorithm":"sha256"`, `"value":`+quoted(sha(message)))),
		`"signature":`+object(`"content":`+quoted(base64Of(signature)), `"publicKey":`+object(`"content":`+quoted(base64Of(id.pem())))))), signedAt, 7}
}

// promised is the promise of the log to take an entry: over JSON with sorted keys.
func (l logged) promised(log key) string {
	return base64Of(log.sign(object(`"body":`+quoted(base64Of(l.body)), fmt.Sprintf(`"integratedTime":%d`, l.at.Unix()),
		`"logID":`+quoted(hex.EncodeToString(log.id())), fmt.Sprintf(`"logIndex":%d`, l.index))))
}

// in is the entry as a Sigstore bundle has it: with the promise, and the proof that a
// log of one entry has it.
func (l logged) in(log key) string {
	leaf := sha256.Sum256(append([]byte{0}, l.body...))
	root := base64Of(leaf[:])
	head := "log.test - 1\n1\n" + root + "\n"
	note := head + "\n— log.test " + base64Of(string(log.id()[:4])+log.sign(head)) + "\n"
	return object(fmt.Sprintf(`"logIndex":"%d"`, l.index), `"logId":`+object(`"keyId":`+quoted(base64Of(log.id()))),
		`"kindVersion":`+object(`"kind":`+quoted(l.kind), `"version":"0.0.1"`), fmt.Sprintf(`"integratedTime":"%d"`, l.at.Unix()),
		`"inclusionPromise":`+object(`"signedEntryTimestamp":`+quoted(l.promised(log))),
		`"inclusionProof":`+object(`"logIndex":"0"`, `"rootHash":`+quoted(root), `"treeSize":"1"`, `"hashes":[]`,
			`"checkpoint":`+object(`"envelope":`+fmt.Sprintf("%q", note))),
		`"canonicalizedBody":`+quoted(base64Of(l.body)))
}

// bundle is a Sigstore bundle with the certificate and entries of the log.
func (id *identity) bundle(content string, entries ...string) string {
	return sigstore(`"certificate":`+object(`"rawBytes":`+quoted(base64Of(id.cert.Raw)))+`,"tlogEntries":`+list(entries...), content)
}

// statement is a bundle with a statement about a manifest, in the log. change, where
// there is one, changes the entry.
func (id *identity) statement(predicateType, manifest string, change func(l *logged)) string {
	text := statement(predicateType, manifest)
	sig := id.signEnvelope(typeStatement, text)
	l := id.ofEnvelope(typeStatement, text, sig)
	if change != nil {
		change(&l)
	}
	return id.bundle(`"dsseEnvelope":`+envelopeOf(typeStatement, text, sig), l.in(id.of.log))
}

// simple are the annotations of a payload of the older form.
func (id *identity) simple(payload string) string {
	sig := id.sign(payload)
	l := id.ofMessage(payload, sig)
	log := object(`"SignedEntryTimestamp":`+quoted(l.promised(id.of.log)), `"Payload":`+object(`"body":`+quoted(base64Of(l.body)),
		fmt.Sprintf(`"integratedTime":%d`, l.at.Unix()), fmt.Sprintf(`"logIndex":%d`, l.index), `"logID":`+quoted(hex.EncodeToString(id.of.log.id()))))
	return `"annotations":` + object(`"dev.cosignproject.cosign/signature":`+quoted(base64Of(sig)),
		`"dev.sigstore.cosign/bundle":`+fmt.Sprintf("%q", log), `"dev.sigstore.cosign/certificate":`+fmt.Sprintf("%q", id.pem()))
}
