package git

import (
	"bytes"
	"errors"
	"io"
	"iter"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// A cursor goes through the wanted entries whose content is not here, in step
// with a walk: both ascend.
type cursor struct {
	next  func() (godwit.Entry, error, bool)
	stop  func()
	entry godwit.Entry
	path  []byte
	id    object.ID // the zero ID where the entry is no blob of the repository
	ok    bool      // entry, path and id hold something
	err   error
}

// missing begins a cursor over the entries of want with digests of one kind
// that into lacks. Call stop in the end.
func missing(want godwit.Listing, into godwit.Objects, a godwit.Algorithm) *cursor {
	c := &cursor{}
	c.next, c.stop = iter.Pull2(iter.Seq2[godwit.Entry, error](func(yield func(godwit.Entry, error) bool) {
		for e, err := range want {
			if err != nil {
				yield(godwit.Entry{}, err)
				return
			}
			if e.Digest.Algorithm == a && !into.Has(e.Digest) && !yield(e, nil) {
				return
			}
		}
	}))
	c.advance()
	return c
}

func (c *cursor) advance() {
	e, err, ok := c.next()
	c.ok = ok && err == nil
	if err != nil {
		c.err = err
	}
	if c.ok {
		c.entry = e
		c.path, c.id = append(c.path[:0], e.Path...), object.IDOf(e.Digest)
	}
}

// at reports whether the next missing entry is path itself, a file.
func (c *cursor) at(path []byte) bool {
	for c.ok && bytes.Compare(c.path, path) < 0 {
		c.advance()
	}
	return c.ok && bytes.Equal(c.path, path)
}

// below reports whether a missing entry lies in the folder path.
func (c *cursor) below(path []byte) bool {
	for c.ok && !inside(c.path, path) && compareFolder(c.path, path) < 0 {
		c.advance()
	}
	return c.ok && inside(c.path, path)
}

func inside(path, folder []byte) bool {
	return len(path) > len(folder) && path[len(folder)] == '/' && bytes.HasPrefix(path, folder)
}

// compareFolder compares path with folder as if a slash stood behind it.
func compareFolder(path, folder []byte) int {
	n := min(len(path), len(folder))
	if c := bytes.Compare(path[:n], folder[:n]); c != 0 {
		return c
	}
	if len(path) <= len(folder) {
		return -1
	}
	return int(path[len(folder)]) - '/'
}

// A survey compares a new tree with the one that a server takes for installed,
// and with what is missing.
type survey struct {
	w, old  *walker
	missing *cursor
	found   int // missing entries that a request would bring: not in the old tree at the same path
	// have, if set, is called with the largest objects of the new tree that
	// need not be sent and that the old tree does not say so of. It returns
	// false to stop.
	have func(object.ID) bool
}

// run surveys the tree id at path against the old tree there, zero if none. It
// returns false when have did.
func (s *survey) run(level int, id, oldID object.ID, path []byte) (bool, error) {
	t, err := s.w.open(level, id)
	if err != nil {
		return false, err
	}
	var old object.TreeEntry
	var oldTree *object.TreeReader
	if !oldID.IsZero() {
		if oldTree, err = s.old.open(level, oldID); err == nil {
			old, err = oldTree.Next()
		}
		if err != nil {
			if oldTree = nil; isDisk(err) {
				return false, vfs.StateError(err)
			}
		}
	}
	n := len(path)
	for {
		e, err := t.Next()
		if err == io.EOF {
			return true, s.missing.err
		}
		if err != nil {
			return false, inFolder(err, path[:n])
		}
		for oldTree != nil && old.Compare(e) < 0 {
			if old, err = oldTree.Next(); err != nil {
				if oldTree = nil; isDisk(err) {
					return false, vfs.StateError(err)
				}
			}
		}
		var same object.ID // what the old tree has here, of the same kind
		if oldTree != nil && old.Compare(e) == 0 {
			same = old.ID
		}
		path = join(path[:n], e.Name)
		if same == e.ID {
			continue // the server takes it for here, whether it is or not
		}
		switch {
		case e.Mode == object.ModeSubmodule:
		case e.Mode == object.ModeDir && s.missing.below(path):
			if more, err := s.run(level+1, e.ID, same, path); !more || err != nil {
				return more, err
			}
		case e.Mode != object.ModeDir && s.missing.at(path):
			s.found++
		default:
			if s.have != nil && !s.have(e.ID) {
				return false, nil
			}
		}
	}
}

// isDisk tells a failing disk from a tree that is absent, bad, or at its end.
func isDisk(err error) bool {
	var e *godwit.Error
	if errors.As(err, &e) {
		return e.Code != godwit.CodeMissingObject && e.Code != godwit.CodeBadObject && e.Code != godwit.CodeBadPath
	}
	return err != io.EOF
}

// A haveList collects what goes wrong while a request's "have" lines are made:
// the disk's error is worth more than that of the request.
type haveList struct{ err error }

func (h *haveList) failed(err error) {
	if h.err == nil && err != nil && isDisk(err) {
		h.err = vfs.StateError(err)
	}
}

// or gives the first error of the disk, else err.
func (h *haveList) or(err error) error {
	if err != nil && h.err != nil {
		return h.err
	}
	return err
}

// haves gives the objects of the release's tree that need not be sent. old is
// the tree of a release that the server knows this device to have, or zero.
func (s *Source) haves(root, old object.ID, want godwit.Listing, into godwit.Objects, yield func(object.ID) bool) (found int, more bool, err error) {
	v := survey{w: newWalker(s.cache), old: newWalker(s.cache), have: yield,
		missing: missing(want, into, s.cache.format.Algorithm())}
	defer v.missing.stop()
	if root == old {
		return 0, true, nil
	}
	more, err = v.run(0, root, old, nil)
	return v.found, more, err
}
