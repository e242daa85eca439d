package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

func signatureFile(name string) string { return name + ".sigstore.json" }

// readSmall reads a file of at most limit bytes.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, err
}

func signCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "sign",
		Usage:     "sign a bundle with a key, beside it",
		ArgsUsage: "BUNDLE --key FILE",
		Description: "The signature is one of index.json, which pins every byte of every artifact. It is added to\n" +
			"BUNDLE.sigstore.json, where verify and mirror find it; the bundle is not touched. It can be made\n" +
			"where the key is: cosign verify-blob knows it too. airdeck verify checks what is signed.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "key", Usage: "the private key in `FILE` (cosign.key, or PKCS#8 in PEM); its password is asked for, or in COSIGN_PASSWORD"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "add the signature to `FILE` instead"},
			expectFlag(), tmpdirFlag(), jobsFlag("hash in parallel"),
		},
	}, 1, 1, sign)
}

// signed is the result of sign.
type signed struct {
	File  string `json:"file"`
	KeyID string `json:"keyID"`
	*bundle.Report
}

func sign(ctx context.Context, c *cli.Context, ui *ui) error {
	if c.String("key") == "" {
		return usagef("with which key? --key FILE (airdeck keygen makes one)")
	}
	key, err := privateKey(ctx, c.String("key"))
	if err != nil {
		return err
	}
	// Nobody wants to have signed what is damaged.
	v, rep, closeBundle, err := openWith(ctx, c, ui, c.Args().First(), nil, nil, (*bundle.Reader).Verify)
	if err != nil {
		return err
	}
	defer closeBundle()
	line, err := trust.SignIndex(v.RawIndex(), key)
	if err != nil {
		return err
	}
	file := c.String("output")
	if file == "" {
		file = signatureFile(c.Args().First())
	}
	if err := addSignature(ctx, file, line); err != nil {
		return err
	}
	return ui.result(signed{file, key.Public.ID, rep}, func(p func(string, ...any)) {
		p("%s: signed by key sha256:%s", oneLine(file), key.Public.ID)
		p("bundle %s", rep.Digest)
	})
}

// signKeys reads the keys that pack signs with.
func signKeys(ctx context.Context, c *cli.Context) ([]*trust.PrivateKey, error) {
	var keys []*trust.PrivateKey
	for _, file := range c.StringSlice("sign-key") {
		k, err := privateKey(ctx, file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// attachSignatures has a bundle hold its signatures.
func attachSignatures(ready *bundle.Prepared, keys []*trust.PrivateKey) error {
	var all []byte
	for _, k := range keys {
		line, err := trust.SignIndex(ready.RawIndex(), k)
		if err != nil {
			return err
		}
		all = append(all, line...)
	}
	if all == nil {
		return nil
	}
	return ready.Attach(all)
}

// addSignature adds a line to a file, which is whole at every moment. Where the system
// has locks for folders, who signs at the same time waits.
func addSignature(ctx context.Context, file string, line []byte) error {
	_, done, err := turnAt(ctx, disk.OS, file)
	if err != nil {
		return err
	}
	defer done()
	lines, err := readSmall(file, bundle.MaxSignatures)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		lines = append(lines, '\n')
	}
	if len(lines)+len(line) > bundle.MaxSignatures {
		return layout.Errorf(layout.ClassLimit, "%s is full: it may have %d bytes", file, bundle.MaxSignatures)
	}
	out, err := layout.CreateOutput(file)
	if err != nil {
		return err
	}
	defer out.Close()
	lines = append(lines, line...)
	out.Expect(int64(len(lines)), int64(len(lines)))
	if _, err := out.Write(lines); err != nil {
		return err
	}
	return out.Commit()
}

// turnAt opens the folder of a file when it is our turn with it. done ends both.
func turnAt(ctx context.Context, system disk.System, file string) (dir disk.Dir, done func(), err error) {
	if dir, err = system.OpenDir(filepath.Dir(file), false); err != nil {
		return nil, nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	next, err := disk.Turn(ctx, dir)
	if err != nil {
		dir.Close()
		return nil, nil, err
	}
	return dir, func() { next(); dir.Close() }, nil
}

func privateKey(ctx context.Context, file string) (*trust.PrivateKey, error) {
	if err := checkKeyFile("the key", file); err != nil {
		return nil, err
	}
	b, err := readSmall(file, trust.MaxKeySize)
	if err != nil {
		return nil, usagef("the key: %s", err)
	}
	return trust.ReadPrivateKey(file, b, func() ([]byte, error) { return keyPassword(ctx, "password for "+oneLine(file)+": ") })
}

// keyPassword is that of a private key, from where cosign has it.
func keyPassword(ctx context.Context, prompt string) ([]byte, error) {
	if pw, ok := os.LookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(pw), nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, usagef("the key needs a password, and there is no terminal to ask for it: set COSIGN_PASSWORD")
	}
	fmt.Fprint(stderr, prompt)
	b, err := readPassword(ctx)
	fmt.Fprintln(stderr)
	return b, err
}

func keygenCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "keygen",
		Usage:       "make a key pair to sign bundles with, as cosign does",
		ArgsUsage:   "[PREFIX]",
		Description: "PREFIX.key is the private key, encrypted with a password that is asked for or in COSIGN_PASSWORD,\nand PREFIX.pub the public one; the default is airdeck. cosign reads both.",
	}, 0, 1, keygen)
}

