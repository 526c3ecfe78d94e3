package wire

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A squeezer writes gzip (RFC 1952) of pkt-lines that are mostly object ids:
// one deflate block (RFC 1951) with codes made for that. Hexadecimal digits take
// four or five bits, and what a line shares with the one before, its newline,
// length and "have ", is one reference of ten bits. So a "have" shrinks from 50
// bytes to 22. A general compressor gets 29 without looking for repetitions,
// which are not there, and costs 50 kB of program and half a megabyte of memory.
//
// Each Write must be one whole line, and all lines that resemble each other of
// the same length, which is given beforehand.
type squeezer struct {
	w    io.Writer
	err  error
	line int // length of a "have" line

	acc   uint64 // bits that are not written yet, the first one lowest
	nbits uint
	buf   []byte

	last   []byte // the line before, whose newline is still to be written
	before byte   // what came before that line
	crc    uint32
	size   uint32
	codes  [literals]uint16 // with the bits in the order of writing
	length [literals]uint8
}

const (
	literals   = 273 // bytes, the end of the block, and lengths up to a code of no use
	endOfBlock = 256
	sharedCode = 264 // a reference of 10 bytes
	shared     = 10  // "\n0032have "
)

// lengthOf gives the bits of each code. They fill the code space exactly, as
// decoders demand: 14/2^4 + 2/2^5 + 1/2^5 + 256/2^13 = 1.
func lengthOf(symbol int) uint8 {
	switch {
	case '0' <= symbol && symbol <= '9', 'a' <= symbol && symbol <= 'd':
		return 4
	case symbol == 'e', symbol == 'f', symbol == sharedCode:
		return 5
	}
	return 13
}

func newSqueezer(w io.Writer, idLen int) *squeezer {
	s := &squeezer{w: w, line: shared + idLen}
	for i := range s.length {
		s.length[i] = lengthOf(i)
	}
	assign(s.length[:], s.codes[:])
	// No name, no time, an unknown system.
	s.buf = append(s.buf, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
	s.header()
	return s
}

// assign gives each symbol its code (RFC 1951, 3.2.2), with the first bit lowest.
func assign(lengths []uint8, codes []uint16) {
	var count, next [16]uint16
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	for i, n := range lengths {
		if n == 0 {
			continue
		}
		for bit := range n {
			if next[n]&(1<<bit) != 0 {
				codes[i] |= 1 << (n - 1 - bit)
			}
		}
		next[n]++
	}
}

// distance gives the code of the distance to the line before, one line long,
// its extra bits and how many those are.
func (s *squeezer) distance() (code int, extra uint64, n uint) {
	if s.line < 65 {
		return 11, uint64(s.line - 49), 4 // 49 to 64
	}
	return 12, uint64(s.line - 65), 5 // 65 to 96
}

// header writes the head of the one block: the lengths of all codes, themselves
// in codes.
func (s *squeezer) header() {
	// Lengths of the codes for lengths, in the order that the format has.
	order := [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1}
	lengths := [19]uint8{13: 1, 4: 2, 0: 3, 5: 4, 1: 4}
	var codes [19]uint16
	assign(lengths[:], codes[:])
	distance, _, _ := s.distance()

	s.bits(1, 1) // the last block
	s.bits(2, 2) // with codes of its own
	s.bits(literals-257, 5)
	s.bits(uint64(distance), 5)
	s.bits(uint64(len(order)-4), 4)
	for _, symbol := range order {
		s.bits(uint64(lengths[symbol]), 3)
	}
	put := func(n uint8) { s.bits(uint64(codes[n]), uint(lengths[n])) }
	for _, n := range s.length {
		put(n)
	}
	for range distance {
		put(0)
	}
	put(1)
}

func (s *squeezer) bits(b uint64, n uint) {
	s.acc |= b << s.nbits
	for s.nbits += n; s.nbits >= 8; s.nbits -= 8 {
		s.buf = append(s.buf, byte(s.acc))
		s.acc >>= 8
	}
}

func (s *squeezer) symbol(i int) { s.bits(uint64(s.codes[i]), uint(s.length[i])) }

// Write takes one line.
func (s *squeezer) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.crc = crc32.Update(s.crc, crc32.IEEETable, b)
	s.size += uint32(len(b))
	text := b
	if n := len(s.last); n == s.line && n == len(b) && s.before == '\n' && s.last[n-1] == '\n' &&
		string(s.last[:shared-1]) == string(b[:shared-1]) {
		// Newline and beginning are those of one line ago.
		s.symbol(sharedCode)
		_, extra, n := s.distance()
		s.bits(0, 1) // the only code for distances
		s.bits(extra, n)
		text = b[shared-1:]
	} else if n > 0 {
		s.symbol(int(s.last[n-1]))
	}
	if n := len(s.last); n > 0 {
		s.before = s.last[n-1]
	}
	s.last = append(s.last[:0], b...)
	if len(text) > 0 {
		for _, c := range text[:len(text)-1] {
			s.symbol(int(c))
		}
	}
	s.flush(4 << 10)
	return len(b), s.err
}

// flush passes on what has been gathered, if it is at least n bytes.
func (s *squeezer) flush(n int) {
	if len(s.buf) >= n && s.err == nil {
		_, s.err = s.w.Write(s.buf)
		s.buf = s.buf[:0]
	}
}

// Close ends the block and the gzip member.
func (s *squeezer) Close() error {
	if n := len(s.last); n > 0 {
		s.symbol(int(s.last[n-1]))
	}
	s.symbol(endOfBlock)
	s.bits(0, 7) // to a whole byte
	s.buf = binary.LittleEndian.AppendUint32(s.buf, s.crc)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, s.size)
	s.flush(0)
	return s.err
}

// squeezed writes what write writes, as gzip.
func squeezed(w io.Writer, idLen int, write func(io.Writer) error) error {
	s := newSqueezer(w, idLen)
	if err := write(s); err != nil {
		return err
	}
	return s.Close()
}
