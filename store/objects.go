package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/vfs"
)

// Objects are the contents that are on this device: staged ones, those kept for
// going back, and the files of the installed trees. It is godwit.Objects for a
// source. It holds for one locked run.
type Objects struct {
	s       *Store
	trees   []indexedTree
	sound   map[uint64]struct{} // files outside the stage that were hashed and found right
	trusted bool                // the stage was scrubbed
	buf     []byte              // write buffer, lent to one new object at a time
	counter int
}

type indexedTree struct {
	dir     string
	listing string
	idx     *index // made when first needed
}

var _ godwit.Objects = (*Objects)(nil)

// maxSound bounds the memory for contents that were already hashed.
const maxSound = 1 << 16

// Objects opens the contents of this device. Staged objects that an earlier run
// left are hashed first and those that are not whole are removed.
func (s *Store) Objects() (*Objects, error) {
	s.mustHold()
	if err := s.scrubStage(true); err != nil {
		return nil, err
	}
	o := s.objects()
	o.trusted = true
	return o, nil
}

func (s *Store) objects(more ...indexedTree) *Objects {
	o := &Objects{s: s, sound: map[uint64]struct{}{}}
	for _, v := range append([]Version{s.rec.Running, s.rec.Previous}, s.rec.Older...) {
		if !v.IsZero() {
			o.trees = append(o.trees, indexedTree{dir: s.Tree(v), listing: v.Listing})
		}
	}
	o.trees = append(o.trees, more...)
	return o
}

