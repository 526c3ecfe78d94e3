// Package address knows where instructions carry addresses: it finds the operand
// in an instruction's word, tells what it points to, and writes another one.
//
// It is what the model of package delta/model asks when code has moved: an
// instruction that is the same but for its operand points to what it pointed to
// before, which now is somewhere else. All of it is pure functions on 32-bit
// numbers; addresses wrap around.
package address

// An ISA is an instruction set as its code lies in files.
type ISA uint8

// The instruction sets. Their numbers are part of the patch format.
const (
	None    ISA = iota
	ARM         // A32
	Thumb       // T32, with the 32-bit encodings
	ARM64       // A64
	X86         // 32 bits
	AMD64       // 64 bits
	RISCV       // 32 and 64 bits, with the C extension
	MIPS        // 32 bits
	Xtensa      // little endian, with the density option
	PowerPC     // 32 and 64 bits
	Wasm        // bodies of functions of WebAssembly
	ISAs        // how many there are
)

// A Form is a kind of operand: where its bits are and what they mean.
type Form uint8

// The forms. Whole ones say by themselves what they point to. A High one says
// the upper part, and a Low one that names the same register the rest.
const (
	NoForm Form = iota

	// Whole.
	Word       // a 32-bit address
	Rel32      // a 32-bit distance from the end of the operand (x86)
	ARMBranch  // B, BL
	ARMSwitch  // BLX to Thumb
	ThumbBL    // BL, B.W
	ThumbBLX   // BLX to ARM
	ThumbLoad  // LDR (literal), 16 bits
	A64Branch  // B, BL
	A64Near    // B.cond, CBZ, CBNZ, LDR (literal)
	A64Adr     // ADR
	RISCVJump  // JAL
	RISCVShort // C.J
	MIPSJump   // J, JAL
	XtCall     // CALL0 to CALL12
	XtJump     // J
	XtLoad     // L32R
	PPCBranch  // B, BL
	WasmCall   // index of a function, LEB128
	WasmConst  // address of data, LEB128

	// High.
	A64Page   // ADRP
	RISCVPage // AUIPC
	RISCVHigh // LUI
	MIPSHigh  // LUI
	ARMHigh   // MOVT, behind its low half
	ThumbHigh // MOVT, behind its low half

	// Low.
	A64Add    // ADD (immediate)
	A64Load   // LDR, STR and their like, unsigned offset
	RISCVAdd  // ADDI, loads and JALR: I-type
	RISCVSave // stores: S-type
	MIPSLow   // ADDIU, loads and stores
	ARMLow    // MOVW
	ThumbLow  // MOVW
)

// Size is how many bytes the instruction of the form has; those of WebAssembly
// tell themselves.
func (f Form) Size() int {
	switch f {
	case ThumbLoad, RISCVShort:
		return 2
	case XtCall, XtJump, XtLoad:
		return 3
	}
	return 4
}

// High tells whether f says the upper part of an address.
func (f Form) High() bool { return f >= A64Page && f <= ThumbHigh }

// Low tells whether f says the lower part of an address.
func (f Form) Low() bool { return f >= A64Add }

// sext is the number that the low n bits of v are in two's complement.
func sext(v uint32, n uint) uint32 { return uint32(int32(v<<(32-n)) >> (32 - n)) }

// Classify finds the form of the operand of the instruction v, NoForm if there
// is none. It is for the instruction sets whose instructions are found by their
// place; those of x86 are found with X86At.
func Classify(s ISA, v uint32) Form {
	switch s {
	case ARM:
		return classifyARM(v)
	case Thumb:
		return classifyThumb(v)
	case ARM64:
		return classifyA64(v)
	case RISCV:
		return classifyRISCV(v)
	case MIPS:
		return classifyMIPS(v)
	case Xtensa:
		return classifyXtensa(v)
	case PowerPC:
		if v>>26 == 18 && v&2 == 0 {
			return PPCBranch
		}
	}
	return NoForm
}

// Step is the distance at which instructions of s can begin.
func (s ISA) Step() uint32 {
	switch s {
	case Thumb, RISCV:
		return 2
	case X86, AMD64, Xtensa, Wasm:
		return 1
	}
	return 4
}

