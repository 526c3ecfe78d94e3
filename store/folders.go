package store

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// On FAT a new folder is an entry in its parent and a first cluster with the
// names "." and "..". A power cut can leave the entry and lose the cluster, and
// Linux then answers EIO to every call on that name, for ever. So where a tree
// may lie on FAT, a folder never gets its name before it is durable: it is made
// as a spare in the state folder, and renamed once that was synced.

// stateFolders are the folders below the state folder; "git" is the Git source's.
var stateFolders = []string{"stage", "list", "keep", "put", "aside", "git"}

// makeState makes the state folder, complete, under another name first.
func (s *Store) makeState() error {
	missing := false
	for _, d := range append([]string{""}, stateFolders...) {
		_, err := s.fs.Lstat(path.Join(s.opt.State, d))
		if err != nil && !isAbsent(err) {
			return err
		}
		missing = missing || err != nil
	}
	if !missing {
		return nil
	}
	if _, err := s.fs.Lstat(s.opt.State); err == nil {
		// It is there and incomplete, so it was not made here. It stays as it is.
		for _, d := range stateFolders {
			if err := vfs.MkdirAll(s.fs, s.state(d)); err != nil {
				return err
			}
		}
		return s.fs.Sync()
	}
	if err := vfs.MkdirAll(s.fs, path.Dir(s.opt.State)); err != nil {
		return err
	}
	for n := 0; ; n++ {
		next := s.opt.State + ".new" + strconv.Itoa(n)
		// What an earlier try left may be unreadable: then another name will do.
		if err := vfs.RemoveAll(s.fs, next); err != nil && n < maxSpare {
			continue
		}
		err := s.fs.Mkdir(next)
		for _, d := range stateFolders {
			if err == nil {
				err = s.fs.Mkdir(next + "/" + d)
			}
		}
		if err == nil {
			err = s.fs.Sync()
		}
		if err == nil {
			err = s.fs.Rename(next, s.opt.State)
		}
		if err == nil {
			return s.fs.Sync()
		}
		if e := vfs.RemoveAll(s.fs, next); e == nil || vfs.Full(err) || vfs.ReadOnly(err) || errors.Is(err, fs.ErrPermission) || n >= maxSpare {
			return err // not what a power cut left
		}
	}
}

// maxSpare bounds the search for a name that is not blocked by what a power cut
// has left.
const maxSpare = 1000

// folders makes the folders of a tree in place.
type folders struct {
	s     *Store
	last  string // the folder that was made sure of last
	spare int    // number of the next spare that may exist
}

func (f *folders) name(n int) string { return f.s.state("put/d" + strconv.Itoa(n)) }

// prepare makes a spare for every folder of dir that does not exist.
func (f *folders) prepare(dir string) error {
	return f.each(dir, func(string) error { return f.makeSpare() })
}

func (f *folders) makeSpare() error {
	for {
		err := f.s.fs.Mkdir(f.name(f.spare))
		f.spare++
		if err == nil {
			return nil
		}
		if vfs.Full(err) || vfs.ReadOnly(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || f.spare > 1<<20 {
			return diskError(err, "a folder cannot be made")
		}
	}
}

// ensure makes dir and the folders above it out of spares.
func (f *folders) ensure(dir string) error {
	return f.each(dir, func(d string) error {
		if _, err := f.s.fs.Lstat(d); err == nil { // it is no folder
			if err := f.s.setAside(d); err != nil {
				return err
			}
		}
		for n := f.spare; n < f.spare+maxSpare; n++ {
			if i, err := f.s.fs.Lstat(f.name(n)); err == nil && i.Type == vfs.Dir {
				// FAT may keep both names of an interrupted rename: then this one
				// is in use, and not empty.
				if f.s.fs.ReadDir(f.name(n), func(vfs.Info) error { return errEnough }) != nil {
					continue
				}
				f.spare = n + 1
				return diskError(f.s.fs.Rename(f.name(n), d), "the folder "+strconv.Quote(d)+" cannot be made")
			} else if isAbsent(err) {
				break
			}
		}
		f.spare += maxSpare // beyond the names that may be blocked
		if err := f.makeSpare(); err != nil {
			return err
		}
		err := f.s.fs.Sync()
		if err == nil {
			err = f.s.fs.Rename(f.name(f.spare-1), d)
		}
		return diskError(err, "the folder "+strconv.Quote(d)+" cannot be made")
	})
}

// each calls fn for dir and the folders above it that do not exist, from the top
// down. Paths come in order, so what it looked at last need not be looked at
// again.
func (f *folders) each(dir string, fn func(string) error) error {
	if dir == "." || dir == f.last || within(dir, f.last) {
		return nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		d := dir[:i]
		if d == f.last || within(d, f.last) {
			continue
		}
		info, err := f.s.fs.Lstat(d)
		if err == nil && info.Type == vfs.Dir {
			continue
		}
		if err != nil && !isAbsent(err) {
			return diskError(err, strconv.Quote(d)+" cannot be read")
		}
		if err := fn(d); err != nil {
			return err
		}
	}
	f.last = dir
	return nil
}

// removeEmpty removes dir and the folders above it as far as they are empty.
func (s *Store) removeEmpty(dir string) error {
	for ; dir != "."; dir = path.Dir(dir) {
		err := s.fs.ReadDir(dir, func(vfs.Info) error { return errEnough })
		if err == errEnough {
			return nil
		}
		if err == nil {
			err = s.fs.Remove(dir)
		}
		if isBusy(err) {
			return nil // something came into it, or is mounted there
		}
		if err != nil && !isAbsent(err) {
			return diskError(err, "the empty folder "+strconv.Quote(dir)+" cannot be removed")
		}
	}
	return nil
}

// empty removes all that lies in a folder of the state. What cannot be removed,
// because a power cut has left it unreadable, stays.
func (s *Store) empty(folder string) error {
	stuck := map[string]bool{}
	for {
		var names []string
		err := s.fs.ReadDir(s.state(folder), func(i vfs.Info) error {
			if !stuck[i.Name] {
				names = append(names, i.Name)
			}
			if len(names) == 256 {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough {
			return diskError(err, "the state folder cannot be read")
		}
		for _, n := range names {
			err := vfs.RemoveAll(s.fs, s.state(folder+"/"+n))
			if err != nil && (vfs.ReadOnly(err) || errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(n, "d")) {
				return diskError(err, "the state folder cannot be cleared")
			}
			if err != nil {
				stuck[n] = true
				s.opt.Events.Say(godwit.StagePrune, godwit.Debug, err.Error())
			}
		}
		if err == nil {
			return nil
		}
	}
}
