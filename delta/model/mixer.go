package model

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
	rnd  uint32
	part Part

	watch Watcher
}

// bit codes a bit by n slots and nf places of fixed, with the weights at set.
func (m *mixer) bit(n int, set int, bit int) int {
	var st [maxInputs]int32
	w := m.weights[2*set:]
	var dot int64
	slots := m.slots
	for i := 0; i < n; i++ {
		j := 2 * m.idx[i]
		b := slots[j : j+2 : j+2]
		s := uint32(b[0]) | uint32(b[1])<<8
		v := stretch(s>>4) * conf[s&15] >> 8
		st[i] = v
		dot += int64(v) * int64(weight(w[2*i:]))
	}
	k := n
	for i := 0; i < m.nf; i++ {
		v := int32(int8(m.fixed[m.fidx[i]])) << 4
		st[k] = v
		dot += int64(v) * int64(weight(w[2*k:]))
		k++
	}
	x := int32(max(-2047, min(2047, dot>>oneBits)))
	p := squash(x)
	bit = m.code(bit, p)
	if m.watch != nil {
		m.watch.Coded(bit, p, m.part, m.idx[:n], m.fidx[:m.nf])
	}
	m.rnd = m.rnd*1664525 + 1013904223
	r := m.rnd
	miss := (int32(bit)<<16 - int32(p)) * learning >> 8
	for i := 0; i < k; i++ {
		b := w[2*i : 2*i+2 : 2*i+2]
		v := weight(b) + (st[i]*miss+int32(r>>14))>>18
		v = max(-1<<15, min(1<<15-1, v))
		b[0], b[1] = byte(v), byte(v>>8)
		r = r<<7 | r>>25
	}
	goal := int32(bit) * 4095
	for i := 0; i < n; i++ {
		j := 2 * m.idx[i]
		b := slots[j : j+2 : j+2]
		s := uint32(b[0]) | uint32(b[1])<<8
		c := s & 15
		v := int32(s >> 4)
		v += ((goal-v)*rates[c] + int32(r>>16)) >> 16
		v = max(0, min(4095, v))
		if c < uint32(m.lim[i]) && r>>24 < grow[c] {
			c++
		}
		b[0], b[1] = byte(uint32(v)<<4|c), byte(uint32(v)>>4)
		r = r<<7 | r>>25
	}
	return bit
}

// learning is how fast weights follow.
const learning = 8

// one is the weight 1.
const (
	oneBits = 12
	one     = 1 << oneBits
)

func weight(b []byte) int32 {
	_ = b[1]
	return int32(int16(uint16(b[0]) | uint16(b[1])<<8))
}
