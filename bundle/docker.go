package bundle

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// dockerImage is one item of manifest.json, as docker save writes it:
// https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md#combined-image-json--filesystem-changeset-format
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// MaxDockerManifest bounds manifest.json, in bytes. A bundle of images whose
// manifest.json would be larger has none.
const MaxDockerManifest = 16 << 20

// images gathers from a walk what manifest.json is about.
type images struct {
	all       bool // keep what is no container image as well
	items     map[digest.Digest]dockerImage
	container map[digest.Digest]bool // those that are container images
	indexes   map[digest.Digest][]ocispec.Descriptor
}

func newImages(all bool) *images {
	return &images{all, map[digest.Digest]dockerImage{}, map[digest.Digest]bool{}, map[digest.Digest][]ocispec.Descriptor{}}
}

func (im *images) add(n layout.Node) {
	m := n.Manifest
	if layout.IsIndex(n.MediaType) {
		im.indexes[n.Digest] = m.Manifests
		return
	}
	if m.Config == nil {
		return
	}
	item := dockerImage{Config: blobName(m.Config.Digest), RepoTags: []string{}, Layers: []string{}}
	// cosign's signatures, for one, have the config of an image and no layers of one.
	container := m.ArtifactType == "" && (m.Config.MediaType == ocispec.MediaTypeImageConfig || m.Config.MediaType == layout.MediaTypeDockerConfig)
	for _, l := range m.Layers {
		item.Layers = append(item.Layers, blobName(l.Digest))
		container = container && (strings.HasPrefix(l.MediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(l.MediaType, "application/vnd.docker.image.rootfs."))
	}
	if container || im.all {
		im.items[n.Digest] = item
		im.container[n.Digest] = container
	}
}

// leave takes an image out that lacks a layer: it can't be loaded. A platform of an
// index that is left out was never added.
func (im *images) leave(parent digest.Digest, c layout.Child) {
	if c.Kind != layout.KindManifest {
		delete(im.items, parent)
		delete(im.container, parent)
	}
}

// find gives the image that an entry stands for. Docker without the containerd
// store knows one platform to a name: of an index it gets the image for
// linux/amd64, and the first where there is none.
func (im *images) find(d ocispec.Descriptor) (digest.Digest, bool) {
	if im.container[d.Digest] {
		return d.Digest, true
	}
	var first digest.Digest
	for _, c := range im.indexes[d.Digest] {
		if !im.container[c.Digest] || c.Platform == nil || c.Platform.OS == "unknown" {
			continue // an index in an index, or what a builder attests
		}
		if c.Platform.OS == "linux" && c.Platform.Architecture == "amd64" {
			return c.Digest, true
		}
		if first == "" {
			first = c.Digest
		}
	}
	return first, first != ""
}

// manifest is the content of manifest.json for sorted entries, or nil where no
// entry with a tag is a container image.
func (im *images) manifest(entries []ocispec.Descriptor) ([]byte, error) {
	var items []*dockerImage
	at := map[digest.Digest]*dockerImage{}
	for _, e := range entries {
		ref, err := layout.ParseReference(layout.EntryName(e))
		if err != nil || ref.Tag == "" {
			continue
		}
		d, ok := im.find(e)
		if !ok {
			continue
		}
		item := at[d]
		if item == nil {
			i := im.items[d]
			item = &i
			at[d] = item
			items = append(items, item)
		}
		item.RepoTags = append(item.RepoTags, ref.Name()+":"+ref.Tag)
	}
	if len(items) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(items); err != nil {
		return nil, err
	}
	if b.Len() > MaxDockerManifest {
		return nil, nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// check refuses a manifest.json that says anything else than the index: docker
// would load what nobody verified, or load it under another name.
func (im *images) check(raw []byte, entries []ocispec.Descriptor) error {
	var items []dockerImage
	if err := json.Unmarshal(raw, &items); err != nil {
		return layout.Errorf(layout.ClassJSON, "%s: %w", dockerManifestFile, err)
	}
	for _, item := range items {
		for _, tag := range item.RepoTags {
			if !slices.ContainsFunc(entries, func(e ocispec.Descriptor) bool { return namedAs(e, tag) && im.leadsTo(e, item) }) {
				return layout.Errorf(layout.ClassLayout, "%s gives the name %q to content that the index gives another", dockerManifestFile, tag)
			}
		}
		if !slices.ContainsFunc(entries, func(e ocispec.Descriptor) bool { return im.leadsTo(e, item) }) {
			return layout.Errorf(layout.ClassLayout, "%s names content that the index does not (docker save forgets images in the index that are saved by their ID: save them by name)", dockerManifestFile)
		}
	}
	return nil
}

// leadsTo reports whether an image is an entry, or a child of one.
func (im *images) leadsTo(e ocispec.Descriptor, item dockerImage) bool {
	same := func(d ocispec.Descriptor) bool {
		i, ok := im.items[d.Digest]
		return ok && i.Config == item.Config && slices.Equal(i.Layers, item.Layers)
	}
	return same(e) || slices.ContainsFunc(im.indexes[e.Digest], same)
}

// namedAs knows that docker writes docker.io/library/alpine:3 as alpine:3, and
// that some writers put the tag alone into the index.
func namedAs(e ocispec.Descriptor, tag string) bool {
	_, bare := cutTag(tag)
	for _, name := range []string{e.Annotations[layout.AnnotationImageName], e.Annotations[ocispec.AnnotationRefName]} {
		if name != "" && (name == tag || strings.HasSuffix(name, "/"+tag) || name == bare) {
			return true
		}
	}
	return false
}

func cutTag(name string) (repository, tag string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.Contains(name[i:], "/") {
		return name, ""
	}
	return name[:i], name[i+1:]
}
