package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// site is where one workload is measured: its layout, what is made of it, and what
// was found.
type site struct {
	*bench
	workload
	ctx     context.Context // of the one run
	content *content
	totals  totals
	source  destination    // a registry that has it
	packed  int64          // bytes of the bundle
	again   map[string]int // what a second mirror asked, by method and kind
	all     []*series
}

func (s *site) path(name string) string { return filepath.Join(s.dir, s.name, name) }
func (s *site) layout() string          { return s.path("layout") }
func (s *site) bundle() string          { return s.path("bundle.tar.zst") }
func (s *site) cache() string           { return s.path("cache") }

// find gives the series of a name. There is none where it was not run.
func (s *site) find(name string) *series {
	for _, r := range s.all {
		if r.name == name && len(r.runs) > 0 {
			return r
		}
	}
	return nil
}

func (s *site) compete(all ...*contender) error {
	for _, c := range all {
		if c.fills == 0 && (c.output != "" || c.before != nil) {
			c.fills = s.totals.bytes + 256<<20
		}
	}
	got, err := s.bench.compete(s.ctx, all)
	s.all = append(s.all, got...)
	return err
}

// newSite builds a workload.
func (b *bench) newSite(ctx context.Context, w workload) (*site, error) {
	s := &site{bench: b, workload: w, ctx: ctx}
	build, err := newBuilder(w.name, s.layout())
	if err != nil {
		return nil, err
	}
	w.build(build, b.small)
	if err := build.finish(); err != nil {
		return nil, err
	}
	if s.content, err = readContent(s.layout()); err != nil {
		return nil, err
	}
	s.totals = s.content.totals()
	return s, nil
}

// remove removes all that was made for the workload.
func (s *site) remove() error { return s.discard(filepath.Join(s.dir, s.name)) }

// measureWorkload runs all there is to run with one workload.
func (b *bench) measureWorkload(ctx context.Context, w workload, rep *report) error {
	s, err := b.newSite(ctx, w)
	if err != nil {
		return err
	}
	defer s.remove()
	if err := s.startSource(); err != nil {
		return err
	}
	defer s.source.close()
	steps := []func() error{s.pack, s.verify}
	if !w.packOnly {
		steps = append(steps, s.inspect, s.unpack, s.mirrors)
	}
	if w.peers {
		steps = append(steps, s.others)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	var less *site
	if w.growth {
		if less, err = b.tenth(ctx, w); err != nil {
			return err
		}
	}
	rep.add(s, less)
	return nil
}

// tenth measures a workload at a tenth of its size.
func (b *bench) tenth(ctx context.Context, w workload) (*site, error) {
	w.name += "-tenth"
	w.build = func(b *builder, small bool) { many(b, small, 10) }
	b.logf("%s: a tenth of it", w.name)
	s, err := b.newSite(ctx, w)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	if err := s.compete(s.packLayout()); err != nil {
		return nil, err
	}
	if err := s.verify(); err != nil {
		return nil, err
	}
	return s, s.mirrors()
}

// startSource starts a registry that has the workload.
func (s *site) startSource() error {
	if _, err := exec.LookPath(dockerRegistryName); err == nil && !s.inProcess {
		if err := fillDocker(s.path("source"), s.content); err != nil {
			return err
		}
		r, err := startDocker(s.ctx, s.path("source"))
		if err == nil {
			s.source = r
		}
		return err
	}
	r, err := startLocal(filepath.Join(s.layout(), "blobs"), true)
	if err != nil {
		return err
	}
	s.source = r
	p := &pusher{plainClient: newPlainClient(r.address()), content: s.content}
	return p.manifests(s.ctx)
}

// sources writes the references of all artifacts at the source for pack --from.
func (s *site) sources() (string, error) {
	name := s.path("sources")
	return name, os.WriteFile(name, []byte(strings.Join(s.content.references(s.source.address()), "\n")+"\n"), 0o644)
}

func (s *site) run(args ...string) command {
	return command{args: append([]string{s.airdeck, args[0], "-q"}, args[1:]...)}
}

// shell is a line of a shell for each artifact, where a tool takes one at a time. In
// it $1 is the repository, $2 the tag and $3 a name for a file.
func (s *site) shell(setup, line string) command {
	var b strings.Builder
	fmt.Fprintf(&b, "set -e\nrun() { %s; }\n%s\n", line, setup)
	for i, a := range s.content.artifacts {
		fmt.Fprintf(&b, "run %s %s %d\n", a.repo, a.tag, i)
	}
	return command{args: []string{"sh", "-c", b.String()}}
}
