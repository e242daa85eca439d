package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/airdeck/airdeck/internal/disktest"
	"github.com/airdeck/airdeck/layout"
)

// Whatever fails when a pair of keys is written, both are there or none, and the next run
// makes them.
func TestKeysAreWrittenTogether(t *testing.T) {
	write := func(system *disktest.Faulty, dir string) error {
		return writeKeys(t.Context(), system, filepath.Join(dir, "k.key"), []byte("private"), filepath.Join(dir, "k.pub"), []byte("public"))
	}
	check := func(what string, system *disktest.Faulty) (written bool) {
		t.Helper()
		dir := t.TempDir()
		err := write(system, dir)
		entries, rerr := os.ReadDir(dir)
		if n := len(entries); rerr != nil || err == nil && n != 2 || err != nil && n != 0 {
			t.Errorf("%s: %d files are there: %v, %v", what, n, err, rerr)
		}
		if again := write(new(disktest.Faulty), dir); err != nil && again != nil || err == nil && !errors.Is(again, layout.ErrExists) {
			t.Errorf("%s, and then: %v", what, again)
		}
		private, rerr := os.ReadFile(filepath.Join(dir, "k.key"))
		public, perr := os.ReadFile(filepath.Join(dir, "k.pub"))
		if rerr != nil || perr != nil || string(private) != "private" || string(public) != "public" {
			t.Errorf("%s: %q, %q, %v, %v", what, private, public, rerr, perr)
		}
		return err == nil
	}
	var whole disktest.Faulty
	check("nothing fails", &whole)
	for n := 1; n <= whole.Ops(); n++ {
		check(fmt.Sprintf("operation %d of %d", n, whole.Ops()), &disktest.Faulty{N: n})
	}
	for room := int64(0); !check(fmt.Sprint("room ", room), &disktest.Faulty{Full: true, Room: room}); {
		room++
	}
}
