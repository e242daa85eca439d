package vectors_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/airdeck/airdeck/bundle"
	"github.com/airdeck/airdeck/internal/registrytest"
	"github.com/airdeck/airdeck/internal/vectors"
)

// corpus is where the vectors are.
var corpus = filepath.Join("..", "..", filepath.FromSlash(vectors.Dir))

// memory is what a run may take above what airdeck takes to do nothing, in bytes.
const memory = 64 << 20

// processing is the processor time that a run may take, however much else the machine
// has to do. The most that any takes is a little over a second.
const processing = 10 * time.Second

// TestVectors runs each vector through all that reads bundles, in the real airdeck.
// What is refused must leave nothing behind: no request, no file, no output.
func TestVectors(t *testing.T) {
	if testing.Short() {
		t.Skip("the program is built without the race detector, and minutes of it say nothing of races")
	}
	all, err := vectors.Load(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			newTrial(t, v).all()
		})
	}
}

// baseline is the memory that airdeck takes to do nothing.
var (
	baseline     int64
	findBaseline sync.Once
)

// trial is one vector in folders of its own.
type trial struct {
	*testing.T
	vectors.Vector
	dir    string
	medium string // the folder that the vector lies in
	file   string // the vector
	want   func(entry string) string
}

func newTrial(t *testing.T, v vectors.Vector) *trial {
	dir := t.TempDir()
	tr := &trial{t, v, dir, filepath.Join(dir, "medium"), filepath.Join(dir, "medium", "talks"), v.Want}
	for _, name := range []string{tr.medium, tr.path("out"), tr.path("tmp"), tr.path("home"), tr.path("given")} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Write(tr.path("given")); err != nil {
		t.Fatal(err)
	}
	findBaseline.Do(func() { baseline = run(t, tr.launched("", "--version")).Peak })
	return tr
}

func (t *trial) path(name string) string { return filepath.Join(t.dir, name) }

func (t *trial) all() {
	switch t.Form {
	case vectors.Deck:
		t.unpackVector()
		t.deck()
		return
	case vectors.Directory:
		t.unpackVector()
		t.read()
		return
	}
	if err := os.WriteFile(t.file, t.Body, 0o644); err != nil {
		t.Fatal(err)
	}
	t.read()
	t.command(vectors.Pipe, t.file, "verify", "-")
	if verdict := t.Want(vectors.Unpacked); verdict != "" {
		t.file = filepath.Join(t.medium, "layout")
		t.want = t.asDirectory
		extract(t.T, t.Body, t.file)
		t.command(vectors.Verify, "", "verify", t.file)
		t.mirror()
	}
}

// asDirectory are the verdicts on the members of a bundle as files. To mirror them is
// another thing where it is one in the bundle.
func (t *trial) asDirectory(entry string) string {
	if w, ok := t.Entries[entry]; ok && entry == vectors.Mirror {
		return w
	}
	return t.Want(vectors.Unpacked)
}

func (t *trial) unpackVector() {
	if err := os.Mkdir(t.file, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := t.Unpack(t.file); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system has no such files")
	} else if err != nil {
		t.Fatal(err)
	}
}

