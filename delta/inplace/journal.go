package inplace

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"path"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/vfs"
)

// The phases, with the numbers that journals have.
const (
	reserving = 1 // the file grows; the old content is where it was
	moving    = 2 // the old content is moved up
	writing   = 3 // blocks of the new content are written
	done      = 4 // all blocks are written
)

// A record is what a journal says.
type record struct {
	seq              uint64
	phase            byte
	patch            [sha256.Size]byte
	new              godwit.Digest
	oldSize, newSize int64
	oldSum           delta.Sum
	moved            int64 // moving: from here on the old content was moved
	// kept is, while writing, the checkpoint of the decoder. While reserving, and
	// when done, it is the last bytes of the old content, or of the new, that do not
	// fill a grain: when the length of the file changes behind them, their sector is
	// written again, and a cut may tear it.
	kept []byte
}

// oldGone reports whether the old content is no longer what it was.
func (r *record) oldGone() bool { return r.phase > reserving }

// A journal is a file of two slots, each of a multiple of Grain bytes, that are
// written in turn. The whole one with the higher number counts. The file keeps its
// size, so that all that has to become durable is the slot. Format: docs/formats.md.
type journal struct {
	f    vfs.File
	slot int64
}

var journalMagic = [3]byte{0xD9, 'J', 1}

const (
	recordHead = 120 // bytes before what is kept
	recordSum  = sha256.Size
	maxSlot    = 1 << 30
)

// slotSize is how long a slot is for records that keep n bytes.
func slotSize(n int) int64 {
	return (recordHead + int64(n) + recordSum + Grain - 1) / Grain * Grain
}

func (r *record) append(b []byte, slot int64) []byte {
	start := len(b)
	b = append(b, journalMagic[:]...)
	b = append(b, r.phase)
	b = binary.LittleEndian.AppendUint32(b, uint32(slot))
	for _, v := range []uint64{r.seq, uint64(r.oldSize), uint64(r.newSize), uint64(r.moved)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(append(b, r.oldSum[:]...), 0, 0, 0, 0)
	b = append(b, r.patch[:]...)
	var sum [sha256.Size]byte
	copy(sum[:], r.new.Sum())
	b = append(b, sum[:]...)
	b = append(b, byte(r.new.Algorithm), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.kept)))
	if len(r.kept) > 0 && &b[:len(b)+1][len(b)] == &r.kept[0] {
		b = b[:len(b)+len(r.kept)] // it was made where it belongs
	} else {
		b = append(b, r.kept...)
	}
	all := sha256.Sum256(b[start:])
	return append(b, all[:]...)
}

// parseRecord reads what append wrote; nil for anything else. What is kept is
// part of b.
func parseRecord(b []byte, slot int64) *record {
	if len(b) < recordHead+recordSum || [3]byte(b[:3]) != journalMagic || int64(binary.LittleEndian.Uint32(b[4:])) != slot {
		return nil
	}
	n := int64(binary.LittleEndian.Uint32(b[recordHead-4:]))
	if n > int64(len(b))-recordHead-recordSum {
		return nil
	}
	end := recordHead + int(n)
	if sha256.Sum256(b[:end]) != [sha256.Size]byte(b[end:end+recordSum]) {
		return nil
	}
	number := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	r := &record{phase: b[3], seq: uint64(number(8)), oldSize: number(16), newSize: number(24), moved: number(32), oldSum: delta.Sum(b[40:44]), patch: [sha256.Size]byte(b[48:80]), kept: b[recordHead:end]}
	a := godwit.Algorithm(b[112])
	if a.Size() == 0 || r.phase < reserving || r.phase > done || r.oldSize < 0 || r.newSize < 0 || r.moved < 0 || r.moved > r.oldSize {
		return nil
	}
	r.new = godwit.MakeDigest(a, b[80:80+a.Size()])
	return r
}

// openJournal gives the journal, nil if there is none, and the record that counts
// in it, nil if none is whole. What it keeps is in buf if there is room.
func openJournal(fsys vfs.FS, name string, buf []byte) (*journal, *record, error) {
	info, err := fsys.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := fsys.Open(name, vfs.Write)
	if err != nil {
		return nil, nil, err
	}
	j := &journal{f: f, slot: info.Size / 2}
	if info.Size%(2*Grain) != 0 || j.slot == 0 || j.slot > maxSlot {
		return j, nil, nil
	}
	rec, err := j.last(buf)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, rec, nil
}

// last gives the record that counts, nil if none is whole.
func (j *journal) last(buf []byte) (*record, error) {
	var head [2][recordHead]byte
	var seq [2]uint64
	for i := range head {
		if err := readFull(j.f, head[i][:], int64(i)*j.slot); err != nil {
			return nil, err
		}
		seq[i] = binary.LittleEndian.Uint64(head[i][8:])
	}
	i := 0
	if seq[1] > seq[0] {
		i = 1
	}
	for range head {
		n := int64(binary.LittleEndian.Uint32(head[i][recordHead-4:])) + recordHead + recordSum
		if n <= j.slot && [3]byte(head[i][:3]) == journalMagic {
			if int64(len(buf)) < n {
				buf = make([]byte, n)
			}
			if err := readFull(j.f, buf[:n], int64(i)*j.slot); err != nil {
				return nil, err
			}
			if r := parseRecord(buf[:n], j.slot); r != nil {
				return r, nil
			}
		}
		i = 1 - i
	}
	return nil, nil
}

// createJournal makes a journal that holds one record, durably.
func createJournal(fsys vfs.FS, name string, slot int64, first *record, buf []byte) (*journal, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsys.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, slot: slot}
	if err = fill(f, 0, 2*slot, buf); err == nil {
		if err = j.put(first, buf); err == nil {
			err = fsys.SyncDir(path.Dir(name))
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// fill writes zeros, so that the room is there: a hole would take it only later.
func fill(f vfs.File, from, to int64, buf []byte) error {
	clear(buf)
	for from < to {
		n, err := f.WriteAt(buf[:min(int64(len(buf)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// put makes a record the one that counts, durably.
func (j *journal) put(r *record, buf []byte) error {
	r.seq++
	b := r.append(buf[:0], j.slot)
	if int64(len(b)) > j.slot {
		return delta.ErrCheckpoint
	}
	if _, err := j.f.WriteAt(b, int64(r.seq%2)*j.slot); err != nil {
		return err
	}
	return j.f.Sync()
}

func removeJournal(fsys vfs.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}
