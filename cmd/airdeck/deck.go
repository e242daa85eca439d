package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/deck"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/mirror"
)

func buildCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "build",
		Usage:     "build a deck into the layout",
		ArgsUsage: "deck.yaml [-t REF]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "tag", Aliases: []string{"t"}, Usage: "name the deck `REF` (default: localhost/decks/<title>:latest)"},
			layoutFlag(),
		},
	}, 1, 1, build)
}

// built is the result of build and push.
type built struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Slides    int    `json:"slides"`
}

func build(ctx context.Context, c *cli.Context, ui *ui) error {
	name := c.String("tag")
	if name != "" {
		ref, err := parseReference(name)
		if err != nil {
			return err
		}
		name = ref.String()
	}
	store, err := openLayout(ctx, c, ui)
	if err != nil {
		return err
	}
	defer store.Close()
	d, err := buildDeck(ctx, c.Args().First(), name, store, ui)
	if err != nil {
		return err
	}
	if err := store.Add(ctx, nil, d); err != nil {
		return err
	}
	return showBuilt(ctx, ui, store, d)
}

func showBuilt(ctx context.Context, ui *ui, src layout.Source, d ocispec.Descriptor) error {
	content, err := deck.Read(ctx, src, d)
	if err != nil {
		return err
	}
	b := built{Reference: layout.EntryName(d), Digest: d.Digest.String(), Slides: len(content.Slides)}
	return ui.result(b, func(p func(string, ...any)) { p("%s %s", b.Reference, b.Digest) })
}

// buildDeck builds a deck into dst and gives its entry. Without a name it is
// named by its title.
func buildDeck(ctx context.Context, path, name string, dst layout.Sink, ui *ui) (ocispec.Descriptor, error) {
	epoch, err := sourceDateEpoch()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	dir, err := deck.Load(path)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer dir.Close()
	d, err := dir.Build(ctx, dst, &deck.BuildOptions{SourceDate: epoch, Progress: ui.progress()})
	if err != nil {
		return d, err
	}
	if name == "" {
		spec := dir.Deck()
		name = spec.DefaultName()
	}
	return layout.Named(d, name), nil
}

// sourceDateEpoch reads the variable by which builds are given their date:
// https://reproducible-builds.org/specs/source-date-epoch/
func sourceDateEpoch() (time.Time, error) {
	v := os.Getenv("SOURCE_DATE_EPOCH")
	if v == "" {
		return time.Time{}, nil
	}
	s, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH is %q: it must be a number of seconds", v)
	}
	return time.Unix(s, 0).UTC(), nil
}

func pushCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "push",
		Usage:     "build a deck and push it to a registry",
		ArgsUsage: "deck.yaml REF",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "move the tag if it names something else"},
			layoutFlag(), jobsFlag("upload in parallel"),
		}, registryFlags()...),
	}, 2, 2, push)
}

func push(ctx context.Context, c *cli.Context, ui *ui) error {
	ref, err := parseReference(c.Args().Get(1))
	if err != nil {
		return err
	}
	if ref.Tag == "" {
		return usagef("%s: a deck is pushed to a tag", ref)
	}
	client, err := newClient(c, ui, ref.Registry)
	if err != nil {
		return err
	}
	store, err := openLayout(ctx, c, ui)
	if err != nil {
		return err
	}
	defer store.Close()
	d, err := buildDeck(ctx, c.Args().First(), ref.String(), store, ui)
	if err != nil {
		return err
	}
	if err := store.Add(ctx, nil, d); err != nil {
		return err
	}
	plan, err := client.Plan(ctx, store, []mirror.Target{{Source: c.Args().First(), Descriptor: d, Reference: ref}},
		&mirror.PlanOptions{Jobs: c.Int("jobs"), Force: c.Bool("force")})
	if err != nil {
		return err
	}
	if _, err := plan.Push(ctx); err != nil {
		return err
	}
	return showBuilt(ctx, ui, store, d)
}

func pullCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "pull",
		Usage:     "write the slides of a deck and its deck.yaml into a directory",
		ArgsUsage: "REF DIR",
		Flags:     append([]cli.Flag{layoutFlag(), jobsFlag("fetch in parallel")}, registryFlags()...),
	}, 2, 2, pull)
}

// pulled is the result of pull.
type pulled struct {
	built
	Title     string `json:"title"`
	Directory string `json:"directory"`
}

func pull(ctx context.Context, c *cli.Context, ui *ui) error {
	ref, err := parseReference(c.Args().First())
	if err != nil {
		return err
	}
	dir := c.Args().Get(1)
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s: %w: name a directory that is not there", dir, layout.ErrExists)
	}
	client, err := newClient(c, ui, ref.Registry)
	if err != nil {
		return err
	}
	store, err := openLayout(ctx, c, ui)
	if err != nil {
		return err
	}
	defer store.Close()
	// Signatures are of no use among slides.
	got, err := client.Resolve(ctx, []layout.Reference{ref}, store, &mirror.PullOptions{Jobs: c.Int("jobs"), NoReferrers: true})
	if err != nil {
		return err
	}
	// The manifest tells whether it is a deck, before its blobs are fetched.
	if err := deck.Check(ctx, store, got.Entries[0]); err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	if err := got.Fetch(ctx, nil); err != nil {
		return err
	}
	if err := store.Add(ctx, nil, got.Entries...); err != nil {
		return err
	}
	d, err := deck.Read(ctx, store, got.Entries[0])
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	if err := d.Extract(ctx, store, dir); err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	res := pulled{built{ref.String(), got.Entries[0].Digest.String(), len(d.Slides)}, d.Deck.Title, dir}
	return ui.result(res, func(p func(string, ...any)) {
		p("%s: %q, %s from %s %s", oneLine(dir), d.Deck.Title, count(len(d.Slides), "slide"), ref, res.Digest)
	})
}
