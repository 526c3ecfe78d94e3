package address

// The encodings are those of the WebAssembly Core Specification: LEB128 (5.2.2),
// call (5.4.1), i32.const (5.4.7), loads and stores
// (5.4.6).

// WasmAt tells whether numbers of one to four bytes behind b1, the byte before
// them, and b2, the one before that, are the index of a function that is called
// or a constant that may be an address, and how long they are. Where instructions
// begin is not known: what follows an instruction with an operand may be one.
func WasmAt(b1, b2 byte, v uint32) (Form, int) {
	switch b1 {
	case 0x10: // call
		switch b2 {
		case 0x0c, 0x0d, 0x20, 0x21, 0x22, 0x23, 0x24, 0x41, 0x42:
			return NoForm, 0
		}
		if n := lebLen(v); n != 0 {
			return WasmCall, n
		}
	case 0x41: // i32.const
		if n := lebLen(v); n >= 3 && v>>(8*uint(n)-2)&1 == 0 {
			return WasmConst, n
		}
	case 0, 1, 2, 3: // perhaps the alignment of a load or store
		if b2 >= 0x28 && b2 <= 0x3e {
			if n := lebLen(v); n >= 3 {
				return WasmConst, n
			}
		}
	}
	return NoForm, 0
}

// lebLen is how many of the bytes of v are a number, 0 if it is longer.
func lebLen(v uint32) int {
	for n := range 4 {
		if v>>(8*uint(n)+7)&1 == 0 {
			return n + 1
		}
	}
	return 0
}

func leb(v uint32) uint32 {
	x := v & 0x7f
	for k := uint(1); k < 4 && v>>(8*k-1)&1 != 0; k++ {
		x |= v >> (8 * k) & 0x7f << (7 * k)
	}
	return x
}

// lebPut is v with the number x, if that has as many bytes: signed numbers are of
// one more where the seventh bit of the last one would be taken for the sign.
func lebPut(v, x uint32) uint32 {
	n := uint(lebLen(v))
	if n == 0 || x>>(7*n) != 0 || n > 1 && x>>(7*n-8) == 0 {
		return v
	}
	y := v
	if n < 4 {
		y = v &^ (1<<(8*n) - 1)
	} else {
		y = 0
	}
	for k := range n {
		y |= x >> (7 * k) & 0x7f << (8 * k)
		if k+1 < n {
			y |= 0x80 << (8 * k)
		}
	}
	return y
}

// functions is where the indices of functions are in the space of addresses.
const functions = 0xe0000000
