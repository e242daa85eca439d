package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// zstd packs a layout with what every system has.
func (s *site) zstd() *contender {
	out := s.path("peer.tar.zst")
	return &contender{
		name: runZstd, needs: "zstd", inputs: []string{s.layout()}, output: out,
		command: func() command {
			return command{args: []string{"sh", "-c", "tar -C " + s.layout() + " -cf - . | zstd -q -T0 -3 -o " + out + " && sync " + out}}
		},
	}
}

// others measures the tools that take one artifact at a time. They remove many files,
// so that they come last; see discard.
func (s *site) others() error {
	dir := s.path("peer")
	skopeo := &contender{
		name: "skopeo copy --all oci: oci-archive:", needs: "skopeo", inputs: []string{s.layout()}, output: dir,
		command: func() command {
			return s.shell("mkdir "+dir, "skopeo --insecure-policy copy -q --all oci:"+s.layout()+":"+host+"$1:$2 oci-archive:"+dir+"/$3.tar:$1:$2")
		},
	}
	all := append([]*contender{skopeo}, s.exporters()...)
	if _, err := exec.LookPath(dockerRegistryName); err == nil {
		all = append(all, s.importers()...)
	}
	return s.compete(all...)
}

// exporters make a file of what a registry has.
func (s *site) exporters() []*contender {
	dir, at := s.path("peer"), s.source.address()
	return []*contender{
		{
			name: "oras backup", needs: "oras", inputs: []string{s.stored()}, output: dir,
			command: func() command {
				return s.shell("mkdir "+dir, "oras backup --plain-http --no-tty --output "+dir+"/$3.tar "+at+"/$1:$2 >/dev/null")
			},
		},
		{
			name: "regctl image export", needs: "regctl", inputs: []string{s.stored()}, output: dir,
			command: func() command {
				return s.shell("mkdir "+dir, "regctl --host reg="+at+",tls=disabled image export "+at+"/$1:$2 "+dir+"/$3.tar")
			},
		},
	}
}

// importers bring a file into a registry. What they read is made by their own other
// half, once.
func (s *site) importers() []*contender {
	t := &target{s: s, start: s.docker}
	var all []*contender
	exporters := s.exporters()
	for i, c := range []struct{ name, tool, line string }{
		{"oras restore", "oras", "oras restore --plain-http --no-tty --input %f %r/$1:$2 >/dev/null"},
		{"regctl image import", "regctl", "regctl --host reg=%r,tls=disabled image import %r/$1:$2 %f"},
	} {
		dir := s.path("peer-" + c.tool)
		all = append(all, &contender{
			name: c.name + toDocker, needs: c.tool, inputs: []string{dir}, after: t.end,
			before: func() error {
				if _, err := os.Stat(dir); err != nil {
					if _, err := run(s.ctx, exporters[i].command()); err != nil {
						return err
					}
					if err := os.Rename(s.path("peer"), dir); err != nil {
						return err
					}
				}
				return t.empty()
			},
			command: func() command {
				return s.shell("", strings.NewReplacer("%f", filepath.Join(dir, "$3.tar"), "%r", t.address()).Replace(c.line))
			},
		})
	}
	return all
}
