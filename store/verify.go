package store

import (
	"path"

	"github.com/godwit-ota/godwit"
)

// A Problem is a difference between the tree on disk and its release.
type Problem struct {
	Entry godwit.Entry // what should be there
	What  string       // "missing", "changed", "wrong mode"
}

// Verify hashes every file of the running version and calls fn for each that is
// not as the release has it. It writes nothing. files is the number of files
// that were looked at.
func (s *Store) Verify(fn func(Problem) error) (files int, err error) {
	v := s.rec.Running
	if v.IsZero() {
		return 0, godwit.Fail(godwit.CodeNotInstalled, nil, "nothing has been installed yet", "run godwit update")
	}
	dir := s.Tree(v)
	if s.opt.Layout == Slots {
		if have, err := s.fs.Readlink(Current); err != nil || have != dir {
			p := Problem{godwit.Entry{Path: Current, Mode: godwit.Symlink}, "changed"}
			if err := fn(p); err != nil {
				return 0, err
			}
		}
	}
	for e, err := range s.listing(v.Listing) {
		if err != nil {
			return files, err
		}
		files++
		found, err := s.look(path.Join(dir, e.Path), e.Digest.Algorithm)
		if err != nil {
			return files, err
		}
		p := Problem{Entry: e}
		switch {
		case found == nil:
			p.What = "missing"
		case found.Digest != e.Digest || (found.Mode == godwit.Symlink) != (e.Mode == godwit.Symlink):
			p.What = "changed"
		case !s.sameMode(found.Mode, e.Mode):
			p.What = "wrong mode"
		default:
			continue
		}
		if err := fn(p); err != nil {
			return files, err
		}
	}
	return files, nil
}

// Listing gives the entries of a version in the record.
func (s *Store) Listing(v Version) godwit.Listing { return s.listing(v.Listing) }

// KeepListing stores the entries of l, and gives the Listing of a Version that has
// them. It lasts until the next Prune.
func (s *Store) KeepListing(l godwit.Listing) (string, error) {
	s.mustHold()
	return s.saveListing("ready", l)
}

// SaveListing stores the entries of l, so that they can be ranged over without
// asking l again, and gives them back. It lasts until the next Prune.
func (s *Store) SaveListing(l godwit.Listing) (godwit.Listing, error) {
	s.mustHold()
	name, err := s.saveListing("some", l)
	if err != nil {
		return nil, err
	}
	return s.listing(name), nil
}