func keygen(ctx context.Context, c *cli.Context, ui *ui) error {
	prefix := c.Args().First()
	if prefix == "" {
		prefix = "airdeck"
	}
	keyFile, pubFile := prefix+".key", prefix+".pub"
	if err := absentKeys(disk.OS, keyFile, pubFile); err != nil {
		return err
	}
	pw, err := newPassword(ctx)
	if err != nil {
		return err
	}
	private, public, err := trust.GenerateKey(pw)
	if err != nil {
		return err
	}
	key, err := trust.ReadPublicKey(pubFile, public)
	if err != nil {
		return err
	}
	if err := writeKeys(ctx, disk.OS, keyFile, private, pubFile, public); err != nil {
		return err
	}
	res := map[string]string{"privateKey": keyFile, "publicKey": pubFile, "keyID": key.ID}
	return ui.result(res, func(p func(string, ...any)) {
		p("%s and %s: key sha256:%s", oneLine(keyFile), oneLine(pubFile), key.ID)
	})
}

// absentKeys refuses to write over a key.
func absentKeys(system disk.System, keyFile, pubFile string) error {
	dir, err := system.OpenDir(filepath.Dir(keyFile), false)
	if err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	defer dir.Close()
	for _, f := range []string{keyFile, pubFile} {
		_, err := dir.Stat(filepath.Base(f), false)
		switch {
		case err == nil:
			return fmt.Errorf("%s: %w: name another prefix", f, layout.ErrExists)
		case !errors.Is(err, fs.ErrNotExist):
			return layout.Errorf(layout.ClassLocal, "%w", err)
		}
	}
	return nil
}

// writeKeys writes both files of a pair, or none. Who is killed in between has a public
// key of nobody's, and never a private key without its public one.
func writeKeys(ctx context.Context, system disk.System, keyFile string, private []byte, pubFile string, public []byte) error {
	dir, done, err := turnAt(ctx, system, keyFile)
	if err != nil {
		return err
	}
	defer done()
	// Somebody may have made a pair while the password was asked for.
	if err := absentKeys(system, keyFile, pubFile); err != nil {
		return err
	}
	key, err := newKeyFile(system, keyFile, private, (*layout.Output).Restrict)
	if err != nil {
		return err
	}
	defer key.Close()
	pub, err := newKeyFile(system, pubFile, public, nil)
	if err != nil {
		return err
	}
	defer pub.Close()
	if err = pub.Commit(); err == nil {
		err = key.Commit()
	}
	if err != nil {
		// They may have their names, and not be on the disk for certain.
		_ = dir.Remove(filepath.Base(keyFile))
		_ = dir.Remove(filepath.Base(pubFile))
	}
	return err
}

// newKeyFile writes a file that is still to be committed.
func newKeyFile(system disk.System, name string, b []byte, protect func(*layout.Output) error) (*layout.Output, error) {
	out, err := layout.CreateOutputOn(system, name)
	if err != nil {
		return nil, err
	}
	out.Expect(int64(len(b)), int64(len(b)))
	if protect != nil {
		err = protect(out)
	}
	if err == nil {
		_, err = out.Write(b)
	}
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// newPassword asks twice.
func newPassword(ctx context.Context) ([]byte, error) {
	pw, err := keyPassword(ctx, "password for the private key: ")
	if _, ok := os.LookupEnv("COSIGN_PASSWORD"); ok || err != nil {
		return pw, err
	}
	again, err := keyPassword(ctx, "once more: ")
	if err == nil && !bytes.Equal(pw, again) {
		err = usagef("these were two passwords")
	}
	return pw, err
}
