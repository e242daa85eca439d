package main

import (
	"bytes"
	"cmp"
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
	"github.com/airdeck/airdeck/trust"
)

func inspectCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "inspect",
		Usage:       "show what a bundle says it holds, without reading the blobs",
		ArgsUsage:   "BUNDLE",
		Description: "Only the head of the file is read, and where a policy asks for them signatures: whether the rest is\nwhole, airdeck verify tells.",
		Flags:       append([]cli.Flag{policyFlag(), identityFlag(), tmpdirFlag()}, trustFlags()...),
	}, 1, 1, inspect)
}

// inspected is the result of inspect.
type inspected struct {
	Digest     digest.Digest          `json:"digest"`
	Artifacts  []*inspectedManifest   `json:"artifacts"`
	Signatures []trust.IndexSignature `json:"signatures,omitempty"` // of the bundle
	// ArtifactSignatures are those that artifacts carry.
	ArtifactSignatures []trust.Artifact `json:"artifactSignatures,omitempty"`
	denial
}

// inspectedManifest is a manifest or an index. A root has a reference.
type inspectedManifest struct {
	Reference    string               `json:"reference,omitempty"`
	Kind         string               `json:"kind"`
	Title        string               `json:"title,omitempty"`
	Digest       digest.Digest        `json:"digest"`
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType,omitempty"`
	Platform     string               `json:"platform,omitempty"`
	Size         int64                `json:"size"`
	Absent       bool                 `json:"absent,omitempty"`     // left out, as the index says
	Missing      bool                 `json:"missing,omitempty"`    // not there, and the index does not say so
	PlatformOf   digest.Digest        `json:"platformOf,omitempty"` // the index of which it is one platform
	Uncovered    []digest.Digest      `json:"uncovered,omitempty"`  // what belongs to that index and is not here
	Blobs        []*inspectedBlob     `json:"blobs,omitempty"`
	Manifests    []*inspectedManifest `json:"manifests,omitempty"`
	Referrers    []*inspectedManifest `json:"referrers,omitempty"` // what refers to it

	subject digest.Digest
}

type inspectedBlob struct {
	Title      string        `json:"title,omitempty"`
	MediaType  string        `json:"mediaType"`
	Digest     digest.Digest `json:"digest"`
	Size       int64         `json:"size"`
	Config     bool          `json:"config,omitempty"`
	Absent     bool          `json:"absent,omitempty"`     // left out, as the index says
	SharedWith []string      `json:"sharedWith,omitempty"` // other artifacts of the bundle, the first maxShown
	Shared     int           `json:"shared,omitempty"`     // how many there are
}

// maxShown bounds the artifacts that are named for each blob: an empty config may be
// in all of them.
const maxShown = 20

func inspect(ctx context.Context, c *cli.Context, ui *ui) error {
	signatures, err := newChecker(c, c.Args().First())
	if err != nil {
		return err
	}
	r, err := openBundle(ctx, c, ui, c.Args().First(), signatures.check)
	if err != nil {
		return err
	}
	defer r.Close()
	limitMemory(readingMemory, 2*r.Blobs()) // what is shown of a blob takes as much again
	in := &inspector{r: r, absent: r.Absent(), missing: map[digest.Digest]bool{}, users: map[digest.Digest]users{}}
	res := inspected{Digest: r.Digest(), Artifacts: []*inspectedManifest{}, Signatures: signatures.found}
	var all []*inspectedManifest
	for _, e := range layout.ResolveNames(r.Index().Manifests) {
		if layout.EntryName(e) != "" {
			full, err := layout.CompleteName(e, containerName(c.Args().First()))
			if err == nil { // otherwise it is shown as it is
				e = layout.Named(e, full)
			}
		}
		m, err := in.artifact(ctx, e)
		if err != nil {
			return fmt.Errorf("%s: %w", cmp.Or(layout.EntryName(e), e.Digest.String()), err)
		}
		all = append(all, m)
	}
	res.Artifacts = attach(all)
	for _, m := range res.Artifacts {
		in.share(m, nameOf(m))
	}
	// What lacks a manifest is shown as that, and nothing can be said of it.
	err = signatures.checkArtifacts(ctx, ui, containerName(c.Args().First()), described{r}, r.Index().Manifests)
	if errors.Is(err, layout.ErrNotFound) && !signatures.policy.HasRules() {
		err = nil
	}
	if err != nil && signatures.artifacts == nil {
		return err
	}
	res.ArtifactSignatures, res.denial = signatures.artifacts, signatures.denial
	return errors.Join(err, ui.result(res, func(p func(string, ...any)) {
		p("%s: %s", oneLine(c.Args().First()), count(len(r.Index().Manifests), "artifact"))
		for _, m := range res.Artifacts {
			showManifest(p, m, "")
		}
		signatures.show(p)
		signatures.showArtifacts(p)
		p("bundle %s", res.Digest)
	}))
}

