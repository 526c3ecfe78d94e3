package crashfs

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/godwit-ota/godwit/vfs"
)

// An ent is one name in a directory.
type ent struct {
	name string // as it was written; the map's key may be folded
	ino  int
}

// A node is a file, a directory or a symbolic link.
type node struct {
	kind   vfs.Type
	nlink  int // names that callers see
	open   int // files open on it
	target string

	// Content of a file. data is what callers see; when dirty, disk is what
	// was last synced and low the shortest length since. own is false while
	// another node may share data.
	data, disk []byte
	dirty, own bool
	low        int

	exec, diskExec bool // diskExec counts while a change of it is in the log

	// Names in a directory. ents is what callers see.
	ents    map[string]ent
	ownEnts bool
	dur     map[string]ent   // Journal: what is on the disk; nil when ents is
	ownDur  bool             //
	slots   map[string]*slot // FAT: what is not synced, by key

	// FAT: the one place where the node's entry is.
	parent int
	key    string
	cross  bool // more than one entry holds its space
	broken bool // a folder's name without the folder: EIO for ever
}

// A slot is what a FAT directory may hold under one name after a cut: one of
// its generations.
type slot struct{ gens []gen }

// A gen is one life of an entry, from its making to its removal: what it points
// to is written apart from the entry itself, so it is one of the bodies, or for
// body 0 an empty file or a broken folder.
type gen struct {
	name    string
	present bool
	kind    vfs.Type
	bodies  []int
}

func (s *slot) last() *gen { return &s.gens[len(s.gens)-1] }

// A change is one step of the journal: from takes a name away, to gives one,
// both together are a rename. exec is a change of the inode's exec bit.
type change struct {
	fromDir int
	fromKey string
	toDir   int
	toKey   string
	to      ent
	exec    bool
	execVal bool
	ino     int
}

func (n *node) clone() *node {
	c := *n
	n.own, c.own = false, false
	n.ownEnts, c.ownEnts = false, false
	n.ownDur, c.ownDur = false, false
	c.open = 0
	if n.slots != nil {
		c.slots = make(map[string]*slot, len(n.slots))
		for k, s := range n.slots {
			d := &slot{gens: slices.Clone(s.gens)}
			for i := range d.gens {
				b := d.gens[i].bodies
				d.gens[i].bodies = b[:len(b):len(b)]
			}
			c.slots[k] = d
		}
	}
	return &c
}

// names returns the map of visible names, for changing.
func (n *node) names() map[string]ent {
	if !n.ownEnts {
		n.ents, n.ownEnts = maps.Clone(n.ents), true
	}
	return n.ents
}

// durable returns the map of names on the disk, for changing.
func (n *node) durable() map[string]ent {
	if !n.ownDur {
		n.dur, n.ownDur = maps.Clone(n.dur), true
	}
	return n.dur
}

func (f *FS) key(name string) string {
	if f.opt.FoldCase {
		return strings.ToLower(name)
	}
	return name
}

func (f *FS) badName(name string) error {
	if len(name) > f.opt.MaxName {
		return syscall.ENAMETOOLONG
	}
	if strings.IndexByte(name, 0) >= 0 {
		return syscall.EINVAL
	}
	if f.opt.PlainNames {
		if strings.ContainsAny(name, "\\:*?\"<>|") || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
			return syscall.EINVAL
		}
		for i := 0; i < len(name); i++ {
			if name[i] < ' ' {
				return syscall.EINVAL
			}
		}
	}
	return nil
}

// A place is where a name is or would be.
type place struct {
	dir  int // inode of the directory
	name string
	key  string
	ino  int // 0: nothing there
}

