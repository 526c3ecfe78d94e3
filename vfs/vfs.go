// Package vfs is the few file-system calls that an update needs, and what each
// of them promises about a power cut. What to do with them is the business of
// the store; the package for tests that forgets what was not synced is
// vfs/crashfs.
//
// Invariant: no name leaves the root a file system was opened on, whatever
// symbolic links lie in it.
//
// Names are slash-separated and relative to the root, as in io/fs; "." is the
// root. Other names are fs.ErrInvalid. No call follows a symbolic link in the
// last part of a name.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
)

// Flags for FS.Open.
type Flag uint8

const (
	// Read opens an existing regular file for reading. It is the zero Flag.
	Read Flag = 0
	// Write opens an existing or new regular file for reading and writing and
	// keeps what is in it.
	Write Flag = 1 << iota
	// Excl, with Write, fails with fs.ErrExist when the name exists.
	Excl
	// Exec, with Write, makes a new file executable.
	Exec
)

// ErrUnsupported is returned by calls that a file system cannot do at all:
// Share and Symlink on FAT, for example. Callers have another way.
var ErrUnsupported = errors.ErrUnsupported

// A File is an open regular file.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the file's length in bytes.
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the file's content durable, and on FAT its directory entry's
	// size and start too. It does not make its name durable: see FS.SyncDir.
	Sync() error
}

// An Info describes a name. Sizes of anything but regular files mean nothing.
type Info struct {
	Name string // last part only
	Type Type
	Exec bool  // regular files: any exec bit is set
	Size int64 // bytes
	// Mounted: it lies on another file system than the root, whose Sync does not
	// cover it.
	Mounted bool
}

// Type is the kind of thing a name stands for.
type Type uint8

// The types.
const (
	Regular Type = iota + 1
	Dir
	Link  // a symbolic link
	Other // device, socket, pipe
)

// FS is a file system rooted at one directory.
//
// Errors match fs.ErrNotExist, fs.ErrExist and ErrUnsupported with errors.Is;
// use Full and ReadOnly for the two that a device meets in the field. Until a
// sync call that covers it has returned nil, a power cut may undo any change,
// in any order; a file's content may be lost, torn or kept apart from its name.
type FS interface {
	Open(name string, flag Flag) (File, error)
	Lstat(name string) (Info, error)
	// ReadDir calls fn for every name in the directory, in no order, without
	// holding them all in memory, until fn returns an error, which it returns.
	// Whether fn sees names that were created or removed meanwhile is open.
	ReadDir(name string, fn func(Info) error) error
	Mkdir(name string) error
	// Remove removes a file, a symbolic link or an empty directory.
	Remove(name string) error
	// Rename replaces newname, which may exist unless it is a directory. After
	// a power cut newname is either the old or the new thing where the file
	// system has a journal; on FAT both names can be lost.
	Rename(oldname, newname string) error
	// Share gives the content of the regular file oldname a second, new name,
	// without copying bytes: by a copy-on-write clone, else as a hard link. It
	// fails with ErrUnsupported where neither exists, and with fs.ErrExist when
	// newname exists. If exec differs from oldname's, only a clone will do.
	Share(oldname, newname string, exec bool) error
	// SetExec makes the regular file name executable, or not. It changes every
	// hard link of the file. Do not call it where Probe found no exec bits.
	SetExec(name string, exec bool) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	// SyncDir makes the names in one directory durable.
	SyncDir(name string) error
	// Sync makes everything done before in this file system durable, contents
	// and names, in one go.
	Sync() error
	// Free is the number of bytes that can still be written.
	Free() (int64, error)
	// Lock takes an exclusive lock on the file name, which it creates, or fails
	// at once with ErrLocked. The lock ends with unlock or with the process,
	// however that ends.
	Lock(name string) (unlock func(), err error)
}

// Full reports whether err says that the disk, or the user's share of it, is
// full.
func Full(err error) bool { return errors.Is(err, ErrFull) || isFull(err) }

// ReadOnly reports whether err says that the file system cannot be written.
func ReadOnly(err error) bool { return errors.Is(err, ErrReadOnly) || isReadOnly(err) }

// NameTooLong reports whether err says that the file system has no names as long
// as that.
func NameTooLong(err error) bool { return errors.Is(err, ErrNameTooLong) || isNameTooLong(err) }

// What file systems without error numbers of an operating system return for
// Full, ReadOnly and NameTooLong.
var (
	ErrFull        = errors.New("no space left")
	ErrReadOnly    = errors.New("read-only file system")
	ErrNameTooLong = errors.New("name too long")
)

// ErrLocked is returned by FS.Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// ReadFile returns the content of name, and an error if it is longer than max
// bytes.
func ReadFile(fsys FS, name string, max int64) ([]byte, error) {
	f, err := fsys.Open(name, Read)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > max {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("file is too large")}
	}
	b := make([]byte, size)
	n, err := io.ReadFull(f, b)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// WriteFile makes name a regular file with content b, durably and at once: a
// power cut leaves the old content or the new. It uses name+".new" on the way.
func WriteFile(fsys FS, name string, b []byte) error {
	tmp := name + ".new"
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Open(tmp, Write|Excl)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err == nil {
		err = syncRenamed(fsys, name)
	}
	return err
}

// syncRenamed makes a renamed file durable under its new name. FAT writes the
// directory entry of a file only with the file itself, so both are synced.
func syncRenamed(fsys FS, name string) error {
	f, err := fsys.Open(name, Read)
	if err != nil {
		return err
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// MkdirAll makes the directory name and those above it. What exists is left.
func MkdirAll(fsys FS, name string) error {
	if name == "." {
		return nil
	}
	err := fsys.Mkdir(name)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		if err == nil {
			return nil
		}
		info, e := fsys.Lstat(name)
		if e == nil && info.Type != Dir {
			return err
		}
		return e
	case errors.Is(err, fs.ErrNotExist):
		if err := MkdirAll(fsys, path.Dir(name)); err != nil {
			return err
		}
		err = fsys.Mkdir(name)
	}
	return err
}

// RemoveAll removes name and everything below it. A name that does not exist
// is not an error.
func RemoveAll(fsys FS, name string) error {
	info, err := fsys.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for info.Type == Dir {
		// Names are taken in batches: a directory must not change while it is
		// read, and may hold more names than fit in memory.
		var names []string
		err := fsys.ReadDir(name, func(i Info) error {
			if len(names) == 64 {
				return errStop
			}
			names = append(names, i.Name)
			return nil
		})
		if err != nil && err != errStop {
			return err
		}
		for _, n := range names {
			if err := RemoveAll(fsys, path.Join(name, n)); err != nil {
				return err
			}
		}
		if len(names) < 64 {
			break
		}
	}
	err = fsys.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

var errStop = errors.New("stop")
