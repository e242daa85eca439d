package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"

	"github.com/airdeck/airdeck/trust"
)

const (
	issuer  = "https://token.actions.githubusercontent.com"
	subject = "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"
)

// authority is a Sigstore of its own: sigstore-go's for tests, with certificates
// that hold the promise of a log, which those of that one do not.
type authority struct {
	t testing.TB
	*ca.VirtualSigstore
	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey // of the intermediate
	ct           *ecdsa.PrivateKey // of the log of certificates
	root         []byte            // trusted_root.json
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, ct: newECDSA(t)}
	var err error
	if a.VirtualSigstore, err = ca.NewVirtualSigstore(); err != nil {
		t.Fatal(err)
	}
	rootCert, rootKey, err := ca.GenerateRootCa()
	if err != nil {
		t.Fatal(err)
	}
	if a.intermediate, a.key, err = ca.GenerateFulcioIntermediate(rootCert, rootKey); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	logs := a.RekorLogs()
	for id, l := range logs {
		l.ID, _ = hex.DecodeString(id) // it has the text in its place
		l.ValidityPeriodStart = now.Add(-24 * time.Hour)
	}
	ctID := keyID(t, a.ct)
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: rootCert, Intermediates: []*x509.Certificate{a.intermediate},
			ValidityPeriodStart: now.Add(-24 * time.Hour), URI: "https://fulcio.test",
		}},
		map[string]*root.TransparencyLog{hex.EncodeToString(ctID): {
			BaseURL: "https://ct.test", ID: ctID, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			PublicKey: a.ct.Public(), ValidityPeriodStart: now.Add(-24 * time.Hour),
		}}, a.TimestampingAuthorities(), logs)
	if err != nil {
		t.Fatal(err)
	}
	if a.root, err = tr.MarshalJSON(); err != nil {
		t.Fatal(err)
	}
	return a
}

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyID(t testing.TB, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return sum[:]
}

// identity is a certificate and its key.
type identity struct {
	*keyPair
	authority *authority
	cert      *x509.Certificate
	from      time.Time
}

// identify gives a certificate that is valid for ten minutes from now.
func (a *authority) identify(subject, issuer string) *identity {
	return a.identifyAt(subject, issuer, time.Now().Add(-time.Minute), a.ct)
}

// identifyAt gives a certificate with the promise of a log of certificates, or
// without one.
func (a *authority) identifyAt(subject, issuer string, from time.Time, ctLog *ecdsa.PrivateKey) *identity {
	a.t.Helper()
	key := newECDSA(a.t)
	uri, err := url.Parse(subject)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{uri},
		NotBefore: from, NotAfter: from.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}},
	}
	cert := a.certify(template, key)
	if ctLog != nil {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: a.promise(cert, ctLog),
		})
		cert = a.certify(template, key)
	}
	return &identity{newKey(a.t, key), a, cert, from}
}

func (a *authority) certify(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.intermediate, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// promise is the list of one signed certificate timestamp (RFC 6962, section 3.3).
func (a *authority) promise(cert *x509.Certificate, log *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	stamp := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli()))
	issuerKey := sha256.Sum256(a.intermediate.RawSubjectPublicKeyInfo)
	tbs := cert.RawTBSCertificate
	signed := bytes.Join([][]byte{
		{0, 0}, stamp, {0, 1}, issuerKey[:], {byte(len(tbs) >> 16), byte(len(tbs) >> 8), byte(len(tbs))}, tbs, {0, 0},
	}, nil)
	sum := sha256.Sum256(signed)
	sig, err := ecdsa.SignASN1(rand.Reader, log, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	sct := bytes.Join([][]byte{{0}, keyID(a.t, log), stamp, {0, 0, 4, 3}, sized(sig)}, nil)
	out, err := asn1.Marshal(sized(sized(sct)))
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// sized puts the length of b before it, in two bytes.
func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// hashedRekord is the entry of a log for a signature over a message.
func (id *identity) hashedRekord(message, sig []byte) []byte {
	sum := sha256.Sum256(message)
	return fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":"%s","publicKey":{"content":"%s"}}}}`,
		sum, base64.StdEncoding.EncodeToString(sig), base64.StdEncoding.EncodeToString(pemOf(id.t, id.cert)))
}

