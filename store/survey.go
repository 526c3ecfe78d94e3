package store

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/vfs"
)

// A Survey is what lies on the disk at the paths that an update is about.
type Survey struct {
	Installed godwit.Listing
	Modified  int // files of the running version that are not as it has them

	name string // of the stored listing
}

// Survey finds out what is installed, by hashing: with slots the files of the
// running version that target also has, in place everything that lies at a path
// of the running version or of target, or below one of rules.Delete. target must
// hold only entries that the device takes and whose paths were checked. What the
// running version has and the rules no longer cover is nobody's business here.
//
// In place, what was found becomes the version that rollback returns to. So
// files that were there before Godwit, and files that were changed on the
// device, come back too.
//
// An entry of target whose path is taken by something that is not a file, or
// lies behind a symbolic link, is CodeForeignFile.
func (s *Store) Survey(target godwit.Listing, rules plan.Rules) (Survey, error) {
	s.mustHold()
	var v Survey
	t, err := s.Traits()
	if err != nil {
		return v, err
	}
	running := s.rec.Running
	if running.Listing != "" {
		if err := s.checkListing(running.Listing); godwit.CodeOf(err) == godwit.CodeDamaged {
			s.opt.Events.Say(godwit.StagePlan, godwit.Warning, "the list of installed files is damaged; every file is looked at anew")
			running = Version{}
		} else if err != nil {
			return v, err
		}
	}
	w, err := s.newListing("survey")
	if err != nil {
		return v, err
	}
	if s.opt.Layout == InPlace {
		err = s.surveyInPlace(w, &v, t, s.listing(running.Listing), target, rules)
	} else {
		err = s.surveySlots(w, &v, t, running, target)
	}
	if err != nil {
		w.abort()
		return v, err
	}
	if v.name, err = w.finish(); err != nil {
		return v, err
	}
	v.Installed = s.listing(v.name)
	return v, nil
}

// modified reports a file that was changed behind Godwit's back.
func (s *Store) modified(v *Survey, p, how string) {
	v.Modified++
	s.opt.Events.Say(godwit.StagePlan, godwit.Warning, p+" was "+how+" on the device")
}

func (s *Store) surveySlots(w *listingWriter, v *Survey, t vfs.Traits, running Version, target godwit.Listing) error {
	if i, err := s.fs.Lstat(Current); err == nil && i.Type != vfs.Link {
		return godwit.Fail(godwit.CodeForeignFile, nil, strconv.Quote(Current)+" in the root of the tree is not Godwit's link to the running version", "move it away, or use another tree.root")
	}
	if running.IsZero() {
		return nil
	}
	dir := s.Tree(running)
	for p, err := range godwit.Merge(s.listing(running.Listing), target) {
		if err != nil {
			return err
		}
		if p.A == nil {
			continue
		}
		e := *p.A
		if p.B != nil && p.B.Digest == e.Digest {
			found, err := s.look(path.Join(dir, e.Path), e.Digest.Algorithm)
			if err != nil {
				return err
			}
			if found == nil || found.Digest != e.Digest {
				s.modified(v, e.Path, "changed")
				continue
			}
			found.Path = e.Path
			if !t.ExecBits && found.Mode != godwit.Symlink {
				found.Mode = e.Mode
			}
			e = *found
		}
		if err := w.add(e); err != nil {
			return diskError(err, "a listing cannot be written")
		}
	}
	return nil
}

