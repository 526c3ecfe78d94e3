package model

import (
	"math/bits"

	"github.com/godwit-ota/godwit/delta/address"
)

// Predictors of operands. Each has an estimate, per group of forms, of how often
// it is right when they differ.
const (
	byMap    = 0 // 4, by how sure the map is
	byOther  = 4 // the map's second choice
	byPlain  = 5 // unchanged
	byRel    = 6 // 2, words: as a distance
	byHist   = 8 // 4, words: moved like a word before it
	byRelO   = 12
	byNear   = 13 // 2, words: moved like the one before it that was nearest to it
	byNumber = 15
)

const groups = 7

// Groups of forms.
const (
	gWord = iota
	gPool
	gNear
	gFar
	gLoad
	gHigh
	gLow
)

var histDist = [4]uint32{1, 2, 4, 6}

const maxCand = 4

// A move is what became of a word.
type move struct{ old, shift uint32 }

const histLen = 32

// A half is the High half of an address whose Low one is awaited.
type half struct {
	p        int64 // where it was in the old content
	old, new uint32
	reg      uint32
}

type ref struct {
	n, i   int
	form   address.Form
	group  uint32
	nc     int
	alive  uint32
	cand   [maxCand]uint32
	conf   uint32
	dist   bool // candidates differ
	miss   bool
	fresh  bool
	pc     uint32 // address of the instruction in the old content
	seen   bool   // is a reference for sure
	got    uint32
	old    uint32 // the old operand
	t      uint32 // the old target
	s      uint32 // the shift that was expected
	sure   uint32
	s2, t2 uint32 // the same for a distance
	at     int64
	p      int64
	used   uint32 // predictors that gave a candidate
	val    [byNumber]uint32
	hi     half // of a Low form
	halfs  [4]half
	nh     uint32
	hist   [histLen]move
}

type refs struct {
	cur             ref
	bias            [2]int8 // of words of data and of code: above 0 for distances
	jumped          bool
	jump, jumpShift uint32
	code            shiftMap
	est             [groups][byNumber]uint8
	lo              int64
	hi              int64
	rg              Range
	spans           [2]Span
	slack           uint32
}

func (s *refs) init(tier int) {
	s.code = newShiftMap([]int{0, 64, 1000, 8000}[tier])
	for g := range s.est {
		s.est[g] = [byNumber]uint8{60, 120, 160, 220, 30, 90, 30, 60, 60, 60, 60, 30, 100, 60}
	}
}

// readRecipe tells what is known of the old content.
func (w *Walk) readRecipe() {
	r := &w.Recipe
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
	s := &w.refs
	s.lo = 0
	for i := range w.Recipe.N {
		r := &w.Recipe.Ranges[i]
		if p < int64(r.End) {
			s.hi, s.rg = int64(r.End), *r
			return
		}
		s.lo = int64(r.End)
	}
	s.hi, s.rg = 1<<62, Range{}
}

const ahead = 36

// jumpRun is how many right bytes make a jump of the alignment credible.
const jumpRun = 16

