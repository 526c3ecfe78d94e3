package delta_test

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/model"
)

var isaNames = [address.ISAs]string{"data", "ARM", "Thumb", "ARM64", "x86", "x86-64", "RISC-V", "MIPS", "Xtensa", "PowerPC", "WebAssembly"}

// A program is in two versions, of which the second has more functions, and is
// linked anew.
type program struct {
	name     string
	old, new string
	jumps    []model.Jump
	recipe   model.Recipe
}

// An operand is an instruction that points somewhere: what is before it, its
// form and word, what is behind it; and the Low half that follows.
type operand struct {
	before string
	form   address.Form
	word   uint32
	behind string
	low    address.Form
	lword  uint32
	near   bool // it says the distance to where it points
}

var operands = [address.ISAs][]operand{
	address.ARM: {{form: address.ARMBranch, word: 0xeb000000}, {form: address.ARMSwitch, word: 0xfa000000}, {form: address.ARMLow, word: 0xe3003000, low: address.ARMHigh, lword: 0xe3403000}},
	address.Thumb: {{form: address.ThumbBL, word: 0xd000f000}, {form: address.ThumbBL, word: 0x9000f000}, {form: address.ThumbBLX, word: 0xc000f000}, {form: address.ThumbLoad, word: 0x4900},
		{form: address.ThumbLow, word: 0x0300f240, low: address.ThumbHigh, lword: 0x0300f2c0}, {form: address.ThumbLow, word: 0x0200f240, low: address.ThumbHigh, lword: 0x0200f2c0, near: true}},
	address.ARM64: {{form: address.A64Branch, word: 0x94000000}, {form: address.A64Near, word: 0x54000001}, {form: address.A64Near, word: 0x34000003}, {form: address.A64Near, word: 0x58000002}, {form: address.A64Adr, word: 0x10000004},
		{form: address.A64Page, word: 0x90000001, low: address.A64Add, lword: 0x91000021}, {form: address.A64Page, word: 0x90000000, low: address.A64Load, lword: 0xf9400000}, {form: address.A64Page, word: 0x90000005, low: address.A64Load, lword: 0x3dc000a0}},
	address.X86:   {{before: "\xe8", form: address.Rel32}, {before: "\x0f\x84", form: address.Rel32}, {before: "\xa1", form: address.Word}},
	address.AMD64: {{before: "\xe8", form: address.Rel32}, {before: "\x48\x8d\x05", form: address.Rel32}, {before: "\x81\x3d", form: address.Rel32, behind: "\x10\x27\x00\x00"}, {before: "\x80\x3d", form: address.Rel32, behind: "\x01"}, {before: "\x0f\x10\x05", form: address.Rel32}, {before: "\x0f\xba\x25", form: address.Rel32, behind: "\x01"}},
	address.RISCV: {{form: address.RISCVJump, word: 0xef}, {form: address.RISCVShort, word: 0xa001}, {form: address.RISCVPage, word: 0x517, low: address.RISCVAdd, lword: 0x50513}, {form: address.RISCVHigh, word: 0x5b7, low: address.RISCVAdd, lword: 0x5a583},
		{form: address.RISCVHigh, word: 0x637, low: address.RISCVSave, lword: 0xa62023}},
	address.MIPS:    {{form: address.MIPSJump, word: 0x0c000000}, {form: address.MIPSHigh, word: 0x3c040000, low: address.MIPSLow, lword: 0x24840000}, {form: address.MIPSHigh, word: 0x3c020000, low: address.MIPSLow, lword: 0x8c430000}},
	address.Xtensa:  {{form: address.XtCall, word: 5}, {form: address.XtJump, word: 6}, {form: address.XtLoad, word: 0x21}},
	address.PowerPC: {{form: address.PPCBranch, word: 0x48000001}},
	address.Wasm:    {{before: "\x10", form: address.WasmCall, word: 0x8080}, {before: "\x41", form: address.WasmConst, word: 0x808080}, {before: "\x28\x02", form: address.WasmConst, word: 0x808080}},
}

// A linker writes one version of a program.
type linker struct {
	isa    address.ISA
	big    bool
	b      []byte
	base   uint32   // address of b
	starts []uint32 // of functions, as they came out last time
	now    []uint32
}

const functions = 24

// grown tells before which functions the second version has others.
func grown(k int) bool { return k == 5 || k == 11 || k == 19 }

func (l *linker) word(v uint32, n int) {
	if l.big {
		v = bits.ReverseBytes32(v)
	}
	l.b = append(l.b, binary.LittleEndian.AppendUint32(nil, v)[:n]...)
}

