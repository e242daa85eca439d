package disktest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Survival says what a power cut leaves of that which was not synced.
type Survival struct {
	Names func() bool // whether the changes of the names in a folder are there
	Data  func() Torn // what is left of a file
}

// Torn is what is left of the bytes of a file that were not synced.
type Torn uint8

// What is left.
const (
	Gone  Torn = iota // nothing
	Zeros             // their number
	Half              // the first of them
	Whole             // all
)

// Survivals are the kinds of power cuts: the worst, the best, and some between.
func Survivals() map[string]Survival {
	names := func(v bool) func() bool { return func() bool { return v } }
	data := func(v Torn) func() Torn { return func() Torn { return v } }
	out := map[string]Survival{
		"nothing":          {names(false), data(Gone)},
		"names":            {names(true), data(Gone)},
		"names and zeros":  {names(true), data(Zeros)},
		"names and halves": {names(true), data(Half)},
		"data":             {names(false), data(Whole)},
		"all of it":        {names(true), data(Whole)},
	}
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 1))
		out[fmt.Sprintf("chance %d", seed)] = Survival{func() bool { return r.IntN(2) == 0 }, func() Torn { return Torn(r.IntN(4)) }}
	}
	return out
}

// Leave writes to a folder what a power cut after n changes leaves.
func (p *PowerCut) Leave(dir string, n int, s Survival) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := model{root: folder(), files: map[int]*node{}}
	for _, name := range slices.Sorted(maps.Keys(p.start)) {
		if b := p.start[name]; b == nil {
			m.makeFolder(name)
		} else {
			m.put(name, &node{data: b})
		}
	}
	m.root.sync()
	for _, c := range p.log[:n] {
		m.apply(c)
	}
	return m.root.write(dir, s)
}

// model is a file system in memory, as it is and as it is on the disk.
type model struct {
	root  *node
	files map[int]*node
}

// node is a folder, which has names, or a file.
type node struct {
	names, syncedNames map[string]*node
	data, syncedData   []byte
}

func folder() *node { return &node{names: map[string]*node{}, syncedNames: map[string]*node{}} }

func (m *model) apply(c change) {
	switch c.what {
	case makeFolder:
		m.makeFolder(c.path)
	case makeFile:
		m.files[c.file] = &node{}
		m.put(c.path, m.files[c.file])
	case write:
		f := m.files[c.file]
		f.data = append(f.data, c.data...)
	case rename:
		n := m.get(c.path)
		m.drop(c.path)
		m.put(c.to, n)
	case remove:
		m.drop(c.path)
	case syncFile:
		f := m.files[c.file]
		f.syncedData = bytes.Clone(f.data)
	case syncFolder:
		f := m.get(c.path)
		f.syncedNames = maps.Clone(f.names)
	case syncAll:
		m.root.sync()
	}
}

func (m *model) get(name string) *node {
	n := m.root
	for _, part := range strings.Split(path.Clean(name), "/") {
		if part != "." {
			n = n.names[part]
		}
	}
	return n
}

func (m *model) put(name string, n *node) { m.get(path.Dir(name)).names[path.Base(name)] = n }

func (m *model) drop(name string) { delete(m.get(path.Dir(name)).names, path.Base(name)) }

func (m *model) makeFolder(name string) {
	if dir := path.Dir(name); dir != "." {
		m.makeFolder(dir)
	}
	if name != "." && m.get(name) == nil {
		m.put(name, folder())
	}
}

// sync brings all below to the disk.
func (n *node) sync() {
	n.syncedData, n.syncedNames = bytes.Clone(n.data), maps.Clone(n.names)
	for _, c := range n.names {
		c.sync()
	}
}

// write writes what is left of a folder.
func (n *node) write(dir string, s Survival) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names := n.names
	if !maps.Equal(n.names, n.syncedNames) && !s.Names() {
		names = n.syncedNames
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c, to := names[name], filepath.Join(dir, name)
		var err error
		if c.names != nil {
			err = c.write(to, s)
		} else {
			err = os.WriteFile(to, c.left(s), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// left is what is left of a file.
func (n *node) left(s Survival) []byte {
	if bytes.Equal(n.data, n.syncedData) {
		return n.data
	}
	done, rest := n.syncedData, n.data[len(n.syncedData):]
	switch s.Data() {
	case Zeros:
		return append(bytes.Clone(done), make([]byte, len(rest))...)
	case Half:
		return append(bytes.Clone(done), rest[:len(rest)/2]...)
	case Whole:
		return n.data
	}
	return done
}
