package diff

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sameAsElf holds what is found against package debug/elf.
func sameAsElf(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || len(f.Sections) == 0 {
		return
	}
	slices.SortStableFunc(f.Sections, func(a, b *elf.Section) int { return cmp.Compare(a.Offset, b.Offset) })
	var s sections
	if !s.parse(b) || len(s.list) != len(f.Sections) {
		t.Fatalf("%s: %d sections of %d", name, len(s.list), len(f.Sections))
	}
	for i, want := range f.Sections {
		got := s.list[i]
		n := min(len(want.Name), maxName)
		if got.name != want.Name[:n] || got.kind != uint32(want.Type) || got.flags != uint64(want.Flags) || got.addr != want.Addr || got.offset != want.Offset || got.size != want.FileSize {
			t.Errorf("%s: section %d: %+v, want %+v", name, i, got, want.SectionHeader)
		}
	}
	if s.object != (f.Type == elf.ET_REL) || s.big != (f.ByteOrder == binary.BigEndian) || s.isa != machines[uint16(f.Machine)] {
		t.Errorf("%s: %v, %v, %v", name, s.object, s.big, s.isa)
	}
}

func TestSections(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join("/lib", "*", "lib[cm].so.6"))
	own, err := os.Executable()
	if err == nil {
		names = append(names, own)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil {
			sameAsElf(t, name, b)
		}
	}
	for _, wide := range []bool{false, true} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			sameAsElf(t, "made", program(wide, order, 1, 1))
			sameAsElf(t, "made, with many sections", program(wide, order, 0, 0xffff))
			var s sections
			if !s.parse(program(wide, order, 1, 1)) || len(s.list) != 3 || s.list[2].name != ".text" || s.list[2].addr != 0x1234 || s.big != (order == binary.BigEndian) {
				t.Errorf("%+v", s)
			}
		}
	}
}

// program is a file with the sections "", ".names" and ".text", of which the
// header says that there are 3*n, and that names is where their names are.
func program(wide bool, order binary.AppendByteOrder, n, names uint16) []byte {
	texts := "\x00.text\x00.names\x00"
	class, head, entry := byte(1), 52, 40
	if wide {
		class, head, entry = 2, 64, 64
	}
	data := byte(1)
	if order == binary.BigEndian {
		data = 2
	}
	b := append([]byte("\x7fELF"), class, data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	word := func(v uint64) {
		if wide {
			b = order.AppendUint64(b, v)
		} else {
			b = order.AppendUint32(b, uint32(v))
		}
	}
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 40)
	b = order.AppendUint32(b, 1)
	word(0)
	word(0)
	word(uint64(head))
	b = order.AppendUint32(b, 0)
	for _, v := range []uint16{uint16(head), 0, 0, uint16(entry), 3 * n, names} {
		b = order.AppendUint16(b, v)
	}
	section := func(name, kind uint32, flags, addr, at, size uint64, link uint32) {
		b = order.AppendUint32(b, name)
		b = order.AppendUint32(b, kind)
		for _, v := range []uint64{flags, addr, at, size} {
			word(v)
		}
		b = order.AppendUint32(b, link)
		b = order.AppendUint32(b, 0)
		word(1)
		word(0)
	}
	end := uint64(head + 3*entry)
	if n == 0 {
		section(0, 0, 0, 0, 0, 3, 1)
	} else {
		section(0, 0, 0, 0, 0, 0, 0)
	}
	section(7, stringTab, 0, 0, end, uint64(len(texts)), 0)
	section(1, progBits, flagAlloc|flagExec, 0x1234, end+uint64(len(texts)), 40, 0)
	return append(append(b, texts...), make([]byte, 40)...)
}

// A file with nothing but segments has these.
func TestSegments(t *testing.T) {
	b := make([]byte, 300)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 2)
	for i, s := range []struct{ mode, at, addr, size uint64 }{{4, 0, 0x1000, 200}, {5, 200, 0x20c8, 100}} {
		p := b[64+56*i:]
		le.PutUint32(p, loadSegment)
		le.PutUint32(p[4:], uint32(s.mode))
		le.PutUint64(p[8:], s.at)
		le.PutUint64(p[16:], s.addr)
		le.PutUint64(p[32:], s.size)
	}
	var s sections
	if !s.parse(b) || len(s.list) != 2 || s.list[0].flags != flagAlloc || s.list[1] != (section{"5", progBits, flagAlloc | flagExec, 0x20c8, 200, 100}) {
		t.Errorf("%+v", s)
	}
}

// Whatever an ELF file says, nothing beyond it is read.
func FuzzSections(f *testing.F) {
	for _, wide := range []bool{false, true} {
		f.Add(program(wide, binary.LittleEndian, 1, 1))
		f.Add(program(wide, binary.BigEndian, 0, 0xffff))
		cut := program(wide, binary.LittleEndian, 1, 1)
		f.Add(cut[:len(cut)-100])
		wrong := program(wide, binary.LittleEndian, 20000, 3)
		f.Add(wrong)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, make([]byte, 64)...)
		var s sections
		if s.parse(b) {
			s.recipe(&s, b)
			for i := range s.list {
				if len(s.list[i].name) > maxName {
					t.Error("a long name")
				}
			}
		}
	})
}
