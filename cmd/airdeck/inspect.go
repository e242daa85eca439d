package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
)

func inspectCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "inspect",
		Usage:     "show what a bundle says it holds, without reading the blobs",
		ArgsUsage: "BUNDLE",
		Description: "Only the head of the file is read, and where a policy asks for them signatures: whether the rest is\nwhole, airdeck verify tells.\n" +
			"What is in a manifest is shown once. Where it occurs again, it is said which artifact shows it (\"as\" in JSON). What a\nmanifest lists more than once has a number (\"times\"), and what refers to something deep in an artifact stands behind\nthat artifact (\"subject\").",
		Flags: append([]cli.Flag{policyFlag(), identityFlag(), tmpdirFlag()}, trustFlags()...),
	}, 1, 1, inspect)
}

// inspectedManifest is a manifest or an index, without what is listed below it. A root
// has a reference.
type inspectedManifest struct {
	Reference    string          `json:"reference,omitempty"`
	Kind         string          `json:"kind"`
	Title        string          `json:"title,omitempty"`
	Digest       digest.Digest   `json:"digest"`
	MediaType    string          `json:"mediaType"`
	ArtifactType string          `json:"artifactType,omitempty"`
	Platform     string          `json:"platform,omitempty"`
	Size         int64           `json:"size"`
	Times        int             `json:"times,omitempty"`      // how often it is listed, where that is more than once
	Absent       bool            `json:"absent,omitempty"`     // left out, as the index says
	Missing      bool            `json:"missing,omitempty"`    // not there, and the index does not say so
	PlatformOf   digest.Digest   `json:"platformOf,omitempty"` // the index of which it is one platform
	Uncovered    []digest.Digest `json:"uncovered,omitempty"`  // what belongs to that index and is not here
	As           string          `json:"as,omitempty"`         // the artifact that shows what is in it
	Subject      digest.Digest   `json:"subject,omitempty"`    // what it refers to, where it is not shown below that

	where string // As, in the words of the text
}

type inspectedBlob struct {
	Title      string        `json:"title,omitempty"`
	MediaType  string        `json:"mediaType"`
	Digest     digest.Digest `json:"digest"`
	Size       int64         `json:"size"`
	Times      int           `json:"times,omitempty"` // how often it is listed, where that is more than once
	Config     bool          `json:"config,omitempty"`
	Absent     bool          `json:"absent,omitempty"`     // left out, as the index says
	SharedWith []string      `json:"sharedWith,omitempty"` // other artifacts of the bundle, the first maxShown
	Shared     int           `json:"shared,omitempty"`     // how many there are
}

func inspect(ctx context.Context, c *cli.Context, ui *ui) error {
	name := c.Args().First()
	signatures, err := newChecker(c, name)
	if err != nil {
		return err
	}
	r, err := openBundle(ctx, c, ui, name, signatures.check)
	if err != nil {
		return err
	}
	defer r.Close()
	limitMemory(readingMemory, 2*r.Blobs()) // what is known of a blob takes as much again
	o, err := newOutline(ctx, r, containerName(name))
	if err != nil {
		return err
	}
	// What lacks a manifest is shown as that, and nothing can be said of it.
	err = signatures.checkArtifacts(ctx, ui, containerName(name), described{r}, r.Index().Manifests)
	if errors.Is(err, layout.ErrNotFound) && !signatures.policy.HasRules() {
		err = nil
	}
	if err != nil && signatures.artifacts == nil {
		return err
	}
	if ui.json {
		ui.printed = true
		return errors.Join(err, o.writeJSON(ctx, stdout, signatures))
	}
	var shown error
	printed := ui.result(nil, func(p func(string, ...any)) {
		p("%s: %s", oneLine(name), count(len(r.Index().Manifests), "artifact"))
		if shown = o.show(ctx, &textView{p: p}); shown != nil {
			return
		}
		if o.incomplete {
			p("too much is listed to find out all that artifacts share: some of it is not told")
		}
		signatures.show(p)
		signatures.showArtifacts(p)
		p("bundle %s", r.Digest())
	})
	return errors.Join(err, shown, printed)
}

// described gives what describes the artifacts: manifests, and where a policy asks for
// them signatures. It is for looking, since the rest was not verified.
type described struct{ r *bundle.Reader }

func (d described) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	b, err := d.r.Config(ctx, desc)
	return io.NopCloser(bytes.NewReader(b)), err
}

func (d described) Absent() (layout.Absent, error) { return d.r.Absent(), nil }

// textView shows artifacts as lines of text.
type textView struct {
	p       func(string, ...any)
	indents []string // of the manifests that are open
}

func (v *textView) begin(list string, m *inspectedManifest) {
	indent := ""
	if n := len(v.indents); n > 0 {
		indent = v.indents[n-1] + "  "
	}
	if list == listReferrers {
		v.p("%sreferred to by", indent)
		indent += "  "
	}
	if m.Reference != "" {
		v.p("%s%s", indent, oneLine(m.Reference))
		indent += "  "
	}
	v.indents = append(v.indents, indent)
	head := []string{oneLine(m.Kind)}
	if m.Title != "" {
		head = append(head, fmt.Sprintf("%q", m.Title))
	}
	if m.Platform != "" {
		head = append(head, oneLine(m.Platform))
	}
	line := indent + strings.Join(head, " ") + " " + m.Digest.String() + timesText(m.Times)
	switch {
	case m.Absent:
		line += ", left out"
	case m.Missing:
		line += ", missing"
	case m.where != "":
		line += " (" + oneLine(m.where) + ")"
	}
	v.p("%s", line)
	if m.Absent || m.Missing {
		return
	}
	if m.Subject != "" {
		v.p("%s  refers to %s", indent, m.Subject)
	}
	if m.PlatformOf != "" {
		v.p("%s  one platform of %s", indent, m.PlatformOf)
	}
	for _, d := range m.Uncovered {
		v.p("%s  not covered by %s, which belongs to the index", indent, d)
	}
}

func (v *textView) blob(b *inspectedBlob) {
	line := fmt.Sprintf("%s  %8s  %s", v.indents[len(v.indents)-1], size(b.Size), oneLine(b.MediaType))
	switch {
	case b.Config:
		line += " (config)"
	case b.Title != "":
		line += " " + oneLine(b.Title)
	default:
		line += " " + b.Digest.String()
	}
	line += timesText(b.Times)
	if b.Absent {
		line += ", left out"
	}
	if len(b.SharedWith) > 0 {
		line += ", shared with " + oneLine(strings.Join(b.SharedWith, ", "))
		if n := b.Shared - len(b.SharedWith); n > 0 {
			line += fmt.Sprintf(" and %s more", humanize.Comma(int64(n)))
		}
	}
	v.p("%s", line)
}

func (v *textView) end() { v.indents = v.indents[:len(v.indents)-1] }

func timesText(n int) string {
	if n < 2 {
		return ""
	}
	return " ×" + humanize.Comma(int64(n))
}
