package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/mirror"
)

func layoutFlag() cli.Flag {
	return &cli.StringFlag{Name: "layout", EnvVars: []string{"AIRDECK_LAYOUT"}, Usage: "the shared OCI layout `DIR` (default: airdeck/layout in the user's cache directory)"}
}

func tmpdirFlag() cli.Flag {
	return &cli.StringFlag{Name: "tmpdir", Usage: "unpack foreign archives that can't be read at random to `DIR`"}
}

func jobsFlag(usage string) cli.Flag {
	return &cli.IntFlag{
		Name: "jobs", Aliases: []string{"j"}, Usage: usage + " (`N` at once)",
		DefaultText: fmt.Sprintf("%d to move blobs, by the processors to hash them", mirror.DefaultJobs),
	}
}

func layoutDir(c *cli.Context) (string, error) {
	if dir := c.String("layout"); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the layout: %w: name one with --layout", err)
	}
	return filepath.Join(cache, "airdeck", "layout"), nil
}

// openLayout opens the shared layout directory.
func openLayout(ctx context.Context, c *cli.Context, ui *ui) (*layout.Store, error) {
	dir, err := layoutDir(c)
	if err != nil {
		return nil, err
	}
	return layout.OpenStore(ctx, dir, &layout.StoreOptions{Progress: ui.progress()})
}

// registryFlags are those of all commands that speak with registries.
func registryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "username", Aliases: []string{"u"}, Usage: "log in to the registry as `NAME`"},
		&cli.BoolFlag{Name: "password-stdin", Usage: "read the password from standard input"},
		&cli.StringFlag{Name: "ca-file", Usage: "trust the certificates in `FILE` (PEM) as well"},
		&cli.StringFlag{Name: "cert-file", Usage: "the client's certificate in `FILE` (PEM)"},
		&cli.StringFlag{Name: "key-file", Usage: "the client's key in `FILE` (PEM)"},
		&cli.BoolFlag{Name: "insecure-skip-tls-verify", Usage: "accept any certificate"},
		&cli.StringSliceFlag{Name: "plain-http", Usage: "speak HTTP without TLS with `HOST[:PORT]` (repeatable; loopback needs none)"},
	}
}

// stallTimeout is how long a transfer may move no byte; 0 is the default of package
// mirror. Tests don't wait that long.
var stallTimeout time.Duration

// newClient makes a client from the registry flags. hosts are the registries that
// the command speaks with: a user name on the command line is for one of them.
func newClient(c *cli.Context, ui *ui, hosts ...string) (*mirror.Client, error) {
	o := mirror.ClientOptions{
		CAFile: c.String("ca-file"), CertFile: c.String("cert-file"), KeyFile: c.String("key-file"),
		InsecureSkipTLSVerify: c.Bool("insecure-skip-tls-verify"), PlainHTTP: c.StringSlice("plain-http"),
		UserAgent: "airdeck/" + strings.Fields(versionText())[0], StallTimeout: stallTimeout, Progress: ui.progress(),
	}
	cred, err := credential(c)
	if err != nil {
		return nil, err
	}
	if cred != (mirror.Credential{}) {
		for _, h := range hosts[1:] {
			if h != hosts[0] {
				return nil, usagef("--username is for one registry, and this speaks with %s and %s: use airdeck login", hosts[0], h)
			}
		}
		o.Credential, o.CredentialHost = cred, hosts[0]
	}
	return mirror.NewClient(o)
}

func credential(c *cli.Context) (mirror.Credential, error) {
	cred := mirror.Credential{Username: c.String("username")}
	switch {
	case c.Bool("password-stdin"):
		if cred.Username == "" {
			return cred, usagef("--password-stdin needs --username")
		}
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 64<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return cred, fmt.Errorf("read the password: %w", err)
		}
		if cred.Password = strings.TrimRight(line, "\r\n"); cred.Password == "" {
			return cred, usagef("the password on standard input is empty")
		}
	case cred.Username != "":
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return cred, usagef("--username needs a password: give it with --password-stdin")
		}
		fmt.Fprintf(stderr, "password for %s: ", cred.Username)
		b, err := readPassword(c.Context)
		fmt.Fprintln(stderr)
		if err != nil {
			return cred, fmt.Errorf("read the password: %w", err)
		}
		cred.Password = string(b)
	}
	return cred, nil
}

// readPassword reads a line without showing it. If it is interrupted, the
// terminal is left as it was.
func readPassword(ctx context.Context) ([]byte, error) {
	fd := int(os.Stdin.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = term.Restore(fd, state)
		fmt.Fprintln(stderr)
		os.Exit(interrupted())
	})
	defer stop()
	return term.ReadPassword(fd)
}

func parseReference(s string) (layout.Reference, error) {
	ref, err := layout.ParseReference(s)
	if err != nil {
		return ref, usagef("%s", err)
	}
	return ref, nil
}
