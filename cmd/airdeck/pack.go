package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/trust"
)

func packCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "pack",
		Usage:     "make one bundle of artifacts from registries, decks, layouts and other bundles",
		ArgsUsage: "-o FILE SOURCE…",
		Description: "A SOURCE is a reference in a registry (ghcr.io/acme/decks/intro:v1), a deck\n" +
			"(deck.yaml or deck.yaml=REF), a layout directory (oci:DIR or oci:DIR:REF), or a bundle.\n" +
			"FILE ends in .tar.zst, .tar or .tar.gz; - writes a .tar.zst to standard output. With a recipient or\n" +
			"a passphrase it is encrypted with age, and .age follows.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the bundle to `FILE`"},
			&cli.StringFlag{Name: "from", Usage: "read further sources from `FILE`, one a line; # begins a comment"},
			&cli.StringFlag{Name: "ref-style", Value: "full", Usage: "name the entries by their `full` reference, or by the tag, for readers of one repository (oras, regctl)"},
			&cli.StringFlag{Name: "level", Value: "default", Usage: "compress `fastest`, default, better or best; what is compressed already costs the same"},
			&cli.StringFlag{Name: "platform", Usage: "of images for several platforms take those in `LIST` only, such as linux/arm64,linux/amd64"},
			&cli.BoolFlag{Name: "allow-nondistributable", Usage: "leave out layers that are not to be distributed, where the source does not have them"},
			&cli.BoolFlag{Name: "no-referrers", Usage: "leave what refers to the artifacts: signatures, attestations, SBOMs"},
			&cli.StringSliceFlag{Name: "sign-key", Usage: "sign the bundle with the private key in `FILE` (repeatable; see airdeck sign)"},
			&cli.StringFlag{Name: "policy", Usage: "pack nothing of what the policy in `FILE` denies by the signatures that artifacts carry"},
			layoutFlag(), tmpdirFlag(), jobsFlag("fetch and compress in parallel"),
		}, recipientFlags(), []cli.Flag{identityFlag()}, registryFlags()),
	}, 0, -1, pack)
}

// packed is the result of pack.
type packed struct {
	File string `json:"file"`
	bundle.Summary
	Narrowed []narrowed `json:"narrowed,omitempty"`
	Absent   int        `json:"absent,omitempty"` // manifests and layers that are left out
	Fetched  int64      `json:"fetched"`          // blobs that came from registries
	Reused   int64      `json:"reused"`           // blobs that the layout had
	Seconds  float64    `json:"seconds"`
	// ArtifactSignatures are those that artifacts carry.
	ArtifactSignatures []trust.Artifact `json:"artifactSignatures,omitempty"`
}

func pack(ctx context.Context, c *cli.Context, ui *ui) error {
	begin := time.Now()
	out := c.String("output")
	if out == "" {
		return usagef("where to? -o FILE.tar.zst")
	}
	compression := bundle.Zstd
	switch {
	case out != "-":
		var err error
		if compression, err = bundle.CompressionFor(strings.TrimSuffix(out, ".age")); err != nil {
			return usagef("%s", err)
		}
	case ui.json:
		return usagef("--json and -o - would both write to standard output")
	case term.IsTerminal(int(os.Stdout.Fd())):
		return usagef("-o - is for a pipe, and standard output is a terminal")
	}
	if s := c.String("ref-style"); s != "full" && s != "tag" {
		return usagef("--ref-style %q: it is full or tag", s)
	}
	level, err := bundle.ParseLevel(c.String("level"))
	if err != nil {
		return usagef("--%s", err)
	}
	o := &bundle.WriteOptions{Compression: compression, Level: level, Jobs: c.Int("jobs"), Progress: ui.progress()}
	if o.Recipients, err = recipients(c, out); err != nil {
		return err
	}
	platforms, err := packPlatforms(c)
	if err != nil {
		return err
	}
	sources, err := packSources(c)
	if err != nil {
		return err
	}
	keys, err := signKeys(ctx, c)
	if err != nil {
		return err
	}
	signatures, err := packChecker(c)
	if err != nil {
		return err
	}
	// That the output can't be written is better found before the work than after.
	file, err := openOutput(out)
	if err != nil {
		return err
	}
	defer file.abort()
	p := &packer{c: c, ui: ui, platforms: platforms, names: map[string]int{}, signatures: signatures}
	defer p.close()
	if err := p.gather(ctx, sources); err != nil {
		return err
	}
	ready, index, err := p.prepare(ctx, out, o)
	if err != nil {
		return err
	}
	if err := attachSignatures(ready, keys); err != nil {
		return err
	}
	file.expect(ready.Size(o))
	limitMemory(packingMemory, ready.Blobs())
	// What has left by a pipe can't be written again, so there the layout's blobs are
	// read once more beforehand.
	unread := out != "-"
	sum, err := p.write(ctx, ready, file, o, unread)
	if unread && isDamage(err) && p.pulled != nil {
		if err := p.pulled.Fetch(ctx, nil); err != nil {
			return err
		}
		if err := file.restart(); err != nil {
			return err
		}
		file.expect(ready.Size(o))
		sum, err = p.write(ctx, ready, file, o, unread)
	}
	if err == nil {
		err = p.keep(ctx)
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", out, err)
	}
	if err := file.commit(); err != nil {
		return err
	}
	absent, err := layout.AbsentOf(index)
	if err != nil {
		return err
	}
	res := packed{File: out, Summary: sum, Narrowed: p.narrow, Absent: len(absent), Seconds: time.Since(begin).Seconds(), ArtifactSignatures: signatures.artifacts}
	if p.pulled != nil {
		res.Fetched, res.Reused = p.pulled.Fetched, p.pulled.Reused
	}
	if out == "-" {
		// Standard output is the bundle.
		defer func(w io.Writer) { stdout = w }(stdout)
		stdout = stderr
	}
	return ui.result(res, func(p func(string, ...any)) {
		p("%s: %s, %s", oneLine(out), count(sum.Artifacts, "artifact"), count(sum.Blobs, "blob"))
		p("  %s as referenced, %s after sharing, %s in the file", size(sum.Referenced), size(sum.Unique), size(sum.Written))
		p("  %s fetched, %s reused (manifests not counted), %s", count(int(res.Fetched), "blob"), count(int(res.Reused), "blob"), time.Since(begin).Round(time.Millisecond))
		showNarrowed(p, res)
		for _, k := range keys {
			p("  signed by key sha256:%s", k.Public.ID)
		}
		signatures.showArtifacts(p)
		p("bundle %s", sum.Digest)
	})
}

