package main

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// A bundle that was verified may rot while it is mirrored. The registry gets no manifest
// and no tag, and the next run finds the damage before it sends anything.
func TestBundleRotsWhileItIsMirrored(t *testing.T) {
	t.Parallel()
	site := &faultSite{full: registrytest.Start(siteOptions)}
	t.Cleanup(site.full.Close)
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = site.full.AddBlob("acme/app", "application/vnd.test.config", []byte("{}"))
	for seed := range byte(2) {
		b := make([]byte, 12<<20) // several frames, of which readers hold a few
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		m.Layers = append(m.Layers, site.full.AddBlob("acme/app", "application/vnd.test.layer", b))
	}
	site.full.AddManifest("acme/app", m.MediaType, m, "v1")

	dst := registrytest.Start(siteOptions)
	t.Cleanup(dst.Close)
	c := newCell(t, site, dst)
	defer c.remove()
	file := c.path("talks.tar.zst")
	if r := c.run([]string{"pack", "-o", file, c.source.Host + "/acme/app:v1"}, ""); r.code != exitDone {
		t.Fatal(r.stderr)
	}
	dst.Fail(registrytest.Fault{Method: http.MethodPost, Path: regexp.MustCompile("/blobs/uploads/"), Times: 1, Answer: func(w http.ResponseWriter, _ *http.Request) {
		if err := flipLate(file); err != nil {
			t.Error(err)
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
	}})
	for _, want := range []int{exitFailed, exitUntrusted} {
		r := c.run([]string{"mirror", "--jobs", "1", file, dst.Host}, "")
		if r.code != want || !strings.Contains(r.stderr, m.Layers[1].Digest.String()) || !strings.Contains(r.stderr, "damaged") {
			t.Errorf("exit code %d, want %d: %s", r.code, want, r.stderr)
		}
		if len(dst.Tags()) > 0 || dst.Count("^PUT .*/manifests/") > 0 {
			t.Errorf("the registry got %v", dst.Tags())
		}
		if sent := dst.Count("^(PUT|POST) "); want == exitFailed && sent == 0 || want == exitUntrusted && sent > 0 {
			t.Errorf("exit code %d: %d requests sent something", want, sent)
		}
		dst.Reset()
	}
}

// flipLate flips a bit in the last quarter of a file.
func flipLate(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	b, at := make([]byte, 1), info.Size()/4*3
	_, err = f.ReadAt(b, at)
	b[0] ^= 1
	_, werr := f.WriteAt(b, at)
	return errors.Join(err, werr, f.Close())
}
