package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/mirror"
)

func compareCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "compare",
		Usage:     "find out whether a registry has what a bundle or another registry has",
		ArgsUsage: "BUNDLE REGISTRY[/PREFIX] | REF REF",
		Description: "Every manifest, tag and referrer is read back, and every blob is asked for. Nothing is sent.\n" +
			"A bundle's artifacts are looked for where airdeck mirror puts them.",
		Flags: append([]cli.Flag{mapFlag(), keepHostFlag(), expectFlag(), layoutFlag(), identityFlag(), tmpdirFlag(), jobsFlag("ask in parallel")}, registryFlags()...),
	}, 2, 2, compare)
}

func compare(ctx context.Context, c *cli.Context, ui *ui) error {
	if _, err := os.Stat(c.Args().First()); err != nil && !isFileName(c.Args().First()) {
		return compareReferences(ctx, c, ui)
	}
	dest, err := destination(c)
	if err != nil {
		return err
	}
	client, err := newClient(c, ui, dest.Registry)
	if err != nil {
		return err
	}
	v, closeBundle, err := openVerified(ctx, c, ui, c.Args().First())
	if err != nil {
		return err
	}
	defer closeBundle()
	plan, err := planMirror(ctx, c, client, dest, v)
	if err != nil {
		return err
	}
	return showCompared(ctx, ui, plan)
}

// compareReferences needs the manifests of the first reference, which are small,
// and none of its blobs.
func compareReferences(ctx context.Context, c *cli.Context, ui *ui) error {
	var refs [2]layout.Reference
	for i := range refs {
		var err error
		if refs[i], err = parseReference(c.Args().Get(i)); err != nil {
			return err
		}
	}
	client, err := newClient(c, ui, refs[0].Registry, refs[1].Registry)
	if err != nil {
		return err
	}
	store, err := openLayout(ctx, c, ui)
	if err != nil {
		return err
	}
	defer store.Close()
	got, err := client.Resolve(ctx, refs[:1], store, &mirror.PullOptions{Jobs: c.Int("jobs"), AllowNondistributable: true})
	if err != nil {
		return err
	}
	// A digest is a demand: what it names is compared with what is there.
	if d := refs[1].Digest; d != "" && d != got.Entries[0].Digest {
		return fmt.Errorf("%w: %s is %s, not %s", layout.ErrDiffers, refs[0], got.Entries[0].Digest, d)
	}
	targets := []mirror.Target{{Source: refs[0].String(), Descriptor: got.Entries[0], Reference: refs[1]}}
	var referrers []ocispec.Descriptor
	for _, e := range got.Referrers {
		if layout.EntryName(e) == "" {
			referrers = append(referrers, e)
			continue
		}
		ref, err := layout.ParseReference(layout.EntryName(e)) // what cosign keeps beside the artifact
		if err != nil {
			return err
		}
		ref.Registry, ref.Repository = refs[1].Registry, refs[1].Repository
		targets = append(targets, mirror.Target{Source: layout.EntryName(e), Descriptor: e, Reference: ref})
	}
	plan, err := client.Plan(ctx, layout.WithAbsent(store, got.Absent), targets, &mirror.PlanOptions{Jobs: c.Int("jobs"), Referrers: referrers})
	if err != nil {
		return err
	}
	return showCompared(ctx, ui, plan)
}

func showCompared(ctx context.Context, ui *ui, plan *mirror.Plan) error {
	rep, err := plan.Compare(ctx)
	return errors.Join(err, ui.result(rep.Artifacts, func(p func(string, ...any)) {
		for _, a := range rep.Artifacts {
			p("%s %s -> %s", a.Status, oneLine(a.Source), a.Target)
			switch a.Status {
			case mirror.StatusEqual:
				p("  %s", a.Fidelity.Text())
			case mirror.StatusFailed:
				p("  %s", oneLine(a.Error))
			}
			for _, l := range a.Fidelity.Lost {
				p("  not there: %s", oneLine(l))
			}
			showPartial(p, a)
		}
	}))
}
