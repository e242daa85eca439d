package main

import (
	"strings"

	"github.com/airdeck/airdeck/internal/vectors"
)

// directories are layouts that lie unpacked on the medium, where a name may lead to
// something else than a file.
func directories(s *set) {
	s.at("layout", cveLinks, vectors.Directory)
	blob := blobName(secondBody)
	_, manifest := (&parts{}).texts()
	place := func(expect, name, comment string, m member, more ...option) {
		s.add(expect, "directory-"+name, "a directory: "+comment, parts{without: secondBody, after: []member{m}}.tar(), more...)
	}
	swap := func(expect, name, comment string, i int, m member, more ...option) {
		ms := good()
		ms[i] = m
		s.add(expect, "directory-"+name, "a directory: "+comment, archive(ms...), more...)
	}
	s.add(vectors.Success, "directory", "a directory without a fault", archive(good()...), metBy("skopeo copy to oci:"))
	s.add(vectors.Success, "directory-strays", "a directory: with files beside the layout", archive(append(good(),
		file("README.md", "talks"), file(".airdeck/use.lock", ""), file(".airdeck-tmp-X", "torn"), file("blobs/sha256/.DS_Store", ""))...), metBy("people"))
	s.add(vectors.Success, "directory-hardlink", "a directory: a blob with two names", archive(append(good(), member{name: "copy", kind: '1', link: blob})...), metBy("umoci, cp -l"))
	s.add(vectors.Success, "directory-index-only", "a directory: no artifacts", archive(file("oci-layout", layoutFile), file("index.json", indexOf())), metBy("umoci init"), unreadBy("skopeo", "it wants an artifact"))

	place("layout", "symlink-out", "a blob is a link that leaves it", member{name: blob, kind: '2', link: "/etc/passwd"}, blobsOnly)
	place("layout", "symlink-up", "a blob is a link to a file beside the layout", member{name: blob, kind: '2', link: "../../index.json"}, blobsOnly)
	place("layout", "symlink-loop", "a blob is a link to itself", member{name: blob, kind: '2', link: sha(secondBody)}, blobsOnly)
	place("missing", "symlink-dangling", "a blob is a link to nothing", member{name: blob, kind: '2', link: "nothing"}, blobsOnly)
	place("layout", "fifo", "a blob is a fifo, at which a reader waits", member{name: blob, kind: '6'}, blobsOnly)
	place("layout", "folder", "a blob is a folder", member{name: blob, kind: '5'}, blobsOnly)
	place("size", "empty-blob", "a blob is empty", file(blob, ""), blobsOnly, metBy("a power cut"))
	place("size", "short-blob", "a blob is short of some bytes", file(blob, secondBody[:10]), blobsOnly, metBy("a disk that was full"))
	place("size", "long-blob", "a blob goes on after its size", file(blob, secondBody+"."), blobsOnly, metBy("umoci 0.5.1"))
	place("digest", "damaged-blob", "a bit of a blob is flipped", file(blob, "the second slidf"), blobsOnly, metBy("a bit flipped on the medium"))

	s.add("layout", "directory-symlink-blobs", "a directory: the blobs are a link that leaves it", archive(append(good()[:2], member{name: "blobs", kind: '2', link: "/usr"})...))
	swap("layout", "symlink-manifest", "a manifest is a link that leaves it", 2, member{name: blobName(manifest), kind: '2', link: "/etc/passwd"})
	swap("layout", "fifo-manifest", "a manifest is a fifo", 2, member{name: blobName(manifest), kind: '6'})
	swap("size", "empty-manifest", "a manifest is empty", 2, file(blobName(manifest), ""), metBy("a power cut"))
	swap("layout", "fifo-oci-layout", "oci-layout is a fifo", 0, member{name: "oci-layout", kind: '6'})
	swap("json", "empty-oci-layout", "oci-layout is empty", 0, file("oci-layout", ""), metBy("a power cut"))
	swap("layout", "fifo-index", "index.json is a fifo", 1, member{name: "index.json", kind: '6'})
	swap("layout", "folder-index", "index.json is a folder", 1, member{name: "index.json", kind: '5'})
	swap("json", "empty-index", "index.json is empty", 1, file("index.json", ""), metBy("a power cut"))
	swap("json", "torn-index", "half of index.json is of zeros", 1, file("index.json", good()[1].body[:200]+strings.Repeat("\x00", 200)), metBy("a power cut"))
	swap("layout", "symlink-index", "index.json is a link that leaves it", 1, member{name: "index.json", kind: '2', link: "/etc/passwd"})
	swap("layout", "symlink-oci-layout", "oci-layout is a link that leaves it", 0, member{name: "oci-layout", kind: '2', link: "/etc/passwd"})
	s.add("layout", "directory-no-index", "a directory: there is no index.json", archive(append(good()[:1], good()[2:]...)...), metBy(imageLayout))
}
