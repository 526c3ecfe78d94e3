package diff

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/godwit-ota/godwit/delta/address"
)

// What of ELF matters here (System V ABI, chapters 4 and 5). It is read by code
// of our own because package debug/elf brings readers of debug information and
// of compressed sections with it.
const (
	elfRelocatable = 1 // e_type: an object, whose sections have no addresses yet

	noSection  = 0 // sh_type
	progBits   = 1
	symTable   = 2
	stringTab  = 3
	relocsFull = 4
	noBits     = 8
	relocs     = 9

	flagAlloc = 1 << 1 // sh_flags: it is in memory
	flagExec  = 1 << 2
	flagTLS   = 1 << 10

	loadSegment = 1 // p_type

	maxSections = 1 << 16
	maxName     = 256 // bytes of a section's name that are looked at
)

// machines are those of e_machine whose instructions are known.
var machines = map[uint16]address.ISA{
	3: address.X86, 62: address.AMD64, 183: address.ARM64, 40: address.ARM, 243: address.RISCV,
	8: address.MIPS, 20: address.PowerPC, 21: address.PowerPC, 94: address.Xtensa,
}

// A section of an ELF file, or a segment of one that has no sections. Where it
// lies is what the file says: nothing is known to be within it.
type section struct {
	name               string
	kind               uint32
	flags              uint64
	addr, offset, size uint64
}

func (s *section) alloc() bool { return s.flags&flagAlloc != 0 }

// sections are the parts of an ELF file, in the order in which they lie in it.
type sections struct {
	list   []section
	object bool // it is not linked: addresses mean nothing
	isa    address.ISA
	big    bool
}

// elfFile reads numbers of either size and order. What lies beyond the end is
// zero.
type elfFile struct {
	b     []byte
	order binary.ByteOrder
	wide  bool // 64 bits
}

func (f elfFile) at(off, n uint64) []byte {
	if size := uint64(len(f.b)); off > size || n > size-off {
		return make([]byte, n)
	}
	return f.b[off : off+n]
}

func (f elfFile) u16(off uint64) uint16 { return f.order.Uint16(f.at(off, 2)) }
func (f elfFile) u32(off uint64) uint32 { return f.order.Uint32(f.at(off, 4)) }

// word is a field that is as wide as addresses are: it lies at one offset in files
// of 32 bits, and at another one in those of 64.
func (f elfFile) word(narrow, wide uint64) uint64 {
	if f.wide {
		return f.order.Uint64(f.at(wide, 8))
	}
	return uint64(f.u32(narrow))
}

// holds reports whether a table of n entries is within the file.
func (f elfFile) holds(off, n, entry uint64) bool {
	size := uint64(len(f.b))
	return n <= maxSections && off <= size && n*entry <= size-off
}

// parse takes the sections of an ELF file, or its segments where it has no
// sections.
func (s *sections) parse(b []byte) bool {
	if len(b) < 64 || string(b[:4]) != "\x7fELF" || b[4] < 1 || b[4] > 2 || b[5] < 1 || b[5] > 2 {
		return false
	}
	f := elfFile{b: b, order: binary.LittleEndian, wide: b[4] == 2}
	if s.big = b[5] == 2; s.big {
		f.order = binary.BigEndian
	}
	s.object, s.isa = f.u16(16) == elfRelocatable, machines[f.u16(18)]
	ok := s.sections(f)
	if ok && len(s.list) == 0 {
		ok = s.segments(f)
	}
	slices.SortStableFunc(s.list, func(a, b section) int { return cmp.Compare(a.offset, b.offset) })
	return ok
}

func (s *sections) sections(f elfFile) bool {
	table := f.word(32, 40)
	entry, head, link := uint64(40), uint64(46), uint64(24)
	if f.wide {
		entry, head, link = 64, 58, 40
	}
	if table == 0 {
		return true
	}
	step, n, names := uint64(f.u16(head)), uint64(f.u16(head+2)), uint64(f.u16(head+4))
	if !f.holds(table, 1, entry) || step < entry {
		return false
	}
	if n == 0 { // as many as its place cannot hold
		n = f.word(table+20, table+32)
	}
	if names == 0xffff {
		names = uint64(f.u32(table + link))
	}
	if n > maxSections || !f.holds(table, n, step) || names >= max(n, 1) {
		return false
	}
	read := func(i uint64) section {
		at := table + i*step
		return section{kind: f.u32(at + 4), flags: f.word(at+8, at+8), addr: f.word(at+12, at+16), offset: f.word(at+16, at+24), size: f.word(at+20, at+32)}
	}
	texts := read(names)
	if texts.kind != stringTab {
		texts.size = 0
	}
	s.list = make([]section, n)
	for i := range s.list {
		s.list[i] = read(uint64(i))
		if at := uint64(f.u32(table + uint64(i)*step)); at < texts.size && texts.offset <= uint64(len(f.b)) && at < uint64(len(f.b))-texts.offset {
			name := f.b[texts.offset+at:]
			name = name[:min(uint64(len(name)), texts.size-at, maxName)]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			s.list[i].name = string(name)
		}
	}
	return true
}

func (s *sections) segments(f elfFile) bool {
	table, entry, head := f.word(28, 32), uint64(32), uint64(42)
	if f.wide {
		entry, head = 56, 54
	}
	step, n := uint64(f.u16(head)), uint64(f.u16(head+2))
	if n > 0 && (step < entry || !f.holds(table, n, step)) {
		return false
	}
	for i := range n {
		at := table + i*step
		if f.u32(at) != loadSegment {
			continue
		}
		mode := f.u32(at + 24)
		if f.wide {
			mode = f.u32(at + 4)
		}
		// Those of two versions are told apart by what may be done with them.
		g := section{name: strconv.Itoa(int(mode & 7)), kind: progBits, flags: flagAlloc,
			offset: f.word(at+4, at+8), addr: f.word(at+8, at+16), size: f.word(at+16, at+32)}
		if mode&1 != 0 {
			g.flags |= flagExec
		}
		s.list = append(s.list, g)
	}
	return true
}
