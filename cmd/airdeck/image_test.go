package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/layout"
)

// image NAME REF PLATFORM… [withheld|foreign] pushes an image for each platform, and
// an index of them if there are several, and puts the digest into $NAME. foreign
// images have a layer that is not to be distributed; withheld is one that the
// registry does not have.
func cmdImage(ts *testscript.TestScript, _ bool, args []string) {
	repo, err := remote.NewRepository(args[1])
	ts.Check(err)
	repo.PlainHTTP = true
	m := &imageMaker{ts: ts, repo: repo, ctx: context.Background()}
	var children []ocispec.Descriptor
	for _, p := range args[2:] {
		if p != "foreign" && p != "withheld" {
			children = append(children, m.image(p, args[len(args)-1]))
		}
	}
	root := children[0]
	if len(children) > 1 {
		root = m.pushJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
		})
	}
	ts.Check(repo.Tag(m.ctx, root, repo.Reference.Reference))
	ts.Setenv(args[0], root.Digest.String())
}

type imageMaker struct {
	ts   *testscript.TestScript
	repo *remote.Repository
	ctx  context.Context
}

func (m *imageMaker) image(platform, kind string) ocispec.Descriptor {
	os, arch, _ := strings.Cut(platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	p := ocispec.Platform{OS: os, Architecture: arch, Variant: variant}
	layers := []ocispec.Descriptor{m.push(ocispec.MediaTypeImageLayer, []byte("shared by all")), m.push(ocispec.MediaTypeImageLayer, []byte("for "+platform))}
	const foreignType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	switch foreign := []byte("not to be distributed"); kind {
	case "foreign":
		layers = append(layers, m.push(foreignType, foreign))
	case "withheld":
		layers = append(layers, ocispec.Descriptor{MediaType: foreignType, Digest: digest.FromBytes(foreign), Size: int64(len(foreign)), URLs: []string{"https://example.com/layer"}})
	}
	d := m.pushJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: m.pushJSON(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: p}), Layers: layers,
	})
	d.Platform = &p
	return d
}

func (m *imageMaker) pushJSON(mediaType string, v any) ocispec.Descriptor {
	b, err := json.Marshal(v)
	m.ts.Check(err)
	return m.push(mediaType, b)
}

func (m *imageMaker) push(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	ok, err := m.repo.Exists(m.ctx, d)
	m.ts.Check(err)
	if !ok {
		if layout.IsManifest(mediaType) {
			m.ts.Check(m.repo.Push(m.ctx, d, bytes.NewReader(b)))
		} else {
			m.ts.Check(m.repo.Blobs().Push(m.ctx, d, bytes.NewReader(b)))
		}
	}
	return d
}
