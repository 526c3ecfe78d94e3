package model

// Sets of weights: of skips, kinds and numbers, then 16 of hits, by the kind of
// expectation, and 16 of literals.
const (
	skipSet    = 0
	kindSet    = skipSet + 2
	kindInputs = 3
	numberSet  = kindSet + kindInputs
	hitSet     = numberSet + 3
)

// weights is how many weights the tier has.
func (l *layout) weights() int { return hitSet + 16*l.hits + 16*l.literals }

// scale brings numbers that grow into 14 classes.
func scale(v uint32) uint32 {
	switch {
	case v < 4:
		return v
	case v < 8:
		return 4 + (v-4)>>1
	case v < 16:
		return 6 + (v-8)>>2
	case v < 32:
		return 8 + (v-16)>>3
	case v < 64:
		return 10
	case v < 128:
		return 11
	case v < 512:
		return 12
	}
	return 13
}

// hash mixes two numbers into one whose upper bits are as good as random.
func hash(a, b uint32) uint32 {
	h := a*0x9E3779B1 ^ b*0x85EBCA6B
	h ^= h >> 15
	h *= 0x2C1B3C6D
	h ^= h >> 13
	return h
}

// ask makes a slot of hits and jumps the n-th input.
func (w *Walk) ask(n int, h uint32, lim uint8) {
	w.place(n, h)
	w.lim[n] = lim
}

func (w *Walk) place(n int, h uint32) { w.idx[n] = uint32(uint64(h) * uint64(w.shared) >> 32) }

// askFixed makes a fixed probability of hits the n-th input behind the slots.
func (w *Walk) askFixed(n int, h uint32) {
	w.fidx[n] = w.places + uint32(uint64(h)*uint64(w.hitPlaces)>>32)
}

// codeSkip codes whether a stretch is as expected.
func (w *Walk) codeSkip(all int) int {
	w.part = Skips
	r := scale(w.run)
	w.ask(0, hash(9<<24, r), 15)
	w.ask(1, hash(10<<24, r<<8|w.flags>>24), 15)
	return w.bit(2, skipSet, all)
}

// codeHit codes whether the expected byte e is right.
func (w *Walk) codeHit(e byte, kind uint32, hit int) int {
	w.part = Hits
	run, last := scale(w.run), w.flags
	c1 := w.c4 & 255
	e1, e2 := uint32(w.ahead(w.p+1)), uint32(w.ahead(w.p+2))
	x := uint32(e)
	few := min(run, 3)
	jumped := u32(w.jumped)
	w.ask(0, hash(1<<24|run<<4|last&15, kind|jumped<<8), 15)
	w.ask(1, hash(2<<24|x<<8|c1, few|kind<<4), 13)
	w.ask(2, hash(3<<24|kind<<12|last&15|last>>7&1<<4|last>>11&1<<5|last>>15&1<<6, uint32(w.at&3)|run<<2), 15)
	w.ask(3, hash(4<<24|x<<16|e1<<8|e2, min(run, 1)), 13)
	if w.Tier < 2 {
		if w.hitPlaces > 0 {
			w.nf = 3
			w.askFixed(0, hash(5<<24|x<<16|w.c4&0xffff, e1))
			w.askFixed(1, hash(6<<24|min(run, 9)|jumped<<20, class(e)<<8|class(byte(c1))<<12|u32(w.kind >= jumpFar)<<4))
			w.askFixed(2, hash(8<<24|run<<4|last&15, kind|jumped<<8|class(e)<<12))
		}
		b := w.bit(4, hitSet+int(kind)*w.hits, hit)
		w.nf = 0
		return b
	}
	w.ask(4, hash(5<<24|x<<16|w.c4&0xffff, e1), 13)
	w.ask(5, hash(6<<24|min(run, 9)|jumped<<20, class(e)<<8|class(byte(c1))<<12|u32(w.kind >= jumpFar)<<4), 15)
	mb, ml := w.match.predict()
	mm := uint32(0)
	if ml > 0 {
		mm = 1 + u32(mb == e)*4 + min(ml>>1, 3)
	}
	w.ask(6, hash(7<<24|mm, run), 15)
	return w.bit(7, hitSet+int(kind)*w.hits, hit)
}

// codeKind codes whether what is not expected is a jump.
func (w *Walk) codeKind(e byte, jump int) int {
	w.part = Kinds
	c1 := w.c4 & 255
	w.ask(0, hash(11<<24, scale(w.run)<<8|scale(w.misses)), 15)
	w.ask(1, hash(12<<24, c1<<8|w.flags&7), 12)
	w.ask(2, hash(13<<24, c1<<8|uint32(e)), 12)
	return w.bit(kindInputs, kindSet, jump)
}

