package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// MaxSignatures bounds the signatures and attestations of one artifact. Whoever can
// write to a repository can add any number; cosign reads as many of one manifest.
const MaxSignatures = 1000

// MaxCarried bounds the signatures and attestations of all artifacts together, each
// counted for each artifact that carries it. A thousand names of one image, with fifty
// of them, have as many.
const MaxCarried = 50_000

// State is what is known of an artifact, or of one signature.
type State string

// The states.
const (
	// Verified says that the signers who were named have signed.
	Verified State = "verified"
	// Unsigned says that nothing is carried of what the rule demands.
	Unsigned State = "unsigned"
	// Unchecked says that signatures are carried, and nobody said whom to trust.
	Unchecked State = "unchecked"
	// Invalid says that what is carried is not what the rule demands.
	Invalid State = "invalid"
)

// Kind is what a signature says.
type Kind string

// The kinds of signatures.
const (
	KindSignature   Kind = "signature"   // that somebody signed
	KindAttestation Kind = "attestation" // something else of the artifact
)

// Signature is one signature or attestation that is carried with an artifact. Its
// texts come from outside, unless it is verified.
type Signature struct {
	// State is [Verified] where one of the signers made it over Covers, [Invalid]
	// where none did, and [Unchecked].
	State State `json:"state"`
	// Kind is empty where it can't be told.
	Kind          Kind          `json:"kind,omitempty"`
	PredicateType string        `json:"predicateType,omitempty"`
	Covers        digest.Digest `json:"covers"`   // the manifest or index that it is over
	Manifest      digest.Digest `json:"manifest"` // that holds it
	By            *Signer       `json:"by,omitempty"`
	Why           string        `json:"why,omitempty"`
}

// Artifact is what is known of one artifact.
type Artifact struct {
	Name   string        `json:"name,omitempty"`
	Digest digest.Digest `json:"digest"`
	State  State         `json:"state"`
	// Decision is what the policy says to that.
	Decision Decision `json:"decision"`
	// Rule is the pattern of the rule that decided, where there is one.
	Rule string `json:"rule,omitempty"`
	// Class and Why say why it is denied, or what else the decision comes from.
	Class      layout.Class `json:"class,omitempty"`
	Why        string       `json:"why,omitempty"`
	Signatures []Signature  `json:"signatures,omitempty"`
}

// part is a manifest or an index of an artifact, and what hangs on it.
type part struct {
	ocispec.Descriptor
	candidates []*candidate
}

// examiner examines artifacts. What is one under many names it examines once.
type examiner struct {
	src     layout.Source
	known   map[question]Artifact
	carried int // signatures, of all artifacts
}

// question is what the state of an artifact depends on.
type question struct {
	rule *rule
	root layout.Root
	tags digest.Digest // over cosign's tags that belong to it, and what they name
}

// artifact finds out what is known of an artifact, by its place.
//
// Errors: those of src.
func (x *examiner) artifact(ctx context.Context, r *rule, s *sorter, i int, e ocispec.Descriptor) (Artifact, error) {
	tags := digest.SHA256.Digester()
	for _, c := range s.byArtifact[i] {
		fmt.Fprintf(tags.Hash(), "%s%s %s\n", c.subject, c.ending, c.Digest)
	}
	q := question{r, layout.RootOf(e), tags.Digest()}
	a, ok := x.known[q]
	if !ok {
		parts, err := s.parts(ctx, i, e)
		if err != nil {
			return a, err
		}
		if a, err = x.examine(ctx, r, parts); err != nil {
			return a, err
		}
		x.known[q] = a
	} else if len(a.Signatures) > MaxCarried-x.carried {
		return x.noMore(a.Digest, r), nil
	}
	x.carried += len(a.Signatures)
	return a, nil
}

// noMore is an artifact whose signatures are over the limit of all artifacts, as are
// those of the artifacts behind it.
func (x *examiner) noMore(d digest.Digest, r *rule) Artifact {
	x.carried = MaxCarried
	return tooMany(d, r, "all artifacts together carry", MaxCarried)
}

// tooMany is an artifact that has more signatures than are looked at.
func tooMany(d digest.Digest, r *rule, who string, most int) Artifact {
	a := Artifact{Digest: d, State: Unchecked, Why: fmt.Sprintf("%s more than %d signatures", who, most)}
	if len(r.demands()) > 0 {
		a.State, a.Class = Invalid, layout.ClassLimit
	}
	return a
}

