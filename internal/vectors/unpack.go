package vectors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// block is the unit of a tar archive.
const block = 512

// Unpack makes the files of a [Directory] or a [Deck] in a folder that is there. The
// body is a plain tar archive without a fault: the fault is in what it makes, such as
// a link that leaves the folder.
//
// Errors: [errors.ErrUnsupported] where this system has no such files.
func (v *Vector) Unpack(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for rest := v.Body; ; {
		if len(rest) < block {
			return errors.New("the body has no end")
		}
		h := rest[:block]
		if bytes.Equal(h, make([]byte, block)) {
			return nil
		}
		size, err := strconv.ParseInt(text(h[124:136]), 8, 64)
		if err != nil || size > int64(len(rest)-block) {
			return fmt.Errorf("the body has a member of %q bytes", h[124:136])
		}
		m := member{text(h[:100]), text(h[157:257]), h[156], rest[block : block+size]}
		if err := m.make(root); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		rest = rest[block+(size+block-1)/block*block:]
	}
}

func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// member is a file to be made.
type member struct {
	name, link string
	kind       byte
	content    []byte
}

// make leaves it to root that nothing is made outside.
func (m member) make(root *os.Root) error {
	if err := root.MkdirAll(path.Dir(m.name), 0o755); err != nil {
		return err
	}
	switch m.kind {
	case '0':
		return root.WriteFile(m.name, m.content, 0o644)
	case '1':
		return root.Link(m.link, m.name)
	case '2':
		if runtime.GOOS == "windows" { // where it takes a privilege
			return errors.ErrUnsupported
		}
		return root.Symlink(m.link, m.name)
	case '5':
		return root.MkdirAll(m.name, 0o755)
	case '6':
		return makeFifo(filepath.Join(root.Name(), filepath.FromSlash(m.name)))
	}
	return fmt.Errorf("a member of the type %q", m.kind)
}
