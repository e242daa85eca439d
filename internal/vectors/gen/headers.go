package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/internal/vectors"
)

const cveTarmageddon = "CVE-2025-62518 tokio-tar"

// last is a bundle whose last member is changed.
func last(change func(m *member)) []byte {
	ms := good()
	change(&ms[len(ms)-1])
	return archive(ms...)
}

// headers are headers that are none, or that readers take in two ways.
func headers(s *set) {
	s.at("tar", posix, vectors.Bundle)
	header := func(name, comment string, at int, text string, more ...option) {
		s.add("archive", "header-"+name, "a header: "+comment, last(func(m *member) { m.edit = put(at, text) }), append(more, blobsOnly)...)
	}
	s.add("archive", "header-checksum", "a header: its checksum is wrong", last(func(m *member) { m.after = put(fieldChecksum, "000001\x00 ") }), blobsOnly)
	s.add("archive", "header-checksum-text", "a header: its checksum is no number", last(func(m *member) { m.after = put(fieldChecksum, "no sum\x00 ") }), blobsOnly)
	s.add("archive", "header-checksum-first", "the first header has a wrong checksum", archive(append([]member{{
		name: "oci-layout", body: layoutFile, after: put(fieldChecksum, "000001\x00 ")}}, good()[1:]...)...))
	header("magic", "a format that nobody has", fieldMagic, "ustar-00")
	header("size-after-nul", "a size with digits after its end", fieldSize, "0000020\x00001\x00", metBy("readers end a number at the NUL, or at the end of the field"))
	header("size-minus", "a size with a sign", fieldSize, "-0000000020\x00")
	s.add("archive", "header-gnu-prefix", "a GNU header with a prefix", last(func(m *member) {
		m.edit = both(put(fieldMagic, "ustar  \x00"), put(fieldPrefix, "evil"))
	}), blobsOnly, metBy("readers take it for a prefix, or for times"))
	s.add("archive", "header-padding", "the padding of a member is not of zeros", last(func(m *member) { m.pad = "hidden" }), blobsOnly)
	s.add("archive", "header-none", "a web page with a login form, as proxies give it", []byte("<!DOCTYPE html>\n<title>Login</title>\n"+strings.Repeat("<p>You are not logged in.</p>\n", 40)), metBy("curl -o through a captive portal"))
	s.add("archive", "header-zip", "a zip file", append([]byte("PK\x03\x04\x14\x00\x00\x00\x00\x00"), make([]byte, 600)...), metBy("a file with the wrong ending"))
	s.add("archive", "header-xz", "an archive in xz, which bundles are not", append([]byte("\xfd7zXZ\x00\x00\x04"), make([]byte, 600)...), metBy("tar -J"))
}

