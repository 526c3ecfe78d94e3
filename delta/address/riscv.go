package address

// The encodings are those of The RISC-V Instruction Set Manual, volume I: the
// types of immediates (section 2.3), AUIPC and LUI (2.4), JAL and JALR (2.5),
// C.J and C.JAL (the chapter on the C extension).

func classifyRISCV(v uint32) Form {
	switch v & 0x7f {
	case 0x6f:
		return RISCVJump
	case 0x17:
		return RISCVPage
	case 0x37:
		return RISCVHigh
	case 0x03, 0x07, 0x67: // loads, JALR
		return RISCVAdd
	case 0x13: // ADDI
		if v>>12&7 == 0 {
			return RISCVAdd
		}
	case 0x1b: // ADDIW
		if v>>12&7 == 0 {
			return RISCVAdd
		}
	case 0x23, 0x27: // stores
		return RISCVSave
	}
	if v&0xe003 == 0xa001 {
		return RISCVShort
	}
	return NoForm
}

func riscvJ(v uint32) uint32 {
	return sext(v>>31<<20|v>>12&0xff<<12|v>>20&1<<11|v>>21&0x3ff<<1, 21)
}

func riscvPutJ(v, d uint32) uint32 {
	return v&0xfff | d>>20&1<<31 | d>>12&0xff<<12 | d>>11&1<<20 | d>>1&0x3ff<<21
}

func riscvCJ(v uint32) uint32 {
	return sext(v>>12&1<<11|v>>11&1<<4|v>>9&3<<8|v>>8&1<<10|v>>7&1<<6|v>>6&1<<7|v>>3&7<<1|v>>2&1<<5, 12)
}

func riscvPutCJ(v, d uint32) uint32 {
	return v&^0x1ffc | d>>11&1<<12 | d>>4&1<<11 | d>>8&3<<9 | d>>10&1<<8 | d>>6&1<<7 | d>>7&1<<6 | d>>1&7<<3 | d>>5&1<<2
}
