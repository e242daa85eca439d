package main

import (
	"cmp"
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
)

func packCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "pack",
		Usage:     "make one bundle of artifacts from registries, decks, layouts and other bundles",
		ArgsUsage: "-o FILE SOURCE…",
		Description: "A SOURCE is a reference in a registry (ghcr.io/acme/decks/intro:v1), a deck\n" +
			"(deck.yaml or deck.yaml=REF), a layout directory (oci:DIR or oci:DIR:REF), or a bundle.\n" +
			"FILE ends in .tar.zst, .tar or .tar.gz; - writes a .tar.zst to standard output.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the bundle to `FILE`"},
			&cli.StringFlag{Name: "from", Usage: "read further sources from `FILE`, one a line; # begins a comment"},
			&cli.StringFlag{Name: "ref-style", Value: "full", Usage: "name the entries by their `full` reference, or by the tag, for readers of one repository (oras, regctl)"},
			&cli.BoolFlag{Name: "no-referrers", Usage: "leave what refers to the artifacts: signatures, attestations, SBOMs"},
			layoutFlag(), tmpdirFlag(), jobsFlag("fetch and compress in parallel"),
		}, registryFlags()...),
	}, 0, -1, pack)
}

// packed is the result of pack.
type packed struct {
	File string `json:"file"`
	bundle.Summary
	Fetched int64   `json:"fetched"` // blobs that came from registries
	Reused  int64   `json:"reused"`  // blobs that the layout had
	Seconds float64 `json:"seconds"`
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
		if compression, err = bundle.CompressionFor(out); err != nil {
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
	sources, err := packSources(c)
	if err != nil {
		return err
	}
	// That the output can't be written is better found before the work than after.
	w, commit, abort, err := openOutput(out)
	if err != nil {
		return err
	}
	defer abort()
	p := &packer{c: c, ui: ui, names: map[string]ocispec.Descriptor{}}
	defer p.close()
	if err := p.gather(ctx, sources); err != nil {
		return err
	}
	if err := p.styleNames(c.String("ref-style")); err != nil {
		return err
	}
	sum, err := bundle.Write(ctx, w, layout.Join(p.sources...), ocispec.Index{Manifests: p.entries}, &bundle.WriteOptions{
		Compression: compression, Jobs: c.Int("jobs"), Progress: ui.progress(),
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", out, err)
	}
	if err := commit(); err != nil {
		return err
	}
	res := packed{File: out, Summary: sum, Fetched: p.fetched, Reused: p.reused, Seconds: time.Since(begin).Seconds()}
	if out == "-" {
		// Standard output is the bundle.
		defer func(w io.Writer) { stdout = w }(stdout)
		stdout = stderr
	}
	return ui.result(res, func(p func(string, ...any)) {
		p("%s: %s, %s", oneLine(out), count(sum.Artifacts, "artifact"), count(sum.Blobs, "blob"))
		p("  %s as referenced, %s after sharing, %s in the file", size(sum.Referenced), size(sum.Unique), size(sum.Written))
		p("  %s fetched, %s reused (manifests not counted), %s", count(int(res.Fetched), "blob"), count(int(res.Reused), "blob"), time.Since(begin).Round(time.Millisecond))
		p("bundle %s", sum.Digest)
	})
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

// openOutput opens a file that appears when it is committed, or standard output.
func openOutput(name string) (w io.Writer, commit func() error, abort func(), err error) {
	if name == "-" {
		return os.Stdout, func() error { return nil }, func() {}, nil
	}
	f, err := layout.CreateOutput(name)
	if err != nil {
		return nil, nil, nil, err
	}
	return f, f.Commit, func() { f.Close() }, nil
}

// packer gathers the artifacts of all sources.
type packer struct {
	c       *cli.Context
	ui      *ui
	store   *layout.Store
	sources []layout.Source // bundles and layouts that are read in place
	closers []io.Closer
	entries []ocispec.Descriptor
	names   map[string]ocispec.Descriptor

	fetched, reused int64
}

func (p *packer) close() {
	for _, c := range p.closers {
		c.Close()
	}
	if p.store != nil {
		p.store.Close()
	}
}

// add takes an artifact in. One that comes twice is one; a name that means two
// things is an error.
func (p *packer) add(d ocispec.Descriptor) error {
	name := cmp.Or(layout.EntryName(d), d.Digest.String())
	if old, ok := p.names[name]; ok {
		if old.Digest != d.Digest {
			return layout.Errorf(layout.ClassPolicy, "%s is %s in one source and %s in another", name, old.Digest, d.Digest)
		}
		return nil
	}
	p.names[name] = d
	p.entries = append(p.entries, d)
	return nil
}

// gather brings what comes from registries and decks into the layout, opens the
// rest, and lists all entries.
func (p *packer) gather(ctx context.Context, sources []source) error {
	var refs []layout.Reference
	var fresh []ocispec.Descriptor // entries of the layout
	for _, s := range sources {
		var err error
		if p.store == nil && s.bundle == "" && s.layout == "" {
			if p.store, err = openLayout(ctx, p.c, p.ui); err != nil {
				return err
			}
		}
		switch {
		case s.deck != "":
			var d ocispec.Descriptor
			if d, err = buildDeck(ctx, s.deck, s.name, p.store, p.ui); err == nil {
				fresh = append(fresh, d)
				err = p.add(d)
			}
		case s.bundle != "":
			err = p.addBundle(ctx, s)
		case s.layout != "":
			err = p.addLayout(ctx, s)
		default:
			refs = append(refs, s.reference)
		}
		if err != nil {
			return err
		}
	}
	if len(refs) > 0 {
		pulled, err := p.pull(ctx, refs)
		if err != nil {
			return err
		}
		fresh = append(fresh, pulled...)
	}
	if p.store == nil {
		return nil
	}
	p.sources = append(p.sources, p.store)
	return p.store.Add(ctx, fresh...)
}

// styleNames puts the bare tag where some readers look for it. The full reference
// stays in the other annotation.
func (p *packer) styleNames(style string) error {
	if style != "tag" {
		return nil
	}
	taken := map[string]string{}
	for i, e := range p.entries {
		name := layout.EntryName(e)
		ref, err := layout.ParseReference(name)
		if name == "" || err != nil || ref.Tag == "" {
			continue
		}
		if other := taken[ref.Tag]; other != "" {
			return usagef("--ref-style tag: %s and %s have the same tag, which can't tell them apart", other, name)
		}
		taken[ref.Tag] = name
		p.entries[i] = layout.Named(e, name)
		p.entries[i].Annotations[ocispec.AnnotationRefName] = ref.Tag
	}
	return nil
}

func (p *packer) addBundle(ctx context.Context, s source) error {
	r, err := openBundle(ctx, p.c, p.ui, s.bundle)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, r)
	v, _, err := r.Verify(ctx, &bundle.VerifyOptions{Jobs: p.c.Int("jobs"), Progress: p.ui.progress()})
	if err != nil {
		return fmt.Errorf("%s: %w", s.bundle, err)
	}
	p.sources = append(p.sources, v)
	name := filepath.Base(s.bundle)
	for _, end := range []string{".zst", ".gz", ".tar", ".tgz", ".tzst"} {
		name = strings.TrimSuffix(name, end)
	}
	_, err = p.addEntries(ctx, s, v, v.Index().Manifests, name)
	return err
}

// addEntries takes in the entries of a bundle or a layout. What is not fully
// named is named by the file or the directory.
func (p *packer) addEntries(ctx context.Context, s source, src layout.Source, entries []ocispec.Descriptor, container string) (found int, err error) {
	// What was not asked for may be damaged.
	entries = slices.DeleteFunc(slices.Clone(entries), func(e ocispec.Descriptor) bool {
		name := layout.EntryName(e)
		return s.name != "" && name != "" && s.name != name && s.name != e.Digest.String()
	})
	entries, err = layout.Roots(ctx, src, entries)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.text, err)
	}
	var roots, others []ocispec.Descriptor
	for _, e := range entries {
		subject, err := layout.SubjectOf(ctx, src, e)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", s.text, err)
		case subject != nil && layout.EntryName(e) == "":
			others = append(others, e)
			continue
		case s.name != "" && s.name != layout.EntryName(e) && s.name != e.Digest.String():
			continue
		}
		roots = append(roots, e)
		full, err := fullName(container, e)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.text, err)
		}
		if err := p.add(layout.Named(e, full)); err != nil {
			return 0, err
		}
	}
	if p.c.Bool("no-referrers") {
		return len(roots), nil
	}
	attached, err := layout.Attached(ctx, src, roots, others)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.text, err)
	}
	for _, e := range attached {
		if err := p.add(e); err != nil {
			return 0, err
		}
	}
	return len(roots), nil
}

