package layout_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

// The strict decoder against the one of the standard library, which lets through
// what it refuses.
func BenchmarkDecodeManifest(b *testing.B) {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON}
	m.SchemaVersion = 2
	for i := range 100 {
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: "image/png", Digest: digest.FromString(fmt.Sprint(i)), Size: 1 << 20,
			Annotations: map[string]string{ocispec.AnnotationTitle: fmt.Sprintf("slides/slide-%d.png", i)},
		})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	const runs = 1000
	begin := time.Now()
	for range runs {
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			b.Fatal(err)
		}
	}
	standard := time.Since(begin) / runs
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := layout.DecodeManifest(d, raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(standard), "of-encoding/json")
}
