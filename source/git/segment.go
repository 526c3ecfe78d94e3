package git

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"
	"sort"

	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// The form of a segment, a file of the tree cache that is never changed after
// it has got its name:
//
//	a title line, see cache.title
//	the objects' contents, one after the other
//	the index, ascending by id: id (20 or 32 bytes), offset (8), size and type (8: size<<3 | type)
//	the number of entries in the index (8)
//	SHA-256 of all bytes before (32)
//
// Numbers are big-endian. Everything in a segment was hashed when it arrived;
// the sum at the end is there to find what a power cut or a worn disk did.
const (
	segmentTail = 8 + sha256.Size
	indexTail   = 16 // of an index entry, behind the id
)

// A place is where an object lies in a file of the cache.
type place struct {
	f      io.ReaderAt
	offset int64
	size   int64
	kind   object.Type
}

func (p place) reader() *io.SectionReader { return io.NewSectionReader(p.f, p.offset, p.size) }

type segment struct {
	f      vfs.File
	name   string
	format object.Format
	index  int64 // where the index begins
	n      int64 // entries
}

var errDamaged = errors.New("not a whole segment")

// openSegment opens and checks a segment.
func openSegment(fsys vfs.FS, name, title string, format object.Format) (*segment, error) {
	f, err := fsys.Open(name, vfs.Read)
	if err != nil {
		return nil, err
	}
	s := &segment{f: f, name: name, format: format}
	if err := s.check(title); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *segment) check(title string) error {
	size, err := s.f.Size()
	if err != nil {
		return err
	}
	if size < int64(len(title))+segmentTail {
		return errDamaged
	}
	sum := sha256.New()
	buf := make([]byte, 16<<10)
	for at, end := int64(0), size-sha256.Size; at < end; {
		b := buf[:min(int64(len(buf)), end-at)]
		if _, err := s.f.ReadAt(b, at); err != nil {
			return err
		}
		if at == 0 && !bytes.HasPrefix(b, []byte(title)) {
			return errDamaged
		}
		sum.Write(b)
		at += int64(len(b))
	}
	tail := buf[:segmentTail]
	if _, err := s.f.ReadAt(tail, size-segmentTail); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), tail[8:]) {
		return errDamaged
	}
	n := binary.BigEndian.Uint64(tail)
	entry := uint64(s.entrySize())
	if n > uint64(size)/entry {
		return errDamaged
	}
	s.n = int64(n)
	s.index = size - segmentTail - s.n*int64(entry)
	return nil
}

func (s *segment) entrySize() int { return s.format.Size() + indexTail }

// lookBlock is how many index entries are read at a time.
const lookBlock = 32

// find looks an object up. Ids are spread evenly, so where one stands in the
// index can be guessed well; the block around the guess narrows it down.
func (s *segment) find(id object.ID, buf *[]byte) (place, bool, error) {
	size := s.entrySize()
	if cap(*buf) < lookBlock*size {
		*buf = make([]byte, lookBlock*size)
	}
	want := id.Sum()
	lo, hi := int64(0), s.n // it is in [lo, hi)
	first, last := uint64(0), ^uint64(0)
	key := binary.BigEndian.Uint64(want)
	for guess := true; lo < hi; guess = !guess {
		at := (lo + hi) / 2
		if guess && key >= first && key <= last {
			at = lo + int64(float64(hi-lo)*(float64(key-first)/(float64(last-first)+1)))
		}
		at = max(lo, min(at-lookBlock/2, hi-lookBlock))
		n := min(lookBlock, hi-at)
		b := (*buf)[:n*int64(size)]
		if _, err := s.f.ReadAt(b, s.index+at*int64(size)); err != nil {
			return place{}, false, err
		}
		sum := func(i int64) []byte { return b[i*int64(size):][:len(want)] }
		switch {
		case bytes.Compare(want, sum(0)) < 0:
			hi, last = at, binary.BigEndian.Uint64(sum(0))
		case bytes.Compare(want, sum(n-1)) > 0:
			lo, first = at+n, binary.BigEndian.Uint64(sum(n-1))
		default:
			for i := range n {
				if bytes.Equal(want, sum(i)) {
					return s.place(b[i*int64(size)+int64(len(want)):])
				}
			}
			return place{}, false, nil
		}
	}
	return place{}, false, nil
}

func (s *segment) place(b []byte) (place, bool, error) {
	n := binary.BigEndian.Uint64(b[8:])
	p := place{f: s.f, offset: int64(binary.BigEndian.Uint64(b)), size: int64(n >> 3), kind: object.Type(n & 7)}
	if p.offset < 0 || p.size < 0 || p.offset > s.index || p.size > s.index-p.offset {
		return place{}, false, errDamaged
	}
	return p, true, nil
}

