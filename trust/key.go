package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/airdeck/airdeck/layout"
)

// MaxKeySize bounds a file with a key, in bytes: RSA keys of 16,384 bits have 13 KB.
const MaxKeySize = 64 << 10

// PublicKey is a key that signatures are checked with.
type PublicKey struct {
	Name     string // where it was read from, for messages
	ID       string // the sha256 of its DER form (PKIX), in hexadecimal
	Verifier signature.Verifier

	hint string // as cosign writes it into a Sigstore bundle
}

// ReadPublicKey reads a public key as cosign writes it: PKIX in PEM, of ECDSA on P-256,
// P-384 or P-521, Ed25519, or RSA.
//
// Error: [layout.ClassPolicy] for what is no such key.
func ReadPublicKey(name string, b []byte) (*PublicKey, error) {
	if len(b) > MaxKeySize {
		return nil, layout.Errorf(layout.ClassLimit, "%s has %d bytes: it is no key", name, len(b))
	}
	if block, rest := pem.Decode(b); block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, layout.Errorf(layout.ClassPolicy, "%s is no single public key in PEM (cosign.pub is one)", name)
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(b)
	if err != nil {
		return nil, layout.Errorf(layout.ClassPolicy, "%s: %w", name, err)
	}
	return newPublicKey(name, key)
}

func newPublicKey(name string, key crypto.PublicKey) (*PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey, *rsa.PublicKey:
	default:
		return nil, layout.Errorf(layout.ClassPolicy, "%s is a key of another kind (%T) than ECDSA, Ed25519 or RSA", name, k)
	}
	// As cosign has it, for all curves.
	verifier, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, layout.Errorf(layout.ClassPolicy, "%s: %w", name, err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, layout.Errorf(layout.ClassPolicy, "%s: %w", name, err)
	}
	sum := sha256.Sum256(der)
	return &PublicKey{name, hex.EncodeToString(sum[:]), verifier, base64.StdEncoding.EncodeToString(sum[:])}, nil
}

// PrivateKey is a key that signs.
type PrivateKey struct {
	Public *PublicKey
	signer signature.Signer
}

// Password gives the password of a private key.
type Password func() ([]byte, error)

// ReadPrivateKey reads a private key: one of cosign's, which is encrypted, or PKCS#8 in
// PEM, of ECDSA on P-256 or Ed25519. password is asked only if there has to be one.
//
// Errors: [layout.ClassSignature] for what is no such key or has another password, and
// that of password.
func ReadPrivateKey(name string, b []byte, password Password) (*PrivateKey, error) {
	if len(b) > MaxKeySize {
		return nil, layout.Errorf(layout.ClassLimit, "%s has %d bytes: it is no key", name, len(b))
	}
	var asked error
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(b, func(bool) (pw []byte, err error) {
		pw, asked = password()
		return pw, asked
	})
	switch {
	case asked != nil:
		return nil, fmt.Errorf("%s: %w", name, asked)
	case err != nil:
		return nil, layout.Errorf(layout.ClassSignature, "%s is no private key that can be read, or has another password: %w", name, err)
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			err = errors.New("its curve is not P-256")
		}
	case ed25519.PrivateKey:
	default:
		err = errors.New("it is neither of ECDSA nor of Ed25519")
	}
	if err != nil {
		return nil, layout.Errorf(layout.ClassSignature, "%s can't sign bundles: %w", name, err)
	}
	signer, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		return nil, layout.Errorf(layout.ClassSignature, "%s: %w", name, err)
	}
	public, err := newPublicKey(name, key.(crypto.Signer).Public())
	if err != nil {
		return nil, err
	}
	return &PrivateKey{public, signer}, nil
}

// GenerateKey makes a key pair of ECDSA on P-256 as cosign does: the private key is
// encrypted with the password.
func GenerateKey(password []byte) (private, public []byte, err error) {
	return cryptoutils.GeneratePEMEncodedECDSAKeyPair(elliptic.P256(), func(bool) ([]byte, error) { return password, nil })
}
