package crashfs

import (
	"iter"
	"math/rand/v2"
	"slices"
	"syscall"

	"github.com/godwit-ota/godwit/vfs"
)

// Sector is the size of the pieces of content that reach the disk or not, in
// bytes.
const Sector = 512

// syncNode makes the content of a file durable, or on FAT also what the entry
// of a directory points to.
func (f *FS) syncNode(ino int) {
	n := f.nodes[ino]
	n.dirty, n.disk = false, nil
	if f.opt.Model == FAT {
		if n.nlink == 0 || n.parent == 0 {
			return
		}
		d := f.nodes[n.parent]
		if s := d.slots[n.key]; s != nil {
			g := s.last()
			if len(g.bodies) > 0 && g.bodies[len(g.bodies)-1] == ino {
				g.bodies = []int{ino}
				if len(s.gens) == 1 {
					delete(d.slots, n.key)
				}
			}
		}
		return
	}
	n.diskExec = n.exec
	for _, c := range f.log {
		if c.exec && c.ino == ino {
			f.log = slices.DeleteFunc(slices.Clone(f.log), func(c change) bool { return c.exec && c.ino == ino })
			break
		}
	}
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(name string) error {
	return f.do(SyncDir, name, "", func(*Op) error {
		p, n, err := f.existing(name)
		if err == nil && n.kind != vfs.Dir {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return pathError("syncdir", name, err)
		}
		if f.lie&LieSyncDir != 0 {
			return nil
		}
		if f.opt.Model == FAT {
			for k, s := range n.slots {
				s.gens = s.gens[len(s.gens)-1:]
				if g := s.last(); g.kind == vfs.Dir && g.present {
					g.bodies = g.bodies[len(g.bodies)-1:]
				}
				if len(s.last().bodies) < 2 {
					delete(n.slots, k)
				}
			}
			f.syncNode(p.ino)
			return nil
		}
		f.syncDir(p.ino)
		return nil
	})
}

type where struct {
	dir int
	key string
}

// syncDir brings forward the changes in one directory and the earlier ones that
// they depend on.
func (f *FS) syncDir(dir int) {
	if f.nodes[dir].dur == nil {
		return
	}
	take := make([]bool, len(f.log))
	deps := map[where]bool{}
	for i, c := range slices.Backward(f.log) {
		if c.exec {
			continue
		}
		if c.fromDir == dir || c.toDir == dir || deps[where{c.fromDir, c.fromKey}] || deps[where{c.toDir, c.toKey}] {
			take[i] = true
			if c.fromDir != 0 {
				deps[where{c.fromDir, c.fromKey}] = true
			}
			if c.toDir != 0 {
				deps[where{c.toDir, c.toKey}] = true
			}
		}
	}
	var left []change
	for i, c := range f.log {
		if take[i] {
			f.apply(c)
		} else {
			left = append(left, c)
		}
	}
	f.log = left
	f.settle()
}

// apply makes one change durable.
func (f *FS) apply(c change) {
	if c.exec {
		f.nodes[c.ino].diskExec = c.execVal
		return
	}
	if c.fromDir != 0 {
		delete(f.nodes[c.fromDir].durable(), c.fromKey)
	}
	if c.toDir != 0 {
		f.nodes[c.toDir].durable()[c.toKey] = c.to
	}
}

// settle marks directories without pending changes as clean.
func (f *FS) settle() {
	pending := map[int]bool{}
	for _, c := range f.log {
		pending[c.fromDir], pending[c.toDir] = true, true
	}
	for i, n := range f.nodes {
		if n != nil && n.dur != nil && !pending[i] {
			n.dur = nil
		}
	}
}

// Sync implements vfs.FS.
func (f *FS) Sync() error {
	return f.do(Sync, ".", "", func(*Op) error {
		if f.lie&LieSync == 0 {
			f.syncAll()
		}
		return nil
	})
}

func (f *FS) syncAll() {
	f.log = nil
	for i, n := range f.nodes {
		if n == nil {
			continue
		}
		if n.nlink == 0 && n.open == 0 {
			f.nodes[i] = nil
			continue
		}
		n.dirty, n.disk, n.diskExec, n.dur, n.slots = false, nil, n.exec, nil, nil
	}
}

// A Chooser decides what becomes of one unsynced thing: it returns a number
// from 0, for all lost, to n-1, for all kept. Numbers between are torn, or how
// far changes came.
type Chooser func(n int) int

// Lose loses everything that was not synced.
func Lose(int) int { return 0 }

// Keep keeps everything.
func Keep(n int) int { return n - 1 }

// Seeded chooses by chance, the same for the same seed: some seeds lose little,
// some much, some tear often.
func Seeded(seed uint64) Chooser {
	r := rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15))
	lose, keep := r.Float64(), r.Float64()
	return func(n int) int {
		switch {
		case r.Float64() < lose*0.6:
			return 0
		case r.Float64() < keep*0.8:
			return n - 1
		}
		return r.IntN(n)
	}
}

