package model

import (
	"math/bits"

	"github.com/godwit-ota/godwit/delta/address"
)

// Predictors of operands. Each has an estimate, per group of forms, of how often
// it is right when they differ.
const (
	byMap    = 0  // 4 of them, by how sure the map is: what it points to has moved so far
	byOther  = 4  // as far as what is on the other side of it
	byPlain  = 5  // the operand is unchanged
	byRel    = 6  // 2, words: the distance to what has moved
	byHist   = 8  // 4, words: changed like the word before it, or like one some words before
	byRelO   = 12 // byRel by byOther
	byNear   = 13 // 2, words: changed like the recent one with the nearest value
	byNumber = 15
)

// histDist is how many words before its word byHist looks.
var histDist = [4]uint32{1, 2, 4, 6}

// rels and abss are the predictors of words that take them for distances and for
// addresses.
const rels, abss = 3<<byRel | 1<<byRelO, 15<<byMap | 1<<byOther

// Groups of forms, that have estimates in common.
const (
	gWord = iota // of data
	gPool        // words among the code
	gNear        // branches, to nearby
	gFar
	gLoad // loads of constants, and branches in functions
	gHigh
	gLow
	groups
)

// maxCand is how many candidates there are at most.
const maxCand = 4

// A move is what became of a word.
type move struct{ old, change uint32 }

const histLen = 16

// A half is the High half of an address whose Low one is awaited, or with ARM's
// MOVW and MOVT the other way around.
type half struct {
	p        int64  // where it was in the old content
	old, new uint32 // what it says, as an address
	reg      uint32
}

// A ref is the reference that is being coded, and what was seen of those right
// before it. Encoders look ahead with a copy, so what they may look at and touch
// is in here, but for what is learned of whole references.
type ref struct {
	n, i   int // how long it is, and how much of that is coded
	form   address.Form
	group  uint32
	at, p  int64  // where it is, in the new content and in its source
	pc     uint32 // address of the operand in the source
	old    uint32 // the operand there
	t      uint32 // what that points to
	s, s2  uint32 // how far that has moved if the map is right; the same as a distance
	sure   uint32
	fresh  bool // the source is in the new content
	seen   bool // it is a reference, or changes like one
	differ bool // predictors differ
	miss   bool // none of the candidates was right
	got    uint32

	nc    int // candidates, in the order of the content's bytes
	cand  [maxCand]uint32
	alive uint32 // those that agree with what was coded of it
	conf  uint32 // how often the first one is right, in quarters
	used  uint32 // the predictors
	val   [16]uint32

	hi       half // the one that goes with it
	halfs    [4]half
	nh       uint32
	hist     [histLen]move
	from, to int64 // where rg is
	rg       Range // that p was in
}

// refs is what is known of references.
type refs struct {
	cur       ref
	code      shiftMap
	est       [groups][byNumber]uint8
	bias      [2]int8 // of gWord and gPool: above 0 if words are distances
	spans     [2]Span // where addresses point
	slack     uint32  // how far behind that those of the new content may
	jumped    bool    // the alignment has jumped, which is not yet taken into account
	jump      uint32  // where to, as an address
	jumpShift uint32
}

func (s *refs) init() {
	for g := range s.est {
		s.est[g] = [byNumber]uint8{60, 120, 160, 220, 30, 90, 30, 60, 60, 60, 60, 30, 100, 60}
	}
}

// readRecipe tells what is known of the old content.
func (w *Walk) readRecipe() {
	r := w.Recipe
	w.refs.spans = r.spans()
	w.refs.slack = w.refs.spans[0].Size >> 3
	// An image that begins at address 0 is one that runs anywhere: its code has
	// distances, not addresses. Of data that is learned.
	w.refs.bias = [2]int8{-4, -8}
	if w.refs.spans[0].Lo < 1<<12 {
		w.refs.bias = [2]int8{-1, 8}
	}
}

// inside tells whether an address may be one.
func (s *refs) inside(t uint32) bool {
	return t-s.spans[0].Lo < s.spans[0].Size || t-s.spans[1].Lo < s.spans[1].Size
}

// locate finds the range that p is in.
func (w *Walk) locate(p int64) {
	s := &w.refs.cur
	s.from = 0
	for i := range w.Recipe.N {
		r := &w.Recipe.Ranges[i]
		if p < int64(r.End) {
			s.to, s.rg = int64(r.End), *r
			return
		}
		s.from = int64(r.End)
	}
	s.to, s.rg = 1<<62, Range{}
}

// look is how much is wanted in the window: what is looked through for the other
// half of an address.
const look = 36

// jumpRun is how many right bytes make a jump of the alignment credible.
const jumpRun = 16

