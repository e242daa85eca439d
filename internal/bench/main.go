// Command bench measures airdeck on workloads that it builds from a seed, against
// the limits that the machine sets and against other tools, all in the same run.
//
//	go run ./internal/bench [-small] [-workload decks,images] [-runs 3] [-o BENCHMARKS.md]
//
// Every measure is taken of a process of its own, by what the kernel counts for it:
// wall time, user and system time, peak resident memory, bytes read and written. The
// contenders take turns, the input is in the page cache, and what is compared are
// medians.
//
// The limits are plain Go programs, which are this one in other roles: one that hashes
// the blobs from their files, one goroutine a core; one that also copies them into one
// file; one that writes as many bytes to a file; one that fetches the blobs and hashes
// them into files; one that pushes them. What airdeck brings to the disk before it is
// done, they bring there too. Other tools are measured where they are installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start is the program in the role that its first argument gives it.
func start(ctx context.Context, args []string) error {
	role, rest := "", []string(nil)
	if len(args) > 0 {
		role, rest = args[0], args[1:]
	}
	arg := func(i int) string {
		if i < len(rest) {
			return rest[i]
		}
		return ""
	}
	switch role {
	case "measure":
		return measureMain(rest)
	case "hash":
		return plainHash(arg(0))
	case "copy":
		return plainCopy(arg(0), arg(1))
	case "write":
		return plainWrite(arg(0), arg(1))
	case "fetch":
		return plainFetch(ctx, arg(0), arg(1), arg(2))
	case "push":
		return plainPush(ctx, arg(0), arg(1))
	}
	return benchMain(ctx, args)
}

// bench is one run of the program.
type bench struct {
	airdeck string // the program
	dir     string // everything lies below it
	small   bool
	runs    int
	env     []string
	begin   time.Time

	discarded int // things in the trash
}

func benchMain(ctx context.Context, args []string) error {
	b := &bench{begin: time.Now()}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	names := flags.String("workload", "", "the workloads, by `NAME,NAME` (default: all)")
	out := flags.String("o", "", "write the tables to `FILE` as well")
	dir := flags.String("dir", os.TempDir(), "work below `DIR`, which needs 45 GB for the whole")
	flags.StringVar(&b.airdeck, "airdeck", "", "measure this `PROGRAM` (default: it is built)")
	flags.BoolVar(&b.small, "small", false, "a hundredth of the sizes, to see that the bench works; what is exact must be met")
	flags.IntVar(&b.runs, "runs", 3, "measure each `N` times")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || b.runs < 1 {
		return fmt.Errorf("there are flags only, and at least one run: see -help")
	}
	chosen, err := choose(*names)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(*dir, "airdeck-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.prepare(ctx); err != nil {
		return err
	}
	rep := newReport(b)
	for _, w := range chosen {
		b.logf("%s: %s", w.name, w.title)
		if err := b.measureWorkload(ctx, w, rep); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	fmt.Print(rep.text())
	if *out != "" {
		if err := os.WriteFile(*out, []byte(rep.text()), 0o644); err != nil {
			return err
		}
	}
	if missed := rep.missed(); b.small && len(missed) > 0 {
		return fmt.Errorf("missed, and it is no matter of speed:\n%s", strings.Join(missed, "\n"))
	}
	return nil
}

func choose(names string) ([]workload, error) {
	if names == "" {
		return workloads, nil
	}
	var out []workload
	for _, n := range strings.Split(names, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no workload %q", n)
		}
		out = append(out, workloads[i])
	}
	return out, nil
}

// prepare builds airdeck, and a home for it and the others in which nothing is set.
func (b *bench) prepare(ctx context.Context) error {
	home := filepath.Join(b.dir, "home")
	b.env = []string{
		"HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_RUNTIME_DIR=" + home,
		"DOCKER_CONFIG=" + filepath.Join(home, "docker"), "REGCTL_CONFIG=" + filepath.Join(home, "regctl.json"),
		"TMPDIR=" + filepath.Join(b.dir, "tmp"),
	}
	for _, d := range []string{home, filepath.Join(b.dir, "tmp"), filepath.Join(b.dir, "trash")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if b.airdeck != "" {
		abs, err := filepath.Abs(b.airdeck)
		b.airdeck = abs
		return err
	}
	b.airdeck = filepath.Join(b.dir, "airdeck")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.airdeck, "github.com/airdeck/airdeck/cmd/airdeck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("build airdeck: %w\n%s", err, out))
	}
	return nil
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%7.1f "+format+"\n", append([]any{time.Since(b.begin).Seconds()}, args...)...)
}

// plain is a command of this program in the role of a limit.
func plain(args ...string) command {
	self, err := os.Executable()
	if err != nil {
		panic(err) // there is one: it runs
	}
	return command{args: append([]string{self}, args...)}
}
