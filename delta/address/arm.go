package address

// The encodings are those of the ARM Architecture Reference Manual, ARMv7-A and
// ARMv7-R edition: B and BL A1 and T4 (A8.8.18, A8.8.25), BLX (immediate)
// (A8.8.25), MOV (immediate) A2 and T3 (A8.8.102), MOVT (A8.8.106), LDR (literal)
// T1 (A8.8.64); A64's of the Arm Architecture Reference Manual for A-profile,
// C6.2: ADD (immediate), ADR, ADRP, B, B.cond, BL, CBNZ, CBZ, LDR (literal), LDR
// (immediate).

func classifyARM(v uint32) Form {
	switch {
	case v&0x0e000000 == 0x0a000000:
		if v>>28 == 15 {
			return ARMSwitch
		}
		return ARMBranch
	case v&0x0ff00000 == 0x03000000:
		return ARMLow
	case v&0x0ff00000 == 0x03400000:
		return ARMHigh
	}
	return NoForm
}

// classifyThumb takes the first halfword in the low half of v.
func classifyThumb(v uint32) Form {
	switch {
	case v&0xf800 == 0xf000:
		switch v >> 28 & 13 {
		case 9, 13:
			return ThumbBL // bit 14 tells B.W from BL
		case 12:
			if v>>16&1 == 0 {
				return ThumbBLX
			}
		}
		if v>>31 == 0 {
			switch v & 0xfbf0 {
			case 0xf240:
				return ThumbLow
			case 0xf2c0:
				return ThumbHigh
			}
		}
	case v&0xf800 == 0x4800:
		return ThumbLoad
	}
	return NoForm
}

func thumbOffset(v uint32) uint32 {
	h1, h2 := v&0xffff, v>>16
	s := h1 >> 10 & 1
	i1, i2 := ^(h2>>13^s)&1, ^(h2>>11^s)&1
	return sext(s<<24|i1<<23|i2<<22|h1&0x3ff<<12|h2&0x7ff<<1, 25)
}

func thumbPut(v, d uint32) uint32 {
	s := d >> 24 & 1
	j1, j2 := ^(d>>23^s)&1, ^(d>>22^s)&1
	h1 := v&0xf800 | s<<10 | d>>12&0x3ff
	h2 := v>>16&0xd000 | j1<<13 | j2<<11 | d>>1&0x7ff
	return h1 | h2<<16
}

func classifyA64(v uint32) Form {
	switch {
	case v&0x7c000000 == 0x14000000:
		return A64Branch
	case v&0x1f000000 == 0x10000000:
		if v>>31 == 1 {
			return A64Page
		}
		return A64Adr
	case v&0xffc00000 == 0x91000000:
		return A64Add
	case v&0x3b000000 == 0x39000000:
		return A64Load
	case v&0xff000010 == 0x54000000, v&0x7e000000 == 0x34000000, v&0x3b000000 == 0x18000000:
		return A64Near
	}
	return NoForm
}

// a64Scale is by how much the offset of the load or store v is shifted.
func a64Scale(v uint32) uint32 {
	if v&0x04800000 == 0x04800000 && v>>30 == 0 {
		return 4 // a quadword of SIMD
	}
	return v >> 30
}
