// Package tree applies patches that are made for a whole tree: one stream for
// the contents of many files, so that code which moved from one file to another,
// and files with new names, cost little. Such a patch is a table of the contents
// that it draws from, a table of those that it brings, and one patch of package
// delta between the two rows. It names no paths: what lies where is the business
// of the release's listing. Making such patches is that of delta/diff.
// docs/formats.md describes the format.
//
// Invariant: whatever the bytes of a patch, a content is committed only under a
// digest that was computed over what was written, and where a listing names one,
// only under that.
package tree

import (
	"cmp"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
)

// MaxContents is how many contents either side of a patch may have.
const MaxContents = 1 << 16

// ContentMemory is how many bytes of memory a Table takes for each content,
// including what Find and Apply need.
const ContentMemory = 72

// A table gives at least and at most this many bytes of each digest.
const (
	MinPrefix = 4
	MaxPrefix = 8
)

const (
	version = 1
	maxSize = 1 << 40 // bytes of all contents of one side
)

var magic = [2]byte{0xD9, 'T'}

// ErrLimit says that a patch has more contents than its reader allows, or
// larger ones than there can be.
var ErrLimit = errors.New("the patch of the tree is beyond what this device allows")

// A Prefix is the first bytes of a content's digest; those that a table does not
// give are zero.
type Prefix [MaxPrefix]byte

// PrefixOf is the beginning of a digest.
func PrefixOf(d godwit.Digest, length int) (p Prefix) {
	copy(p[:length], d.Sum())
	return p
}

// A Content is one entry of a table.
type Content struct {
	Prefix Prefix
	Size   int64         // bytes
	Digest godwit.Digest // zero until it was found in a listing
	end    int64         // where it ends in its row, in bytes
}

// A Row is one side of a patch: contents, in the order in which they are
// concatenated.
type Row struct {
	Algorithm godwit.Algorithm // of the digests; not CRC32
	Contents  []Content
	prefix    int
	order     []uint32 // of Contents by prefix and size, made when first needed
}

// Size is the number of bytes of all contents.
func (r *Row) Size() int64 {
	if n := len(r.Contents); n > 0 {
		return r.Contents[n-1].end
	}
	return 0
}

// A Table is what a patch says before its stream.
type Table struct {
	Tier delta.Tier
	// Prefix is how many bytes of each digest the table gives. The maker gives as
	// many as it takes to tell all files of both trees apart. A content that is
	// taken for another one is found out: then the patch is of no use, and nothing
	// else happens.
	Prefix   int
	Old, New Row
	sum      uint32
}

