package deck

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/layout"
)

// Extract writes the slides and a deck.yaml into dir, which must be an empty
// folder or not exist; the folder above it must. If the content is Native, dir
// builds to the digest it came from. Otherwise what a deck.yaml can't say is left
// out, and a deck without a title becomes "Untitled".
//
// dir appears when it is complete, or not at all. Until then it is a folder
// .NAME.airdeck-partial-RANDOM beside it, which only a killed run leaves behind.
//
// Errors: layout.ClassName for a path that is not legal, layout.ErrExists for a
// dir that is not empty, layout.ClassLimit if deck.yaml would be over
// [MaxSpecSize], all before anything is written; layout.ClassLocal for those of
// the disk; and those of src.
func (c *Content) Extract(ctx context.Context, src layout.Source, dir string) error {
	deck := c.buildable()
	digests := make([]digest.Digest, 0, len(c.Slides))
	for _, s := range c.Slides {
		digests = append(digests, s.Digest)
	}
	if err := checkPaths(deck.Images, digests); err != nil {
		return err
	}
	spec, err := encodeSpec(&deck)
	if err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return layout.Errorf(layout.ClassLocal, "%w: make the folder first", err)
	}
	defer parent.Close()
	t := output{parent: parent, base: filepath.Base(dir), dir: dir}
	if err := t.check(); err != nil {
		return err
	}
	return t.fill(func(root *os.Root) error {
		return c.write(ctx, src, root, spec)
	})
}

func (c *Content) write(ctx context.Context, src layout.Source, root *os.Root, spec []byte) error {
	done := map[string]bool{}
	for _, s := range c.Slides {
		p := s.Annotations[ocispec.AnnotationTitle]
		if done[p] {
			continue
		}
		done[p] = true
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := writeSlide(ctx, src, root, p, s); err != nil {
			return fmt.Errorf("slide %q: %w", p, err)
		}
	}
	return layout.WriteFile(disk.At(root), SpecName, spec)
}

func writeSlide(ctx context.Context, src layout.Source, root *os.Root, p string, s ocispec.Descriptor) error {
	if err := root.MkdirAll(path.Dir(p), 0o755); err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	// File systems fold more than case: macOS takes the composed and the
	// decomposed ü for one.
	if _, err := root.Lstat(p); err == nil {
		return layout.Errorf(layout.ClassName, "another slide has this name on this file system: extract it on another")
	}
	rc, err := src.Fetch(ctx, s)
	if err != nil {
		return err
	}
	defer rc.Close()
	f, err := layout.CreateFile(disk.At(root), p)
	if err != nil {
		return err
	}
	defer f.Close()
	f.Expect(s.Size, s.Size)
	if _, err := io.Copy(f, rc); err != nil {
		return err
	}
	return f.Commit()
}

// output is the folder that is to appear.
type output struct {
	parent *os.Root
	base   string
	dir    string // both, for messages
}

// check refuses a place that is taken.
func (o *output) check() error {
	fi, err := o.parent.Lstat(o.base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	if cwd, err := os.Stat("."); err == nil && os.SameFile(fi, cwd) {
		return layout.Errorf(layout.ClassLocal, "%s is the current folder, which can't be replaced: name a new one", o.dir)
	}
	taken := layout.Errorf(layout.ClassLocal, "%s: %w: name a new folder or an empty one", o.dir, layout.ErrExists)
	if !fi.IsDir() {
		return taken
	}
	d, err := o.parent.Open(o.base)
	if err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	defer d.Close()
	switch _, err := d.ReadDir(1); err {
	case io.EOF:
		return nil
	case nil:
		return taken
	default:
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
}

// fill makes a folder, has it filled, and gives it its name.
func (o *output) fill(fill func(*os.Root) error) error {
	o.sweep()
	temp := o.partial() + rand.Text()
	if err := o.parent.Mkdir(temp, 0o755); err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	root, err := o.parent.OpenRoot(temp)
	if err == nil {
		err = fill(root)
		// Windows does not rename a folder that is open.
		if cerr := root.Close(); err == nil {
			err = cerr
		}
	}
	if err == nil {
		err = o.rename(temp)
	}
	if err != nil {
		if rerr := o.parent.RemoveAll(temp); rerr != nil {
			err = fmt.Errorf("%w; remove %s yourself: %w", err, filepath.Join(filepath.Dir(o.dir), temp), rerr)
		}
		return fmt.Errorf("extract to %s: %w", o.dir, err)
	}
	return nil
}

func (o *output) partial() string { return "." + o.base + ".airdeck-partial-" }

// abandoned is the age from which a partial folder is taken for one that a killed
// run left. Slides are there already when one is filled, so that takes seconds.
const abandoned = time.Hour

// sweep removes what killed runs left of this folder.
func (o *output) sweep() {
	entries, err := fs.ReadDir(o.parent.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err == nil && fi.IsDir() && strings.HasPrefix(e.Name(), o.partial()) && time.Since(fi.ModTime()) > abandoned {
			_ = o.parent.RemoveAll(e.Name()) // what can't be removed does no harm here
		}
	}
}

// rename puts the folder in its place. Not every system replaces an empty
// folder by a rename, so it is removed first; one that is empty no more stays.
func (o *output) rename(temp string) error {
	fi, err := o.parent.Lstat(o.base)
	removed := err == nil && fi.IsDir() && o.parent.Remove(o.base) == nil
	err = o.parent.Rename(temp, o.base)
	if err == nil {
		return nil
	}
	if removed {
		if merr := o.parent.Mkdir(o.base, 0o755); merr != nil {
			err = fmt.Errorf("%w; the empty folder is gone: %w", err, merr)
		}
	}
	if _, serr := o.parent.Lstat(o.base); serr == nil && !removed {
		return layout.Errorf(layout.ClassLocal, "%w meanwhile: %w", layout.ErrExists, err)
	}
	return layout.Errorf(layout.ClassLocal, "%w", err)
}
