// Package model codes a new content against an old one, and back. The coder
// walks the old content beside the new one: each byte is either the expected one,
// which is one binary event of small cost, or a literal, or it is reached by a
// jump in the old content. Predictions of several contexts are mixed; what
// ordinary pairs of contents look like is known from the start. What a patch is
// and who is told of errors is the business of package delta, finding the way
// through the old content that of delta/diff. docs/patch-format.md describes the
// code.
//
// Invariant: decoding is a function of the code, the old content and the header's
// numbers alone, in integers, the same on every machine; all that changes is in
// the memory that the caller gave and in a Walk of fixed size.
package model

import (
	"errors"
	"io"
)

// ErrDamaged says that a code is none that an encoder makes.
var ErrDamaged = errors.New("the patch is damaged")

// A Jump is where the encoder leaves the alignment: before the byte at New is
// coded, the source becomes Source. Sources from the size of the old content on
// are in the new one.
type Jump struct{ New, Source int64 }

// A Part is a kind of thing that bits are spent on.
type Part uint8

// The parts.
const (
	Skips Part = iota // whether a stretch is as expected
	Hits              // whether a byte is
	Kinds             // whether what is not is a jump
	Jumps             // where to
	Literals
	Parts
)

// A Task is what is coded against what.
type Task struct {
	Tier             int         // 1, 2 or 3
	Old              io.ReaderAt // the old content
	Back             io.ReaderAt // what was written of the new one; nil if that is not read
	OldSize, NewSize int64
	Slack, Block     int64   // in place: see delta.Header
	Code             bool    // the contents are programs, or like them
	Recipe           *Recipe // what is known of addresses in the old content; may be nil
}

// A Walk is the state of coding one content. What is in its memory and its
// fields, but for those of Task, is all that decoding depends on.
type Walk struct {
	Task
	mixer
	refs  refs
	match matcher

	hits, literals int    // inputs of their sets of weights
	places         uint32 // fixed probabilities of literals
	hitPlaces      uint32 // fixed probabilities of hits, behind them
	shared         uint32 // slots of hits and jumps, the first ones; the others are of literals
	pool           uint32 // slots but for those of numbers

	at      int64  // bytes of the new content that are coded
	p       int64  // source of the next expected byte
	miss0   int64  // source of the first miss of the present misses
	lefts   Lefts  // sources that were left
	flags   uint32 // the last events, 1 a miss or a jump
	run     uint32 // hits since the last of them
	misses  uint32 // literals in a row since a hit or a jump
	kind    uint32 // of the last jump
	jumped  bool   // no miss since then
	delta   byte   // the last literal less what was expected
	c4      uint32 // the last bytes
	word    uint32 // hash of the last letters
	skip    uint32 // bytes left of a stretch that is as expected
	frozen  bool   // references are not learned from
	started bool

	win    []byte // of the source
	lo, hi int64  // what of it is in win

	sink   io.Writer
	out    []byte // not written yet
	outLen int
	err    error

	mem   []byte
	want  []byte // encoding
	jumps []Jump
}

var noRecipe Recipe

// layouts are how the memory of each tier is used, for texts and for programs.
var layouts = [4][2]layout{
	1: {
		{pool: 1248, shared: 750, hits: 7, literals: 11, window: 160, in: 48, out: 64, literalPlaces: 24 << 10, hitPlaces: 8 << 10},
		{pool: 1040, shared: 490, hits: 4, literals: 9, window: 160, in: 48, out: 64, shifts: 64, literalPlaces: 8 << 10},
	},
	2: {
		{pool: 23500, shared: 12000, hits: 7, literals: 12, window: 1024, in: 512, out: 1024, hist: 13, literalPlaces: 32 << 10},
		{pool: 19000, shared: 8600, hits: 7, literals: 12, window: 1024, in: 512, out: 1024, shifts: 1000, hist: 13, literalPlaces: 32 << 10},
	},
	3: {
		{pool: 481000, shared: 150000, hits: 7, literals: 12, window: 16384, in: 4096, out: 8192, hist: 15},
		{pool: 445000, shared: 110000, hits: 7, literals: 12, window: 16384, in: 4096, out: 8192, shifts: 8000, hist: 15},
	},
}

