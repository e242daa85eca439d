package bundle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
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
	dockerReposFile    = "repositories"
)

func padding(size int64) int64 { return -size & (blockSize - 1) }

// maxName is the longest name that fits the name field of a header. The prefix
// field, which is for folders, does not help: "blobs/sha512/" is short and the
// 128 digits behind it are not.
const maxName = 100

// headerSize is what the headers of a blob occupy: one block, and for a sha512
// digest two more for a PAX record of its path.
func headerSize(d digest.Digest) int64 {
	if len(ocispec.ImageBlobsDir)+1+len(d) > maxName { // as long as blobName(d)
		return 3 * blockSize
	}
	return blockSize
}

// memberSize is what a blob occupies in the archive.
func memberSize(d digest.Digest, size int64) int64 { return headerSize(d) + size + padding(size) }

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// appendHeader appends the header of a regular file, after a PAX record of its
// path where the name does not fit.
func appendHeader(b []byte, name string, size int64) []byte {
	if len(name) > maxName {
		record := paxRecord("path", name)
		b = appendBlock(b, "PaxHeaders/"+path.Base(name), int64(len(record)), 'x')
		b = append(b, record...)
		b = append(b, make([]byte, padding(int64(len(record))))...)
	}
	return appendBlock(b, name, size, '0')
}

