package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

const (
	cveOras     = "CVE-2021-21272 oras"
	cveArchiver = "CVE-2024-0406 archiver"
	cveScope    = "CVE-2024-24579 stereoscope"
	cveZarf     = "CVE-2026-29064 zarf"
	cveLinks    = "CVE-2026-50163 oras-go"
	cveChains   = "CVE-2026-85731 oras-go"
	cveSparse   = "CVE-2025-58183 archive/tar"
	windows     = "Windows: Naming Files, Paths, and Namespaces"
	posix       = "POSIX.1-2001 pax, ustar Interchange Format"
)

// memberNames are members whose names have no place in a layout. Each stands behind
// the blobs, so that a reader that writes as it reads has written something before.
func memberNames(s *set) {
	s.at("names", cveOras, vectors.Bundle)
	hex := sha(firstBody)
	for _, v := range []struct{ name, member, comment, source string }{
		{"dotdot", "../evil", "leaves the folder", cveOras},
		{"dotdot-inside", "blobs/sha256/../../../../etc/cron.d/evil", "leaves the folder from a legal beginning", cveArchiver},
		{"dotdot-harmless", "blobs/sha512/../sha256/" + hex, "goes up and comes back to a blob", cveScope},
		{"absolute", "/etc/cron.d/evil", "an absolute path", cveOras},
		{"drive", `C:\Windows\evil.dll`, "a path on a drive", windows},
		{"drive-slash", "C:/Windows/evil.dll", "a path on a drive, with slashes", windows},
		{"unc", `\\server\share\evil`, "a path on another machine", windows},
		{"backslash", `blobs\sha256\` + hex, "backslashes for slashes", windows},
		{"backslash-dotdot", `..\..\evil`, "leaves the folder on Windows alone", windows},
		{"device", "NUL", "a device of Windows", windows},
		{"stream", "index.json:evil", "a second stream of a file of NTFS", windows},
		{"trailing-dot", "index.json.", "a dot that Windows drops", windows},
		{"trailing-space", "index.json ", "a space that Windows drops", windows},
		{"newline", "blobs/sha256/a\nb", "a line break", "CVE-2021-21303 helm"},
		{"escape", "blobs/\x1b[2J\x1b[1;1Hclean", "clears the terminal that shows it", "CVE-2021-21303 helm"},
		{"bidi", "blobs/\u202enosj.xedni", "is shown backwards", "CVE-2021-42574 Trojan Source"},
		{"invalid-utf8", "blobs/\xff\xfe", "no UTF-8", posix},
		{"empty", "", "no name at all", posix},
		{"upper-case", "Index.json", "differs by case from a file of the layout", "macOS and Windows file systems"},
		{"upper-case-hex", "blobs/sha256/" + strings.ToUpper(hex), "a digest in upper case", "image-spec v1.1.1, descriptor.md"},
		{"dot-twice", "././index.json", "more than one leading ./", "read last-wins by most"},
		{"dot-inside", "blobs/./sha256/" + hex, "a needless dot", "read last-wins by most"},
		{"double-slash", "blobs//sha256/" + hex, "a needless slash", "read last-wins by most"},
		{"trailing-slash", "index.json/", "a file whose name is that of a folder", "archive/tar takes it for a folder"},
		{"stray", "README.md", "a file that no layout has", "image-spec v1.1.1, image-layout.md"},
		{"nested", "layout/index.json", "the layout in a folder", "tar of a folder"},
		{"md5", "blobs/md5/d41d8cd98f00b204e9800998ecf8427e", "an algorithm that is not verified", "CVE-2024-37032 ollama"},
		{"docker-layer", hex + "/layer.tar", "what docker save wrote before version 25", "docker save"},
	} {
		s.add("name", "name-"+v.name, "a member name: "+v.comment, parts{after: []member{file(v.member, "evil")}}.tar(), metBy(v.source))
	}
	split := member{name: "evil", body: "evil", edit: put(fieldPrefix, "..")}
	s.add("name", "name-prefix-dotdot", "a member name: the prefix field leaves the folder", parts{after: []member{split}}.tar(), metBy(posix))
	s.add("name", "name-nul", "a member name: a NUL, and more behind it", last(func(m *member) { m.name += "\x00/../evil" }), blobsOnly, metBy(cveArchiver))
	long := member{name: "blobs/sha256/" + strings.Repeat("a", 87), body: "evil", edit: put(fieldPrefix, strings.Repeat("b", 155))}
	s.add("name", "name-256-bytes", "a member name: 256 bytes", parts{after: []member{long}}.tar(), metBy(posix))
	first := append([]member{file("../evil", "evil")}, good()...)
	s.add("name", "name-dotdot-first", "a member name: leaves the folder, before all other members", archive(first...))
}

// memberTypes are members that are no regular files and no folders of a layout.
func memberTypes(s *set) {
	s.at("names", cveLinks, vectors.Bundle)
	blob := "blobs/sha256/" + sha(secondBody)
	behind := func(ms ...member) []byte { return parts{without: secondBody, after: ms}.tar() }
	for _, v := range []struct {
		name, comment, source string
		ms                    []member
	}{
		{"symlink", "a symbolic link in the place of a blob", cveLinks, []member{{name: blob, kind: '2', link: "/etc/shadow"}}},
		{"symlink-inside", "a symbolic link to another blob", cveLinks, []member{{name: blob, kind: '2', link: sha(firstBody)}}},
		{"symlink-index", "a symbolic link with the name of a file of the layout", "CVE-2019-18658 helm", []member{{name: "index.json", kind: '2', link: "../index.json"}}},
		{"symlink-folder", "a link to a folder, and a member below it", cveZarf, []member{{name: "blobs", kind: '2', link: "/tmp"}, file(blob, secondBody)}},
		{"symlink-chain", "links that lead out in two steps", cveChains, []member{
			{name: "blobs/sha256/a", kind: '2', link: "."}, {name: "blobs/sha256/b", kind: '2', link: "a/../.."}, file("blobs/sha256/b/evil", "evil"),
		}},
		{"symlink-content", "a symbolic link with content", "readers differ in whether they skip it", []member{{name: blob, kind: '2', link: "x", body: secondBody}}},
		{"hardlink", "a hard link to a file outside", cveZarf, []member{{name: blob, kind: '1', link: "/etc/shadow"}}},
		{"hardlink-inside", "a hard link to another blob", "GNU tar writes these", []member{{name: blob, kind: '1', link: "blobs/sha256/" + sha(firstBody)}}},
		{"hardlink-content", "a hard link with content", posix, []member{{name: blob, kind: '1', link: "x", body: secondBody}}},
		{"char-device", "a character device", cveArchiver, []member{{name: blob, kind: '3', edit: put(fieldDevice, "0000001\x000000003\x00")}}},
		{"block-device", "a block device", cveArchiver, []member{{name: blob, kind: '4', edit: put(fieldDevice, "0000010\x000000000\x00")}}},
		{"fifo", "a fifo", cveArchiver, []member{{name: blob, kind: '6'}}},
		{"contiguous", "a contiguous file, which some readers take for a regular one", posix, []member{{name: blob, kind: '7', body: secondBody}}},
		{"unknown", "a type that nobody has defined", posix, []member{{name: blob, kind: 'Z', body: secondBody}}},
		{"long-name", "a name in GNU's form, which renames the member behind it", "GNU tar", []member{{name: "././@LongLink", kind: 'L', body: "../evil\x00"}, file(blob, secondBody)}},
		{"long-link", "a link in GNU's form", "GNU tar", []member{{name: "././@LongLink", kind: 'K', body: "/etc/shadow\x00"}, {name: blob, kind: '2', link: "x"}}},
		{"solaris-extended", "an extended header of Solaris", "Solaris tar", []member{extended('X', record("path", "../evil")), file(blob, secondBody)}},
		{"folder-with-content", "a folder with content, which some readers skip", "archive/tar skips none of it", []member{{name: "blobs/", kind: '5', body: secondBody}, file(blob, secondBody)}},
		{"folder-stray", "a folder that no layout has", "image-spec v1.1.1, image-layout.md", []member{{name: "etc/", kind: '5'}, file(blob, secondBody)}},
		{"folder-dotdot", "a folder outside", cveOras, []member{{name: "../", kind: '5'}, file(blob, secondBody)}},
		{"folder-as-blob", "a folder in the place of a blob", "umoci", []member{{name: blob + "/", kind: '5'}}},
		{"sparse-old", "a sparse file in GNU's old form", cveSparse, []member{{name: blob, kind: 'S', body: secondBody, edit: both(
			put(fieldMagic, "ustar  \x00"), put(386, "00000000000\x0000000000020\x00"), put(483, "00000000020\x00"))}}},
		{"sparse-pax-0", "a sparse file in the form 0.1 of PAX records", cveSparse, []member{
			extended('x', record("GNU.sparse.size", "16"), record("GNU.sparse.numblocks", "1"), record("GNU.sparse.map", "0,16")), file(blob, secondBody)}},
		{"sparse-pax-1", "a sparse file in the form 1.0 of PAX records", cveSparse, []member{
			extended('x', record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0"), record("GNU.sparse.name", blob), record("GNU.sparse.realsize", "16")),
			file("GNUSparseFile.0/x", "1\n0\n16\n"+strings.Repeat("\x00", 505)+secondBody)}},
	} {
		s.add("name", "type-"+v.name, "a member: "+v.comment, behind(v.ms...), metBy(v.source))
		if len(v.ms) == 1 && v.ms[0].body == secondBody {
			blobsOnly(&s.all[len(s.all)-1])
		}
	}
}

// duplicates are two members of one name.
func duplicates(s *set) {
	s.at("names", "read last-wins by most", vectors.Bundle)
	ms := good()
	evil := strings.Replace(ms[1].body, "intro:v1", "other:v1", 2)
	for _, v := range []struct {
		name, comment string
		m             member
	}{
		{"index", "a second index.json with other content", file("index.json", evil)},
		{"index-same", "a second index.json with the same content", ms[1]},
		{"index-dot", "a second index.json, as ./index.json", file("./index.json", evil)},
		{"oci-layout", "a second oci-layout", ms[0]},
		{"blob", "a second member of a blob", file(blobName(secondBody), secondBody)},
		{"blob-dot", "a second member of a blob, with a leading ./", file("./"+blobName(secondBody), secondBody)},
		{"blob-prefix", "a second member of a blob, whose name is in two fields", member{
			name: sha(secondBody), body: secondBody, edit: put(fieldPrefix, "blobs/sha256")}},
		{"unread", "a second file of those that nobody reads", file("repositories", "{}")},
	} {
		before := []member(nil)
		if v.name == "unread" {
			before = []member{v.m}
		}
		s.add("duplicate", "duplicate-"+v.name, v.comment, parts{before: before, after: []member{v.m}}.tar())
	}
}
