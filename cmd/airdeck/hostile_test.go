package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/layout"
)

// hostileText clears the screen in the ways of ECMA-48, in seven and in eight bits,
// begins a line of its own, and has what follows read backwards.
const hostileText = "\x1b[2J\u009b2J\r\n\x07\x7f\u202ehostile"

// hostile FILE writes a bundle, good in all its bytes, that says hostile things
// wherever a text can stand.
func cmdHostile(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	store, err := layout.OpenStore(ctx, filepath.Join(ts.Getenv("WORK"), "hostile"), nil)
	ts.Check(err)
	defer store.Close()
	push := func(mediaType string, v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		ts.Check(err)
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		ts.Check(layout.PushBytes(ctx, store, d, b))
		return d
	}
	titled := map[string]string{ocispec.AnnotationTitle: hostileText}
	layer := push("image/"+hostileText, "a slide")
	layer.Annotations = titled
	manifest := func(config ocispec.Descriptor, artifactType string) ocispec.Descriptor {
		return push(ocispec.MediaTypeImageManifest, ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
			Config: config, Layers: []ocispec.Descriptor{layer}, Annotations: titled,
		})
	}
	d := manifest(push(ocispec.MediaTypeImageConfig, ocispec.Platform{OS: hostileText, Architecture: hostileText}), "")
	other := manifest(push("config/"+hostileText, map[string]string{"title": hostileText}), hostileText)
	other.Platform = &ocispec.Platform{OS: hostileText, Architecture: hostileText}
	multi := push(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{other},
	})
	var b bytes.Buffer
	_, err = bundle.Write(ctx, &b, store, ocispec.Index{Manifests: []ocispec.Descriptor{
		layout.Named(d, hostileText), layout.Named(multi, "ghcr.io/acme/"+hostileText),
	}}, &bundle.WriteOptions{Compression: bundle.None})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

// mentions DIR ENTRIES BLOBS writes a layout in which a number of entries name one
// manifest, which lists one blob a number of times.
func cmdMentions(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := strconv.Atoi(args[1])
	ts.Check(err)
	blobs, err := strconv.Atoi(args[2])
	ts.Check(err)
	blob := fmt.Sprintf(`{"digest":%q,"size":2}`, digest.FromString("{}"))
	manifest := `{"config":` + blob + `,"layers":[` + strings.Repeat(blob+",", blobs-1) + blob + `]}`
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(manifest), Size: int64(len(manifest))}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	for i := range entries {
		index.Manifests = append(index.Manifests, layout.Named(d, fmt.Sprintf("x.io/a:%03d", i)))
	}
	writeHostile(ts, args[0], index, manifest, "{}")
}

// chain DIR N writes a layout of an artifact and so many manifests, each of which refers
// to the one before.
func cmdChain(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	config := fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":2}`, digest.FromString("{}"))
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	blobs := []string{"{}"}
	more := ""
	for i := range n + 1 {
		manifest := `{"config":` + config + `,"layers":[]` + more + `}`
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(manifest), Size: int64(len(manifest))}
		subject, err := json.Marshal(d)
		ts.Check(err)
		more = `,"subject":` + string(subject)
		if i == 0 {
			d = layout.Named(d, "x.io/a:1")
		}
		index.Manifests = append(index.Manifests, d)
		blobs = append(blobs, manifest)
	}
	writeHostile(ts, args[0], index, blobs...)
}

// lost DIR N BLOBS writes a layout of so many artifacts, each with as many blobs that are
// not there, one of them the same in the first two.
func cmdLost(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	blobs, err := strconv.Atoi(args[2])
	ts.Check(err)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	written := []string{"{}"}
	for i := range n {
		var b strings.Builder
		fmt.Fprintf(&b, `{"config":{"digest":%q,"size":2},"layers":[{"digest":"sha256:%064x","size":1}`, digest.FromString("{}"), i/2*blobs)
		for k := range blobs - 1 {
			fmt.Fprintf(&b, `,{"digest":"sha256:%064x","size":1}`, i*blobs+k+1)
		}
		b.WriteString("]}")
		manifest := b.String()
		written = append(written, manifest)
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(manifest), Size: int64(len(manifest))}
		index.Manifests = append(index.Manifests, layout.Named(d, fmt.Sprintf("x.io/a:%d", i)))
	}
	writeHostile(ts, args[0], index, written...)
}

// writeHostile writes a layout as it is told.
func writeHostile(ts *testscript.TestScript, dir string, index ocispec.Index, blobs ...string) {
	raw, err := json.Marshal(index)
	ts.Check(err)
	dir = ts.MkAbs(dir)
	sums := filepath.Join(dir, "blobs", "sha256")
	ts.Check(os.MkdirAll(sums, 0o755))
	files := map[string]string{filepath.Join(dir, "oci-layout"): layout.LayoutFile, filepath.Join(dir, "index.json"): string(raw)}
	for _, b := range blobs {
		files[filepath.Join(sums, digest.FromString(b).Encoded())] = b
	}
	for name, b := range files {
		ts.Check(os.WriteFile(name, []byte(b), 0o644))
	}
}
