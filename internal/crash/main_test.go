// Package crash runs the real airdeck on machines that die: it is killed at random
// points of its work and run again to its end, it is interrupted, its disk fills
// up, and it runs many times at once. make test runs a short form of it, and make
// crash the whole, with disks that are full. The order of the kills follows from
// -seed; when exactly they come lies with the machine.
package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var (
	kills = flag.Int("kills", 12, "kill a running airdeck so many times in all")
	seed  = flag.Uint64("seed", 0, "of all that is random; 0 is another one each time")
)

// airdeckBinary is the airdeck that TestMain built.
var airdeckBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "airdeck-crash-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	airdeckBinary = filepath.Join(dir, "airdeck")
	if runtime.GOOS == "windows" {
		airdeckBinary += ".exe"
	}
	build := exec.Command("go", "build", fmt.Sprint("-race=", raceDetector), "-o", airdeckBinary, "github.com/airdeck/airdeck/cmd/airdeck")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build airdeck: %w\n%s", err, out)
	}
	code := m.Run()
	fmt.Printf("-seed %d\n%s", *seed, told.String())
	return code, nil
}

// told is printed at the end.
var told strings.Builder

func tell(format string, args ...any) { fmt.Fprintf(&told, format+"\n", args...) }

// random gives each test a source of its own, so that one alone does what it does
// among the others.
func random(t *testing.T) *rand.Rand {
	var s [32]byte
	copy(s[:], fmt.Sprintf("%016x%s", *seed, t.Name()))
	return rand.New(rand.NewChaCha8(s))
}
