package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

// trustFlags are those of the commands that open a bundle and may demand that it is
// signed.
func trustFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "key", Usage: "demand a signature of the bundle by the public key in `FILE` (cosign.pub; repeatable: one of the keys is enough)"},
		&cli.StringSliceFlag{Name: "signature", Usage: "read signatures of the bundle from `FILE` too (repeatable; default: BUNDLE.sigstore.json, if it is there)"},
	}
}

func policyFlag() cli.Flag {
	return &cli.StringFlag{Name: "policy", Usage: "demand the signatures that the policy in `FILE` names, of the bundle and of the artifacts in it"}
}

// checker checks signatures: those of a bundle before anything else of it is read,
// and those that its artifacts carry.
type checker struct {
	signers   *trust.Signers // nil where nothing is demanded of the bundle
	policy    *trust.Policy  // nil where nothing is demanded of the artifacts
	detached  []byte
	found     []trust.IndexSignature
	artifacts []trust.Artifact // those of which there is something to say
	denial    denial
	file      string // of the policy
}

// denial is what a result says where an artifact is denied.
type denial struct {
	Error string       `json:"error,omitempty"`
	Class layout.Class `json:"class,omitempty"`
}

// newChecker reads the keys, the policy, and the signatures that lie beside the bundle.
func newChecker(c *cli.Context, name string) (*checker, error) {
	ck, err := policyChecker(c)
	if err != nil {
		return nil, err
	}
	if ck.policy != nil && ck.policy.Bundle != nil {
		if len(c.StringSlice("key")) > 0 {
			return nil, usagef("--key, and the policy says who signs bundles: leave one of them out")
		}
		ck.signers = ck.policy.Bundle
	}
	for _, file := range c.StringSlice("key") {
		if err := checkKeyFile("--key", file); err != nil {
			return nil, err
		}
		b, err := readSmall(file, trust.MaxKeySize)
		if err != nil {
			return nil, usagef("--key: %s", err)
		}
		key, err := trust.ReadPublicKey(file, b)
		if err != nil {
			return nil, usagef("--key: %s", err)
		}
		if ck.signers == nil {
			ck.signers = &trust.Signers{}
		}
		ck.signers.Keys = append(ck.signers.Keys, key)
	}
	files := c.StringSlice("signature")
	if len(files) == 0 && name != "-" {
		if fi, err := os.Stat(signatureFile(name)); err == nil && fi.Mode().IsRegular() {
			files = []string{signatureFile(name)}
		}
	}
	for _, file := range files {
		b, err := readSmall(file, bundle.MaxSignatures)
		if err != nil {
			return nil, usagef("--signature: %s", err)
		}
		ck.detached = append(append(ck.detached, b...), '\n')
	}
	return ck, nil
}

// policyChecker reads the policy alone.
func policyChecker(c *cli.Context) (*checker, error) {
	ck := &checker{file: c.String("policy")}
	if ck.file != "" {
		var err error
		if ck.policy, err = trust.ReadPolicy(ck.file); err != nil {
			return nil, usagef("%w", err)
		}
	}
	return ck, nil
}

// packChecker reads the policy of pack, which is about artifacts.
func packChecker(c *cli.Context) (*checker, error) {
	ck, err := policyChecker(c)
	switch {
	case err != nil || ck.policy == nil:
		return ck, err
	case !ck.policy.HasRules():
		return nil, usagef("--policy %s: pack asks it about artifacts, and it has no rules", ck.file)
	case c.Bool("no-referrers"):
		return nil, usagef("--no-referrers leaves the signatures that --policy asks for: leave one of them out")
	}
	return ck, nil
}

// check is a [bundle.Trust].
func (ck *checker) check(index, signatures []byte) (err error) {
	ck.found, err = trust.CheckIndex(index, append(bytes.Clone(signatures), ck.detached...), ck.signers)
	return err
}

// checkArtifacts checks what the artifacts of a container carry, under the names that
// mirror gives them. The error is that of the first which is denied.
func (ck *checker) checkArtifacts(ctx context.Context, ui *ui, container string, src layout.Partial, entries []ocispec.Descriptor) error {
	named := layout.ResolveNames(entries)
	for i, e := range named {
		if full, err := layout.CompleteName(e, container); err == nil && layout.EntryName(e) != "" {
			named[i] = layout.Named(e, full)
		}
	}
	rep, err := ck.policy.Check(ctx, src, named)
	if err != nil {
		return err
	}
	ck.artifacts = nil
	for _, a := range rep.Artifacts {
		if ck.policy.HasRules() || a.State != trust.Unsigned {
			ck.artifacts = append(ck.artifacts, a)
		}
		if a.Decision == trust.Warn {
			ui.progress().Note("warning: " + oneLine(cmp.Or(a.Name, a.Digest.String())) + " is " + stateText(a))
		}
	}
	if err = rep.Err(); err != nil {
		err = fmt.Errorf("%w (have it signed by those whom %s names, or change that)", err, ck.file)
		ck.denial = denial{err.Error(), layout.ClassOf(err)}
	}
	return err
}

// show says who has signed.
func (ck *checker) show(p func(string, ...any)) {
	unchecked, others := 0, 0
	for _, s := range ck.found {
		switch s.State {
		case trust.Verified:
			p("signed by %s (key sha256:%s)", oneLine(s.Key), s.KeyID)
		case trust.Unchecked:
			unchecked++
		default:
			others++
		}
	}
	if unchecked > 0 {
		p("%s, unchecked: see airdeck verify --key", count(unchecked, "signature"))
	}
	if others > 0 {
		p("%s by nobody who is known", count(others, "signature"))
	}
}

// showArtifacts says what the signatures of the artifacts are worth: a line for each
// where a policy says whose count, and else that they were not checked.
func (ck *checker) showArtifacts(p func(string, ...any)) {
	if ck.policy.HasRules() {
		for _, a := range ck.artifacts {
			p("  %s: %s", oneLine(cmp.Or(a.Name, a.Digest.String())), stateText(a))
		}
		return
	}
	signatures := 0
	for _, a := range ck.artifacts {
		signatures += len(a.Signatures)
	}
	if signatures > 0 {
		p("%s of %s, unchecked: see airdeck verify --policy", count(signatures, "signature or attestation", "signatures and attestations"), count(len(ck.artifacts), "artifact"))
	}
}

// stateText is what is known of an artifact, by whom or why.
func stateText(a trust.Artifact) string {
	text := string(a.State)
	if a.State == trust.Verified {
		seen := map[string]bool{}
		for _, s := range a.Signatures {
			if s.By != nil && s.Covers == a.Digest && !seen[s.By.String()] {
				if len(seen) == 0 {
					text += " by "
				} else {
					text += ", "
				}
				seen[s.By.String()] = true
				text += oneLine(s.By.String())
			}
		}
	} else if a.Why != "" {
		text += ": " + oneLine(a.Why)
	}
	if a.Decision == trust.Deny {
		text = "denied, " + text
	}
	return text
}
