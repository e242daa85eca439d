package layout_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/vectors"
	"github.com/airdeck/airdeck/layout"
)

// secondManifest is a manifest as encoding/json sees it, which folds keys and takes
// the last of two.
type secondManifest struct {
	MediaType    string
	ArtifactType string
	Config       *ocispec.Descriptor
	Layers       []ocispec.Descriptor
	Blobs        []ocispec.Descriptor
	Manifests    []ocispec.Descriptor
	Subject      *ocispec.Descriptor
	Annotations  map[string]string
}

// unambiguous reports whether no reader can take a key of b for another, or a text
// for another. It reads tokens, and knows nothing of the decoder of the product.
func unambiguous(b []byte) bool {
	if !utf8.Valid(b) || bytes.Contains(bytes.ToLower(b), []byte(`\ud`)) {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var value func(depth int, data bool) bool
	object := func(depth int, data bool) bool {
		var keys []string
		for dec.More() {
			tok, err := dec.Token()
			key, ok := tok.(string)
			if err != nil || !ok {
				return false
			}
			if slices.Contains(keys, key) || !data && slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) }) {
				return false
			}
			if !data && !slices.Contains(specKeys, key) && slices.ContainsFunc(specKeys, func(k string) bool { return strings.EqualFold(k, key) }) {
				return false
			}
			keys = append(keys, key)
			if !value(depth+1, key == "annotations") {
				return false
			}
		}
		_, err := dec.Token()
		return err == nil
	}
	value = func(depth int, data bool) bool {
		tok, err := dec.Token()
		if err != nil || depth > 63 {
			return false
		}
		switch tok {
		case json.Delim('{'):
			return object(depth, data)
		case json.Delim('['):
			for dec.More() {
				if !value(depth+1, false) {
					return false
				}
			}
			_, err := dec.Token()
			return err == nil
		}
		return true
	}
	return value(0, false)
}

var specKeys = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject", "annotations", "digest", "size", "urls",
	"data", "platform", "imageLayoutVersion", "os", "architecture", "variant", "os.version", "os.features", "features",
}

// badDescriptor reports whether a descriptor can't be true, by go-digest.
func badDescriptor(d ocispec.Descriptor) bool {
	if d.Digest.Validate() != nil || d.Digest.Algorithm() == digest.SHA384 || d.Size < 0 || d.Size > layout.MaxBlobSize {
		return true
	}
	return d.Data != nil && (int64(len(d.Data)) != d.Size || d.Digest.Algorithm().FromBytes(d.Data) != d.Digest)
}

// addBlobs seeds a target with the JSON in the corpus.
func addBlobs(f *testing.F, add func(mediaType string, b []byte)) {
	f.Helper()
	all, err := vectors.Load(filepath.Join("..", vectors.Dir))
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, v := range all {
		for _, file := range v.Contents() {
			b := file.Content
			if len(b) < 16<<10 && bytes.HasPrefix(b, []byte("{")) && !known[string(b)] {
				known[string(b)] = true
				mediaType := image
				if bytes.Contains(b, []byte(`"manifests"`)) {
					mediaType = index
				}
				add(mediaType, b)
			}
		}
	}
}

