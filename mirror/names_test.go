package mirror

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

func entry(name, content string) ocispec.Descriptor {
	return layout.Named(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(content), Size: int64(len(content))}, name)
}

func TestTargets(t *testing.T) {
	d := digest.FromString("x").String()
	for _, tt := range []struct {
		dest, name, want string
		keepHost         bool
		mappings         []string
	}{
		{dest: "registry.internal", name: "ghcr.io/acme/decks/intro:v1", want: "registry.internal/acme/decks/intro:v1"},
		{dest: "registry.internal:5000/sea/north", name: "ghcr.io/acme/intro:v1", want: "registry.internal:5000/sea/north/acme/intro:v1"},
		{dest: "r.io", name: "localhost:5000/x:v1", keepHost: true, want: "r.io/localhost-5000/x:v1"},
		{dest: "r.io", name: "ghcr.io/acme/x@" + d, want: "r.io/acme/x@" + d},
		{dest: "r.io", name: "ghcr.io/acme/x:v1", mappings: []string{"ghcr.io/acme=platform"}, want: "r.io/platform/x:v1"},
		{dest: "r.io/p", name: "ghcr.io/acme/x:v1", mappings: []string{"ghcr.io/acme="}, want: "r.io/p/x:v1"},
		{dest: "r.io", name: "ghcr.io/acme/x:v1", mappings: []string{"ghcr.io=all", "ghcr.io/acme/x=y"}, want: "r.io/y:v1"},
		{dest: "r.io", name: "v1", mappings: []string{"v1=acme/x:v1"}, want: "r.io/acme/x:v1"},
	} {
		dest, err := ParseDestination(tt.dest)
		if err != nil {
			t.Fatal(err)
		}
		dest.KeepHost = tt.keepHost
		for _, m := range tt.mappings {
			parsed, err := ParseMapping(m)
			if err != nil {
				t.Fatal(err)
			}
			dest.Map = append(dest.Map, parsed)
		}
		got, err := dest.Targets(t.Context(), nil, []ocispec.Descriptor{entry(tt.name, "x")})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if s := got[0].Reference.String(); s != tt.want {
			t.Errorf("%s in %s is %s, want %s", tt.name, tt.dest, s, tt.want)
		}
	}
}

func TestTargetsRefused(t *testing.T) {
	dest := Destination{Registry: "r.io"}
	for name, tt := range map[string]struct {
		entries []ocispec.Descriptor
		class   layout.Class
	}{
		"one name for two": {[]ocispec.Descriptor{entry("a.io/x:v1", "1"), entry("b.io/x:v1", "2")}, layout.ClassPolicy},
		"no name":          {[]ocispec.Descriptor{entry("", "1")}, layout.ClassName},
		"another digest":   {[]ocispec.Descriptor{entry("a.io/x:v1@"+digest.FromString("2").String(), "1")}, layout.ClassPolicy},
		"one tag for two":  {[]ocispec.Descriptor{entry("a.io/x:v1@"+digest.FromString("1").String(), "1"), entry("a.io/x:v1@"+digest.FromString("2").String(), "2")}, layout.ClassPolicy},
		"a bare tag":       {[]ocispec.Descriptor{entry("v1", "1")}, layout.ClassName},
		"no repository":    {[]ocispec.Descriptor{entry("a.io/UPPER:v1", "1")}, layout.ClassName},
	} {
		if _, err := dest.Targets(t.Context(), nil, tt.entries); layout.ClassOf(err) != tt.class {
			t.Errorf("%s: %v", name, err)
		}
	}
	mistyped := Destination{Registry: "r.io", Map: []Mapping{{"ghcr.io/ac", "no"}}}
	if _, err := mistyped.Targets(t.Context(), nil, []ocispec.Descriptor{entry("ghcr.io/acme/x:v1", "1")}); layout.ClassOf(err) != layout.ClassPolicy {
		t.Errorf("a mapping that fits nothing: %v", err)
	}
	// The same artifact under two names that become one is one.
	got, err := dest.Targets(t.Context(), nil, []ocispec.Descriptor{entry("a.io/x:v1", "1"), entry("b.io/x:v1", "1")})
	if err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "registry", "https://r.io", "r.io/UPPER", "r.io/x:v1", "r.io/x@y"} {
		if d, err := ParseDestination(s); err == nil {
			t.Errorf("destination %q is %+v", s, d)
		}
	}
}

// FuzzTargets demands that whatever a bundle says, and whatever is mapped, goes below
// the place that the operator named, and what cosign keeps beside an artifact to
// where the artifact goes.
func FuzzTargets(f *testing.F) {
	f.Add("r.io/p", "ghcr.io/acme/x:v1", "ghcr.io=y", "talks", byte(0))
	f.Add("r.io", "v1", "v1=acme/x:v1", "", byte(1))
	f.Add("r.io/a/b", "localhost:5000/x@"+digest.FromString("x").String(), "localhost:5000/x=../../evil", "..", byte(3))
	f.Add("localhost:5000", "acme/x:v1", "acme=", "Talks", byte(2))
	f.Fuzz(func(t *testing.T, dest, name, mapping, container string, how byte) {
		d, err := ParseDestination(dest)
		if err != nil {
			return
		}
		if again, err := ParseDestination(strings.TrimSuffix(d.Registry+"/"+d.Prefix, "/")); err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%q is %+v, and then %+v, %v", dest, d, again, err)
		}
		m, err := ParseMapping(mapping)
		if err == nil && how&1 != 0 {
			d.Map = []Mapping{m}
		}
		d.KeepHost, d.Container = how&2 != 0, container
		c := storagetest.Small()
		first, second := c.Index.Manifests[0], c.AddImage(c.Add(storagetest.ConfigType, []byte("signature")))
		beside := second
		if ref, err := layout.ParseReference(name); err == nil {
			beside = layout.Named(second, ref.Name()+":"+layout.CosignTags(first.Digest)[0])
		}
		first = layout.Named(first, name)
		targets, err := d.Targets(t.Context(), c, []ocispec.Descriptor{first, beside})
		if err != nil {
			if layout.ClassOf(err) == layout.ClassLocal {
				t.Errorf("not a fault of this machine: %v", err)
			}
			return
		}
		places := map[string][]string{}
		for _, target := range targets {
			ref := target.Reference
			if ref.Registry != d.Registry || d.Prefix != "" && !strings.HasPrefix(ref.Repository, d.Prefix+"/") {
				t.Errorf("%s goes to %s", target.Source, ref)
			}
			if again, err := layout.ParseReference(ref.String()); err != nil || again != ref {
				t.Errorf("%s is not read back: %v", ref, err)
			}
			if ref.Tag == "" && ref.Digest != target.Descriptor.Digest {
				t.Errorf("%s goes to %s", target.Descriptor.Digest, ref)
			}
			places[target.Descriptor.Digest.String()] = append(places[target.Descriptor.Digest.String()], ref.Name())
		}
		companion := layout.IsCosignTag(beside) && !slices.ContainsFunc(d.Map, func(m Mapping) bool { return m.From == layout.EntryName(beside) })
		if companion && !slices.Equal(places[first.Digest.String()], places[second.Digest.String()]) {
			t.Errorf("parted: %v", places)
		}
	})
}
