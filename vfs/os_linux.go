//go:build linux && !tinygo

package vfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const openNoFollow = unix.O_NOFOLLOW

// Sync implements FS with one syncfs(2), which waits for the data and metadata
// of the whole file system and, since Linux 5.8, reports write errors.
//
// FAT's syncfs leaves the bytes in the disk's own volatile cache; fsync of any
// of its files empties that cache, so the directory is synced as well.
func (o *OSFS) Sync() error {
	if err := ignoringEINTR(func() error { return unix.Syncfs(int(o.self.Fd())) }); err != nil {
		return &fs.PathError{Op: "syncfs", Path: o.Dir(), Err: err}
	}
	return syncDirHandle(o.self)
}

func syncDirHandle(d *os.File) error { return d.Sync() }

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
	f, err := o.root.OpenFile(name, os.O_RDWR|os.O_CREATE|openNoFollow, 0o644)
	if err != nil {
		return nil, err
	}
	err = ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return func() { f.Close() }, nil
}

func cloneFile(dst, src *os.File) error {
	err := ignoringEINTR(func() error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) })
	switch err {
	case nil:
		return nil
	case unix.EOPNOTSUPP, unix.ENOTTY, unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EPERM:
		return ErrUnsupported
	}
	return &fs.PathError{Op: "clone", Path: src.Name(), Err: err}
}

// linkError turns the ways in which file systems say that they have no links,
// or no more of them for this file, into ErrUnsupported.
func linkError(err error) error {
	for _, e := range []error{unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS, unix.EXDEV, unix.EMLINK} {
		if errors.Is(err, e) {
			return &fs.PathError{Op: "link", Path: "", Err: errors.Join(ErrUnsupported, err)}
		}
	}
	return err
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func isFull(err error) bool     { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }
