package git

import (
	"bufio"
	"errors"
	"io"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// A walker reads trees out of the cache, in the order of paths. It keeps one
// small buffer for each level of folders.
type walker struct {
	c      *cache
	frames []*frame
	buf    []byte
	budget int // of whole: entries that it may still look at
}

type frame struct {
	section io.SectionReader
	in      *bufio.Reader
	tree    object.TreeReader
}

const frameBuffer = 1 << 10

func newWalker(c *cache) *walker { return &walker{c: c, budget: 10 << 20} }

// open begins to read a tree at a level. The error has errAbsent in its chain
// if the tree is not here.
func (w *walker) open(level int, id object.ID) (*object.TreeReader, error) {
	p, err := w.c.open(id, object.Tree, &w.buf)
	if err != nil {
		return nil, err
	}
	for len(w.frames) <= level {
		w.frames = append(w.frames, &frame{in: bufio.NewReaderSize(nil, frameBuffer)})
	}
	f := w.frames[level]
	f.section = *p.reader()
	f.in.Reset(&f.section)
	f.tree.Reset(f.in, w.c.format)
	return &f.tree, nil
}

// visit is called for each entry of a tree with its whole path, which is valid
// until it returns, and says whether to descend into a directory.
type visit func(path []byte, e object.TreeEntry) (descend bool, err error)

// walk visits all entries below the tree id, depth first.
func (w *walker) walk(level int, id object.ID, path []byte, fn visit) error {
	t, err := w.open(level, id)
	if err != nil {
		return err
	}
	n := len(path)
	for {
		e, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return inFolder(err, path[:n])
		}
		path = join(path[:n], e.Name)
		descend, err := fn(path, e)
		if err != nil {
			return err
		}
		if descend {
			if err := w.walk(level+1, e.ID, path, fn); err != nil {
				return err
			}
		}
	}
}

func join(path, name []byte) []byte {
	if len(path) > 0 {
		path = append(path, '/')
	}
	return append(path, name...)
}

// inFolder adds where a bad tree is.
func inFolder(err error, path []byte) error {
	var e *godwit.Error
	if !errors.As(err, &e) {
		return vfs.StateError(err)
	}
	where := "the top folder"
	if len(path) > 0 {
		where = "the folder " + strconv.Quote(shorten(string(path)))
	}
	return &godwit.Error{Code: e.Code, Text: where + " of the release cannot be read", Hint: e.Hint, Err: err}
}

func shorten(path string) string {
	if len(path) > 100 {
		return path[:40] + "…" + path[len(path)-40:]
	}
	return path
}

// complete walks everything below the tree id and checks that all trees are
// here, well-formed, and within the limits. Missing trees give an error with
// errAbsent in its chain.
func (w *walker) complete(id object.ID, l Limits) error {
	files := 0
	depth := 0
	return w.walk(0, id, nil, func(path []byte, e object.TreeEntry) (bool, error) {
		if files++; files > l.Files {
			return false, tooMuch("the release has more than "+strconv.Itoa(l.Files)+" files and folders", "limits.max_files")
		}
		if len(path) > l.Path {
			return false, tooMuch("the release has a path of more than "+strconv.Itoa(l.Path)+" bytes, "+strconv.Quote(shorten(string(path))), "")
		}
		if e.Mode != object.ModeDir {
			return false, nil
		}
		depth = 1
		for _, c := range path {
			if c == '/' {
				depth++
			}
		}
		if depth >= l.Depth {
			return false, tooMuch("the release has folders nested more than "+strconv.Itoa(l.Depth)+" deep, "+strconv.Quote(shorten(string(path))), "limits.max_depth")
		}
		return true, nil
	})
}

func tooMuch(text, key string) error {
	hint := "if the repository is meant to be like this, raise " + key
	if key == "" {
		hint = "no common file system takes it: rename it in the repository"
	}
	return godwit.Fail(godwit.CodeLimit, nil, text, hint)
}

// copyTree copies a tree, and what it leads to, to the new segment. What is not
// here is left out.
func (w *walker) copyTree(level int, id object.ID) error {
	if _, ok := w.c.b.find(id); ok {
		return nil
	}
	if kind, err := w.c.copy(id); kind == 0 || err != nil {
		return err
	}
	t, err := w.open(level, id)
	if err != nil {
		return err
	}
	for {
		e, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return nil // whoever walks it will say so
		}
		switch {
		case e.Mode == object.ModeDir && level < maxCopyDepth:
			err = w.copyTree(level+1, e.ID)
		case w.c.lfs && e.Mode != object.ModeSubmodule:
			if _, ok := w.pointer(e.ID); ok {
				_, err = w.c.copy(e.ID)
			}
		}
		if err != nil {
			return err
		}
	}
}

const maxCopyDepth = 512

// whole reports whether the tree id is here with everything below it.
func (w *walker) whole(level int, id object.ID) (bool, error) {
	err := w.walk(level, id, nil, func(path []byte, e object.TreeEntry) (bool, error) {
		if w.budget--; w.budget < 0 || len(path) > 2*maxCopyDepth {
			return false, errAbsent
		}
		return e.Mode == object.ModeDir, nil
	})
	if errors.Is(err, errAbsent) {
		return false, nil
	}
	return err == nil, err
}

// wholeTrees gives the largest trees below id that are here with everything
// below them: what need not be sent again after a cut.
func (w *walker) wholeTrees(level int, id object.ID, yield func(object.ID) bool) (bool, error) {
	if ok, err := w.whole(level, id); err != nil {
		return false, err
	} else if ok {
		return yield(id), nil
	}
	t, err := w.open(level, id)
	if errors.Is(err, errAbsent) {
		return true, nil
	}
	if err != nil || level > maxCopyDepth {
		return false, err
	}
	for {
		e, err := t.Next()
		if err != nil {
			if isDisk(err) {
				return false, vfs.StateError(err)
			}
			return true, nil // at the end, or where the tree is bad
		}
		if e.Mode == object.ModeDir {
			if more, err := w.wholeTrees(level+1, e.ID, yield); !more || err != nil {
				return more, err
			}
		}
	}
}
