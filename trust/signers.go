package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/airdeck/airdeck/layout"
)

// MaxSigners bounds the keys and identities that one rule names. Each signature may be
// tried with all of them.
const MaxSigners = 32

// Signers are those whose signatures count, and how many of them have to sign.
type Signers struct {
	Keys       []*PublicKey
	Identities []Identity
	// Threshold is how many of the keys and identities must have signed. It is at
	// least 1, which any of them fulfils.
	Threshold int

	keyless *verify.Verifier // nil without identities
}

// Identity is who a certificate may be for. What is set of issuer and subject must
// fit, and one of each pair is. The expressions must fit the whole text.
type Identity struct {
	Issuer, IssuerRegexp   string
	Subject, SubjectRegexp string

	matcher verify.CertificateIdentity
}

// NewIdentity makes an Identity.
//
// Error: [layout.ClassPolicy] where one of a pair is not set, or both are, or an
// expression is none.
func NewIdentity(issuer, issuerRegexp, subject, subjectRegexp string) (Identity, error) {
	id := Identity{Issuer: issuer, IssuerRegexp: issuerRegexp, Subject: subject, SubjectRegexp: subjectRegexp}
	if (issuer == "") == (issuerRegexp == "") {
		return id, layout.Errorf(layout.ClassPolicy, "an identity needs either issuer or issuerRegexp")
	}
	if (subject == "") == (subjectRegexp == "") {
		return id, layout.Errorf(layout.ClassPolicy, "an identity needs either subject or subjectRegexp")
	}
	var err error
	id.matcher, err = verify.NewShortCertificateIdentity(issuer, anchored(issuerRegexp), subject, anchored(subjectRegexp))
	for _, re := range []string{issuerRegexp, subjectRegexp} {
		// Without its anchors, since a closing bracket could make two of one.
		if _, bad := regexp.Compile(re); bad != nil {
			err = bad
		}
	}
	if err != nil {
		return id, layout.Errorf(layout.ClassPolicy, "%w", err)
	}
	return id, nil
}

// anchored makes an expression fit the whole text: sigstore's own is content with
// a part of it, and https://github.com/acme is a part of much.
func anchored(re string) string {
	if re == "" {
		return ""
	}
	return `\A(?:` + re + `)\z`
}

// Signer is who made a signature.
type Signer struct {
	Key     string `json:"key,omitempty"` // the name that the policy has for the key
	KeyID   string `json:"keyId,omitempty"`
	Subject string `json:"subject,omitempty"` // of the certificate, and its issuer
	Issuer  string `json:"issuer,omitempty"`
}

// String names a signer as a message does.
func (s Signer) String() string {
	if s.KeyID != "" {
		return "key " + s.Key
	}
	return fmt.Sprintf("%s (%s)", s.Subject, s.Issuer)
}

func (s *Signers) len() int { return len(s.Keys) + len(s.Identities) }

// needKeyless makes the verifier of certificates. It demands what cosign demands
// without a network: a certificate of the root, with the promise of a log of
// certificates in it; an entry in a transparency log; and a time at which the
// certificate was valid, from that log or from a timestamping authority.
func (s *Signers) needKeyless(tr root.TrustedMaterial) error {
	v, err := verify.NewVerifier(tr, verify.WithTransparencyLog(1), verify.WithSignedCertificateTimestamps(1),
		verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate())
	s.keyless = v
	return err
}

// entity is a Sigstore bundle that tells no version. By its version sigstore-go
// would try further algorithms, and print that it does.
type entity struct{ *bundle.Bundle }

func (entity) Version() (string, error) { return "", nil }

// verify says who of the signers made a signature over target, and which of them
// that is, in the order of Keys and then Identities.
func (s *Signers) verify(p *proof, target digest.Digest) (int, Signer, error) {
	over, err := p.over(target)
	if err != nil {
		return 0, Signer{}, err
	}
	content, err := p.VerificationContent()
	if err != nil {
		return 0, Signer{}, err
	}
	if content.Certificate() == nil {
		return s.verifyKey(p, over)
	}
	if len(s.Identities) == 0 {
		return 0, Signer{}, errors.New("it is signed with a certificate, and only keys are trusted")
	}
	options := make([]verify.PolicyOption, len(s.Identities))
	for i, id := range s.Identities {
		options[i] = verify.WithCertificateIdentity(id.matcher)
	}
	result, err := s.keyless.Verify(entity{p.Bundle}, verify.NewPolicy(over(), options...))
	if err != nil {
		return 0, Signer{}, err
	}
	if err := p.agrees(result); err != nil {
		return 0, Signer{}, err
	}
	cert := result.Signature.Certificate
	i, err := s.identityOf(*cert)
	if err != nil {
		return 0, Signer{}, err
	}
	return len(s.Keys) + i, Signer{Subject: cert.SubjectAlternativeName, Issuer: cert.Issuer}, nil
}