// Append writes the table.
func (t *Table) Append(b []byte) []byte {
	start := len(b)
	b = append(b, magic[0], magic[1], version<<4|byte(t.Tier), byte(t.Old.Algorithm)<<4|byte(t.New.Algorithm), byte(t.Prefix))
	for _, r := range []*Row{&t.Old, &t.New} {
		b = appendVarint(b, uint64(len(r.Contents)))
		for i := range r.Contents {
			c := &r.Contents[i]
			b = append(b, c.Prefix[:t.Prefix]...)
			b = appendVarint(b, uint64(c.Size))
		}
	}
	return appendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// Read reads the table at the beginning of a patch, and no more of r. Each side
// may have max contents, MaxContents if max is 0: else the error is ErrLimit.
// What is no patch of a tree is delta.ErrNoPatch; delta.ErrDamaged one whose sum
// is wrong. Memory is taken for the contents that are announced, so max bounds it:
// by ContentMemory for each.
func Read(r io.Reader, max int) (*Table, error) {
	if max <= 0 || max > MaxContents {
		max = MaxContents
	}
	f := field{r: r}
	var head [5]byte
	f.bytes(head[:])
	t := &Table{Tier: delta.Tier(head[2] & 15), Prefix: int(head[4])}
	t.Old.Algorithm, t.New.Algorithm = godwit.Algorithm(head[3]>>4), godwit.Algorithm(head[3]&15)
	switch {
	case f.err != nil:
		return nil, f.err
	case head[0] != magic[0] || head[1] != magic[1] || head[2]>>4 != version || t.Tier.Memory() == 0,
		t.Prefix < MinPrefix || t.Prefix > MaxPrefix, !named(t.Old.Algorithm) || !named(t.New.Algorithm):
		return nil, delta.ErrNoPatch
	}
	for _, row := range []*Row{&t.Old, &t.New} {
		row.prefix = t.Prefix
		n := f.varint()
		if f.err == nil && n > uint64(max) {
			return nil, ErrLimit
		}
		if f.err != nil {
			return nil, f.err
		}
		row.Contents = make([]Content, 0, n)
		var end int64
		for range n {
			c := Content{Prefix: f.prefix(t.Prefix)}
			size := f.varint()
			if f.err != nil {
				return nil, f.err
			}
			if size > maxSize || int64(size) > maxSize-end {
				return nil, ErrLimit
			}
			c.Size = int64(size)
			end += c.Size
			c.end = end
			row.Contents = append(row.Contents, c)
		}
	}
	t.sum = f.sum
	var sum [4]byte
	f.bytes(sum[:])
	if f.err != nil {
		return nil, f.err
	}
	if string(sum[:]) != string(appendUint32(nil, t.sum)) {
		return nil, delta.ErrDamaged
	}
	return t, nil
}

// named reports whether tables may have digests of the algorithm. Two contents
// can easily be made to have one checksum.
func named(a godwit.Algorithm) bool {
	return a == godwit.SHA256 || a == godwit.GitSHA1 || a == godwit.GitSHA256
}

// Add appends a content to the row, for those who make tables.
func (r *Row) Add(d godwit.Digest, size int64, prefix int) {
	r.prefix, r.order = prefix, nil
	r.Contents = append(r.Contents, Content{Prefix: PrefixOf(d, prefix), Size: size, Digest: d, end: r.Size() + size})
}

// Find takes over the digests of a listing for those contents of the row that
// have none yet, and gives back how many still have none. A size that the listing
// does not know fits every content. Of two entries that fit one content the first
// counts, so give the listing first that the patch was made for.
func (r *Row) Find(l godwit.Listing) (missing int, err error) {
	r.sort()
	if l != nil {
		for e, err := range l {
			if err != nil {
				return 0, err
			}
			if e.Digest.Algorithm == r.Algorithm {
				r.match(e.Digest, e.Size)
			}
		}
	}
	for i := range r.Contents {
		if r.Contents[i].Digest.IsZero() {
			missing++
		}
	}
	return missing, nil
}

func (r *Row) sort() {
	if r.order != nil {
		return
	}
	r.order = make([]uint32, len(r.Contents))
	for i := range r.order {
		r.order[i] = uint32(i)
	}
	slices.SortFunc(r.order, func(a, b uint32) int {
		x, y := &r.Contents[a], &r.Contents[b]
		if c := comparePrefix(x.Prefix, y.Prefix); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
}

func comparePrefix(a, b Prefix) int { return slices.Compare(a[:], b[:]) }

func (r *Row) match(d godwit.Digest, size int64) {
	p := PrefixOf(d, r.prefix)
	at, _ := slices.BinarySearchFunc(r.order, p, func(i uint32, p Prefix) int { return comparePrefix(r.Contents[i].Prefix, p) })
	for ; at < len(r.order); at++ {
		c := &r.Contents[r.order[at]]
		if c.Prefix != p {
			return
		}
		if c.Digest.IsZero() && (size < 0 || size == c.Size) {
			c.Digest = d
		}
	}
}

// at is the number of the content in which the byte at off lies. off must be
// less than Size.
func (r *Row) at(off int64) int {
	i, _ := slices.BinarySearchFunc(r.Contents, off, func(c Content, off int64) int {
		if c.end <= off {
			return -1
		}
		return 1
	})
	return i
}

// A field reads the parts of a table one after the other; after the first error
// all are zero.
type field struct {
	r   io.Reader
	err error
	sum uint32
	buf [MaxPrefix]byte // here, so that what is read does not escape one by one
}

func (f *field) bytes(p []byte) {
	if f.err == nil {
		if _, f.err = io.ReadFull(f.r, p); f.err == io.EOF {
			f.err = io.ErrUnexpectedEOF
		}
	}
	if f.err != nil {
		clear(p)
		return
	}
	f.sum = crc32.Update(f.sum, crc32.IEEETable, p)
}

func (f *field) prefix(n int) (p Prefix) {
	f.bytes(f.buf[:n])
	copy(p[:n], f.buf[:n])
	return p
}

func (f *field) varint() (v uint64) {
	for shift := 0; ; shift += 7 {
		f.bytes(f.buf[:1])
		b := f.buf[0]
		if f.err == nil && shift > 56 {
			f.err = delta.ErrNoPatch
		}
		if f.err != nil {
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

func appendVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func appendUint32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}