// FuzzDecodeManifest holds the strict decoder against encoding/json: what is
// accepted says the same to both, and what is refused has a reason.
func FuzzDecodeManifest(f *testing.F) {
	for _, tt := range manifestTable {
		f.Add(tt.mediaType, []byte(tt.json))
	}
	addBlobs(f, func(mediaType string, b []byte) { f.Add(mediaType, b) })
	f.Fuzz(func(t *testing.T, mediaType string, b []byte) {
		m, err := layout.DecodeManifest(ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		var second secondManifest
		serr := json.Unmarshal(b, &second)
		if err != nil {
			if layout.ClassOf(err) == layout.ClassLocal {
				t.Errorf("not a fault of this machine: %v", err)
			}
			if layout.ClassOf(err) == layout.ClassJSON && serr == nil && unambiguous(b) {
				t.Errorf("%v, and every reader sees the same in %q", err, b)
			}
			return
		}
		if serr != nil {
			t.Fatalf("encoding/json: %v", serr)
		}
		first := secondManifest{
			MediaType: second.MediaType, ArtifactType: m.ArtifactType, Config: m.Config, Layers: second.Layers, Blobs: second.Blobs,
			Manifests: m.Manifests, Subject: m.Subject, Annotations: m.Annotations,
		}
		if !reflect.DeepEqual(first, second) || !equalLists(m.Layers, slices.Concat(second.Layers, second.Blobs)) {
			t.Fatalf("%+v\nencoding/json: %+v", first, second)
		}
		if second.MediaType != "" && second.MediaType != mediaType {
			t.Errorf("%q is read as a %q", b, mediaType)
		}
		isIndex := mediaType == index || mediaType == layout.MediaTypeDockerManifestList
		if isIndex && len(second.Layers)+len(second.Blobs) > 0 || !isIndex && len(second.Manifests) > 0 {
			t.Errorf("%q may be read as two things", b)
		}
		for _, c := range m.Children() {
			if badDescriptor(c.Descriptor) {
				t.Errorf("%+v", c)
			}
		}
		// Another reader, which minds case, must see the same children.
		if seen := exactDigests(t, b); len(seen) != len(m.Children()) {
			t.Errorf("%d children, and %d for a reader that minds case: %s", len(m.Children()), len(seen), b)
		}
	})
}

func equalLists(a, b []ocispec.Descriptor) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

// FuzzDecodeIndex does the same for index.json, and for the list of what is absent.
func FuzzDecodeIndex(f *testing.F) {
	for _, text := range []string{
		`{"schemaVersion":2,"manifests":[` + good + `]}`, `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[],"annotations":{"k":"1","K":"2"}}`,
		`{"schemaVersion":2,"manifests":[],"annotations":{"` + layout.AnnotationAbsent + `":"` + x.String() + `,` + someDigest.String() + `"}}`,
		`{"schemaVersion":2,"manifests":[],"annotations":{"` + layout.AnnotationAbsent + `":"` + x.String() + `,` + x.String() + `"}}`,
		`{"schemaVersion":2,"annotations":{"` + layout.AnnotationAbsent + `":""}}`, `{"schemaVersion":2,"Manifests":[]}`, `{"schemaVersion":2.0}`,
	} {
		f.Add([]byte(text))
	}
	addBlobs(f, func(_ string, b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		idx, err := layout.DecodeIndex(b)
		var second ocispec.Index
		serr := json.Unmarshal(b, &second)
		if err != nil {
			if layout.ClassOf(err) == layout.ClassLocal {
				t.Errorf("not a fault of this machine: %v", err)
			}
			if layout.ClassOf(err) == layout.ClassJSON && serr == nil && unambiguous(b) {
				t.Errorf("%v, and every reader sees the same in %q", err, b)
			}
			return
		}
		if serr != nil || !reflect.DeepEqual(idx, second) {
			t.Fatalf("%+v\nencoding/json: %+v, %v", idx, second, serr)
		}
		if slices.ContainsFunc(idx.Manifests, badDescriptor) {
			t.Errorf("%+v", idx.Manifests)
		}
		absent, err := layout.AbsentOf(idx)
		if err != nil {
			t.Fatalf("accepted, and then: %v", err)
		}
		// There is one way to write what is left out.
		again := idx
		absent.Mark(&again)
		if want, ok := idx.Annotations[layout.AnnotationAbsent]; again.Annotations[layout.AnnotationAbsent] != want || ok != (len(absent) > 0) {
			t.Errorf("%q becomes %q", want, again.Annotations[layout.AnnotationAbsent])
		}
		// What is written of it is read as the same, but for the order of the entries.
		out, err := layout.MarshalIndex(idx)
		if err != nil {
			return // it grows over the limit
		}
		written, err := layout.DecodeIndex(out)
		if err != nil {
			t.Fatalf("written, and then: %v", err)
		}
		layout.SortEntries(idx.Manifests)
		if !equalLists(written.Manifests, idx.Manifests) || len(written.Annotations) != len(idx.Annotations) {
			t.Errorf("%+v\nis written as %+v", idx, written)
		}
	})
}
