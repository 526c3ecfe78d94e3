package object

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"
	"strconv"

	"github.com/klauspost/compress/zlib"
)

// Limits bound what a pack may hold. A zero field takes the default, which is
// what a large device could be asked to hold.
type Limits struct {
	Objects    int64 // objects in one pack; default 4 million
	ObjectSize int64 // bytes of one object, inflated; default 16 GiB
	TotalSize  int64 // bytes of all objects, inflated; default 256 GiB
	Depth      int   // deltas upon deltas; default 4095, the most that git makes
}

func (l Limits) withDefaults() Limits {
	if l.Objects <= 0 {
		l.Objects = 4 << 20
	}
	if l.ObjectSize <= 0 {
		l.ObjectSize = 16 << 30
	}
	if l.TotalSize <= 0 {
		l.TotalSize = 256 << 30
	}
	if l.Depth <= 0 || l.Depth > 1<<16-1 {
		l.Depth = 4095
	}
	return l
}

// A Sink receives the objects of a pack and gives back those that deltas refer
// to, which may be objects it received.
type Sink interface {
	// Base opens the object id, checked against it. The error is fs.ErrNotExist
	// if it is not here; the objects that need it are then skipped.
	Base(id ID) (Base, Type, error)
	// Create begins an object of exactly size bytes. A nil Writer passes it over:
	// its id stays unknown, and deltas upon it are skipped.
	Create(t Type, size int64) (Writer, error)
}

// A Writer receives the content of one object, and then either Commit with the
// id of what was written, or Abort.
type Writer interface {
	io.Writer
	Commit(id ID) error
	Abort()
}

// Stats says what a pack held.
type Stats struct {
	Objects int64 // all of them
	Skipped int64 // passed over, or deltas whose base is not here; their ids are unknown
	Bytes   int64 // of the pack itself
}

const (
	ofsDelta = 6 // types of entries that are no objects
	refDelta = 7

	readSize = 32 << 10 // read from the pack at a time
	outSize  = 32 << 10 // handed out at a time
)

// An Unpacker reads packs, one after the other, with the same buffers.
type Unpacker struct {
	// Progress, if set, is called after each object of a pack.
	Progress func(done, total int64)

	format Format
	limits Limits
	hasher *Hasher
	sum    hash.Hash // of the pack; SHA-1 without detection, for it only guards against accidents
	in     *bufio.Reader
	tail   tailReader
	zlib   io.ReadCloser
	base   window
	infl   inflated
	out    output
	table  table
	ref    [32]byte
}

// NewUnpacker returns an Unpacker for packs of a repository of format f.
func NewUnpacker(f Format, limits Limits) *Unpacker {
	u := &Unpacker{format: f, limits: limits.withDefaults(), hasher: NewHasher(f)}
	if f == SHA256 {
		u.sum = sha256.New()
	} else {
		u.sum = sha1.New()
	}
	u.in = bufio.NewReaderSize(nil, readSize)
	u.infl.buf = make([]byte, outSize)
	u.out.buf = make([]byte, 0, outSize)
	return u
}

// Unpack reads one pack from r up to its end, and hands its objects to sink in
// the order of the pack.
//
// Errors of r and sink come back as they are. What is wrong with the pack
// itself is CodeBadObject, or CodeLimit where limits are passed. Objects that
// were committed before an error are whole and have the right id: keep them.
func (u *Unpacker) Unpack(r io.Reader, sink Sink) (Stats, error) {
	u.sum.Reset()
	u.tail = tailReader{r: r, sum: u.sum, keep: u.format.Size(), held: u.tail.held[:0]}
	u.in.Reset(&u.tail)
	u.table.reset(u.format)
	stats, err := u.unpack(sink)
	u.out.w = nil
	if u.tail.err != nil && err != nil {
		err = u.tail.err // why the pack ended, rather than that it did
	}
	stats.Bytes = u.tail.read
	return stats, err
}