// scrubStage removes from the stage what is not what its name says, and, if
// unreadable, what cannot be read: where that is the only copy of something, it
// is an error instead.
func (s *Store) scrubStage(unreadable bool) error {
	var doubtful []string
	for {
		doubtful = doubtful[:0]
		err := s.fs.ReadDir(s.state("stage"), func(i vfs.Info) error {
			d, exec, err := parseObjectName(i.Name)
			if err == nil && i.Type == vfs.Regular && !exec {
				var sum godwit.Digest
				sum, err = s.hashFile(s.state("stage/"+i.Name), d.Algorithm)
				if err == nil && sum == d {
					return nil
				}
				if err != nil && !unreadable {
					return err
				}
			}
			if doubtful = append(doubtful, i.Name); len(doubtful) == 64 {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough {
			return diskError(err, "the stage cannot be read")
		}
		for _, n := range doubtful {
			if err := vfs.RemoveAll(s.fs, s.state("stage/"+n)); err != nil {
				return diskError(err, "the stage cannot be cleared")
			}
		}
		if err == nil {
			return nil
		}
	}
}

var errEnough = errors.New("enough")

// objectName is the name of an object in stage/ and keep/: its digest, and "-x"
// where the file is executable.
func objectName(d godwit.Digest, exec bool) string {
	n := d.Algorithm.String() + "-" + d.Hex()
	if exec {
		n += "-x"
	}
	return n
}

func parseObjectName(n string) (d godwit.Digest, exec bool, err error) {
	n, exec = strings.CutSuffix(n, "-x")
	if i := strings.LastIndexByte(n, '-'); i > 0 {
		if d, err := godwit.ParseDigest(n[:i] + ":" + n[i+1:]); err == nil {
			return d, exec, nil
		}
	}
	return d, exec, errNotObject
}

var errNotObject = errors.New("not the name of an object")

// hashFile hashes a regular file.
func (s *Store) hashFile(name string, a godwit.Algorithm) (godwit.Digest, error) {
	f, err := s.fs.Open(name, vfs.Read)
	if err != nil {
		return godwit.Digest{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return godwit.Digest{}, err
	}
	h := a.New(size)
	n, err := copyBuffer(h, f, s.buffer())
	if err == nil && n != size {
		err = errors.New("store: " + name + " changed while it was read")
	}
	return godwit.MakeDigest(a, h.Sum(nil)), err
}

// copyBuffer copies with buf, whatever shortcuts dst and src offer: those
// allocate.
func copyBuffer(dst io.Writer, src io.Reader, buf []byte) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf)
}

// hashEntry hashes what lies at name, a file or a link, as an entry.
func (s *Store) hashEntry(name string, info vfs.Info, a godwit.Algorithm) (godwit.Entry, error) {
	e := godwit.Entry{Path: name, Mode: godwit.File, Size: info.Size}
	switch info.Type {
	case vfs.Regular:
		if info.Exec {
			e.Mode = godwit.Executable
		}
		var err error
		e.Digest, err = s.hashFile(name, a)
		return e, err
	case vfs.Link:
		target, err := s.fs.Readlink(name)
		e.Mode, e.Size = godwit.Symlink, int64(len(target))
		e.Digest = digestOf([]byte(target), a)
		return e, err
	}
	return e, errors.New("store: neither a file nor a link: " + name)
}

func digestOf(b []byte, a godwit.Algorithm) godwit.Digest {
	h := a.New(int64(len(b)))
	h.Write(b)
	return godwit.MakeDigest(a, h.Sum(nil))
}

func (o *Objects) remember(d godwit.Digest, name string) {
	if len(o.sound) < maxSound {
		o.sound[key(d, name)] = struct{}{}
	}
}

// key is the memory in Objects.sound of one file having one content. Another
// file that should have it must be hashed too.
func key(d godwit.Digest, name string) uint64 {
	k := uint64(14695981039346656037) // FNV-1a
	for _, c := range d.Sum() {
		k = (k ^ uint64(c)) * 1099511628211
	}
	for i := range len(name) {
		k = (k ^ uint64(name[i])) * 1099511628211
	}
	return k
}

// staged reports whether d lies in the stage, which was scrubbed.
func (o *Objects) staged(d godwit.Digest) bool {
	_, err := o.s.fs.Lstat(o.s.state("stage/" + objectName(d, false)))
	return err == nil
}

// locate finds a name that has content d now. link says that the content is the
// target of a symbolic link there.
func (o *Objects) locate(d godwit.Digest) (name string, info vfs.Info, err error) {
	staged := o.s.state("stage/" + objectName(d, false))
	var unread error // of a place that could not be looked at
	if o.trusted {
		if info, err = o.s.fs.Lstat(staged); err == nil {
			return staged, info, nil
		}
		if !isAbsent(err) {
			unread = err
		}
	}
	try := func(n string) bool {
		i, err := o.s.fs.Lstat(n)
		if err == nil && i.Type != vfs.Regular && i.Type != vfs.Link {
			return false
		}
		if _, ok := o.sound[key(d, n)]; err == nil && !ok {
			var e godwit.Entry
			if e, err = o.s.hashEntry(n, i, d.Algorithm); err == nil && e.Digest != d {
				return false
			}
		}
		if err != nil {
			if !isAbsent(err) {
				unread = err
			}
			return false
		}
		name, info = n, i
		return true
	}
	if !o.trusted && try(staged) {
		o.remember(d, name)
		return name, info, nil
	}
	for _, exec := range []bool{false, true} {
		if try(o.s.state("keep/" + objectName(d, exec))) {
			o.remember(d, name)
			return name, info, nil
		}
	}
	for i := range o.trees {
		t := &o.trees[i]
		if t.idx == nil {
			t.idx, err = o.s.index(t.listing)
			if godwit.CodeOf(err) == godwit.CodeDamaged {
				t.idx, err = &index{}, nil // what is there cannot be found, and so is fetched
			}
			if err != nil {
				return "", info, err
			}
		}
		found := false
		err := t.idx.find(d, func(e godwit.Entry) bool {
			found = try(path.Join(t.dir, e.Path))
			return !found
		})
		if err != nil {
			return "", info, err
		}
		if found {
			o.remember(d, name)
			return name, info, nil
		}
	}
	return "", info, &notHere{d, unread}
}

// notHere is the fs.ErrNotExist of contents. Its cause, if there is one, is
// that a place could not be read where they may lie.
type notHere struct {
	d     godwit.Digest
	cause error
}

func (e *notHere) Error() string        { return e.d.String() + " is not on this device" }
func (e *notHere) Is(target error) bool { return target == fs.ErrNotExist }
func (e *notHere) Unwrap() error        { return e.cause }

// Has implements godwit.Objects.
func (o *Objects) Has(d godwit.Digest) bool {
	_, _, err := o.locate(d)
	return err == nil
}

type object struct {
	vfs.File
	size int64
}

func (o object) Size() int64 { return o.size }

type linkObject struct{ *bytes.Reader }

func (linkObject) Close() error { return nil }

// Open implements godwit.Objects.
func (o *Objects) Open(d godwit.Digest) (godwit.Object, error) {
	name, info, err := o.locate(d)
	if err != nil {
		return nil, err
	}
	if info.Type == vfs.Link {
		target, err := o.s.fs.Readlink(name)
		if err != nil {
			return nil, err
		}
		return linkObject{bytes.NewReader([]byte(target))}, nil
	}
	f, err := o.s.fs.Open(name, vfs.Read)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	return object{f, size}, nil
}

// Create implements godwit.Objects.
func (o *Objects) Create(size int64) (godwit.NewObject, error) {
	o.s.mustHold()
	if free := o.s.Free(); free >= 0 && size > free-o.s.opt.Reserve {
		return nil, godwit.Fail(godwit.CodeDiskFull, nil,
			"a file of "+plan.Bytes(size)+" does not fit on the disk, which has "+plan.Bytes(max(free-o.s.opt.Reserve, 0))+" to spare",
			"free some space; the running version is untouched")
	}
	o.counter++
	n := &newObject{o: o, size: size, name: o.s.state("stage/new-" + strconv.Itoa(o.counter))}
	f, err := o.s.fs.Open(n.name, vfs.Write|vfs.Excl)
	if err != nil {
		return nil, diskError(err, "a new object cannot be staged")
	}
	n.f = f
	if n.buf, o.buf = o.buf, nil; n.buf == nil {
		n.buf = make([]byte, 0, 32<<10)
	}
	return n, nil
}

// A newObject collects small writes, because most objects are small.
type newObject struct {
	o       *Objects
	f       vfs.File
	name    string
	size    int64
	written int64 // bytes in the file, without the buffer
	buf     []byte
}

func (n *newObject) Write(p []byte) (int, error) {
	if n.written+int64(len(n.buf)+len(p)) > n.size {
		return 0, godwit.Fail(godwit.CodeBadObject, nil, "an object is longer than it was said to be", "try again; if it stays so, the repository is damaged")
	}
	total := len(p)
	for len(p) > 0 {
		if len(n.buf) == 0 && len(p) >= cap(n.buf) {
			if err := n.put(p); err != nil {
				return 0, err
			}
			break
		}
		k := min(cap(n.buf)-len(n.buf), len(p))
		n.buf = append(n.buf, p[:k]...)
		p = p[k:]
		if len(n.buf) == cap(n.buf) {
			if err := n.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (n *newObject) put(p []byte) error {
	k, err := n.f.WriteAt(p, n.written)
	n.written += int64(k)
	return diskError(err, "an object cannot be staged")
}

func (n *newObject) flush() error {
	if len(n.buf) == 0 {
		return nil
	}
	err := n.put(n.buf)
	n.buf = n.buf[:0]
	return err
}

func (n *newObject) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > n.written {
		if err := n.flush(); err != nil {
			return 0, err
		}
	}
	return n.f.ReadAt(p, off)
}

func (n *newObject) close() error {
	n.o.buf, n.buf = n.buf[:0], nil
	return n.f.Close()
}

func (n *newObject) Commit(d godwit.Digest) error {
	err := n.flush()
	if err == nil && n.written != n.size {
		err = godwit.Fail(godwit.CodeBadObject, nil, "an object is shorter than it was said to be", "try again; if it stays so, the repository is damaged")
	}
	if e := n.close(); err == nil {
		err = diskError(e, "an object cannot be staged")
	}
	if err == nil && n.o.staged(d) {
		return n.o.s.remove(n.name)
	}
	if err == nil {
		err = diskError(n.o.s.fs.Rename(n.name, n.o.s.state("stage/"+objectName(d, false))), "an object cannot be staged")
	}
	if err != nil {
		n.o.s.fs.Remove(n.name)
	}
	return err
}

func (n *newObject) Abort() {
	n.close()
	n.o.s.fs.Remove(n.name)
}

// place makes dst, which must not exist, a file or link with the content and
// mode of e. Content is shared where the file system can, else copied; with
// move, an object of the stage is moved.
func (o *Objects) place(e godwit.Entry, dst string, move bool) error {
	src, info, err := o.locate(e.Digest)
	if lost, ok := err.(*notHere); ok {
		return godwit.Fail(godwit.CodeDamaged, lost.cause, "the content of "+strconv.Quote(e.Path)+" is not on this device", "run godwit verify --repair")
	}
	if err != nil {
		return diskError(err, strconv.Quote(e.Path)+" cannot be read")
	}
	return o.placeFrom(src, info, e, dst, move)
}

// placeFrom is place for content that is known to lie at src.
func (o *Objects) placeFrom(src string, info vfs.Info, e godwit.Entry, dst string, move bool) error {
	t, err := o.s.Traits()
	if err != nil {
		return err
	}
	failed := func(err error) error { return diskError(err, strconv.Quote(e.Path)+" cannot be put in place") }
	if e.Mode == godwit.Symlink {
		target, err := o.s.readTarget(src, info)
		if err == nil {
			err = plan.CheckLink(e.Path, target)
		}
		if err == nil {
			err = o.s.fs.Symlink(target, dst)
		}
		return failed(err)
	}
	exec := e.Mode == godwit.Executable && t.ExecBits
	if info.Type != vfs.Regular {
		return failed(o.s.copyFile(src, info, e.Digest, dst, exec))
	}
	if move && path.Dir(src) == o.s.state("stage") {
		if exec != info.Exec && t.ExecBits {
			if err := o.s.fs.SetExec(src, exec); err != nil {
				return failed(err)
			}
		}
		return failed(o.s.fs.Rename(src, dst))
	}
	if t.Links {
		if err := o.s.fs.Share(src, dst, exec); !errors.Is(err, vfs.ErrUnsupported) {
			return failed(err)
		}
	}
	return failed(o.s.copyFile(src, info, e.Digest, dst, exec))
}

// readTarget reads the target of a symbolic link from a link or from a file
// that holds it.
func (s *Store) readTarget(src string, info vfs.Info) (string, error) {
	if info.Type == vfs.Link {
		return s.fs.Readlink(src)
	}
	b, err := vfs.ReadFile(s.fs, src, maxTarget)
	return string(b), err
}

// copyFile writes the content of the file, or the target of the link, at src
// to the new file dst and checks it on the way.
func (s *Store) copyFile(src string, info vfs.Info, d godwit.Digest, dst string, exec bool) error {
	flag := vfs.Write | vfs.Excl
	if exec {
		flag |= vfs.Exec
	}
	var from io.Reader
	size := info.Size
	if info.Type == vfs.Link {
		target, err := s.fs.Readlink(src)
		if err != nil {
			return err
		}
		from, size = strings.NewReader(target), int64(len(target))
	} else {
		f, err := s.fs.Open(src, vfs.Read)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	f, err := s.fs.Open(dst, flag)
	if err != nil {
		return err
	}
	h := d.Algorithm.New(size)
	_, err = copyBuffer(f, io.TeeReader(from, h), s.buffer())
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil && godwit.MakeDigest(d.Algorithm, h.Sum(nil)) != d {
		err = errors.New("its content changed while it was copied")
	}
	if err != nil {
		s.fs.Remove(dst)
	}
	return err
}

// maxTarget bounds the target of a symbolic link: Linux's PATH_MAX.
const maxTarget = 4096
