package trust

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"
	"go.yaml.in/yaml/v3"

	"github.com/airdeck/airdeck/layout"
)

// Limits on a policy.
const (
	// MaxPolicySize bounds a policy, in bytes. One of MaxRules has a tenth of that.
	MaxPolicySize = 1 << 20

	// MaxRules bounds the rules of a policy, and the patterns of a rule. They are tried in
	// turn for each artifact.
	MaxRules = 1000
)

// Decision is what a policy says to an artifact.
type Decision string

// The decisions.
const (
	Allow Decision = "allow"
	Warn  Decision = "warn"
	Deny  Decision = "deny"
)

// Policy says whose signatures count for what. It is safe for concurrent use.
type Policy struct {
	// Bundle is who has to sign the bundle itself, and nil where nobody has to.
	Bundle *Signers

	rules []rule
}

// rule is what is demanded of the artifacts that its pattern stands for.
type rule struct {
	patterns     []pattern
	signers      *Signers // nil where no signature is demanded
	attestations []attestation
	unsigned     Decision
}

// attestation is the type of attestations of which there must be some.
type attestation struct {
	predicateType string
	signers       *Signers
}

func (r *rule) demands() []*demand {
	if r == nil {
		return nil
	}
	var out []*demand
	if r.signers != nil {
		out = append(out, &demand{signers: r.signers, signed: map[int]bool{}})
	}
	for _, a := range r.attestations {
		out = append(out, &demand{predicateType: a.predicateType, signers: a.signers, signed: map[int]bool{}})
	}
	return out
}

// HasRules reports whether a policy says anything of artifacts.
func (p *Policy) HasRules() bool { return p != nil && len(p.rules) > 0 }

// ruleFor gives the rule for an artifact and its pattern: the first that has one
// which stands for it.
func (p *Policy) ruleFor(name string) (*rule, pattern) {
	if p == nil {
		return nil, ""
	}
	for i, r := range p.rules {
		for _, pat := range r.patterns {
			if pat.matches(name) {
				return &p.rules[i], pat
			}
		}
	}
	return nil, ""
}

// ReadPolicy reads a policy. The files that it names are found from its folder.
//
// An error names the file, the line and the remedy. Its class is
//
//   - [layout.ClassLocal]: a file is missing or can't be read
//   - [layout.ClassJSON]: no YAML, an unknown key, a value of the wrong kind, an alias
//   - [layout.ClassDuplicate]: a key is repeated, or a pattern or a signer
//   - [layout.ClassTrailing]: a second document
//   - [layout.ClassLimit]: over one of the limits of this package
//   - [layout.ClassPolicy]: what has no meaning: a rule that demands nothing or is
//     never reached, a threshold that can't be met, no public key, no pattern
func ReadPolicy(path string) (*Policy, error) {
	b, err := readLimited(path, MaxPolicySize)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	p, err := decodePolicy(b, func(name string, limit int64) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readLimited(name, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	return p, nil
}

func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	case int64(len(b)) > limit:
		return nil, layout.Errorf(layout.ClassLimit, "%s has over %d bytes, the limit", name, limit)
	}
	return b, nil
}

// decoder reads a policy.
type decoder struct {
	open   func(name string, limit int64) ([]byte, error)
	policy *Policy
	root   *root.TrustedRoot
	// keyless are those who need the root, each with the line of its identities.
	keyless []keyless
}

type keyless struct {
	signers *Signers
	line    int
}

func decodePolicy(b []byte, open func(string, int64) ([]byte, error)) (*Policy, error) {
	doc, err := document(b)
	if err != nil {
		return nil, err
	}
	d := &decoder{open: open, policy: &Policy{}}
	err = eachKey(doc, "a policy", func(key string, n *yaml.Node) error {
		switch key {
		case "trustedRoot":
			return d.trustedRoot(n)
		case "bundle":
			return d.bundle(n)
		case "rules":
			return eachItem(n, "rules", MaxRules, d.rule)
		}
		return unknown(key, "trustedRoot, bundle and rules")
	})
	if err != nil {
		return nil, err
	}
	if d.policy.Bundle == nil && d.policy.rules == nil {
		return nil, layout.Errorf(layout.ClassPolicy, "it says nothing: give it rules or bundle")
	}
	for _, k := range d.keyless {
		if d.root == nil {
			return nil, atLine(k.line, layout.Errorf(layout.ClassPolicy, "identities need a trustedRoot: the path of a trusted_root.json"))
		}
		if err := k.signers.needKeyless(d.root); err != nil {
			return nil, atLine(k.line, layout.Errorf(layout.ClassPolicy, "%w", err))
		}
	}
	return d.policy, d.reachable()
}

// reachable refuses a rule that never decides, since another comes first.
func (d *decoder) reachable() error {
	seen := map[pattern]bool{}
	for _, r := range d.policy.rules {
		for _, p := range r.patterns {
			if seen[p] {
				return layout.Errorf(layout.ClassDuplicate, "pattern %q stands in two places, and the first decides: remove one", p)
			}
			if seen[everything] {
				return layout.Errorf(layout.ClassPolicy, "pattern %q comes after %q, which stands for all: move it up, since the first that fits decides", p, everything)
			}
			seen[p] = true
		}
	}
	return nil
}

