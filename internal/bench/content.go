package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// host stands in the names of the artifacts of a layout, before the repository.
const host = "bench.example/"

// content is what a layout holds, as far as moving it needs to know.
type content struct {
	dir       string
	artifacts []artifact
}

type artifact struct {
	repo, tag string
	manifest  ocispec.Descriptor
	blobs     []ocispec.Descriptor
}

func readContent(dir string) (*content, error) {
	c := &content{dir: dir}
	raw, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, err
	}
	for _, d := range index.Manifests {
		name := strings.TrimPrefix(d.Annotations[ocispec.AnnotationRefName], host)
		a := artifact{manifest: d}
		var ok bool
		if a.repo, a.tag, ok = strings.Cut(name, ":"); !ok {
			return nil, fmt.Errorf("%s: the entry %q has no tag", dir, name)
		}
		raw, err := os.ReadFile(c.path(d.Digest))
		if err != nil {
			return nil, err
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, err
		}
		seen := map[digest.Digest]bool{}
		for _, b := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				a.blobs = append(a.blobs, b)
			}
		}
		c.artifacts = append(c.artifacts, a)
	}
	return c, nil
}

func (c *content) path(d digest.Digest) string {
	return filepath.Join(c.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// totals are the sizes of a layout.
type totals struct {
	manifests, blobs int   // each once
	placed           int   // blobs, once for each repository that needs them
	bytes            int64 // in manifests and blobs
	head             int64 // bytes of the manifests and configs
}

func (c *content) totals() totals {
	var t totals
	seen, placed := map[digest.Digest]bool{}, map[string]bool{}
	for _, a := range c.artifacts {
		if !seen[a.manifest.Digest] {
			seen[a.manifest.Digest] = true
			t.manifests++
			t.bytes += a.manifest.Size
			t.head += a.manifest.Size
		}
		for i, b := range a.blobs {
			if at := a.repo + "@" + b.Digest.String(); !placed[at] {
				placed[at] = true
				t.placed++
			}
			if seen[b.Digest] {
				continue
			}
			seen[b.Digest] = true
			t.blobs++
			t.bytes += b.Size
			if i == 0 {
				t.head += b.Size
			}
		}
	}
	return t
}

// references are the names of the artifacts at a registry.
func (c *content) references(registry string) []string {
	var out []string
	for _, a := range c.artifacts {
		out = append(out, registry+"/"+a.repo+":"+a.tag)
	}
	return out
}