// described gives what describes the artifacts: manifests, and where a policy asks for
// them signatures. It is for looking, since the rest was not verified.
type described struct{ r *bundle.Reader }

func (d described) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	b, err := d.r.Config(ctx, desc)
	return io.NopCloser(bytes.NewReader(b)), err
}

func (d described) Absent() (layout.Absent, error) { return d.r.Absent(), nil }

func nameOf(m *inspectedManifest) string { return cmp.Or(m.Reference, m.Digest.String()) }

// inspector builds the tree of each artifact.
type inspector struct {
	r       *bundle.Reader
	absent  layout.Absent
	missing map[digest.Digest]bool
	names   []string                // of the artifacts
	users   map[digest.Digest]users // by blob
	shown   int                     // blobs, each as often as it is mentioned
}

// users are the artifacts that need a blob, by their places in a list. Most blobs
// have one, and there may be a hundred thousand blobs.
type users struct {
	first int32
	more  []int32
}

func (in *inspector) artifact(ctx context.Context, e ocispec.Descriptor) (*inspectedManifest, error) {
	nodes := map[digest.Digest]*layout.Manifest{}
	self := int32(len(in.names))
	in.names = append(in.names, cmp.Or(layout.EntryName(e), e.Digest.String()))
	err := in.r.Walk(ctx, e, func(n layout.Node) error {
		if n.Kind == layout.KindManifest {
			nodes[n.Digest] = n.Manifest
			// Entries without end may name one manifest.
			if in.shown += len(n.Manifest.Children()); in.shown > bundle.MaxMembers {
				return fmt.Errorf("the artifacts have more than %s blobs, each counted in all of them, which is more than can be shown", humanize.Comma(bundle.MaxMembers))
			}
		} else {
			u, ok := in.users[n.Digest]
			switch {
			case !ok:
				u.first = self
			case u.first != self && (len(u.more) == 0 || u.more[len(u.more)-1] != self):
				u.more = append(u.more, self)
			}
			in.users[n.Digest] = u
		}
		return nil
	}, func(d ocispec.Descriptor) { in.missing[d.Digest] = true })
	if err != nil {
		return nil, err
	}
	m, err := in.tree(ctx, e, nodes)
	if err == nil {
		m.Reference = layout.EntryName(e)
		m.PlatformOf, m.Uncovered = layout.PlatformOf(e)
	}
	return m, err
}

func (in *inspector) tree(ctx context.Context, d ocispec.Descriptor, nodes map[digest.Digest]*layout.Manifest) (*inspectedManifest, error) {
	man := nodes[d.Digest]
	out := &inspectedManifest{Kind: kindOf(d, man), Digest: d.Digest, MediaType: d.MediaType, Platform: layout.FormatPlatform(d.Platform), Size: d.Size}
	if man == nil {
		return out, nil
	}
	delete(nodes, d.Digest) // a manifest that occurs twice is shown once
	out.ArtifactType = cmp.Or(man.ArtifactType, d.ArtifactType)
	var config []byte
	if man.Config != nil && isRead(man.Config.MediaType) {
		var err error
		if config, err = in.r.Config(ctx, *man.Config); err != nil {
			return nil, err
		}
	}
	out.Title = titleOf(man, config)
	if out.Platform == "" && out.Kind == "image" {
		out.Platform = layout.FormatPlatform(platformOf(config))
	}
	if man.Subject != nil {
		out.subject = man.Subject.Digest
	}
	for _, c := range man.Children() {
		_, absent := in.absent[c.Digest]
		absent = absent && layout.MayBeAbsent(d, c)
		if c.Kind == layout.KindManifest {
			sub, err := in.tree(ctx, c.Descriptor, nodes)
			if err != nil {
				return nil, err
			}
			sub.Absent, sub.Missing = absent, in.missing[c.Digest]
			out.Manifests = append(out.Manifests, sub)
			continue
		}
		out.Blobs = append(out.Blobs, &inspectedBlob{
			Title: c.Annotations[ocispec.AnnotationTitle], MediaType: c.MediaType, Digest: c.Digest, Size: c.Size,
			Config: c.Kind == layout.KindConfig, Absent: absent,
		})
	}
	if layout.IsIndex(d.MediaType) {
		out.Kind = indexKind(out.Manifests)
	}
	return out, nil
}

