package diff

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/model"
)

// A Guess is what contents may be: texts, or programs with addresses in them.
type Guess struct {
	Code   bool
	Recipe model.Recipe
}

// Guesses gives what to try for contents, the most promising first.
func Guesses(old, new []byte) []Guess {
	if len(old) < 512 || int64(len(old)) > 1<<31 || isText(old) {
		return []Guess{{}}
	}
	var a sections
	if a.parse(old) {
		var b sections
		b.parse(new)
		return []Guess{{true, a.recipe(&b, old)}, {Code: true}}
	}
	if r, ok := wasm(old, new); ok {
		return []Guess{{true, r}, {Code: true}}
	}
	if r, ok := guess(old); ok {
		return []Guess{{true, r}, {Code: true}, {}}
	}
	return []Guess{{Code: true}, {}}
}

// isText tells whether b has no zeros where it is looked at.
func isText(b []byte) bool {
	for i := 0; i < 64; i++ {
		at := len(b) / 64 * i
		if bytes.IndexByte(b[at:min(at+64, len(b))], 0) >= 0 {
			return false
		}
	}
	return true
}

// recipe says what the ranges of an ELF file are, and where they went in t, which
// is zero if the new content is none.
func (s *sections) recipe(t *sections, old []byte) model.Recipe {
	var r model.Recipe
	size := uint64(len(old))
	top, last := uint64(0), uint64(0)
	var g model.Range // being gathered
	flush := func() {
		if g.End != 0 && r.N < model.MaxRanges {
			r.Add(g)
		}
	}
	for i := range s.list {
		c := &s.list[i]
		if c.alloc() && c.flags&flagTLS == 0 && !s.object {
			top = max(top, c.addr+c.size)
		}
		if c.kind == noBits || c.kind == noSection || c.size == 0 || c.offset > size || c.size > size-c.offset {
			continue
		}
		n := model.Range{Big: s.big, Words: true}
		if c.alloc() && !s.object {
			n.Old = uint32(c.addr - c.offset)
			n.New = n.Old
			for j := range t.list {
				if d := &t.list[j]; d.kind == c.kind && d.name == c.name {
					n.New = uint32(d.addr - d.offset)
					break
				}
			}
		} else if !c.alloc() && c.kind != symTable && c.kind != relocsFull && c.kind != relocs && c.name != ".BTF" {
			continue
		}
		if c.flags&flagExec != 0 {
			n.ISA = s.isa
			if s.isa == address.ARM && !isARM(old[c.offset:c.offset+c.size]) {
				n.ISA = address.Thumb
			}
			n.Words = s.isa == address.ARM || s.isa == address.Xtensa
		}
		if c.offset < uint64(g.End) {
			continue
		}
		n.End = uint32(c.offset + c.size)
		like := g
		like.End = n.End
		switch {
		case g.End != 0 && like == n && c.offset-uint64(g.End) < 4096:
			g.End = n.End // one range
		case g.End != 0 && g.Old == n.Old && c.size < 64:
			// Too small to be told.
		default:
			if gap := c.offset - uint64(g.End); gap > 4096 {
				flush()
				g = model.Range{Old: g.Old, New: g.Old}
			}
			if g.End != 0 || c.offset > 4096 {
				g.End = uint32(c.offset)
				flush()
			}
			g = n
		}
		if c.alloc() && !s.object {
			last = max(last, c.addr+c.size)
		}
	}
	flush()
	if top > last {
		r.Extra = uint32(top - last)
	}
	return r
}

// isARM tells A32 from T32: most instructions of the former have the condition
// "always".
func isARM(c []byte) bool {
	n := 0
	for i := 3; i < len(c); i += 4 {
		if c[i]>>4 == 14 {
			n++
		}
	}
	return n*8 > len(c)
}

// guess finds the instruction set and the addresses of an image that does not
// tell.
func guess(old []byte) (model.Recipe, bool) {
	isa, big := guessISA(old)
	base, found := guessBase(old, big)
	if isa == address.None && !found {
		return model.Recipe{}, false
	}
	var r model.Recipe
	r.Add(model.Range{End: uint32(len(old)), ISA: isa, Words: true, Big: big, Old: base, New: base})
	if isa == address.Thumb {
		r.Other = model.Span{Lo: 0x20000000, Size: 1 << 18}
	}
	return r, true
}

func word32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// guessISA finds the instruction set by which the calls in the image often lead
// to the same place.
func guessISA(old []byte) (isa address.ISA, big bool) {
	const sample = 1 << 18
	from := max(0, len(old)/2-sample)
	b := old[from:min(len(old), from+2*sample)]
	most := len(b) / 400
	seen := make([]uint16, 1<<16)
	for s := address.ARM; s <= address.PowerPC; s++ {
		for be := range 2 {
			if be == 1 && s != address.MIPS && s != address.PowerPC || s == address.X86 {
				continue
			}
			clear(seen)
			again, top := 0, uint16(0)
			for i := 4; i+4 <= len(b); i += int(s.Step()) {
				v, pc := word32(b[i:]), uint32(from+i)
				if be == 1 {
					v = bits.ReverseBytes32(v)
				}
				f := address.Rel32
				if s == address.AMD64 {
					if b[i-1] != 0xe8 {
						continue
					}
				} else if f = address.Classify(s, v); !isCall(f) {
					continue
				}
				t := address.Target(f, v, pc)
				if t-pc+64 < 128 || f != address.MIPSJump && t >= uint32(len(old)) {
					continue
				}
				h := t * 0x9E3779B1 >> 16
				if seen[h] > 0 {
					again++
				}
				seen[h]++
				top = max(top, seen[h])
			}
			// What leads to one place only may be padding.
			if n := again - int(top); n > most {
				most, isa, big = n, s, be == 1
			}
		}
	}
	return isa, big
}

