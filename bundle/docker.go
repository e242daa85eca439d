package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"slices"
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

// images gathers from a walk the container images that manifest.json is made of.
type images struct {
	items   map[digest.Digest]dockerImage
	indexes map[digest.Digest][]platformImage
}

// platformImage is what an index lists for a platform.
type platformImage struct {
	digest digest.Digest
	chosen bool // by docker, of those in the index
}

func newImages() *images {
	return &images{map[digest.Digest]dockerImage{}, map[digest.Digest][]platformImage{}}
}

func (im *images) add(n layout.Node) {
	m := n.Manifest
	if layout.IsIndex(n.MediaType) {
		for _, c := range m.Manifests {
			if p := c.Platform; p != nil && p.OS != "unknown" { // that is what a builder attests
				im.indexes[n.Digest] = append(im.indexes[n.Digest], platformImage{c.Digest, p.OS == "linux" && p.Architecture == "amd64"})
			}
		}
		return
	}
	// cosign's signatures, for one, have the config of an image and no layers of one.
	if m.Config == nil || m.ArtifactType != "" || m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != layout.MediaTypeDockerConfig {
		return
	}
	for _, l := range m.Layers {
		if !strings.HasPrefix(l.MediaType, "application/vnd.oci.image.layer.") && !strings.HasPrefix(l.MediaType, "application/vnd.docker.image.rootfs.") {
			return
		}
	}
	im.items[n.Digest] = imageOf(m)
}

func imageOf(m *layout.Manifest) dockerImage {
	item := dockerImage{Config: blobName(m.Config.Digest), RepoTags: []string{}, Layers: []string{}}
	for _, l := range m.Layers {
		item.Layers = append(item.Layers, blobName(l.Digest))
	}
	return item
}

// leave takes an image out that lacks a layer: it can't be loaded. A platform of an
// index that is left out was never added.
func (im *images) leave(parent digest.Digest, c layout.Child) {
	if c.Kind != layout.KindManifest {
		delete(im.items, parent)
	}
}

// find gives the image that an entry stands for. Docker without the containerd
// store knows one platform to a name: of an index it gets the image for
// linux/amd64, and the first where there is none.
func (im *images) find(d ocispec.Descriptor) (digest.Digest, bool) {
	if _, ok := im.items[d.Digest]; ok {
		return d.Digest, true
	}
	var first digest.Digest
	for _, c := range im.indexes[d.Digest] {
		if _, ok := im.items[c.digest]; !ok {
			continue // an index in an index
		}
		if c.chosen {
			return c.digest, true
		}
		if first == "" {
			first = c.digest
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

// dockerCheck compares manifest.json with what a walk comes to. Of an image it keeps a
// hash, and only of those that manifest.json names.
type dockerCheck struct {
	entries []ocispec.Descriptor
	leads   map[contentHash][]int32 // by images in manifest.json, the roots that lead to them, sorted
	roots   map[digest.Digest]int32 // the entries, each once: their numbers
	images  map[digest.Digest]contentHash
	indexes map[digest.Digest][]digest.Digest // of the roots, what they list
	links   int                               // how many more may be in indexes; below 0, there were more
}

// newDockerCheck reads manifest.json once. A nil one checks nothing.
func newDockerCheck(raw []byte, entries []ocispec.Descriptor, links int) (*dockerCheck, error) {
	if raw == nil {
		return nil, nil
	}
	dc := &dockerCheck{entries, map[contentHash][]int32{}, map[digest.Digest]int32{}, map[digest.Digest]contentHash{}, map[digest.Digest][]digest.Digest{}, links}
	for _, e := range entries {
		if _, ok := dc.roots[e.Digest]; !ok {
			dc.roots[e.Digest] = int32(len(dc.roots))
		}
	}
	return dc, eachDockerImage(raw, func(item dockerImage) error {
		dc.leads[item.hash()] = nil
		return nil
	})
}

// add is told of each manifest of the walk.
func (dc *dockerCheck) add(n layout.Node) {
	if dc == nil {
		return
	}
	m := n.Manifest
	if _, root := dc.roots[n.Digest]; root && layout.IsIndex(n.MediaType) && dc.indexes[n.Digest] == nil {
		seen := map[digest.Digest]bool{}
		list := []digest.Digest{}
		for _, c := range m.Manifests {
			if seen[c.Digest] {
				continue
			}
			if dc.links--; dc.links < 0 {
				break // check will say so
			}
			seen[c.Digest] = true
			list = append(list, c.Digest)
		}
		dc.indexes[n.Digest] = list
	}
	if m.Config == nil {
		return
	}
	item := imageOf(m)
	if h := item.hash(); dc.named(h) {
		dc.images[n.Digest] = h
	}
}

func (dc *dockerCheck) named(h contentHash) bool {
	_, ok := dc.leads[h]
	return ok
}

// leave is told what is left out: what lacks a layer is no image.
func (dc *dockerCheck) leave(parent digest.Digest, c layout.Child) {
	if dc != nil && c.Kind != layout.KindManifest {
		delete(dc.images, parent)
	}
}

// check refuses a manifest.json that says anything else than the index: docker
// would load what nobody verified, or load it under another name. It also
// refuses one that readers take in two ways: keys may not occur twice, in any case.
// raw is what newDockerCheck has read.
func (dc *dockerCheck) check(raw []byte) error {
	if dc.links < 0 {
		return layout.Errorf(layout.ClassLimit, "%s can't be compared with the index: what that names lists more than %d manifests", dockerManifestFile, MaxLinks)
	}
	names := map[string][]int32{} // entries, by what docker calls them
	done := make([]bool, len(dc.roots))
	for _, e := range dc.entries {
		name, root := dockerName(layout.EntryName(e)), dc.roots[e.Digest]
		names[name] = append(names[name], root)
		if done[root] {
			continue
		}
		done[root] = true // roots are numbered in this order
		dc.lead(root, e.Digest)
		for _, c := range dc.indexes[e.Digest] {
			dc.lead(root, c)
		}
	}
	for _, roots := range names {
		slices.Sort(roots)
	}
	return eachDockerImage(raw, func(item dockerImage) error {
		from := dc.leads[item.hash()]
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

// lead notes that a root leads to an image, if manifest.json names that.
func (dc *dockerCheck) lead(root int32, image digest.Digest) {
	if h, ok := dc.images[image]; ok {
		if from := dc.leads[h]; len(from) == 0 || from[len(from)-1] != root {
			dc.leads[h] = append(from, root)
		}
	}
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
	for n := 1; dec.PeekKind() != ']'; n++ {
		if n > layout.MaxListed {
			return layout.Errorf(layout.ClassLimit, "%s has more than %d images", dockerManifestFile, layout.MaxListed)
		}
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

// contentHash is the same for images that docker takes for one.
type contentHash [sha256.Size]byte

func (i *dockerImage) hash() contentHash {
	return sha256.Sum256([]byte(strings.Join(append([]string{i.Config}, i.Layers...), "\n")))
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

// meet reports whether two sorted lists have something in common.
func meet(a, b []int32) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	for _, n := range a {
		if _, ok := slices.BinarySearch(b, n); ok {
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
