package model

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"testing"

	"github.com/godwit-ota/godwit/delta/address"
)

// recipeFor has all of n bytes as code of one instruction set.
func recipeFor(isa address.ISA, n int, base uint32) (r Recipe) {
	r.Add(Range{End: uint32(n), ISA: isa, Words: isa != address.AMD64, Big: isa == address.MIPS, Old: base, New: base})
	return r
}

func encodeWith(t *testing.T, tier int, rec Recipe, old, new []byte, jumps []Jump) []byte {
	t.Helper()
	task := Task{Tier: tier, Old: bytes.NewReader(old), OldSize: int64(len(old)), Back: bytes.NewReader(new), NewSize: int64(len(new)), Code: rec.N > 0, Recipe: &rec}
	var w Walk
	w.Init(make([]byte, Memory(tier)), task)
	w.Encode(new, jumps, nil)
	w.EncodeTo(int64(len(new)))
	return bytes.Clone(w.Finish())
}

func decodeWith(tier int, rec Recipe, old, code []byte, size int) ([]byte, error) {
	var out bytes.Buffer
	task := Task{Tier: tier, Old: bytes.NewReader(old), OldSize: int64(len(old)), Back: readerAt{&out}, NewSize: int64(size), Code: rec.N > 0, Recipe: &rec}
	var d Walk
	d.Init(make([]byte, Memory(tier)), task)
	d.Begin(bytes.NewReader(code), &out)
	for d.At() < int64(size) {
		if err := d.Decode(777); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// program is code of A64 with calls of the functions that begin at starts, each
// of 64 instructions.
func program(r *rand.Rand, starts []uint32, insert int) []byte {
	var b []byte
	n := uint32(0)
	for i, s := range starts {
		if i == insert {
			for range 40 {
				b = binary.LittleEndian.AppendUint32(b, 0xd2800000|r.Uint32()&0x1fffff)
			}
		}
		if uint32(len(b)) != s {
			panic("starts")
		}
		for k := range 64 {
			pc := uint32(len(b))
			if k%8 == 3 {
				n = n*1664525 + 1013904223
				b = binary.LittleEndian.AppendUint32(b, address.Put(address.A64Branch, 0x94000000, pc, starts[n>>8%uint32(len(starts))]))
			} else {
				b = binary.LittleEndian.AppendUint32(b, uint32(i*131+k*7)*2654435761|0xc0000000)
			}
		}
	}
	return b
}

// Of code that has moved, the references are predicted: what is left of the patch
// is the inserted code.
func TestReferences(t *testing.T) {
	var a, b []uint32
	for i := range 200 {
		a = append(a, uint32(i*256))
		if i < 50 {
			b = append(b, uint32(i*256))
		} else {
			b = append(b, uint32(i*256+160))
		}
	}
	r := rand.New(rand.NewSource(1))
	old, new := program(r, a, -1), program(r, b, 50)
	at := int64(50 * 256)
	jumps := []Jump{{at + 160, at}}
	for tier := 1; tier <= 3; tier++ {
		rec := recipeFor(address.ARM64, len(old), 0x1000)
		with, without := encodeWith(t, tier, rec, old, new, jumps), encodeWith(t, tier, Recipe{}, old, new, jumps)
		if len(with)*2 > len(without) {
			t.Errorf("tier %d: %d bytes with references, %d without", tier, len(with), len(without))
		}
		got, err := decodeWith(tier, rec, old, with, len(new))
		if err != nil || !bytes.Equal(got, new) {
			t.Errorf("tier %d: decoded wrong: %v", tier, err)
		}
	}
}

// What is no code at all is coded right by any recipe, at all places and with
// sources in the new content.
func TestReferencesAnything(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for isa := address.None; isa < address.ISAs; isa++ {
		for tier := 1; tier <= 3; tier++ {
			old := make([]byte, 3000+r.Intn(10))
			for i := range old {
				if old[i] = byte(r.Intn(256)); r.Intn(3) > 0 {
					old[i] = "\x94\x97\xeb\xf0\xe8\x0f\x05\x10\x41\x0c\x00\x90\x91"[r.Intn(13)]
				}
			}
			new := bytes.Clone(old[:len(old)-r.Intn(20)])
			for range 200 {
				new[r.Intn(len(new))]++
			}
			jumps := []Jump{{500, 700}, {600, int64(len(old)) + 100}, {700, 0}, {1001, 1002}, {1900, 2500}, {2000, int64(len(old)) + 1997}}
			rec := recipeFor(isa, len(old)/2, 1<<20-uint32(r.Intn(3)))
			rec.Add(Range{End: uint32(len(old)), Words: true, Old: 1 << 20, New: 1<<20 + 4})
			code := encodeWith(t, tier, rec, old, new, jumps)
			got, err := decodeWith(tier, rec, old, code, len(new))
			if err != nil || !bytes.Equal(got, new) {
				t.Fatalf("instruction set %d, tier %d: decoded wrong: %v", isa, tier, err)
			}
		}
	}
}

func TestRecipe(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for range 1000 {
		var want Recipe
		end := uint32(0)
		for range r.Intn(MaxRanges + 1) {
			end += 1 + uint32(r.Intn(1<<uint(r.Intn(24)+1)))
			g := Range{End: end, ISA: address.ISA(r.Intn(int(address.ISAs))), Words: r.Intn(2) > 0, Big: r.Intn(2) > 0}
			g.Old = r.Uint32() &^ (1<<uint(r.Intn(32)) - 1)
			g.New = g.Old
			if r.Intn(2) > 0 {
				g.New += uint32(r.Intn(1<<20) - 1<<19)
			}
			want.Add(g)
		}
		if want.N > 0 {
			want.Extra = r.Uint32()
			if r.Intn(2) > 0 {
				want.Other = Span{Lo: r.Uint32() &^ 0xfff, Size: r.Uint32()&^0xfff | 4096}
			}
		}
		b := want.Append(nil)
		var got Recipe
		rest, err := got.Read(append(b, 1, 2, 3))
		if err != nil || len(rest) != 3 || got != want {
			t.Fatalf("%v: read as %v, %d left, %v", want, got, len(rest), err)
		}
		for i := range b {
			if _, err := got.Read(b[:i]); err == nil {
				t.Fatalf("%v: read from %d of %d bytes", want, i, len(b))
			}
		}
	}
}

// Any code, any old content and any recipe: no panic, and an end.
func FuzzReferences(f *testing.F) {
	rec := recipeFor(address.ARM64, 64, 0)
	f.Add(uint8(1), rec.Append(nil), bytes.Repeat([]byte{1, 0, 0, 0x94}, 16), []byte("\x00\x01code"))
	f.Fuzz(func(t *testing.T, tier uint8, recipe, old, code []byte) {
		var rec Recipe
		if _, err := rec.Read(recipe); err != nil {
			return
		}
		_, _ = decodeWith(1+int(tier%3), rec, old, code, len(old)+100)
	})
}
