package diff

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/godwit-ota/godwit/delta/address"
)

// firmware is code of T32 that calls a few functions, and addresses of strings.
func firmware(base uint32, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	var strings []uint32
	at := n / 2
	for at+16 < n {
		strings = append(strings, base+uint32(at))
		at += copy(b[at:], "some message"[r.IntN(6):]) + 1
	}
	for i := 0; i+4 <= n/2; i += 4 {
		switch r.IntN(4) {
		case 0:
			to := uint32(r.IntN(12)) * 0x104
			binary.LittleEndian.PutUint32(b[i:], address.Put(address.ThumbBL, 0xd000f000, uint32(i), to))
		case 1:
			binary.LittleEndian.PutUint32(b[i:], strings[r.IntN(len(strings))])
		default:
			binary.LittleEndian.PutUint32(b[i:], 0x4600b000|r.Uint32()&0x00ff00ff)
		}
	}
	return b
}

func TestGuess(t *testing.T) {
	for _, base := range []uint32{0x08005000, 0x10000000, 0x00020000} {
		r, ok := guess(firmware(base, 40000))
		if !ok || r.N != 1 || r.Ranges[0].ISA != address.Thumb || r.Ranges[0].Old != base {
			t.Errorf("at %#x: %v, %+v", base, ok, r.Ranges[0])
		}
	}
	noise := make([]byte, 40000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	if g, ok := guess(noise); ok {
		t.Errorf("noise is taken for code: %+v", g.Ranges[0])
	}
}

func TestOwnProgram(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Skip(err)
	}
	var s sections
	if !s.parse(b) {
		t.Skip("no ELF file")
	}
	r := s.recipe(&s, b)
	code := false
	for _, g := range r.Ranges[:r.N] {
		code = code || g.ISA == s.isa && g.Old == g.New
	}
	if !code || r.Ranges[r.N-1].End > uint32(len(b)) {
		t.Errorf("no code in %+v", r)
	}
}

func TestWasmModule(t *testing.T) {
	m := []byte("\x00asm\x01\x00\x00\x00")
	code := make([]byte, 300)
	m = append(m, 10, 0xac, 2)
	m = append(m, code...)
	// One segment of 64 bytes at 0x10000.
	segment := append([]byte{1, 0, 0x41, 0x80, 0x80, 0x04, 0x0b, 64}, make([]byte, 64)...)
	m = append(m, 11, byte(len(segment)))
	m = append(m, segment...)
	at := len(m) - 64
	r, ok := wasm(m, m)
	if !ok || r.Ranges[1].ISA != address.Wasm || r.Ranges[1].End != 313 {
		t.Fatalf("%v, %+v", ok, r)
	}
	if g := r.Ranges[2]; !g.Words || g.Old != 0x10000-uint32(at) || g.New != g.Old {
		t.Errorf("%+v", g)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x0a\x02\x00\x00\x0b\x08\x01\x00\x41\x80\x08\x0b\x01\x00"), uint8(0))
	f.Add([]byte("\x7fELF\x01\x01\x01"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, pad uint8) {
		b = append(b, make([]byte, 512+int(pad))...)
		var s sections
		if s.parse(b) {
			s.recipe(&s, b)
		}
		wasm(b, b)
		guess(b)
	})
}
