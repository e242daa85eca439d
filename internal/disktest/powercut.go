package disktest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/airdeck/airdeck/internal/disk"
)

// PowerCut is a system that notes what is changed below a folder and what is brought
// to the disk, so that it can tell what a power cut at any moment would leave.
type PowerCut struct {
	root string

	mu    sync.Mutex // held while an operation is done and noted, so that both have one order
	start map[string][]byte
	log   []change
}

// change is one entry of the log. Files are told apart by number: names move.
type change struct {
	what     changeKind
	path, to string
	file     int
	data     []byte
}

type changeKind uint8

const (
	makeFolder changeKind = iota
	makeFile
	write
	rename
	remove
	syncFile
	syncFolder
	syncAll
)

// NewPowerCut notes what happens below root. What is there now is on the disk.
func NewPowerCut(root string) (*PowerCut, error) {
	p := &PowerCut{root: filepath.Clean(root), start: map[string][]byte{}}
	err := filepath.WalkDir(p.root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == p.root {
			return err
		}
		var b []byte // a folder has none
		if !e.IsDir() {
			if b, err = os.ReadFile(name); b == nil {
				b = []byte{}
			}
		}
		p.start[p.rel(name)] = b
		return err
	})
	return p, err
}

// Moments is how many changes there were: a power cut may come after each of them,
// and before the first.
func (p *PowerCut) Moments() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log)
}

func (p *PowerCut) rel(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		panic(err)
	}
	rel, err := filepath.Rel(p.root, abs)
	if err != nil {
		panic(err)
	}
	return filepath.ToSlash(rel)
}

// do does something and notes it.
func (p *PowerCut) do(c change, f func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	p.log = append(p.log, c)
	return nil
}

// OpenDir implements [disk.System].
func (p *PowerCut) OpenDir(path string, create bool) (disk.Dir, error) {
	if create {
		if err := p.do(change{what: makeFolder, path: p.rel(path)}, func() error { return os.MkdirAll(path, 0o755) }); err != nil {
			return nil, err
		}
	}
	d, err := disk.OS.OpenDir(path, false)
	if err != nil {
		return nil, err
	}
	return &notingDir{d, p, p.rel(path)}, nil
}

// Open implements [disk.System].
func (p *PowerCut) Open(path string) (disk.File, error) { return disk.OS.Open(path) }

// Temp implements [disk.System]. What is in there is never missed.
func (p *PowerCut) Temp(dir string) (disk.File, error) { return disk.OS.Temp(dir) }

type notingDir struct {
	disk.Dir
	p   *PowerCut
	rel string
}

func (d *notingDir) OpenDir(name string) (disk.Dir, error) {
	sub, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &notingDir{sub, d.p, path.Join(d.rel, name)}, nil
}

func (d *notingDir) Create(name string) (disk.File, error) {
	out := &notingFile{p: d.p}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	f, err := d.Dir.Create(name)
	if err != nil {
		return nil, err
	}
	out.File, out.number = f, len(d.p.log)
	d.p.log = append(d.p.log, change{what: makeFile, path: path.Join(d.rel, name), file: out.number})
	return out, nil
}

func (d *notingDir) Mkdir(name string) error {
	return d.p.do(change{what: makeFolder, path: path.Join(d.rel, name)}, func() error { return d.Dir.Mkdir(name) })
}

func (d *notingDir) Rename(from, to string) error {
	return d.p.do(change{what: rename, path: path.Join(d.rel, from), to: path.Join(d.rel, to)}, func() error { return d.Dir.Rename(from, to) })
}

func (d *notingDir) Remove(name string) error {
	return d.p.do(change{what: remove, path: path.Join(d.rel, name)}, func() error { return d.Dir.Remove(name) })
}

// The syncs only note: that a real disk has it takes time, and proves nothing here.

func (d *notingDir) Sync(name string) error {
	return d.p.do(change{what: syncFolder, path: path.Join(d.rel, name)}, func() error { return nil })
}

func (d *notingDir) SyncAll() error {
	return d.p.do(change{what: syncAll}, func() error { return nil })
}

type notingFile struct {
	disk.File
	p      *PowerCut
	number int
}

func (f *notingFile) Write(b []byte) (int, error) {
	c := change{what: write, file: f.number, data: append([]byte(nil), b...)}
	err := f.p.do(c, func() error { _, err := f.File.Write(b); return err })
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *notingFile) Sync() error {
	return f.p.do(change{what: syncFile, file: f.number}, func() error { return nil })
}
