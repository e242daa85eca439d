package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
)

// passphraseVariable gives a passphrase where nobody sits at a terminal.
const passphraseVariable = "AIRDECK_PASSPHRASE"

func recipientFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "recipient", Usage: "encrypt the bundle for `KEY`: age1…, ssh-ed25519 … or ssh-rsa … (repeatable)"},
		&cli.StringSliceFlag{Name: "recipients-file", Usage: "encrypt the bundle for the keys in `FILE`, one a line; # begins a comment (repeatable)"},
		&cli.BoolFlag{Name: "passphrase", Usage: "encrypt the bundle with a passphrase, from the terminal or from " + passphraseVariable},
	}
}

func identityFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "identity", Usage: "decrypt what is encrypted with the keys in `FILE`, of age or of SSH (repeatable)"}
}

// recipients are those for whom pack encrypts, which the name of the output must say.
func recipients(c *cli.Context, out string) ([]age.Recipient, error) {
	keys, files, secret := c.StringSlice("recipient"), c.StringSlice("recipients-file"), c.Bool("passphrase")
	some := len(keys)+len(files) > 0
	encrypted := some || secret
	switch {
	case some && secret:
		return nil, usagef("--passphrase goes without --recipient and --recipients-file: age has it alone")
	case encrypted && out != "-" && !strings.HasSuffix(out, ".age"):
		return nil, usagef("the name of an encrypted bundle ends in .age: -o %s.age", out)
	case !encrypted && strings.HasSuffix(out, ".age"):
		return nil, usagef("%s is to be encrypted, but for whom? --recipient KEY, --recipients-file FILE or --passphrase", out)
	case !encrypted:
		return nil, nil
	case secret:
		return newPassphrase(c.Context, out)
	}
	var all []age.Recipient
	for _, k := range keys {
		r, err := parseRecipient(k)
		if err != nil {
			return nil, usagef("--recipient: %s", err)
		}
		all = append(all, r)
	}
	for _, f := range files {
		more, err := readRecipients(f)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	if len(all) > bundle.MaxRecipients {
		return nil, usagef("%d recipients: there can be %d", len(all), bundle.MaxRecipients)
	}
	// Not all can stand beside each other, and that is known before the work.
	if _, err := age.Encrypt(io.Discard, all...); err != nil {
		return nil, usagef("%s", err)
	}
	return all, nil
}

func parseRecipient(s string) (age.Recipient, error) {
	if hasSecretKey(s) {
		return nil, errors.New("this is a secret key: a recipient is the public one, such as age-keygen -y shows it")
	}
	if strings.HasPrefix(s, "ssh-") {
		return agessh.ParseRecipient(s)
	}
	rs, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil || len(rs) != 1 {
		return nil, fmt.Errorf("%q is no key that age knows: it begins with age1, ssh-ed25519 or ssh-rsa", s)
	}
	return rs[0], nil
}

// hasSecretKey reports whether a text that was given has a secret key in it, as it has
// where somebody gives what is in a file and not its name. No message may show it.
func hasSecretKey(s string) bool {
	return strings.Contains(s, "AGE-SECRET-KEY-") || strings.Contains(s, "AGE-PLUGIN-") || strings.Contains(s, "-----BEGIN")
}

// checkKeyFile refuses a key in the place of the name of its file.
func checkKeyFile(flag, name string) error {
	if hasSecretKey(name) {
		return usagef("%s: this is a secret key: name the file that has it", flag)
	}
	return nil
}

// readRecipients reads keys as age does: one a line, without empty lines and comments.
func readRecipients(name string) ([]age.Recipient, error) {
	if err := checkKeyFile("--recipients-file", name); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("--recipients-file: %s", err)
	}
	defer f.Close()
	var all []age.Recipient
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// What age says of a key may have the key in it, and a file may be the wrong one.
		r, err := parseRecipient(line)
		if err != nil {
			return nil, usagef("--recipients-file %s: line %d is no key that age knows: it begins with age1, ssh-ed25519 or ssh-rsa", name, n)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(all) == 0 {
		return nil, usagef("--recipients-file %s: there is no key in it", name)
	}
	return all, nil
}

// newPassphrase asks for a passphrase twice.
func newPassphrase(ctx context.Context, out string) ([]age.Recipient, error) {
	text, err := askPassphrase(ctx, out)
	if err != nil {
		return nil, err
	}
	if os.Getenv(passphraseVariable) == "" {
		again, err := askPassphrase(ctx, out+", again")
		if err != nil {
			return nil, err
		}
		if again != text {
			return nil, usagef("these are two passphrases: nothing was packed")
		}
	}
	r, err := age.NewScryptRecipient(text)
	return []age.Recipient{r}, err
}

// askPassphrase takes a passphrase from the environment, or from a terminal.
func askPassphrase(ctx context.Context, what string) (string, error) {
	if text := os.Getenv(passphraseVariable); text != "" {
		return text, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", usagef("%s takes a passphrase: set %s, or run this on a terminal", what, passphraseVariable)
	}
	fmt.Fprintf(stderr, "passphrase for %s: ", oneLine(what))
	b, err := readPassword(ctx)
	fmt.Fprintln(stderr)
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	if len(b) == 0 {
		return "", usagef("the passphrase is empty")
	}
	return string(b), nil
}

// keyring is what a command has to decrypt a bundle.
type keyring struct {
	identities []age.Identity
	given      bool   // --identity was
	text       string // the passphrase, when it has been asked for
}

// newKeyring reads the keys that the flags name. A passphrase is asked for when it is
// needed.
func newKeyring(ctx context.Context, c *cli.Context, name string) (*keyring, error) {
	files := c.StringSlice("identity")
	k := &keyring{given: len(files) > 0}
	for _, f := range files {
		ids, err := readIdentities(ctx, f)
		if err != nil {
			return nil, err
		}
		k.identities = append(k.identities, ids...)
	}
	k.identities = append(k.identities, bundle.Passphrase(func() (_ string, err error) {
		if k.text == "" {
			k.text, err = askPassphrase(ctx, name)
		}
		return k.text, err
	}))
	return k, nil
}

// explain says which flag is missing.
func (k *keyring) explain(name string, err error) error {
	if errors.Is(err, layout.ErrEncrypted) && !k.given && k.text == "" {
		return usagef("%s is encrypted with age: name the file that has your key with --identity FILE", name)
	}
	return err
}

// verifyStream verifies what is read in sequence, with the keys that the flags name.
func verifyStream(ctx context.Context, c *cli.Context, name string, r io.Reader, o *bundle.VerifyOptions) (*bundle.Report, error) {
	keys, err := newKeyring(ctx, c, name)
	if err != nil {
		return nil, err
	}
	o.Identities, o.Progress = keys.identities, limitStream(o.Progress)
	rep, err := bundle.VerifyStream(ctx, r, o)
	return rep, keys.explain(name, err)
}

// maxIdentities is more than a file of keys has, in bytes: what is larger is another.
const maxIdentities = 1 << 20

// readIdentities reads a file of age's, which may be encrypted itself, or an SSH key.
func readIdentities(ctx context.Context, name string) ([]age.Identity, error) {
	if err := checkKeyFile("--identity", name); err != nil {
		return nil, err
	}
	b, err := readSmall(name, maxIdentities)
	if err != nil {
		return nil, usagef("--identity: %s", err)
	}
	text := bytes.TrimSpace(b)
	switch {
	case bytes.HasPrefix(text, []byte(armor.Header)):
		return []age.Identity{&lockedKeys{ctx: ctx, name: name, file: armor.NewReader(bytes.NewReader(text))}}, nil
	case bytes.HasPrefix(text, []byte("age-encryption.org/")):
		return []age.Identity{&lockedKeys{ctx: ctx, name: name, file: bytes.NewReader(b)}}, nil
	case bytes.HasPrefix(text, []byte("-----BEGIN")):
		id, err := agessh.ParseIdentity(b)
		if err != nil {
			return nil, usagef("--identity %s: %s (SSH keys with a passphrase are not read: keys of age may have one)", name, err)
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(bytes.NewReader(b))
	if err != nil {
		return nil, usagef("--identity %s: %s", name, err)
	}
	return ids, nil
}

// lockedKeys is a file of keys that is encrypted with a passphrase. It is asked for
// when an encrypted bundle comes.
type lockedKeys struct {
	ctx  context.Context // of the one run
	name string
	file io.Reader
	keys []age.Identity
}

// Unwrap implements [age.Identity].
func (l *lockedKeys) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if l.keys == nil {
		r, err := age.Decrypt(l.file, bundle.Passphrase(func() (string, error) { return askPassphrase(l.ctx, l.name) }))
		if err == nil {
			l.keys, err = age.ParseIdentities(r)
		}
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			err = errors.New("the passphrase is wrong")
		}
		if err != nil {
			return nil, layout.Errorf(layout.ClassLocal, "--identity %s: %w", l.name, err)
		}
	}
	for _, k := range l.keys {
		if key, err := k.Unwrap(stanzas); !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}
