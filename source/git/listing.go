package git

import (
	"errors"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
)

// errStop ends a walk whose caller has enough.
var errStop = errors.New("stop")

// listing gives the files below the tree root, out of the cache.
func (s *Source) listing(root object.ID) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		c := s.cache
		if c == nil || c.format != root.Format() {
			yield(godwit.Entry{}, absent("tree", root))
			return
		}
		w := newWalker(c)
		err := w.walk(0, root, nil, func(path []byte, e object.TreeEntry) (bool, error) {
			f := godwit.Entry{Path: string(path), Digest: e.ID.Blob(), Size: godwit.UnknownSize}
			switch e.Mode {
			case object.ModeDir:
				return true, nil
			case object.ModeFile:
				f.Mode = godwit.File
			case object.ModeExecutable:
				f.Mode = godwit.Executable
			case object.ModeSymlink:
				f.Mode = godwit.Symlink
			default:
				if s.cfg.SkipSubmodules || s.cfg.Filter != nil && !s.cfg.Filter(f.Path) {
					return false, nil
				}
				return false, godwit.Fail(godwit.CodeSubmodule, nil, "the release has a submodule, "+quote(f.Path),
					"Godwit does not fetch submodules: put the files into the repository, or set tree.submodules = \"skip\"")
			}
			if c.lfs && f.Mode != godwit.Symlink {
				if p, ok := w.pointer(e.ID); ok {
					f.Digest, f.Size = p.Digest(), p.Size
				}
			}
			if !yield(f, nil) {
				return false, errStop
			}
			return false, nil
		})
		if err != nil && err != errStop {
			yield(godwit.Entry{}, err)
		}
	}
}
