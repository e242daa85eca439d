package mirror

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/layout"
)

// writeClientCert makes a certificate that vouches for itself.
func writeClientCert(t *testing.T) (cert, key string, ca []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "airdeck"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	der8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{cert: ca, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, ca
}

func TestClientCertificate(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	cert, key, ca := writeClientCert(t)
	r := registrytest.Start(registrytest.Options{TLS: true, ClientCA: ca})
	defer r.Close()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, r.CA, 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	refs := []layout.Reference{ref(t, r.Host+"/app:v1")}
	// The registry is empty: what answers "not found" has let the client in.
	_, err := f.client(ClientOptions{CAFile: caFile, CertFile: cert, KeyFile: key}).Pull(f.ctx, refs, f.store, nil)
	if layout.ClassOf(err) != layout.ClassMissing {
		t.Errorf("with the certificate: %v", err)
	}
	_, err = f.client(ClientOptions{CAFile: caFile}).Pull(f.ctx, refs, f.store, nil)
	// How the server's refusal arrives is a matter of timing.
	if layout.ClassOf(err) != layout.ClassRemote {
		t.Errorf("without the certificate: %v", err)
	}
	if _, err := NewClient(ClientOptions{CertFile: cert, KeyFile: cert}); err == nil {
		t.Error("a certificate was taken for a key")
	}
}
