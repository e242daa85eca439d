package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// contender is a program that is measured among others.
type contender struct {
	name    string
	needs   string         // a program that has to be installed
	before  func() error   // what it needs, made anew for each run; not measured
	inputs  []string       // files and folders that are read once before each run
	command func() command // known when before is done
	after   func() error   // not measured
	output  string         // a file or folder that it makes, and that is removed again
	keep    bool           // the output of the last run stays
	fills   int64          // bytes that it and a registry bring into memory, about
}

// series are the runs of one contender.
type series struct {
	name    string
	runs    []usage
	size    int64  // bytes of the output
	skipped string // why there are no runs
}

// compete measures contenders in turns, so that what disturbs the machine for a
// while disturbs all of them.
func (b *bench) compete(ctx context.Context, all []*contender) ([]*series, error) {
	out := make([]*series, len(all))
	for i, c := range all {
		out[i] = &series{name: c.name}
		if c.needs != "" {
			if _, err := exec.LookPath(c.needs); err != nil {
				out[i].skipped = c.needs + " is not installed"
			}
		}
	}
	for n := range b.runs {
		for i, c := range all {
			if out[i].skipped != "" {
				continue
			}
			u, size, err := b.once(ctx, c, n == b.runs-1)
			switch {
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case err != nil && c.needs != "":
				out[i].skipped = "failed: " + err.Error() // what others can't do is no failure of the bench
				b.logf("  %s: %v", c.name, err)
				continue
			case err != nil:
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			out[i].runs, out[i].size = append(out[i].runs, u), size
			b.logf("  %-36s %8s wall %8s CPU %10s", c.name, durationText(u.Wall), durationText(u.CPU), bytesText(u.Memory))
		}
	}
	return out, nil
}

func (b *bench) once(ctx context.Context, c *contender, last bool) (u usage, size int64, err error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return u, 0, err
		}
	}
	if c.output != "" {
		if err := b.discard(c.output); err != nil {
			return u, 0, err
		}
		defer func() {
			if !c.keep || !last {
				err = errors.Join(err, b.discard(c.output))
			}
		}()
	}
	if c.after != nil {
		defer func() {
			err = errors.Join(err, c.after())
		}()
	}
	for _, in := range c.inputs {
		if err := warm(in); err != nil {
			return u, 0, err
		}
	}
	settle(c.fills)
	cmd := c.command()
	cmd.env = slices.Concat(b.env, cmd.env)
	if u, err = run(ctx, cmd); err != nil {
		return u, 0, err
	}
	if c.output != "" {
		size, err = treeSize(c.output)
	}
	return u, size, err
}

// discard frees the space of a file or a folder, and puts what is left of it aside
// until the bench ends. ext4 does not use an inode again for a minute, and looks at
// each such one whenever a file is made: removing many files now would slow down what
// is measured next.
func (b *bench) discard(name string) error {
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := filepath.WalkDir(name, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if fi, err := e.Info(); err != nil || fi.Size() < 16<<10 {
			return err
		}
		return os.Truncate(path, 0)
	})
	if err != nil {
		return err
	}
	b.discarded++
	return os.Rename(name, filepath.Join(b.dir, "trash", strconv.Itoa(b.discarded)))
}

// warm brings a file, or all files of a folder, into the page cache.
func warm(name string) error {
	buf := make([]byte, bufferSize)
	return filepath.WalkDir(name, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{f}, buf)
		return err
	})
}

// onlyReader is what onlyWriter is, for readers.
type onlyReader struct{ io.Reader }

// treeSize counts the bytes of the files under a name.
func treeSize(name string) (int64, error) {
	var n int64
	err := filepath.WalkDir(name, func(_ string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			n += fi.Size()
		}
		return err
	})
	return n, err
}

// spread is the middle and the ends of what was measured.
type spread struct{ median, least, most float64 }

func (s *series) spread(of func(usage) float64) spread {
	if len(s.runs) == 0 {
		return spread{}
	}
	var v []float64
	for _, u := range s.runs {
		v = append(v, of(u))
	}
	slices.SortFunc(v, cmp.Compare)
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

func wall(u usage) float64   { return float64(u.Wall) }
func cpu(u usage) float64    { return float64(u.CPU) }
func memory(u usage) float64 { return float64(u.Memory) }
func read(u usage) float64   { return float64(u.Read) }
func wrote(u usage) float64  { return float64(u.Wrote) }
func disk(u usage) float64   { return float64(u.Disk) }

func durationText(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	case d < 100*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
