package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

func expectFlag() cli.Flag {
	return &cli.StringFlag{Name: "expect", Usage: "demand that the bundle's digest is `DIGEST`, as pack printed it"}
}

func expected(c *cli.Context) (digest.Digest, error) {
	s := c.String("expect")
	if s == "" {
		return "", nil
	}
	d := digest.Digest(s)
	if err := layout.CheckDigest(d); err != nil || d.Algorithm() != digest.SHA256 {
		return "", usagef("--expect %q: a bundle's digest is sha256: and 64 hexadecimal digits", s)
	}
	return d, nil
}

func verifyCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "verify",
		Usage:       "check every digest in a bundle, and report all that is wrong",
		ArgsUsage:   "BUNDLE",
		Description: "BUNDLE is a file or an unpacked layout directory; - reads a pipe in one pass. Signatures that\nartifacts carry are checked by a policy, and never without one.",
		Flags:       append([]cli.Flag{expectFlag(), policyFlag(), identityFlag(), tmpdirFlag(), jobsFlag("hash in parallel")}, trustFlags()...),
	}, 1, 1, verify)
}

func verify(ctx context.Context, c *cli.Context, ui *ui) error {
	expect, err := expected(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	signatures, err := newChecker(c, name)
	if err != nil {
		return err
	}
	o := &bundle.VerifyOptions{Expect: expect, Jobs: c.Int("jobs"), Progress: ui.progress(), Trust: signatures.check, HoldSignatures: signatures.policy.HasRules()}
	o.Check = func(ctx context.Context, src layout.Partial, entries []ocispec.Descriptor) error {
		return signatures.checkArtifacts(ctx, ui, containerName(name), src, entries)
	}
	var rep *bundle.Report
	if name == "-" {
		rep, err = verifyStream(ctx, c, "standard input", os.Stdin, o)
	} else {
		rep, err = verifyFile(ctx, c, ui, name, o)
	}
	if rep == nil {
		return err
	}
	if name == "-" {
		name = "standard input"
	}
	return errors.Join(err, showReport(ui, name, rep, signatures))
}

// verifyFile verifies a file in place. What is too damaged for that is read from
// its beginning, to tell at least which artifacts are touched.
func verifyFile(ctx context.Context, c *cli.Context, ui *ui, name string, o *bundle.VerifyOptions) (*bundle.Report, error) {
	r, err := openBundle(ctx, c, ui, name, o.Trust)
	if err == nil {
		defer r.Close()
		v, rep, err := r.Verify(ctx, o)
		if err == nil {
			err = o.Check(ctx, v, v.Index().Manifests)
		}
		return rep, err
	}
	if fi, serr := os.Stat(name); !errors.Is(err, layout.ErrUntrusted) || serr != nil || !fi.Mode().IsRegular() {
		return nil, err
	}
	f, ferr := os.Open(name)
	if ferr != nil {
		return nil, err
	}
	defer f.Close()
	if rep, serr := verifyStream(ctx, c, name, f, o); rep != nil && serr != nil {
		return rep, serr
	}
	return nil, err
}

// verified is the result of verify.
type verified struct {
	*bundle.Report
	Signatures []trust.IndexSignature `json:"signatures,omitempty"` // of the bundle
	// ArtifactSignatures are those that artifacts carry.
	ArtifactSignatures []trust.Artifact `json:"artifactSignatures,omitempty"`
	denial
}

func showReport(ui *ui, name string, rep *bundle.Report, signatures *checker) error {
	return ui.result(verified{rep, signatures.found, signatures.artifacts, signatures.denial}, func(p func(string, ...any)) {
		if len(rep.Faults) == 0 {
			p("%s: %s, %s, %s: every digest matches", oneLine(name), count(rep.Artifacts, "artifact"), count(rep.Blobs, "blob"), size(rep.Bytes))
			if rep.Absent > 0 {
				p("  %s left out when it was packed, as airdeck inspect shows", count(rep.Absent, "manifest or layer", "manifests or layers"))
			}
			signatures.show(p)
			signatures.showArtifacts(p)
			p("bundle %s", rep.Digest)
			return
		}
		p("%s: %s", oneLine(name), count(len(rep.Faults), "fault"))
		for _, f := range rep.Faults {
			where := ""
			if f.Offset != nil {
				where = fmt.Sprintf(" (in bytes %d-%d of the file)", *f.Offset, *f.Offset+max(f.Length, 1)-1)
			}
			p("  %s: %s%s", f.Class, oneLine(f.Message), where)
			for _, a := range f.Artifacts {
				p("    needed by %s", oneLine(a))
			}
		}
		if len(rep.Again) > 0 {
			p("to be packed again, of %s:", count(rep.Artifacts, "artifact"))
		}
		for _, d := range rep.Again {
			p("  %s", oneLine(again(d)))
		}
	})
}

// again is what airdeck pack takes for an entry that is damaged, if it has a name.
func again(d bundle.Damaged) string {
	name, _, _ := strings.Cut(d.Reference, "@")
	return strings.TrimPrefix(name+"@"+d.Digest.String(), "@")
}

// openVerified opens a bundle and verifies all of it. The caller closes it.
func openVerified(ctx context.Context, c *cli.Context, ui *ui, name string) (v *bundle.Verified, closeBundle func(), err error) {
	v, _, closeBundle, err = openWith(ctx, c, ui, name, nil, nil, (*bundle.Reader).Verify)
	return v, closeBundle, err
}

// openWith is openVerified with a choice of how to verify. signatures may be nil, where
// the command has no flags for what the operator demands of them. before, where there
// is one, may refuse the bundle when it is open.
func openWith(ctx context.Context, c *cli.Context, ui *ui, name string, signatures *checker, before func(*bundle.Reader) error,
	verify func(*bundle.Reader, context.Context, *bundle.VerifyOptions) (*bundle.Verified, *bundle.Report, error),
) (v *bundle.Verified, rep *bundle.Report, closeBundle func(), err error) {
	expect, err := expected(c)
	if err != nil {
		return nil, nil, nil, err
	}
	if signatures == nil {
		signatures = &checker{}
	}
	r, err := openBundle(ctx, c, ui, name, signatures.check)
	if err != nil {
		return nil, nil, nil, err
	}
	if before != nil {
		if err := before(r); err != nil {
			return nil, nil, nil, errors.Join(err, r.Close())
		}
	}
	v, rep, err = verify(r, ctx, &bundle.VerifyOptions{Expect: expect, Jobs: c.Int("jobs"), Progress: ui.progress()})
	if err != nil {
		if rep != nil {
			err = errors.Join(err, showReport(ui, name, rep, signatures))
		}
		return nil, nil, nil, errors.Join(err, r.Close())
	}
	if err := signatures.checkArtifacts(ctx, ui, containerName(name), v, v.Index().Manifests); err != nil {
		return nil, rep, nil, errors.Join(err, r.Close())
	}
	return v, rep, func() { r.Close() }, nil
}

func unpackCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "unpack",
		Usage:       "write a bundle as an OCI image layout directory",
		ArgsUsage:   "BUNDLE DIR",
		Description: "DIR must not exist. It appears when it is complete; a run that was interrupted is\ngone on with by the next.",
		Flags:       append([]cli.Flag{expectFlag(), policyFlag(), identityFlag(), tmpdirFlag(), jobsFlag("hash and write in parallel")}, trustFlags()...),
	}, 2, 2, unpack)
}

