package bundle

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
)

const (
	blockSize = 512
	endSize   = 2 * blockSize // the blocks of zeros that end an archive

	// maxOctalSize is the first size that does not fit the eleven octal digits
	// of a USTAR header.
	maxOctalSize = 1 << 33
)

const (
	dockerManifestFile = "manifest.json"

	// haulerIndexFile is the whole index of what hauler wrote for containerd alone.
	haulerIndexFile = "hauler-index.json"
)

// unreadFiles are what other writers put beside a layout: docker its repositories,
// hauler the identity of its store and a log.
var unreadFiles = []string{"repositories", "store.json", "audit.log"}

// dockerArchive recognizes the members of an archive that is no OCI layout, which
// docker save wrote before version 25 and podman and skopeo write as
// docker-archive.
var dockerArchive = regexp.MustCompile(`^[0-9a-f]{64}(/|\.json$|\.tar$)`)

// strangeName is the error for a member that has no place in a layout.
func strangeName(name string) error {
	hint := ""
	switch {
	case dockerArchive.MatchString(name):
		hint = " but to a docker-archive: have it written by docker 25 or later, or as an oci-archive"
	case name == haulerIndexFile:
		hint = ": index.json is for containerd and does not name all there is; have hauler save it without --containerd"
	}
	return layout.Errorf(layout.ClassName, "member %q does not belong to an OCI layout%s", name, hint)
}

// tarMember is a regular file of an archive.
type tarMember struct {
	name   string        // canonical: without "./"
	digest digest.Digest // of a blob; empty for the others
	size   int64
	offset int64 // of the content in the uncompressed archive
}

// tarScanner reads the headers of an archive strictly. It is the one parser of
// tar here, for archives that are read at random and for pipes.
type tarScanner struct {
	r       io.Reader
	offset  int64 // of r in the archive
	names   map[string]struct{}
	members int // with folders and global headers
	header  [blockSize]byte
}

func newTarScanner(r io.Reader) *tarScanner {
	return &tarScanner{r: r, names: map[string]struct{}{}}
}

// next gives the next regular file, with r at the start of its content. The
// caller moves r past content and padding, and offset with it. After the two
// blocks of zeros it gives io.EOF.
func (t *tarScanner) next() (tarMember, error) {
	var pax map[string]string
	for {
		at, h := t.offset, &t.header
		if err := t.block(h); err != nil {
			return tarMember{}, err
		}
		if *h == ([blockSize]byte{}) {
			if pax != nil {
				return tarMember{}, layout.Errorf(layout.ClassArchive, "offset %d: an extended header belongs to no member", at)
			}
			return tarMember{}, t.end()
		}
		name, size, err := parseHeader(h)
		if err != nil {
			return tarMember{}, fmt.Errorf("offset %d: %w", at, err)
		}
		kind := h[156]
		if kind != 'x' { // of which there is one for a member
			t.members++
		}
		if t.members > MaxMembers {
			return tarMember{}, layout.Errorf(layout.ClassLimit, "more than %d members", MaxMembers)
		}
		switch kind {
		case 'x', 'g':
			if pax != nil && kind == 'x' {
				return tarMember{}, layout.Errorf(layout.ClassArchive, "offset %d: two extended headers for one member", at)
			}
			records, err := t.paxRecords(size)
			if err != nil {
				return tarMember{}, fmt.Errorf("offset %d: %w", at, err)
			}
			if kind == 'x' {
				pax = records
				continue
			}
			// Readers disagree about what a global header does to the next one.
			_, sized := records["size"]
			if _, named := records["path"]; named || sized || pax != nil {
				return tarMember{}, layout.Errorf(layout.ClassArchive, "offset %d: a global header describes a member", at)
			}
		case '5':
			if _, renamed := pax["path"]; renamed || size != 0 || !legalDir(name) {
				return tarMember{}, fmt.Errorf("offset %d: %w", at, strangeName(name))
			}
			pax = nil
		case '0', 0:
			return t.file(name, size, pax, at)
		default:
			return tarMember{}, layout.Errorf(layout.ClassName, "offset %d: member %q is no regular file (type %q)", at, name, kind)
		}
	}
}

func (t *tarScanner) file(name string, size int64, pax map[string]string, at int64) (tarMember, error) {
	if s, ok := pax["size"]; ok {
		// A size that no octal field can hold stands in the record alone. Every
		// other difference is an attempt to be read in two ways (CVE-2025-62518).
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != s || n != size && (size != 0 || n < maxOctalSize) {
			return tarMember{}, layout.Errorf(layout.ClassArchive, "offset %d: member %q has the size %d in its header and %q in its PAX record", at, name, size, s)
		}
		size = n
	}
	if p, ok := pax["path"]; ok {
		// The one name that needs a record is that of a sha512 blob, and the header
		// has its beginning. Another path is another name for readers that know no
		// PAX.
		if _, err := blobDigest(strings.TrimPrefix(p, "./")); err != nil || len(p) <= maxName || !strings.HasPrefix(p, name) || len(name) != maxName {
			return tarMember{}, layout.Errorf(layout.ClassName, "offset %d: an extended header renames member %q to %q", at, name, p)
		}
		name = p
	}
	m := tarMember{name: strings.TrimPrefix(name, "./"), size: size, offset: t.offset}
	switch m.name {
	case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, layout.SignaturesFile, dockerManifestFile:
	default:
		if slices.Contains(unreadFiles, m.name) {
			break
		}
		d, err := blobDigest(m.name)
		if err != nil {
			return m, fmt.Errorf("offset %d: %w", at, err)
		}
		m.digest = d
	}
	if _, ok := t.names[m.name]; ok {
		return m, layout.Errorf(layout.ClassDuplicate, "offset %d: a second member %q", at, m.name)
	}
	t.names[m.name] = struct{}{}
	return m, nil
}

