package model

import (
	"math/bits"

	"github.com/godwit-ota/godwit/delta/address"
)

// start begins a reference of form f with the operand v at pc that points to t.
func (w *Walk) start(f address.Form, group, v, pc, t uint32) *ref {
	r := &w.refs.cur
	if r.n == 0 {
		r.n = f.Size()
	}
	r.i = 0
	r.form, r.group, r.old, r.t = f, group, v, t
	r.nc, r.alive, r.used, r.got = 0, 0, 0, 0
	r.miss, r.differ = false, false
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

// add is what the predictor by says.
func (w *Walk) add(by uint32, v uint32) {
	r := &w.refs.cur
	r.used |= 1 << by
	r.val[by] = v
}

// rank makes candidates of what the predictors say, the best first.
func (w *Walk) rank() {
	r := &w.refs.cur
	est := &w.refs.est[r.group]
	big := w.refs.cur.rg.Big
	left := r.used
	mask := ^uint32(0) >> (32 - 8*uint(r.n))
	if v := r.val[bits.TrailingZeros32(left)&15]; r.agree(v, mask) {
		if big {
			v = bits.ReverseBytes32(v)
		}
		r.cand[0], r.nc, r.alive = v, 1, 1
		return
	}
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
		r.differ = r.nc > 0
		if r.nc == 0 {
			r.conf = uint32(q) >> 6
		}
		r.cand[r.nc] = v
		r.nc++
	}
	r.alive = 1<<r.nc - 1
}

// agree tells whether all predictors say v.
func (r *ref) agree(v, mask uint32) bool {
	for u := r.used; u != 0; u &= u - 1 {
		if (r.val[bits.TrailingZeros32(u)&15]^v)&mask != 0 {
			return false
		}
	}
	return true
}

// whole is a reference whose target is all in the operand.
func (w *Walk) whole(f address.Form, v, pc, t uint32) {
	g := uint32(gFar)
	if f == address.Word {
		g = gPool
	} else if f == address.ThumbLoad || f == address.XtLoad || f == address.A64Near {
		g = gLoad
	} else if t-pc+2048 < 4096 {
		g = gNear
	}
	r := w.start(f, g, v, pc, t)
	now := uint32(w.at) + w.refs.cur.rg.New
	s, other, sure := w.moved(t)
	if sure == 0 && w.refs.code.n == 0 {
		if s = now - pc; w.refs.cur.rg.ISA == address.Wasm {
			s = 0
		}
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

// lookEnd is up to where in the window the other half of an address at k is
// looked for. In the new content that is done only where all of it is written, so
// that it does not depend on what happens to be in the window.
func (w *Walk) lookEnd(k int64) int64 {
	if w.refs.cur.fresh && w.p+look > w.OldSize+w.at {
		return k
	}
	return min(k+look, w.hi-w.lo)
}

// nearest is the nearest half before, of a register, that may belong to the one
// here; nil if there is none.
func (w *Walk) nearest(reg uint32) (h *half) {
	r := &w.refs.cur
	for i := range r.halfs {
		if x := &r.halfs[i]; x.reg == reg && x.p < w.p && x.p > w.p-64 && (h == nil || x.p > h.p) {
			h = x
		}
	}
	return h
}

// upper is the upper half of an address; the lower one is looked for.
func (w *Walk) upper(f address.Form, v, pc uint32) {
	g := &w.refs.cur.rg
	reg := address.Register(f, v)
	k := w.p - w.lo
	end := w.lookEnd(k)
	t := address.Target(f, v, pc)
	step := int64(g.ISA.Step())
	found := false
	var low half
	if f == address.ARMHigh || f == address.ThumbHigh {
		if h := w.nearest(reg); h != nil {
			t += h.old
			found = true
			low = *h
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
	r := w.start(f, gHigh, v, pc, t)
	r.hi = low
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
	if f == address.ARMLow || f == address.ThumbLow {
		return w.movw(f, v, pc)
	}
	h := w.nearest(reg)
	if h == nil {
		return false
	}
	t := h.old + address.Target(f, v, 0)
	if !w.refs.inside(t) {
		return false
	}
	r := w.start(f, gLow, v, pc, t)
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
	g := &w.refs.cur.rg
	reg := address.Register(f, v)
	k := w.p - w.lo
	end := w.lookEnd(k)
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

// near adds what became of the recent word with the nearest value.
func (w *Walk) near(v uint32) {
	h := &w.refs.cur.hist
	best, at := ^uint32(0), 0
	for i := range h {
		d := v - h[i].old
		d = d<<1 ^ uint32(int32(d)>>31)
		if d < best {
			best, at = d, i
		}
	}
	if best < 1<<16 {
		w.add(byNear+u32(best >= 512), v+h[at].change)
	}
}

// words is a word that may be an address, a distance, or an offset in a table.
func (w *Walk) words(v, pc uint32) {
	code := w.refs.cur.rg.ISA != address.None
	in := w.refs.inside(v)
	if code && !in && !w.refs.inside(pc+v) {
		return
	}
	group := uint32(gWord)
	if code {
		group = gPool
	}
	r := w.start(address.Word, group, v, pc, v)
	now := uint32(w.at) + w.refs.cur.rg.New
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
		r.s2 = s
		w.add(byRel+sure>>1, v+s-(now-pc))
		if other != s {
			w.add(byRelO, v+other-(now-pc))
		}
	}
	if !code && !r.fresh {
		x := uint32(w.p) >> 2
		for i, d := range histDist {
			w.add(byHist+uint32(i), v+r.hist[(x-d)%histLen].change)
		}
		if v != 0 {
			w.near(v)
		}
	}
	w.add(byPlain, v)
	w.rank()
	if r.nc > 1 {
		r.seen = true
	}
}