func isCall(f address.Form) bool {
	switch f {
	case address.ARMBranch, address.ThumbBL, address.A64Branch, address.RISCVJump, address.MIPSJump, address.XtCall, address.PPCBranch:
		return true
	}
	return false
}

// guessBase finds the address of the first byte: the one with which the most
// words point to where a string begins.
func guessBase(old []byte, big bool) (base uint32, found bool) {
	size := uint32(len(old))
	starts := make([]bool, size)
	for i := 1; i+4 <= len(old); i++ {
		starts[i] = old[i-1] == 0 && graphic(old[i]) && graphic(old[i+1]) && graphic(old[i+2]) && graphic(old[i+3])
	}
	// Words by the 64 KB that they are in.
	count := map[uint32]int{}
	var words []uint32
	for i := 0; i+4 <= len(old); i += 4 {
		v := word32(old[i:])
		if big {
			v = bits.ReverseBytes32(v)
		}
		if v >= 4096 && v < 0xfffff000 {
			words = append(words, v)
			count[v>>16]++
		}
	}
	if len(words) == 0 {
		return 0, false
	}
	type page struct {
		hi uint32
		n  int
	}
	var dense [8]page // the densest
	for hi, n := range count {
		p := page{hi, n}
		for i := range dense {
			if p.n > dense[i].n || p.n == dense[i].n && p.hi < dense[i].hi {
				p, dense[i] = dense[i], p
			}
		}
	}
	tried := map[uint32]bool{}
	most := 16
	for _, p := range dense {
		if p.n < 16 {
			continue
		}
		var near []uint32
		span := size>>16 + 2
		for _, v := range words {
			if v>>16-p.hi+span <= 2*span {
				near = append(near, v)
			}
		}
		step := len(near)/2000 + 1
		for d := -int64(span); d <= 0; d++ {
			for low := uint32(0); low < 1<<16; low += 1 << 11 {
				b := (p.hi+uint32(d))<<16 | low
				if tried[b] {
					continue
				}
				tried[b] = true
				n := 0
				for i := 0; i < len(near); i += step {
					if t := near[i] - b; t < size && starts[t] {
						n++
					}
				}
				if n*step > most {
					base, most, found = b, n*step, true
				}
			}
		}
	}
	return base, found
}

func graphic(c byte) bool { return c >= 32 && c < 127 }

// wasm finds the code and data of a WebAssembly module (Core Specification,
// 5.5).
func wasm(old, new []byte) (r model.Recipe, ok bool) {
	if string(old[:8]) != "\x00asm\x01\x00\x00\x00" {
		return r, false
	}
	_, newBase := wasmData(new)
	at := 8
	for at < len(old) && r.N < model.MaxRanges-1 {
		id := old[at]
		size, n := binary.Uvarint(old[at+1:])
		if n <= 0 || size > uint64(len(old)-at-1-n) {
			break
		}
		from := at + 1 + n
		at = from + int(size)
		if size == 0 || id != 10 && id != 11 {
			continue
		}
		if r.N > 0 && from-int(r.Ranges[r.N-1].End) < 16 {
			r.Ranges[r.N-1].End = uint32(from)
		} else {
			r.Add(model.Range{End: uint32(from)})
		}
		g := model.Range{End: uint32(at)}
		if id == 10 {
			g.ISA = address.Wasm
		} else {
			g.Words = true
			_, g.Old = wasmData(old)
			g.New = newBase
		}
		r.Add(g)
	}
	return r, r.N > 0
}

// wasmData finds where in a module the data begins, and the address of that less
// where it is.
func wasmData(b []byte) (at int, base uint32) {
	for at = 8; at < len(b); {
		id := b[at]
		size, n := binary.Uvarint(b[at+1:])
		if n <= 0 || size > uint64(len(b)-at-1-n) {
			break
		}
		at += 1 + n
		if id != 11 {
			at += int(size)
			continue
		}
		s := b[at : at+int(size)]
		if _, n = binary.Uvarint(s); n <= 0 || len(s) < n+3 || s[n] != 0 || s[n+1] != 0x41 {
			break
		}
		s = s[n+2:]
		v, n := binary.Uvarint(s) // of an address, which is not negative
		if n <= 0 || len(s) < n+2 || s[n] != 0x0b {
			break
		}
		s = s[n+1:]
		if _, n = binary.Uvarint(s); n <= 0 {
			break
		}
		at += int(size) - len(s) + n
		return at, uint32(v) - uint32(at)
	}
	return 0, 0
}
