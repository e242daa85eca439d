package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// secret is what a command knows, and shows to nobody but its owner.
type secret struct {
	what, text string
	owner      string // where it may be found; "" is nowhere
}

// Where secrets are looked for beside output and files.
const (
	toRegistry  = "the requests to the registry"
	toSource    = "the requests to the other registry"
	toElsewhere = "the requests to elsewhere"
)

// canaries are the secrets of all hosts. Elsewhere is not asked in its own name, so that
// it is sent not even those that are kept for it.
func canaries() []secret {
	var out []secret
	for _, of := range []struct {
		whose, owner string
		canary
	}{
		{"of the registry", toRegistry, homeCanary},
		{"of the other registry", toSource, sourceCanary},
		{"of elsewhere", "", elsewhereCanary},
		{"of a registry that is not asked", "", idleCanary},
	} {
		out = append(out,
			secret{"the user name " + of.whose, of.user, of.owner}, secret{"the password " + of.whose, of.password, of.owner},
			secret{"the token " + of.whose, of.token, of.owner}, secret{"the identity token " + of.whose, of.identity, of.owner})
	}
	return out
}

// hunt looks for the secrets in all that a command wrote, and in what the hosts were
// sent: each may be sent its own, and elsewhere those that it is led to.
func (c *cell) hunt(r ran, led ...string) error {
	texts, err := c.written()
	texts["standard output"], texts["standard error"] = []byte(r.stdout), []byte(r.stderr)
	texts[toRegistry], texts[toSource], texts[toElsewhere] = c.registry.Traffic.Bytes(), c.source.Traffic.Bytes(), c.elsewhere.Traffic.Bytes()
	for where, text := range texts {
		for _, s := range c.secrets {
			if where == s.owner || where == toElsewhere && slices.Contains(led, s.text) {
				continue
			}
			if form := registrytest.FindSecret(text, s.text); form != "" {
				err = errors.Join(err, fmt.Errorf("%s is in %s, %s", s.what, where, form))
			}
		}
	}
	return err
}

// written are the files of a cell but for the Docker configuration, and what is in those
// that are compressed.
func (c *cell) written() (map[string][]byte, error) {
	texts := map[string][]byte{}
	err := filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Dir(name) == c.path(".docker") {
			return err
		}
		b, err := os.ReadFile(name)
		texts[name] = b
		if err == nil && strings.HasSuffix(name, ".zst") {
			var d *zstd.Decoder
			if d, err = zstd.NewReader(bytes.NewReader(b)); err == nil {
				texts[name+", decompressed"], err = io.ReadAll(d)
			}
		}
		return err
	})
	return texts, err
}
