// Package otadelta applies patches in the form of the MicroPython updater
// 0x687931/ota, which projects that come from it may have in their repositories.
// It only reads them: what Godwit makes is package delta's. Where they lie and
// when they are tried is the source's business; docs/reference-patches.md has
// the format.
//
// Such a patch does not say which contents it joins, nor has it a sum of
// anything. So a result means nothing until it was held against the digest that
// the release gives the file.
//
// Invariant: whatever the bytes of a patch, nothing outside the old content is
// read, no more than the size of the new one is written, and Apply ends.
package otadelta

import (
	"errors"
	"io"
)

// What can be wrong with a patch, beside errors of its readers and writers. One
// that ends too early gives io.ErrUnexpectedEOF.
var (
	ErrNoPatch = errors.New("this is no patch of the reference updater, or of a version that is not known")
	ErrDamaged = errors.New("the patch is damaged, or was made for another file")
)

// Memory is the least size of the buffer that Apply works in, in bytes.
const Memory = 2 * ahead

// ahead is how much of a patch is read at once, in bytes, as the reference does
// it.
const ahead = 64

const (
	magic   = "OTADELTA"
	version = 1
)

// The instructions.
const (
	opCopy   = 0x01 // varint offset, varint length: these bytes of the old content
	opInsert = 0x02 // varint length, then as many bytes: these
	opEnd    = 0xFF
)

// maxVarint is the most bytes that a number may take.
const maxVarint = 5

// Apply writes to out what patch makes of old, size bytes, or fails. buf is all
// the memory it takes, at least Memory bytes. What it wrote before it fails is
// worth nothing.
//
// The reference applies no copy of more than 4096 bytes at once, although it
// makes such. Here they are taken.
func Apply(buf []byte, patch io.Reader, old io.ReaderAt, oldSize int64, out io.Writer, size int64) error {
	p := reader{r: patch, buf: buf[:ahead]}
	buf = buf[ahead:]
	var head [len(magic) + 1]byte
	for i := range head {
		b, err := p.byte()
		if err != nil {
			return err
		}
		head[i] = b
	}
	if string(head[:len(magic)]) != magic || head[len(magic)] != version {
		return ErrNoPatch
	}
	for left := size; ; {
		op, err := p.byte()
		if err != nil {
			return err
		}
		var from, n int64
		switch op {
		case opEnd:
			if left > 0 {
				return ErrDamaged
			}
			return nil
		case opCopy:
			if from, err = p.number(); err != nil {
				return err
			}
		case opInsert:
		default:
			return ErrDamaged
		}
		if n, err = p.number(); err != nil {
			return err
		}
		// An instruction that writes nothing would let a patch go on for ever.
		if n == 0 || n > left || op == opCopy && (from > oldSize || n > oldSize-from) {
			return ErrDamaged
		}
		left -= n
		for n > 0 {
			part := buf[:min(int64(len(buf)), n)]
			if op == opCopy {
				var got int
				if got, err = old.ReadAt(part, from); got == len(part) {
					err = nil
				} else if err == io.EOF {
					err = ErrDamaged // shorter than it was said to be
				}
				from += int64(len(part))
			} else {
				err = p.bytes(part)
			}
			if err == nil {
				_, err = out.Write(part)
			}
			if err != nil {
				return err
			}
			n -= int64(len(part))
		}
	}
}

// A reader reads a patch, a buffer at a time.
type reader struct {
	r       io.Reader
	buf     []byte
	at, end int // what is left of buf
}

// fill sees to it that there is a byte.
func (p *reader) fill() error {
	if p.at < p.end {
		return nil
	}
	n, err := io.ReadAtLeast(p.r, p.buf, 1)
	if p.at, p.end = 0, n; err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (p *reader) byte() (byte, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	p.at++
	return p.buf[p.at-1], nil
}

func (p *reader) bytes(to []byte) error {
	for len(to) > 0 {
		if err := p.fill(); err != nil {
			return err
		}
		n := copy(to, p.buf[p.at:p.end])
		p.at += n
		to = to[n:]
	}
	return nil
}

// number reads seven bits a byte, the lowest first.
func (p *reader) number() (v int64, err error) {
	for i := range maxVarint {
		b, err := p.byte()
		if err != nil {
			return 0, err
		}
		v |= int64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, ErrDamaged
}