func (u *Unpacker) unpack(sink Sink) (stats Stats, err error) {
	var head [12]byte
	if _, err := io.ReadFull(u.in, head[:]); err != nil {
		return stats, packEnds(err)
	}
	version, count := binary.BigEndian.Uint32(head[4:]), int64(binary.BigEndian.Uint32(head[8:]))
	if string(head[:4]) != "PACK" || version != 2 && version != 3 {
		return stats, bad("what the host sent is not a Git pack")
	}
	if count > u.limits.Objects {
		return stats, tooMuch("the host sends " + strconv.FormatInt(count, 10) + " objects; " +
			strconv.FormatInt(u.limits.Objects, 10) + " are allowed")
	}
	var total int64
	for range count {
		size, resolved, err := u.entry(sink, u.limits.TotalSize-total)
		if err != nil {
			return stats, err
		}
		stats.Objects++
		total += size
		if !resolved {
			stats.Skipped++
		}
		if u.Progress != nil {
			u.Progress(stats.Objects, count)
		}
	}
	trailer := make([]byte, u.format.Size())
	if _, err := io.ReadFull(u.in, trailer); err != nil {
		return stats, packEnds(err)
	}
	if _, err := u.in.ReadByte(); err == nil {
		return stats, bad("something follows behind the end of the pack")
	} else if err != io.EOF {
		return stats, err
	}
	if !bytes.Equal(u.sum.Sum(nil), trailer) {
		return stats, bad("the pack's checksum is wrong: it was damaged on the way or at the host")
	}
	return stats, nil
}

func packEnds(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return bad("the pack ends early")
	}
	return err
}

// entry reads one object. room is what is left of the total size.
func (u *Unpacker) entry(sink Sink, room int64) (size int64, resolved bool, err error) {
	at := u.tail.read - int64(u.in.Buffered())
	kind, declared, err := u.entryHead()
	if err != nil {
		return 0, false, err
	}
	if err := u.checkSize(declared, room); err != nil {
		return 0, false, err
	}
	var id ID
	depth := 0
	t := Type(kind)
	switch kind {
	case byte(Commit), byte(Tree), byte(Blob), byte(Tag):
		if err := u.inflate(declared); err != nil {
			return 0, false, err
		}
		id, err = u.whole(sink, t, declared)
		u.table.add(at, t, id, depth)
		return declared, !id.IsZero(), err
	case ofsDelta:
		back, err := u.distance()
		if err != nil {
			return 0, false, err
		}
		if back <= 0 || back > at {
			return 0, false, bad("a delta refers to a place outside the pack")
		}
		var ok bool
		if t, id, depth, ok = u.table.find(at - back); !ok {
			return 0, false, bad("a delta refers to a place in the pack where no object begins")
		}
	case refDelta:
		sum := u.ref[:u.format.Size()]
		if _, err := io.ReadFull(u.in, sum); err != nil {
			return 0, false, packEnds(err)
		}
		id = MakeID(u.format, sum)
	default:
		return 0, false, bad("the pack has an entry of type " + strconv.Itoa(int(kind)))
	}
	depth++
	if depth > u.limits.Depth {
		return 0, false, tooMuch("the pack has deltas upon deltas, more than " + strconv.Itoa(u.limits.Depth) + " deep")
	}
	if err := u.inflate(declared); err != nil {
		return 0, false, err
	}
	if kind == ofsDelta && id.IsZero() { // its base was skipped or passed over
		u.table.add(at, 0, ID{}, depth)
		return declared, false, u.infl.discard()
	}
	baseID := id
	base, baseType, err := sink.Base(baseID)
	if errors.Is(err, fs.ErrNotExist) {
		u.table.add(at, 0, ID{}, depth)
		return declared, false, u.infl.discard()
	}
	if err != nil {
		return 0, false, err
	}
	if kind == refDelta {
		t = baseType
	}
	size, id, err = u.delta(sink, t, baseID, base, room)
	if e := base.Close(); err == nil {
		err = e
	}
	u.table.add(at, t, id, depth)
	return size, !id.IsZero(), err
}

