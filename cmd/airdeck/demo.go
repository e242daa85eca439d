package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/urfave/cli/v2"
)

func demoCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "demo",
		Usage:       "run the main job between two registries in this process",
		Description: "Three decks that share slides go from one registry into a bundle and from there into another\nregistry. Everything happens in a temporary directory and on loopback.",
	}, 0, 0, func(ctx context.Context, _ *cli.Context, ui *ui) error {
		if ui.json {
			return usagef("the demonstration is a story, and has no JSON")
		}
		return demo(ctx)
	})
}

// demoDecks are the decks of the demonstration, by their slides.
var demoDecks = []struct {
	name, title string
	slides      []string
}{
	{"intro", "Welcome aboard", []string{"title", "company", "agenda", "contacts"}},
	{"safety", "Safety at sea", []string{"title", "company", "drill", "lifeboats", "contacts"}},
	{"engine", "The engine room", []string{"title", "company", "pumps", "valves", "fuel", "contacts"}},
}

func demo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "airdeck-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir(dir); err != nil {
		return err
	}
	defer func() { _ = os.Chdir(filepath.Dir(dir)) }() // some systems keep a current directory from being removed
	connected, stopConnected := demoRegistry(nil)
	defer stopConnected()
	var requests atomic.Int64
	internal, stopInternal := demoRegistry(&requests)
	defer stopInternal()

	say("The connected side: three decks that share slides, in the registry %s.", connected)
	d := &demonstration{ctx: ctx, dir: dir}
	d.at("author")
	pack := []string{"pack", "-o", "talks.tar.zst"}
	for _, deck := range demoDecks {
		if err := writeDemoDeck(deck.name, deck.title, deck.slides); err != nil {
			return err
		}
		ref := connected + "/decks/" + deck.name + ":v1"
		d.run(exitDone, "push", deck.name+"/deck.yaml", ref)
		pack = append(pack, ref)
	}
	d.at("connected")
	say("One file holds them all, each slide once, and is signed. The password of the key is that of this demonstration.")
	d.setenv("COSIGN_PASSWORD", "demonstration")
	d.run(exitDone, "keygen", "harbour")
	d.run(exitDone, append(pack, "--sign-key", "harbour.key")...)
	d.run(exitDone, "verify", "talks.tar.zst", "--key", "harbour.pub")

	say("On the way, one byte is flipped.")
	if err := flipByte("talks.tar.zst", "damaged.tar.zst"); err != nil {
		return err
	}
	d.run(exitUntrusted, "verify", "damaged.tar.zst")
	d.run(exitUntrusted, "mirror", "damaged.tar.zst", internal)
	say("Somebody else puts a bundle of his own in its place. All digests in it match, but it is not signed with the key.")
	d.run(exitDone, "pack", "-o", "other.tar.zst", connected+"/decks/safety:v1", "-q")
	d.run(exitUntrusted, "mirror", "other.tar.zst", internal, "--key", "harbour.pub")
	say("The registry on the other side, %s, has received %d requests.", internal, requests.Load())

	d.at("disconnected")
	say("The disconnected side: the whole bundle is mirrored; a second run has nothing to do.")
	d.run(exitDone, "mirror", "talks.tar.zst", internal, "--key", "harbour.pub")
	d.run(exitDone, "mirror", "talks.tar.zst", internal, "--key", "harbour.pub")
	d.run(exitDone, "pull", internal+"/decks/intro:v1", "intro-from-there")
	return d.err
}

func say(format string, args ...any) {
	fmt.Fprintf(stdout, "\n# "+format+"\n", args...)
}

// demonstration runs commands as a person would, until one ends otherwise than
// the story has it.
type demonstration struct {
	ctx context.Context // of the one run
	dir string
	err error
}

// at moves to another machine: one with a layout of its own.
func (d *demonstration) at(place string) {
	d.setenv("AIRDECK_LAYOUT", filepath.Join(d.dir, "layout-"+place))
}

func (d *demonstration) setenv(name, value string) {
	if d.err == nil {
		d.err = os.Setenv(name, value)
	}
}

func (d *demonstration) run(want int, args ...string) {
	if d.err != nil {
		return
	}
	fmt.Fprintf(stdout, "$ airdeck %s\n", strings.Join(args, " "))
	app := newApp()
	line, err := flagsFirst(app, append([]string{"airdeck"}, args...))
	if err == nil {
		err = app.RunContext(d.ctx, line)
	}
	got, text := exitDone, ""
	if err != nil {
		got, text = exitCode(err), ": "+oneLine(err.Error())
		fmt.Fprintf(stdout, "airdeck%s\n[exit code %d]\n", text, got)
	}
	if got != want {
		d.err = fmt.Errorf("the demonstration went wrong: airdeck %s ended with %d instead of %d%s", args[0], got, want, text)
	}
}

// demoRegistry starts a registry on loopback that keeps everything in memory.
func demoRegistry(requests *atomic.Int64) (address string, stop func()) {
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests != nil {
			requests.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	return s.Listener.Addr().(*net.TCPAddr).AddrPort().String(), s.Close
}

func writeDemoDeck(dir, title string, slides []string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	spec := fmt.Sprintf("title: %s\nimages:\n", title)
	for _, s := range slides {
		spec += "  - " + s + ".png\n"
		f, err := os.Create(filepath.Join(dir, s+".png"))
		if err != nil {
			return err
		}
		if err := png.Encode(f, demoSlide(s)); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "deck.yaml"), []byte(spec), 0o644)
}

// demoSlide paints a picture that depends on the slide's name alone, with enough
// noise in it to weigh what slides weigh.
func demoSlide(name string) image.Image {
	var seed [32]byte
	copy(seed[:], name)
	r := rand.New(rand.NewChaCha8(seed)) //nolint:gosec // a picture needs no secrets
	img := image.NewRGBA(image.Rect(0, 0, 480, 270))
	base := color.RGBA{uint8(r.UintN(128)), uint8(r.UintN(128)), uint8(r.UintN(128)), 255}
	for y := range 270 {
		for x := range 480 {
			n := uint8(r.UintN(32))
			img.SetRGBA(x, y, color.RGBA{base.R + n + uint8(x/8), base.G + n, base.B + n + uint8(y/4), 255})
		}
	}
	return img
}

// flipByte copies a file with one bit of its middle changed.
func flipByte(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(to, b, 0o644)
}