// unpacked is the result of unpack.
type unpacked struct {
	Directory string        `json:"directory"`
	Digest    digest.Digest `json:"digest"`
	Artifacts int           `json:"artifacts"`
}

func unpack(ctx context.Context, c *cli.Context, ui *ui) error {
	dir := filepath.Clean(c.Args().Get(1))
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: name a directory that is not there", dir, layout.ErrExists)
	}
	signatures, err := newChecker(c, c.Args().First())
	if err != nil {
		return err
	}
	v, _, closeBundle, err := openWith(ctx, c, ui, c.Args().First(), signatures,
		func(r *bundle.Reader) error { return checkUnpack(ui, r, dir) }, (*bundle.Reader).Verify)
	if err != nil {
		return err
	}
	defer closeBundle()
	if err := v.Unpack(ctx, dir, &bundle.UnpackOptions{Jobs: c.Int("jobs"), Progress: ui.progress()}); err != nil {
		return err
	}
	res := unpacked{dir, v.Digest(), len(v.Index().Manifests)}
	return ui.result(res, func(p func(string, ...any)) {
		p("%s: %s", oneLine(dir), count(res.Artifacts, "artifact"))
		p("bundle %s", res.Digest)
	})
}

// checkUnpack says what unpacking will write, and refuses what the disk has no room
// for.
func checkUnpack(ui *ui, r *bundle.Reader, dir string) error {
	need := r.UnpackNeeds(dir, nil)
	free, err := layout.CheckSpace(layout.Need{Path: dir, Bytes: need})
	if err != nil {
		return err
	}
	text := "to write: " + size(need)
	if free >= 0 {
		text += "; free: " + size(free)
	}
	ui.progress().Note(text)
	return nil
}