func (l *linker) operand(o operand, t uint32) {
	l.b = append(l.b, o.before...)
	pc := l.base + uint32(len(l.b))
	n := o.form.Size()
	if o.near {
		t -= pc
	}
	switch o.form {
	case address.Rel32:
		t -= uint32(len(o.behind))
	case address.WasmCall:
		n, t = 2, 0xe0000000+200+t>>4&0xff
	case address.WasmConst:
		n = 3
	}
	v := address.Put(o.form, o.word, pc, t)
	l.word(v, n)
	l.b = append(l.b, o.behind...)
	if o.low == address.NoForm {
		return
	}
	if o.low.Low() {
		t -= address.Target(o.form, v, pc)
	}
	l.word(address.Put(o.low, o.lword, 0, t), 4)
}

// function writes the k-th function, which is the same but for where it points.
func (l *linker) function(k int) {
	r := rand.New(rand.NewPCG(uint64(k), uint64(l.isa)))
	for len(l.b)%4 != 0 {
		l.b = append(l.b, 0)
	}
	l.now = append(l.now, l.base+uint32(len(l.b)))
	for range 6 {
		list := operands[l.isa]
		to := uint32(0)
		if n := r.IntN(functions); len(l.starts) > 0 {
			to = l.starts[n]
		}
		l.operand(list[r.IntN(len(list))], to)
		for range 1 + r.IntN(3) {
			l.word(0x2012c0+r.Uint32N(1<<12), int(l.isa.Step()+3)&^3)
		}
	}
	if k%4 == 3 && len(l.starts) > 0 && l.isa != address.Wasm { // a pool, or a table of jumps
		for len(l.b)%4 != 0 {
			l.b = append(l.b, 0)
		}
		for i := range 3 {
			t := l.starts[(k*5+i)%functions]
			if i == 2 {
				t -= l.base + uint32(len(l.b))
			}
			l.word(t, 4)
		}
	} else if k%4 == 3 {
		l.b = append(l.b, make([]byte, 12)...)
	}
}

// link gives the code, and where each function ended up.
func link(isa address.ISA, big, second bool, base uint32) ([]byte, []uint32) {
	l := linker{isa: isa, big: big, base: base}
	for range 2 {
		l.b, l.now = nil, nil
		var own []uint32
		for k := range functions {
			if second && grown(k) {
				l.function(100 + k)
			}
			l.function(k)
			own = append(own, l.now[len(l.now)-1])
		}
		l.starts = own
	}
	return l.b, l.starts
}

// table is data that points to functions: by addresses, and by distances.
func table(starts []uint32, big bool, base uint32, gaps int) []byte {
	l := linker{big: big}
	for k := range 40 {
		t := starts[k*7%functions]
		switch {
		case k%8 == 7:
			l.word(uint32(k*k*gaps), 4)
		case k >= 24:
			l.word(t-base-uint32(len(l.b)), 4)
		default:
			l.word(t, 4)
		}
	}
	return l.b
}

func programs() (list []program) {
	for isa := address.ARM; isa < address.ISAs; isa++ {
		const head, base, data = 32, 0x10000, 0x24000
		big := isa == address.MIPS || isa == address.PowerPC
		shift := uint32(0x40) * uint32(isa%2) // the second version may lie elsewhere
		a, as := link(isa, big, false, base+head)
		b, bs := link(isa, big, true, base+head+shift)
		p := program{name: isaNames[isa]}
		top := make([]byte, head)
		at, bt := table(as, big, data, 1), table(bs, big, data, 3)
		old := append(append(append([]byte{}, top...), a...), at...)
		new := append(append([]byte{}, top...), b...)
		// What follows is there once more: read from the new content.
		n := int64(len(old))
		p.jumps = ways(as, bs, base, base+shift)
		from := int64(bs[6] - base - shift)
		p.jumps = append(p.jumps, model.Jump{New: int64(len(new)), Source: n + from})
		new = append(new, new[from:from+160]...)
		p.jumps = append(p.jumps, model.Jump{New: int64(len(new)), Source: head + int64(len(a))})
		words := isa == address.ARM || isa == address.Thumb || isa == address.Xtensa || isa == address.MIPS
		p.recipe.Add(model.Range{End: head})
		p.recipe.Add(model.Range{End: head + uint32(len(a)), ISA: isa, Words: words, Big: big, Old: base, New: base + shift})
		p.recipe.Add(model.Range{End: uint32(len(old)), Words: true, Big: big, Old: data - head - uint32(len(a)), New: data - uint32(len(new))})
		new = append(new, bt...)
		for i := 97; i < len(new); i += 211 {
			new[i] ^= byte(i) // what no link explains
		}
		p.old, p.new = string(old), string(new)
		list = append(list, p)
	}
	return list
}

// ways are the jumps behind functions that the second version has more.
func ways(as, bs []uint32, oldBase, newBase uint32) (jumps []model.Jump) {
	for k := range functions {
		if grown(k) {
			jumps = append(jumps, model.Jump{New: int64(bs[k] - newBase), Source: int64(as[k] - oldBase)})
		}
	}
	return jumps
}
