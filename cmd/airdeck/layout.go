package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/layout"
)

func listCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "list",
		Usage: "show what the layout holds",
		Flags: []cli.Flag{layoutFlag()},
	}, 0, 0, list)
}

// isEmpty reports whether a directory is not there, or has nothing in it but what airdeck
// makes before a layout.
func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return len(entries) == 0 || len(entries) == 1 && entries[0].Name() == ".airdeck"
}

// listed is one line of list.
type listed struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Kind      string `json:"kind"`
	Blobs     int    `json:"blobs"`
	Bytes     int64  `json:"bytes"` // of its blobs, each once
}

func list(ctx context.Context, c *cli.Context, ui *ui) error {
	all := []listed{}
	dir, err := layoutDir(c)
	if err != nil {
		return err
	}
	// A run may have been killed before it had begun the layout.
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); errors.Is(err, fs.ErrNotExist) && isEmpty(dir) {
		ui.progress().Note("there is no layout " + dir + " yet")
		return ui.result(all, func(func(string, ...any)) {})
	}
	store, err := layout.OpenStore(ctx, dir, &layout.StoreOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close()
	idx, err := store.Index()
	if err != nil {
		return fmt.Errorf("%w: remove its index.json, and pack again what is to be listed", err)
	}
	known := map[layout.Root]listed{}
	for _, e := range idx.Manifests {
		l, ok := known[layout.RootOf(e)]
		if !ok {
			l = listing(ctx, store, e)
			known[layout.RootOf(e)] = l
		}
		l.Reference = layout.EntryName(e)
		all = append(all, l)
	}
	return ui.result(all, func(p func(string, ...any)) {
		for _, l := range all {
			p("%s %s %s, %s, %s", oneLine(cmp.Or(l.Reference, "(refers to another)")), l.Digest, oneLine(l.Kind), count(l.Blobs, "blob"), size(l.Bytes))
		}
	})
}

// listing says what an entry is, whatever its name.
func listing(ctx context.Context, store *layout.Store, e ocispec.Descriptor) listed {
	l := listed{Digest: e.Digest.String()}
	err := layout.Walk(ctx, store, e, func(n layout.Node) error {
		if n.Digest == e.Digest {
			l.Kind = kindOf(e, n.Manifest)
		}
		l.Blobs++
		l.Bytes += n.Size
		return nil
	})
	if err != nil {
		l.Kind = "damaged: pack it again, or forget it with airdeck prune"
	}
	return l
}

func pruneCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "prune",
		Usage:     "remove from the layout what no reference needs, and what killed runs left",
		ArgsUsage: "[REF…]",
		Description: "The references that are named are forgotten first. The rest stays, with all that it\n" +
			"needs.",
		Flags: []cli.Flag{layoutFlag()},
	}, 0, -1, prune)
}

// pruned is the result of prune.
type pruned struct {
	References int   `json:"references"`
	Blobs      int   `json:"blobs"`
	Debris     int   `json:"debris"`
	Bytes      int64 `json:"bytes"`
}

func prune(ctx context.Context, c *cli.Context, ui *ui) error {
	store, err := openLayout(ctx, c, ui)
	if err != nil {
		return err
	}
	defer store.Close()
	got, err := store.Prune(ctx, c.Args().Slice()...)
	if err != nil {
		return err
	}
	res := pruned{len(got.References), got.Blobs, got.Debris, got.Bytes}
	return ui.result(res, func(p func(string, ...any)) {
		p("removed %s, %s and %s of killed runs: %s freed", count(res.References, "reference"),
			count(res.Blobs, "blob"), count(res.Debris, "file"), size(res.Bytes))
	})
}
