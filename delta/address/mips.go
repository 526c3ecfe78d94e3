package address

// The encodings are those of the MIPS32 Architecture For Programmers, volume II:
// ADDIU, J, JAL, LUI and the loads and stores of its table of opcodes.

func classifyMIPS(v uint32) Form {
	switch op := v >> 26; op {
	case 2, 3:
		return MIPSJump
	case 15:
		return MIPSHigh
	case 9, 0x31, 0x35, 0x39, 0x3d: // ADDIU, LWC1, LDC1, SWC1, SDC1
		return MIPSLow
	default:
		if op >= 0x20 && op <= 0x2b || op == 0x18 || op == 0x19 || op == 0x37 || op == 0x3f {
			return MIPSLow
		}
	}
	return NoForm
}
