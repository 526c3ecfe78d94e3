package crashfs

import (
	"slices"
	"strings"
	"syscall"

	"github.com/godwit-ota/godwit/vfs"
)

// Lstat implements vfs.FS.
func (f *FS) Lstat(name string) (info vfs.Info, err error) {
	err = f.do(Lstat, name, "", func(*Op) error {
		p, n, err := f.existing(name)
		if err != nil {
			return pathError("lstat", name, err)
		}
		info = f.info(n, p.name)
		if e, ok := f.nodes[max(p.dir, 1)].ents[p.key]; ok && p.dir > 0 {
			info.Name = e.name
		}
		return nil
	})
	return info, err
}

func (f *FS) info(n *node, name string) vfs.Info {
	if name == "" {
		name = "."
	}
	i := vfs.Info{Name: name, Type: n.kind}
	if n.broken {
		i.Type = vfs.Other
	}
	if n.kind == vfs.Regular {
		i.Size, i.Exec = int64(len(n.data)), n.exec || f.opt.NoExec
	}
	return i
}

// ReadDir implements vfs.FS. The names come in descending order.
func (f *FS) ReadDir(name string, fn func(vfs.Info) error) error {
	var list []vfs.Info
	err := f.do(ReadDir, name, "", func(*Op) error {
		_, n, err := f.existing(name)
		if err == nil && n.kind != vfs.Dir {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return pathError("readdir", name, err)
		}
		list = make([]vfs.Info, 0, len(n.ents))
		for _, e := range n.ents {
			list = append(list, f.info(f.nodes[e.ino], e.name))
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b vfs.Info) int { return strings.Compare(b.Name, a.Name) })
	for _, i := range list {
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(name string) error {
	return f.do(Mkdir, name, "", func(*Op) error {
		p, err := f.find(name)
		if err == nil && p.ino != 0 {
			err = syscall.EEXIST
		}
		if err == nil {
			_, err = f.create(p, &node{kind: vfs.Dir, ents: map[string]ent{}, ownEnts: true})
		}
		return pathError("mkdir", name, err)
	})
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	return f.do(Remove, name, "", func(*Op) error {
		p, n, err := f.existing(name)
		switch {
		case err != nil:
		case p.dir == 0:
			err = syscall.EBUSY
		case n.kind == vfs.Dir && len(n.ents) > 0:
			err = syscall.ENOTEMPTY
		default:
			f.drop(p)
		}
		return pathError("remove", name, err)
	})
}

// Rename implements vfs.FS. As in POSIX it does nothing when both names are of
// one file, and as in Linux that includes names that differ in case only.
func (f *FS) Rename(oldname, newname string) error {
	return f.do(Rename, oldname, newname, func(*Op) error {
		return pathError("rename", oldname, f.rename(oldname, newname))
	})
}

func (f *FS) rename(oldname, newname string) error {
	from, err := f.find(oldname)
	if err != nil {
		return err
	}
	to, err := f.find(newname)
	if err != nil {
		return err
	}
	if from.dir == 0 || to.dir == 0 {
		return syscall.EBUSY
	}
	if from.ino == 0 {
		return syscall.ENOENT
	}
	n := f.nodes[from.ino]
	if n.kind == vfs.Dir && f.below(to.dir, from.ino) {
		return syscall.EINVAL
	}
	if to.ino == from.ino {
		return nil
	}
	if to.ino != 0 {
		over := f.nodes[to.ino]
		switch {
		case over.kind == vfs.Dir && n.kind != vfs.Dir:
			return syscall.EISDIR
		case over.kind != vfs.Dir && n.kind == vfs.Dir:
			return syscall.ENOTDIR
		case len(over.ents) > 0:
			return syscall.ENOTEMPTY
		}
	}
	toName := to.name
	if f.opt.Model == FAT {
		s := f.slot(from)
		t := f.slot(to)
		whole := len(s.last().bodies) == 1
		s.gens = append(s.gens, gen{})
		if to.ino != 0 { // the entry stays and points elsewhere
			g := t.last()
			g.bodies = append(g.bodies, from.ino)
			toName = g.name
		} else {
			bodies := []int{0, from.ino}
			if n.kind == vfs.Dir && whole {
				bodies = bodies[1:] // the folder is where it was
			}
			t.gens = append(t.gens, gen{name: toName, present: true, kind: n.kind, bodies: bodies})
		}
		n.parent, n.key = to.dir, to.key
	}
	f.touch(from.dir)
	f.touch(to.dir)
	if to.ino != 0 {
		f.used -= f.opt.EntryCost
		f.release(to.ino)
	}
	delete(f.nodes[from.dir].names(), from.key)
	f.nodes[to.dir].names()[to.key] = ent{toName, from.ino}
	if f.opt.Model == Journal {
		f.log = append(f.log, change{fromDir: from.dir, fromKey: from.key,
			toDir: to.dir, toKey: to.key, to: ent{toName, from.ino}, ino: from.ino})
	}
	return nil
}

// below reports whether directory ino is top or somewhere under it.
func (f *FS) below(ino, top int) bool {
	if ino == top {
		return true
	}
	for _, e := range f.nodes[top].ents {
		if f.nodes[e.ino].kind == vfs.Dir && f.below(ino, e.ino) {
			return true
		}
	}
	return false
}

// Share implements vfs.FS.
func (f *FS) Share(oldname, newname string, exec bool) error {
	return f.do(Share, oldname, newname, func(*Op) error {
		return pathError("share", oldname, f.share(oldname, newname, exec))
	})
}

func (f *FS) share(oldname, newname string, exec bool) error {
	from, n, err := f.existing(oldname)
	if err != nil {
		return err
	}
	if n.kind != vfs.Regular {
		return syscall.EINVAL
	}
	to, err := f.find(newname)
	if err != nil {
		return err
	}
	if to.ino != 0 {
		return syscall.EEXIST
	}
	switch {
	case f.opt.Links == NoLinks, f.opt.Links == HardLinks && n.exec != exec:
		return vfs.ErrUnsupported
	case f.opt.Links == HardLinks:
		return f.add(to, from.ino)
	}
	if !f.fits(int64(len(n.data)) + f.opt.EntryCost) {
		return syscall.ENOSPC
	}
	n.own = false
	c := &node{kind: vfs.Regular, exec: exec, diskExec: exec, data: n.data, dirty: len(n.data) > 0}
	if _, err := f.create(to, c); err != nil {
		return err
	}
	f.used += int64(len(n.data))
	return nil
}

// SetExec implements vfs.FS.
func (f *FS) SetExec(name string, exec bool) error {
	return f.do(SetExec, name, "", func(*Op) error {
		p, n, err := f.existing(name)
		switch {
		case err != nil:
		case n.kind != vfs.Regular:
			err = syscall.EINVAL
		case f.opt.NoExec:
			err = syscall.EPERM
		case n.exec != exec:
			n.exec = exec
			if f.opt.Model == Journal {
				f.log = append(f.log, change{exec: true, execVal: exec, ino: p.ino})
			}
		}
		return pathError("chmod", name, err)
	})
}

// Symlink implements vfs.FS.
func (f *FS) Symlink(target, name string) error {
	return f.do(Symlink, name, target, func(*Op) error {
		p, err := f.find(name)
		switch {
		case err != nil:
		case p.ino != 0:
			err = syscall.EEXIST
		case target == "":
			err = syscall.ENOENT
		case f.opt.NoSymlinks:
			err = vfs.ErrUnsupported
		default:
			_, err = f.create(p, &node{kind: vfs.Link, target: target})
		}
		return pathError("symlink", name, err)
	})
}

// Readlink implements vfs.FS.
func (f *FS) Readlink(name string) (target string, err error) {
	err = f.do(Readlink, name, "", func(*Op) error {
		_, n, err := f.existing(name)
		if err == nil && n.kind != vfs.Link {
			err = syscall.EINVAL
		}
		if err == nil {
			target = n.target
		}
		return pathError("readlink", name, err)
	})
	return target, err
}

// Lock implements vfs.FS. Crash and Clone release all locks.
func (f *FS) Lock(name string) (func(), error) {
	var ino int
	err := f.do(Lock, name, "", func(op *Op) error {
		p, err := f.find(name)
		switch {
		case err != nil:
		case p.ino == 0:
			ino, err = f.create(p, &node{kind: vfs.Regular, own: true})
			op.Kind = Create
		case f.nodes[p.ino].kind != vfs.Regular:
			err = syscall.EISDIR
		case f.locks[p.ino]:
			return vfs.ErrLocked
		default:
			ino = p.ino
		}
		if err == nil {
			if f.locks == nil {
				f.locks = map[int]bool{}
			}
			f.locks[ino] = true
		}
		return pathError("lock", name, err)
	})
	if err != nil {
		return nil, err
	}
	return func() {
		drop := func(*Op) error { delete(f.locks, ino); return nil }
		if f.do(Unlock, name, "", drop) == ErrStopped { // it ends with the process
			f.mu.Lock()
			drop(nil)
			f.mu.Unlock()
		}
	}, nil
}
