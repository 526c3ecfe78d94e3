package address

// The encodings are those of the Xtensa Instruction Set Architecture Reference
// Manual, chapter 7: CALL0 to CALL12 (format CALL), J, L32R (format RI16).

func classifyXtensa(v uint32) Form {
	switch {
	case v&15 == 5:
		return XtCall
	case v&0x3f == 6:
		return XtJump
	case v&15 == 1:
		return XtLoad
	}
	return NoForm
}
