package address_test

import (
	"math/rand/v2"
	"testing"

	"github.com/godwit-ota/godwit/delta/address"
)

// What LLVM's assembler makes of instructions.
var assembled = []struct {
	isa    address.ISA
	text   string
	code   uint32
	form   address.Form
	pc     uint32
	target uint32
	reg    uint32
}{
	{address.ARM64, "bl .+0x12344", 0x940048d1, address.A64Branch, 0x1000, 0x13344, 32},
	{address.ARM64, "b .-64", 0x17fffff0, address.A64Branch, 0x1000, 0xfc0, 32},
	{address.ARM64, "adrp x3, .+0x12345000", 0xb0091a23, address.A64Page, 0x1abc, 0x12346000, 3},
	{address.ARM64, "adrp x3, .-4096", 0xf0ffffe3, address.A64Page, 0x1abc, 0, 3},
	{address.ARM64, "adr x7, .-5", 0x70ffffc7, address.A64Adr, 0x1000, 0xffb, 32},
	{address.ARM64, "b.ne .-8", 0x54ffffc1, address.A64Near, 0x1000, 0xff8, 32},
	{address.ARM64, "cbz w3, .+1024", 0x34002003, address.A64Near, 0x1000, 0x1400, 32},
	{address.ARM64, "ldr x3, .+32", 0x58000103, address.A64Near, 0x1000, 0x1020, 32},
	{address.ARM64, "add x1, x2, #0x123", 0x91048c41, address.A64Add, 0, 0x123, 2},
	{address.ARM64, "ldr x1, [x2, #0x128]", 0xf9409441, address.A64Load, 0, 0x128, 2},
	{address.ARM64, "ldr q1, [x2, #0x120]", 0x3dc04841, address.A64Load, 0, 0x120, 2},
	{address.ARM64, "strb w1, [x2, #0x123]", 0x39048c41, address.A64Load, 0, 0x123, 2},
	{address.ARM64, "ldrsw x1, [x2, #0x124]", 0xb9812441, address.A64Load, 0, 0x124, 2},
	{address.ARM, "bl .+8+0x1234", 0xeb00048d, address.ARMBranch, 0x1000, 0x223c, 32},
	{address.ARM, "bne .+8-16", 0x1afffffc, address.ARMBranch, 0x1000, 0xff8, 32},
	{address.ARM, "blx .+8+0x1236", 0xfb00048d, address.ARMSwitch, 0x1000, 0x223e, 32},
	{address.ARM, "movw r3, #0xabcd", 0xe30a3bcd, address.ARMLow, 0, 0xabcd, 3},
	{address.ARM, "movt r3, #0xabcd", 0xe34a3bcd, address.ARMHigh, 0, 0xabcd0000, 3},
	{address.Thumb, "bl .+4+0x123456", 0xfa2bf123, address.ThumbBL, 0x1002, 0x12445c, 32},
	{address.Thumb, "bl .+4-0x123456", 0xfdd5f6dc, address.ThumbBL, 0x200000, 0xdcbae + 0x0, 32},
	{address.Thumb, "b.w .+4-4096", 0xb800f7ff, address.ThumbBL, 0x2000, 0x1004, 32},
	{address.Thumb, "blx .+4+0x12340", 0xe9a0f012, address.ThumbBLX, 0x1002, 0x13344, 32},
	{address.Thumb, "movw r3, #0xabcd", 0x33cdf64a, address.ThumbLow, 0, 0xabcd, 3},
	{address.Thumb, "movt r3, #0xabcd", 0x33cdf6ca, address.ThumbHigh, 0, 0xabcd0000, 3},
	{address.Thumb, "ldr r3, [pc, #0x48]", 0x4b12, address.ThumbLoad, 0x1002, 0x104c, 32},
	{address.RISCV, "jal ra, .+0x12344", 0x344120ef, address.RISCVJump, 0x1000, 0x13344, 32},
	{address.RISCV, "jal ra, .-2046", 0x803ff0ef, address.RISCVJump, 0x1000, 0x802, 32},
	{address.RISCV, "auipc a0, 0x12345", 0x12345517, address.RISCVPage, 0x1004, 0x12346004, 10},
	{address.RISCV, "lui a0, 0xfffff", 0xfffff537, address.RISCVHigh, 0, 0xfffff000, 10},
	{address.RISCV, "addi a1, a0, -273", 0xeef50593, address.RISCVAdd, 0, 0xfffffeef, 10},
	{address.RISCV, "lw a1, 273(a0)", 0x11152583, address.RISCVAdd, 0, 273, 10},
	{address.RISCV, "jalr a1, 273(a0)", 0x111505e7, address.RISCVAdd, 0, 273, 10},
	{address.RISCV, "sw a1, -273(a0)", 0xeeb527a3, address.RISCVSave, 0, 0xfffffeef, 10},
	{address.RISCV, "c.j .-1024", 0xb101, address.RISCVShort, 0x1000, 0xc00, 32},
	{address.RISCV, "c.j .+1382", 0xa39d, address.RISCVShort, 0x1000, 0x1566, 32},
	{address.MIPS, "jal 0x12344", 0x0c0048d1, address.MIPSJump, 0x80001000, 0x80012344, 32},
	{address.MIPS, "lui $4, 0xabcd", 0x3c04abcd, address.MIPSHigh, 0, 0xabcd0000, 4},
	{address.MIPS, "addiu $4, $5, -273", 0x24a4feef, address.MIPSLow, 0, 0xfffffeef, 5},
	{address.MIPS, "lw $4, 273($5)", 0x8ca40111, address.MIPSLow, 0, 273, 5},
	{address.PowerPC, "bl .+0x12344", 0x48012345, address.PPCBranch, 0x1000, 0x13344, 32},
	// By the manual: call8, of 0x1004 plus four times 0x48d; j; l32r.
	{address.Xtensa, "call8 0x2238", 0x48d<<6 | 0x25, address.XtCall, 0x1001, 0x2238, 32},
	{address.Xtensa, "j .+4-64", 0x3ffc0<<6 | 6, address.XtJump, 0x1001, 0xfc5, 32},
	{address.Xtensa, "l32r a3, 0xfc4", 0xfff0<<8 | 0x31, address.XtLoad, 0x1001, 0xfc4, 32},
}