// paxRecord is "LENGTH KEY=VALUE\n", where the length counts its own digits.
func paxRecord(key, value string) string {
	n := len(key) + len(value) + 3
	for digits := 0; digits != len(strconv.Itoa(n)); n = len(key) + len(value) + 3 + digits {
		digits = len(strconv.Itoa(n))
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// appendBlock appends one header, with as much of the name as fits. The fields
// and their offsets are those of struct posix_header in POSIX.1-1988.
func appendBlock(b []byte, name string, size int64, kind byte) []byte {
	var h [blockSize]byte
	copy(h[0:maxName], name)
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x00")
	copy(h[116:], "0000000\x00")
	magic := "ustar\x0000"
	if size < maxOctalSize {
		copy(h[124:], fmt.Sprintf("%011o\x00", size))
	} else {
		h[124] = 0x80
		binary.BigEndian.PutUint64(h[128:], uint64(size))
		magic = "ustar  \x00"
	}
	copy(h[136:], "00000000000\x00")
	h[156] = kind
	copy(h[257:], magic)
	if magic[6] == '0' {
		copy(h[329:], "0000000\x00")
		copy(h[337:], "0000000\x00")
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", checksum(&h)))
	return append(b, h[:]...)
}

// checksum is the sum of the header's bytes, its own field taken as spaces.
func checksum(h *[blockSize]byte) int64 {
	var sum int64
	for i, c := range h {
		if 148 <= i && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum
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
	r      io.Reader
	offset int64 // of r in the archive
	names  map[string]struct{}
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
		at := t.offset
		var h [blockSize]byte
		if err := t.block(&h); err != nil {
			return tarMember{}, err
		}
		if h == ([blockSize]byte{}) {
			if pax != nil {
				return tarMember{}, layout.Errorf(layout.ClassArchive, "offset %d: an extended header belongs to no member", at)
			}
			return tarMember{}, t.end()
		}
		name, size, err := parseHeader(&h)
		if err != nil {
			return tarMember{}, fmt.Errorf("offset %d: %w", at, err)
		}
		switch kind := h[156]; kind {
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
			if size != 0 || !legalDir(name) {
				return tarMember{}, layout.Errorf(layout.ClassName, "offset %d: directory %q does not belong to an OCI layout", at, name)
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
		if err != nil || n != size && (size != 0 || n < maxOctalSize) {
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
	case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, dockerManifestFile, dockerReposFile:
	default:
		d, err := blobDigest(m.name)
		if err != nil {
			return m, fmt.Errorf("offset %d: %w", at, err)
		}
		m.digest = d
	}
	if _, ok := t.names[m.name]; ok {
		return m, layout.Errorf(layout.ClassDuplicate, "offset %d: a second member %q", at, m.name)
	}
	if len(t.names) == MaxMembers {
		return m, layout.Errorf(layout.ClassLimit, "more than %d members", MaxMembers)
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
		return "", layout.Errorf(layout.ClassName, "member %q does not belong to an OCI layout", name)
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
		if !ok || err != nil || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, layout.Errorf(layout.ClassArchive, "a malformed extended header")
		}
		key, value, ok := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		if _, dup := records[key]; !ok || dup {
			return nil, layout.Errorf(layout.ClassArchive, "a malformed extended header: %q", key)
		}
		if key == "linkpath" || strings.HasPrefix(key, "GNU.sparse.") {
			return nil, layout.Errorf(layout.ClassName, "an extended header sets %q", key)
		}
		records[key] = value
		b = b[n:]
	}
	return records, nil
}

// parseHeader checks a header and gives the member's name and size.
func parseHeader(h *[blockSize]byte) (name string, size int64, err error) {
	want, err := parseNumber(h[148:156])
	if err != nil || want != checksum(h) {
		return "", 0, layout.Errorf(layout.ClassArchive, "this is no tar header: its checksum is wrong")
	}
	ustar := string(h[257:263]) == "ustar\x00"
	if !ustar && string(h[257:265]) != "ustar  \x00" && string(h[257:265]) != "\x00\x00\x00\x00\x00\x00\x00\x00" {
		return "", 0, layout.Errorf(layout.ClassArchive, "a tar header of an unknown kind: %q", h[257:265])
	}
	if size, err = parseNumber(h[124:136]); err != nil {
		return "", 0, err
	}
	// Their values have no meaning here, but a reader that finds no number there
	// reads on in another way, or not at all.
	fields := [][]byte{h[100:108], h[108:116], h[116:124], h[136:148]}
	if h[257] != 0 {
		fields = append(fields, h[329:337], h[337:345])
	}
	for _, f := range fields {
		if _, err := parseNumber(f); err != nil && !isBase256(f) {
			return "", 0, err
		}
	}
	// Some readers take what stands there in a GNU header for a prefix.
	if !ustar && h[345] != 0 {
		return "", 0, layout.Errorf(layout.ClassArchive, "a GNU tar header with times or a prefix")
	}
	if name, err = cString(h[0:100]); err != nil {
		return "", 0, err
	}
	if ustar && h[345] != 0 {
		prefix, err := cString(h[345:500])
		if err != nil {
			return "", 0, err
		}
		name = prefix + "/" + name
	}
	return name, size, nil
}

// cString gives the bytes before the first NUL, behind which there must be
// nothing else.
func cString(b []byte) (string, error) {
	s, rest, _ := bytes.Cut(b, []byte{0})
	if len(bytes.Trim(rest, "\x00")) > 0 {
		return "", layout.Errorf(layout.ClassName, "member name %q has a NUL in it", b)
	}
	return string(s), nil
}

// isBase256 reports whether a field has a number in GNU's base-256 that fits 64
// bits. It may be negative, as a time may.
func isBase256(b []byte) bool {
	sign := b[0] << 1 // all the bits but the mark
	if sign != 0 && sign != 0xfe {
		return false
	}
	for _, c := range b[1 : len(b)-7] {
		if c != byte(int8(sign)>>7) {
			return false
		}
	}
	return len(b) == 8 || b[4]>>7 == sign>>7
}

// parseNumber reads a size in octal or in GNU's base-256.
func parseNumber(b []byte) (int64, error) {
	if b[0]&0x80 != 0 {
		if b[0] != 0x80 || len(b) != 12 || b[1]|b[2]|b[3] != 0 || b[4] > 0x7f {
			return 0, layout.Errorf(layout.ClassSize, "a tar header has a negative size, or one over 2^63")
		}
		return int64(binary.BigEndian.Uint64(b[4:])), nil
	}
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 63)
	if err != nil {
		return 0, layout.Errorf(layout.ClassArchive, "a tar header has the number %q", s)
	}
	return int64(n), nil
}