// blobDigest is the inverse of blobName, byte for byte.
func blobDigest(name string) (digest.Digest, error) {
	rest, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/")
	alg, hex, ok2 := strings.Cut(rest, "/")
	d := digest.Digest(alg + ":" + hex)
	if !ok || !ok2 || strings.Contains(hex, "/") {
		return "", strangeName(name)
	}
	if err := layout.CheckDigest(d); err != nil {
		return "", layout.Errorf(layout.ClassName, "member %q is named by no digest that is verified: %w", name, err)
	}
	return d, nil
}

// legalDir accepts the directories of a layout as tar writes them.
func legalDir(name string) bool {
	switch strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/") {
	case "", ".", ocispec.ImageBlobsDir, ocispec.ImageBlobsDir + "/sha256", ocispec.ImageBlobsDir + "/sha512":
		return true
	}
	return false
}

func (t *tarScanner) block(h *[blockSize]byte) error {
	_, err := io.ReadFull(t.r, h[:])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return layout.Errorf(layout.ClassTruncated, "the archive ends at offset %d without its end: the copy is not complete", t.offset)
	}
	t.offset += blockSize
	return err
}

// end is called behind the first block of zeros.
func (t *tarScanner) end() error {
	var h [blockSize]byte
	if err := t.block(&h); err != nil {
		return err
	}
	if h != ([blockSize]byte{}) {
		return layout.Errorf(layout.ClassArchive, "offset %d: data follows a single block of zeros", t.offset-blockSize)
	}
	return io.EOF
}

// trailing reads to the end of the input. tar pads archives with zeros to its
// record size; anything else has no business there.
func (t *tarScanner) trailing() error {
	end := t.offset
	buf := make([]byte, 32<<10)
	for {
		n, err := t.r.Read(buf)
		for i, c := range buf[:n] {
			if c != 0 {
				return layout.Errorf(layout.ClassTrailing, "data follows the end of the archive at offset %d", t.offset+int64(i))
			}
		}
		t.offset += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if t.offset-end > MaxTrailingZeros {
			return layout.Errorf(layout.ClassLimit, "more than %d zeros follow the end of the archive", MaxTrailingZeros)
		}
	}
}

// paxRecords reads the records of an extended header. Those that rename a
// member or describe something other than a plain file are refused; the rest
// (times, owners, attributes) has no meaning here.
func (t *tarScanner) paxRecords(size int64) (map[string]string, error) {
	if size > MaxExtendedHeader {
		return nil, layout.Errorf(layout.ClassLimit, "an extended header of %d bytes", size)
	}
	b := make([]byte, size+padding(size))
	if _, err := io.ReadFull(t.r, b); err != nil {
		return nil, layout.Errorf(layout.ClassTruncated, "the archive ends in an extended header: %w", err)
	}
	t.offset += int64(len(b))
	b = b[:size]
	records := map[string]string{}
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b, []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || digits[0] == '+' || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, layout.Errorf(layout.ClassArchive, "a malformed extended header")
		}
		key, value, ok := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		if _, dup := records[key]; !ok || dup {
			return nil, layout.Errorf(layout.ClassArchive, "a malformed extended header: %q", key)
		}
		if !validRecord(key, value) {
			return nil, layout.Errorf(layout.ClassArchive, "an extended header says %s=%q", key, value)
		}
		if key == "linkpath" || strings.HasPrefix(key, "GNU.sparse.") {
			return nil, layout.Errorf(layout.ClassName, "an extended header sets %q", key)
		}
		records[key] = value
		b = b[n:]
	}
	return records, nil
}

// paxTime is a time of POSIX.1-2001, "pax Extended Header".
var paxTime = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]*)?$`)

// validRecord refuses what other readers can't read, though its meaning is of no
// account here.
func validRecord(key, value string) bool {
	switch key {
	case "":
		return false
	case "uid", "gid":
		_, err := strconv.ParseInt(value, 10, 64)
		return value == "" || err == nil
	case "mtime", "atime", "ctime":
		return value == "" || paxTime.MatchString(value)
	case "path", "linkpath", "uname", "gname":
		return !strings.Contains(value, "\x00")
	}
	return !strings.Contains(key, "\x00")
}
