package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/trust"
)

// The secrets of who signs and who encrypts.
const (
	canaryKeyPassword = "canary/k3y p4ss+w0rd~&=%"
	canaryPassphrase  = "canary/p4ss phrase+of~Ada?"
)

// keySite is a folder with keys, and with bundles that are encrypted for them.
type keySite struct {
	*faultSite
	dir     string
	secrets []secret
	age     string // a secret key
	private string // the file of the key that signs
}

func (s *keySite) path(name string) string { return filepath.Join(s.dir, name) }

func newKeySite(t *testing.T) *keySite {
	t.Helper()
	s := &keySite{faultSite: newFaultSite(t), dir: t.TempDir()}
	s.secret("the password of the key", canaryKeyPassword)
	s.secret("the passphrase", canaryPassphrase)
	s.signingKey(t)
	var forKeys []age.Recipient
	for name, kind := range map[string]string{"age.key": "", "ssh.key": "ssh"} {
		text, public, err := newAgeKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecipient(public)
		if err != nil {
			t.Fatal(err)
		}
		forKeys = append(forKeys, r)
		s.write(t, name, []byte(text+"\n"))
		s.write(t, name+".pub", []byte(public+"\n"))
		if block, _ := pem.Decode([]byte(text)); block != nil {
			s.secret("the SSH key", string(block.Bytes))
			continue
		}
		s.age = text
		s.secret("the key of age", text[:len(text)-1])
		s.write(t, "typo.key", []byte(text[:len(text)-1]+"B\n"))
		s.write(t, "locked.key", s.encrypted(t, []byte(text), s.phrase(t)))
	}
	talks, err := os.ReadFile(s.bundle)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "keys.tar.zst.age", s.encrypted(t, talks, forKeys...))
	s.write(t, "phrase.tar.zst.age", s.encrypted(t, talks, s.phrase(t)))
	return s
}

// secret adds one that nobody is to be sent.
func (s *keySite) secret(what, text string) {
	s.secrets = append(s.secrets, secret{what: what, text: text})
}

