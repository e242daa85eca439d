package trust_test

import (
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

func TestReadPolicy(t *testing.T) {
	k, other := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P384())
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"policy.yaml": []byte(`
trustedRoot: roots/trusted_root.json
bundle:
  keys: [keys/k.pub, keys/other.pub]
  threshold: 2
rules:
  - match: ghcr.io/acme/**
    keys: keys/k.pub
    identities:
      - issuer: https://token.actions.githubusercontent.com
        subjectRegexp: https://github\.com/acme/.*
    threshold: 1
    attestations:
      - https://slsa.dev/provenance/v1
      - type: https://spdx.dev/Document
        keys: [keys/other.pub]
    unsigned: deny
  - match: "**"
    unsigned: warn
`),
		"keys/k.pub": k.pem, "keys/other.pub": other.pem, "roots/trusted_root.json": newAuthority(t).root,
	} {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The files are found from the policy, wherever the program runs.
	t.Chdir(t.TempDir())
	p, err := trust.ReadPolicy(filepath.Join(dir, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if b := p.Bundle; b == nil || b.Threshold != 2 || len(b.Keys) != 2 || b.Keys[0].Name != "keys/k.pub" || b.Keys[0].ID == b.Keys[1].ID {
		t.Errorf("bundle: %+v", p.Bundle)
	}
}

// places finds what an error says of where it is.
var places = regexp.MustCompile(`line \d+: `)

func TestReadPolicyErrors(t *testing.T) {
	authority := newAuthority(t)
	k := ecdsaKey(t, elliptic.P256())
	files := map[string][]byte{
		"k.pub": k.pem, "same.pub": k.pem, "root.json": authority.root, "x.txt": []byte("x"),
		"empty.json":  []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`),
		"huge.pub":    make([]byte, trust.MaxKeySize+1),
		"private.pub": []byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----\n"),
	}
	const (
		rule  = "rules:\n- match: '**'\n  keys: k.pub\n"
		root  = "trustedRoot: root.json\n"
		names = root + "rules:\n- match: '**'\n  identities:\n  - "
	)
	for name, tc := range map[string]struct {
		text  string
		class layout.Class
		want  string
	}{
		"empty":                    {"", layout.ClassPolicy, "empty"},
		"comments only":            {"# nothing\n", layout.ClassPolicy, "empty"},
		"syntax":                   {"rules: [\n", layout.ClassJSON, "line "},
		"not a map":                {"- x\n", layout.ClassJSON, "line 1: a policy must be a map"},
		"says nothing":             {root, layout.ClassPolicy, "it says nothing"},
		"second document":          {rule + "---\n" + rule, layout.ClassTrailing, "line "},
		"unknown key":              {rule + "rule: x\n", layout.ClassJSON, `line 4: unknown key "rule"`},
		"key in another case":      {"Rules: []\n", layout.ClassJSON, `line 1: unknown key "Rules"`},
		"duplicate key":            {rule + rule, layout.ClassDuplicate, `line 4: key "rules" stands in line 1`},
		"duplicate key in a rule":  {rule + "  keys: k.pub\n", layout.ClassDuplicate, `line 4: key "keys" stands in line 3`},
		"alias":                    {"rules:\n- &a\n  match: '**'\n  keys: k.pub\n- *a\n", layout.ClassJSON, `line 5: "*a" is an alias`},
		"merge":                    {rule + "  <<: {unsigned: allow}\n", layout.ClassJSON, "line 4"},
		"rules a map":              {"rules: {}\n", layout.ClassJSON, "line 1: rules must be a list"},
		"rules empty":              {"rules: []\n", layout.ClassJSON, "line 1: rules must be a list"},
		"rules null":               {"rules:\n", layout.ClassJSON, "line 1: rules must be a list"},
		"rule a text":              {"rules:\n- x\n", layout.ClassJSON, "line 2: a rule must be a map"},
		"unknown key in a rule":    {rule + "  key: k.pub\n", layout.ClassJSON, `line 4: unknown key "key"`},
		"no match":                 {"rules:\n- keys: k.pub\n", layout.ClassPolicy, "line 2: the rule has no match"},
		"match a number":           {"rules:\n- match: 5\n  keys: k.pub\n", layout.ClassJSON, "line 2: an item of match must be one text"},
		"match empty":              {"rules:\n- match: ''\n  keys: k.pub\n", layout.ClassJSON, "line 2: an item of match is empty"},
		"match of one part":        {"rules:\n- match: acme\n  keys: k.pub\n", layout.ClassPolicy, `line 2: "acme" is no pattern`},
		"match with a tag":         {"rules:\n- match: ghcr.io/acme/app:v1\n  keys: k.pub\n", layout.ClassPolicy, "leave the tag"},
		"match with a digest":      {"rules:\n- match: ghcr.io/acme/app@sha256\n  keys: k.pub\n", layout.ClassPolicy, "leave the tag"},
		"match with ** inside":     {"rules:\n- match: ghcr.io/**/app\n  keys: k.pub\n", layout.ClassPolicy, "** must be its last component"},
		"match with **x":           {"rules:\n- match: ghcr.io/acme/**x\n  keys: k.pub\n", layout.ClassPolicy, "** must be its last component"},
		"match with ?":             {"rules:\n- match: ghcr.io/acme/a?\n  keys: k.pub\n", layout.ClassPolicy, "only * and **"},
		"match with an empty part": {"rules:\n- match: ghcr.io//app\n  keys: k.pub\n", layout.ClassPolicy, "none may be empty"},
		"match twice":              {"rules:\n- match: [a.io/x, A.io/x]\n  keys: k.pub\n", layout.ClassDuplicate, "two places"},
		"never reached":            {rule + "- match: ghcr.io/acme/**\n  keys: k.pub\n", layout.ClassPolicy, "comes after"},
		"names nobody":             {"rules:\n- match: '**'\n", layout.ClassPolicy, "line 2: the rule names nobody"},
		"nobody to deny":           {"rules:\n- match: '**'\n  unsigned: deny\n", layout.ClassPolicy, "line 2: the rule names nobody"},
		"unsigned":                 {rule + "  unsigned: maybe\n", layout.ClassJSON, `line 4: unsigned is "maybe"`},
		"unsigned a bool":          {rule + "  unsigned: true\n", layout.ClassJSON, "line 4: unsigned must be one text"},
		"no such key":              {"rules:\n- match: '**'\n  keys: none.pub\n", layout.ClassLocal, "line 3: "},
		"key that is none":         {"rules:\n- match: '**'\n  keys: x.txt\n", layout.ClassPolicy, "line 3: x.txt"},
		"private key":              {"rules:\n- match: '**'\n  keys: private.pub\n", layout.ClassPolicy, "line 3: private.pub"},
		"huge key":                 {"rules:\n- match: '**'\n  keys: huge.pub\n", layout.ClassLimit, "line 3"},
		"keys a map":               {"rules:\n- match: '**'\n  keys: {a: k.pub}\n", layout.ClassJSON, "line 3: keys must be a list"},
		"keys empty":               {"rules:\n- match: '**'\n  keys: []\n", layout.ClassJSON, "line 3: keys must be a list"},
		"key twice":                {"rules:\n- match: '**'\n  keys:\n  - k.pub\n  - same.pub\n", layout.ClassDuplicate, "line 5: same.pub is the same key as k.pub"},
		"too many keys":            {"rules:\n- match: '**'\n  keys:\n" + strings.Repeat("  - k.pub\n", trust.MaxSigners+1), layout.ClassLimit, "over the limit"},
		"too many rules":           {"rules:\n" + strings.Repeat("- {match: '**', keys: k.pub}\n", trust.MaxRules+1), layout.ClassLimit, "over the limit"},
		"threshold over":           {rule + "  threshold: 2\n", layout.ClassPolicy, "line 4: threshold is 2, and 1 are named"},
		"threshold zero":           {rule + "  threshold: 0\n", layout.ClassJSON, "line 4: threshold must be a number from 1"},
		"threshold less":           {rule + "  threshold: -1\n", layout.ClassJSON, "line 4: threshold"},
		"threshold a text":         {rule + "  threshold: '1'\n", layout.ClassJSON, "line 4: threshold"},
		"threshold of fractions":   {rule + "  threshold: 1.5\n", layout.ClassJSON, "line 4: threshold"},
		"threshold of nobody":      {"rules:\n- match: '**'\n  unsigned: allow\n  threshold: 1\n", layout.ClassPolicy, "line 4: a rule has a threshold and names nobody"},
		"no root":                  {"rules:\n- match: '**'\n  identities: [" + exactly + "]\n", layout.ClassPolicy, "line 3: identities need a trustedRoot"},
		"root that is none":        {"trustedRoot: x.txt\n" + rule, layout.ClassPolicy, "line 1: x.txt is no trusted root"},
		"root that is missing":     {"trustedRoot: none.json\n" + rule, layout.ClassLocal, "line 1"},
		"root of nothing":          {"trustedRoot: empty.json\n" + rule, layout.ClassPolicy, "line 1: empty.json names no certificate authority and no log of certificates and no transparency log"},
		"identity a text":          {names + "x\n", layout.ClassJSON, "line 5: an identity must be a map"},
		"identity without subject": {names + "issuer: x\n", layout.ClassPolicy, "line 5: an identity needs either subject or subjectRegexp"},
		"identity without issuer":  {names + "subject: x\n", layout.ClassPolicy, "line 5: an identity needs either issuer or issuerRegexp"},
		"identity with two":        {names + "{issuer: x, issuerRegexp: x, subject: x}\n", layout.ClassPolicy, "line 5: an identity needs either issuer or issuerRegexp"},
		"identity twice":           {names + exactly + "\n  - " + exactly + "\n", layout.ClassDuplicate, "line 6"},
		"identity empty":           {names + "{issuer: '', subject: x}\n", layout.ClassJSON, "line 5: issuer is empty"},
		"identity unknown key":     {names + "{email: x}\n", layout.ClassJSON, `line 5: unknown key "email"`},
		"expression that is none":  {names + "{issuerRegexp: '(', subject: x}\n", layout.ClassPolicy, "line 5: "},
		"expression that escapes":  {names + "{issuerRegexp: 'x)|(?:.*', subject: x}\n", layout.ClassPolicy, "line 5: "},
		"attestation short name":   {rule + "  attestations: [slsaprovenance]\n", layout.ClassPolicy, `line 4: "slsaprovenance" is no type`},
		"attestation a signature":  {rule + "  attestations: ['" + cosignSign + "']\n", layout.ClassPolicy, "line 4"},
		"attestation twice":        {rule + "  attestations: [" + provenance + ", {type: " + provenance + "}]\n", layout.ClassDuplicate, "line 2"},
		"attestation of nobody":    {"rules:\n- match: '**'\n  attestations: [" + provenance + "]\n", layout.ClassPolicy, "line 2: nobody is named for the attestation"},
		"attestation without type": {rule + "  attestations: [{keys: k.pub}]\n", layout.ClassPolicy, "line 4: the attestation has no type"},
		"bundle of nobody":         {"bundle: {}\n", layout.ClassPolicy, "line 1: bundle names nobody"},
		"bundle of identities":     {root + "bundle:\n  identities: [" + exactly + "]\n", layout.ClassJSON, `line 3: unknown key "identities"`},
		"bundle threshold over":    {"bundle: {keys: k.pub, threshold: 2}\n", layout.ClassPolicy, "it could never be met"},
		"too large":                {rule + "#" + strings.Repeat("x", trust.MaxPolicySize), layout.ClassLimit, "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range files {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(dir, "policy.yaml")
			if err := os.WriteFile(file, []byte(tc.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := trust.ReadPolicy(file)
			if err == nil || layout.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("class %s: %v", layout.ClassOf(err), err)
			}
			if err != nil && len(places.FindAllString(err.Error(), -1)) > 1 {
				t.Errorf("it names two lines: %v", err)
			}
		})
	}
	if _, err := trust.ReadPolicy(filepath.Join(t.TempDir(), "none")); layout.ClassOf(err) != layout.ClassLocal || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no policy: %v", err)
	}
}