func TestAssembled(t *testing.T) {
	for _, c := range assembled {
		f := address.Classify(c.isa, c.code)
		if f != c.form {
			t.Errorf("%s: form %d, want %d", c.text, f, c.form)
			continue
		}
		if got := address.Target(f, c.code, c.pc); got != c.target {
			t.Errorf("%s: target %#x, want %#x", c.text, got, c.target)
		}
		if got := address.Put(f, c.code, c.pc, c.target); got != c.code {
			t.Errorf("%s: put back %#x, want %#x", c.text, got, c.code)
		}
		if got := address.Register(f, c.code); got != c.reg {
			t.Errorf("%s: register %d, want %d", c.text, got, c.reg)
		}
	}
}

// Putting back what is there changes nothing, for any instruction anywhere; and
// what was put is what is there then, if it is near enough.
func TestPutTarget(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	found := map[address.Form]int{}
	for s := address.ISA(1); s < address.ISAs; s++ {
		for range 400000 {
			v, pc := r.Uint32(), r.Uint32()&^(s.Step()-1)
			f := address.Classify(s, v)
			if f == address.NoForm {
				continue
			}
			found[f]++
			mask := ^uint32(0) >> (32 - 8*f.Size())
			to := address.Target(f, v, pc)
			if f == address.A64Page && v>>23&1 != to-pc>>31 {
				continue // farther than addresses of 32 bits go
			}
			if got := address.Put(f, v, pc, to); (got^v)&mask != 0 {
				t.Fatalf("form %d: %#x at %#x points to %#x; put back is %#x", f, v, pc, to, got)
			}
			next := pc + r.Uint32()%64&^15
			w := address.Put(f, v, next, to)
			if address.Classify(s, w) != f && f != address.NoForm {
				t.Fatalf("form %d: %#x becomes %#x, which is another", f, v, w)
			}
		}
	}
	for f := address.ARMBranch; f <= address.ThumbLow; f++ {
		if found[f] == 0 && f != address.WasmCall && f != address.WasmConst {
			t.Errorf("form %d: none", f)
		}
	}
}

// A High and a Low half together are the address.
func TestHalves(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		isa       address.ISA
		high, low uint32
	}{
		{address.ARM64, 0x90000003, 0x91000061},
		{address.RISCV, 0x00000517, 0x00050593},
		{address.RISCV, 0x00000537, 0x00b52023},
		{address.MIPS, 0x3c050000, 0x24a40000},
		{address.ARM, 0xe3403000, 0xe3003000},
		{address.Thumb, 0x0300f2c0, 0x0300f240},
	} {
		hf, lf := address.Classify(c.isa, c.high), address.Classify(c.isa, c.low)
		if !hf.High() || !lf.Low() || address.Register(hf, c.high) != address.Register(lf, c.low) {
			t.Fatalf("%#x and %#x are no halves: %d, %d", c.high, c.low, hf, lf)
		}
		for range 10000 {
			pc, to := r.Uint32()&^3, r.Uint32()
			h := address.Put(hf, c.high, pc, to)
			base := address.Target(hf, h, pc)
			rest := to - base
			if lf == address.ARMLow || lf == address.ThumbLow {
				rest = to
			}
			l := address.Put(lf, c.low, 0, rest)
			if got := base + address.Target(lf, l, 0); got != to {
				t.Fatalf("%d, %d: %#x at %#x becomes %#x", hf, lf, to, pc, got)
			}
		}
	}
}