func (s *keySite) write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(s.path(name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// signingKey makes sign.key, which has a password.
func (s *keySite) signingKey(t *testing.T) {
	t.Helper()
	private, public, err := trust.GenerateKey([]byte(canaryKeyPassword))
	if err != nil {
		t.Fatal(err)
	}
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(private, cryptoutils.StaticPasswordFunc([]byte(canaryKeyPassword)))
	if err != nil {
		t.Fatal(err)
	}
	number, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	s.secret("the key that signs", string(number))
	s.private = string(private)
	lines := strings.Split(strings.TrimSpace(s.private), "\n")
	s.secret("the key that signs, locked", lines[len(lines)-3]) // the first lines are the same in all such files
	s.write(t, "sign.key", private)
	s.write(t, "sign.pub", public)
}

// phrase is a passphrase that costs little to try.
func (s *keySite) phrase(t *testing.T) age.Recipient {
	t.Helper()
	r, err := age.NewScryptRecipient(canaryPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	return r
}

func (s *keySite) encrypted(t *testing.T, b []byte, to ...age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// keyed is a command that needs a secret.
type keyed struct {
	name   string
	args   string // @ stands for the folder of keys, REG for the registry, TALKS for the bundle
	more   []string
	env    string
	code   int
	denied bool                            // by the registry
	used   func(s *keySite, c *cell) error // checks that the secret did what it is for
}

func keyedCommands(s *keySite) []keyed {
	const from, wrongPassword, wrongPhrase = " REG/acme/app:v1 REG/acme/one:v1", "COSIGN_PASSWORD=" + canaryKeyPassword + "!", passphraseVariable + "=" + canaryPassphrase + "!"
	arrived := func(s *keySite, c *cell) error { return s.arrived(c.registry) }
	return []keyed{
		{name: "pack --sign-key", args: "pack -o out.tar.zst --sign-key @/sign.key" + from, used: (*keySite).signed},
		{name: "pack --sign-key, with another password", args: "pack -o out.tar.zst --sign-key @/sign.key" + from, env: wrongPassword, code: exitFailed},
		{name: "sign", args: "sign -o out.sigstore.json --key @/sign.key TALKS"},
		{name: "keygen", args: "keygen out", used: (*keySite).made},
		{name: "pack --passphrase", args: "pack -o out.tar.zst.age --passphrase" + from, used: (*keySite).opened},
		{name: "pack from one to another", args: "pack -o out.tar.zst.age --recipients-file @/age.key.pub --identity @/ssh.key @/keys.tar.zst.age", used: (*keySite).opened},
		{name: "verify --identity", args: "verify --identity @/age.key @/keys.tar.zst.age"},
		{name: "verify --identity, of SSH", args: "verify --identity @/ssh.key @/keys.tar.zst.age"},
		{name: "verify --identity, locked", args: "verify --identity @/locked.key @/keys.tar.zst.age"},
		{name: "verify with a passphrase", args: "verify @/phrase.tar.zst.age"},
		{name: "verify with another passphrase", args: "verify @/phrase.tar.zst.age", env: wrongPhrase, code: exitFailed},
		{name: "verify --identity, locked with another passphrase", args: "verify --identity @/locked.key @/keys.tar.zst.age", env: wrongPhrase, code: exitFailed},
		{name: "unpack", args: "unpack --identity @/age.key @/keys.tar.zst.age out"},
		{name: "mirror --identity", args: "mirror --report report.json --identity @/age.key @/keys.tar.zst.age REG", used: arrived},
		{name: "mirror with a passphrase", args: "mirror @/phrase.tar.zst.age REG", used: arrived},
		{name: "mirror --identity, locked, in vain", args: "mirror --identity @/locked.key @/keys.tar.zst.age REG", denied: true, code: exitFailed},
		{name: "compare", args: "compare --identity @/age.key @/keys.tar.zst.age REG"},
		{name: "verify --identity, with a typing error", args: "verify --identity @/typo.key @/keys.tar.zst.age", code: exitUsage},
		{name: "pack for a secret key", args: "pack -o out.tar.zst.age --recipients-file @/age.key" + from, code: exitUsage},
		{name: "pack --recipient with a secret key", args: "pack -o out.tar.zst.age" + from, more: []string{"--recipient", s.age}, code: exitUsage},
		{name: "pack --recipient with all of a file", args: "pack -o out.tar.zst.age" + from, more: []string{"--recipient", "# created\n" + s.age}, code: exitUsage},
		{name: "verify --identity with a key for a file", args: "verify @/keys.tar.zst.age", more: []string{"--identity", s.age}, code: exitUsage},
		{name: "verify --key with a key for a file", args: "verify TALKS", more: []string{"--key=" + s.private}, code: exitUsage},
		{name: "sign --key with a key for a file", args: "sign -o out.sigstore.json TALKS", more: []string{"--key=" + s.private}, code: exitUsage},
	}
}

// The secrets of who signs, encrypts and decrypts go nowhere, however the command ends:
// not into output or files, what is encrypted included, and not to a registry.
func TestKeyCanaries(t *testing.T) {
	if testing.Short() {
		t.Skip("most of it is deriving keys, each in one goroutine")
	}
	t.Parallel()
	s := newKeySite(t)
	var jobs []func()
	for _, k := range keyedCommands(s) {
		formats := []string{"", "--json"}
		if strings.Contains(k.args, "--passphrase") {
			formats = formats[:1] // age takes a second to make a key of one, and as long to open it
		}
		for _, format := range formats {
			jobs = append(jobs, func() {
				if err := s.run(t, k, format); err != nil {
					t.Errorf("%s %s: %v", k.name, format, err)
				}
			})
		}
	}
	atOnce(4, jobs)
}

func (s *keySite) run(t *testing.T, k keyed, format string) error {
	r := s.beside(touring{empty: strings.HasPrefix(k.name, "mirror")}, siteOptions)
	defer r.Close()
	c := newCell(t, s.faultSite, r)
	defer c.remove()
	c.secrets = append(c.secrets, s.secrets...)
	c.env = []string{"COSIGN_PASSWORD=" + canaryKeyPassword, passphraseVariable + "=" + canaryPassphrase}
	if k.env != "" {
		c.env = append(c.env, k.env) // the last counts
	}
	if k.denied {
		r.Fail(registrytest.Fault{Status: 403, Code: "DENIED"})
	}
	args := strings.Fields(k.args + " " + format)
	for i, a := range args {
		args[i] = strings.NewReplacer("@", s.dir, "REG", r.Host, "TALKS", s.bundle).Replace(a)
	}
	got := c.run(append(args, k.more...), "")
	if got.code != k.code {
		return fmt.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	var err error
	if k.used != nil {
		err = k.used(s, c)
	}
	return errors.Join(err, c.hunt(got))
}

// signed checks that a bundle is signed with the key.
func (s *keySite) signed(c *cell) error {
	if got := c.run([]string{"verify", "--key", s.path("sign.pub"), "out.tar.zst"}, ""); got.code != exitDone {
		return errors.New(got.stderr)
	}
	return nil
}

// made checks that a new key has the password.
func (s *keySite) made(c *cell) error {
	b, err := os.ReadFile(c.path("out.key"))
	if err == nil {
		_, err = trust.ReadPrivateKey("out.key", b, func() ([]byte, error) { return []byte(canaryKeyPassword), nil })
	}
	return err
}

// opened decrypts a bundle, so that what is in it is looked through.
func (s *keySite) opened(c *cell) error {
	keys, err := os.Open(s.path("age.key"))
	if err != nil {
		return err
	}
	defer keys.Close()
	ids, err := age.ParseIdentities(keys)
	if err != nil {
		return err
	}
	phrase, err := age.NewScryptIdentity(canaryPassphrase)
	if err != nil {
		return err
	}
	in, err := os.Open(c.path("out.tar.zst.age"))
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := age.Decrypt(in, append(ids, phrase)...)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(c.path("out.tar.zst"), b, 0o600)
}
