package layout_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

const (
	image = ocispec.MediaTypeImageManifest
	index = ocispec.MediaTypeImageIndex
)

// x is a blob that descriptors in these tests name.
var (
	x    = digest.FromString("x")
	good = fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":1}`, x)
)

func descriptor(fields string) string { return fmt.Sprintf(`{"mediaType":"a/b",%s}`, fields) }

func withLayer(layer string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, good, layer)
}

// numbered are so many keys, each with an empty text.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%d":"",`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

var manifestTable = []struct {
	name, mediaType, json string
	class                 layout.Class // "" is no error
}{
	{"image", image, `{"schemaVersion":2,"mediaType":"` + image + `","config":` + good + `,"layers":[` + good + `]}`, ""},
	{"image without layers", image, `{"schemaVersion":2,"config":` + good + `}`, ""},
	{"docker image", layout.MediaTypeDockerManifest, withLayer(good), ""},
	{"artifact manifest", layout.MediaTypeArtifactManifest, `{"blobs":[` + good + `]}`, ""},
	{"index", index, `{"schemaVersion":2,"manifests":[` + good + `]}`, ""},
	{"docker list", layout.MediaTypeDockerManifestList, `{"manifests":[]}`, ""},
	{"unknown keys", image, `{"config":` + good + `,"x-y":{"z":[1,null,true]}}`, ""},
	{"annotations that differ by case", image, `{"config":` + good + `,"annotations":{"key":"1","KEY":"2","size":"3","Size":"4"}}`, ""},
	{"data that is true", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1,"data":"eA=="`)), ""},
	{"subject", image, `{"config":` + good + `,"subject":` + good + `}`, ""},

	{"empty", image, ``, layout.ClassJSON},
	{"no object", image, `[]`, layout.ClassJSON},
	{"null", image, `null`, layout.ClassMediaType},
	{"cut", image, `{"config":` + good, layout.ClassJSON},
	{"trailing value", image, `{"config":` + good + `}{}`, layout.ClassJSON},
	{"trailing word", image, `{"config":` + good + `} x`, layout.ClassJSON},
	{"trailing bracket", image, `{"config":` + good + `}]`, layout.ClassJSON},
	{"invalid UTF-8", image, `{"config":` + good + `,"a":"` + "\xff" + `"}`, layout.ClassJSON},
	{"byte order mark", image, "\ufeff" + `{"config":` + good + `}`, layout.ClassJSON},
	{"duplicate key", image, `{"config":` + good + `,"config":` + good + `}`, layout.ClassJSON},
	{"duplicate key, escaped", image, `{"config":` + good + `,"c\u006fnfig":` + good + `}`, layout.ClassJSON},
	{"duplicate unknown key", image, `{"config":` + good + `,"a":1,"a":2}`, layout.ClassJSON},
	{"duplicate key in a descriptor", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1,"size":1`)), layout.ClassJSON},
	{"duplicate annotation", image, `{"config":` + good + `,"annotations":{"a":"1","a":"2"}}`, layout.ClassJSON},
	{"folded key", image, `{"Config":` + good + `}`, layout.ClassJSON},
	{"folded second key", image, `{"config":` + good + `,"Config":` + good + `}`, layout.ClassJSON},
	{"folded key in a descriptor", image, withLayer(descriptor(`"Digest":"` + x.String() + `","size":1`)), layout.ClassJSON},
	// encoding/json takes U+017F, the long s, for an s; no other reader does.
	{"key folded beyond ASCII", image, `{"config":` + good + `,"layers":[],"layer` + "\u017f" + `":[` + good + `]}`, layout.ClassJSON},
	{"key folded beyond ASCII in a descriptor", image, withLayer(descriptor(`"dige` + "\u017f" + `t":"` + x.String() + `","size":1`)), layout.ClassJSON},
	{"annotation that is no string", image, `{"config":` + good + `,"annotations":{"a":1}}`, layout.ClassJSON},
	{"size beyond int64", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":9223372036854775808`)), layout.ClassJSON},
	{"size that is a fraction", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1.5`)), layout.ClassJSON},
	{"deep", image, `{"config":` + good + `,"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, layout.ClassLimit},
	{"a long list", image, withLayer(strings.Repeat(good+",", 20_000) + good), ""},
	// Of three bytes each, they would take a hundred.
	{"a list of nothing", image, withLayer(strings.Repeat("{},", layout.MaxListed) + "{}"), layout.ClassLimit},
	{"lists of nothing", image, withLayer(strings.Repeat(descriptor(`"digest":"`+x.String()+`","size":1,"urls":[`+strings.Repeat(`"",`, 9999)+`""]`)+",", 5) + good), layout.ClassLimit},
	{"keys of one object", image, `{"config":` + good + `,"annotations":{` + numbered(layout.MaxKeys) + `}}`, layout.ClassLimit},
	{"keys of many objects", image, withLayer(strings.Repeat(`{"annotations":{"a":"","b":"","c":""}},`, layout.MaxKeys/4) + good), layout.ClassLimit},
	{"keys that nobody knows", index, `{"manifests":[],"x":{` + numbered(layout.MaxKeys) + `}}`, layout.ClassLimit},
	{"a list of nulls", index, `{"manifests":[` + strings.Repeat("null,", layout.MaxListed) + "null]}", layout.ClassLimit},
	{"a list of lists", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1,"urls":[` + strings.Repeat("[],", layout.MaxListed) + "[]]")), layout.ClassLimit},

	{"mediaType mismatch", image, `{"mediaType":"` + index + `","config":` + good + `}`, layout.ClassMediaType},
	{"docker listed as OCI", image, `{"mediaType":"` + layout.MediaTypeDockerManifest + `","config":` + good + `}`, layout.ClassMediaType},
	{"image with manifests", image, `{"config":` + good + `,"manifests":[]}`, layout.ClassMediaType},
	{"index with layers", index, `{"manifests":[],"layers":[]}`, layout.ClassMediaType},
	{"index with config", index, `{"manifests":[],"config":` + good + `}`, layout.ClassMediaType},
	{"index with blobs", index, `{"manifests":[],"blobs":[]}`, layout.ClassMediaType},
	{"image without config", image, `{"layers":[]}`, layout.ClassMediaType},

	{"negative size", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":-1`)), layout.ClassSize},
	{"the largest size", image, withLayer(descriptor(fmt.Sprintf(`"digest":%q,"size":%d`, x, int64(layout.MaxBlobSize)))), ""},
	{"a size over it", image, withLayer(descriptor(fmt.Sprintf(`"digest":%q,"size":%d`, x, int64(layout.MaxBlobSize+1)))), layout.ClassSize},
	{"the size of 2^63-1", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":9223372036854775807`)), layout.ClassSize},
	{"negative size in config", image, `{"config":` + descriptor(`"digest":"`+x.String()+`","size":-1`) + `}`, layout.ClassSize},
	{"no digest", image, withLayer(descriptor(`"size":1`)), layout.ClassDigest},
	{"digest with a path", image, withLayer(descriptor(`"digest":"sha256:../../x","size":1`)), layout.ClassDigest},
	{"digest in upper case", index, `{"manifests":[` + descriptor(`"digest":"sha256:`+strings.ToUpper(x.Encoded())+`","size":1`) + `]}`, layout.ClassDigest},
	{"unknown algorithm", image, withLayer(descriptor(`"digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1`)), layout.ClassPolicy},
	{"bad subject", image, `{"config":` + good + `,"subject":` + descriptor(`"digest":"sha256:x","size":1`) + `}`, layout.ClassDigest},
	{"null layer", image, withLayer(`null`), layout.ClassDigest},
	{"data of another size", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1,"data":"eHg="`)), layout.ClassSize},
	{"data that is empty", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1,"data":""`)), layout.ClassSize},
	{"data of another digest", image, withLayer(descriptor(`"digest":"` + x.String() + `","size":1,"data":"eQ=="`)), layout.ClassDigest},
}