func TestX86(t *testing.T) {
	for _, c := range []struct {
		text       string
		wide       bool
		b1, b2, b3 byte
		ok         bool
		behind     uint32
	}{
		{"call", false, 0xe8, 0, 0, true, 0},
		{"jmp", true, 0xe9, 0, 0, true, 0},
		{"jne", true, 0x85, 0x0f, 0, true, 0},
		{"mov rax, [rip+0]", true, 0x05, 0x8b, 0x48, true, 0},
		{"the same in 32 bits", false, 0x05, 0x8b, 0x48, false, 0},
		{"lea rdi, [rip+0]", true, 0x3d, 0x8d, 0x48, true, 0},
		{"cmp byte [rip+0], 1", true, 0x3d, 0x80, 0, true, 1},
		{"mov dword [rip+0], 1", true, 0x05, 0xc7, 0, true, 4},
		{"movzx eax, byte [rip+0]", true, 0x05, 0xb6, 0x0f, true, 0},
		{"movaps xmm0, [rip+0]", true, 0x05, 0x28, 0x0f, true, 0},
		{"nothing", true, 0x05, 0x05, 0x05, false, 0},
	} {
		ok, behind := address.X86At(c.wide, c.b1, c.b2, c.b3)
		if ok != c.ok || behind != c.behind {
			t.Errorf("%s: %v, %d", c.text, ok, behind)
		}
	}
}

func TestWasm(t *testing.T) {
	for _, c := range []struct {
		text   string
		b1, b2 byte
		v      uint32
		form   address.Form
		n      int
		target uint32
	}{
		{"call 5", 0x10, 0x0b, 0x05, address.WasmCall, 1, 0xe0000005},
		{"call 0x1234", 0x10, 0x0b, 0x24b4, address.WasmCall, 2, 0xe0001234},
		{"call of a padded index", 0x10, 0x0b, 0x0080a4b4, address.WasmCall, 4, 0xe0001234},
		{"local.get 16", 0x10, 0x20, 0x05, address.NoForm, 0, 0},
		{"i32.const 1048576", 0x41, 0x0b, 0x00c08080, address.WasmConst, 4, 1048576},
		{"i32.const 7", 0x41, 0x0b, 7, address.NoForm, 0, 0},
		{"i32.load offset=0x12345", 2, 0x28, 0x04c6c5, address.WasmConst, 3, 0x12345},
	} {
		f, n := address.WasmAt(c.b1, c.b2, c.v)
		if f != c.form || n != c.n {
			t.Errorf("%s: form %d of %d bytes, want %d of %d", c.text, f, n, c.form, c.n)
			continue
		}
		if f == address.NoForm {
			continue
		}
		if got := address.Target(f, c.v, 0); got != c.target {
			t.Errorf("%s: target %#x, want %#x", c.text, got, c.target)
		}
		if c.n == 4 && f == address.WasmCall {
			continue // padded ones are not written
		}
		if got := address.Put(f, c.v, 0, c.target); got != c.v {
			t.Errorf("%s: put back %#x, want %#x", c.text, got, c.v)
		}
		if got := address.Target(f, address.Put(f, c.v, 0, c.target+1), 0); got != c.target+1 {
			t.Errorf("%s: the next is %#x", c.text, got)
		}
	}
}

func FuzzAny(f *testing.F) {
	f.Add(uint8(3), uint32(0x94000000), uint32(0), uint32(4))
	f.Fuzz(func(t *testing.T, s uint8, v, pc, to uint32) {
		g := address.Classify(address.ISA(s), v)
		if g.Size() < 2 || g.Size() > 4 {
			t.Fatal(g)
		}
		for g := range address.ThumbLow + 2 {
			w := address.Put(g, v, pc, to)
			_ = address.Target(g, w, pc)
			_ = address.Register(g, w)
		}
		_, _ = address.X86At(true, byte(v), byte(pc), byte(to))
		if _, n := address.WasmAt(byte(v), byte(pc), to); n < 0 || n > 4 {
			t.Fatal(n)
		}
	})
}
