package github

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// The form of a listing on disk, numbers in big-endian:
//
//	a title line, see listingTitle
//	for each entry: kind (1), mode (4), size (8), id (20 or 32), length of path (2), path
//	0 (1)
//	SHA-256 of all bytes before (32)
//
// Of files the size is -1 where the host does not say. Listings that are being
// put together also hold folders, whose size is the one of their tree object,
// and have no sum.
const listingTitle = "godwit-tree 1 "

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
	path string // in the tree that is listed
}

func (r *record) entry() godwit.Entry {
	return godwit.Entry{Path: r.path, Mode: godwit.Mode(r.kind), Digest: r.id.Blob(), Size: r.size}
}

const (
	sizeAt      = 5 // of a record's size
	listingRoom = 8 << 10
	maxPath     = 4096
)

// A listingWriter writes records to a file.
type listingWriter struct {
	f       vfs.File
	format  object.Format
	buf     []byte
	flushed int64
	sum     hash.Hash // nil for none
	err     error
}

// newListing begins a file. With a title it is one to keep.
func newListing(fsys vfs.FS, name, title string, format object.Format) (*listingWriter, error) {
	if err := fsys.Remove(name); err != nil && !isAbsent(err) {
		return nil, diskError(err)
	}
	f, err := fsys.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return nil, diskError(err)
	}
	w := &listingWriter{f: f, format: format, buf: make([]byte, 0, listingRoom+maxPath+64)}
	if title != "" {
		w.sum = sha256.New()
		w.buf = append(w.buf, title...)
	}
	return w, nil
}

// offset is where the next record begins.
func (w *listingWriter) offset() int64 { return w.flushed + int64(len(w.buf)) }

func (w *listingWriter) add(r *record) error {
	b := append(w.buf, r.kind)
	b = binary.BigEndian.AppendUint32(b, r.mode)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = append(b, r.id.Sum()...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.path)))
	w.buf = append(b, r.path...)
	if len(w.buf) >= listingRoom {
		w.flush()
	}
	return w.err
}

// setSize changes the size of the record that begins at an offset.
func (w *listingWriter) setSize(offset, size int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(size))
	if offset >= w.flushed { // records are flushed whole
		copy(w.buf[offset-w.flushed+sizeAt:], b[:])
	} else if _, err := w.f.WriteAt(b[:], offset+sizeAt); err != nil && w.err == nil {
		w.err = diskError(err)
	}
}

func (w *listingWriter) flush() {
	if w.sum != nil {
		w.sum.Write(w.buf)
	}
	if _, err := w.f.WriteAt(w.buf, w.flushed); err != nil && w.err == nil {
		w.err = diskError(err)
	}
	w.flushed += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// finish writes the end and closes the file.
func (w *listingWriter) finish() error {
	w.buf = append(w.buf, 0)
	w.flush()
	if w.sum != nil {
		w.buf = w.sum.Sum(w.buf)
		w.flush()
	}
	err := w.err
	if e := w.f.Close(); err == nil {
		err = diskError(e)
	}
	return err
}

// A listingReader reads records.
type listingReader struct {
	r      *bufio.Reader
	format object.Format
	head   [64]byte
	path   []byte
}

// next gives the next record, io.EOF behind the last one.
func (l *listingReader) next() (r record, err error) {
	b := l.head[:13+l.format.Size()+2]
	kind, err := l.r.ReadByte()
	if err != nil {
		return r, torn(err)
	}
	if kind == 0 {
		return r, io.EOF
	}
	if _, err := io.ReadFull(l.r, b[1:]); err != nil {
		return r, torn(err)
	}
	r.kind, r.mode, r.size = kind, binary.BigEndian.Uint32(b[1:]), int64(binary.BigEndian.Uint64(b[5:]))
	r.id = object.MakeID(l.format, b[13:len(b)-2])
	length := int(binary.BigEndian.Uint16(b[len(b)-2:]))
	if length == 0 || length > maxPath || kind > kindSubmodule {
		return r, torn(nil)
	}
	if cap(l.path) < length {
		l.path = make([]byte, length)
	}
	path := l.path[:length]
	if _, err := io.ReadFull(l.r, path); err != nil {
		return r, torn(err)
	}
	r.path = string(path)
	return r, nil
}

// torn is the error of a listing that is not as it was written.
func torn(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return godwit.Fail(godwit.CodeDamaged, err, "a listing in the state folder is damaged", "try again: it is asked for anew")
}

// each calls fn for the records of a file that begin at an offset.
func each(fsys vfs.FS, name string, format object.Format, offset int64, fn func(r *record) error) error {
	f, err := fsys.Open(name, vfs.Read)
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	l := listingReader{r: bufio.NewReaderSize(io.NewSectionReader(f, offset, 1<<62), listingRoom), format: format}
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

// sound reports whether a file is a whole listing with this title.
func sound(fsys vfs.FS, name, title string) bool {
	f, err := fsys.Open(name, vfs.Read)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size < int64(len(title))+1+sha256.Size {
		return false
	}
	h := sha256.New()
	head := make([]byte, len(title))
	if _, err := f.ReadAt(head, 0); err != nil || string(head) != title {
		return false
	}
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, size-sha256.Size), make([]byte, listingRoom)); err != nil {
		return false
	}
	var sum [sha256.Size]byte
	_, err = f.ReadAt(sum[:], size-sha256.Size)
	return (err == nil || err == io.EOF) && string(h.Sum(nil)) == string(sum[:])
}

var errStop = errors.New("stop")

// stored gives the files of a listing that is kept.
func (s *Source) stored(name, title string, format object.Format) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		err := each(s.cfg.State, name, format, int64(len(title)), func(r *record) error {
			if r.kind == kindSubmodule {
				if s.cfg.SkipSubmodules || s.cfg.Filter != nil && !s.cfg.Filter(r.path) {
					return nil
				}
				return godwit.Fail(godwit.CodeSubmodule, nil, "the release has a submodule, "+quote(r.path),
					"Godwit does not fetch submodules: put the files into the repository, or set tree.submodules = \"skip\"")
			}
			if !yield(r.entry(), nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(godwit.Entry{}, err)
		}
	}
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// diskError words an error of the state folder.
func diskError(err error) error {
	var e *godwit.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case vfs.Full(err):
		return godwit.Fail(godwit.CodeDiskFull, err, "the disk is full", "free some space; the running version is untouched")
	case vfs.ReadOnly(err):
		return godwit.Fail(godwit.CodeReadOnly, err, "the state folder cannot be written", "mount its file system for writing")
	}
	return godwit.Fail(godwit.CodeIO, err, "the state folder cannot be used", "check the disk; the running version is untouched")
}