// trustedRoot reads the trusted_root.json. What all signatures with a certificate
// need must be in it.
func (d *decoder) trustedRoot(n *yaml.Node) error {
	name, err := textOf(n, "trustedRoot")
	if err != nil {
		return err
	}
	b, err := d.open(name, layout.MaxManifestSize)
	if err != nil {
		return atLine(n.Line, err)
	}
	tr, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		return atLine(n.Line, layout.Errorf(layout.ClassPolicy, "%s is no trusted root: %w", name, err))
	}
	var lack []string
	if len(tr.FulcioCertificateAuthorities()) == 0 {
		lack = append(lack, "certificate authority")
	}
	if len(tr.CTLogs()) == 0 {
		lack = append(lack, "log of certificates")
	}
	if len(tr.RekorLogs()) == 0 {
		lack = append(lack, "transparency log")
	}
	if lack != nil {
		return atLine(n.Line, layout.Errorf(layout.ClassPolicy, "%s names no %s: no signature could be verified by it", name, strings.Join(lack, " and no ")))
	}
	d.root = tr
	return nil
}

func (d *decoder) bundle(n *yaml.Node) error {
	g := &group{d: d, what: "bundle"}
	err := eachKey(n, "bundle", func(key string, n *yaml.Node) error {
		if ok, err := g.set(key, n); ok && key != "identities" {
			return err
		}
		return unknown(key, "keys and threshold")
	})
	if err != nil {
		return err
	}
	if d.policy.Bundle, err = g.signers(n.Line); err == nil && d.policy.Bundle == nil {
		err = atLine(n.Line, layout.Errorf(layout.ClassPolicy, "bundle names nobody: give it keys"))
	}
	return err
}

func (d *decoder) rule(n *yaml.Node) error {
	g := &group{d: d, what: "a rule"}
	var r rule
	err := eachKey(n, "a rule", func(key string, n *yaml.Node) (err error) {
		switch key {
		case "match":
			return eachText(n, "match", MaxRules, func(s string) error {
				p, err := parsePattern(s)
				r.patterns = append(r.patterns, p)
				return err
			})
		case "attestations":
			return eachItem(n, "attestations", MaxSigners, func(n *yaml.Node) error {
				return d.attestation(&r, n)
			})
		case "unsigned":
			r.unsigned, err = decisionOf(n)
			return err
		}
		if ok, err := g.set(key, n); ok {
			return err
		}
		return unknown(key, "match, keys, identities, threshold, attestations and unsigned")
	})
	if err != nil {
		return err
	}
	if r.signers, err = g.signers(n.Line); err != nil {
		return err
	}
	if err := r.complete(); err != nil {
		return atLine(n.Line, err)
	}
	d.policy.rules = append(d.policy.rules, r)
	return nil
}

// complete refuses a rule that could not mean anything, and fills in what it leaves
// to the others.
func (r *rule) complete() error {
	if len(r.patterns) == 0 {
		return layout.Errorf(layout.ClassPolicy, "the rule has no match: say for which artifacts it is, such as ghcr.io/acme/**")
	}
	types := map[string]bool{}
	for i, a := range r.attestations {
		if a.signers == nil {
			r.attestations[i].signers = r.signers
		}
		if r.attestations[i].signers == nil {
			return layout.Errorf(layout.ClassPolicy, "nobody is named for the attestation %q: give it, or the rule, keys or identities", a.predicateType)
		}
		if types[a.predicateType] {
			return layout.Errorf(layout.ClassDuplicate, "the attestation %q is demanded twice: remove one", a.predicateType)
		}
		types[a.predicateType] = true
	}
	if r.signers == nil && r.attestations == nil && r.unsigned != Allow && r.unsigned != Warn {
		return layout.Errorf(layout.ClassPolicy, "the rule names nobody: give it keys or identities, or say unsigned: allow")
	}
	if r.unsigned == "" {
		r.unsigned = Deny
	}
	return nil
}

// attestation reads one item of attestations: a type, or a map that also says who
// has to make it.
func (d *decoder) attestation(r *rule, n *yaml.Node) error {
	var a attestation
	if n.Kind == yaml.ScalarNode {
		var err error
		if a.predicateType, err = predicateOf(n); err == nil {
			r.attestations = append(r.attestations, a)
		}
		return err
	}
	g := &group{d: d, what: "an attestation"}
	err := eachKey(n, "an attestation", func(key string, n *yaml.Node) (err error) {
		if key == "type" {
			a.predicateType, err = predicateOf(n)
			return err
		}
		if ok, err := g.set(key, n); ok {
			return err
		}
		return unknown(key, "type, keys, identities and threshold")
	})
	if err == nil && a.predicateType == "" {
		err = atLine(n.Line, layout.Errorf(layout.ClassPolicy, "the attestation has no type"))
	}
	if err == nil {
		a.signers, err = g.signers(n.Line)
	}
	r.attestations = append(r.attestations, a)
	return err
}

// predicateOf reads the type of an attestation. cosign's short names for some of
// them are not known here, and would never fit.
func predicateOf(n *yaml.Node) (string, error) {
	s, err := textOf(n, "the type of an attestation")
	switch {
	case err != nil:
		return "", err
	case !strings.Contains(s, "/"):
		return "", atLine(n.Line, layout.Errorf(layout.ClassPolicy, "%q is no type of attestations: write it in full, such as https://slsa.dev/provenance/v1", s))
	case s == predicateSignature:
		return "", atLine(n.Line, layout.Errorf(layout.ClassPolicy, "%q is a signature: give the rule keys or identities", s))
	}
	return s, nil
}

func decisionOf(n *yaml.Node) (Decision, error) {
	s, err := textOf(n, "unsigned")
	switch d := Decision(s); {
	case err != nil:
		return "", err
	case d == Allow, d == Warn, d == Deny:
		return d, nil
	}
	return "", atLine(n.Line, layout.Errorf(layout.ClassJSON, "unsigned is %q: known are deny, warn and allow", s))
}

func unknown(key, known string) error {
	return layout.Errorf(layout.ClassJSON, "unknown key %q: known are %s", key, known)
}
