package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
	"github.com/airdeck/airdeck/mirror"
)

// packer gathers the artifacts of all sources.
type packer struct {
	c         *cli.Context
	ui        *ui
	platforms []ocispec.Platform

	store   *layout.Store
	closers []io.Closer
	parts   []layout.Part // what comes from each source
	entries []ocispec.Descriptor
	names   map[string]int // places in entries
	narrow  []narrowed
	noted   map[string]bool // the references in narrow

	signatures *checker
	carried    layout.Partial // what the bundle is made of
	checked    bool

	pulled *mirror.Pulled // from registries; nil where there are none
	fresh  []ocispec.Descriptor
}

// narrowed says what of an artifact is not packed because of --platform.
type narrowed struct {
	Reference  string          `json:"reference"`
	PlatformOf digest.Digest   `json:"platformOf,omitempty"` // the index of which one platform is packed in its place
	Absent     int             `json:"absent,omitempty"`     // manifests of the index that are left out
	Lacking    []string        `json:"lacking,omitempty"`    // platforms that the artifact does not have
	Uncovered  []digest.Digest `json:"uncovered,omitempty"`  // what belongs to the index, and not to what is packed
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
	if i, ok := p.names[name]; ok {
		old := p.entries[i]
		if old.Digest != d.Digest {
			return layout.Errorf(layout.ClassPolicy, "%s is %s in one source and %s in another", name, old.Digest, d.Digest)
		}
		p.entries[i] = merged(old, d)
		return nil
	}
	p.names[name] = len(p.entries)
	p.entries = append(p.entries, d)
	return nil
}

// merged is an entry that two sources have, the same whichever comes first.
func merged(a, b ocispec.Descriptor) ocispec.Descriptor {
	all := maps.Clone(a.Annotations)
	for k, v := range b.Annotations {
		if old, ok := all[k]; !ok || v < old {
			if all == nil {
				all = map[string]string{}
			}
			all[k] = v
		}
	}
	a.Annotations = all
	a.ArtifactType = cmp.Or(a.ArtifactType, b.ArtifactType)
	if a.Platform == nil {
		a.Platform = b.Platform
	}
	return a
}

// addPart takes the entries of one source in. absent is what they lack there.
func (p *packer) addPart(src layout.Source, absent layout.Absent, entries []ocispec.Descriptor) error {
	for _, d := range entries {
		if err := p.add(d); err != nil {
			return err
		}
	}
	p.parts = append(p.parts, layout.Part{Source: layout.WithAbsent(src, absent), Entries: entries})
	return nil
}

// selected notes what became of an artifact for the platforms.
func (p *packer) selected(d ocispec.Descriptor, sel layout.Selection) {
	n := narrowed{Reference: layout.EntryName(d)}
	if p.noted[n.Reference] {
		return
	}
	n.PlatformOf, n.Uncovered = layout.PlatformOf(d)
	if sel.Of == nil {
		n.Absent = len(sel.Absent)
	}
	for i := range sel.Lacking {
		n.Lacking = append(n.Lacking, layout.FormatPlatform(&sel.Lacking[i]))
	}
	if n.PlatformOf != "" || n.Absent > 0 || n.Lacking != nil {
		if p.noted == nil {
			p.noted = map[string]bool{}
		}
		p.noted[n.Reference] = true
		p.narrow = append(p.narrow, n)
	}
}

// gather brings what comes from registries and decks into the layout, opens the
// rest, and lists all entries.
func (p *packer) gather(ctx context.Context, sources []source) error {
	var refs []layout.Reference
	var decks []ocispec.Descriptor
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
			d, err = buildDeck(ctx, s.deck, s.name, p.store, p.ui)
			decks = append(decks, d)
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
	if p.store == nil {
		return nil
	}
	// What comes from registries is asked first: its source waits for what arrives.
	p.fresh = decks
	if len(refs) > 0 {
		if err := p.resolve(ctx, refs); err != nil {
			return err
		}
	}
	if len(decks) == 0 {
		return nil
	}
	return p.addPart(p.store, nil, decks)
}

// resolve fetches the manifests of what is in registries.
func (p *packer) resolve(ctx context.Context, refs []layout.Reference) error {
	hosts := make([]string, len(refs))
	for i, r := range refs {
		hosts[i] = r.Registry
	}
	client, err := newClient(p.c, p.ui, hosts...)
	if err != nil {
		return err
	}
	p.pulled, err = client.Resolve(ctx, refs, p.store, &mirror.PullOptions{
		Jobs: p.c.Int("jobs"), NoReferrers: p.c.Bool("no-referrers"), Platforms: p.platforms,
		AllowNondistributable: p.c.Bool("allow-nondistributable"),
	})
	if err != nil {
		return err
	}
	for i, sel := range p.pulled.Selections {
		p.selected(p.pulled.Entries[i], sel)
	}
	entries := slices.Concat(p.pulled.Entries, p.pulled.Referrers)
	p.fresh = append(p.fresh, entries...)
	return p.addPart(p.pulled.Source(), p.pulled.Absent, entries)
}

