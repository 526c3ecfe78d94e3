package address

// The encodings are those of the Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2: CALL, JMP and Jcc with rel32, and the addressing
// with ModR/M (tables 2-2 and 2-7).

// X86At tells whether the four bytes behind the instruction's beginning b1 (the
// byte before the operand), b2 and b3 (those before) are a distance to what the
// instruction points to, and how many bytes of it follow.
func X86At(wide bool, b1, b2, b3 byte) (ok bool, behind uint32) {
	switch {
	case b1 == 0xe8 || b1 == 0xe9:
		return true, 0
	case b1&0xf0 == 0x80 && b2 == 0x0f:
		return true, 0
	case wide && b1&0xc7 == 0x05:
		return modRM(b2, b3)
	}
	return false, 0
}

// modRM is for operands that are addressed from the instruction pointer: op is
// the byte of the opcode, before the one before it.
func modRM(op, before byte) (ok bool, behind uint32) {
	if before == 0x0f {
		switch {
		case op >= 0x10 && op <= 0x17, op >= 0x28 && op <= 0x2f, op >= 0x40 && op <= 0x7f,
			op >= 0x90 && op <= 0x9f, op == 0xaf, op >= 0xb6 && op <= 0xb8, op >= 0xbe && op <= 0xc1,
			op >= 0xd0, op == 0x1f, op == 0x18, op == 0xb0, op == 0xb1, op == 0xa3, op == 0xab, op == 0xb3, op == 0xbb, op == 0x0d:
			return true, 0
		case op == 0xba, op == 0xc2, op == 0xc4, op == 0xc6, op >= 0x70 && op <= 0x73:
			return true, 1
		}
		return false, 0
	}
	switch {
	case op < 0x40 && op&7 < 4, op == 0x63, op >= 0x84 && op <= 0x8b, op == 0x8d, op == 0x8f,
		op >= 0xd8 && op <= 0xdf, op == 0xfe, op == 0xff, op >= 0xd0 && op <= 0xd3, op == 0xf6, op == 0xf7:
		return true, 0
	case op == 0x80, op == 0x83, op == 0xc6, op == 0xc0, op == 0xc1, op == 0x6b:
		return true, 1
	case op == 0x81, op == 0xc7, op == 0x69:
		return true, 4
	case op >= 0x10 && (before&0x80 != 0 || before == 0x38 || before == 0x3a):
		// Perhaps behind VEX, 0F 38 or 0F 3A.
		return true, 0
	}
	return false, 0
}