// Crashes returns every state in which a cut at this moment can leave the disk,
// with the chooser's tearing of content limited to whole files: nothing, half
// and everything. It ends early after limit states.
func (f *FS) Crashes(limit int) iter.Seq[*FS] {
	return func(yield func(*FS) bool) {
		var picks, sizes []int
		for range limit {
			i := 0
			c := f.crash(func(n int) int {
				if i == len(picks) {
					picks, sizes = append(picks, 0), append(sizes, n)
				}
				i++
				return picks[i-1]
			}, true)
			if !yield(c) {
				return
			}
			for i--; i >= 0 && picks[i]+1 >= sizes[i]; i-- {
			}
			if i < 0 {
				return
			}
			picks, sizes = picks[:i+1], sizes[:i+1]
			picks[i]++
		}
	}
}

// Crash returns the file system as it is found after a power cut right now.
func (f *FS) Crash(choose Chooser) *FS { return f.crash(choose, false) }

func (f *FS) crash(choose Chooser, coarse bool) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &crasher{from: f, choose: choose, coarse: coarse, inos: map[int]int{}}
	c.to = &FS{opt: f.opt, stop: -1, lie: f.lie, nodes: make([]*node, 2, len(f.nodes)+1)}
	exec := false
	for _, x := range f.log {
		exec = exec || x.exec
	}
	for _, x := range f.nodes {
		if x != nil {
			x.own = false
		}
	}
	if f.opt.Model == Journal {
		// The maps of names and the exec bits as far as the journal came.
		d := &FS{opt: f.opt, nodes: slices.Clone(f.nodes)}
		if n := len(f.log); n > 0 {
			n = choose(n + 1)
			for i, x := range d.nodes {
				if x != nil && (x.dur != nil || exec && x.kind == vfs.Regular) {
					y := *x
					y.ownDur = false
					d.nodes[i] = &y
				}
			}
			for _, x := range f.log[:n] {
				d.apply(x)
			}
		}
		c.from = d
	}
	c.to.nodes[1] = c.node(1)
	c.dir(1, 1, nil)
	return c.to
}

// A crasher builds the file system after a cut from the one before.
type crasher struct {
	from, to *FS
	choose   Chooser
	coarse   bool
	inos     map[int]int // old inode to new
}

// node returns what is left of a node, without names.
func (c *crasher) node(ino int) *node {
	n := c.from.nodes[ino]
	r := &node{kind: n.kind, target: n.target, exec: n.exec, cross: n.cross}
	switch n.kind {
	case vfs.Regular:
		if c.from.opt.Model == Journal {
			r.exec = n.diskExec
		}
		r.data = n.data
		if n.dirty {
			r.data = c.tear(n)
		}
		if c.from.opt.Model == FAT && n.nlink == 0 && len(r.data) > 0 && c.choose(2) == 0 {
			r.data = garbage(len(r.data))
		}
		r.diskExec = r.exec
		c.to.used += int64(len(r.data))
	case vfs.Dir:
		r.ents = n.ents // dir makes a map of its own
		if n.dur != nil {
			r.ents = n.dur
		}
	}
	return r
}

