//go:build crash

package crash

import (
	"fmt"
	"os"

	"filippo.io/age"
)

// writers are the commands that write, on each disk that they write to.
func writers(src *machine, s *site) []writer {
	refs := references(s)
	slides := s.host + "/slides:v1"
	onDisk := []string{"AIRDECK_LAYOUT=disk/layout"}
	// earlier has a bundle and a layout on the disk.
	earlier := func(m *machine) {
		copyTo(m.t, m.path("disk/out.tar.zst"), src.path("earlier.tar.zst"))
		m.airdeck("build", "--layout", "disk/layout", src.path("early/deck.yaml"))
	}
	file := func(name string) func(*machine) string {
		return func(m *machine) string { return m.digest(name).String() }
	}
	folder := func(name string) func(*machine) string {
		return func(m *machine) string { return fmt.Sprint(m.tree(name)) }
	}
	listed := func(m *machine) string { return fmt.Sprint(m.listed()) }
	none := func(*machine) string { return "" }         // what it writes is gone when it ends
	opened := func(name string) func(*machine) string { // no two are the same
		return func(m *machine) string { return m.airdeck("verify", "--json", "--identity", src.path("age.key"), name) }
	}
	signed := func(name string) func(*machine) string { // the signatures are not
		return func(m *machine) string { return m.airdeck("verify", "--json", "--key", src.path("signer.pub"), name) }
	}
	rooms := []int64{0, 100_000, 2 << 20}
	return []writer{
		{
			name: "pack, the bundle", before: earlier, where: "out.tar.zst", rooms: append(rooms, 6<<20), files: []int64{0}, during: true,
			args: append([]string{"pack", "-q", "-o", "disk/out.tar.zst"}, refs...), result: file("disk/out.tar.zst"),
		}, {
			name: "pack, the layout", before: earlier, env: onDisk, where: "layout", rooms: append(rooms, 6<<20), during: true,
			args: append([]string{"pack", "-q", "-o", "out.tar.zst"}, refs...), result: file("out.tar.zst"),
		}, {
			name: "pack, the files of the layout", before: earlier, env: onDisk, where: "write blobs/", files: []int64{0, 7},
			args: append([]string{"pack", "-q", "-o", "out.tar.zst"}, refs...), result: file("out.tar.zst"),
		}, {
			name: "pack, both", before: earlier, env: onDisk, where: "disk/", rooms: append(rooms, 12<<20), during: true,
			args: append([]string{"pack", "-q", "-o", "disk/out.tar.zst"}, refs...), result: file("disk/out.tar.zst"),
		}, {
			name: "pack of a layout to a plain file", before: earlier, where: "out.tar", rooms: rooms, during: true,
			args: []string{"pack", "-q", "-o", "disk/out.tar", "oci:" + src.path("talks")}, result: file("disk/out.tar"),
		}, {
			name: "pack to standard output", before: earlier, where: "stdout", rooms: rooms, during: true, shell: `exec "$0" "$@" > disk/piped`,
			args: []string{"pack", "-q", "-o", "-", "oci:" + src.path("talks")}, result: file("disk/piped"),
		}, {
			name: "pack of a deck", before: earlier, env: onDisk, where: "layout", rooms: rooms, during: true,
			args: []string{"pack", "-q", "-o", "out.tar.zst", src.path("slides/deck.yaml")}, result: file("out.tar.zst"),
		}, {
			name: "build", before: earlier, env: onDisk, where: "layout", rooms: rooms,
			args: []string{"build", "-q", src.path("slides/deck.yaml")}, result: listed,
		}, {
			name: "push", before: earlier, env: onDisk, where: "layout", rooms: rooms,
			args: []string{"push", "-q", src.path("slides/deck.yaml"), slides}, result: listed,
		}, {
			name: "pull, the layout", before: earlier, env: onDisk, where: "layout", rooms: rooms,
			args: []string{"pull", "-q", slides, "dir"}, result: folder("dir"),
		}, {
			name: "pull, the directory", where: "dir", rooms: rooms, files: []int64{0, 3},
			args: []string{"pull", "-q", slides, "disk/dir"}, result: folder("disk/dir"),
		}, {
			name: "compare", before: earlier, env: onDisk, where: "layout", rooms: []int64{0},
			args: []string{"compare", "-q", slides, slides}, result: none,
		}, {
			name: "compare of a foreign archive", where: "disk", rooms: rooms,
			args: []string{"compare", "-q", "--tmpdir", "disk", src.path("talks.tar.gz"), s.host}, result: none,
		}, {
			name: "inspect of a foreign archive", where: "disk", rooms: rooms,
			args: []string{"inspect", "-q", "--tmpdir", "disk", src.path("talks.tar.gz")}, result: none,
		}, {
			name: "unpack", where: "dir", rooms: append(rooms, 8<<20), files: []int64{0, 1, 5, 20}, during: true,
			args: []string{"unpack", "-q", src.path("talks.tar.zst"), "disk/dir"}, result: folder("disk/dir"),
		}, {
			name: "pack, encrypted", before: earlier, where: "out.tar.zst.age", rooms: append(rooms, 6<<20), files: []int64{0}, during: true,
			args: append([]string{"pack", "-q", "--recipients-file", src.path("age.pub"), "-o", "disk/out.tar.zst.age"}, refs...), result: opened("disk/out.tar.zst.age"),
		}, {
			name: "pack, signed", before: earlier, where: "out.tar.zst", rooms: rooms, files: []int64{0}, during: true, env: password,
			args: append([]string{"pack", "-q", "--sign-key", src.path("signer.key"), "-o", "disk/out.tar.zst"}, refs...), result: signed("disk/out.tar.zst"),
		}, {
			name: "sign", where: "out.tar.zst.sigstore.json", rooms: []int64{0}, files: []int64{0}, env: password,
			before: func(m *machine) { copyTo(m.t, m.path("disk/out.tar.zst"), src.path("earlier.tar.zst")) },
			args:   []string{"sign", "-q", "--key", src.path("signer.key"), "disk/out.tar.zst"}, result: signed("disk/out.tar.zst"),
		}, {
			// A page, or a file, is enough for one of the two.
			name: "keygen", where: "write k.", rooms: []int64{0, 4096}, files: []int64{0, 1}, env: password,
			args: []string{"keygen", "-q", "disk/k"}, result: func(m *machine) string { return keyPair(m, "disk/k", src) },
		}, {
			name: "demo", where: "no space left on device", rooms: rooms, files: []int64{0, 10}, shell: `TMPDIR="$PWD/disk" "$0" "$@" 2>log; code=$?; tail -n 1 log >&2; exit $code`,
			args: []string{"demo"}, result: folder("disk"),
		}, {
			name: "verify of an encrypted archive", where: "disk", rooms: rooms,
			args: []string{"verify", "-q", "--identity", src.path("age.key"), "--tmpdir", "disk", src.path("talks.tar.gz.age")}, result: folder("disk"),
		}, {
			name: "verify of a foreign archive", where: "disk", rooms: rooms,
			args: []string{"verify", "-q", "--tmpdir", "disk", src.path("talks.tar.gz")}, result: folder("disk"),
		}, {
			name: "mirror of a foreign archive", where: "disk", rooms: rooms,
			args: []string{"mirror", "-q", "--tmpdir", "disk", src.path("talks.tar.gz"), s.host}, result: folder("disk"),
		}, {
			name: "mirror, the report", where: "report.json", rooms: []int64{0},
			before: func(m *machine) { copyTo(m.t, m.path("disk/report.json"), src.path("early/deck.yaml")) },
			args:   []string{"mirror", "-q", "--report", "disk/report.json", src.path("talks.tar.zst"), s.host}, result: file("disk/report.json"),
		}, {
			name: "prune", env: onDisk, where: "layout", rooms: []int64{0}, before: func(m *machine) {
				earlier(m)
				m.airdeck("build", src.path("slides/deck.yaml"))
			},
			args: []string{"prune", "-q", "localhost/decks/talk-50:latest"}, result: listed,
		}, {
			name: "login", before: dockerConfig, where: "docker", rooms: []int64{0}, env: []string{"DOCKER_CONFIG=disk/docker"},
			shell: `echo secret | "$0" "$@"`, args: []string{"login", "-q", "--username", "ada", "--password-stdin", s.host},
			result: file("disk/docker/config.json"),
		}, {
			name: "logout", before: dockerConfig, where: "docker", rooms: []int64{0}, env: []string{"DOCKER_CONFIG=disk/docker"},
			args: []string{"logout", "-q", "example.com"}, result: file("disk/docker/config.json"),
		},
	}
}

// password is that of all keys.
var password = []string{"COSIGN_PASSWORD=secret"}

// ageKey makes a key to encrypt for: a passphrase takes a second each time.
func ageKey(m *machine) {
	m.t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		m.t.Fatal(err)
	}
	for name, content := range map[string]string{"age.key": key.String(), "age.pub": key.Recipient().String()} {
		if err := os.WriteFile(m.path(name), []byte(content+"\n"), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
}

// keyPair has a pair of keys used: what one signs, the other must know.
func keyPair(m *machine, prefix string, src *machine) string {
	m.t.Helper()
	m.airdeck("pack", "-q", "-o", "signed.tar.zst", "--sign-key", prefix+".key", "oci:"+src.path("talks"))
	m.airdeck("verify", "-q", "--key", prefix+".pub", "signed.tar.zst")
	return ""
}

// dockerConfig has a credential on the disk.
func dockerConfig(m *machine) {
	m.t.Helper()
	if err := os.Mkdir(m.path("disk/docker"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path("disk/docker/config.json"), []byte(`{"auths": {"example.com": {"auth": "YTpi"}}}`), 0o600); err != nil {
		m.t.Fatal(err)
	}
}
