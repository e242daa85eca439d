//go:build interop

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The one user of the private registry. The hash is bcrypt's, of cost 4: a
// library that makes it would be a dependency for one line.
const (
	user     = "speaker"
	password = "correct horse 7"
	wrong    = "battery staple 8"
	htpasswd = user + ":$2b$04$airdeckairdeckairdeck.c7dzvnqxAW0JB4ec8/d1TtlWF8uVVHe\n"
)

// startPrivate starts a server with a certificate of a private CA and with basic
// authentication, and gives the file of the CA.
func startPrivate(t *testing.T, program string) (s *server, ca string) {
	t.Helper()
	s = newServer(t, program)
	authority := newCertificate(t, nil)
	leaf := newCertificate(t, authority)
	for name, b := range map[string][]byte{"ca.pem": authority.pem, "cert.pem": leaf.pem, "key.pem": leaf.key, "htpasswd": []byte(htpasswd)} {
		writeFile(t, filepath.Join(s.dir, name), b)
	}
	s.configure(fmt.Sprintf(`  tls: {certificate: %q, key: %q}
auth:
  htpasswd: {realm: interop, path: %q}
`, s.dir+"/cert.pem", s.dir+"/key.pem", s.dir+"/htpasswd"))
	pool := x509.NewCertPool()
	pool.AddCert(authority.cert)
	s.url = "https://" + s.addr
	s.client = &http.Client{Transport: signedIn{&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}}
	s.start()
	return s, filepath.Join(s.dir, "ca.pem")
}

// signedIn lets the test itself in.
type signedIn struct{ http.RoundTripper }

func (s signedIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(user, password)
	return s.RoundTripper.RoundTrip(r)
}

type certificate struct {
	cert     *x509.Certificate
	private  *ecdsa.PrivateKey
	pem, key []byte
}

// newCertificate makes a certificate that signer signs, or a CA without one.
func newCertificate(t *testing.T, signer *certificate) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "airdeck interop"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
	}
	if signer == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		signer = &certificate{cert: template, private: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificate{
		cert, key,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// TestPrivate: TLS with a CA of the house, and a password.
func TestPrivate(t *testing.T) {
	a := startServer(t, debian)
	author := newMachine(t)
	author.airdeck(append([]string{"pack", "-o", "talks.tar.zst"}, author.pushDecks(a)...)...)
	bundle := author.path("talks.tar.zst")
	destinations(t, func(t *testing.T, program string) { private(t, a, bundle, program) })
}

func private(t *testing.T, a *server, bundle, program string) {
	b, ca := startPrivate(t, program)
	m := newMachine(t)
	var said bytes.Buffer
	try := func(code int, stdin string, args ...string) output {
		t.Helper()
		o := m.airdeckWith(stdin, code, args...)
		said.Write(o.stdout)
		said.Write(o.stderr)
		t.Logf("%s: %s", args[0], o.stderr)
		return o
	}
	login := []string{"login", b.addr, "--username", user, "--password-stdin", "--quiet"}
	o := try(1, password+"\n", login...)
	oneLine(t, o.stderr, b.addr, "--ca-file")
	login = append(login, "--ca-file", ca)
	o = try(1, wrong+"\n", login...)
	oneLine(t, o.stderr, b.addr, "refuses the user name or the password")
	o = try(1, "", "mirror", "--quiet", "--ca-file", ca, bundle, b.addr+"/x")
	oneLine(t, o.stderr, b.addr, "airdeck login "+b.addr)
	o = try(1, wrong+"\n", "mirror", "--quiet", "--ca-file", ca, "--username", user, "--password-stdin", bundle, b.addr+"/x")
	oneLine(t, o.stderr, b.addr, "401")
	if w := writes(b.requests()); len(w) != 0 {
		t.Errorf("without the password airdeck sent %v", w)
	}

	try(0, password+"\n", login...)
	try(0, "", "mirror", "--ca-file", ca, bundle, b.addr+"/by/login")
	try(0, "", "logout", b.addr)
	try(1, "", "mirror", "--quiet", "--ca-file", ca, bundle, b.addr+"/by/nobody")
	try(0, password+"\n", "mirror", "--ca-file", ca, "--username", user, "--password-stdin", bundle, b.addr+"/by/flag")
	try(0, password+"\n", "pull", "--ca-file", ca, "--username", user, "--password-stdin", b.addr+"/by/flag/decks/intro:v1", "pulled")
	m.sameSlides("pulled", decks["intro"])
	for _, by := range []string{"by/login", "by/flag"} {
		for _, name := range deckNames() {
			want, got := a.manifest("decks/"+name, "v1"), b.manifest(by+"/decks/"+name, "v1")
			if !bytes.Equal(want, got) {
				t.Errorf("%s/decks/%s is\n%s", by, name, got)
			}
			for _, d := range childrenOf(t, want).blobs() {
				b.blob(by+"/decks/"+name, d.Digest.String())
			}
		}
	}
	for _, p := range []string{password, wrong} {
		for _, secret := range []string{p, base64.StdEncoding.EncodeToString([]byte(user + ":" + p))} {
			if strings.Contains(said.String(), secret) {
				t.Errorf("airdeck shows a password:\n%s", said.String())
			}
		}
	}
}