// indexKind says what is in an index, where all that is here of it is of one kind.
// What a builder attests, and what is left out, does not count.
func indexKind(children []*inspectedManifest) string {
	kind := ""
	for _, c := range children {
		switch {
		case c.Absent || c.Missing || strings.HasPrefix(c.Platform, "unknown/"):
		case kind != "" && c.Kind != kind:
			return "index"
		default:
			kind = c.Kind
		}
	}
	return strings.TrimSpace(kind + " index")
}

// attach puts what refers to a manifest below that. What refers to nothing here
// stays where it is.
func attach(all []*inspectedManifest) []*inspectedManifest {
	at := map[digest.Digest]*inspectedManifest{}
	var note func(m *inspectedManifest)
	note = func(m *inspectedManifest) {
		if at[m.Digest] == nil {
			at[m.Digest] = m
		}
		for _, sub := range m.Manifests {
			note(sub)
		}
	}
	for _, m := range all {
		note(m)
	}
	roots := []*inspectedManifest{}
	for _, m := range all {
		if s := at[m.subject]; m.Reference == "" && m.subject != "" && s != nil {
			s.Referrers = append(s.Referrers, m)
		} else {
			roots = append(roots, m)
		}
	}
	return roots
}

// share tells of each blob which other artifacts have it too.
func (in *inspector) share(m *inspectedManifest, self string) {
	for _, b := range m.Blobs {
		u, ok := in.users[b.Digest]
		if !ok || len(u.more) == 0 {
			continue
		}
		b.Shared = len(u.more)
		for i := -1; i < len(u.more) && len(b.SharedWith) < maxShown; i++ {
			other := u.first
			if i >= 0 {
				other = u.more[i]
			}
			if name := in.names[other]; name != self {
				b.SharedWith = append(b.SharedWith, name)
			}
		}
	}
	for _, sub := range m.Manifests {
		in.share(sub, self)
	}
	for _, sub := range m.Referrers {
		in.share(sub, nameOf(sub))
	}
}

func showManifest(p func(string, ...any), m *inspectedManifest, indent string) {
	head := []string{oneLine(m.Kind)}
	if m.Title != "" {
		head = append(head, fmt.Sprintf("%q", m.Title))
	}
	if m.Platform != "" {
		head = append(head, oneLine(m.Platform))
	}
	if m.Reference != "" {
		p("%s%s", indent, oneLine(m.Reference))
		indent += "  "
	}
	switch {
	case m.Absent:
		p("%s%s %s, left out", indent, strings.Join(head, " "), m.Digest)
		return
	case m.Missing:
		p("%s%s %s, missing", indent, strings.Join(head, " "), m.Digest)
		return
	}
	p("%s%s %s", indent, strings.Join(head, " "), m.Digest)
	if m.PlatformOf != "" {
		p("%s  one platform of %s", indent, m.PlatformOf)
	}
	for _, d := range m.Uncovered {
		p("%s  not covered by %s, which belongs to the index", indent, d)
	}
	for _, b := range m.Blobs {
		line := fmt.Sprintf("%s  %8s  %s", indent, size(b.Size), oneLine(b.MediaType))
		switch {
		case b.Config:
			line += " (config)"
		case b.Title != "":
			line += " " + oneLine(b.Title)
		default:
			line += " " + b.Digest.String()
		}
		if b.Absent {
			line += ", left out"
		}
		if len(b.SharedWith) > 0 {
			line += ", shared with " + oneLine(strings.Join(b.SharedWith, ", "))
			if n := b.Shared - len(b.SharedWith); n > 0 {
				line += fmt.Sprintf(" and %s more", humanize.Comma(int64(n)))
			}
		}
		p("%s", line)
	}
	for _, sub := range m.Manifests {
		showManifest(p, sub, indent+"  ")
	}
	for _, sub := range m.Referrers {
		p("%s  referred to by", indent)
		showManifest(p, sub, indent+"    ")
	}
}
