package model

import "math/bits"

// maxInputs is how many words are mixed at most.
const maxInputs = 12

// A Watcher is told of every bit that is coded: with which probability, for what,
// and by which slots.
type Watcher interface {
	Coded(bit int, p uint32, part Part, slots, fixed []uint32)
}

// A mixer codes bits: it asks slots for their word, mixes, codes, and tells the
// slots and weights what it was (Mahoney, "Adaptive Weighing of Context Models for
// Lossless Data Compression", 2005).
type mixer struct {
	coder
	slots   []byte // 16 bits each, the low byte first
	weights []byte // 16 bits each, the low byte first
	fixed   string // of each context of text its stretched probability in 16ths

	idx  [maxInputs]uint32 // slots to ask
	lim  [maxInputs]uint8  // the largest counts that they get
	fidx [4]uint32         // places in fixed to ask
	nf   int
	st   [maxInputs]int32 // what slots and places say
	rnd  uint32
	part Part

	watch Watcher
}

// bit codes a bit by n slots and nf places of fixed, with the weights at set.
func (m *mixer) bit(n int, set int, bit int) int {
	nf := m.nf
	w := (*weights)(m.weights[2*set : 2*(set+maxInputs)])
	p := squash(max(-2047, min(2047, m.predict(n, nf, w)>>oneBits)))
	bit = m.code(bit, p)
	if m.watch != nil {
		m.watch.Coded(bit, p, m.part, m.idx[:n], m.fidx[:nf])
	}
	m.rnd = m.rnd*1664525 + 1013904223
	adjust(w, m.st[:n+nf], (int32(bit)<<16-int32(p))*learning>>8, m.rnd)
	m.adapt(n, int32(bit)*4095, bits.RotateLeft32(m.rnd, 7*(n+nf)))
	return bit
}

// predict is the sum of what slots and places say by its weight.
func (m *mixer) predict(n, nf int, w *weights) int32 {
	t, slots := tables, m.slots
	if len(t) < squashAt {
		return 0 // it is longer: said for the compiler
	}
	var dot int32
	st := m.st[:n]
	for i, j := range m.idx[:n] {
		s := uint(get16(slots, uint(j)))
		v := stretch(t, s>>4) * conf[s&15] >> 8
		st[i] = v
		dot += v * w.at(uint(i))
	}
	fixed := m.fixed
	for i, j := range m.fidx[:nf] {
		v := int32(int8(fixed[j])) << 4
		m.st[n+i] = v
		dot += v * w.at(uint(n+i))
	}
	return dot
}

// adjust brings weights nearer to those that would have been right.
func adjust(w *weights, st []int32, miss int32, r uint32) {
	for i, v := range st[:min(len(st), maxInputs)] {
		v = w.at(uint(i)) + (v*miss+int32(r>>14))>>18
		w.set(uint(i), max(-1<<15, min(1<<15-1, v)))
		r = bits.RotateLeft32(r, 7)
	}
}

// adapt brings slots nearer to what the bit was.
func (m *mixer) adapt(n int, goal int32, r uint32) {
	slots := m.slots
	lim := m.lim[:n]
	for i, j := range m.idx[:n] {
		s := get16(slots, uint(j))
		step := &steps[s&15]
		// One more, if it is below the limit and by chance.
		more := ((s&15 - uint32(lim[i])) & (r>>24 - step.grow)) >> 31
		v := ((goal-int32(s>>4))*step.rate + int32(r>>16)) >> 16
		put16(slots, uint(j), s+uint32(v)<<4+more)
		r = bits.RotateLeft32(r, 7)
	}
}

// weights are those of a bit. Behind the last ones in memory is something else,
// that is not touched.
type weights [2 * maxInputs]byte

func (w *weights) at(i uint) int32 { return int32(int16(uint16(w[2*i]) | uint16(w[2*i+1])<<8)) }

func (w *weights) set(i uint, v int32) {
	u := uint32(v)
	w[2*i] = byte(u)
	w[2*i+1] = byte(u >> 8)
}

// get16 is the i-th 16-bit number of b.
func get16(b []byte, i uint) uint32 {
	i *= 2
	_ = b[i+1]
	return uint32(b[i]) | uint32(b[i+1])<<8
}

func put16(b []byte, i uint, v uint32) {
	i *= 2
	_ = b[i+1]
	b[i] = byte(v)
	b[i+1] = byte(v >> 8)
}

// learning is how fast weights follow.
const learning = 8

// one is the weight 1.
const (
	oneBits = 12
	one     = 1 << oneBits
)