func (s *Signers) identityOf(cert certificate.Summary) (int, error) {
	var err error
	for i, id := range s.Identities {
		if err = id.matcher.Verify(cert); err == nil {
			return i, nil
		}
	}
	return 0, err
}

func (s *Signers) verifyKey(p *proof, over overFunc) (int, Signer, error) {
	if len(s.Keys) == 0 {
		return 0, Signer{}, errors.New("it is signed with a key, and only identities are trusted")
	}
	var last error
	for i, k := range s.Keys {
		v, err := keyVerifier(k)
		if err != nil {
			return 0, Signer{}, fmt.Errorf("key %s: %w", k.Name, err)
		}
		result, err := v.Verify(entity{p.Bundle}, verify.NewPolicy(over(), verify.WithKey()))
		if err == nil {
			err = p.agrees(result)
		}
		if err == nil {
			return i, Signer{Key: k.Name, KeyID: k.ID}, nil
		}
		last = fmt.Errorf("key %s: %w", k.Name, err)
	}
	return 0, Signer{}, last
}

// keyVerifier checks with one key, whatever key the bundle says it is signed with.
// Of a key no log and no time is demanded: who holds the public key trusts it.
func keyVerifier(k *PublicKey) (*verify.Verifier, error) {
	accept, err := acceptedBy(k)
	if err != nil {
		return nil, err
	}
	key := root.NewExpiringKey(accept, time.Time{}, time.Time{})
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return key, nil })
	return verify.NewVerifier(material, verify.WithNoObserverTimestamps(), verify.WithoutStatementPredicate())
}

// overFunc gives what a signature must be over. It is called for each try, since a
// message is read.
type overFunc func() verify.ArtifactPolicyOption

func (p *proof) over(target digest.Digest) (overFunc, error) {
	if p.GetMessageSignature() != nil {
		return func() verify.ArtifactPolicyOption { return verify.WithArtifact(bytes.NewReader(p.message)) }, nil
	}
	raw, err := hex.DecodeString(target.Encoded())
	return func() verify.ArtifactPolicyOption {
		return verify.WithArtifactDigest(target.Algorithm().String(), raw)
	}, err
}

// agrees reports whether sigstore-go has read the statement as it was read here.
func (p *proof) agrees(r *verify.VerificationResult) error {
	if got := r.Statement.GetPredicateType(); got != p.predicateType {
		return fmt.Errorf("its statement can be read as of type %q and of type %q", p.predicateType, got)
	}
	return nil
}

// anyOf accepts what one of its verifiers accepts.
type anyOf []signature.Verifier

// acceptedBy gives the algorithms that cosign signs with, for a key that allows of
// several: it hashed with SHA-256 whatever the curve, and does by the curve now; and
// it prehashes for Ed25519 where it signs a message, and not where it signs a
// statement.
func acceptedBy(k *PublicKey) (anyOf, error) {
	pub, err := k.Verifier.PublicKey()
	if err != nil {
		return nil, err
	}
	out := anyOf{k.Verifier}
	add := func(v signature.Verifier, err2 error) {
		out, err = append(out, v), errors.Join(err, err2)
	}
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		add(signature.LoadED25519phVerifier(pub))
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P384():
			add(signature.LoadECDSAVerifier(pub, crypto.SHA384))
		case elliptic.P521():
			add(signature.LoadECDSAVerifier(pub, crypto.SHA512))
		}
	}
	return out, err
}

func (a anyOf) PublicKey(o ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return a[0].PublicKey(o...)
}

func (a anyOf) VerifySignature(sig, message io.Reader, o ...signature.VerifyOption) error {
	s, err := io.ReadAll(sig)
	if err != nil {
		return err
	}
	m, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	for _, v := range a {
		if err = v.VerifySignature(bytes.NewReader(s), bytes.NewReader(m), o...); err == nil {
			return nil
		}
	}
	return err
}
