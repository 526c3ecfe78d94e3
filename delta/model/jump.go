package model

// Kinds of jumps.
const (
	jumpHere = 0 // near where the alignment was left
	jumpBack = 1 // and 2, 3: near where it was left before
	jumpFar  = 4
	jumpNew  = 5 // into the new content

	kept = 3 // sources that were left and are remembered
)

// Lefts are the sources that were left by the last jumps.
type Lefts [kept]int64

// nearLimit is how far from a source that was left a jump may lead to be coded by
// that.
const nearLimit = 2048

// Kind is how a jump to a source is coded where cur is left, and from where the
// distance counts.
func (l *Lefts) Kind(cur, to, oldSize int64) (kind int, base int64) {
	best, kind, base := int64(nearLimit), jumpFar, cur
	if to >= oldSize {
		kind = jumpNew
	}
	if d := max(to-cur, cur-to); d < best {
		best, kind = d, jumpHere
	}
	for k, from := range l {
		if d := max(to-from, from-to) + int64(k) + 1; d < best {
			best, kind, base = d, jumpBack+k, from
		}
	}
	return kind, base
}

// Leave notes that cur was left by a jump of some kind.
func (l *Lefts) Leave(cur int64, kind int) {
	switch {
	case kind == jumpHere:
		return
	case kind < jumpFar:
		copy(l[1:kind], l[:kind-1])
	default:
		copy(l[1:], l[:kept-1])
	}
	l[0] = cur
}

// Slots of numbers and jumps, one for each context.
const (
	lengths     = 18
	numberKinds = 10
	topBits     = numberKinds * lengths
	nextBits    = topBits + 2*lengths
	signs       = nextBits + 2*lengths
	kinds       = signs + numberKinds
	numberSlots = kinds + 5*8
)

// order is how kinds of jumps are asked for.
var order = [...]int{jumpHere, jumpFar, jumpBack, jumpBack + 1, jumpBack + 2, jumpNew}

func (w *Walk) direct(i uint32, set int, bit int) int {
	w.idx[0] = w.pool + i
	w.lim[0] = 12
	return w.bit(1, numberSet+set, bit)
}

// codeJump codes a jump to a source.
func (w *Walk) codeJump(to int64) {
	w.part = Jumps
	cur := w.miss0
	kind := 0
	if w.encoding {
		kind, _ = w.lefts.Kind(cur, to, w.OldSize)
	}
	k := 0
	for ; k < len(order)-1; k++ {
		if w.direct(kinds+uint32(k)*8+min(w.misses, 3)+4*u32(w.kind >= jumpFar), 2, bit(kind == order[k])) == 1 {
			break
		}
	}
	kind = order[k]
	w.kind = uint32(kind)
	switch kind {
	case jumpNew:
		end := w.OldSize + w.at
		w.p = end - int64(w.number(0, uint64(end-to)))
	case jumpFar:
		w.p = w.signed(2, cur, to)
	case jumpHere:
		w.p = w.signed(4+4*u32(w.misses == 0), cur, to)
	default:
		w.p = w.signed(6, w.lefts[kind-1], to)
	}
	if w.p < 0 || w.p >= w.OldSize+w.at {
		w.err = ErrDamaged // sources are bounded, so sums of them do not overflow
		w.p = 0
	}
	w.lefts.Leave(cur, kind)
	w.misses, w.run = 0, 0
	w.jumped = true
	w.flags = w.flags<<1 | 1
	w.landed()
}

// signed codes how far to is from base.
func (w *Walk) signed(kind uint32, base, to int64) int64 {
	d := to - base
	if w.direct(signs+kind, 2, bit(d < 0)) == 1 {
		return base - int64(w.number(kind, uint64(-d-1))) - 1
	}
	return base + int64(w.number(kind+1, uint64(d)))
}

// maxLength is the largest number of bits of a number.
const maxLength = 40

// number codes a number by the length of its successor and the bits of that
// below the first.
func (w *Walk) number(kind uint32, v uint64) uint64 {
	length := 0
	if w.encoding {
		for t := v + 1; t > 1; t >>= 1 {
			length++
		}
	}
	k := 0
	for ; k < maxLength; k++ {
		if w.direct(kind*lengths+min(uint32(k), lengths-1), 0, bit(k == length)) == 1 {
			break
		}
	}
	x := uint64(1)
	for i := k - 1; i >= 0; i-- {
		b := int((v + 1) >> uint(i) & 1)
		switch i {
		case k - 1:
			b = w.direct(topBits+kind&1*lengths+min(uint32(k), lengths-1), 1, b)
		case k - 2:
			b = w.direct(nextBits+min(uint32(k), lengths-1)*2+uint32(x&1), 1, b)
		default:
			b = w.plain(b)
		}
		x = x<<1 | uint64(b)
	}
	return x - 1
}

// plain codes a bit of which nothing is known.
func (w *Walk) plain(bit int) int {
	const half = 1 << 15
	bit = w.code(bit, half)
	if w.watch != nil {
		w.watch.Coded(bit, half, w.part, nil, nil)
	}
	return bit
}
