package vectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/airdeck/airdeck/internal/offline"
)

// airdeckBinary is the airdeck that TestMain built.
var airdeckBinary string

// launchers are processes that run airdeck and hold next to nothing. The peak of a
// process begins as that of the one that started it, and this one, which has all vectors
// and runs registries, is larger than what it measures.
//
// Where the system can, airdeck is killed when it asks for a socket, or, where it is to
// talk with a registry, for one by which names are looked up.
var launchers = map[string]chan *launcher{
	"offline": make(chan *launcher, runtime.GOMAXPROCS(0)),
	"online":  make(chan *launcher, runtime.GOMAXPROCS(0)),
}

const launcherVariable = "AIRDECK_VECTORS_LAUNCHER"

// binaryVariable is set for a process in a network without routes: the airdeck that it
// runs.
const binaryVariable = "AIRDECK_VECTORS_BINARY"

// refused is the exit code of one to which the system does not give such a network.
const refused = 10

func TestMain(m *testing.M) {
	if how := os.Getenv(launcherVariable); how != "" {
		if err := launch(how, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if airdeckBinary = os.Getenv(binaryVariable); airdeckBinary != "" {
		if err := offline.Loopback(); err != nil {
			fmt.Fprintln(os.Stderr, "vectors:", err)
			os.Exit(refused)
		}
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "airdeck-vectors-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if airdeckBinary == "" {
		airdeckBinary = filepath.Join(dir, "airdeck.exe") // Windows wants the ending
		build := exec.Command("go", "build", "-o", airdeckBinary, "github.com/airdeck/airdeck/cmd/airdeck")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build airdeck: %w\n%s", err, out)
		}
	}
	for how, free := range launchers {
		for range cap(free) {
			l, err := newLauncher(how)
			if err != nil {
				return 1, err
			}
			defer l.close()
			free <- l
		}
	}
	return m.Run(), nil
}

// launched is a command for a launcher.
type launched struct {
	Args  []string
	Stdin string // a file; "" is none
	Out   string // a folder for the output
	Env   []string

	Online bool // it is to talk with a registry
}

// outcome is what became of it.
type outcome struct {
	Code int
	Peak int64 // resident bytes; 0 where the system does not tell
	Hung bool  // it was ended by the watchdog

	CPU time.Duration // of all processors together

	Stdout, Stderr string `json:"-"`
}

type launcher struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

// close ends a launcher.
func (l *launcher) close() {
	l.in.Close()
	_ = l.process.Wait() // what it had to tell, it told in its outcomes
}

func newLauncher(how string) (*launcher, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), launcherVariable+"="+how)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &launcher{c, in, json.NewDecoder(out)}, c.Start()
}

// run has a launcher run airdeck.
func run(t *testing.T, l launched) outcome {
	t.Helper()
	free := launchers["offline"]
	if l.Online {
		free = launchers["online"]
	}
	to := <-free
	defer func() { free <- to }()
	var o outcome
	if err := errors.Join(json.NewEncoder(to.in).Encode(l), to.out.Decode(&o)); err != nil {
		t.Fatalf("the launcher has ended: %v", err)
	}
	for name, text := range map[string]*string{"stdout": &o.Stdout, "stderr": &o.Stderr} {
		b, err := os.ReadFile(filepath.Join(l.Out, name))
		if err != nil {
			t.Fatal(err)
		}
		*text = string(b)
	}
	return o
}

// watchdog is far beyond what any vector takes. It is for what waits, and takes no time
// of a processor.
const watchdog = 2 * time.Minute

// launch runs commands until the input ends.
func launch(how string, in io.Reader, out io.Writer) error {
	limit := offline.KillSockets
	if how == "online" {
		limit = offline.KillDatagrams
	}
	if err := limit(); err != nil && runtime.GOOS == "linux" {
		return err
	}
	commands, outcomes := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var l launched
		if err := commands.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		o, err := l.run()
		if err != nil {
			return err
		}
		if err := outcomes.Encode(o); err != nil {
			return err
		}
	}
}

func (l launched) run() (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	defer cancel()
	out, err := os.Create(filepath.Join(l.Out, "stdout"))
	if err != nil {
		return outcome{}, err
	}
	defer out.Close()
	errs, err := os.Create(filepath.Join(l.Out, "stderr"))
	if err != nil {
		return outcome{}, err
	}
	defer errs.Close()
	c := exec.CommandContext(ctx, l.Args[0], l.Args[1:]...)
	c.Env, c.Stdout, c.Stderr = l.Env, out, errs
	if l.Stdin != "" {
		// A pipe, where a file could be read at random.
		f, err := os.Open(l.Stdin)
		if err != nil {
			return outcome{}, err
		}
		defer f.Close()
		c.Stdin = struct{ io.Reader }{f}
	}
	var exit *exec.ExitError
	// airdeck may end before it has read all of its input.
	if err := c.Run(); err != nil && !errors.As(err, &exit) && c.ProcessState == nil {
		return outcome{}, err
	}
	s := c.ProcessState
	return outcome{Code: s.ExitCode(), Peak: peak(s), Hung: ctx.Err() != nil, CPU: s.UserTime() + s.SystemTime()}, nil
}
