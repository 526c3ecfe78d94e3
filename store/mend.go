package store

import (
	"path"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// mend hashes every file of version v below dir and replaces those that are not
// right. missing is CodeDamaged when there are contents it cannot find.
func (s *Store) mend(dir string, v Version) (missing, err error) {
	if err := s.scrubStage(false); err != nil {
		return nil, err
	}
	m := mender{s: s, o: s.objects(), dir: dir, fix: s.state("put/fix"), dirs: folders{s: s}}
	left := s.rec.Leaving
	if !left.IsZero() {
		m.o.trees = append(m.o.trees, indexedTree{dir: s.Tree(left), listing: left.Listing})
	}
	m.goingBack = s.opt.Layout == InPlace && !left.IsZero() && left.Listing != s.rec.Previous.Listing
	var beside godwit.Listing
	if s.opt.Layout == InPlace {
		beside = s.listing(left.Listing)
	}
	for p, err := range godwit.Merge(beside, s.listing(v.Listing)) {
		if err != nil {
			return nil, err
		}
		if p.B == nil {
			continue
		}
		err := m.file(*p.B, p.A != nil)
		if godwit.CodeOf(err) == godwit.CodeDamaged {
			missing = err
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

type mender struct {
	s         *Store
	o         *Objects
	dir, fix  string
	dirs      folders
	goingBack bool
}

// file puts one file right. known says that the version being left has a file
// there too.
func (m *mender) file(e godwit.Entry, known bool) error {
	s := m.s
	dst := path.Join(m.dir, e.Path)
	failed := func(err error) error { return diskError(err, strconv.Quote(e.Path)+" cannot be put in place") }
	found, err := s.look(dst, e.Digest.Algorithm)
	if err != nil {
		return err
	}
	whole := found != nil && found.Digest == e.Digest
	if whole && s.sameMode(found.Mode, e.Mode) {
		return nil
	}
	if err := vfs.RemoveAll(s.fs, m.fix); err != nil {
		return diskError(err, "the state folder cannot be cleared")
	}
	if whole && found.Mode != godwit.Symlink && e.Mode != godwit.Symlink {
		// Only the mode is wrong. The file may have other names, whose mode is
		// right, so it is not changed but replaced.
		info := vfs.Info{Type: vfs.Regular, Exec: found.Mode == godwit.Executable, Size: found.Size}
		err = m.o.placeFrom(dst, info, e, m.fix, false)
	} else {
		err = m.o.place(e, m.fix, false)
	}
	if err != nil {
		return err
	}
	if whole { // dst may be the only place that has the content
		if err := s.fs.Sync(); err != nil {
			return failed(err)
		}
	}
	if s.opt.Layout == Slots {
		err = s.clearSlotPath(m.dir, dst)
	} else {
		if m.goingBack && !known && found != nil && !whole {
			err = s.setAside(dst)
		}
		if err == nil {
			err = s.makeWay(&m.dirs, dst)
		}
	}
	if err == nil {
		err = s.fs.Rename(m.fix, dst)
	}
	return failed(err)
}

// makeWay makes the folders that name lies in, and clears its place of a folder.
func (s *Store) makeWay(dirs *folders, name string) error {
	if err := dirs.ensure(path.Dir(name)); err != nil {
		return err
	}
	i, err := s.fs.Lstat(name)
	if isAbsent(err) || err == nil && i.Type != vfs.Dir {
		return nil
	}
	if err != nil {
		return diskError(err, strconv.Quote(name)+" cannot be read")
	}
	gone, err := s.removeFolders(name)
	if err == nil && !gone {
		err = s.setAside(name)
	}
	return err
}

// removeFolders removes dir if there is nothing in it but folders.
func (s *Store) removeFolders(dir string) (gone bool, err error) {
	var below []string
	gone = true
	err = s.fs.ReadDir(dir, func(i vfs.Info) error {
		if i.Type != vfs.Dir {
			gone = false
			return errEnough
		}
		below = append(below, dir+"/"+i.Name)
		return nil
	})
	if err != nil && err != errEnough {
		return false, diskError(err, "the folder "+strconv.Quote(dir)+" is in the way")
	}
	err = nil
	for _, d := range below {
		if gone {
			if gone, err = s.removeFolders(d); err != nil {
				return false, err
			}
		}
	}
	if gone {
		err = diskError(s.fs.Remove(dir), "the folder "+strconv.Quote(dir)+" is in the way")
	}
	return gone, err
}

// setAside moves what is in the way, and is not Godwit's, to the folder aside/
// of the state. What the record says must come true, and what somebody else put
// there since is not ours to remove.
func (s *Store) setAside(name string) error {
	for n := 0; ; n++ {
		to := s.state("aside/" + strconv.Itoa(n) + "-" + path.Base(name))
		if _, err := s.fs.Lstat(to); err == nil {
			continue
		} else if !isAbsent(err) {
			return diskError(err, strconv.Quote(name)+" cannot be moved aside")
		}
		s.opt.Events.Say(godwit.StageSwitch, godwit.Warning, name+" is not Godwit's and was in the way: it is "+to+" now")
		return diskError(s.fs.Rename(name, to), strconv.Quote(name)+" cannot be moved aside")
	}
}

// clearSlotPath makes the folders of a file in a version's own tree and removes
// whatever else is in its place: below versions/ everything is Godwit's.
func (s *Store) clearSlotPath(dir, dst string) error {
	for i := len(dir) + 1; i < len(dst); i++ {
		if dst[i] != '/' {
			continue
		}
		if info, err := s.fs.Lstat(dst[:i]); err == nil && info.Type != vfs.Dir {
			if err := s.fs.Remove(dst[:i]); err != nil {
				return err
			}
		}
	}
	if err := vfs.MkdirAll(s.fs, path.Dir(dst)); err != nil {
		return err
	}
	if info, err := s.fs.Lstat(dst); err == nil && info.Type == vfs.Dir {
		return vfs.RemoveAll(s.fs, dst)
	}
	return nil
}

// slotName reports whether a name in versions/ has the form that slotFor gives.
func slotName(n string) bool {
	id, rest, ok := strings.Cut(n, "-")
	sum, _, _ := strings.Cut(rest, ".")
	return ok && id != "" && len(id) <= 12 && len(sum) == 6 && strings.Trim(sum, "0123456789abcdef") == ""
}