// logged is what the log gives for an entry.
func (id *identity) logged(kind, version string, body []byte, at time.Time) *protorekor.TransparencyLogEntry {
	id.t.Helper()
	logID, err := id.authority.RekorLogID()
	if err != nil {
		id.t.Fatal(err)
	}
	raw, _ := hex.DecodeString(logID)
	set, err := id.authority.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: at.Unix(), LogIndex: 7, LogID: logID,
	})
	if err != nil {
		id.t.Fatal(err)
	}
	proof, err := id.authority.GetInclusionProof(body)
	if err != nil {
		id.t.Fatal(err)
	}
	rootHash, _ := hex.DecodeString(*proof.RootHash)
	return &protorekor.TransparencyLogEntry{
		LogIndex: 7, LogId: &protocommon.LogId{KeyId: raw}, IntegratedTime: at.Unix(), CanonicalizedBody: body,
		KindVersion:      &protorekor.KindVersion{Kind: kind, Version: version},
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: set},
		InclusionProof: &protorekor.InclusionProof{
			LogIndex: *proof.LogIndex, TreeSize: *proof.TreeSize, RootHash: rootHash,
			Checkpoint: &protorekor.Checkpoint{Envelope: *proof.Checkpoint},
		},
	}
}

// material is a bundle with the certificate, and nothing in it yet.
func (id *identity) material() *protobundle.Bundle {
	return &protobundle.Bundle{MediaType: typeBundle, VerificationMaterial: &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: id.cert.Raw}},
	}}
}

// over is a bundle with a statement, logged while the certificate is valid.
func (id *identity) over(statement []byte) *protobundle.Bundle {
	return id.overAt(statement, id.from.Add(time.Minute))
}

func (id *identity) overAt(statement []byte, at time.Time) *protobundle.Bundle {
	id.t.Helper()
	b := id.material()
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope(id.sign, typeStatement, statement)}
	made, err := bundle.NewBundle(b)
	if err != nil {
		id.t.Fatal(err)
	}
	env, err := made.Envelope()
	if err != nil {
		id.t.Fatal(err)
	}
	entry, err := id.authority.GenerateTlogEntry(id.cert, env.Envelope, env.Signature(), at.Unix(), false)
	if err != nil {
		id.t.Fatal(err)
	}
	b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{
		id.logged("dsse", "0.0.1", entry.TransparencyLogEntry().GetCanonicalizedBody(), at),
	}
	return b
}

// message is a bundle over bytes.
func (id *identity) message(message []byte) *protobundle.Bundle {
	b := id.material()
	sig := id.sign(message)
	b.Content = messageSignature(message, sig)
	b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{
		id.logged("hashedrekord", "0.0.1", id.hashedRekord(message, sig), id.from.Add(time.Minute)),
	}
	return b
}

// stamped adds a timestamp of the authority for them, of now.
func (id *identity) stamped(b *protobundle.Bundle, sig []byte) {
	id.t.Helper()
	stamp, err := id.authority.TimestampResponse(sig)
	if err != nil {
		id.t.Fatal(err)
	}
	b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
	}
}

// annotate gives a layer of the older form what cosign keeps beside it.
func (id *identity) annotate(d ocispec.Descriptor, e *protorekor.TransparencyLogEntry) ocispec.Descriptor {
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	log, _ := json.Marshal(map[string]any{
		"SignedEntryTimestamp": e.GetInclusionPromise().GetSignedEntryTimestamp(),
		"Payload": map[string]any{
			"body": e.GetCanonicalizedBody(), "integratedTime": e.GetIntegratedTime(), "logIndex": e.GetLogIndex(),
			"logID": hex.EncodeToString(e.GetLogId().GetKeyId()),
		},
	})
	d.Annotations["dev.sigstore.cosign/certificate"] = string(pemOf(id.t, id.cert))
	d.Annotations["dev.sigstore.cosign/chain"] = string(pemOf(id.t, id.authority.intermediate))
	d.Annotations["dev.sigstore.cosign/bundle"] = string(log)
	return d
}

// simpleLogged puts a signature of the older form on the shelf.
func (id *identity) simpleLogged(s *shelf, payload []byte) ocispec.Descriptor {
	d := id.simple(s, payload)
	sig, _ := base64.StdEncoding.DecodeString(d.Annotations["dev.cosignproject.cosign/signature"])
	return id.annotate(d, id.logged("hashedrekord", "0.0.1", id.hashedRekord(payload, sig), id.from.Add(time.Minute)))
}

// trusting is a policy that wants a signature of one identity, which is given as the
// keys of one.
func (a *authority) trusting(identity string) *trust.Policy {
	return policy(a.t, "trustedRoot: root.json\nrules: [{match: '**', identities: ["+identity+"]}]", map[string][]byte{"root.json": a.root})
}

// exactly is the identity of a certificate.
var exactly = fmt.Sprintf("{issuer: '%s', subject: '%s'}", issuer, subject)

func certificateOf(t testing.TB) *protobundle.VerificationMaterial_Certificate {
	t.Helper()
	id := newAuthority(t).identify(subject, issuer)
	return id.material().GetVerificationMaterial().GetContent().(*protobundle.VerificationMaterial_Certificate)
}