// begin looks for a reference at p in the old content.
func (w *Walk) begin() {
	r := &w.refs.cur
	r.n, r.i = 0, 0
	if w.Recipe.N == 0 {
		return
	}
	p := w.p
	r.fresh = p >= w.OldSize
	g := &w.refs.rg
	var pc uint32
	if r.fresh {
		// What was written before points to where it is now. It is taken to be
		// like what was walked last of the old content.
		if g.ISA == 0 && !g.Words || p+4 > w.OldSize+w.at {
			return
		}
		if p < w.lo+4 || p+4 > w.hi {
			w.fill(p)
		}
		pc = uint32(p-w.OldSize) + g.New
	} else {
		if p < 0 || p+4 > w.OldSize {
			return
		}
		if p < w.refs.lo || p >= w.refs.hi {
			w.locate(p)
		}
		if g.ISA == 0 && !g.Words {
			return
		}
		if p < w.lo+4 && w.lo > 0 || p+ahead > w.hi && w.hi < w.OldSize || p < w.lo {
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
	k := p - w.lo
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
	if w.refs.rg.Big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func (w *Walk) start(f address.Form, group, v, pc, t uint32) *ref {
	r := &w.refs.cur
	r.n, r.i = f.Size(), 0
	r.form, r.group, r.old, r.t = f, group, v, t
	r.nc, r.alive, r.used, r.got = 0, 0, 0, 0
	r.miss, r.dist = false, false
	r.seen = true
	r.pc = pc
	r.at, r.p = w.at, w.p
	return r
}

// moved is what is known of how far what was at t has moved.
func (w *Walk) moved(t uint32) (s, other, sure uint32) {
	if w.refs.cur.fresh {
		return 0, 0, 3
	}
	return w.refs.code.shift(t)
}

// add is another candidate.
func (w *Walk) add(by uint32, v uint32) {
	r := &w.refs.cur
	r.used |= 1 << by
	r.val[by] = v
}

// rank sorts the candidates by the estimates.
func (w *Walk) rank() {
	r := &w.refs.cur
	est := &w.refs.est[r.group]
	big := w.refs.rg.Big
	left := r.used
	mask := ^uint32(0) >> (32 - 8*uint(r.n))
	r.nc = 0
	for left != 0 && r.nc < maxCand {
		best, q := uint32(0), -1
		for u := left; u != 0; u &= u - 1 {
			i := uint32(bits.TrailingZeros32(u))
			if int(est[i]) > q {
				best, q = i, int(est[i])
			}
		}
		left &^= 1 << best
		v := r.val[best]
		if big {
			v = bits.ReverseBytes32(v)
		}
		same := false
		for _, c := range r.cand[:r.nc] {
			same = same || (c^v)&mask == 0
		}
		if same {
			continue
		}
		r.dist = r.nc > 0
		{
			if r.nc == 0 {
				r.conf = uint32(q) >> 6
			}
			r.cand[r.nc] = v
			r.nc++
		}
	}
	r.alive = 1<<r.nc - 1
}

// whole is a reference whose target is all in the operand.
func (w *Walk) whole(f address.Form, v, pc, t uint32) {
	g := uint32(gFar)
	if f == address.Word {
		g = gWord
	} else if f == address.ThumbLoad || f == address.XtLoad || f == address.A64Near {
		g = gLoad
	} else if t-pc+2048 < 4096 {
		g = gNear
	}
	r := w.start(f, g, v, pc, t)
	now := uint32(w.at) + w.refs.rg.New
	s, other, sure := w.moved(t)
	if sure == 0 && w.refs.code.n == 0 {
		s = now - pc
		other = s
	}
	r.s, r.sure = s, sure
	d := address.Target(f, v, pc) - t
	w.add(byMap+sure, address.Put(f, v, now, t+s+d))
	if other != s {
		w.add(byOther, address.Put(f, v, now, t+other+d))
	}
	w.add(byPlain, v)
	w.rank()
}

// upper is the upper half of an address; the lower one is looked for.
func (w *Walk) upper(f address.Form, v, pc uint32) {
	g := &w.refs.rg
	reg := address.Register(f, v)
	k := w.p - w.lo
	end := min(k+ahead, w.hi-w.lo)
	t := address.Target(f, v, pc)
	part := t
	step := int64(g.ISA.Step())
	found := false
	if f == address.ARMHigh || f == address.ThumbHigh {
		for i := range w.refs.cur.halfs {
			if h := &w.refs.cur.halfs[i]; h.reg == reg && h.p < w.p && h.p > w.p-64 {
				t += h.old
				found = true
			}
		}
	} else {
		for q := k + 4; q+4 <= end; q += step {
			x := le32(w.win[q : q+4])
			if g.Big {
				x = bits.ReverseBytes32(x)
			}
			if l := address.Classify(g.ISA, x); l.Low() && address.Register(l, x) == reg {
				t += address.Target(l, x, 0)
				found = true
				break
			}
		}
	}
	_ = part
	r := w.start(f, gHigh, v, pc, t)
	now := uint32(w.at) + g.New
	if found && w.refs.inside(t) {
		s, other, sure := w.moved(t)
		r.s, r.sure = s, sure
		w.add(byMap+sure, address.Put(f, v, now, t+s))
		if other != s {
			w.add(byOther, address.Put(f, v, now, t+other))
		}
	}
	w.add(byPlain, v)
	w.rank()
}

// lower is the lower half of an address.
func (w *Walk) lower(f address.Form, v, pc uint32) bool {
	reg := address.Register(f, v)
	r := &w.refs.cur
	var h *half
	if f == address.ARMLow || f == address.ThumbLow {
		return w.movw(f, v, pc)
	}
	for i := range r.halfs {
		if x := &r.halfs[i]; x.reg == reg && x.p < w.p && x.p > w.p-64 && (h == nil || x.p > h.p) {
			h = x
		}
	}
	if h == nil {
		return false
	}
	t := h.old + address.Target(f, v, 0)
	if !w.refs.inside(t) {
		return false
	}
	w.start(f, gLow, v, pc, t)
	r.hi = *h
	s, other, sure := w.moved(t)
	r.s, r.sure = s, sure
	w.add(byMap+sure, address.Put(f, v, 0, t+s-h.new))
	if other != s {
		w.add(byOther, address.Put(f, v, 0, t+other-h.new))
	}
	w.add(byPlain, v)
	w.rank()
	return true
}

// movw is the lower half of an address that comes before the upper one.
func (w *Walk) movw(f address.Form, v, pc uint32) bool {
	g := &w.refs.rg
	reg := address.Register(f, v)
	k := w.p - w.lo
	end := min(k+ahead, w.hi-w.lo)
	t := address.Target(f, v, 0)
	found := false
	for q := k + 4; q+4 <= end; q += int64(g.ISA.Step()) {
		x := le32(w.win[q : q+4])
		if l := address.Classify(g.ISA, x); l.High() && address.Register(l, x) == reg {
			t += address.Target(l, x, 0)
			found = true
			break
		}
	}
	if !found {
		return false
	}
	r := w.start(f, gLow, v, pc, t)
	r.hi = half{}
	if w.refs.inside(t) {
		s, other, sure := w.moved(t)
		r.s, r.sure = s, sure
		w.add(byMap+sure, address.Put(f, v, 0, t+s))
		if other != s {
			w.add(byOther, address.Put(f, v, 0, t+other))
		}
	} else if u := t + pc; w.refs.inside(u) {
		s, _, _ := w.moved(u)
		w.add(byRel, address.Put(f, v, 0, t+s-(uint32(w.at)+g.New-pc)))
	}
	w.add(byPlain, v)
	w.rank()
	return true
}

// words is a word that may be an address, a distance, or an offset in a table.
func (w *Walk) words(v, pc uint32) {
	code := w.refs.rg.ISA != address.None
	in := w.refs.inside(v)
	if code && !in && !w.refs.inside(pc+v) {
		return
	}
	group := uint32(gWord)
	if code {
		group = gPool
	}
	r := w.start(address.Word, group, v, pc, v)
	now := uint32(w.at) + w.refs.rg.New
	r.seen = false
	if in {
		s, other, sure := w.moved(v)
		r.s, r.sure = s, sure
		w.add(byMap+sure, v+s)
		if other != s {
			w.add(byOther, v+other)
		}
		r.seen = true
	}
	if t := pc + v; v+64 > 128 && w.refs.inside(t) {
		s, other, sure := w.moved(t)
		r.s2, r.t2 = s, t
		w.add(byRel+sure>>1, v+s-(now-pc))
		if other != s {
			w.add(byRelO, v+other-(now-pc))
		}
	}
	if !code && !r.fresh {
		x := uint32(w.p) >> 2
		for i, d := range histDist {
			w.add(byHist+uint32(i), v+r.hist[(x-d)%histLen].shift)
		}
		best, at := ^uint32(0), 0
		for i := range r.hist {
			d := v - r.hist[i].old
			d = d<<1 ^ uint32(int32(d)>>31)
			if d < best {
				best, at = d, i
			}
		}
		if v != 0 && best < 1<<16 {
			w.add(byNear+u32(best >= 512), v+r.hist[at].shift)
		}
	}
	w.add(byPlain, v)
	w.rank()
	if r.nc > 1 {
		r.seen = true
	}
}

// Kinds of expectations: 0 none, 1 an operand without doubt, 2 what follows from
// bytes that told which, 3 after a miss, 4 to 15 an operand with several
// candidates: words, whole ones, halves, by how good the first one has been.

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

// took tells that b was the byte.
func (w *Walk) took(b byte) {
	r := &w.refs.cur
	if r.i >= r.n {
		return
	}
	sh := uint(r.i) * 8
	r.got |= uint32(b) << sh
	r.i++
	if r.nc > 1 || byte(r.cand[0]>>sh) != b {
		left := uint32(0)
		for a := r.alive; a != 0; a &= a - 1 {
			i := bits.TrailingZeros32(a)
			if byte(r.cand[i&3]>>sh) == b {
				left |= 1 << i
			}
		}
		if left == 0 {
			big := w.refs.rg.Big
			first := r.cand[bits.TrailingZeros32(r.alive)&3]
			r.alive = 1
			r.miss = true
			r.nc = max(r.nc, 2)
			if r.i < 4 {
				// The rest of the number is that of the nearest one with what is known.
				mask := uint32(1)<<(8*uint(r.i)) - 1
				x := first&^mask | r.got&mask
				switch r.form {
				case address.Word, address.Rel32:
					if big {
						break
					}
					if x > first && x-first > (mask+1)/2 {
						x -= mask + 1
					} else if x < first && first-x > (mask+1)/2 {
						x += mask + 1
					}
				}
				r.cand[0] = x
			}
		} else {
			r.alive = left
		}
	}
	if r.i == r.n {
		w.learn()
	}
}

// learn takes what the operand was into account.
func (w *Walk) learn() {
	r := &w.refs.cur
	got := r.got
	mask := ^uint32(0) >> (32 - 8*uint(r.n))
	g := &w.refs.rg
	if g.Big {
		got = bits.ReverseBytes32(got)
	}
	now := uint32(r.at) + g.New
	if r.form == address.Word {
		r.hist[uint32(r.p)>>2%histLen] = move{r.old, got - r.old}
	}
	same := r.form == address.Word || r.form == address.Rel32 || address.Classify(g.ISA, got) == r.form
	if same && (r.form.High() || r.form == address.ARMLow || r.form == address.ThumbLow) {
		pc := r.pc
		r.halfs[r.nh&3] = half{r.p, address.Target(r.form, r.old, pc), address.Target(r.form, got, now), address.Register(r.form, r.old)}
		r.nh++
	}
	if w.frozen || r.fresh {
		return
	}
	if r.dist {
		est := &w.refs.est[r.group]
		for u := r.used; u != 0; u &= u - 1 {
			i := bits.TrailingZeros32(u)
			e := uint32(est[i])
			if (r.val[i]^got)&mask == 0 {
				e += (256 - e) >> 4
			} else {
				e -= e >> 4
			}
			est[i] = uint8(min(e, 255))
		}
	}
	if !same {
		return
	}
	var t uint32
	switch {
	case r.form == address.Word:
		isRel := uint32(0)
		bias := &w.refs.bias[r.group]
		const rels, abss = 3<<byRel | 1<<byRelO, 31
		if r.dist && r.group == gWord {
			for u := r.used & (rels | abss); u != 0; u &= u - 1 {
				i := bits.TrailingZeros32(u)
				if r.val[i] == got {
					isRel |= 1 << i
				}
			}
			if isRel&rels == 0 && isRel&abss != 0 {
				*bias = max(*bias-1, -8)
			} else if isRel&rels != 0 && isRel&abss == 0 {
				*bias = min(*bias+1, 8)
			}
		}
		if got-r.old+1<<24 > 1<<25 {
			return
		}
		if *bias < 0 && r.used&abss != 0 {
			t = got
		} else if *bias > 0 && r.used&rels != 0 {
			pc := r.pc
			t = got + now
			r.t = r.old + pc
			r.s = r.s2
		} else {
			return
		}
	case r.form == address.ARMHigh || r.form == address.ThumbHigh:
		return
	case r.form == address.ARMLow || r.form == address.ThumbLow:
		return
	case r.form.High():
		return
	case r.form.Low():
		t = r.hi.new + address.Target(r.form, got, 0)
	default:
		pc := r.pc
		t = address.Target(r.form, got, now) + r.t - address.Target(r.form, r.old, pc)
	}
	s := t - r.t
	if s != r.s || r.sure == 0 {
		if w.refs.inside(t-w.refs.slack) || w.refs.inside(t+w.refs.slack) {
			w.refs.code.learn(r.t, s)
		}
	} else if r.sure < 3 {
		w.refs.code.touch(r.t)
	}
}

// leave forgets a reference that was left in the middle.
func (w *Walk) leave() { w.refs.cur.n, w.refs.cur.i = 0, 0 }

// landed tells that the alignment has jumped.
func (w *Walk) landed() {
	w.leave()
	if w.p < 0 || w.p >= w.OldSize || w.Recipe.N == 0 {
		return
	}
	w.locate(w.p)
	pc := uint32(w.p) + w.refs.rg.Old
	w.refs.jump, w.refs.jumpShift, w.refs.jumped = pc, uint32(w.at)+w.refs.rg.New-pc, true
}
