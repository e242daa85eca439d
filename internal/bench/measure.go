package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// usage is what one run of a program took.
type usage struct {
	Wall, CPU time.Duration // CPU is user and system time
	Memory    int64         // peak resident bytes, of the largest of its processes
	Read      int64         // bytes that it read, from files and connections
	Wrote     int64         // bytes that it wrote, to files and connections
	Disk      int64         // bytes that the file system has to write for it, in pages
	Code      int           // exit code
}

// command is a program to run.
type command struct {
	args []string
	env  []string // besides that of the bench
}

// run runs a program under a measuring process of its own. The peak of a process
// begins as that of the one that started it, and the bench, which runs registries,
// is larger than what it measures.
func run(ctx context.Context, c command) (usage, error) {
	var u usage
	r, w, err := os.Pipe()
	if err != nil {
		return u, err
	}
	defer r.Close()
	var out tail
	m := subcommand(ctx, "measure", c.args...)
	m.Env = append(os.Environ(), c.env...)
	m.Stdout, m.Stderr, m.ExtraFiles = &out, &out, []*os.File{w}
	err = m.Start()
	w.Close()
	if err != nil {
		return u, err
	}
	b, readErr := io.ReadAll(r)
	if err := errors.Join(m.Wait(), readErr); err != nil {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, out.b)
	}
	if err := json.Unmarshal(b, &u); err != nil {
		return u, err
	}
	if u.Code != 0 {
		return u, fmt.Errorf("%s: exit code %d\n%s", shorten(strings.Join(c.args, " ")), u.Code, out.b)
	}
	return u, nil
}

// subcommand is this program again, in another role. It ends when the bench does.
func subcommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err) // there is one: it runs
	}
	c := exec.CommandContext(ctx, self, append([]string{name}, args...)...)
	dieWithParent(c)
	return c
}

// measureMain is the subcommand measure: it runs a program and writes what it took
// to the pipe that is its fourth file.
func measureMain(args []string) error {
	pipe := os.NewFile(3, "pipe")
	defer pipe.Close()
	u, err := measure(args)
	if err != nil {
		return err
	}
	return json.NewEncoder(pipe).Encode(u)
}

// tail keeps the end of what is written to it: what a program says when it fails.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.b = append(t.b, p...)
	if len(t.b) > 2*most {
		t.b = bytes.Clone(t.b[len(t.b)-most:])
	}
	return len(p), nil
}

func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
