package bundle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	strictjson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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

// MaxDockerManifest bounds manifest.json, in bytes. That is room for ten thousand
// images, and a bundle whose manifest.json would be larger has none.
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
// would load what nobody verified, or load it under another name. It also
// refuses one that readers take in two ways: keys may not occur twice, in any case.
func (im *images) check(raw []byte, entries []ocispec.Descriptor) error {
	// By the content of each image in it, the entries that lead there.
	leads := map[string]map[digest.Digest]bool{}
	if err := eachDockerImage(raw, func(item dockerImage) error {
		leads[item.content()] = nil
		return nil
	}); err != nil {
		return err
	}
	names := map[string]map[digest.Digest]bool{} // entries, by what docker calls them
	for _, e := range entries {
		name := dockerName(layout.EntryName(e))
		if known := names[name]; known != nil {
			known[e.Digest] = true
		} else {
			names[name] = map[digest.Digest]bool{e.Digest: true}
		}
	}
	once, contents := map[digest.Digest]bool{}, map[digest.Digest]string{}
	for _, e := range entries {
		if once[e.Digest] {
			continue
		}
		once[e.Digest] = true
		im.lead(leads, contents, e.Digest, e.Digest)
		for _, c := range im.indexes[e.Digest] {
			im.lead(leads, contents, e.Digest, c.Digest)
		}
	}
	return eachDockerImage(raw, func(item dockerImage) error {
		from := leads[item.content()]
		if len(from) == 0 {
			return layout.Errorf(layout.ClassLayout, "%s names content that the index does not (docker save forgets images in the index that are saved by their ID: save them by name)", dockerManifestFile)
		}
		for _, tag := range item.RepoTags {
			// Some writers put the tag alone into the index.
			_, bare := cutTag(tag)
			if !meet(from, names[dockerName(tag)]) && (bare == "" || !meet(from, names[bare])) {
				return layout.Errorf(layout.ClassLayout, "%s gives the name %q to content that the index gives another", dockerManifestFile, tag)
			}
		}
		return nil
	})
}

// lead notes that an entry leads to an image, if that is one of those looked for.
// contents are those of the images that were seen before.
func (im *images) lead(leads map[string]map[digest.Digest]bool, contents map[digest.Digest]string, root, image digest.Digest) {
	item, ok := im.items[image]
	if !ok {
		return
	}
	content, seen := contents[image]
	if !seen {
		content = item.content()
		contents[image] = content
	}
	from, ok := leads[content]
	if !ok {
		return
	}
	if from == nil {
		from = map[digest.Digest]bool{}
		leads[content] = from
	}
	from[root] = true
}

// eachDockerImage reads manifest.json item by item: as a whole it might take twenty
// times its size in memory. A key that occurs twice, in whatever case, is an error,
// since readers disagree about it.
func eachDockerImage(raw []byte, f func(dockerImage) error) error {
	bad := func(err error) error { return layout.Errorf(layout.ClassJSON, "%s: %w", dockerManifestFile, err) }
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '[' {
		return bad(cmp.Or(err, errors.New("it is no list")))
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return bad(err)
		}
		if bytes.Count(v, []byte{','}) > layout.MaxListed {
			return layout.Errorf(layout.ClassLimit, "%s: an image has more than %d tags and layers", dockerManifestFile, layout.MaxListed)
		}
		var item dockerImage
		if err := strictjson.Unmarshal(v, &item, strictjson.MatchCaseInsensitiveNames(true)); err != nil {
			return bad(err)
		}
		if err := f(item); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return bad(err)
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return bad(cmp.Or(err, errors.New("data follows the list")))
	}
	return nil
}

// content is the same for images that docker takes for one.
func (i *dockerImage) content() string {
	h := digest.SHA256.Digester()
	for _, l := range append([]string{i.Config}, i.Layers...) {
		fmt.Fprintln(h.Hash(), l)
	}
	return h.Digest().Encoded()
}

// dockerName is what docker calls an image: docker.io/library/alpine:3 is alpine:3. A
// tag that is not said is latest, and a digest beside a tag is no part of the name.
func dockerName(name string) string {
	if ref, err := layout.ParseReference(name); err == nil && ref.Tag != "" {
		name = ref.Name() + ":" + ref.Tag
	}
	for _, p := range []string{"index.docker.io/", "docker.io/", "library/"} {
		name = strings.TrimPrefix(name, p)
	}
	return name
}

// meet reports whether two sets have something in common.
func meet(a, b map[digest.Digest]bool) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	for d := range a {
		if b[d] {
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
