//go:build linux && !tinygo

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// OSFS is a directory of the operating system.
//
// os.Root opens directories, and so keeps every name inside the root, whatever
// symbolic links lie there. The last part of a name then goes to one *at system
// call on the open directory: it holds no slash and is never followed, so it
// cannot lead anywhere else. The directories used last stay open, because an
// update works its way through a tree and its stage side by side, and opening
// each part of each name anew was nine tenths of its system calls.
type OSFS struct {
	root *os.Root
	dirs []openDir // most recently used first
	self *os.File  // the root itself, for Sync and Free
	dev  uint64    // its device number
	// noClone is set when the file system cannot clone, so that thousands of
	// Share calls do not each ask again.
	noClone bool
}

type openDir struct {
	name string
	f    *os.File
}

// maxOpenDirs is how many directories stay open: enough for the folder that is
// read, the one that is written, the stage and the state.
const maxOpenDirs = 8

var _ FS = (*OSFS)(nil)

// OS returns the directory dir, which must exist, as an FS. Close it when done.
// It is not safe for concurrent use.
func OS(dir string) (*OSFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	o := &OSFS{root: root, self: self}
	var st unix.Stat_t
	if err := unix.Fstat(int(self.Fd()), &st); err != nil {
		o.Close()
		return nil, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	o.dev = uint64(st.Dev)
	return o, nil
}

// Close gives the directory handles back.
func (o *OSFS) Close() error {
	o.forget(".")
	return errors.Join(o.self.Close(), o.root.Close())
}

// Dir is the directory that was opened, as it was named.
func (o *OSFS) Dir() string { return o.root.Name() }

// valid reports whether name is a name in the sense of io/fs, except that the bytes
// of its parts need not be UTF-8: Linux and Git know no encoding.
func valid(name string) bool {
	if name == "." {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return false
		}
	}
	return true
}

// at opens the directory that name lies in and returns it with the last part of
// name. The root itself is ".", in itself.
func (o *OSFS) at(op, name string) (fd int, base string, err error) {
	if !valid(name) {
		return -1, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return int(o.self.Fd()), ".", nil
	}
	fd, err = o.dir(path.Dir(name))
	return fd, path.Base(name), err
}

// dir opens the directory name, or finds it open.
func (o *OSFS) dir(name string) (int, error) {
	if name == "." {
		return int(o.self.Fd()), nil
	}
	for i, d := range o.dirs {
		if d.name == name {
			copy(o.dirs[1:i+1], o.dirs[:i])
			o.dirs[0] = d
			return int(d.f.Fd()), nil
		}
	}
	f, err := o.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		// A link that leads out of the root, or in a circle, is no folder of it.
		var errno unix.Errno
		if !errors.As(err, &errno) || errno == unix.ELOOP {
			err = &fs.PathError{Op: "open", Path: name, Err: unix.ENOTDIR}
		}
		return -1, err
	}
	if len(o.dirs) == maxOpenDirs {
		o.dirs[maxOpenDirs-1].f.Close()
		o.dirs = o.dirs[:maxOpenDirs-1]
	}
	o.dirs = append([]openDir{{name, f}}, o.dirs...)
	return int(f.Fd()), nil
}

// forget closes what is open at name and below it: the name may soon stand for
// something else.
func (o *OSFS) forget(name string) {
	kept := o.dirs[:0]
	for _, d := range o.dirs {
		if name == "." || d.name == name || strings.HasPrefix(d.name, name) && d.name[len(name)] == '/' {
			d.f.Close()
		} else {
			kept = append(kept, d)
		}
	}
	o.dirs = kept
}