// showNarrowed says what was not packed.
func showNarrowed(p func(string, ...any), res packed) {
	for _, n := range res.Narrowed {
		name := oneLine(n.Reference)
		if n.PlatformOf != "" {
			p("  %s: one platform, in the place of the index %s", name, n.PlatformOf)
		}
		if n.Absent > 0 {
			p("  %s: %s of the index left out; only a registry that takes a partial index will have it", name, count(n.Absent, "manifest"))
		}
		for _, l := range n.Lacking {
			p("  %s: there is none for %s", name, oneLine(l))
		}
		for _, d := range n.Uncovered {
			p("  %s: not covered by %s, which belongs to the index", name, d)
		}
	}
	if res.Absent > 0 {
		p("  %s left out in all", count(res.Absent, "manifest or layer", "manifests or layers"))
	}
}

func packPlatforms(c *cli.Context) ([]ocispec.Platform, error) {
	if c.String("platform") == "" {
		return nil, nil
	}
	ps, err := layout.ParsePlatforms(c.String("platform"))
	if err != nil {
		return nil, usagef("--%s", err)
	}
	return ps, nil
}

func packSources(c *cli.Context) ([]source, error) {
	names := c.Args().Slice()
	if from := c.String("from"); from != "" {
		more, err := readSources(from)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	if len(names) == 0 {
		return nil, usagef("nothing to pack: usage: airdeck pack -o FILE SOURCE…")
	}
	var out []source
	for _, n := range names {
		s, err := parseSource(n)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// isDamage reports whether a blob of the layout was not what its name says. What a
// registry sends is of another class.
func isDamage(err error) bool {
	var corrupt *layout.CorruptError
	return errors.As(err, &corrupt) && layout.ClassOf(err) != layout.ClassRemote
}

// output is a file that appears when it is committed, or standard output.
type output struct {
	io.Writer
	name string
	file *layout.Output // nil for standard output
}

func openOutput(name string) (*output, error) {
	if name == "-" {
		return &output{Writer: os.Stdout, name: name}, nil
	}
	f, err := layout.CreateOutput(name)
	return &output{f, name, f}, err
}

func (o *output) expect(least, most int64) {
	if o.file != nil {
		o.file.Expect(least, most)
	}
}

func (o *output) commit() error {
	if o.file == nil {
		return nil
	}
	return o.file.Commit()
}

func (o *output) abort() {
	if o.file != nil {
		o.file.Close()
	}
}

// restart begins a file anew.
func (o *output) restart() error {
	o.abort()
	f, err := layout.CreateOutput(o.name)
	if err == nil {
		o.Writer, o.file = f, f
	}
	return err
}

// openBundle opens a bundle, and says what is wrong with the name where there is
// no such file.
// trust, where it is set, decides by the signatures whether it is read on.
func openBundle(ctx context.Context, c *cli.Context, ui *ui, name string, trust bundle.Trust) (*bundle.Reader, error) {
	if name == "-" {
		return nil, usagef("only airdeck verify reads a pipe: the others read at random")
	}
	fi, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, usagef("there is no file %s", name)
	}
	if err == nil && fi.IsDir() {
		if _, err := os.Stat(filepath.Join(name, ocispec.ImageLayoutFile)); errors.Is(err, os.ErrNotExist) {
			return nil, usagef("%s is a directory, and no OCI image layout", name)
		}
	}
	keys, err := newKeyring(ctx, c, name)
	if err != nil {
		return nil, err
	}
	// A hostile one can make work before it is known how many blobs it has.
	limitMemory(readingMemory, 0)
	r, err := bundle.OpenFile(ctx, name, &bundle.FileOptions{
		TempDir: c.String("tmpdir"), Identities: keys.identities, Progress: ui.progress(), Trust: trust,
	})
	if err == nil {
		limitMemory(readingMemory, r.Blobs())
	}
	return r, keys.explain(name, err)
}