func TestDecodeManifest(t *testing.T) {
	for _, tt := range manifestTable {
		t.Run(tt.name, func(t *testing.T) {
			d := ocispec.Descriptor{MediaType: tt.mediaType, Digest: digest.FromString(tt.json), Size: int64(len(tt.json))}
			m, err := layout.DecodeManifest(d, []byte(tt.json))
			if tt.class == "" {
				if err != nil || m.MediaType != tt.mediaType {
					t.Fatalf("%+v, %v", m, err)
				}
				return
			}
			if err == nil || layout.ClassOf(err) != tt.class {
				t.Errorf("%v: class %s, want %s", err, layout.ClassOf(err), tt.class)
			}
		})
	}
}

func TestDecodeIndex(t *testing.T) {
	for _, tt := range []struct {
		name, json string
		class      layout.Class
	}{
		{"index", `{"schemaVersion":2,"manifests":[` + good + `]}`, ""},
		{"typed", `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[]}`, ""},
		{"annotations", `{"schemaVersion":2,"manifests":[],"annotations":{"k":"1","K":"2"}}`, ""},
		{"nothing", ``, layout.ClassJSON},
		{"zeros", "\x00\x00\x00\x00", layout.ClassJSON},
		{"trailing", `{"schemaVersion":2,"manifests":[]}` + "\n{}", layout.ClassJSON},
		{"duplicate", `{"schemaVersion":2,"manifests":[],"manifests":[` + good + `]}`, layout.ClassJSON},
		{"folded", `{"schemaVersion":2,"Manifests":[]}`, layout.ClassJSON},
		{"folded beyond ASCII", `{"schemaVersion":2,"manifests":[],"manife` + "\u017f" + `ts":[` + good + `]}`, layout.ClassJSON},
		{"no version", `{"manifests":[]}`, layout.ClassLayout},
		{"version 1", `{"schemaVersion":1,"manifests":[]}`, layout.ClassLayout},
		{"an image", `{"schemaVersion":2,"mediaType":"` + image + `","manifests":[]}`, layout.ClassMediaType},
		{"bad entry", `{"schemaVersion":2,"manifests":[` + descriptor(`"digest":"sha256:x","size":1`) + `]}`, layout.ClassDigest},
		{"negative entry", `{"schemaVersion":2,"manifests":[` + descriptor(`"digest":"`+x.String()+`","size":-1`) + `]}`, layout.ClassSize},
		{"large", `{"schemaVersion":2,"manifests":[]` + strings.Repeat(" ", layout.MaxManifestSize) + `}`, layout.ClassLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := layout.DecodeIndex([]byte(tt.json))
			if (err == nil) != (tt.class == "") || err != nil && layout.ClassOf(err) != tt.class {
				t.Errorf("%v: class %s, want %q", err, layout.ClassOf(err), tt.class)
			}
		})
	}
}

