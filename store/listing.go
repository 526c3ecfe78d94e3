package store

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sort"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// The form of a listing on disk:
//
//	"godwit-listing 1\n"
//	for each entry, in ascending order of path:
//	  mode (1 byte), algorithm (1 byte), sum (20 or 32 bytes),
//	  size+1 (uvarint; 0 is an unknown size), length of path (uvarint), path
//	0 (1 byte)
//	SHA-256 of all bytes before (32 bytes)
//
// The file is named by that last sum.
const listingMagic = "godwit-listing 1\n"

// maxStoredPath bounds the path of one entry, against damaged files.
const maxStoredPath = 1 << 16

// A listingWriter writes a listing to a file below list/.
type listingWriter struct {
	s    *Store
	f    vfs.File
	w    *bufio.Writer
	sum  hash.Hash
	buf  []byte
	last string
	name string // while it is written
}

const listingBuffer = 8 << 10

func (s *Store) newListing(name string) (*listingWriter, error) {
	name = s.state("list/" + name + ".new")
	if err := s.remove(name); err != nil {
		return nil, err
	}
	f, err := s.fs.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return nil, diskError(err, "a listing cannot be written")
	}
	w := &listingWriter{s: s, f: f, sum: sha256.New(), name: name}
	w.w = bufio.NewWriterSize(io.MultiWriter(f, w.sum), listingBuffer)
	w.w.WriteString(listingMagic)
	return w, nil
}

func (w *listingWriter) add(e godwit.Entry) error {
	if e.Path <= w.last {
		return errors.New("store: listing out of order at " + e.Path)
	}
	w.last = e.Path
	b := append(w.buf[:0], byte(e.Mode), byte(e.Digest.Algorithm))
	b = append(b, e.Digest.Sum()...)
	b = binary.AppendUvarint(b, uint64(e.Size+1))
	b = binary.AppendUvarint(b, uint64(len(e.Path)))
	b = append(b, e.Path...)
	w.buf = b
	_, err := w.w.Write(b)
	return err
}

// finish closes the file and returns its name below list/. It is not durable
// yet.
func (w *listingWriter) finish() (string, error) {
	w.w.WriteByte(0)
	err := w.w.Flush()
	sum := w.sum.Sum(nil)
	if err == nil {
		_, err = w.f.Write(sum)
	}
	if e := w.f.Close(); err == nil {
		err = e
	}
	name := hex.EncodeToString(sum)
	delete(w.s.checked, name) // it may have been pruned since
	if err == nil && w.s.checkListing(name) == nil {
		// It may be the durable listing of a version in the record, and must not
		// give way to one that a power cut can still take back.
		return name, w.s.remove(w.name)
	}
	if err == nil {
		err = w.s.fs.Rename(w.name, w.s.state("list/"+name))
	}
	if err != nil {
		return "", diskError(err, "a listing cannot be written")
	}
	return name, nil
}

func (w *listingWriter) abort() {
	w.f.Close()
	w.s.fs.Remove(w.name)
}

// saveListing writes all of l and returns its name below list/.
func (s *Store) saveListing(name string, l godwit.Listing) (string, error) {
	w, err := s.newListing(name)
	if err != nil {
		return "", err
	}
	for e, err := range l {
		if err == nil {
			err = w.add(e)
		}
		if err != nil {
			w.abort()
			return "", err
		}
	}
	return w.finish()
}

// checkListing reads the listing once and compares it with its name.
func (s *Store) checkListing(name string) error {
	if s.checked[name] {
		return nil
	}
	f, err := s.fs.Open(s.state("list/"+name), vfs.Read)
	if err == nil {
		defer f.Close()
		var size int64
		if size, err = f.Size(); err == nil && size < sha256.Size {
			err = io.ErrUnexpectedEOF
		}
		h := sha256.New()
		if err == nil {
			_, err = io.CopyBuffer(h, io.NewSectionReader(f, 0, size-sha256.Size), s.buffer())
		}
		if err == nil && hex.EncodeToString(h.Sum(nil)) != name {
			err = errors.New("wrong checksum")
		}
	}
	if err != nil {
		return listingError(err)
	}
	s.checked[name] = true
	return nil
}

// listing gives a stored listing. The zero name is the empty listing.
func (s *Store) listing(name string) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		if name == "" {
			return
		}
		if err := s.checkListing(name); err != nil {
			yield(godwit.Entry{}, err)
			return
		}
		for x, err := range s.scan(name) {
			if !yield(x.Entry, err) || err != nil {
				return
			}
		}
	}
}

// A placed entry knows where it stands in its file.
type placed struct {
	godwit.Entry
	off int64
}

