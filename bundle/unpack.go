package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/layout"
)

// UnpackOptions are the options of [Verified.Unpack]. nil stands for the defaults.
type UnpackOptions struct {
	// Jobs is how many blobs are written at once; 0 means that of [layout.Copy].
	Jobs int
	// Progress is told of the phase "copying".
	Progress layout.Progress
	// System is where the directory is to be; nil is this machine.
	System disk.System
}

// Unpack writes a bundle as a layout directory, which is on the disk when it
// returns. dir must not be there. It appears when it is complete; until then it is
// .airdeck-partial-NAME beside it, which the next run goes on with.
//
// Errors: [layout.ErrExists], [layout.ErrBusy] where another process unpacks to dir,
// and [layout.ClassLocal].
func (v *Verified) Unpack(ctx context.Context, dir string, o *UnpackOptions) error {
	if o == nil {
		o = &UnpackOptions{}
	}
	if o.System == nil {
		o = &UnpackOptions{o.Jobs, o.Progress, disk.OS}
	}
	if err := v.unpack(ctx, dir, o); err != nil {
		return fmt.Errorf("unpack %s: %w", dir, err)
	}
	return nil
}

func (v *Verified) unpack(ctx context.Context, dir string, o *UnpackOptions) error {
	parent, err := o.System.OpenDir(filepath.Dir(dir), false)
	if err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	defer parent.Close()
	base := filepath.Base(dir)
	absent := func() error {
		_, err := parent.Stat(base, false)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return layout.Errorf(layout.ClassLocal, "%w", err)
		}
		return fmt.Errorf("%w: name a directory that is not there", layout.ErrExists)
	}
	store, err := v.begin(ctx, parent, partialDir(dir), absent, o)
	if err != nil {
		return err
	}
	err = layout.Copy(ctx, store, v, v.Index().Manifests, &layout.CopyOptions{Jobs: o.Jobs, Progress: o.Progress})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	next, err := disk.Turn(ctx, parent)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer next()
	err = store.Export(ctx, v.RawIndex(), v.r.signatures)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	// Some systems let a directory take the place of an empty one.
	if err := absent(); err != nil {
		return err
	}
	if err := parent.Rename(filepath.Base(partialDir(dir)), base); err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	if err := parent.Sync("."); err != nil {
		return layout.Errorf(layout.ClassLocal, "%w", err)
	}
	return nil
}

// begin opens the directory that is to become dir.
func (v *Verified) begin(ctx context.Context, parent disk.Dir, partial string, absent func() error, o *UnpackOptions) (*layout.Store, error) {
	next, err := disk.Turn(ctx, parent) // what is just renamed must not be opened
	if err != nil {
		return nil, err
	}
	defer next()
	if err := absent(); err != nil {
		return nil, err
	}
	if fi, err := parent.Stat(filepath.Base(partial), false); err == nil && !fi.IsDir() {
		return nil, layout.Errorf(layout.ClassLocal, "%s stands in the way, and is no directory: remove it", partial)
	}
	return layout.OpenStore(ctx, partial, &layout.StoreOptions{Durable: true, Exclusive: true, Progress: o.Progress, System: o.System})
}

// partialDir is beside dir, so that a rename never crosses a file system.
func partialDir(dir string) string {
	return filepath.Join(filepath.Dir(dir), ".airdeck-partial-"+filepath.Base(dir))
}

// UnpackNeeds is how many bytes Unpack would have to write to dir: those of the
// archive without compression, less what an interrupted run has written. It is 0 for
// a directory.
func (r *Reader) UnpackNeeds(dir string, o *UnpackOptions) int64 {
	system := disk.OS
	if o != nil && o.System != nil {
		system = o.System
	}
	need := r.content.bytes()
	if partial, err := system.OpenDir(partialDir(dir), false); err == nil {
		need -= bytesBelow(partial, ".")
		partial.Close()
	}
	return max(need, 0)
}

// bytesBelow adds up the sizes of the files below a folder. What can't be looked at
// counts as not there.
func bytesBelow(root disk.Dir, dir string) (n int64) {
	d, err := root.Open(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if e.IsDir() {
				n += bytesBelow(root, path.Join(dir, e.Name()))
			} else if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
				n += fi.Size()
			}
		}
		if err != nil {
			return n
		}
	}
}
