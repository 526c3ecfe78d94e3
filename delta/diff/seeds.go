package diff

import (
	"encoding/binary"
	"math/bits"
)

// seeds finds where short strings stand in the source: chains of places, the last
// one first, by a hash of the string.
type seeds struct {
	head, next []int32
	shift      uint
}

func makeSeeds(n, most int) seeds {
	b := max(10, min(most, bits.Len(uint(n))))
	return seeds{head: make([]int32, 1<<b), next: make([]int32, n), shift: uint(64 - b)}
}

func (s *seeds) put(hash uint64, at int) {
	h := hash >> s.shift
	s.next[at] = s.head[h]
	s.head[h] = int32(at) + 1
}

// first is the last place with a hash, -1 if there is none; before the one before
// a place.
func (s *seeds) first(hash uint64) int { return int(s.head[hash>>s.shift]) - 1 }
func (s *seeds) before(at int) int     { return int(s.next[at]) - 1 }

// Lengths of the strings that are hashed.
const (
	longSeed  = 12
	shortSeed = 5
)

const golden = 0x9E3779B97F4A7C15

func hashLong(p []byte) uint64 {
	v := binary.LittleEndian.Uint64(p) * golden
	return (v ^ uint64(binary.LittleEndian.Uint32(p[8:]))*0xC2B2AE3D27D4EB4F) * golden
}

func hashShort(p []byte) uint64 {
	return (uint64(binary.LittleEndian.Uint32(p)) | uint64(p[4])<<32) * golden
}

// index takes in the old content.
func (a *aligner) index() {
	n := len(a.old)
	if a.back {
		n += len(a.new)
	}
	a.long, a.short = makeSeeds(n, 24), makeSeeds(n, 22)
	for i := range a.old {
		a.insert(a.old[i:], i)
	}
}

// insert takes in the string at a source.
func (a *aligner) insert(p []byte, at int) {
	if len(p) >= longSeed {
		a.long.put(hashLong(p), at)
		a.short.put(hashShort(p), at)
	}
}

// matchLength is how many bytes a and b have in common at their beginning.
func matchLength(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// How hard sources are looked for.
const (
	longChain  = 32
	shortChain = 64
	enough     = 32  // a match that long makes short ones superfluous
	keepBest   = 4   // of those found by chains
	around     = 256 // bytes before and behind what was left
	keepNear   = 12
)

// sources gives shifts by which new[i:] stands in the source.
func (a *aligner) sources(l *lane, i int, out []int64) []int64 {
	rest := a.new[i:]
	if len(rest) < longSeed {
		return out
	}
	var value [keepBest]int32
	consider := func(q, n int) {
		shift := int64(q - i)
		v := int32(min(n, 4000))*80 - a.jumpCost(l, i, int64(q))
		if v <= 0 {
			return
		}
		at := len(out)
		for k := range out {
			if out[k] == shift {
				return
			}
		}
		if at == keepBest {
			at = 0
			for k := range value {
				if value[k] < value[at] {
					at = k
				}
			}
			if value[at] >= v {
				return
			}
			out[at], value[at] = shift, v
			return
		}
		out = append(out, shift)
		value[at] = v
	}
	longest := 0
	look := func(s *seeds, hash uint64, depth, least int) {
		for q := s.first(hash); q >= 0 && depth > 0; depth-- {
			if a.readable(int64(q), i) {
				if n := matchLength(a.from(int64(q)), rest); n >= least {
					consider(q, n)
					longest = max(longest, n)
				}
			}
			q = s.before(q)
		}
	}
	look(&a.long, hashLong(rest), longChain, longSeed)
	if longest >= enough {
		return out
	}
	look(&a.short, hashShort(rest), shortChain, shortSeed)
	out = a.near(l.left(i), i, out)
	for _, p := range l.lefts {
		out = a.near(p, i, out)
	}
	return out
}

// near adds the shifts around source p by which four bytes of new[i:] stand there.
func (a *aligner) near(p int64, i int, out []int64) []int64 {
	if p < 0 || p >= a.total || len(out) >= keepNear {
		return out
	}
	want := binary.LittleEndian.Uint32(a.new[i:])
	for q := max(0, p-around); q < min(a.total-4, p+around); q++ {
		if binary.LittleEndian.Uint32(a.old[q:]) != want || !a.readable(q, i) {
			continue
		}
		known := false
		for _, s := range out {
			known = known || s == q-int64(i)
		}
		if !known {
			out = append(out, q-int64(i))
		}
	}
	return out
}