type layout struct {
	pool, shared    int // slots
	hits, literals  int // inputs of hits and of literals
	window, in, out int // bytes
	shifts          int // entries
	hist            int // bits, 0 for none
	// Fixed probabilities: of literals, and behind them of hits where those have
	// some. The largest tier has those of the middle one.
	literalPlaces, hitPlaces int
}

func layoutOf(tier int, code bool) *layout { return &layouts[tier][bit(code)] }

// slots is how many slots the tier has.
func (l *layout) slots() int { return l.pool + numberSlots }

// Memory is how many bytes Init needs for a tier.
func Memory(tier int) int { return max(layoutOf(tier, false).memory(), layoutOf(tier, true).memory()) }

func (l *layout) memory() int {
	n := 2*l.slots() + 2*l.weights() + l.window + l.in + l.out + 9*l.shifts
	if l.hist > 0 {
		n += 1<<l.hist + 2<<(l.hist-2)
	}
	return n
}

// Init makes w ready for a task, in mem, which has at least Memory(tier) bytes.
func (w *Walk) Init(mem []byte, t Task) {
	*w = Walk{Task: t}
	if w.Recipe == nil {
		w.Recipe = &noRecipe
	}
	w.carve(mem)
	if len(w.match.hist) > 0 {
		w.match.clear()
	}
	w.rnd = 1
	w.refs.init()
	w.readRecipe()
	w.learned()
}

// carve gives each part of w its place in mem.
func (w *Walk) carve(mem []byte) {
	l := layoutOf(w.Tier, w.Code)
	w.mem = mem
	take := func(n int) []byte {
		b := mem[:n:n]
		mem = mem[n:]
		return b
	}
	w.hits, w.literals = l.hits, l.literals
	w.shared, w.pool = uint32(l.shared), uint32(l.pool)
	w.slots = take(2 * l.slots())
	// The mixer looks at maxInputs weights at a time, also where fewer are left.
	w.weights = mem[: 2*l.weights() : 2*(l.weights()+maxInputs)]
	take(2 * l.weights())
	w.win, w.buf, w.out = take(l.window), take(l.in), take(l.out)
	w.refs.code.mem, w.refs.code.used = take(8*l.shifts), take(l.shifts)
	if l.hist > 0 {
		w.match.hist, w.match.head = take(1<<l.hist), take(2<<(l.hist-2))
	}
}

// Copy makes c what w is, in memory of its own. It is for encoding only.
func (w *Walk) Copy(c *Walk, mem []byte) {
	copy(mem, w.mem)
	*c = *w
	c.carve(mem)
	c.done = nil
}

// Follow is the way to go from here on.
func (w *Walk) Follow(jumps []Jump) { w.jumps = jumps }

// Decode codes n bytes, or as many as are left, from in to sink. in goes on where
// it was when Decode returned before. An error of in, sink or what is read,
// ErrDamaged, or io.ErrUnexpectedEOF where the code is too short, ends it.
func (w *Walk) Decode(n int64) error {
	if !w.started {
		w.started = true
		w.fill4()
	}
	end := w.NewSize
	if n >= 0 && n < end-w.at {
		end = w.at + n
	}
	w.walk(end)
	w.flush()
	if w.err == nil {
		w.err = w.coder.err
	}
	return w.err
}

// Begin sets what Decode reads and writes.
func (w *Walk) Begin(in io.Reader, sink io.Writer) {
	w.in, w.sink = in, sink
}

// Watch has watch told of every bit.
func (w *Walk) Watch(watch Watcher) { w.watch = watch }

// Used is how many bytes of the code were taken.
func (w *Walk) Used() int64 { return w.used }

// At is how many bytes of the new content are coded.
func (w *Walk) At() int64 { return w.at }

// Encode begins to code a content by the way through the source that jumps say,
// in ascending order of New. watch may be nil.
func (w *Walk) Encode(want []byte, jumps []Jump, watch Watcher) {
	w.watch, w.want, w.jumps = watch, want, jumps
	w.startEncoding()
}

