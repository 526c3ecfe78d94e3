package git

import (
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// maxSegments is how many segments pile up before they are made one. Each
// update adds one, of just what it brought.
const maxSegments = 8

// A cache holds the tags, commits and trees of the releases on this device. It
// may be lost at any time: what is missing or damaged is fetched again.
type cache struct {
	fsys   vfs.FS
	folder string
	format object.Format
	lfs    bool // it also holds the LFS pointers that the trees name
	segs   []*segment
	next   int      // number of the next segment or spool
	spools []string // packs that wait to be unpacked, oldest first
	b      *builder // the segment that is being written, or nil
	buf    []byte   // for find
}

func (c *cache) title() string {
	t := "godwit-objects 1 " + c.format.String()
	if c.lfs {
		t += " lfs"
	}
	return t + "\n"
}

func (c *cache) name(kind string, n int) string { return c.folder + "/" + kind + "-" + strconv.Itoa(n) }

const newSegment = "objects.new"

// openCache opens the cache in a folder. What is not a whole segment of this
// format is removed.
func openCache(fsys vfs.FS, folder string, format object.Format, lfs bool) (*cache, error) {
	if err := vfs.MkdirAll(fsys, folder); err != nil {
		return nil, vfs.StateError(err)
	}
	c := &cache{fsys: fsys, folder: folder, format: format, lfs: lfs}
	var segs, spools []int
	err := fsys.ReadDir(folder, func(i vfs.Info) error {
		for _, kind := range []struct {
			prefix string
			list   *[]int
		}{{"objects-", &segs}, {"pack-", &spools}} {
			if n, ok := strings.CutPrefix(i.Name, kind.prefix); ok {
				if n, err := strconv.Atoi(n); err == nil && n >= 0 && len(*kind.list) < 1000 {
					*kind.list = append(*kind.list, n)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, vfs.StateError(err)
	}
	c.remove(folder + "/" + newSegment)
	slices.Sort(segs)
	slices.Sort(spools)
	for _, n := range segs {
		s, err := openSegment(fsys, c.name("objects", n), c.title(), format)
		if err != nil {
			c.remove(c.name("objects", n))
			continue
		}
		c.segs = append(c.segs, s)
		c.next = max(c.next, n+1)
	}
	for _, n := range spools {
		c.spools = append(c.spools, c.name("pack", n))
		c.next = max(c.next, n+1)
	}
	return c, nil
}

// remove removes a file of which nothing depends whether it goes now.
func (c *cache) remove(name string) { c.fsys.Remove(name) }

func (c *cache) close() {
	c.abandon()
	for _, s := range c.segs {
		s.f.Close()
	}
	c.segs = nil
}

// find looks an object up. ok is false when it is not here.
func (c *cache) find(id object.ID, buf *[]byte) (p place, ok bool, err error) {
	if c.b != nil {
		if p, ok := c.b.find(id); ok {
			return p, true, nil
		}
	}
	for i := len(c.segs) - 1; i >= 0; i-- {
		p, ok, err := c.segs[i].find(id, buf)
		if ok || err != nil {
			return p, ok, vfs.StateError(err)
		}
	}
	return place{}, false, nil
}

func (c *cache) has(id object.ID) bool {
	_, ok, err := c.find(id, &c.buf)
	return ok && err == nil
}

// begin opens a new segment for writing.
func (c *cache) begin() (err error) {
	c.b, err = newBuilder(c.fsys, c.folder+"/"+newSegment, c.title(), c.format)
	return err
}

// finish keeps what was written since begin.
func (c *cache) finish() error {
	b := c.b
	c.b = nil
	if b == nil {
		return nil
	}
	if b.n == 0 {
		b.abandon()
		return nil
	}
	s, err := b.finish(c.name("objects", c.next))
	if err != nil {
		return err
	}
	c.next++
	c.segs = append(c.segs, s)
	return nil
}

// abandon drops what was written since begin.
func (c *cache) abandon() {
	if c.b != nil {
		c.b.abandon()
		c.b = nil
	}
}

// compact makes one segment of all that the commits and tags in keep lead to,
// and drops the rest, if the segments have become many.
func (c *cache) compact(keep []object.ID) error {
	if len(c.segs) <= maxSegments {
		return nil
	}
	if err := c.begin(); err != nil {
		return err
	}
	old := c.segs
	w := newWalker(c)
	for _, id := range keep {
		if _, err := c.copy(pointerMark(id)); err != nil {
			c.abandon()
			return err
		}
		for range maxTagChain {
			kind, err := c.copy(id)
			if err != nil {
				c.abandon()
				return err
			}
			if kind == object.Commit {
				if info, err := c.commit(id); err == nil {
					err = w.copyTree(0, info.Tree)
					if err != nil {
						c.abandon()
						return err
					}
				}
			}
			if kind != object.Tag {
				break
			}
			tag, err := c.tag(id)
			if err != nil {
				break
			}
			id = tag.Object
		}
	}
	if err := c.finish(); err != nil {
		return err
	}
	if c.segs = c.segs[len(old):]; len(c.segs) == 0 {
		c.segs = nil
	}
	for _, s := range old {
		s.f.Close()
		c.remove(s.name)
	}
	return nil
}

// copy copies one object to the new segment. Its type is 0 if it is not here.
func (c *cache) copy(id object.ID) (object.Type, error) {
	if p, ok := c.b.find(id); ok {
		return p.kind, nil
	}
	p, ok, err := c.find(id, &c.buf)
	if !ok || err != nil {
		return 0, err
	}
	w := c.b.create(p.kind)
	if _, err := io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{p.reader()}); err != nil {
		return 0, vfs.StateError(err)
	}
	return p.kind, w.Commit(id)
}

// errAbsent is in the chain of errors about objects that the cache lacks.
var errAbsent = fs.ErrNotExist

func absent(kind string, id object.ID) error {
	return godwit.Fail(godwit.CodeMissingObject, errAbsent, "the "+kind+" "+id.String()+" is missing",
		"try again; if it stays, the repository is damaged: run git fsck on it")
}

// open gives an object that should be of a certain type.
func (c *cache) open(id object.ID, kind object.Type, buf *[]byte) (place, error) {
	p, ok, err := c.find(id, buf)
	if err != nil {
		return p, err
	}
	if !ok {
		return p, absent(kind.String(), id)
	}
	if p.kind != kind {
		return p, godwit.Fail(godwit.CodeBadObject, nil, "the object "+id.String()+" should be a "+kind.String()+" and is a "+p.kind.String(),
			"the repository is damaged: run git fsck on it")
	}
	return p, nil
}

func (c *cache) commit(id object.ID) (object.CommitInfo, error) {
	p, err := c.open(id, object.Commit, &c.buf)
	if err != nil {
		return object.CommitInfo{}, err
	}
	info, err := object.ReadCommit(p.reader(), c.format)
	return info, vfs.StateError(err)
}

// maxTag bounds commits and annotated tags.
const maxTag = 1 << 20

// maxTagChain is how many tags may name each other before a commit comes.
const maxTagChain = 5

func (c *cache) tag(id object.ID) (object.TagInfo, error) {
	p, err := c.open(id, object.Tag, &c.buf)
	if err != nil {
		return object.TagInfo{}, err
	}
	info, err := object.ReadTag(p.reader(), c.format)
	return info, vfs.StateError(err)
}
