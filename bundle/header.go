package bundle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/layout"
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
	fields := [][]byte{h[100:108], h[108:116], h[116:124], h[136:148], h[329:337], h[337:345]}
	if h[257] == 0 {
		fields = fields[:4] // without devices
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
	if b[0]&0x80 == 0 || sign != 0 && sign != 0xfe {
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