// covered leaves out of l what the rules do not cover.
func covered(l godwit.Listing, rules plan.Rules) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for e, err := range l {
			if err == nil && !rules.Permits(e.Path) && !plan.Covers(rules.Delete, e.Path) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// look hashes what lies at name. It returns nil when there is no file or link.
func (s *Store) look(name string, a godwit.Algorithm) (*godwit.Entry, error) {
	i, err := s.fs.Lstat(name)
	if isAbsent(err) || err == nil && i.Type != vfs.Regular && i.Type != vfs.Link {
		return nil, nil
	}
	var e godwit.Entry
	if err == nil {
		e, err = s.hashEntry(name, i, a)
	}
	if err != nil {
		return nil, diskError(err, strconv.Quote(name)+" cannot be read")
	}
	return &e, nil
}

// sameMode reports whether found has the mode of want, as far as the file
// system can tell.
func (s *Store) sameMode(found, want godwit.Mode) bool {
	return found == want || found != godwit.Symlink && want != godwit.Symlink && !s.hasExecBits()
}

func (s *Store) surveyInPlace(w *listingWriter, v *Survey, t vfs.Traits, running, target godwit.Listing, rules plan.Rules) error {
	remove := rules.Delete
	owned := covered(running, rules)
	if len(remove) > 0 {
		extra, err := s.strays(remove)
		if err != nil {
			return err
		}
		owned = union(owned, extra)
	}
	parents := &parentCheck{s: s}
	for p, err := range godwit.Merge(owned, target) {
		if err != nil {
			return err
		}
		want := p.B
		if want == nil {
			want = p.A
		}
		name := want.Path
		clear, err := parents.real(name)
		if err != nil {
			return err
		}
		if !clear {
			// A parent is a file or link. That is right if it belongs to the
			// running version and makes room for a folder.
			if p.B != nil {
				if err := s.mustOwn(running, parents.blocker, name); err != nil {
					return err
				}
			}
			continue
		}
		i, err := s.fs.Lstat(name)
		if isAbsent(err) {
			if p.A != nil && p.A.Size != stray {
				s.modified(v, name, "removed")
			}
			continue
		}
		if err != nil {
			return diskError(err, strconv.Quote(name)+" cannot be read")
		}
		if i.Type == vfs.Dir {
			if p.B != nil {
				if err := s.mustOwnAll(running, remove, name); err != nil {
					return err
				}
			}
			continue
		}
		if p.A == nil && !t.CaseSensitive {
			// It may be what the running version has under this name in other
			// case. That is removed before the new name is put in place.
			if again, err := hasFolded(running, name); err != nil {
				return err
			} else if again {
				continue
			}
		}
		if i.Mounted {
			return godwit.Fail(godwit.CodeForeignFile, nil, strconv.Quote(name)+" lies on another file system", "unmount it, or name it in tree.ignore")
		}
		if i.Type == vfs.Other {
			return godwit.Fail(godwit.CodeForeignFile, nil, strconv.Quote(name)+" is a device, socket or pipe", "move it away, or name it in tree.ignore")
		}
		e, err := s.hashEntry(name, i, want.Digest.Algorithm)
		if err != nil {
			return diskError(err, strconv.Quote(name)+" cannot be read")
		}
		if e.Path = name; !t.ExecBits && e.Mode != godwit.Symlink && want.Mode != godwit.Symlink {
			e.Mode = want.Mode
		}
		if p.A != nil && p.A.Size != stray && p.A.Digest.Algorithm == e.Digest.Algorithm && p.A.Digest != e.Digest {
			s.modified(v, name, "changed")
		}
		if err := w.add(e); err != nil {
			return diskError(err, "a listing cannot be written")
		}
	}
	return nil
}

// isAbsent reports that a name does not exist, or cannot because a part before
// its last is no folder.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir)
}

// parentCheck finds out whether the folders that a path lies in are folders, and
// remembers the last ones: paths come in order.
type parentCheck struct {
	s       *Store
	good    string // a folder known to be real
	absent  string // a folder known not to exist
	blocker string // after real returned false: the parent that is not a folder
}

func within(dir, name string) bool {
	return dir != "" && len(name) > len(dir) && name[len(dir)] == '/' && name[:len(dir)] == dir
}

func (c *parentCheck) real(name string) (bool, error) {
	dir := path.Dir(name)
	if dir == "." || dir == c.good {
		return true, nil
	}
	if c.absent != "" && (dir == c.absent || within(c.absent, dir)) {
		return true, nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		info, err := c.s.fs.Lstat(dir[:i])
		if errors.Is(err, fs.ErrNotExist) {
			c.absent = dir[:i]
			return true, nil
		}
		if err != nil {
			return false, diskError(err, strconv.Quote(dir[:i])+" cannot be read")
		}
		if info.Mounted {
			return false, godwit.Fail(godwit.CodeForeignFile, nil, strconv.Quote(dir[:i])+" lies on another file system, which cannot be switched together with this one",
				"name it in tree.ignore, or give it a tree of its own")
		}
		if info.Type != vfs.Dir {
			c.blocker = dir[:i]
			return false, nil
		}
	}
	c.good = dir
	return true, nil
}