func (s *Store) scan(name string) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		f, err := s.fs.Open(s.state("list/"+name), vfs.Read)
		if err != nil {
			yield(placed{}, diskError(err, "the list of installed files cannot be read"))
			return
		}
		defer f.Close()
		r := &countingReader{Reader: bufio.NewReaderSize(f, listingBuffer)}
		magic := make([]byte, len(listingMagic))
		if _, err := io.ReadFull(r, magic); err != nil || string(magic) != listingMagic {
			yield(placed{}, listingError(err))
			return
		}
		for {
			off := r.n
			e, err := readEntry(r)
			if err == io.EOF {
				return
			}
			if !yield(placed{e, off}, err) || err != nil {
				return
			}
		}
	}
}

var errListing = listingError(nil)

// listingError says that a stored listing is damaged or gone. A disk that could
// not be read this time is another matter: what it holds may be right.
func listingError(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) && !isAbsent(err) {
		return diskError(err, "the list of installed files cannot be read")
	}
	return godwit.Fail(godwit.CodeDamaged, err, "the list of installed files is damaged",
		"run godwit update --force to install the release again")
}

type countingReader struct {
	*bufio.Reader
	n   int64
	buf []byte
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// readEntry returns io.EOF at the closing zero byte.
func readEntry(r *countingReader) (e godwit.Entry, err error) {
	mode, err := r.ReadByte()
	if err != nil {
		return e, listingError(err)
	}
	if mode == 0 {
		return e, io.EOF
	}
	alg, err := r.ReadByte()
	size := godwit.Algorithm(alg).Size()
	if err != nil {
		return e, listingError(err)
	}
	if size == 0 || mode > byte(godwit.Symlink) {
		return e, errListing
	}
	var sum [sha256.Size]byte
	if _, err := io.ReadFull(r, sum[:size]); err != nil {
		return e, listingError(err)
	}
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return e, listingError(err)
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return e, listingError(err)
	}
	if n == 0 || n > maxStoredPath {
		return e, errListing
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	path := r.buf[:n]
	if _, err := io.ReadFull(r, path); err != nil {
		return e, listingError(err)
	}
	return godwit.Entry{Path: string(path), Mode: godwit.Mode(mode),
		Digest: godwit.MakeDigest(godwit.Algorithm(alg), sum[:size]), Size: int64(length) - 1}, nil
}

// An index finds the paths of a listing that have a certain content. It keeps
// 12 bytes an entry: the start of the digest and the entry's place in the file.
type index struct {
	s    *Store
	name string
	keys []indexKey
}

type indexKey struct{ hash, hi, lo uint32 }

func keyOf(d godwit.Digest) uint32 { return binary.BigEndian.Uint32(d.Sum()) }

// index builds the index of a stored listing.
func (s *Store) index(name string) (*index, error) {
	x := &index{s: s, name: name}
	if name == "" {
		return x, nil
	}
	if err := s.checkListing(name); err != nil {
		return nil, err
	}
	n := 0
	for _, err := range s.scan(name) {
		if err != nil {
			return nil, err
		}
		n++
	}
	x.keys = make([]indexKey, 0, n)
	for e, err := range s.scan(name) {
		if err != nil {
			return nil, err
		}
		x.keys = append(x.keys, indexKey{keyOf(e.Digest), uint32(e.off >> 32), uint32(e.off)})
	}
	sort.Sort(byHash(x.keys))
	return x, nil
}

// byHash sorts by hash, then by place. A sort of package slices for this one
// type would be 10 kB of the binary.
type byHash []indexKey

func (k byHash) Len() int      { return len(k) }
func (k byHash) Swap(i, j int) { k[i], k[j] = k[j], k[i] }
func (k byHash) Less(i, j int) bool {
	a, b := k[i], k[j]
	if a.hash != b.hash {
		return a.hash < b.hash
	}
	return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo
}

// find calls fn for each entry with content d until fn returns false.
func (x *index) find(d godwit.Digest, fn func(godwit.Entry) bool) error {
	h := keyOf(d)
	i, ok := slices.BinarySearchFunc(x.keys, h, func(k indexKey, h uint32) int {
		switch {
		case k.hash < h:
			return -1
		case k.hash > h:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	f, err := x.s.fs.Open(x.s.state("list/"+x.name), vfs.Read)
	if err != nil {
		return err
	}
	defer f.Close()
	for ; i < len(x.keys) && x.keys[i].hash == h; i++ {
		off := int64(x.keys[i].hi)<<32 | int64(x.keys[i].lo)
		r := &countingReader{Reader: bufio.NewReaderSize(io.NewSectionReader(f, off, 1<<62), 256)}
		e, err := readEntry(r)
		if err != nil {
			return err
		}
		if e.Digest == d && !fn(e) {
			return nil
		}
	}
	return nil
}
