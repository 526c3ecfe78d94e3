package model

import _ "embed"

// Two tables of 4,096 16-bit numbers, the low byte first: stretch of 12-bit
// probabilities, and squash of -2048..2047. delta/train writes the file.
//
//go:embed tables.bin
var tables string

const squashAt = 2 * 4096

// stretch is 256 ln(p/(1-p)) of p in 4096ths, between -2047 and 2047. t is
// tables: where its length is known to the compiler, it looks up without a check.
func stretch(t string, p uint) int32 {
	return int32(int16(uint16(t[2*p]) | uint16(t[2*p+1])<<8))
}

// squash is the probability, in 65536ths, whose stretch is x; between 16 and
// 65520.
func squash(x int32) uint32 {
	t := tables[squashAt+2*uint32((x+2048)&4095):][:2]
	return uint32(t[0]) | uint32(t[1])<<8
}

// A step is what a slot does with a bit.
type step struct {
	rate int32  // how far it moves towards it, in 65536ths
	grow uint32 // how probable it is, in 256ths, that its count grows
}

// A slot is a 12-bit probability that the bit is 1 above a 4-bit count of what
// it has seen. By the count: its step, and how much its word weighs, in 256ths.
var (
	steps = [16]step{
		{43690, 256}, {26214, 256}, {18724, 256}, {14563, 256}, {11915, 256}, {10082, 170}, {8192, 128}, {6553, 85},
		{5041, 64}, {3855, 51}, {2978, 32}, {2184, 21}, {1560, 14}, {1092, 8}, {728, 6}, {504, 0},
	}
	conf = [16]int32{0, 115, 166, 192, 209, 225, 235, 243, 250, 256, 256, 256, 261, 263, 266, 268}
)

// fresh is a slot that has seen nothing.
const fresh = 2048 << 4
