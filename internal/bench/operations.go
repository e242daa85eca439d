package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
)

// The contenders, by the names that the tables have.
const (
	runPack    = "airdeck pack oci:"
	runCold    = "airdeck pack, from a registry"
	runWarm    = "airdeck pack, from a registry, all cached"
	runVerify  = "airdeck verify"
	runInspect = "airdeck inspect"
	runUnpack  = "airdeck unpack"
	runMirror  = "airdeck mirror"
	runAgain   = "airdeck mirror, again"

	runHash  = "plain: hash"
	runCopy  = "plain: hash and copy"
	runWrite = "plain: write"
	runFetch = "plain: fetch"
	runPush  = "plain: push"

	runZstd = "tar | zstd -T0 -3"
)

// toLocal and toDocker stand behind the names of what speaks with a registry.
const (
	toLocal  = " (in process)"
	toDocker = " (" + dockerRegistryName + ")"
)

func (s *site) packLayout() *contender {
	return &contender{
		name: runPack, inputs: []string{s.layout()}, output: s.bundle(), keep: true,
		command: func() command { return s.run("pack", "-o", s.bundle(), "oci:"+s.layout()) },
		after: func() error {
			fi, err := os.Stat(s.bundle())
			if err == nil {
				s.packed = fi.Size()
			}
			return err
		},
	}
}

func (s *site) pack() error {
	if s.packOnly {
		return s.compete(s.packLayout(), s.zstd())
	}
	from, err := s.sources()
	if err != nil {
		return err
	}
	out, fetched := s.path("out.tar.zst"), s.path("fetched")
	pull := func() command { return s.run("pack", "--layout", s.cache(), "-o", out, "--from", from) }
	all := []*contender{
		s.packLayout(),
		{
			name: runCold, inputs: []string{s.stored()}, output: out, command: pull, fills: 2*s.totals.bytes + 256<<20,
			before: func() error { return s.discard(s.cache()) },
		},
		{name: runWarm, inputs: []string{s.cache()}, output: out, command: pull},
		{name: runFetch, inputs: []string{s.stored()}, output: fetched, command: func() command {
			return plain("fetch", s.layout(), s.source.address(), fetched)
		}},
		{name: runCopy, inputs: []string{s.layout()}, output: out, command: func() command { return plain("copy", s.layout(), out) }},
		{name: runWrite, output: out, command: func() command { return plain("write", out, strconv.FormatInt(s.packed, 10)) }},
	}
	err = s.compete(append(all, s.zstd())...)
	return errors.Join(err, s.discard(s.cache()))
}

// stored is where the source has its files.
func (s *site) stored() string {
	if _, ok := s.source.(*dockerRegistry); ok {
		return s.path("source")
	}
	return s.layout()
}

func (s *site) verify() error {
	return s.compete(
		&contender{name: runVerify, inputs: []string{s.bundle()}, command: func() command { return s.run("verify", s.bundle()) }},
		&contender{name: runHash, inputs: []string{s.layout()}, command: func() command { return plain("hash", s.layout()) }},
	)
}

func (s *site) inspect() error {
	return s.compete(&contender{name: runInspect, inputs: []string{s.bundle()}, command: func() command { return s.run("inspect", s.bundle()) }})
}

func (s *site) unpack() error {
	dir := s.path("unpacked")
	return s.compete(&contender{
		name: runUnpack, inputs: []string{s.bundle()}, output: dir,
		command: func() command { return s.run("unpack", s.bundle(), dir) },
	})
}

// mirrors measures mirroring into each kind of registry.
func (s *site) mirrors() error {
	err := s.mirror(toLocal, func(dir string) (destination, error) { return startLocal(dir, false) })
	if err != nil || s.inProcess {
		return err
	}
	if _, err := exec.LookPath(dockerRegistryName); err != nil {
		s.all = append(s.all, &series{name: runMirror + toDocker, skipped: dockerRegistryName + " is not installed"})
		return nil
	}
	return s.mirror(toDocker, s.docker)
}

func (s *site) docker(dir string) (destination, error) { return startDocker(s.ctx, dir) }

// target is a registry that begins empty for each run. Its storage is in memory where
// there is room: a server that waits for its disk hides what a client does.
type target struct {
	s     *site
	start func(dir string) (destination, error)
	dir   string
	destination
}

func (t *target) empty() (err error) {
	dir, ok := memoryDir(t.s.totals.bytes)
	if !ok {
		dir = t.s.path("registry")
	}
	t.dir = dir
	t.destination, err = t.start(dir)
	return err
}

func (t *target) end() error {
	t.close()
	t.destination = nil
	if t.dir == t.s.path("registry") {
		return t.s.discard(t.dir)
	}
	return os.RemoveAll(t.dir)
}

func (s *site) mirror(to string, start func(dir string) (destination, error)) error {
	t := &target{s: s, start: start}
	send := func() command { return s.run("mirror", s.bundle(), t.address()) }
	err := s.compete(
		&contender{name: runMirror + to, inputs: []string{s.bundle()}, before: t.empty, command: send},
		&contender{
			name: runAgain + to, inputs: []string{s.bundle()}, command: send,
			before: func() error {
				s.asked(t)
				return nil
			},
			after: func() error {
				if asked := s.asked(t); asked != nil {
					s.again = asked
				}
				return t.end()
			},
		},
		&contender{name: runPush + to, inputs: []string{s.layout()}, before: t.empty, after: t.end, command: func() command {
			return plain("push", s.layout(), t.address())
		}},
	)
	if t.destination != nil {
		err = errors.Join(err, t.end()) // a run failed
	}
	return err
}

// asked gives what a registry that counts was asked since the last time.
func (s *site) asked(t *target) map[string]int {
	if l, ok := t.destination.(*localRegistry); ok {
		return l.asked()
	}
	return nil
}
