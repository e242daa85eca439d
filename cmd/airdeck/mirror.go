package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/mirror"
	"github.com/airdeck/airdeck/trust"
)

func mirrorCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "mirror",
		Usage:     "verify a bundle and publish it into a registry",
		ArgsUsage: "BUNDLE REGISTRY[/PREFIX]",
		Description: "ghcr.io/acme/decks/intro:v1 becomes REGISTRY/PREFIX/acme/decks/intro:v1. Nothing is sent\n" +
			"before the whole bundle is verified, and a tag that names something else is not moved.",
		Flags: append([]cli.Flag{
			mapFlag(), keepHostFlag(),
			&cli.BoolFlag{Name: "force", Usage: "move tags that name something else"},
			&cli.BoolFlag{Name: "intact-only", Usage: "of a damaged bundle publish the artifacts that are whole, and leave out the others (exit code 4)"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be sent, and send nothing"},
			&cli.StringFlag{Name: "report", Usage: "write what happened to `FILE`, as JSON"},
			expectFlag(), policyFlag(), identityFlag(), tmpdirFlag(), jobsFlag("upload in parallel"),
		}, append(trustFlags(), registryFlags()...)...),
	}, 2, 2, mirrorRun)
}

func mapFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "map", Usage: "put what begins with FROM under TO instead (`FROM=TO`, repeatable; the longest fit decides)"}
}

func keepHostFlag() cli.Flag {
	return &cli.BoolFlag{Name: "keep-host", Usage: "keep the source's host as the first part of the path"}
}

// mirrored is the result of mirror.
type mirrored struct {
	Bundle      digest.Digest          `json:"bundle"`
	Destination string                 `json:"destination"`
	Signatures  []trust.IndexSignature `json:"signatures,omitempty"` // of the bundle
	// ArtifactSignatures are those that artifacts carry.
	ArtifactSignatures []trust.Artifact `json:"artifactSignatures,omitempty"`
	*mirror.Report
	Error string       `json:"error,omitempty"`
	Class layout.Class `json:"class,omitempty"` // where nothing was sent

	checked *checker // nil before it is known what to demand
}

func mirrorRun(ctx context.Context, c *cli.Context, ui *ui) error {
	dest, err := destination(c)
	if err != nil {
		return err
	}
	client, err := newClient(c, ui, dest.Registry)
	if err != nil {
		return err
	}
	var report *layout.Output
	if file := c.String("report"); file != "" {
		if c.Bool("dry-run") {
			return usagef("--dry-run has nothing to report: use --json")
		}
		if report, err = layout.CreateOutput(file); err != nil {
			return err
		}
		defer report.Close()
	}
	res := mirrored{Destination: c.Args().Get(1), Report: &mirror.Report{Artifacts: []*mirror.ArtifactReport{}}}
	err = mirrorBundle(ctx, c, ui, client, dest, &res)
	if err != nil {
		res.Error = err.Error()
		if errors.Is(err, layout.ErrUntrusted) {
			res.Class = layout.ClassOf(err)
		}
	}
	if report != nil {
		err = errors.Join(err, writeJSON(report, res))
	}
	denied := errors.Is(err, layout.ErrUntrusted) && len(res.ArtifactSignatures) > 0
	if !denied && (c.Bool("dry-run") || len(res.Artifacts) == 0) {
		return err
	}
	return errors.Join(err, showMirrored(ui, res))
}

func mirrorBundle(ctx context.Context, c *cli.Context, ui *ui, client *mirror.Client, dest mirror.Destination, res *mirrored) error {
	how := (*bundle.Reader).Verify
	if c.Bool("intact-only") {
		how = (*bundle.Reader).VerifyIntact
	}
	signatures, err := newChecker(c, c.Args().First())
	if err != nil {
		return err
	}
	res.checked = signatures
	v, rep, closeBundle, err := openWith(ctx, c, ui, c.Args().First(), signatures, nil, how)
	res.Signatures, res.ArtifactSignatures = signatures.found, signatures.artifacts
	if err != nil {
		return err
	}
	defer closeBundle()
	res.Bundle = rep.Digest
	for _, d := range rep.Again {
		dest.LeftOut = append(dest.LeftOut, d.Reference)
		ui.progress().Note("damaged, and left out: " + oneLine(again(d)))
	}
	plan, err := planMirror(ctx, c, client, dest, v)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		err := plan.Refused()
		if err == nil && len(rep.Again) > 0 {
			err = fmt.Errorf("%w: %d of %d are damaged", layout.ErrPartial, len(rep.Again), rep.Artifacts)
		}
		return errors.Join(err, showPlan(ui, plan, signatures))
	}
	if err := plan.Refused(); err != nil {
		return err
	}
	blobs, bytes := plan.ToSend()
	ui.progress().Note(fmt.Sprintf("to send: %s, %s", count(blobs, "blob"), size(bytes)))
	res.Report, err = plan.Push(ctx)
	if ctx.Err() != nil {
		return err
	}
	for _, d := range rep.Again {
		res.LeaveOut(d.Reference, d.Digest, d.Of)
	}
	return res.Err()
}

// planMirror plans all that a bundle holds.
func planMirror(ctx context.Context, c *cli.Context, client *mirror.Client, dest mirror.Destination, v *bundle.Verified) (*mirror.Plan, error) {
	artifacts, referrers, err := layout.Artifacts(ctx, v, v.Index().Manifests)
	if err != nil {
		return nil, err
	}
	targets, err := dest.Targets(ctx, v, artifacts)
	if err != nil {
		return nil, err
	}
	return client.Plan(ctx, v, targets, &mirror.PlanOptions{Jobs: c.Int("jobs"), Force: c.Bool("force"), Referrers: referrers})
}