// sizes are sizes that the content has not.
func sizes(s *set) {
	s.at("tar", "GNU tar, Base-256", vectors.Bundle)
	size := func(expect, name, comment, field string, more ...option) {
		s.add(expect, "size-"+name, "the size of the last member: "+comment, last(func(m *member) { m.size = field }), append(more, blobsOnly)...)
	}
	size("size", "negative", "-1", base256(-1))
	size("size", "over-2-63", "2^64 in base-256", "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	// Who knows the size from the index sees that; a pipe reads on to its end.
	longer := func(name, comment, field string, more ...option) {
		size("size", name, comment, field, append(more, verdict("truncated", vectors.Pipe))...)
	}
	longer("2-63", "2^63-1", base256(1<<63-1), metBy("umoci 0.5.1"))
	longer("octal-largest", "8 GiB-1, the largest in octal", "77777777777\x00", metBy(posix))
	longer("5-gib", "5 GiB, of which the medium kept nothing", octal(5<<30), metBy("FAT32 keeps 4 GiB of a file"))
	longer("block-more", "a block more than there is before the end", octal(3*block), metBy("a copy that was cut"))
	ms := good()
	ms[1].size = base256(1<<63 - 1)
	s.add("truncated", "size-index-2-63", "the size of index.json: 2^63-1", archive(ms...), verdict("limit", vectors.Pipe), metBy("CVE-2024-29902 cosign"))
	ms = good()
	ms[1].size = octal(5 << 20)
	s.add("truncated", "size-index-5-mib", "the size of index.json: over the limit, with nothing behind it", archive(ms...), verdict("limit", vectors.Pipe), metBy("CVE-2024-29902 cosign"))
	ms = good()
	ms[0].size = base256(-5)
	s.add("size", "size-first-negative", "the size of the first member: negative", archive(ms...))
}

// paxHeaders are extended headers that have a member read in two ways.
func paxHeaders(s *set) {
	s.at("tar", "POSIX.1-2001 pax, Extended Header", vectors.Bundle)
	behind := func(expect, name, comment string, x member, more ...option) {
		s.add(expect, "pax-"+name, "an extended header: "+comment, parts{without: secondBody, after: []member{x, file(blobName(secondBody), secondBody)}}.tar(), more...)
	}
	one := func(expect, name, comment, key, value string, more ...option) {
		behind(expect, name, comment, extended('x', record(key, value)), more...)
	}
	one("archive", "size", "a size that is not that of the header", "size", "0", metBy(cveTarmageddon))
	one("archive", "size-larger", "a size that takes the next header for content", "size", "528", metBy(cveTarmageddon))
	one("archive", "size-negative", "a negative size", "size", "-1", metBy(cveTarmageddon))
	one("archive", "size-text", "a size that is no number", "size", "0x10", metBy(cveTarmageddon))
	one("name", "path", "a path that leaves the folder", "path", "../evil", metBy(cveOras))
	one("name", "path-other-blob", "a path that is another blob", "path", blobName(firstBody), metBy("readers that know no PAX read another name"))
	one("name", "linkpath", "a link", "linkpath", "/etc/shadow", metBy(cveLinks))
	one("archive", "path-nul", "a path with a NUL", "path", blobName(secondBody)+"\x00x")
	one("archive", "uid-text", "an owner that is no number", "uid", "root")
	one("archive", "mtime-text", "a time that is no number", "mtime", "yesterday")
	behind("archive", "length-short", "a record whose length is too small", extended('x', "9 comment=evil\n"))
	behind("archive", "length-long", "a record that is longer than the header", extended('x', "99 comment=evil\n"))
	behind("archive", "length-huge", "a record whose length is over 2^64", extended('x', "99999999999999999999 comment=evil\n"))
	behind("archive", "no-newline", "a record without an end", extended('x', "15 comment=evil "))
	behind("archive", "twice", "a key twice", extended('x', record("comment", "a"), record("comment", "b")))
	behind("limit", "huge", "over 64 KiB of records", extended('x', record("comment", strings.Repeat("a", 65<<10))))
	s.add("archive", "pax-two", "two extended headers for one member", parts{without: secondBody, after: []member{
		extended('x', record("comment", "a")), extended('x', record("comment", "b")), file(blobName(secondBody), secondBody)}}.tar())
	s.add("archive", "pax-at-end", "an extended header that belongs to no member", parts{after: []member{extended('x', record("comment", "a"))}}.tar())
	s.add("name", "pax-folder", "an extended header that renames a folder", parts{after: []member{extended('x', record("path", "../evil/")), {name: "blobs/", kind: '5'}}}.tar(), metBy(cveOras))
	global := func(name, key, value string) {
		s.add("archive", "pax-global-"+name, "a global header with a "+name, parts{before: []member{extended('g', record(key, value))}}.tar(), metBy("readers differ in what it means for later members"))
	}
	global("path", "path", "../evil")
	global("size", "size", "0")
	cut := tarOf(append(good()[:5], extended('x', record("comment", strings.Repeat("a", 600))))...)
	s.add("truncated", "pax-cut", "the file ends in an extended header", cut[:len(cut)-700], metBy("a copy that was cut"))
}

// ends are archives that end too early or too late.
func ends(s *set) {
	s.at("tar", "archive/tar accepts it", vectors.Bundle)
	whole, without := archive(good()...), tarOf(good()...)
	at := func(i int) int { return len(tarOf(good()[:i]...)) }
	s.add("truncated", "end-none", "no blocks of zeros at the end", without)
	s.add("truncated", "end-single", "one block of zeros at the end", whole[:len(whole)-block])
	s.add("truncated", "end-half", "half of the second block of zeros", whole[:len(whole)-block/2])
	s.add("archive", "end-single-between", "one block of zeros between members", append(append(append([]byte{}, without...), make([]byte, block)...), archive(file("repositories", "{}"))...))
	s.add("trailing", "end-garbage", "garbage after the end", append(append([]byte{}, whole...), "garbage"...))
	s.add("trailing", "end-garbage-late", "garbage after some zeros after the end", append(append(append([]byte{}, whole...), make([]byte, 20*block)...), 'x'))
	s.add("trailing", "end-second-archive", "a second archive after the end", append(append([]byte{}, whole...), archive(parts{second: "evil"}.members()...)...), metBy("tar --ignore-zeros reads both"))
	s.add("limit", "end-zeros", "2 MiB of zeros after the end", append(append([]byte{}, whole...), make([]byte, 2<<20)...), metBy("GNU tar with a blocking factor"))
	s.source = "a copy that was cut"
	s.add("truncated", "cut-empty", "an empty file", nil)
	s.add("truncated", "cut-one-byte", "one byte", whole[:1])
	s.add("truncated", "cut-first-header", "the file ends in the first header", whole[:300])
	s.add("truncated", "cut-oci-layout", "the file ends in oci-layout", whole[:block+10])
	s.add("truncated", "cut-index", "the file ends in index.json", whole[:at(1)+block+100])
	s.add("truncated", "cut-manifest", "the file ends in a manifest", whole[:at(2)+block+100])
	s.add("truncated", "cut-header", "the file ends in the header of a blob", whole[:at(5)+100])
	s.add("truncated", "cut-before-header", "the file ends between two members", whole[:at(5)])
	s.add("truncated", "cut-content", "the file ends in a blob", whole[:at(5)+block+5])
	s.add("truncated", "cut-padding", "the file ends in the padding of a blob", whole[:at(5)+block+100])
	s.add("truncated", "cut-text", "the name of the file that was meant", []byte("talks.tar.zst\n"), metBy("a symbolic link that was copied as a file"))
	s.add("truncated", "cut-pointer", "a pointer of Git LFS", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:"+sha("x")+"\nsize 1000000\n"), metBy("Git LFS"))
}

// crowds are more members than anybody needs. They compress to nothing.
func crowds(s *set) {
	s.at("tar", "CVE-2024-29903 cosign", vectors.Bundle)
	const limit, each = 1_000_000, 10_000
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer enc.Close()
	f := enc.EncodeAll(bytes.Repeat(member{name: "blobs/", kind: '5'}.bytes(), each), nil)
	s.add("limit", "crowd-folders", "a folder a million times", slices.Concat(
		frameOf(tarOf(good()...)).bytes(), bytes.Repeat(f, limit/each), frameOf(end).bytes()))
	var ms []member
	for i := range 10_000 {
		ms = append(ms, file(fmt.Sprintf("blobs/sha256/%064x", i), ""))
	}
	s.add("digest", "crowd-blobs", "10,000 blobs that do not hash to their names", archive(append(good(), ms...)...), blobsOnly)
}