// read runs all that reads a file or a directory.
func (t *trial) read() {
	t.command(vectors.Inspect, "", "inspect", t.file)
	t.command(vectors.Verify, "", "verify", t.file)

	out := filepath.Join(t.path("out"), "layout")
	if t.command(vectors.Unpack, "", "unpack", t.file, out) {
		if names := list(t.T, t.path("out")); len(names) != 1 {
			t.Errorf("unpack left %q", names)
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
	t.mirror()
}

func (t *trial) mirror() {
	r := registrytest.Start(registrytest.Options{})
	defer r.Close()
	if !t.command(vectors.Mirror, "", "mirror", t.file, r.Host) {
		if len(r.Requests()) > 0 {
			t.Errorf("mirror refused, and asked for %q", r.Requests())
		}
		return
	}
	b, err := bundle.OpenFile(t.Context(), t.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if sent := r.Count("^PUT .*/manifests/"); (sent > 0) != (len(b.Index().Manifests) > 0) {
		t.Errorf("mirror took %d artifacts, and sent %d manifests", len(b.Index().Manifests), sent)
	}
}

// deck builds a deck into a layout.
func (t *trial) deck() {
	store := t.path("store")
	if t.command("build", "", "build", filepath.Join(t.file, "deck.yaml"), "--layout", store) {
		return
	}
	if b, err := os.ReadFile(filepath.Join(store, "index.json")); err == nil && strings.Contains(string(b), `"digest"`) {
		t.Errorf("build refused, and the layout lists\n%s", b)
	}
}

func (t *trial) launched(stdin string, args ...string) launched {
	if t.ExpectDigest != "" && args[0] != "inspect" {
		args = append(args, "--expect", t.ExpectDigest)
	}
	if len(args) > 1 {
		args = append(args, t.given()...)
	}
	home := t.path("home")
	env := []string{"HOME=" + home, "XDG_CACHE_HOME=" + home, "DOCKER_CONFIG=" + home, "TMPDIR=" + t.path("tmp")}
	for _, name := range []string{"SystemRoot", "TMP", "TEMP", "USERPROFILE", "LocalAppData"} { // Windows needs these
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return launched{append([]string{airdeckBinary}, args...), stdin, t.path("home"), env, args[0] == "mirror"}
}

// given are the flags that say whom to trust.
func (t *trial) given() []string {
	var flags []string
	for _, name := range t.Keys {
		flags = append(flags, "--key", filepath.Join(t.path("given"), name))
	}
	for _, name := range t.Signatures {
		flags = append(flags, "--signature", filepath.Join(t.path("given"), name))
	}
	if t.Policy != "" {
		flags = append(flags, "--policy", filepath.Join(t.path("given"), t.Policy))
	}
	return flags
}

// command runs one entry point and compares its verdict. It reports whether the vector
// was taken.
func (t *trial) command(entry, stdin string, args ...string) bool {
	t.Helper()
	want := t.want(entry)
	if want != vectors.Success {
		args = append(args, "--json") // it tells the class
	}
	before := snapshot(t.T, t.medium)
	o := run(t.T, t.launched(stdin, args...))
	// What follows from a fault may be told as well.
	if got := classes(o); !slices.Contains(got, want) {
		t.Errorf("%s: %q, want %s: %s", entry, got, want, o.last())
	}
	if code := t.exitCode(entry, want); o.Code != code || o.Hung {
		t.Errorf("%s: exit code %d, want %d (hung: %t): %s", entry, o.Code, code, o.Hung, o.last())
	}
	if limit := baseline + memory; o.Peak > limit {
		t.Errorf("%s: %d MiB of memory, over %d", entry, o.Peak>>20, limit>>20)
	}
	if o.CPU > processing {
		t.Errorf("%s: %s of processor time, over %s", entry, o.CPU, processing)
	}
	t.plain(o)
	if after := snapshot(t.T, t.medium); !maps.Equal(before, after) {
		t.Errorf("%s: the folder of the vector was %v and is %v", entry, before, after)
	}
	left := list(t.T, t.path("tmp"))
	if o.Code != 0 {
		left = append(left, list(t.T, t.path("out"))...)
	}
	if len(left) > 0 {
		t.Errorf("%s left %q", entry, left)
	}
	return o.Code == 0
}

// exitCode says that a bundle is not to be trusted, or only that something failed.
func (t *trial) exitCode(entry, want string) int {
	switch {
	case want == vectors.Success:
		return 0
	case t.Form == vectors.Deck, entry == vectors.Mirror && t.want(vectors.Verify) == vectors.Success:
		return 1
	}
	return 3
}

// plain demands that nothing in the text that was shown acts on a terminal.
func (t *trial) plain(o outcome) {
	t.Helper()
	shown := o.Stderr
	if !json.Valid([]byte(o.Stdout)) {
		shown += o.Stdout
	}
	for _, r := range shown {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("%U in the output:\n%q", r, shown)
			return
		}
	}
}

// classes gives what a run told with --json: Success, or the classes of all faults,
// each once.
func classes(o outcome) []string {
	if o.Code == 0 {
		return []string{vectors.Success}
	}
	var told struct {
		Class  string
		Faults []struct{ Class string }
	}
	if err := json.Unmarshal([]byte(o.Stdout), &told); err != nil {
		return []string{fmt.Sprintf("no JSON: %v", err)}
	}
	found := []string{}
	for _, f := range told.Faults {
		found = append(found, f.Class)
	}
	if told.Class != "" {
		found = append(found, told.Class)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// last is the line that says why a run failed.
func (o outcome) last() string {
	lines := strings.Split(strings.TrimSpace(o.Stderr), "\n")
	return lines[len(lines)-1]
}

// list gives the names in a folder.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// snapshot gives what all files in a folder are.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		what := e.Type().String()
		if e.Type().IsRegular() {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			what = fmt.Sprintf("%x", sha256.Sum256(b))
		}
		out[name] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
