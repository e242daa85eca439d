package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/layout"
)

// keys make one pair in each form that can sign.
func keys(t *testing.T) map[string]*PrivateKey {
	t.Helper()
	out := map[string]*PrivateKey{}
	private, _, err := GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	out["cosign"] = readPrivate(t, private, "secret")
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out["ecdsa"] = readPrivate(t, pkcs8(t, ec), "")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out["ed25519"] = readPrivate(t, pkcs8(t, ed), "")
	return out
}

func pkcs8(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func readPrivate(t *testing.T, b []byte, password string) *PrivateKey {
	t.Helper()
	k, err := ReadPrivateKey("test.key", b, func() ([]byte, error) {
		if password == "" {
			return nil, errors.New("asked for a password that is not needed")
		}
		return []byte(password), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signIndex(t *testing.T, index string, k *PrivateKey) []byte {
	t.Helper()
	sig, err := SignIndex([]byte(index), k)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestSignedByEachKind(t *testing.T) {
	for name, k := range keys(t) {
		sig := signIndex(t, "the index", k)
		if bytes.Count(sig, []byte("\n")) != 1 || sig[len(sig)-1] != '\n' {
			t.Errorf("%s: it is no line: %q", name, sig)
		}
		got, err := CheckIndex([]byte("the index"), sig, &Signers{Keys: []*PublicKey{k.Public}})
		if err != nil || len(got) != 1 || got[0].State != Verified || got[0].KeyID != k.Public.ID {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		// Without keys nothing is good, and nothing is refused.
		if got, err = CheckIndex([]byte("the index"), sig, nil); err != nil || got[0].State != Unchecked {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each of these is refused where a signature is demanded.
func TestRefusedSignatures(t *testing.T) {
	all := keys(t)
	k, other := all["cosign"], all["ecdsa"]
	sig := string(signIndex(t, "the index", k))
	for name, tt := range map[string]struct {
		signatures string
		class      layout.Class
	}{
		"none":                     {"", layout.ClassSignature},
		"of another key":           {string(signIndex(t, "the index", other)), layout.ClassSignature},
		"of an older index":        {string(signIndex(t, "the older index", k)), layout.ClassSignature},
		"cut":                      {sig[:len(sig)/2], layout.ClassSignature},
		"no JSON":                  {"MEUCIQD", layout.ClassSignature},
		"an empty object":          {"{}", layout.ClassSignature},
		"a list":                   {"[" + sig + "]", layout.ClassSignature},
		"of another version":       {strings.Replace(sig, "v0.3", "v0.9", 1), layout.ClassSignature},
		"of another digest":        {strings.Replace(sig, `"digest":"`, `"digest":"AAAA`, 1), layout.ClassSignature},
		"another key's hint":       {strings.Replace(string(signIndex(t, "the index", other)), other.Public.hint, k.Public.hint, 1), layout.ClassSignature},
		"of an envelope":           {`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":"dGhlIGluZGV4","payloadType":"text/plain","signatures":[{"sig":"AAAA"}]}}`, layout.ClassSignature},
		"a hundred thousand":       {strings.Repeat("{}\n", 100_000), layout.ClassLimit},
		"a hundred thousand, good": {strings.Repeat(sig, 100_000), layout.ClassLimit},
		"one without end":          {`{"mediaType":"` + strings.Repeat("x", MaxSignatureSize) + `"}`, layout.ClassLimit},
	} {
		_, err := CheckIndex([]byte("the index"), []byte(tt.signatures), &Signers{Keys: []*PublicKey{k.Public}})
		if err == nil || layout.ClassOf(err) != tt.class {
			t.Errorf("%s: class %s: %v", name, layout.ClassOf(err), err)
		}
	}
}

func TestThreshold(t *testing.T) {
	all := keys(t)
	a, b, c := all["cosign"], all["ecdsa"], all["ed25519"]
	public := []*PublicKey{a.Public, b.Public}
	for _, tt := range []struct {
		by        []*PrivateKey
		threshold int
		ok        bool
	}{
		{[]*PrivateKey{a}, 0, true},
		{[]*PrivateKey{c, b}, 1, true},
		{[]*PrivateKey{c}, 1, false},
		{[]*PrivateKey{a, c, b}, 2, true},
		{[]*PrivateKey{a, a, a}, 2, false}, // twice the same is one
		{[]*PrivateKey{a, c}, 2, false},
		{[]*PrivateKey{a, b}, 3, false},
	} {
		var sigs [][]byte
		for _, k := range tt.by {
			sigs = append(sigs, signIndex(t, "the index", k))
		}
		got, err := CheckIndex([]byte("the index"), slices.Concat(sigs...), &Signers{Keys: public, Threshold: tt.threshold})
		if (err == nil) != tt.ok || len(got) != len(tt.by) {
			t.Errorf("%d signatures, threshold %d: %v", len(tt.by), tt.threshold, err)
		}
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	private, public, err := GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	password := func(s string, err error) Password { return func() ([]byte, error) { return []byte(s), err } }
	interrupted := errors.New("interrupted")
	for name, tt := range map[string]struct {
		key      []byte
		password Password
	}{
		"another password":   {private, password("guess", nil)},
		"no password":        {private, password("", interrupted)},
		"the public one":     {public, password("secret", nil)},
		"another curve":      {pkcs8(t, p384), nil},
		"RSA":                {pkcs8(t, large), nil},
		"no key":             {[]byte("secret"), nil},
		"cut":                {private[:len(private)-40], password("secret", nil)},
		"as large as a film": {make([]byte, MaxKeySize+1), nil},
	} {
		if _, err := ReadPrivateKey(name, tt.key, tt.password); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"private": private, "two": append(bytes.Clone(public), public...), "nothing": nil, "cut": public[:50],
		"a certificate": bytes.ReplaceAll(public, []byte("PUBLIC KEY"), []byte("CERTIFICATE")),
	} {
		if _, err := ReadPublicKey(name, b); layout.ClassOf(err) != layout.ClassPolicy {
			t.Errorf("%s: %v", name, err)
		}
	}
}
