//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/registrytest"
)

// TestMain is the measuring process too, as main is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "measure" {
		if err := start(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "airdeck-bench-test-")
	if err != nil {
		panic(err)
	}
	airdeckBinary = filepath.Join(dir, "airdeck")
	build := exec.Command("go", "build", "-o", airdeckBinary, "github.com/airdeck/airdeck/cmd/airdeck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build airdeck: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// airdeckBinary is the airdeck that TestMain built.
var airdeckBinary string

// slack is what a run reads and writes besides what it is about: the Go runtime asks
// the system a few things, and goroutines wake each other.
const slack = 64 << 10

// place is where a test works, with a workload.
type place struct {
	*testing.T
	*site
}

func newPlace(t *testing.T, build func(b *builder)) *place {
	t.Helper()
	b := &bench{airdeck: airdeckBinary, dir: t.TempDir(), small: true}
	home := t.TempDir()
	b.env = []string{"HOME=" + home, "XDG_CACHE_HOME=" + home, "DOCKER_CONFIG=" + home}
	s, err := b.newSite(t.Context(), workload{name: "test", build: func(b *builder, _ bool) { build(b) }})
	if err != nil {
		t.Fatal(err)
	}
	return &place{t, s}
}

func someDecks(b *builder) { talks(b, 6, 10, 10, 2_000, 100_000) }

// airdeck runs airdeck and gives what it took.
func (p *place) airdeck(args ...string) usage {
	p.Helper()
	return p.airdeckWith(nil, args...)
}

func (p *place) airdeckWith(env []string, args ...string) usage {
	p.Helper()
	c := p.run(args...)
	c.env = slices.Concat(p.env, env)
	u, err := run(p.Context(), c)
	if err != nil {
		p.Fatal(err)
	}
	return u
}

// filled starts a registry that has the workload.
func (p *place) filled() *registrytest.Registry {
	p.Helper()
	r := registrytest.Start(registrytest.Options{Mount: true})
	p.Cleanup(r.Close)
	if err := plainPush(p.Context(), p.layout(), r.Host); err != nil {
		p.Fatal(err)
	}
	r.Reset()
	return r
}

// atMost fails where n is over the limit.
func (p *place) atMost(what string, n, limit int64) {
	p.Helper()
	if n > limit {
		p.Errorf("%s: %d, at most %d", what, n, limit)
	}
}

func (p *place) size(name string) int64 {
	p.Helper()
	n, err := treeSize(name)
	if err != nil {
		p.Fatal(err)
	}
	return n
}

// once fails where a request was made twice, and gives how many there were.
func (p *place) once(r *registrytest.Registry, prefix string) int {
	p.Helper()
	seen := map[string]bool{}
	for _, q := range r.Requests() {
		_, path, _ := strings.Cut(q, "/blobs/")
		if !strings.HasPrefix(q, prefix) || path == "" {
			continue
		}
		if seen[path] {
			p.Errorf("%s was asked for twice", path)
		}
		seen[path] = true
	}
	return len(seen)
}

func (p *place) pull(r *registrytest.Registry) usage {
	p.Helper()
	return p.airdeck(slices.Concat([]string{"pack", "--layout", p.cache(), "-o", p.bundle()}, p.content.references(r.Host))...)
}

// requestSize is more than a request without a body has.
const requestSize = 512

func TestPackFetchesAndWritesOnce(t *testing.T) {
	p := newPlace(t, someDecks)
	r := p.filled()
	u := p.pull(r)
	if n := p.once(r, "GET "); n != p.totals.blobs {
		t.Errorf("%d blobs were fetched of %d", n, p.totals.blobs)
	}
	// That there is no fallback tag of referrers has to be asked, too.
	if n := r.Count(`^GET .*/manifests/`) - r.Count(`^GET .*/manifests/sha256-`); n != p.totals.manifests {
		t.Errorf("%d manifests were fetched of %d", n, p.totals.manifests)
	}
	requests := int64(len(r.Requests()))
	layout, bundle := p.size(p.cache()), p.size(p.bundle())
	p.atMost("bytes written", u.Wrote, layout+bundle+requests*requestSize+slack)
	if u.Wrote < layout+bundle {
		t.Errorf("%d bytes written, and the files have %d: the count is wrong", u.Wrote, layout+bundle)
	}

	r.Reset()
	u = p.pull(r)
	if n := p.once(r, "GET "); n != 0 {
		t.Errorf("%d blobs were fetched that the layout had", n)
	}
	index := p.size(filepath.Join(p.cache(), ocispec.ImageIndexFile))
	p.atMost("bytes written by a second run", u.Wrote, bundle+index+requests*requestSize+slack)
}

func TestPackOfLayoutReadsAndWritesOnce(t *testing.T) {
	p := newPlace(t, someDecks)
	u := p.airdeck("pack", "-o", p.bundle(), "oci:"+p.layout())
	p.atMost("bytes written", u.Wrote, p.size(p.bundle())+slack)
	// Manifests are read for each walk, and a layout's index has them all.
	p.atMost("bytes read", u.Read, p.totals.bytes+10*p.totals.head+p.size(filepath.Join(p.layout(), ocispec.ImageIndexFile))+slack)
}

func TestInspectReadsTheHead(t *testing.T) {
	p := newPlace(t, func(b *builder) { talks(b, 4, 10, 10, 1_000_000, 1_500_000) })
	p.airdeck("pack", "-o", p.bundle(), "oci:"+p.layout())
	u := p.airdeck("inspect", p.bundle())
	p.atMost("bytes read", u.Read, p.totals.readByInspect())
	if half := p.size(p.bundle()) / 2; p.totals.readByInspect() > half {
		t.Errorf("the bundle is too small to tell: %d", 2*half)
	}
}

// noted is what the file system writes when a file is read for the first time: when
// that was. Mostly it is written with something else.
const noted = 4 << 10

func TestReadersWriteNothing(t *testing.T) {
	p := newPlace(t, someDecks)
	p.airdeck("pack", "-o", p.bundle(), "oci:"+p.layout())
	r := registrytest.Start(registrytest.Options{Mount: true})
	t.Cleanup(r.Close)
	for _, args := range [][]string{{"inspect", p.bundle()}, {"verify", p.bundle()}, {"mirror", p.bundle(), r.Host}} {
		if u := p.airdeck(args...); u.Disk > noted {
			t.Errorf("%s: %d bytes written to the disk", args[0], u.Disk)
		}
	}
	u := p.airdeck("verify", p.bundle())
	p.atMost("bytes read by verify", u.Read, p.size(p.bundle())+10*p.totals.head+slack)
}

func TestMirrorSendsOnce(t *testing.T) {
	p := newPlace(t, someDecks)
	p.airdeck("pack", "-o", p.bundle(), "oci:"+p.layout())
	r := registrytest.Start(registrytest.Options{Mount: true})
	t.Cleanup(r.Close)
	p.airdeck("mirror", p.bundle(), r.Host)
	if n := r.Count(`^PUT .*/blobs/uploads/`); n != p.totals.blobs {
		t.Errorf("%d uploads of %d blobs", n, p.totals.blobs)
	}
	if n := r.Count(`^GET .*/blobs/`); n != 0 {
		t.Errorf("%d blobs were fetched", n)
	}

	r.Reset()
	p.airdeck("mirror", p.bundle(), r.Host)
	if n := r.Count(`^(PUT|POST|PATCH|DELETE) `); n != 0 {
		t.Errorf("a second run sent %d requests that change something: %q", n, r.Requests())
	}
	p.atMost("requests of a second run", int64(len(r.Requests())), int64(2*p.totals.manifests+p.totals.placed))
}

// A blob that is larger than the bound shows who keeps one in memory, and many
// that are small who keeps all of them.
func TestMemoryIsBounded(t *testing.T) {
	p := newPlace(t, func(b *builder) {
		talks(b, 2, 10, 10, 1_000_000, 4_000_000)
		b.artifact("large/blob:v1", mediaTypeOther, b.write(ocispec.MediaTypeEmptyJSON, []byte("{}")),
			[]ocispec.Descriptor{b.random("application/octet-stream", 150<<20)})
	})
	source, err := startLocal(filepath.Join(p.layout(), "blobs"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.close)
	if err := (&pusher{plainClient: newPlainClient(source.address()), content: p.content}).manifests(t.Context()); err != nil {
		t.Fatal(err)
	}
	dest, err := startLocal(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dest.close)
	pull := append([]string{"pack", "--layout", p.cache(), "-o", p.bundle()}, p.content.references(source.address())...)
	for _, c := range []struct {
		most int64 // MiB
		args []string
	}{
		{128, pull},
		{128, []string{"pack", "-o", p.bundle(), "oci:" + p.layout()}},
		{64, []string{"verify", p.bundle()}},
		{64, []string{"unpack", p.bundle(), p.path("unpacked")}},
		{64, []string{"mirror", p.bundle(), dest.address()}},
	} {
		// The limit is the Go runtime's, and leaves room for what it does not count:
		// what stays above it is in use.
		u := p.airdeckWith([]string{fmt.Sprintf("GOMEMLIMIT=%dMiB", c.most-16)}, c.args...)
		p.atMost(c.args[0]+", peak memory", u.Memory, c.most<<20)
		t.Logf("%s: %s", c.args[0], bytesText(u.Memory))
	}
}
