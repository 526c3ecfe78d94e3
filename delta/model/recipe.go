package model

import (
	"errors"

	"github.com/godwit-ota/godwit/delta/address"
)

// MaxRanges is how many ranges a recipe may have.
const MaxRanges = 12

// A Range is a part of the old content in which addresses are looked for. It
// begins where the one before it ends.
type Range struct {
	End   uint32      // where it ends, in the old content
	ISA   address.ISA // of its code
	Words bool        // it has aligned 32-bit addresses, distances or offsets
	Big   bool        // the most significant byte is first
	Old   uint32      // address of what is in it less where that is
	New   uint32      // the same for the new content
}

// A Span is a part of the address space.
type Span struct{ Lo, Size uint32 }

// A Recipe is what the encoder found out about the old content. The empty one is
// for contents without code.
type Recipe struct {
	N      int
	Ranges [MaxRanges]Range
	// Extra is how many bytes addresses may point behind those of the ranges.
	Extra uint32
	// Other is another part of the address space that addresses point into: a
	// microcontroller's memory.
	Other Span
}

// Add appends a range, unless there is no room.
func (r *Recipe) Add(g Range) bool {
	if r.N == MaxRanges {
		return false
	}
	r.Ranges[r.N] = g
	r.N++
	return true
}

// spans is where addresses point: from the lowest address of a range to the
// highest, and the other one.
func (r *Recipe) spans() [2]Span {
	lo, hi := ^uint32(0), uint32(0)
	from := uint32(0)
	for i := range r.N {
		g := &r.Ranges[i]
		if g.ISA != address.None || g.Words {
			lo = min(lo, from+g.Old)
			hi = max(hi, g.End+g.Old)
		}
		from = g.End
	}
	if hi <= lo {
		return [2]Span{}
	}
	return [2]Span{{lo, hi - lo + r.Extra}, r.Other}
}

const (
	hasWords = 1 << (iota + 4)
	hasBig
	hasOld
	hasNew
)

// Append adds r in its coded form to b: the number of ranges; of each a byte with
// the instruction set and what else follows, its length, and where asked for the
// change of Old from the range before and that of New from Old; then Extra and
// Other, in pages.
func (r *Recipe) Append(b []byte) []byte {
	b = append(b, byte(r.N))
	if r.N == 0 {
		return b
	}
	end, old := uint32(0), uint32(0)
	for i := range r.N {
		g := &r.Ranges[i]
		flags := byte(g.ISA)
		if g.Words {
			flags |= hasWords
		}
		if g.Big {
			flags |= hasBig
		}
		if g.Old != old {
			flags |= hasOld
		}
		if g.New != g.Old {
			flags |= hasNew
		}
		b = append(b, flags)
		b = appendNumber(b, uint64(g.End-end))
		if g.Old != old {
			b = appendSigned(b, g.Old-old)
		}
		if g.New != g.Old {
			b = appendSigned(b, g.New-g.Old)
		}
		end, old = g.End, g.Old
	}
	b = appendNumber(b, uint64(r.Extra))
	b = appendNumber(b, uint64(r.Other.Size>>12))
	if r.Other.Size>>12 != 0 {
		b = appendNumber(b, uint64(r.Other.Lo>>12))
	}
	return b
}

// appendSigned appends v, which is small in two's complement and often a multiple
// of a power of two.
func appendSigned(b []byte, v uint32) []byte {
	zig := uint64(v<<1 ^ uint32(int32(v)>>31))
	k := uint64(0)
	for k < 3 && zig>>1 != 0 && v&(1<<(4*k+4)-1) == 0 {
		k++
	}
	zig = uint64(uint32(int32(v)>>(4*k))<<1 ^ uint32(int32(v)>>31))
	return appendNumber(b, zig<<2|k)
}

var errRecipe = errors.New("model: no recipe")

// Read takes a recipe from the beginning of b and gives what follows.
func (r *Recipe) Read(b []byte) ([]byte, error) {
	*r = Recipe{}
	bad := false
	number := func() uint32 {
		v, n := readNumber(b)
		if n == 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return uint32(v)
	}
	signed := func() uint32 {
		v, n := readNumber(b)
		if n == 0 {
			bad = true
			return 0
		}
		b = b[n:]
		zig := uint32(v >> 2)
		return (zig>>1 ^ -(zig & 1)) << (4 * (v & 3))
	}
	if len(b) == 0 || b[0] > MaxRanges {
		return nil, errRecipe
	}
	n := int(b[0])
	b = b[1:]
	if n == 0 {
		return b, nil
	}
	end, old := uint32(0), uint32(0)
	for range n {
		if len(b) == 0 {
			return nil, errRecipe
		}
		flags := b[0]
		b = b[1:]
		g := Range{ISA: address.ISA(flags & 15), Words: flags&hasWords != 0, Big: flags&hasBig != 0}
		length := number()
		if g.ISA >= address.ISAs || length == 0 || end+length < end {
			return nil, errRecipe
		}
		g.End = end + length
		if flags&hasOld != 0 {
			old += signed()
		}
		g.Old = old
		g.New = old
		if flags&hasNew != 0 {
			g.New += signed()
		}
		end = g.End
		r.Add(g)
	}
	r.Extra = number()
	r.Other.Size = number() << 12
	if r.Other.Size != 0 {
		r.Other.Lo = number() << 12
	}
	if bad {
		return nil, errRecipe
	}
	return b, nil
}

// appendNumber appends v, seven bits a byte, the lowest first.
func appendNumber(b []byte, v uint64) []byte {
	for v >= 128 {
		b = append(b, byte(v)|128)
		v >>= 7
	}
	return append(b, byte(v))
}

// readNumber is the number that b begins with, and its length, which is 0 if
// there is none or it is too large.
func readNumber(b []byte) (v uint64, n int) {
	for i := 0; i < len(b) && i < 5; i++ {
		v |= uint64(b[i]&127) << (7 * i)
		if b[i] < 128 {
			return v, i + 1
		}
	}
	return 0, 0
}
