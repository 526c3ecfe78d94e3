//go:build !tinygo

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// OS returns the directory dir, which must exist, as an FS. Close it when done.
func OS(dir string) (*OSFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	// One handle on the directory stays open for Sync, Free and SyncDir(".").
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &OSFS{root: root, self: self}, nil
}

// OSFS is a directory of the operating system. All names pass through os.Root,
// which resolves them without ever leaving the directory.
type OSFS struct {
	root *os.Root
	self *os.File
	// noClone is set when the file system cannot clone, so that thousands of
	// Share calls do not each ask again.
	noClone bool
}

var _ FS = (*OSFS)(nil)

// Close gives the directory handles back.
func (o *OSFS) Close() error { return errors.Join(o.self.Close(), o.root.Close()) }

// Dir is the directory that was opened, as it was named.
func (o *OSFS) Dir() string { return o.root.Name() }

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

// Open implements FS.
func (o *OSFS) Open(name string, flag Flag) (File, error) {
	how, perm := os.O_RDONLY|openNoFollow, fs.FileMode(0o644)
	if flag&Write != 0 {
		how = os.O_RDWR | os.O_CREATE | openNoFollow
		if flag&Excl != 0 {
			how |= os.O_EXCL
		}
		if flag&Exec != 0 {
			perm = 0o755
		}
	}
	f, err := o.root.OpenFile(name, how, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func info(i fs.FileInfo) Info {
	r := Info{Name: i.Name(), Size: i.Size()}
	switch m := i.Mode(); {
	case m.IsRegular():
		r.Type, r.Exec = Regular, m.Perm()&0o111 != 0
	case m.IsDir():
		r.Type = Dir
	case m&fs.ModeSymlink != 0:
		r.Type = Link
	default:
		r.Type = Other
	}
	return r
}

// Lstat implements FS.
func (o *OSFS) Lstat(name string) (Info, error) {
	i, err := o.root.Lstat(name)
	if err != nil {
		return Info{}, err
	}
	return info(i), nil
}

// ReadDir implements FS.
func (o *OSFS) ReadDir(name string, fn func(Info) error) error {
	d, err := o.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		list, err := d.ReadDir(64)
		for _, e := range list {
			i, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				// A name that a power cut has left without what it stands for.
				if err := fn(Info{Name: e.Name(), Type: Other}); err != nil {
					return err
				}
				continue
			}
			if err := fn(info(i)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Mkdir implements FS.
func (o *OSFS) Mkdir(name string) error { return o.root.Mkdir(name, 0o755) }

// Remove implements FS.
func (o *OSFS) Remove(name string) error { return o.root.Remove(name) }

// Rename implements FS.
func (o *OSFS) Rename(oldname, newname string) error { return o.root.Rename(oldname, newname) }

// Share implements FS.
func (o *OSFS) Share(oldname, newname string, exec bool) error {
	i, err := o.Lstat(oldname)
	if err != nil {
		return err
	}
	if i.Type != Regular {
		return &fs.PathError{Op: "share", Path: oldname, Err: errors.New("not a regular file")}
	}
	if !o.noClone {
		err := o.clone(oldname, newname, exec)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		o.noClone = errors.Is(err, ErrUnsupported)
		if !o.noClone {
			return err
		}
	}
	if i.Exec != exec {
		return &fs.PathError{Op: "share", Path: oldname, Err: ErrUnsupported}
	}
	return linkError(o.root.Link(oldname, newname))
}

func (o *OSFS) clone(oldname, newname string, exec bool) error {
	src, err := o.Open(oldname, Read)
	if err != nil {
		return err
	}
	defer src.Close()
	flag := Write | Excl
	if exec {
		flag |= Exec
	}
	dst, err := o.Open(newname, flag)
	if err != nil {
		return err
	}
	err = cloneFile(dst.(osFile).File, src.(osFile).File)
	if e := dst.Close(); err == nil {
		err = e
	}
	if err != nil {
		o.root.Remove(newname)
	}
	return err
}

// SetExec implements FS. Who may execute follows from who may read.
func (o *OSFS) SetExec(name string, exec bool) error {
	f, err := o.Open(name, Read) // by handle: Root.Chmod would follow a link
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.(osFile).Stat()
	if err != nil {
		return err
	}
	perm := i.Mode().Perm() &^ 0o111
	if exec {
		perm |= perm & 0o444 >> 2
	}
	if perm == i.Mode().Perm() {
		return nil
	}
	return f.(osFile).Chmod(perm)
}

// Symlink implements FS.
func (o *OSFS) Symlink(target, name string) error { return linkError(o.root.Symlink(target, name)) }

// Readlink implements FS.
func (o *OSFS) Readlink(name string) (string, error) { return o.root.Readlink(name) }

// SyncDir implements FS.
func (o *OSFS) SyncDir(name string) error {
	if path.Clean(name) == "." {
		return syncDirHandle(o.self)
	}
	d, err := o.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDirHandle(d)
}
