package trust

import (
	"cmp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/airdeck/airdeck/layout"
)

// group are the keys of a policy that name signers, wherever they stand.
type group struct {
	d         *decoder
	what      string
	named     Signers
	threshold int // the line
	keyless   int // the line
}

// set takes a key that is one of the group's.
func (g *group) set(key string, n *yaml.Node) (bool, error) {
	switch key {
	case "keys":
		return true, eachText(n, "keys", MaxSigners, func(name string) error {
			k, err := g.d.key(name)
			if err != nil {
				return err
			}
			for _, o := range g.named.Keys {
				if o.ID == k.ID {
					return layout.Errorf(layout.ClassDuplicate, "%s is the same key as %s: remove one", k.Name, o.Name)
				}
			}
			g.named.Keys = append(g.named.Keys, k)
			return nil
		})
	case "identities":
		g.keyless = n.Line
		return true, eachItem(n, "identities", MaxSigners, g.identity)
	case "threshold":
		var err error
		g.threshold = n.Line
		g.named.Threshold, err = countOf(n, "threshold")
		return true, err
	}
	return false, nil
}

func (d *decoder) key(name string) (*PublicKey, error) {
	b, err := d.open(name, MaxKeySize)
	if err != nil {
		return nil, err
	}
	return ReadPublicKey(name, b)
}

func (g *group) identity(n *yaml.Node) error {
	var id Identity
	err := eachKey(n, "an identity", func(key string, n *yaml.Node) (err error) {
		to := map[string]*string{
			"issuer": &id.Issuer, "issuerRegexp": &id.IssuerRegexp,
			"subject": &id.Subject, "subjectRegexp": &id.SubjectRegexp,
		}[key]
		if to == nil {
			return unknown(key, "issuer, issuerRegexp, subject and subjectRegexp")
		}
		*to, err = textOf(n, key)
		return err
	})
	if err != nil {
		return err
	}
	if id, err = NewIdentity(id.Issuer, id.IssuerRegexp, id.Subject, id.SubjectRegexp); err != nil {
		return atLine(n.Line, err)
	}
	for _, o := range g.named.Identities {
		if o.Issuer == id.Issuer && o.IssuerRegexp == id.IssuerRegexp && o.Subject == id.Subject && o.SubjectRegexp == id.SubjectRegexp {
			return atLine(n.Line, layout.Errorf(layout.ClassDuplicate, "the same identity is named twice: remove one"))
		}
	}
	g.named.Identities = append(g.named.Identities, id)
	return nil
}

// signers gives those who are named, and nil where nobody is.
func (g *group) signers(line int) (*Signers, error) {
	s := g.named
	n := s.len()
	switch {
	case n == 0 && g.threshold != 0:
		return nil, atLine(g.threshold, layout.Errorf(layout.ClassPolicy, "%s has a threshold and names nobody: give it keys or identities", g.what))
	case n == 0:
		return nil, nil
	case n > MaxSigners:
		return nil, atLine(line, layout.Errorf(layout.ClassLimit, "%s names %d signers, over the limit of %d", g.what, n, MaxSigners))
	case s.Threshold > n:
		return nil, atLine(g.threshold, layout.Errorf(layout.ClassPolicy, "threshold is %d, and %d are named: it could never be met", s.Threshold, n))
	}
	s.Threshold = cmp.Or(s.Threshold, 1)
	if g.keyless != 0 {
		g.d.keyless = append(g.d.keyless, keyless{&s, g.keyless})
	}
	return &s, nil
}

// countOf reads a number from 1.
func countOf(n *yaml.Node, what string) (int, error) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		if i, err := strconv.Atoi(n.Value); err == nil && i > 0 {
			return i, nil
		}
	}
	return 0, atLine(n.Line, layout.Errorf(layout.ClassJSON, "%s must be a number from 1", what))
}