// Target is what the instruction v at address pc points to; for a form that is
// High or Low, the part of an address that it says.
func Target(f Form, v, pc uint32) uint32 {
	switch f {
	case Word:
		return v
	case Rel32:
		return pc + 4 + v
	case ARMBranch:
		return pc + 8 + sext(v, 24)<<2
	case ARMSwitch:
		return pc + 8 + sext(v, 24)<<2 + v>>23&2
	case ThumbBL:
		return pc + 4 + thumbOffset(v)
	case ThumbBLX:
		return pc&^3 + 4 + thumbOffset(v)
	case ThumbLoad:
		return pc&^3 + 4 + v&255<<2
	case A64Branch:
		return pc + sext(v, 26)<<2
	case A64Near:
		return pc + sext(v>>5, 19)<<2
	case A64Adr:
		return pc + sext(v>>5, 19)<<2 + v>>29&3
	case A64Page:
		return pc&^0xfff + (sext(v>>5, 19)<<2+v>>29&3)<<12
	case A64Add:
		return v >> 10 & 0xfff
	case A64Load:
		return v >> 10 & 0xfff << a64Scale(v) & 0xfff
	case RISCVJump:
		return pc + riscvJ(v)
	case RISCVShort:
		return pc + riscvCJ(v)
	case RISCVPage:
		return pc + v&^0xfff
	case RISCVHigh:
		return v &^ 0xfff
	case RISCVAdd:
		return sext(v>>20, 12)
	case RISCVSave:
		return sext(v>>25<<5|v>>7&31, 12)
	case MIPSJump:
		return (pc+4)&^0x0fffffff | v&0x03ffffff<<2
	case MIPSHigh:
		return v << 16
	case MIPSLow:
		return sext(v, 16)
	case ARMLow, ARMHigh:
		x := v>>4&0xf000 | v&0xfff
		if f == ARMHigh {
			x <<= 16
		}
		return x
	case ThumbLow, ThumbHigh:
		x := v&15<<12 | v>>10&1<<11 | v>>28&7<<8 | v>>16&255
		if f == ThumbHigh {
			x <<= 16
		}
		return x
	case XtCall:
		return pc&^3 + 4 + sext(v>>6, 18)<<2
	case XtJump:
		return pc + 4 + sext(v>>6, 18)
	case XtLoad:
		return (pc+3)&^3 + (v>>8&0xffff<<2 | 0xfffc0000)
	case WasmCall:
		return functions + leb(v)
	case WasmConst:
		return leb(v)
	case PPCBranch:
		return pc + sext(v, 26)&^3
	}
	return 0
}

// Put is v with an operand that points to t. Bits that do not fit are lost. A
// High form takes the whole address, and leaves room for the sign of the Low
// one; of that, Put takes the difference from what the High one says.
func Put(f Form, v, pc, t uint32) uint32 {
	switch f {
	case Word:
		return t
	case Rel32:
		return t - pc - 4
	case ARMBranch:
		return v&0xff000000 | (t-pc-8)>>2&0xffffff
	case ARMSwitch:
		d := t - pc - 8
		return v&0xfe000000 | d>>1&1<<24 | d>>2&0xffffff
	case ThumbBL:
		return thumbPut(v, t-pc-4)
	case ThumbBLX:
		return thumbPut(v, t-pc&^3-4)
	case ThumbLoad:
		return v&^255 | (t-pc&^3-4)>>2&255
	case A64Branch:
		return v&^0x03ffffff | (t-pc)>>2&0x03ffffff
	case A64Near:
		return v&^0x00ffffe0 | (t-pc)>>2&0x7ffff<<5
	case A64Adr:
		d := t - pc
		return v&^0x60ffffe0 | d&3<<29 | d>>2&0x7ffff<<5
	case A64Page:
		d := uint32(int32(t&^0xfff-pc&^0xfff) >> 12)
		return v&^0x60ffffe0 | d&3<<29 | d>>2&0x7ffff<<5
	case A64Add:
		return v&^0x003ffc00 | t&0xfff<<10
	case A64Load:
		k := a64Scale(v)
		// What is above the page within the 12 bits stays.
		d := v >> 10 & 0xfff &^ (0xfff >> k)
		return v&^0x003ffc00 | (d|t&0xfff>>k)<<10
	case RISCVJump:
		return riscvPutJ(v, t-pc)
	case RISCVShort:
		return riscvPutCJ(v, t-pc)
	case RISCVPage:
		return v&0xfff | (t-pc+0x800)&^0xfff
	case RISCVHigh:
		return v&0xfff | (t+0x800)&^0xfff
	case RISCVAdd:
		return v&0xfffff | t<<20
	case RISCVSave:
		return v&0x01fff07f | t&0xfe0<<20 | t&31<<7
	case MIPSJump:
		return v&^0x03ffffff | t>>2&0x03ffffff
	case MIPSHigh:
		return v&^0xffff | (t+0x8000)>>16
	case MIPSLow:
		return v&^0xffff | t&0xffff
	case ARMLow, ARMHigh:
		if f == ARMHigh {
			t >>= 16
		}
		return v&^0x000f0fff | t&0xf000<<4 | t&0xfff
	case ThumbLow, ThumbHigh:
		if f == ThumbHigh {
			t >>= 16
		}
		return v&^0x70ff040f | t>>12&15 | t>>11&1<<10 | t>>8&7<<28 | t&255<<16
	case XtCall:
		return v&0x3f | (t-pc&^3-4)>>2&0x3ffff<<6
	case XtJump:
		return v&0x3f | (t-pc-4)&0x3ffff<<6
	case XtLoad:
		return v&0xff | (t-(pc+3)&^3)>>2&0xffff<<8
	case WasmCall:
		return lebPut(v, t-functions)
	case WasmConst:
		return lebPut(v, t)
	case PPCBranch:
		return v&^0x03fffffc | (t-pc)&0x03fffffc
	}
	return v
}

// Register is the one that f sets (High, or Low of ARM) or starts from (Low).
func Register(f Form, v uint32) uint32 {
	switch f {
	case A64Page:
		return v & 31
	case A64Add, A64Load:
		return v >> 5 & 31
	case RISCVPage, RISCVHigh:
		return v >> 7 & 31
	case RISCVAdd, RISCVSave:
		return v >> 15 & 31
	case MIPSHigh:
		return v >> 16 & 31
	case MIPSLow:
		return v >> 21 & 31
	case ARMLow, ARMHigh:
		return v >> 12 & 15
	case ThumbLow, ThumbHigh:
		return v >> 24 & 15
	}
	return 32
}