// call makes a system call on name, again when a signal interrupts it.
func (o *OSFS) call(op, name string, call func(fd int, base string) error) error {
	fd, base, err := o.at(op, name)
	if err != nil {
		return err
	}
	err = ignoringEINTR(func() error { return call(fd, base) })
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Open implements FS.
func (o *OSFS) Open(name string, flag Flag) (File, error) {
	f, err := o.open(name, flag)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (o *OSFS) open(name string, flag Flag) (*osFile, error) {
	how, perm := unix.O_RDONLY, uint32(0o644)
	if flag&Write != 0 {
		how = unix.O_RDWR | unix.O_CREAT
		if flag&Excl != 0 {
			how |= unix.O_EXCL
		}
		if flag&Exec != 0 {
			perm = 0o755
		}
	}
	f := &osFile{name: name}
	err := o.call("open", name, func(dir int, base string) (err error) {
		// A pipe in the way must not stop us, so do not wait for its other end.
		f.fd, err = unix.Openat(dir, base, how|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := f.check("stat", unix.Fstat(f.fd, &st)); err != nil {
		f.Close()
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return f, nil
}

// Lstat implements FS.
func (o *OSFS) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	err := o.call("lstat", name, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Info{}, err
	}
	return o.info(path.Base(name), &st), nil
}

func (o *OSFS) info(name string, st *unix.Stat_t) Info {
	i := Info{Name: name, Size: st.Size, Type: Other, Mounted: uint64(st.Dev) != o.dev}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		i.Type, i.Exec = Regular, st.Mode&0o111 != 0
	case unix.S_IFDIR:
		i.Type = Dir
	case unix.S_IFLNK:
		i.Type = Link
	}
	return i
}

// ReadDir implements FS.
func (o *OSFS) ReadDir(name string, fn func(Info) error) error {
	if !valid(name) {
		return &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	// A handle of its own: reading moves its place in the directory.
	d, err := o.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(64)
		for _, n := range names {
			var st unix.Stat_t
			err := ignoringEINTR(func() error { return unix.Fstatat(int(d.Fd()), n, &st, unix.AT_SYMLINK_NOFOLLOW) })
			if err == unix.ENOENT {
				continue
			}
			i := Info{Name: n, Type: Other} // a name that a power cut has left without what it stands for
			if err == nil {
				i = o.info(n, &st)
			}
			if err := fn(i); err != nil {
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
func (o *OSFS) Mkdir(name string) error {
	return o.call("mkdir", name, func(dir int, base string) error { return unix.Mkdirat(dir, base, 0o755) })
}

// Remove implements FS.
func (o *OSFS) Remove(name string) error {
	defer o.forget(name)
	return o.call("remove", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR || err == unix.EPERM { // EPERM is POSIX's word for a directory
			if e := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); e != unix.ENOTDIR {
				return e
			}
		}
		return err
	})
}

// Rename implements FS.
func (o *OSFS) Rename(oldname, newname string) error {
	defer o.forget(oldname)
	defer o.forget(newname)
	return o.two("rename", oldname, newname, func(fd int, base string, fd2 int, base2 string) error {
		return unix.Renameat(fd, base, fd2, base2)
	})
}

// two makes a system call on two names.
func (o *OSFS) two(op, name, name2 string, call func(fd int, base string, fd2 int, base2 string) error) error {
	fd, base, err := o.at(op, name)
	if err != nil {
		return err
	}
	// Opening the second directory closes the one used longest ago, which the
	// first cannot be.
	fd2, base2, err := o.at(op, name2)
	if err != nil {
		return err
	}
	err = ignoringEINTR(func() error { return call(fd, base, fd2, base2) })
	if err != nil {
		return &os.LinkError{Op: op, Old: name, New: name2, Err: err}
	}
	return nil
}

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
	return linkError(o.two("link", oldname, newname, func(fd int, base string, fd2 int, base2 string) error {
		return unix.Linkat(fd, base, fd2, base2, 0)
	}))
}

func (o *OSFS) clone(oldname, newname string, exec bool) error {
	src, err := o.open(oldname, Read)
	if err != nil {
		return err
	}
	defer src.Close()
	flag := Write | Excl
	if exec {
		flag |= Exec
	}
	dst, err := o.open(newname, flag)
	if err != nil {
		return err
	}
	err = ignoringEINTR(func() error { return unix.IoctlFileClone(dst.fd, src.fd) })
	switch err {
	case nil:
	case unix.EOPNOTSUPP, unix.ENOTTY, unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EPERM:
		err = ErrUnsupported
	default:
		err = &fs.PathError{Op: "clone", Path: oldname, Err: err}
	}
	if e := dst.Close(); err == nil {
		err = e
	}
	if err != nil {
		o.Remove(newname)
	}
	return err
}

// linkError turns the ways in which file systems say that they have no links,
// or no more of them for this file, into ErrUnsupported.
func linkError(err error) error {
	for _, e := range []error{unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS, unix.EXDEV, unix.EMLINK} {
		if errors.Is(err, e) {
			return errors.Join(ErrUnsupported, err)
		}
	}
	return err
}

// SetExec implements FS. Who may execute follows from who may read.
func (o *OSFS) SetExec(name string, exec bool) error {
	f, err := o.open(name, Read) // by handle: a name could be a link by now
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := f.check("stat", unix.Fstat(f.fd, &st)); err != nil {
		return err
	}
	perm := st.Mode & 0o777 &^ 0o111
	if exec {
		perm |= perm & 0o444 >> 2
	}
	if perm == st.Mode&0o777 {
		return nil
	}
	return f.check("chmod", unix.Fchmod(f.fd, perm))
}

// Symlink implements FS.
func (o *OSFS) Symlink(target, name string) error {
	return linkError(o.call("symlink", name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) }))
}

// Readlink implements FS.
func (o *OSFS) Readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := o.call("readlink", name, func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// SyncDir implements FS.
func (o *OSFS) SyncDir(name string) error {
	fd, err := -1, fs.ErrInvalid
	if valid(name) {
		fd, err = o.dir(name)
	}
	if err == nil {
		err = ignoringEINTR(func() error { return unix.Fsync(fd) })
	}
	if err != nil {
		return &fs.PathError{Op: "fsync", Path: name, Err: err}
	}
	return nil
}

// Sync implements FS with one syncfs(2), which waits for the data and metadata
// of the whole file system and, since Linux 5.8, reports write errors.
//
// FAT's syncfs leaves the bytes in the disk's own volatile cache; fsync of any
// of its files empties that cache, so the root is synced as well.
func (o *OSFS) Sync() error {
	if err := ignoringEINTR(func() error { return unix.Syncfs(int(o.self.Fd())) }); err != nil {
		return &fs.PathError{Op: "syncfs", Path: o.Dir(), Err: err}
	}
	return o.SyncDir(".")
}

// Free implements FS with statfs(2): what is left to ordinary users.
func (o *OSFS) Free() (int64, error) {
	var s unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(int(o.self.Fd()), &s) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: o.Dir(), Err: err}
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// Lock implements FS with flock(2), which the kernel drops with the process.
func (o *OSFS) Lock(name string) (func(), error) {
	o.forget(".") // while others had the lock, folders may have changed
	f, err := o.open(name, Write)
	if err != nil {
		return nil, err
	}
	err = ignoringEINTR(func() error { return unix.Flock(f.fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, ErrLocked
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return func() {
		// Closing alone would leave the lock to a child process that was forked a
		// moment ago and has not come to its exec.
		unix.Flock(f.fd, unix.LOCK_UN)
		f.Close()
	}, nil
}

func isFull(err error) bool     { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

func isNameTooLong(err error) bool { return errors.Is(err, unix.ENAMETOOLONG) }
