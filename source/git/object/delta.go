package object

import (
	"io"
	"strconv"
)

// A Base is the content that a delta refers to.
type Base interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// windowSize is how much of a base is held in memory. Bases up to this size are
// read once.
const windowSize = 64 << 10

// window gives parts of a base.
type window struct {
	base  io.ReaderAt
	size  int64
	buf   []byte
	start int64 // of buf[:n] in base
	n     int
}

func (w *window) reset(base Base) { w.base, w.size, w.n = base, base.Size(), 0 }

// at returns up to n bytes of the base at offset off, at least one. The caller
// made sure that they are inside. The slice is valid until the next call.
func (w *window) at(off, n int64) ([]byte, error) {
	if off < w.start || off >= w.start+int64(w.n) {
		if w.buf == nil {
			w.buf = make([]byte, windowSize)
		}
		want := min(w.size-off, windowSize)
		w.start, w.n = off, 0
		got, err := w.base.ReadAt(w.buf[:want], off)
		if int64(got) < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		w.n = got
	}
	b := w.buf[off-w.start : w.n]
	return b[:min(int64(len(b)), n)], nil
}

// byteSource is a stream of bytes with its own buffer; of a delta, the inflated
// instructions.
type byteSource interface {
	ReadByte() (byte, error)      // io.EOF at the end
	peek(max int) ([]byte, error) // at least one byte, at most max; io.EOF at the end
	advance(n int)                // behind what peek gave
}

// delta is a parsed head of a delta.
type delta struct{ baseSize, size int64 }

// readDelta reads the head: the sizes of base and result.
func readDelta(in byteSource) (d delta, err error) {
	if d.baseSize, err = deltaSize(in); err == nil {
		d.size, err = deltaSize(in)
	}
	return d, err
}

func deltaSize(in byteSource) (int64, error) {
	var n uint64
	for shift := 0; ; shift += 7 {
		c, err := in.ReadByte()
		if err != nil {
			return 0, endsEarly(err)
		}
		if shift > 56 {
			return 0, bad("a delta names a size of more than 63 bits")
		}
		n |= uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			return int64(n), nil
		}
	}
}

func endsEarly(err error) error {
	if err == io.EOF {
		return bad("a delta ends in the middle of an instruction")
	}
	return err
}

// applyDelta writes the result of d, whose instructions follow in in, to out.
// It reads in to its end. See gitformat-pack, "Deltified representation".
func applyDelta(d delta, in byteSource, base *window, out io.Writer) error {
	left := d.size
	for {
		op, err := in.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch {
		case op == 0:
			return bad("a delta has an instruction that is not defined")
		case op < 0x80:
			if int64(op) > left {
				return bad("a delta makes more than it says")
			}
			left -= int64(op)
			for n := int(op); n > 0; {
				b, err := in.peek(n)
				if err != nil {
					return endsEarly(err)
				}
				if _, err := out.Write(b); err != nil {
					return err
				}
				n -= len(b)
				in.advance(len(b))
			}
		default:
			var off, n int64
			for i := range 7 {
				if op&(1<<i) == 0 {
					continue
				}
				c, err := in.ReadByte()
				if err != nil {
					return endsEarly(err)
				}
				if i < 4 {
					off |= int64(c) << (8 * i)
				} else {
					n |= int64(c) << (8 * (i - 4))
				}
			}
			if n == 0 {
				n = 0x10000
			}
			if n > left {
				return bad("a delta makes more than it says")
			}
			if off > base.size || n > base.size-off {
				return bad("a delta copies from behind the end of its base")
			}
			left -= n
			for n > 0 {
				b, err := base.at(off, n)
				if err != nil {
					return err
				}
				if _, err := out.Write(b); err != nil {
					return err
				}
				off, n = off+int64(len(b)), n-int64(len(b))
			}
		}
	}
	if left > 0 {
		return bad("a delta makes " + strconv.FormatInt(left, 10) + " bytes less than it says")
	}
	return nil
}