func (p *packer) addLayout(ctx context.Context, s source) error {
	store, err := layout.OpenStore(ctx, s.layout, &layout.StoreOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, store)
	p.sources = append(p.sources, store)
	idx, err := store.Index()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(s.layout)
	if err != nil {
		return err
	}
	found, err := p.addEntries(ctx, s, store, idx.Manifests, filepath.Base(dir))
	if err != nil {
		return err
	}
	if found == 0 {
		return fmt.Errorf("%s: %w in its index.json", s.text, layout.ErrNotFound)
	}
	return nil
}

// fullName completes the name of an entry that another tool wrote: a bare tag is
// one of a repository that is called as the file or directory is.
func fullName(container string, e ocispec.Descriptor) (string, error) {
	name := layout.EntryName(e)
	if _, err := layout.ParseReference(name); err == nil {
		return name, nil
	}
	suffix := ":" + name
	if name == "" {
		suffix = "@" + e.Digest.String()
	}
	full := "localhost/" + strings.ToLower(container) + suffix
	if _, err := layout.ParseReference(full); err != nil {
		return "", layout.Errorf(layout.ClassName, "the entry %q is no reference, and with the name of its file or directory it becomes none: rename that", name)
	}
	return full, nil
}

func (p *packer) pull(ctx context.Context, refs []layout.Reference) ([]ocispec.Descriptor, error) {
	hosts := make([]string, len(refs))
	for i, r := range refs {
		hosts[i] = r.Registry
	}
	client, err := newClient(p.c, p.ui, hosts...)
	if err != nil {
		return nil, err
	}
	o := pullOptions(p.c)
	o.NoReferrers = p.c.Bool("no-referrers")
	pulled, err := client.Pull(ctx, refs, p.store, o)
	if err != nil {
		return nil, err
	}
	p.fetched, p.reused = pulled.Fetched, pulled.Reused
	all := slices.Concat(pulled.Entries, pulled.Referrers)
	for _, d := range all {
		if err := p.add(d); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// openBundle opens a bundle, and says what is wrong with the name where there is
// no such file.
func openBundle(ctx context.Context, c *cli.Context, ui *ui, name string) (*bundle.Reader, error) {
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
	return bundle.OpenFile(ctx, name, &bundle.FileOptions{TempDir: c.String("tmpdir"), Progress: ui.progress()})
}
