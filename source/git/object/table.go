package object

import (
	"encoding/binary"
	"sort"
)

// table remembers which object began at which offset of a pack, for deltas that
// name their base by its place: 31 bytes an object (43 with SHA-256), in blocks
// so that it never has to be copied to grow.
type table struct {
	idSize int
	blocks [][]byte
	n      int
}

const (
	tableBlock = 512   // entries
	tableHead  = 8 + 3 // offset, type, depth
)

func (t *table) entrySize() int { return tableHead + t.idSize }

func (t *table) reset(f Format) {
	if t.idSize != f.Size() {
		t.blocks = nil
	}
	t.idSize, t.n = f.Size(), 0
}

func (t *table) entry(i int) []byte {
	size := t.entrySize()
	return t.blocks[i/tableBlock][i%tableBlock*size:][:size]
}

// add remembers an object. Offsets must ascend. The zero ID is a skipped object.
func (t *table) add(offset int64, kind Type, id ID, depth int) {
	if t.n == len(t.blocks)*tableBlock {
		t.blocks = append(t.blocks, make([]byte, tableBlock*t.entrySize()))
	}
	e := t.entry(t.n)
	t.n++
	binary.BigEndian.PutUint64(e, uint64(offset))
	e[8] = byte(kind)
	binary.BigEndian.PutUint16(e[9:], uint16(depth))
	copy(e[tableHead:], id.sum[:t.idSize])
}

// find returns the object that began at offset; id is zero if it was skipped.
func (t *table) find(offset int64) (kind Type, id ID, depth int, ok bool) {
	i := sort.Search(t.n, func(i int) bool { return int64(binary.BigEndian.Uint64(t.entry(i))) >= offset })
	if i == t.n {
		return 0, ID{}, 0, false
	}
	e := t.entry(i)
	if int64(binary.BigEndian.Uint64(e)) != offset {
		return 0, ID{}, 0, false
	}
	kind, depth = Type(e[8]), int(binary.BigEndian.Uint16(e[9:]))
	if kind != 0 {
		f := SHA1
		if t.idSize == SHA256.Size() {
			f = SHA256
		}
		id = MakeID(f, e[tableHead:])
	}
	return kind, id, depth, true
}
