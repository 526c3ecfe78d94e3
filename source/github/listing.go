package github

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"sort"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// The form of a listing on disk, numbers in big-endian:
//
//	for the root, which has no path, and then each entry, folders before what is
//	in them: kind (1), mode (4), size (8), id (20 or 32), length of path (2), path
//	0 (1)
//
// The size of a folder is the one of its tree object, so that the ids of all
// trees can be computed while the file is read; that of a file is -1 where the
// host does not say.

// Kinds of records beside those of godwit.Mode.
const (
	kindDir       = 4
	kindSubmodule = 5
)

// A record is one entry.
type record struct {
	kind byte
	mode uint32 // as in the tree
	size int64
	id   object.ID
	path string // from the root
}

// line is what the entry adds to its tree: mode, name, and its id behind.
func (r *record) line(b []byte, name string) []byte {
	b = strconv.AppendUint(b, uint64(r.mode), 8)
	b = append(append(append(b, ' '), name...), 0)
	return append(b, r.id.Sum()...)
}

const (
	sizeAt      = 5 // of a record's size
	headLength  = 15
	listingRoom = 8 << 10
	maxPath     = 4096
)

// A listingWriter writes records to a file.
type listingWriter struct {
	f       vfs.File
	buf     []byte
	flushed int64
	err     error
}

func newListing(fsys vfs.FS, name string) (*listingWriter, error) {
	if err := fsys.Remove(name); err != nil && !isAbsent(err) {
		return nil, vfs.StateError(err)
	}
	f, err := fsys.Open(name, vfs.Write|vfs.Excl)
	return &listingWriter{f: f}, vfs.StateError(err)
}

// offset is where the next record begins.
func (w *listingWriter) offset() int64 { return w.flushed + int64(len(w.buf)) }

func (w *listingWriter) add(r *record) error {
	b := append(w.buf, r.kind)
	b = binary.BigEndian.AppendUint32(b, r.mode)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = append(b, r.id.Sum()...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.path)))
	if w.buf = append(b, r.path...); len(w.buf) >= listingRoom {
		w.flush()
	}
	return w.err
}

// end ends a list. Another may follow.
func (w *listingWriter) end() { w.buf = append(w.buf, 0) }

func (w *listingWriter) keep(err error) {
	if w.err == nil {
		w.err = vfs.StateError(err)
	}
}

// setSize changes the size of the record that begins at an offset.
func (w *listingWriter) setSize(offset, size int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(size))
	if offset >= w.flushed { // records are flushed whole
		copy(w.buf[offset-w.flushed+sizeAt:], b[:])
		return
	}
	_, err := w.f.WriteAt(b[:], offset+sizeAt)
	w.keep(err)
}

func (w *listingWriter) flush() {
	_, err := w.f.WriteAt(w.buf, w.flushed)
	w.keep(err)
	w.flushed += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// back takes away what was written since an offset.
func (w *listingWriter) back(offset int64) {
	w.flush()
	w.keep(w.f.Truncate(offset))
	w.flushed = offset
}

// close writes the rest.
func (w *listingWriter) close() error {
	w.flush()
	w.keep(w.f.Close())
	return w.err
}

// A listingReader reads records.
type listingReader struct {
	r      *bufio.Reader
	format object.Format
	buf    []byte
}

// next gives the next record, io.EOF behind the last one.
func (l *listingReader) next() (r record, err error) {
	kind, err := l.r.ReadByte()
	if err == nil && kind == 0 {
		return r, io.EOF
	}
	n := headLength - 1 + l.format.Size()
	b, err := l.take(n, err)
	if err != nil {
		return r, err
	}
	r.kind, r.mode, r.size = kind, binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[sizeAt-1:]))
	r.id = object.MakeID(l.format, b[12:n-2])
	length := int(binary.BigEndian.Uint16(b[n-2:]))
	if length > maxPath || kind > kindSubmodule {
		return r, torn(nil)
	}
	b, err = l.take(length, nil)
	r.path = string(b)
	return r, err
}

func (l *listingReader) take(n int, err error) ([]byte, error) {
	if cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	if err == nil {
		_, err = io.ReadFull(l.r, l.buf[:n])
	}
	if err != nil {
		err = torn(err)
	}
	return l.buf[:n], err
}

// torn is the error of a listing that is not as it was written.
func torn(err error) error {
	return godwit.Fail(godwit.CodeDamaged, err, "a listing in the state folder is damaged", "try again: it is asked for anew")
}

// each calls fn for the records of a file.
func each(fsys vfs.FS, name string, format object.Format, fn func(r *record) error) error {
	f, err := fsys.Open(name, vfs.Read)
	if err != nil {
		return vfs.StateError(err)
	}
	defer f.Close()
	l := listingReader{r: bufio.NewReaderSize(f, listingRoom), format: format}
	for {
		r, err := l.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = fn(&r)
		}
		if err != nil {
			return err
		}
	}
}

var errStop = errors.New("stop")

// stored gives the files of a listing that is kept.
func (s *Source) stored(name string, format object.Format) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		err := each(s.cfg.State, name, format, func(r *record) error {
			switch {
			case r.kind == kindDir:
			case r.kind != kindSubmodule:
				if !yield(godwit.Entry{Path: r.path, Mode: godwit.Mode(r.kind), Digest: r.id.Blob(), Size: r.size}, nil) {
					return errStop
				}
			case !s.cfg.SkipSubmodules && (s.cfg.Filter == nil || s.cfg.Filter(r.path)):
				return fail(godwit.CodeSubmodule, "Godwit does not fetch submodules: put the files into the repository, or set tree.submodules = \"skip\"", "the release has a submodule, ", quote(r.path))
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(godwit.Entry{}, err)
		}
	}
}

// byPath sorts records.
type byPath []record

func (b byPath) Len() int           { return len(b) }
func (b byPath) Less(i, k int) bool { return b[i].path < b[k].path }
func (b byPath) Swap(i, k int)      { b[i], b[k] = b[k], b[i] }

// sortRoom is how many records are sorted in memory at a time.
const sortRoom = 1024

// sortListing calls fn for the records of a file in the order of their paths. It
// sorts parts of it into another file, and merges these.
func sortListing(fsys vfs.FS, name, other string, format object.Format, fn func(r *record) error) error {
	runs, err := newListing(fsys, other)
	if err != nil {
		return err
	}
	var (
		begins []int64
		batch  byPath
	)
	write := func() {
		sort.Sort(batch)
		begins = append(begins, runs.offset())
		for i := range batch {
			runs.add(&batch[i])
		}
		runs.end()
		batch = batch[:0]
	}
	err = each(fsys, name, format, func(r *record) error {
		if batch = append(batch, *r); len(batch) == sortRoom {
			write()
		}
		return runs.err
	})
	write()
	if e := runs.close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	f, err := fsys.Open(other, vfs.Read)
	if err != nil {
		return vfs.StateError(err)
	}
	defer f.Close()
	readers, heads := make([]listingReader, len(begins)), make([]record, len(begins))
	for i, at := range begins {
		readers[i] = listingReader{r: bufio.NewReaderSize(io.NewSectionReader(f, at, 1<<62), 512), format: format}
		heads[i], err = readers[i].next()
		if err != nil && err != io.EOF {
			return err
		}
	}
	for {
		least := -1
		for i := range heads {
			if heads[i].path != "" && (least < 0 || heads[i].path < heads[least].path) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		if err := fn(&heads[least]); err != nil {
			return err
		}
		if heads[least], err = readers[least].next(); err != nil && err != io.EOF {
			return err
		}
	}
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