func foreign(name, wanted string) error {
	return godwit.Fail(godwit.CodeForeignFile, nil, strconv.Quote(name)+", which is not Godwit's, is in the way of "+strconv.Quote(wanted),
		"move it away, or name the path in tree.ignore")
}

// hasFolded reports whether l has name in other case.
func hasFolded(l godwit.Listing, name string) (bool, error) {
	folded := plan.Fold(name)
	for e, err := range l {
		if err != nil {
			return false, err
		}
		if e.Path != name && plan.Fold(e.Path) == folded {
			return true, nil
		}
	}
	return false, nil
}

// mustOwn refuses unless name is a path of the running version.
func (s *Store) mustOwn(running godwit.Listing, name, wanted string) error {
	for e, err := range running {
		if err != nil {
			return err
		}
		if e.Path == name {
			return nil
		}
	}
	return foreign(name, wanted)
}

// mustOwnAll refuses unless everything below the folder dir, which has to make
// room for a file, belongs to the running version or is to be removed.
func (s *Store) mustOwnAll(running godwit.Listing, remove []string, dir string) error {
	found, err := s.filesBelow(dir)
	if err != nil {
		return err
	}
	for e, err := range running {
		if err != nil {
			return err
		}
		if i, ok := slices.BinarySearch(found, e.Path); ok {
			found = slices.Delete(found, i, i+1)
		}
	}
	for _, f := range found {
		if !plan.Covers(remove, f) {
			return foreign(f, dir)
		}
	}
	return nil
}

// filesBelow lists all that is not a folder below dir, in order.
func (s *Store) filesBelow(dir string) ([]string, error) {
	var found []string
	var walk func(dir string) error
	walk = func(dir string) error {
		if dir == s.opt.State {
			return nil
		}
		var dirs []string
		err := s.fs.ReadDir(dir, func(i vfs.Info) error {
			name := path.Join(dir, i.Name)
			if i.Type == vfs.Dir {
				dirs = append(dirs, name)
			} else {
				found = append(found, name)
			}
			return nil
		})
		for _, d := range dirs {
			if err == nil {
				err = walk(d)
			}
		}
		return err
	}
	err := walk(dir)
	slices.Sort(found)
	return found, diskError(err, strconv.Quote(dir)+" cannot be read")
}

// stray marks, as a size, entries that stand for files on the disk that nobody
// has described.
const stray = -2

// strays lists what lies on the disk below the folders to be cleared.
func (s *Store) strays(remove []string) (godwit.Listing, error) {
	var found []string
	for _, r := range remove {
		r = strings.TrimRight(r, "/")
		i, err := s.fs.Lstat(r)
		switch {
		case isAbsent(err):
		case err != nil:
			return nil, diskError(err, strconv.Quote(r)+" cannot be read")
		case i.Type == vfs.Dir:
			f, err := s.filesBelow(r)
			if err != nil {
				return nil, err
			}
			found = append(found, f...)
		case i.Type != vfs.Other:
			found = append(found, r)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return func(yield func(godwit.Entry, error) bool) {
		for _, f := range found {
			e := godwit.Entry{Path: f, Mode: godwit.File, Digest: digestOf(nil, godwit.SHA256), Size: stray}
			if s.Reserved(f) == "" && !yield(e, nil) {
				return
			}
		}
	}, nil
}

// union merges two listings; a's entries win.
func union(a, b godwit.Listing) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for p, err := range godwit.Merge(a, b) {
			if err != nil {
				yield(godwit.Entry{}, err)
				return
			}
			e := p.A
			if e == nil {
				e = p.B
			}
			if !yield(*e, nil) {
				return
			}
		}
	}
}