func destination(c *cli.Context) (mirror.Destination, error) {
	d, err := mirror.ParseDestination(c.Args().Get(1))
	if err != nil {
		return d, usagef("%s", err)
	}
	d.KeepHost, d.Container = c.Bool("keep-host"), containerName(c.Args().First())
	for _, s := range c.StringSlice("map") {
		m, err := mirror.ParseMapping(s)
		if err != nil {
			return d, usagef("%s", err)
		}
		d.Map = append(d.Map, m)
	}
	return d, nil
}

func writeJSON(f *layout.Output, v any) error {
	enc := json.NewEncoder(f)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	return f.Commit()
}

// planned is one line of mirror --dry-run.
type planned struct {
	Source   string          `json:"source"`
	Target   string          `json:"target"`
	Digest   digest.Digest   `json:"digest"`
	Tag      mirror.TagState `json:"tag"`
	Existing digest.Digest   `json:"existing,omitempty"` // what the tag names, where it is moved
	Blobs    int             `json:"blobs"`
	Missing  int             `json:"missing"` // blobs
}

func showPlan(ui *ui, plan *mirror.Plan, signatures *checker) error {
	blobs, bytes := plan.ToSend()
	res := struct {
		Artifacts []planned `json:"artifacts"`
		Blobs     int       `json:"blobs"`
		Bytes     int64     `json:"bytes"`
		// ArtifactSignatures are those that artifacts carry.
		ArtifactSignatures []trust.Artifact `json:"artifactSignatures,omitempty"`
	}{[]planned{}, blobs, bytes, signatures.artifacts}
	for _, a := range plan.Artifacts {
		missing := len(a.Missing())
		res.Artifacts = append(res.Artifacts, planned{
			a.Source, a.Reference.String(), a.Descriptor.Digest, a.Tag, a.Existing, a.Blobs(), missing,
		})
	}
	return ui.result(res, func(p func(string, ...any)) {
		for _, a := range res.Artifacts {
			p("%s -> %s", oneLine(a.Source), a.Target)
			text := map[mirror.TagState]string{
				mirror.TagNew: "new", mirror.TagSame: "there already", mirror.TagMoved: fmt.Sprintf("the tag names %s", a.Existing),
			}[a.Tag]
			p("  %s; %d of %s missing", text, a.Missing, count(a.Blobs, "blob"))
		}
		signatures.showArtifacts(p)
		p("to send: %s, %s", count(blobs, "blob"), size(bytes))
	})
}

func showMirrored(ui *ui, res mirrored) error {
	return ui.result(res, func(p func(string, ...any)) {
		present := 0
		res.checked.showArtifacts(p)
		for _, a := range res.Artifacts {
			if a.Target == "" {
				p("%s %s", a.Status, oneLine(a.Source))
			} else {
				p("%s %s -> %s", a.Status, oneLine(a.Source), a.Target)
			}
			if a.Fidelity != nil && a.Error == "" {
				p("  %s", a.Fidelity.Text())
			}
			if a.Error != "" {
				p("  %s", oneLine(a.Error))
			}
			showPartial(p, a)
			if a.Status == mirror.StatusPresent {
				present++
			}
		}
		switch {
		case len(res.Artifacts) == 0:
		case present == len(res.Artifacts):
			p("nothing to send: all of it is there")
		default:
			p("sent %s, %s; %d mounted from other repositories", count(res.Uploaded, "blob"), size(res.Bytes), res.Mounted)
		}
	})
}

// showPartial says what of an artifact is not there because it was never packed.
func showPartial(p func(string, ...any), a *mirror.ArtifactReport) {
	if n := len(a.Absent); n > 0 {
		p("  carried in part: %s left out when it was packed", count(n, "manifest or layer", "manifests or layers"))
	}
	if a.PlatformOf != "" {
		p("  one platform of %s", a.PlatformOf)
	}
	for _, d := range a.Uncovered {
		p("  not covered by %s, which belongs to the index", d)
	}
}

func loginCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "login",
		Usage:       "check a user name and password with a registry, and keep them",
		ArgsUsage:   "REGISTRY",
		Description: "They are kept in the Docker configuration, or in the credential helper that it names.",
		Flags:       registryFlags(),
	}, 1, 1, func(ctx context.Context, c *cli.Context, ui *ui) error {
		host := c.Args().First()
		if c.String("username") == "" {
			return usagef("who are you? --username NAME")
		}
		client, err := newClient(c, ui, host)
		if err != nil {
			return err
		}
		if err := client.Login(ctx); err != nil {
			return err
		}
		return ui.result(map[string]string{"registry": host}, func(p func(string, ...any)) { p("logged in to %s", host) })
	})
}

func logoutCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "logout",
		Usage:     "forget the user name and password for a registry",
		ArgsUsage: "REGISTRY",
	}, 1, 1, func(ctx context.Context, c *cli.Context, ui *ui) error {
		host := c.Args().First()
		client, err := newClient(c, ui, host)
		if err != nil {
			return err
		}
		if err := client.Logout(ctx, host); err != nil {
			return err
		}
		return ui.result(map[string]string{"registry": host}, func(p func(string, ...any)) { p("logged out of %s", host) })
	})
}
