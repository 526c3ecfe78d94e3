package model

import (
	"math/bits"

	"github.com/godwit-ota/godwit/delta/address"
)

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
			big := w.refs.cur.rg.Big
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
	g := &w.refs.cur.rg
	if g.Big {
		got = bits.ReverseBytes32(got)
	}
	now := uint32(r.at) + g.New
	if r.form == address.Word {
		r.hist[uint32(r.p)>>2%histLen] = move{r.old, got - r.old}
	}
	same := r.form == address.Word || r.form == address.Rel32 || r.form == address.WasmCall || r.form == address.WasmConst || address.Classify(g.ISA, got) == r.form
	if same && (r.form.High() || r.form == address.ARMLow || r.form == address.ThumbLow) {
		r.halfs[r.nh&3] = half{r.p, address.Target(r.form, r.old, r.pc), address.Target(r.form, got, now), address.Register(r.form, r.old)}
		r.nh++
	}
	if w.frozen || r.fresh {
		return
	}
	if r.differ {
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
		if r.differ && r.group == gWord {
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
			t = got + now
			r.t = r.old + r.pc
			r.s = r.s2
		} else {
			return
		}
	case r.form == address.ARMLow || r.form == address.ThumbLow:
		return // the High one follows
	case r.form == address.ARMHigh || r.form == address.ThumbHigh:
		if r.used&abss == 0 {
			return
		}
		t = r.hi.new + address.Target(r.form, got, 0)
	case r.form.High():
		return // the Low one follows
	case r.form.Low():
		t = r.hi.new + address.Target(r.form, got, 0)
	default:
		t = address.Target(r.form, got, now) + r.t - address.Target(r.form, r.old, r.pc)
	}
	s := t - r.t
	if s != r.s || r.sure == 0 {
		if r.form >= address.WasmCall && r.form <= address.WasmConst || w.refs.inside(t-w.refs.slack) || w.refs.inside(t+w.refs.slack) {
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
	w.refs.jumped = false
	if w.p < 0 || w.p >= w.OldSize || w.Recipe.N == 0 {
		return
	}
	if w.locate(w.p); w.refs.cur.rg.ISA == address.Wasm {
		return // addresses are not places in the file
	}
	pc := uint32(w.p) + w.refs.cur.rg.Old
	w.refs.jump, w.refs.jumpShift, w.refs.jumped = pc, uint32(w.at)+w.refs.cur.rg.New-pc, true
}