// dir fills the directory that was ino before and is now; above are the
// directories it lies in.
func (c *crasher) dir(ino, now int, above []int) {
	r := c.to.nodes[now]
	r.nlink = max(r.nlink, 1)
	names := r.ents
	r.ents, r.ownEnts = make(map[string]ent, len(names)), true
	keys := make([]string, 0, len(names))
	for k := range names {
		keys = append(keys, k)
	}
	slots := c.from.nodes[ino].slots
	for k := range slots {
		if _, ok := names[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	above = append(above, ino)
	for _, k := range keys {
		e := names[k]
		kind := vfs.Regular
		if s := slots[k]; s != nil {
			g := s.gens[c.choose(len(s.gens))]
			if !g.present {
				continue
			}
			e = ent{g.name, g.bodies[c.choose(len(g.bodies))]}
			kind = g.kind
		}
		at, known := c.inos[e.ino]
		if e.ino != 0 {
			kind = c.from.nodes[e.ino].kind
		}
		shared := c.from.opt.Model == Journal || c.from.opt.CrossLinks && kind != vfs.Dir
		switch {
		case e.ino == 0 || slices.Contains(above, e.ino):
			// The entry is there and points nowhere, or back.
			at = c.place(&node{kind: kind, ents: map[string]ent{}, ownEnts: true, broken: kind == vfs.Dir && e.ino == 0})
		case known && shared:
			c.to.nodes[at].cross = c.from.opt.Model == FAT
		default:
			at = c.place(c.node(e.ino))
			c.inos[e.ino] = at
			if kind == vfs.Dir {
				c.dir(e.ino, at, above)
			}
		}
		r.ents[k] = ent{e.name, at}
		c.to.used += c.to.opt.EntryCost
		if kind != vfs.Dir {
			c.to.nodes[at].nlink++
		}
		c.to.nodes[at].nlink = max(c.to.nodes[at].nlink, 1)
		c.to.nodes[at].parent, c.to.nodes[at].key = now, k
	}
}

func (c *crasher) place(n *node) int {
	c.to.nodes = append(c.to.nodes, n)
	return len(c.to.nodes) - 1
}

// tear decides how much of an unsynced file's content is there.
func (c *crasher) tear(n *node) []byte {
	if slices.Equal(n.disk, n.data) {
		return n.data
	}
	switch c.choose(3) {
	case 0:
		return n.disk
	case 2:
		return n.data
	}
	if c.coarse {
		return append(slices.Clone(n.data[:len(n.data)/2]), make([]byte, (len(n.data)+1)/2)...)
	}
	// The length is one that the file had, or a sector's end on the way.
	size := len(n.disk)
	switch lo, hi := min(n.low, len(n.data)), max(len(n.disk), len(n.data)); c.choose(4) {
	case 3:
		size = len(n.data)
	case 2:
		size = n.low
	case 1:
		if first := (lo + Sector - 1) / Sector; first*Sector < hi {
			size = (first + c.choose(hi/Sector-first+1)) * Sector
		}
	}
	out := make([]byte, size)
	for at := 0; at < size; at += Sector {
		end := min(at+Sector, size)
		was, is := part(n.disk, at, end), part(n.data, at, end)
		if slices.Equal(was, is) && at+len(was) <= n.low {
			copy(out[at:end], is)
			continue
		}
		switch c.choose(4) {
		case 0: // an overwritten sector is the old one, an appended one zero
			copy(out[at:end], was)
		case 1: // torn in the middle of the sector
			copy(out[at:end], was)
			copy(out[at:end], is[:c.choose(len(is)+1)])
		case 2: // what was there before, which only FAT lets us see
			if c.from.opt.Model == FAT {
				copy(out[at:end], garbage(end-at))
			}
		case 3:
			copy(out[at:end], is)
		}
	}
	return out
}

// part is b[from:to] as far as b goes.
func part(b []byte, from, to int) []byte {
	return b[min(from, len(b)):min(to, len(b))]
}