// An entry may have its name in two annotations, each with its readers, in the forms that
// tools write.
func TestTwoNames(t *testing.T) {
	for _, tt := range []struct {
		full, name string
		ok         bool
	}{
		{"r.io/a/b:v1", "r.io/a/b:v1", true},
		{"docker.io/library/alpine:3", "3", true},
		{"index.docker.io/rancher/x:v2", "rancher/x:v2", true},
		{"index.docker.io/library/alpine:3", "docker.io/library/alpine:3", true},
		{"r.io/a@" + x.String(), x.String(), true},
		{"", "v1", true},
		{"r.io/a:v1", "", true},
		{"r.io/a:v1", "r.io/b:v1", false},
		{"x.io/r.io/a:v1", "r.io/a:v1", false},
		{"x:r.io/a:v1", "r.io/a:v1", false},
		{"a/b:v1", "docker.io/a/b:v1", false},
		{"r.io/a:v1", "v2", false},
		{"r.io/a:v12", "2", false},
		{"r.io/ab:v1", "b:v1", false},
		{"v1", "r.io/a:v1", false},
	} {
		names, err := json.Marshal(map[string]string{layout.AnnotationImageName: tt.full, ocispec.AnnotationRefName: tt.name})
		if err != nil {
			t.Fatal(err)
		}
		text := `{"schemaVersion":2,"manifests":[{"mediaType":"` + image + `","digest":"` + x.String() + `","size":1,"annotations":` + string(names) + `}]}`
		_, err = layout.DecodeIndex([]byte(text))
		if (err == nil) != tt.ok || err != nil && layout.ClassOf(err) != layout.ClassName {
			t.Errorf("%q and %q: %v", tt.full, tt.name, err)
		}
	}
}

func TestChildrenComeInTheirOrder(t *testing.T) {
	m := &layout.Manifest{
		Config:  &ocispec.Descriptor{Digest: "c"},
		Layers:  []ocispec.Descriptor{{Digest: "2"}, {Digest: "1"}},
		Subject: &ocispec.Descriptor{Digest: "s"},
	}
	m.Manifests = []ocispec.Descriptor{{Digest: "m", MediaType: image}, {Digest: "b", MediaType: "a/b"}}
	var got []string
	for _, c := range m.Children() {
		got = append(got, fmt.Sprint(c.Digest, c.Kind))
	}
	want := fmt.Sprint([]string{
		fmt.Sprint("c", layout.KindConfig), fmt.Sprint("2", layout.KindBlob), fmt.Sprint("1", layout.KindBlob),
		fmt.Sprint("m", layout.KindManifest), fmt.Sprint("b", layout.KindBlob),
	})
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}