// examine finds out what is known of an artifact. The first part is the artifact.
//
// Errors: those of src.
func (x *examiner) examine(ctx context.Context, r *rule, parts []part) (Artifact, error) {
	a := Artifact{Digest: parts[0].Digest}
	demands := r.demands()
	var all []carried
	root := 0 // how many of them are over the artifact itself
	for i, p := range parts {
		for _, c := range p.candidates {
			some, err := c.list(ctx, x.src, p.Descriptor)
			if err != nil {
				return a, err
			}
			if all = append(all, some...); len(all) > MaxSignatures {
				x.carried += MaxSignatures // so many were read
				return tooMany(a.Digest, r, "it carries", MaxSignatures), nil
			}
			if len(all) > MaxCarried-x.carried {
				return x.noMore(a.Digest, r), nil
			}
		}
		if i == 0 {
			root = len(all)
		}
	}
	if len(demands) == 0 {
		for _, c := range all {
			a.Signatures = append(a.Signatures, Signature{State: Unchecked, Kind: c.kind(), Covers: c.target.Digest, Manifest: c.manifest})
		}
		if a.State = Unsigned; len(all) > 0 {
			a.State = Unchecked
		}
		return a, nil
	}
	t := &tally{rule: r, demands: demands}
	for i, c := range all {
		s, err := t.check(ctx, x.src, c, i < root)
		if err != nil {
			return a, err
		}
		a.Signatures = append(a.Signatures, s)
	}
	a.State, a.Why = t.result(a.Signatures[root:])
	return a, nil
}

// demand is something that a rule demands: signatures, or attestations of a type.
type demand struct {
	predicateType string // "" for signatures
	signers       *Signers

	signed map[int]bool // the signers that have signed
	seen   int          // what may be meant to fulfil it
	why    string       // what is wrong with the first of these that does not
}

func (d *demand) String() string {
	if d.predicateType == "" {
		return "signature"
	}
	return fmt.Sprintf("attestation of type %s", d.predicateType)
}

// is reports whether a signature of a kind may be meant to fulfil a demand. What
// can't be told may be.
func (d *demand) is(k Kind, predicateType string) bool {
	switch {
	case k == "":
		return true
	case d.predicateType == "":
		return k == KindSignature
	default:
		return k == KindAttestation && (predicateType == "" || predicateType == d.predicateType)
	}
}

// tally counts the signatures of an artifact.
type tally struct {
	rule    *rule
	demands []*demand
}

// check verifies one signature, and counts it if it is over the artifact itself.
func (t *tally) check(ctx context.Context, src layout.Source, c carried, counts bool) (Signature, error) {
	s := Signature{State: Invalid, Kind: c.kind(), Covers: c.target.Digest, Manifest: c.manifest}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	p, err := c.open(ctx, src)
	var fault errFault
	switch {
	case errors.As(err, &fault):
		s.Why = fault.Error()
	case err != nil:
		return s, err
	default:
		s.Kind, s.PredicateType = p.kind, p.predicateType
	}
	for _, d := range t.demands {
		if !d.is(s.Kind, s.PredicateType) {
			continue
		}
		if p != nil {
			s.verify(p, d.signers, c.target.Digest, func(who int) {
				if counts {
					d.signed[who] = true
				}
			})
		}
		if counts {
			if d.seen++; d.why == "" && s.State != Verified {
				d.why = s.Why
			}
		}
	}
	if p != nil && s.Why == "" && s.State != Verified {
		// It is of a type that nobody asked for.
		if t.rule.signers == nil {
			s.State = Unchecked
		} else {
			s.verify(p, t.rule.signers, c.target.Digest, func(int) {})
		}
	}
	return s, nil
}

// verify sets the state of a signature.
func (s *Signature) verify(p *proof, signers *Signers, target digest.Digest, signed func(who int)) {
	who, by, err := signers.verify(p, target)
	if err != nil {
		s.Why = err.Error()
		return
	}
	s.State, s.By, s.Why = Verified, &by, ""
	signed(who)
}

// result says what the artifact is. below are the signatures over what its index
// lists: they don't stand for the index, and bad ones spoil it if it has no
// signatures itself.
func (t *tally) result(below []Signature) (State, string) {
	var unmet, lacking *demand
	met := 0
	for _, d := range t.demands {
		switch {
		case len(d.signed) >= d.signers.Threshold:
			met++
		case d.seen > 0:
			unmet = cmp.Or(unmet, d)
		default:
			lacking = cmp.Or(lacking, d)
		}
	}
	switch {
	case unmet != nil && len(unmet.signed) > 0:
		return Invalid, fmt.Sprintf("%d of the signers gave a %s, and %d must", len(unmet.signed), unmet, unmet.signers.Threshold)
	case unmet != nil:
		return Invalid, fmt.Sprintf("none of the signers gave the %s that it carries: %s", unmet, unmet.why)
	case lacking == nil:
		return Verified, ""
	case met > 0:
		return Invalid, fmt.Sprintf("it carries no %s", lacking)
	}
	good := map[digest.Digest]bool{}
	bad := map[digest.Digest]string{}
	for _, s := range below {
		switch {
		case s.State == Verified:
			good[s.Covers] = true
		case s.State == Invalid && bad[s.Covers] == "":
			bad[s.Covers] = s.Why
		}
	}
	for _, s := range below {
		if why := bad[s.Covers]; why != "" && !good[s.Covers] {
			return Invalid, fmt.Sprintf("none of the signers gave what is carried over %s: %s", s.Covers, why)
		}
	}
	if len(good) > 0 {
		return Unsigned, "only what its index lists is signed, and not the index"
	}
	return Unsigned, ""
}