func (u *Unpacker) checkSize(size, room int64) error {
	if size > u.limits.ObjectSize {
		return tooMuch("the host sends an object of " + strconv.FormatInt(size, 10) + " bytes; " +
			strconv.FormatInt(u.limits.ObjectSize, 10) + " are allowed")
	}
	if size > room {
		return tooMuch("the host sends more than " + strconv.FormatInt(u.limits.TotalSize, 10) + " bytes of objects")
	}
	return nil
}

// entryHead reads the type and the inflated size of an entry.
func (u *Unpacker) entryHead() (kind byte, size int64, err error) {
	c, err := u.in.ReadByte()
	if err != nil {
		return 0, 0, packEnds(err)
	}
	kind = c >> 4 & 7
	n := uint64(c & 15)
	for shift := 4; c&0x80 != 0; shift += 7 {
		if c, err = u.in.ReadByte(); err != nil {
			return 0, 0, packEnds(err)
		}
		if shift > 60 || shift == 60 && c&0x7f > 1 {
			return 0, 0, tooMuch("the host sends an object of 2^61 bytes or more")
		}
		n |= uint64(c&0x7f) << shift
	}
	return kind, int64(n), nil
}

// distance reads how far back the base of an OFS_DELTA begins.
func (u *Unpacker) distance() (int64, error) {
	c, err := u.in.ReadByte()
	if err != nil {
		return 0, packEnds(err)
	}
	n := int64(c & 0x7f)
	for c&0x80 != 0 {
		if c, err = u.in.ReadByte(); err != nil {
			return 0, packEnds(err)
		}
		if n > 1<<48 {
			return 0, bad("a delta refers to a place outside the pack")
		}
		n = (n+1)<<7 | int64(c&0x7f)
	}
	return n, nil
}

// inflate begins to inflate size bytes into u.infl.
func (u *Unpacker) inflate(size int64) (err error) {
	if u.zlib == nil {
		u.zlib, err = zlib.NewReader(u.in)
	} else {
		err = u.zlib.(zlib.Resetter).Reset(u.in, nil)
	}
	u.infl.reset(u.zlib, size)
	return deflateError(err)
}

// whole reads an object that is not a delta.
func (u *Unpacker) whole(sink Sink, t Type, size int64) (ID, error) {
	w, err := sink.Create(t, size)
	if err != nil {
		return ID{}, err
	}
	if w == nil {
		return ID{}, u.infl.discard()
	}
	u.out.reset(w, u.hasher, t, size)
	for {
		b, err := u.infl.peek(outSize)
		if err == io.EOF {
			break
		}
		if err == nil {
			_, err = u.out.Write(b)
		}
		if err != nil {
			u.out.abort()
			return ID{}, err
		}
		u.infl.advance(len(b))
	}
	return u.out.commit()
}

// delta reads an object that is a delta upon base.
func (u *Unpacker) delta(sink Sink, t Type, baseID ID, base Base, room int64) (int64, ID, error) {
	d, err := readDelta(&u.infl)
	if err != nil {
		return 0, ID{}, err
	}
	if d.baseSize != base.Size() {
		return 0, ID{}, bad("a delta upon " + baseID.String() + " is for a base of another size")
	}
	if err := u.checkSize(d.size, room); err != nil {
		return 0, ID{}, err
	}
	w, err := sink.Create(t, d.size)
	if err != nil {
		return 0, ID{}, err
	}
	if w == nil {
		return 0, ID{}, u.infl.discard()
	}
	u.out.reset(w, u.hasher, t, d.size)
	u.base.reset(base)
	if err := applyDelta(d, &u.infl, &u.base, &u.out); err != nil {
		u.out.abort()
		return 0, ID{}, err
	}
	id, err := u.out.commit()
	return d.size, id, err
}