// A builder writes a segment. Objects may be read from it while it grows.
type builder struct {
	fsys   vfs.FS
	f      vfs.File
	name   string // while it is written
	format object.Format
	sum    hash.Hash
	buf    []byte // not written yet
	done   int64  // bytes written
	err    error  // sticky: of writing

	entries [][]byte          // index entries, builderBlock in each
	n       int               // entries
	byKey   map[uint64]uint32 // first eight bytes of the id → entry

	start int64 // of the object being written
	kind  object.Type
}

const (
	builderBlock  = 256
	builderBuffer = 16 << 10
)

func newBuilder(fsys vfs.FS, name, title string, format object.Format) (*builder, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, vfs.StateError(err)
	}
	f, err := fsys.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return nil, vfs.StateError(err)
	}
	b := &builder{fsys: fsys, f: f, name: name, format: format, sum: sha256.New(),
		buf: make([]byte, 0, builderBuffer), byKey: make(map[uint64]uint32)}
	b.Write([]byte(title))
	return b, nil
}

func (b *builder) Write(p []byte) (int, error) {
	b.sum.Write(p)
	if len(b.buf)+len(p) > cap(b.buf) {
		b.flush()
	}
	if len(p) > cap(b.buf) {
		b.put(p)
	} else {
		b.buf = append(b.buf, p...)
	}
	return len(p), b.err
}

func (b *builder) put(p []byte) {
	if b.err == nil {
		_, err := b.f.WriteAt(p, b.done)
		b.err = vfs.StateError(err)
	}
	b.done += int64(len(p))
}

func (b *builder) flush() {
	b.put(b.buf)
	b.buf = b.buf[:0]
}

func (b *builder) at() int64 { return b.done + int64(len(b.buf)) }

// create begins an object; the builder is its Writer.
func (b *builder) create(kind object.Type) object.Writer {
	b.start, b.kind = b.at(), kind
	return b
}

// Abort leaves the bytes that were written where they are; nothing names them.
func (b *builder) Abort() {}

// Commit names the bytes that were written since create.
func (b *builder) Commit(id object.ID) error {
	if _, ok := b.find(id); ok || b.err != nil {
		return b.err
	}
	if b.n%builderBlock == 0 {
		b.entries = append(b.entries, make([]byte, 0, builderBlock*(b.format.Size()+indexTail)))
	}
	e := append(b.entries[len(b.entries)-1], id.Sum()...)
	e = binary.BigEndian.AppendUint64(e, uint64(b.start))
	e = binary.BigEndian.AppendUint64(e, uint64(b.at()-b.start)<<3|uint64(b.kind))
	b.entries[len(b.entries)-1] = e
	b.byKey[binary.BigEndian.Uint64(id.Sum())] = uint32(b.n)
	b.n++
	return nil
}

func (b *builder) entry(i uint32) []byte {
	size := b.format.Size() + indexTail
	return b.entries[i/builderBlock][int(i%builderBlock)*size:][:size]
}

func (b *builder) find(id object.ID) (place, bool) {
	sum := id.Sum()
	i, ok := b.byKey[binary.BigEndian.Uint64(sum)]
	if !ok {
		return place{}, false
	}
	e := b.entry(i)
	if !bytes.Equal(e[:len(sum)], sum) {
		return place{}, false
	}
	n := binary.BigEndian.Uint64(e[len(sum)+8:])
	p := place{f: b, offset: int64(binary.BigEndian.Uint64(e[len(sum):])), size: int64(n >> 3), kind: object.Type(n & 7)}
	return p, true
}

// ReadAt reads what was written, also what is still in the buffer.
func (b *builder) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.done {
		if off >= b.done && off+int64(len(p)) <= b.at() {
			return copy(p, b.buf[off-b.done:]), nil
		}
		b.flush()
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.f.ReadAt(p, off)
}

// finish writes the index and gives the segment its name.
func (b *builder) finish(name string) (*segment, error) {
	index := b.at()
	order := make([]uint32, b.n)
	for i := range order {
		order[i] = uint32(i)
	}
	sort.Sort(byEntry{b, order})
	for _, i := range order {
		b.Write(b.entry(i))
	}
	b.Write(binary.BigEndian.AppendUint64(nil, uint64(b.n)))
	b.Write(b.sum.Sum(nil))
	b.flush()
	if b.err == nil {
		b.err = vfs.StateError(b.fsys.Rename(b.name, name))
	}
	if b.err != nil {
		err := b.err
		b.abandon()
		return nil, err
	}
	return &segment{f: b.f, name: name, format: b.format, index: index, n: int64(b.n)}, nil
}

// byEntry sorts numbers of entries by what they are.
type byEntry struct {
	b     *builder
	order []uint32
}

func (e byEntry) Len() int      { return len(e.order) }
func (e byEntry) Swap(i, j int) { e.order[i], e.order[j] = e.order[j], e.order[i] }
func (e byEntry) Less(i, j int) bool {
	return bytes.Compare(e.b.entry(e.order[i]), e.b.entry(e.order[j])) < 0
}

// abandon removes the file.
func (b *builder) abandon() {
	b.f.Close()
	b.fsys.Remove(b.name) // a rest is removed when the cache is opened again
}