// begin looks for a reference at p in the source.
func (w *Walk) begin() {
	r := &w.refs.cur
	r.n, r.i = 0, 0
	if w.Recipe.N == 0 {
		return
	}
	p := w.p
	r.fresh = p >= w.OldSize
	g := &w.refs.cur.rg
	var pc uint32
	if r.fresh {
		// What was written before points to where it is now. It is taken to be
		// like what was walked last of the old content.
		if g.ISA == 0 && !g.Words || p+4 > w.OldSize+w.at {
			return
		}
		if p < w.lo+4 || p+4 > w.hi || p+look > w.hi && p+look <= w.OldSize+w.at {
			w.fill(p)
		}
		pc = uint32(p-w.OldSize) + g.New
	} else {
		if p < 0 || p+4 > w.OldSize {
			return
		}
		if p < w.refs.cur.from || p >= w.refs.cur.to {
			w.locate(p)
		}
		if g.ISA == 0 && !g.Words {
			return
		}
		if p < w.lo+4 && w.lo > 0 || p+look > w.hi && w.hi < w.OldSize || p < w.lo {
			w.fill(p)
		}
		pc = uint32(p) + g.Old
	}
	if p < w.lo || p+4 > w.hi {
		return
	}
	if w.refs.jumped && !w.frozen && w.run >= jumpRun {
		w.refs.jumped = false
		w.refs.code.learn(w.refs.jump, w.refs.jumpShift)
	}
	w.find(p-w.lo, pc)
}

// find looks for a reference at k in the window, which has the address pc.
func (w *Walk) find(k int64, pc uint32) {
	r, g := &w.refs.cur, &w.refs.cur.rg
	if g.Words && g.ISA != address.None && pc&3 == 0 {
		// A word among the code, that hardly is code.
		v := w.load(k)
		if v-w.refs.spans[0].Lo < w.refs.spans[0].Size || (v+1<<20 < 1<<21 && w.refs.inside(pc+v)) {
			w.words(v, pc)
			return
		}
	}
	switch g.ISA {
	case address.None:
	case address.X86, address.AMD64:
		if k < 3 || k+4 > int64(len(w.win)) {
			break
		}
		b := w.win[k-3 : k+4]
		if ok, behind := address.X86At(g.ISA == address.AMD64, b[2], b[1], b[0]); ok {
			v := le32(b[3:])
			if t := pc + 4 + v; w.refs.inside(t) {
				w.whole(address.Rel32, v, pc, t+behind)
				return
			}
		}
		if g.ISA == address.X86 {
			v := le32(b[3:])
			if w.refs.inside(v) {
				w.whole(address.Word, v, pc, v)
			}
			return
		}
	case address.Wasm:
		if k < 2 {
			break
		}
		v := le32(w.win[k : k+4])
		if f, n := address.WasmAt(w.win[k-1], w.win[k-2], v); n != 0 {
			r.n = n
			w.whole(f, v, pc, address.Target(f, v, 0))
			return
		}
	default:
		if pc&(g.ISA.Step()-1) != 0 {
			break
		}
		v := w.load(k)
		f := address.Classify(g.ISA, v)
		if f == address.NoForm {
			break
		}
		switch {
		case f.High():
			w.upper(f, v, pc)
			return
		case f.Low():
			if w.lower(f, v, pc) {
				return
			}
		default:
			if t := address.Target(f, v, pc); w.refs.inside(t) {
				w.whole(f, v, pc, t)
				return
			}
		}
	}
	if g.Words && pc&3 == 0 {
		v := w.load(k)
		w.words(v, pc)
	}
}

// load is the word at k in the window.
func (w *Walk) load(k int64) uint32 {
	v := le32(w.win[k : k+4])
	if w.refs.cur.rg.Big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// Kinds of expectations:
//
//	0      no reference
//	1      a reference whose predictors agree
//	2      the rest of one whose bytes have told which candidate it is
//	3      the rest of one that is none of the candidates
//	4..7   a word with several candidates, by how often the first one is right
//	8..11  the same for branches, calls and loads of constants
//	12..14 the same for halves of addresses (14: often and nearly always)
//	15     no reference, in the new content

// next is the expected byte, another one that may come instead, and what kind of
// expectation it is.
func (w *Walk) next() (e, other byte, kind uint32) {
	r := &w.refs.cur
	if r.i >= r.n {
		w.begin()
	}
	if r.n == 0 {
		e = w.src(w.p)
		if w.p >= w.OldSize {
			return e, 0, 15
		}
		return e, e, 0
	}
	sh := uint(r.i) * 8
	if r.nc == 1 {
		e = byte(r.cand[0] >> sh)
		if r.seen {
			kind = 1
		}
		return e, e, kind
	}
	a := r.alive
	e = byte(r.cand[bits.TrailingZeros32(a)&3] >> sh)
	other = e
	for a &= a - 1; a != 0; a &= a - 1 {
		if o := byte(r.cand[bits.TrailingZeros32(a)&3] >> sh); o != e {
			other = o
			break
		}
	}
	switch {
	case r.miss:
		kind = 3
	case r.alive&(r.alive-1) == 0:
		kind = 2
	default:
		kind = 4 + r.conf
		if r.group >= gHigh {
			kind = 12 + min(r.conf, 2)
		} else if r.group > gPool {
			kind += 4
		}
	}
	return e, other, kind
}
