//go:build interop

package interop

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAge: age decrypts what airdeck encrypts, to the last byte, and airdeck reads what
// age encrypts.
func TestAge(t *testing.T) {
	m := newMachine(t)
	deck, err := filepath.Abs("../../testdata/decks/intro/deck.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"talks.tar.zst", "talks.tar", "talks.tar.gz"} {
		m.airdeck("pack", "-o", form, deck+"=ghcr.io/acme/decks/intro:v1")
	}
	bundle := jsonOf[inspectReport](m, "inspect", "talks.tar").Digest
	for kind, flags := range map[string][]string{"x25519": nil, "pq": {"-pq"}} {
		t.Run(kind, func(t *testing.T) {
			m := &machine{t: t, dir: m.dir, env: m.env}
			key := kind + ".txt"
			m.run("age-keygen", append(flags, "-o", key)...)
			recipient := strings.TrimSpace(string(m.run("age-keygen", "-y", key)))
			for _, form := range []string{"talks.tar.zst", "talks.tar", "talks.tar.gz"} {
				ours, theirs := kind+form+".age", kind+"-by-age-"+form
				m.airdeck("pack", "-o", ours, "--recipient", recipient, form)
				m.sameFile(form, m.run("age", "-d", "-i", key, ours))
				m.run("age", "-r", recipient, "-o", theirs, form)
				m.airdeck("verify", theirs, "--identity", key, "--expect", bundle)
				if d := jsonOf[inspectReport](m, "inspect", theirs, "--identity", key).Digest; d != bundle {
					t.Errorf("%s holds %s, not %s", theirs, d, bundle)
				}
				m.airdeckWith(string(m.run("age", "-r", recipient, form)), 0, "verify", "-", "--identity", key)
			}
		})
	}
	t.Run("passphrase", func(t *testing.T) {
		m := &machine{t: t, dir: m.dir, env: append(m.env, "AGE_PASSPHRASE=ship ahoy", "AIRDECK_PASSPHRASE=ship ahoy")}
		m.airdeck("pack", "-o", "secret.tar.zst.age", "--passphrase", "talks.tar.zst")
		m.sameFile("talks.tar.zst", m.run("age", "-d", "-j", "batchpass", "secret.tar.zst.age"))
		m.run("age", "-e", "-j", "batchpass", "-o", "secret-by-age", "talks.tar.zst")
		m.airdeck("verify", "secret-by-age", "--expect", bundle)
		m.run("age", "-e", "-a", "-j", "batchpass", "-o", "locked.txt", "x25519.txt")
		m.airdeck("verify", "x25519talks.tar.zst.age", "--identity", "locked.txt", "--expect", bundle)
	})
}

// sameFile demands that a file has certain bytes.
func (m *machine) sameFile(name string, got []byte) {
	m.t.Helper()
	want, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		m.t.Errorf("age gives %d bytes that are not the %d of %s", len(got), len(want), name)
	}
}
