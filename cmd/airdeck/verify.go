package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
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
		Description: "BUNDLE is a file or an unpacked layout directory; - reads a pipe in one pass.",
		Flags:       []cli.Flag{expectFlag(), tmpdirFlag(), jobsFlag("hash in parallel")},
	}, 1, 1, verify)
}

func verify(ctx context.Context, c *cli.Context, ui *ui) error {
	expect, err := expected(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	o := &bundle.VerifyOptions{Expect: expect, Jobs: c.Int("jobs"), Progress: ui.progress()}
	var rep *bundle.Report
	if name == "-" {
		rep, err = bundle.VerifyStream(ctx, os.Stdin, o)
	} else {
		rep, err = verifyFile(ctx, c, ui, name, o)
	}
	if rep == nil {
		return err
	}
	if name == "-" {
		name = "standard input"
	}
	return errors.Join(err, showReport(ui, name, rep))
}

// verifyFile verifies a file in place. What is too damaged for that is read from
// its beginning, to tell at least which artifacts are touched.
func verifyFile(ctx context.Context, c *cli.Context, ui *ui, name string, o *bundle.VerifyOptions) (*bundle.Report, error) {
	r, err := openBundle(ctx, c, ui, name)
	if err == nil {
		defer r.Close()
		_, rep, err := r.Verify(ctx, o)
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
	if rep, serr := bundle.VerifyStream(ctx, f, o); rep != nil && serr != nil {
		return rep, serr
	}
	return nil, err
}

func showReport(ui *ui, name string, rep *bundle.Report) error {
	return ui.result(rep, func(p func(string, ...any)) {
		if len(rep.Faults) == 0 {
			p("%s: %s, %s, %s: every digest matches", oneLine(name), count(rep.Artifacts, "artifact"), count(rep.Blobs, "blob"), size(rep.Bytes))
			if rep.Absent > 0 {
				p("  %s left out when it was packed, as airdeck inspect shows", count(rep.Absent, "manifest or layer", "manifests or layers"))
			}
			p("bundle %s", rep.Digest)
			return
		}
		p("%s: %s", oneLine(name), count(len(rep.Faults), "fault"))
		for _, f := range rep.Faults {
			where := ""
			if f.Offset != nil {
				where = fmt.Sprintf(" (at offset %d of the file)", *f.Offset)
			}
			p("  %s: %s%s", f.Class, oneLine(f.Message), where)
			for _, a := range f.Artifacts {
				p("    needed by %s", oneLine(a))
			}
		}
	})
}

// openVerified opens a bundle and verifies all of it. The caller closes it. before,
// where there is one, may refuse it when it is open.
func openVerified(ctx context.Context, c *cli.Context, ui *ui, name string, before func(*bundle.Reader) error) (v *bundle.Verified, closeBundle func(), err error) {
	expect, err := expected(c)
	if err != nil {
		return nil, nil, err
	}
	r, err := openBundle(ctx, c, ui, name)
	if err != nil {
		return nil, nil, err
	}
	if before != nil {
		if err := before(r); err != nil {
			return nil, nil, errors.Join(err, r.Close())
		}
	}
	v, rep, err := r.Verify(ctx, &bundle.VerifyOptions{Expect: expect, Jobs: c.Int("jobs"), Progress: ui.progress()})
	if err != nil {
		if rep != nil {
			err = errors.Join(err, showReport(ui, name, rep))
		}
		return nil, nil, errors.Join(err, r.Close())
	}
	return v, func() { r.Close() }, nil
}

func unpackCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "unpack",
		Usage:       "write a bundle as an OCI image layout directory",
		ArgsUsage:   "BUNDLE DIR",
		Description: "DIR must not exist. It appears when it is complete; a run that was interrupted is\ngone on with by the next.",
		Flags:       []cli.Flag{expectFlag(), tmpdirFlag(), jobsFlag("hash and write in parallel")},
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
	v, closeBundle, err := openVerified(ctx, c, ui, c.Args().First(), func(r *bundle.Reader) error { return checkUnpack(ui, r, dir) })
	if err != nil {
		return err
	}
	defer closeBundle()
	if err := unpackTo(ctx, c, ui, v, dir); err != nil {
		return err
	}
	res := unpacked{dir, v.Digest(), len(v.Index().Manifests)}
	return ui.result(res, func(p func(string, ...any)) {
		p("%s: %s", oneLine(dir), count(res.Artifacts, "artifact"))
		p("bundle %s", res.Digest)
	})
}

// partialDir is beside dir, so that a rename never crosses a file system.
func partialDir(dir string) string {
	return filepath.Join(filepath.Dir(dir), ".airdeck-partial-"+filepath.Base(dir))
}

// checkUnpack says what unpacking will write, and refuses what the disk has no room
// for. What an interrupted run has written is there already.
func checkUnpack(ui *ui, r *bundle.Reader, dir string) error {
	need := r.UnpackedSize()
	_ = filepath.WalkDir(partialDir(dir), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if fi, err := e.Info(); err == nil {
				need -= fi.Size()
			}
		}
		return nil // what can't be looked at counts as not there
	})
	free, err := layout.CheckSpace(layout.Need{Path: dir, Bytes: max(need, 0)})
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

// unpackTo writes into a directory beside dir, which a second run goes on with,
// and renames it.
func unpackTo(ctx context.Context, c *cli.Context, ui *ui, v *bundle.Verified, dir string) error {
	partial := partialDir(dir)
	store, err := layout.OpenStore(ctx, partial, &layout.StoreOptions{Durable: true, Exclusive: true, Progress: ui.progress()})
	if err != nil {
		return err
	}
	err = layout.Copy(ctx, store, v, v.Index().Manifests, &layout.CopyOptions{Jobs: c.Int("jobs"), Progress: ui.progress()})
	if err == nil {
		err = store.Export(ctx, v.RawIndex())
	}
	if cerr := store.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", dir, err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("unpack %s: %w", dir, err)
	}
	return nil
}
