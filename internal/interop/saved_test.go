//go:build interop

package interop

import (
	"bytes"
	"cmp"
	"maps"
	"path"
	"strings"
	"testing"
)

// TestSaved: what the engines save is read by airdeck, under the names that the
// engines mean. The images are those that the registry has, by their configs; the
// manifests are where the engine keeps them.
func TestSaved(t *testing.T) {
	asRoot(t)
	a := startServer(t, debian)
	m := newMachine(t)
	m.pushImage(a)
	images := m.pushPlatforms(a, "images/harbour", "linux/amd64", "linux/arm64")
	s := &saved{a: a, b: startServer(t, debian), configs: map[string]string{}, digests: map[string]string{}}
	for _, i := range []struct{ name, of, digest string }{
		{"docker.io/library/pier:1", "images/app", digestOf(a.manifest("images/app", "v1"))},
		{"example.com/team/harbour:1.0", "images/harbour", images[0]},
	} {
		s.names = append(s.names, i.name)
		s.pulled = append(s.pulled, a.addr+"/"+i.of+":v1")
		s.digests[i.name] = i.digest
		s.configs[i.name] = childrenOf(t, a.manifest(i.of, i.digest)).Config.Digest.String()
	}
	for _, store := range dockerStores {
		t.Run("docker "+store.name, func(t *testing.T) {
			d := newMachine(t).startDocker("moby-dockerd", store.flags...)
			for i, name := range s.names {
				d.run("pull", "--platform", "linux/amd64", s.pulled[i])
				d.run("tag", s.pulled[i], name)
			}
			// The short name is what docker shows; the archive has the full one too.
			d.run("save", "-o", "one.tar", "pier:1")
			s.read(d.machine, "one.tar", store.containerd, s.names[0])
			if store.containerd {
				s.incomplete(d)
				return
			}
			d.run("save", "-o", "both.tar", "pier:1", s.names[1])
			s.read(d.machine, "both.tar", false, s.names...)
		})
	}
	t.Run("podman", func(t *testing.T) {
		m := newMachine(t)
		for i, name := range s.names {
			m.podman("pull", "--tls-verify=false", "--platform", "linux/amd64", s.pulled[i])
			m.podman("tag", s.pulled[i], name)
			file := path.Base(strings.TrimSuffix(s.pulled[i], ":v1")) + ".tar"
			m.podman("save", "--format", "oci-archive", "-o", file, name)
			s.read(m, file, false, name)
		}
	})
}

// saved is images in a registry, and what they are when an engine has them under
// other names.
type saved struct {
	a, b    *server
	names   []string
	pulled  []string          // what is pulled, for each of the names
	digests map[string]string // of the manifests, by name
	configs map[string]string // by name
}

// read has airdeck read an archive with some of the images.
func (s *saved) read(m *machine, file string, kept bool, names ...string) {
	m.t.Helper()
	m.airdeck("verify", file)
	configs, digests := map[string]string{}, map[string]string{}
	for _, art := range jsonOf[inspectReport](m, "inspect", file).Artifacts {
		configs[art.Reference], digests[art.Reference] = cmp.Or(configs[art.As], art.config()), art.Digest
	}
	for _, name := range names {
		if configs[name] != s.configs[name] || kept && digests[name] != s.digests[name] {
			m.t.Errorf("inspect finds %s with the config %q", name, configs[name])
		}
	}
	if len(configs) != len(names) {
		m.t.Errorf("inspect finds %v, want %v", configs, names)
	}
	m.airdeck("pack", "-o", "ours.tar.zst", file)
	for way, archive := range map[string]string{"packed": "ours.tar.zst", "direct": file} {
		to := way + "/" + strings.ToLower(strings.NewReplacer(":", "-", "/", "-").Replace(m.t.Name()))
		rep := jsonOf[mirrorReport](m, "mirror", archive, s.b.addr+"/"+to)
		got, want := map[string]string{}, map[string]string{}
		for _, art := range rep.Artifacts {
			got[art.Target] = art.Digest
		}
		for _, name := range names {
			_, rest, _ := strings.Cut(name, "/")
			repository, tag, _ := strings.Cut(to+"/"+rest, ":")
			target := s.b.addr + "/" + to + "/" + rest
			want[target] = digests[name]
			if d := m.digest(target); d != digests[name] {
				m.t.Errorf("%s is %s, want %s", target, d, digests[name])
			}
			for _, blob := range childrenOf(m.t, s.b.manifest(repository, tag)).blobs() {
				s.b.blob(repository, blob.Digest.String())
			}
		}
		if !maps.Equal(got, want) {
			m.t.Errorf("mirror of %s says %v, want %v", archive, got, want)
		}
	}
}

// incomplete has airdeck read an archive with an index of which the engine pulled
// one platform. containerd's store saves the index as it is.
func (s *saved) incomplete(d *docker) {
	d.t.Helper()
	d.run("save", "-o", "both.tar", "pier:1", s.names[1])
	other := childrenOf(d.t, s.a.manifest("images/harbour", "v1")).Manifests[1].Digest.String()
	out := d.airdeckFor(3, "verify", "both.tar").stdout
	for _, want := range []string{other + " is missing", "linux/arm64", "airdeck pack --platform", "needed by " + s.names[1]} {
		if !bytes.Contains(out, []byte(want)) {
			d.t.Errorf("verify does not say %q:\n%s", want, out)
		}
	}
	d.airdeckFor(3, "pack", "-o", "whole.tar.zst", "both.tar")
	d.airdeckFor(3, "mirror", "both.tar", s.b.addr+"/incomplete")

	d.airdeck("pack", "-o", "amd64.tar.zst", "--platform", "linux/amd64", "both.tar")
	rep := jsonOf[mirrorReport](d.machine, "mirror", "amd64.tar.zst", s.b.addr+"/incomplete")
	if len(rep.Artifacts) != len(s.names) {
		d.t.Fatalf("mirror says %+v, want %v", rep.Artifacts, s.names)
	}
	for i, art := range rep.Artifacts {
		if art.Source != s.names[i] || art.Digest != s.digests[s.names[i]] {
			d.t.Errorf("mirror says %+v, want %s of %s", art, s.digests[s.names[i]], s.names[i])
		}
	}
	d.sameArtifact(place{s.a, "images/app", "v1"}, place{s.b, "incomplete/library/pier", "1"})
	d.sameArtifact(place{s.a, "images/harbour", s.digests[s.names[1]]}, place{s.b, "incomplete/team/harbour", "1.0"})
}