// index is the index of the bundle, and the content that it leads to.
func (p *packer) index(ctx context.Context) (ocispec.Index, layout.Source, error) {
	idx := ocispec.Index{Manifests: p.entries}
	absent, lacking, err := layout.Merge(ctx, p.parts...)
	if err != nil {
		return idx, nil, err
	}
	if len(lacking) > 0 && !p.c.Bool("allow-nondistributable") {
		return idx, nil, layout.Errorf(layout.ClassPolicy, "the layer %s is not to be distributed, and no source has it (--allow-nondistributable leaves it out)", lacking[0].Digest)
	}
	absent.Mark(&idx)
	var sources []layout.Source
	for _, part := range p.parts {
		sources = append(sources, part.Source)
	}
	src := layout.Join(sources...)
	p.carried = layout.WithAbsent(src, absent)
	return idx, src, p.styleNames(p.c.String("ref-style"))
}

// prepare finds out what is to be fetched and written, says it, and refuses what the
// disks have no room for.
func (p *packer) prepare(ctx context.Context, out string, o *bundle.WriteOptions) (*bundle.Prepared, ocispec.Index, error) {
	idx, src, err := p.index(ctx)
	if err != nil {
		return nil, idx, err
	}
	ready, err := bundle.Prepare(ctx, src, idx)
	if err != nil {
		return nil, idx, fmt.Errorf("pack %s: %w", out, err)
	}
	var needs []layout.Need
	least, most := ready.Size(o)
	text := fmt.Sprintf("to write: %s", size(most))
	if least < most {
		text = fmt.Sprintf("to write: at most %s", size(most))
	}
	if out != "-" {
		needs = append(needs, layout.Need{Path: out, Bytes: least})
	}
	if p.pulled != nil {
		blobs, bytes, err := p.pulled.Need(ctx)
		if err != nil {
			return nil, idx, err
		}
		dir, err := layoutDir(p.c)
		if err != nil {
			return nil, idx, err
		}
		needs = append(needs, layout.Need{Path: dir, Bytes: bytes})
		text = fmt.Sprintf("to fetch: %s, %s; %s", count(blobs, "blob"), size(bytes), text)
	}
	free, err := layout.CheckSpace(needs...)
	if err != nil {
		return nil, idx, err
	}
	if free >= 0 {
		text += fmt.Sprintf("; free: %s", size(free))
	}
	p.ui.progress().Note(text)
	return ready, idx, nil
}

// write fetches what is missing, and writes the bundle meanwhile. Where unread is
// set, what the layout has is verified as it is written, and not before.
func (p *packer) write(ctx context.Context, ready *bundle.Prepared, w io.Writer, o *bundle.WriteOptions, unread bool) (sum bundle.Summary, err error) {
	g, ctx := errgroup.WithContext(ctx)
	if p.pulled != nil {
		g.Go(func() error { return p.pulled.Fetch(ctx, &mirror.FetchOptions{Unread: unread}) })
	}
	g.Go(func() error {
		// The signatures are the first that are fetched.
		if err := p.check(ctx); err != nil {
			return err
		}
		var err error
		sum, err = ready.Write(ctx, w, o)
		return err
	})
	err = g.Wait()
	return sum, err
}

// check checks once what the artifacts carry. Nothing is written before.
func (p *packer) check(ctx context.Context) error {
	if p.checked {
		return nil
	}
	err := p.signatures.checkArtifacts(ctx, p.ui, "", p.carried, p.entries)
	p.checked = err == nil
	return err
}

// keep notes in the layout what was fetched and built.
func (p *packer) keep(ctx context.Context) error {
	if p.store == nil {
		return nil
	}
	var absent layout.Absent
	if p.pulled != nil {
		absent = p.pulled.Absent
	}
	return p.store.Add(ctx, absent, p.fresh...)
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
	r, err := openBundle(ctx, p.c, p.ui, s.bundle, nil)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, r)
	v, _, err := r.Verify(ctx, &bundle.VerifyOptions{Jobs: p.c.Int("jobs"), Platforms: p.platforms, Progress: p.ui.progress()})
	if err != nil {
		return fmt.Errorf("%s: %w", s.bundle, err)
	}
	return p.addEntries(ctx, s, v, v.Index().Manifests, containerName(s.bundle))
}

// containerName is the name that a file or directory lends to what is in it.
func containerName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	name := filepath.Base(path)
	for _, end := range []string{".age", ".zst", ".gz", ".tar", ".tgz", ".tzst"} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}

func (p *packer) addLayout(ctx context.Context, s source) error {
	store, err := layout.OpenStore(ctx, s.layout, &layout.StoreOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, store)
	idx, err := store.Index()
	if err != nil {
		return err
	}
	return p.addEntries(ctx, s, store, idx.Manifests, containerName(s.layout))
}

// addEntries takes in the entries of a bundle or a layout, or the one that was
// asked for, with what belongs to them.
func (p *packer) addEntries(ctx context.Context, s source, src layout.Partial, entries []ocispec.Descriptor, container string) error {
	got, err := layout.Take(ctx, src, entries, &layout.TakeOptions{
		Container: container, Only: s.name, Platforms: p.platforms, NoReferrers: p.c.Bool("no-referrers"),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.text, err)
	}
	for i, sel := range got.Selections {
		p.selected(got.Entries[i], sel)
	}
	return p.addPart(src, got.Absent, got.Entries)
}