// EncodeTo codes the content up to end.
func (w *Walk) EncodeTo(end int64) {
	w.walk(min(end, w.NewSize))
}

// Finish gives the code, after all of the content is coded.
func (w *Walk) Finish() []byte { return w.finish() }

// Length is how long the code is as yet, in bytes.
func (w *Walk) Length() int { return len(w.done) }

// Err is what reading the contents led to.
func (w *Walk) Err() error { return w.err }

// stretches of skipLength bytes are looked at as one after as many hits.
const skipLength = 32

func (w *Walk) walk(end int64) {
	for w.at < end && w.err == nil && w.coder.err == nil {
		if w.Block > 0 && w.at%w.Block == 0 {
			w.lo, w.hi = 0, 0 // what may be read of the old content changes
		}
		e, other, kind := w.next()
		if w.skip > 0 {
			w.skip--
			w.hit(e)
			if w.skip == 0 {
				w.frozen = false
			}
			continue
		}
		jump := len(w.jumps) > 0 && w.jumps[0].New == w.at
		if w.run >= skipLength && w.run%skipLength == 0 && w.canSkip() {
			all := 0
			if w.encoding {
				all = w.wouldSkip(len(w.jumps) > 0 && w.jumps[0].New < w.at+skipLength)
				e, other, kind = w.next()
			}
			if w.codeSkip(all) == 1 {
				w.skip = skipLength
				w.frozen = true
				continue
			}
		}
		var b byte
		hit := 0
		if w.encoding {
			b = w.want[w.at]
			hit = bit(!jump && b == e)
		}
		if w.codeHit(e, kind, hit) == 1 {
			w.hit(e)
			continue
		}
		if w.misses == 0 {
			w.miss0 = w.p
		}
		if w.codeKind(e, bit(jump)) == 1 {
			var to int64
			if w.encoding {
				to = w.jumps[0].Source
				w.jumps = w.jumps[1:]
			}
			w.codeJump(to)
			continue
		}
		b = w.literal(e, other, kind, b)
		w.miss(e, b)
	}
}

// canSkip tells whether a stretch may be looked at as one: it lies in the old
// content, the new one and one block.
func (w *Walk) canSkip() bool {
	return w.NewSize-w.at >= skipLength && w.p+skipLength <= w.OldSize &&
		(w.Block == 0 || w.at%w.Block+skipLength <= w.Block)
}

// wouldSkip is 1 if the next skipLength bytes of the content are what is expected.
func (w *Walk) wouldSkip(jump bool) int {
	if jump {
		return 0
	}
	cur, at, p := w.refs.cur, w.at, w.p
	w.frozen = true
	all := 1
	for range skipLength {
		e, _, _ := w.next()
		if e != w.want[w.at] {
			all = 0
			break
		}
		w.took(e)
		w.at++
		w.p++
	}
	w.frozen = false
	w.refs.cur, w.at, w.p = cur, at, p
	return all
}

func (w *Walk) hit(b byte) {
	w.run++
	w.flags <<= 1
	w.misses = 0
	w.push(b)
}

func (w *Walk) miss(e, b byte) {
	w.run = 0
	w.jumped = false
	w.misses++
	w.flags = w.flags<<1 | 1
	w.delta = b - e
	w.push(b)
}

// push takes b as the next byte of the new content.
func (w *Walk) push(b byte) {
	if w.refs.cur.i < w.refs.cur.n {
		w.took(b)
	}
	w.c4 = w.c4<<8 | uint32(b)
	w.at++
	w.p++
	if letter(b) {
		w.word = (w.word + uint32(b) + 1) * 0x2F0B4C47
	} else {
		w.word = 0
	}
	if len(w.match.hist) > 0 {
		w.match.update(b, w.c4)
	}
	if w.encoding {
		return
	}
	w.out[w.outLen] = b
	if w.outLen++; w.outLen == len(w.out) {
		w.flush()
	}
}

func (w *Walk) flush() {
	if w.outLen > 0 && w.err == nil {
		_, w.err = w.sink.Write(w.out[:w.outLen])
	}
	w.outLen = 0
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func u32(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
