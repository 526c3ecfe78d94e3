package delta

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/godwit-ota/godwit/delta/model"
)

// ErrCheckpoint says that something is no checkpoint, or that of another version
// of the format, or damaged. Begin the patch anew.
var ErrCheckpoint = errors.New("this is no checkpoint of a patch")

const checkpointVersion = 1

var checkpointMagic = [2]byte{0xD9, 'C'}

// shaState is how long the state of a SHA-256 is, as crypto/sha256 writes it.
const shaState = 108

// Checkpoint appends to b what Resume needs to go on from here: everything that
// the decoder knows, with a checksum over it. It is a little longer than the
// memory of the tier in modelled patches, and less than 300 bytes in others. It
// can be taken between calls of Decode.
func (d *Decoder) Checkpoint(b []byte) []byte {
	start := len(b)
	b = append(b, checkpointMagic[0], checkpointMagic[1], checkpointVersion, 0)
	at := len(b)
	b = d.h.Append(b)
	b[at-1] = byte(len(b) - at) // at most maxHeader
	b = binary.LittleEndian.AppendUint64(b, uint64(d.at))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.consumed()))
	b, _ = d.sum.(encoding.BinaryAppender).AppendBinary(b) // which never fails
	if d.h.Method == Modelled {
		b = d.walk.Save(b)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// consumed is how many bytes of the patch were decoded.
func (d *Decoder) consumed() int64 {
	n := int64(len(d.h.Append(nil)))
	switch d.h.Method {
	case Stored:
		n += d.at
	case Modelled:
		n += d.walk.Used()
	}
	return n
}

// CheckpointPosition says how many bytes of the new content were written and how
// many of the patch consumed when the checkpoint was taken. The error is
// ErrCheckpoint.
func CheckpointPosition(b []byte) (written, consumed int64, err error) {
	_, written, consumed, _, err = openCheckpoint(b)
	return written, consumed, err
}

// openCheckpoint checks a checkpoint; state is that of the sum and of the model.
func openCheckpoint(b []byte) (h Header, written, consumed int64, state []byte, err error) {
	fail := func() (Header, int64, int64, []byte, error) { return Header{}, 0, 0, nil, ErrCheckpoint }
	if len(b) < 8 || b[0] != checkpointMagic[0] || b[1] != checkpointMagic[1] || b[2] != checkpointVersion ||
		crc32.ChecksumIEEE(b[:len(b)-4]) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return fail()
	}
	head := int(b[3])
	b = b[4 : len(b)-4]
	if len(b) < head+16+shaState {
		return fail()
	}
	r := window{b[:head]}
	h, err = ReadHeader(&r)
	if err != nil || len(r.b) > 0 {
		return fail()
	}
	written = int64(binary.LittleEndian.Uint64(b[head:]))
	consumed = int64(binary.LittleEndian.Uint64(b[head+8:]))
	if h.Method != Modelled && len(b) != head+16+shaState || written < 0 || written > h.NewSize || consumed < int64(head) {
		return fail()
	}
	return h, written, consumed, b[head+16:], nil
}

// window reads from memory.
type window struct{ b []byte }

func (w *window) Read(p []byte) (int, error) {
	if len(w.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.b)
	w.b = w.b[n:]
	return n, nil
}

// Resume goes on from a checkpoint. The caller has to bring everything to where
// it was, see CheckpointPosition: patch is read from the first byte that was not
// consumed, and out has what was written by then and no more. The old content is
// not checked again, for some of it may be gone; nor is what was written. The sum
// of the new content is, at the end, over what was written before and after.
// Errors are ErrCheckpoint, ErrMemory and ErrWrongOld, the latter only by oldSize.
func Resume(mem, checkpoint []byte, patch io.Reader, old io.ReaderAt, oldSize int64, out Output) (*Decoder, error) {
	h, written, consumed, state, err := openCheckpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	if len(mem) < h.Tier.Buffer() {
		return nil, ErrMemory
	}
	if oldSize != h.OldSize {
		return nil, ErrWrongOld
	}
	d := &Decoder{h: h, patch: patch, old: old, out: out, mem: mem[:h.Tier.Buffer()], at: written, sum: sha256.New()}
	if sum, ok := d.sum.(encoding.BinaryUnmarshaler); !ok || sum.UnmarshalBinary(state[:shaState]) != nil {
		return nil, ErrCheckpoint
	}
	d.begin()
	if h.Method == Modelled {
		if err := d.walk.Load(state[shaState:]); err == model.ErrState {
			return nil, ErrCheckpoint
		} else if err != nil {
			return nil, err
		}
		if d.walk.At() != written {
			return nil, ErrCheckpoint
		}
	}
	if d.consumed() != consumed {
		return nil, ErrCheckpoint
	}
	return d, nil
}
