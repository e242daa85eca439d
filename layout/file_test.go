package layout_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/internal/disktest"
	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

func dirNames(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func createOutput(t *testing.T, name string) *layout.Output {
	t.Helper()
	o, err := layout.CreateOutput(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func TestOutputAppearsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "talks.tar.zst")
	if err := os.WriteFile(name, []byte("earlier"), 0o644); err != nil {
		t.Fatal(err)
	}
	given := createOutput(t, name)
	fmt.Fprint(given, "half of i")
	if got := content(t, name); got != "earlier" {
		t.Errorf("while writing: %q", got)
	}
	if err := given.Close(); err != nil {
		t.Error(err)
	}
	if got := content(t, name); got != "earlier" || dirNames(t, dir) != "talks.tar.zst" {
		t.Errorf("%q in %q", got, dirNames(t, dir))
	}
	if _, err := given.Write([]byte("x")); err == nil {
		t.Error("a closed file takes bytes")
	}

	done := createOutput(t, name)
	fmt.Fprint(done, "the whole")
	if err := done.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := done.Close(); err != nil {
		t.Errorf("Close after Commit: %v", err)
	}
	if got := content(t, name); got != "the whole" || dirNames(t, dir) != "talks.tar.zst" {
		t.Errorf("%q in %q", got, dirNames(t, dir))
	}
}

func TestOutputRemovesTheDebrisOfTheDeadOnly(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, tempPrefix+"DEAD")
	if err := os.WriteFile(dead, []byte("gigabytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	living := createOutput(t, filepath.Join(dir, "a.tar"))
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("the debris is still there: %v", err)
	}
	fmt.Fprint(living, "content of a")
	other := createOutput(t, filepath.Join(dir, "b.tar"))
	fmt.Fprint(other, "content of b")
	for _, o := range []*layout.Output{living, other} {
		if err := o.Commit(); err != nil {
			t.Error(err)
		}
	}
	if a, b := content(t, filepath.Join(dir, "a.tar")), content(t, filepath.Join(dir, "b.tar")); a != "content of a" || b != "content of b" {
		t.Errorf("%q, %q", a, b)
	}
	if names := dirNames(t, dir); names != "a.tar b.tar" {
		t.Errorf("%q", names)
	}
}

// Runs that begin at one moment in one folder must not take each other's
// temporary for debris.
func TestOutputsSideBySide(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 40 {
				name := filepath.Join(dir, fmt.Sprintf("%d-%d.tar", g, i))
				o, err := layout.CreateOutput(name)
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprint(o, name)
				if err := o.Commit(); err != nil {
					t.Error(err)
				}
				if b, err := os.ReadFile(name); err != nil || string(b) != name {
					t.Errorf("%s has %q, %v", name, b, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCreateOutputRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, dir + "/", filepath.Join(dir, "absent", "a.tar"), ""} {
		if o, err := layout.CreateOutput(name); err == nil {
			o.Close()
			t.Errorf("%q was taken", name)
		}
	}
	if names := dirNames(t, dir); names != "" {
		t.Errorf("left behind: %q", names)
	}
}

func TestCommitThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	root, err := disk.OS.OpenDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := layout.CreateFile(root, "name")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "content")
	// A folder that is not empty can't be replaced.
	if err := os.MkdirAll(filepath.Join(dir, "name", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil || layout.ClassOf(err) != layout.ClassLocal {
		t.Errorf("%v", err)
	}
	f.Close()
	if names := dirNames(t, dir); names != "name" {
		t.Errorf("%q", names)
	}
	if err := layout.WriteFile(root, "../outside", []byte("x")); err == nil {
		t.Error("wrote outside of the root")
	}
}

// Who has no room is told how much was written and, where that is known, how much is
// needed.
func TestFullDiskIsToldInBytes(t *testing.T) {
	blob := storagetest.Random(1, 1000)
	d := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: 1000}
	output := func(least, most int64) func(string, disk.System) error {
		return func(dir string, system disk.System) error {
			o, err := layout.CreateOutputOn(system, filepath.Join(dir, "talks.tar.zst"))
			if err != nil {
				return err
			}
			defer o.Close()
			o.Expect(least, most)
			if _, err := o.Write(blob); err == nil {
				t.Error("there was room for it")
			}
			return o.Commit()
		}
	}
	tests := map[string]struct {
		write func(dir string, system disk.System) error
		want  string
	}{
		"file": {func(dir string, system disk.System) error {
			root, err := system.OpenDir(dir, false)
			if err != nil {
				return err
			}
			defer root.Close()
			return layout.WriteFile(root, "report.json", blob)
		}, " 499 of 1000 bytes"},
		"blob": {func(dir string, system disk.System) error {
			s, err := layout.OpenStore(t.Context(), dir, &layout.StoreOptions{System: system})
			if err != nil {
				return err
			}
			defer s.Close()
			return layout.PushBytes(t.Context(), s, d, blob)
		}, " of 1000 bytes"},
		"output":                     {output(0, 0), " 499 bytes"},
		"output of a size":           {output(2000, 2000), " 499 of 2000 bytes"},
		"output of sizes in between": {output(2000, 3000), " 499 of 2000 to 3000 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.write(t.TempDir(), &disktest.Faulty{Full: true, Room: 500})
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}
