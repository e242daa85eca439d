package vectors

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// mostRead is how much of a compressed body Contents reads, in bytes: bombs are among them.
const mostRead = 1 << 20

// File is a regular file in a body.
type File struct {
	Name    string
	Content []byte
}

// Contents gives what looks like a regular file in the body, for who wants the texts in a
// vector and not its verdict. It goes on behind what is damaged or hostile, and reads
// what can be decompressed.
func (v *Vector) Contents() []File {
	var files []File
	for rest := plain(v.Body); len(rest) >= block; {
		h := rest[:block]
		rest = rest[block:]
		if string(h[257:262]) != "ustar" || h[156] != '0' {
			continue
		}
		size, err := strconv.ParseUint(strings.Trim(text(h[124:136]), " "), 8, 63)
		if err != nil || size > uint64(len(rest)) {
			continue
		}
		files = append(files, File{text(h[:100]), rest[:size]})
		rest = rest[min((size+block-1)/block*block, uint64(len(rest))):]
	}
	return files
}

// plain is a body without its compression, as far as it can be read.
func plain(b []byte) []byte {
	var out []byte
	if gz, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
		out, _ = io.ReadAll(io.LimitReader(gz, mostRead)) // what comes before an error
	} else if dec, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderMaxWindow(mostRead), zstd.WithDecoderConcurrency(1)); err == nil {
		defer dec.Close()
		out, _ = io.ReadAll(io.LimitReader(dec, mostRead))
	}
	if len(out) == 0 {
		return b
	}
	return out
}
