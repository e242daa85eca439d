package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/trust"
)

// stallVariable holds how long the airdeck of a test waits for a registry that moves no
// byte.
const stallVariable = "AIRDECK_TEST_STALL"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"airdeck": func() {
			stallTimeout, _ = time.ParseDuration(os.Getenv(stallVariable))
			os.Exit(run(os.Args))
		},
	})
}

// The scripts run the real main, one a behaviour. See testscript for their
// language; the commands that are added to it are below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "..", "testdata", "script"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry": cmdRegistry,
			"requests": cmdRequests,
			"fail":     cmdFail,
			"damage":   cmdDamage,
			"exits":    cmdExits,
			"slide":    cmdSlide,
			"flip":     cmdFlip,
			"cut":      cmdCut,
			"capture":  cmdCapture,
			"attach":   cmdAttach,
			"endorse":  cmdEndorse,
			"image":    cmdImage,
			"hostile":  cmdHostile,
			"mentions": cmdMentions,
			"chain":    cmdChain,
			"lost":     cmdLost,
			"key":      cmdKey,
			"lock":     cmdLock,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("AIRDECK_LAYOUT", filepath.Join(e.WorkDir, ".layout"))
			e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, ".docker"))
			e.Setenv("SOURCE_DATE_EPOCH", "")
			e.Values[registriesKey{}] = map[string]*registrytest.Registry{}
			return nil
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

type registriesKey struct{}

func registries(ts *testscript.TestScript) map[string]*registrytest.Registry {
	return ts.Value(registriesKey{}).(map[string]*registrytest.Registry)
}

func named(ts *testscript.TestScript, name string) *registrytest.Registry {
	r := registries(ts)[name]
	if r == nil {
		ts.Fatalf("no registry %q", name)
	}
	return r
}

// registry NAME [tls] [mount] [noreferrers] [auth=USER:PASSWORD] starts a registry whose
// address is in $NAME, and whose certificate is in NAME.pem.
func cmdRegistry(ts *testscript.TestScript, _ bool, args []string) {
	var o registrytest.Options
	for _, a := range args[1:] {
		switch {
		case a == "tls":
			o.TLS = true
		case a == "noreferrers":
			o.NoReferrers = true
		case a == "mount":
			o.Mount = true
		case strings.HasPrefix(a, "auth="):
			o.Username, o.Password, _ = strings.Cut(a[len("auth="):], ":")
		default:
			ts.Fatalf("registry: %q", a)
		}
	}
	r := registrytest.Start(o)
	ts.Defer(r.Close)
	registries(ts)[args[0]] = r
	ts.Setenv(args[0], r.Host)
	if o.TLS {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), r.CA, 0o644))
	}
}

// requests NAME FILE writes what a registry was asked since the last time.
func cmdRequests(ts *testscript.TestScript, _ bool, args []string) {
	r := named(ts, args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(r.Requests(), "\n")+"\n"), 0o644))
	r.Reset()
}

// exits CODE COMMAND… demands an exit code.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

// slide FILE… writes pictures that depend on their names' last part alone.
func cmdSlide(ts *testscript.TestScript, _ bool, args []string) {
	for _, a := range args {
		name := ts.MkAbs(a)
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
		seed := uint64(crc32.ChecksumIEEE([]byte(filepath.Base(name))))
		r := rand.New(rand.NewPCG(seed, seed))
		img := image.NewNRGBA(image.Rect(0, 0, 64, 48))
		for i := range img.Pix {
			img.Pix[i] = uint8(r.Uint32())
		}
		img.Set(0, 0, color.White)
		f, err := os.Create(name)
		ts.Check(err)
		ts.Check(png.Encode(f, img))
		ts.Check(f.Close())
	}
}

// attach REF TYPE pushes a manifest that refers to what REF names.
func cmdAttach(ts *testscript.TestScript, _ bool, args []string) {
	repo, err := remote.NewRepository(args[0])
	ts.Check(err)
	repo.PlainHTTP = true
	ctx := context.Background()
	subject, err := repo.Resolve(ctx, repo.Reference.Reference)
	ts.Check(err)
	_, err = oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, args[1], oras.PackManifestOptions{
		Subject: &subject, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z"},
	})
	ts.Check(err)
}

// endorse REFERENCE KEY OTHER has a signature refer to an artifact in a registry: a
// Sigstore bundle over the bytes of the manifest of OTHER, which should be the same.
func cmdEndorse(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	at := func(name string) (*remote.Repository, ocispec.Descriptor) {
		repo, err := remote.NewRepository(name)
		ts.Check(err)
		repo.PlainHTTP = true
		d, err := repo.Resolve(ctx, repo.Reference.Reference)
		ts.Check(err)
		return repo, d
	}
	repo, subject := at(args[0])
	from, signed := at(args[2])
	manifest, err := content.FetchAll(ctx, from, signed)
	ts.Check(err)
	key, err := trust.ReadPrivateKey(args[1], []byte(ts.ReadFile(args[1])), func() ([]byte, error) { return []byte(ts.Getenv("COSIGN_PASSWORD")), nil })
	ts.Check(err)
	signature, err := trust.SignIndex(manifest, key)
	ts.Check(err)
	const kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
	layer := content.NewDescriptorFromBytes(kind, signature)
	ts.Check(repo.Push(ctx, layer, bytes.NewReader(signature)))
	_, err = oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, kind, oras.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{layer}, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z"},
	})
	ts.Check(err)
}

// flip FILE OFFSET changes a bit; a negative offset counts from the end.
func cmdFlip(ts *testscript.TestScript, _ bool, args []string) {
	edit(ts, args, func(b []byte, at int) []byte { b[at] ^= 1; return b })
}

// cut FILE OFFSET drops what follows.
func cmdCut(ts *testscript.TestScript, _ bool, args []string) {
	edit(ts, args, func(b []byte, at int) []byte { return b[:at] })
}

// capture NAME EXPRESSION puts what the first group matches in the last standard
// output into $NAME.
func cmdCapture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func edit(ts *testscript.TestScript, args []string, f func([]byte, int) []byte) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	ts.Check(os.WriteFile(name, f(b, at), 0o644))
}

func TestVersionText(t *testing.T) {
	defer func(v, c string) { version, commit = v, c }(version, commit)
	version, commit = "v1.2.3", "0123456789abcdef"
	if got, want := versionText(), fmt.Sprintf("%s (%s)", version, commit[:12]); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// fail NAME METHOD STATUS CODE PATH has a registry answer requests that match with
// an error from now on.
func cmdFail(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[2])
	ts.Check(err)
	named(ts, args[0]).Fail(registrytest.Fault{Method: args[1], Status: status, Code: args[3], Path: regexp.MustCompile(args[4])})
}

// damage DIR changes a bit in the largest blob of a layout.
func cmdDamage(ts *testscript.TestScript, _ bool, args []string) {
	var largest string
	var size int64
	blobs, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "blobs", "sha256", "*"))
	ts.Check(err)
	for _, b := range blobs {
		fi, err := os.Stat(b)
		ts.Check(err)
		if fi.Size() > size {
			largest, size = b, fi.Size()
		}
	}
	b, err := os.ReadFile(largest)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(largest, b, 0o644))
}
