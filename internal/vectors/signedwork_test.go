package vectors_test

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/internal/vectors"
)

// desk is where somebody works with keys.
type desk struct {
	*testing.T
	dir      string
	registry *registrytest.Registry
}

func newDesk(t *testing.T) *desk {
	d := &desk{t, t.TempDir(), registrytest.Start(registrytest.Options{})}
	t.Cleanup(d.registry.Close)
	for _, name := range []string{"home", "deck"} {
		if err := os.Mkdir(d.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.write("deck/deck.yaml", "title: One\nimages: [a.png]\n")
	f, err := os.Create(d.path("deck/a.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d *desk) write(name, text string) {
	d.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o644); err != nil {
		d.Fatal(err)
	}
}

// does runs airdeck, which must end with an exit code.
func (d *desk) does(code int, args ...string) {
	d.Helper()
	home := d.path("home")
	env := append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "DOCKER_CONFIG="+home, "COSIGN_PASSWORD=secret")
	o := run(d.T, launched{Args: append([]string{airdeckBinary}, args...), Out: home, Env: env, Online: args[0] == "mirror"})
	if o.Code != code {
		d.Fatalf("airdeck %q: exit code %d, want %d\n%s%s", args, o.Code, code, o.Stdout, o.Stderr)
	}
}

// All that airdeck does with keys and signatures is done without a network: each of
// these is killed when it asks for a socket, where the system can do that. To mirror, it
// looks up no name.
func TestSignedWork(t *testing.T) {
	d := newDesk(t)
	key, other, talks := d.path("airdeck.pub"), d.path("other.pub"), d.path("talks.tar.zst")
	d.does(0, "keygen", d.path("airdeck"))
	d.does(0, "keygen", d.path("other"))
	d.does(0, "pack", "-o", talks, "--sign-key", d.path("airdeck.key"), d.path("deck/deck.yaml")+"=ghcr.io/acme/one:v1")
	d.does(0, "sign", talks, "--key", d.path("other.key"))
	d.does(0, "inspect", talks, "--key", key)
	d.does(0, "verify", talks, "--key", other)
	d.does(0, "unpack", talks, d.path("layout"), "--key", key)
	d.does(0, "verify", d.path("layout"), "--key", key)
	d.does(0, "mirror", talks, d.registry.Host+"/keyed", "--key", key)
	d.write("both.yaml", "bundle: {keys: [airdeck.pub, other.pub], threshold: 2}\n")
	d.does(0, "verify", talks, "--policy", d.path("both.yaml"))
	d.does(3, "verify", d.path("layout"), "--policy", d.path("both.yaml"))

	// The signatures of artifacts, by a key and by certificates.
	all, err := vectors.Load(corpus)
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, v := range all {
		switch v.Name {
		case "signed-artifact-referrer", "signed-artifact-tag", "signed-artifact-attested", "signed-artifact-keyless", "signed-artifact-keyless-tag":
			d.carries(&v)
			done++
		}
	}
	if done != 5 {
		t.Errorf("%d of 5 vectors are there", done)
	}
}

// carries takes a signed artifact through all commands, and signs the bundle on the way.
func (d *desk) carries(v *vectors.Vector) {
	dir := filepath.Join(d.dir, v.Name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		d.Fatal(err)
	}
	if err := v.Write(dir); err != nil {
		d.Fatal(err)
	}
	from, layout, again, policy := filepath.Join(dir, "from.tar"), filepath.Join(dir, "layout"), filepath.Join(dir, "again.tar.zst"), filepath.Join(dir, v.Policy)
	if err := os.WriteFile(from, v.Body, 0o644); err != nil {
		d.Fatal(err)
	}
	d.does(0, "inspect", from, "--policy", policy)
	d.does(0, "verify", from, "--policy", policy)
	d.does(0, "unpack", from, layout, "--policy", policy)
	d.does(0, "pack", "-o", again, "--policy", policy, "--sign-key", d.path("airdeck.key"), "oci:"+layout)
	d.does(0, "verify", again, "--policy", policy, "--key", d.path("airdeck.pub"))
	d.does(0, "mirror", again, d.registry.Host+"/"+v.Name, "--policy", policy)
	if d.registry.Count("^PUT .*/manifests/") == 0 {
		d.Errorf("%s: nothing was sent", v.Name)
	}
}