// find resolves a name without following a link in its last part. For "." it
// returns the root with no directory.
func (f *FS) find(name string) (place, error) {
	if strings.HasPrefix(name, "/") || name == "" {
		return place{}, syscall.EINVAL
	}
	stack := [64]int{1}
	depth := 1
	links := 0
	rest := name
	for {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		last := rest == ""
		here := f.nodes[stack[depth-1]]
		if here.kind != vfs.Dir {
			return place{}, syscall.ENOTDIR
		}
		switch part {
		case ".", "":
			if last {
				return place{ino: stack[depth-1]}, nil
			}
			continue
		case "..":
			if depth == 1 {
				return place{}, syscall.EXDEV // leaves the root
			}
			depth--
			if last {
				return place{ino: stack[depth-1]}, nil
			}
			continue
		}
		if err := f.badName(part); err != nil {
			return place{}, err
		}
		key := f.key(part)
		e, ok := here.ents[key]
		if last {
			if ok && f.nodes[e.ino].broken {
				return place{}, syscall.EIO
			}
			return place{dir: stack[depth-1], name: part, key: key, ino: e.ino}, nil
		}
		if !ok {
			return place{}, syscall.ENOENT
		}
		n := f.nodes[e.ino]
		if n.broken {
			return place{}, syscall.EIO
		}
		if n.kind == vfs.Link {
			if links++; links > 8 {
				return place{}, syscall.ELOOP
			}
			if strings.HasPrefix(n.target, "/") {
				return place{}, syscall.EXDEV
			}
			rest = n.target + "/" + rest
			continue
		}
		if depth == len(stack) {
			return place{}, syscall.ENAMETOOLONG
		}
		stack[depth] = e.ino
		depth++
	}
}

func (f *FS) existing(name string) (place, *node, error) {
	p, err := f.find(name)
	if err != nil {
		return p, nil, err
	}
	if p.ino == 0 {
		return p, nil, syscall.ENOENT
	}
	return p, f.nodes[p.ino], nil
}

// add gives a node a name that is free.
func (f *FS) add(p place, ino int) error {
	n := f.nodes[ino]
	if f.opt.Capacity > 0 && f.used+f.opt.EntryCost > f.opt.Capacity {
		return syscall.ENOSPC
	}
	f.used += f.opt.EntryCost
	if f.opt.Model == FAT {
		s := f.slot(p)
		s.gens = append(s.gens, gen{name: p.name, present: true, kind: n.kind, bodies: []int{0, ino}})
		n.parent, n.key = p.dir, p.key
	}
	f.touch(p.dir)
	f.nodes[p.dir].names()[p.key] = ent{p.name, ino}
	n.nlink++
	if f.opt.Model == Journal {
		f.log = append(f.log, change{toDir: p.dir, toKey: p.key, to: ent{p.name, ino}, ino: ino})
	}
	return nil
}

// create makes a node and gives it a name that is free.
func (f *FS) create(p place, n *node) (int, error) {
	f.nodes = append(f.nodes, n)
	ino := len(f.nodes) - 1
	if err := f.add(p, ino); err != nil {
		f.nodes = f.nodes[:ino]
		return 0, err
	}
	return ino, nil
}

// touch notes that a directory is about to differ from what is on the disk.
func (f *FS) touch(dir int) {
	if d := f.nodes[dir]; f.opt.Model == Journal && d.dur == nil {
		d.dur, d.ownDur, d.ownEnts = d.ents, false, false
	}
}

// slot returns the FAT slot of a place, with what is there now as its first
// generation.
func (f *FS) slot(p place) *slot {
	d := f.nodes[p.dir]
	s := d.slots[p.key]
	if s == nil {
		s = &slot{gens: []gen{{}}}
		if e, ok := d.ents[p.key]; ok {
			s.gens[0] = gen{name: e.name, present: true, kind: f.nodes[e.ino].kind, bodies: []int{e.ino}}
		}
		if d.slots == nil {
			d.slots = map[string]*slot{}
		}
		d.slots[p.key] = s
	}
	return s
}

// drop takes away the name of a node.
func (f *FS) drop(p place) {
	if f.opt.Model == FAT {
		s := f.slot(p)
		s.gens = append(s.gens, gen{})
	}
	f.touch(p.dir)
	delete(f.nodes[p.dir].names(), p.key)
	f.used -= f.opt.EntryCost
	f.release(p.ino)
	if f.opt.Model == Journal {
		f.log = append(f.log, change{fromDir: p.dir, fromKey: p.key, ino: p.ino})
	}
}

// release notes that a node lost a name.
func (f *FS) release(ino int) {
	n := f.nodes[ino]
	n.nlink--
	if n.cross {
		ruin(n)
	}
	if n.nlink == 0 && n.open == 0 {
		f.used -= int64(len(n.data))
	}
}

// ruin fills a file with what someone else wrote to its space.
func ruin(n *node) {
	n.data, n.own, n.dirty, n.disk = garbage(len(n.data)), true, false, nil
}

func garbage(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = 0xE5
	}
	return b
}

func (f *FS) fits(more int64) bool {
	return f.opt.Capacity == 0 || more <= 0 || f.used+more <= f.opt.Capacity
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