// nodes spreads the nodes of the tree of bits over the slots.
const nodes = 0x9E3779B1

// nextBit is the bit that follows in byte b, which has 1 above it, if those that
// node has are its first ones. If not, or if b is 0, it is 2.
func nextBit(b, node uint32, k uint) uint32 {
	b >>= k & 7
	next := b & 1
	if b>>1 != node {
		next = 2
	}
	return next
}

// literal codes the byte b, which is not the expected one.
func (w *Walk) literal(e, other byte, kind uint32, b byte) byte {
	w.part = Literals
	c1, c2, c3 := w.c4&255, w.c4>>8&255, w.c4>>16&255
	far := min(w.misses, 3)
	x := uint32(e)
	base := [7]uint32{
		hash(20<<24|x, far), hash(21<<24|c1, 0), hash(22<<24|c1<<8|c2, 0), hash(23<<24|x<<8|c1, min(far, 1)),
	}
	n := 4
	if w.Tier >= 2 {
		base[4], base[5], base[6] = hash(24<<24|c1<<16|c2<<8|c3, 0), hash(25<<24, w.word), hash(26<<24, w.c4)
		n = 7
	}
	places := uint64(w.places)
	fixed := [4]uint32{
		hash(60<<24|c1<<8|c2, 0), hash(61<<24|c1<<16|c2<<8|c3, 0), hash(62<<24|x<<8|c1, far), hash(63<<24, w.word),
	}
	w.nf = 2
	if w.hitPlaces > 0 {
		w.nf = 4
	}
	mb, ml := w.match.predict()
	guess, moved, second := uint32(mb)|256, uint32(e+w.delta)|256, uint32(other)|256
	never := x | 256
	literals := w.pool - w.shared
	set := hitSet + 16*w.hits + int(min(far, 2)+4*u32(kind > 0))*w.literals
	for i := range n {
		w.lim[i] = 12
	}
	w.lim[n], w.lim[n+1], w.lim[n+2] = 15, 15, 15
	// By the next bit of a byte that may be it; the last is for when it is not.
	byGuess := [4]uint32{hash(30<<24|min(ml, 15)<<4, 0), hash(30<<24|min(ml, 15)<<4, 1), hash(31<<24, 0)}
	bySecond := [4]uint32{hash(34<<24|kind, 0), hash(34<<24|kind, 1), hash(35<<24, 0)}
	sets := [4]int{set + 8*w.literals, set + 8*w.literals, set}
	if ml == 0 {
		guess = 0
	}
	if other == e {
		second = 0
	}
	node := uint32(1)
	for k := uint(7); k < 8; k-- {
		if k == 0 && never>>1 == node {
			// All but the last bit are those of the byte that it is not.
			node = node<<1 | never&1 ^ 1
			break
		}
		spread := node * nodes
		for i := 0; i < n; i++ {
			w.idx[i] = w.shared + uint32(uint64(base[i]+spread)*uint64(literals)>>32)
		}
		next := nextBit(guess, node, k)
		w.place(n, byGuess[next&3])
		s := sets[next&3]
		next = nextBit(moved, node, k)
		h := hash(32<<24|uint32(k)<<8, next|far<<1)
		if next == 2 {
			h = hash(33<<24, 0)
		}
		w.place(n+1, h)
		w.place(n+2, bySecond[nextBit(second, node, k)&3])
		for i := range w.nf {
			w.fidx[i] = uint32(uint64(fixed[i]+spread) * places >> 32)
		}
		bit := w.bit(n+3, s, int(b>>(k&7)&1))
		node = node<<1 | uint32(bit)
	}
	w.nf = 0
	return byte(node)
}

func letter(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b >= '0' && b <= '9' || b >= 128
}

// class is what kind of character b is in a text.
func class(b byte) uint32 {
	switch {
	case b >= 'a' && b <= 'z':
		return 1
	case b >= 'A' && b <= 'Z':
		return 2
	case b >= '0' && b <= '9':
		return 3
	case b == '_' || b == '-':
		return 4
	case b == ' ' || b == '\t':
		return 5
	case b == '\n' || b == '\r':
		return 6
	case b == '(' || b == '[' || b == '{':
		return 7
	case b == ')' || b == ']' || b == '}':
		return 8
	case b == '"' || b == '\'' || b == '`':
		return 9
	case b == '.' || b == ',' || b == ';' || b == ':':
		return 10
	case b > 126:
		return 11
	case b < 32:
		return 12
	}
	return 13
}
