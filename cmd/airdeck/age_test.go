package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"os"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/rogpeppe/go-internal/testscript"
)

// key NAME [pq|ssh] makes a key in NAME, whose recipient is in $NAME and in NAME.pub.
func cmdKey(ts *testscript.TestScript, _ bool, args []string) {
	kind := ""
	if len(args) > 1 {
		kind = args[1]
	}
	secret, public, err := newAgeKey(kind)
	ts.Check(err)
	ts.Setenv(args[0], public)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(secret+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), []byte("# "+args[0]+"\n"+public+"\n"), 0o644))
}

func newAgeKey(kind string) (secret, public string, err error) {
	switch kind {
	case "pq":
		k, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", err
		}
		return k.String(), k.Recipient().String(), nil
	case "ssh":
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", "", err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return "", "", err
		}
		// RFC 8709, 4: the name of the algorithm, and the key, each with its length.
		var wire []byte
		for _, s := range []string{"ssh-ed25519", string(pub)} {
			wire = append(binary.BigEndian.AppendUint32(wire, uint32(len(s))), s...)
		}
		secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		return string(secret), "ssh-ed25519 " + base64.StdEncoding.EncodeToString(wire), nil
	}
	k, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return k.String(), k.Recipient().String(), nil
}

// lock FILE PASSPHRASE [armor] encrypts a file with a passphrase that costs little to
// try.
func cmdLock(ts *testscript.TestScript, _ bool, args []string) {
	r, err := age.NewScryptRecipient(args[1])
	ts.Check(err)
	r.SetWorkFactor(10)
	in, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	var out bytes.Buffer
	var to io.WriteCloser = nopCloser{&out}
	if len(args) > 2 {
		to = armor.NewWriter(&out)
	}
	w, err := age.Encrypt(to, r)
	ts.Check(err)
	_, err = w.Write(in)
	ts.Check(errors.Join(err, w.Close(), to.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
