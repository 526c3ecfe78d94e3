package model

import (
	"encoding/binary"
	"errors"

	"github.com/godwit-ota/godwit/delta/address"
)

// ErrState says that what Load was given is not what Save gave for such a task.
var ErrState = errors.New("this is no state of decoding such a patch")

// Save appends all that decoding depends on to b, but for the task. How much that
// is depends on the tier and on Code alone. It can be called between calls of Decode.
func (w *Walk) Save(b []byte) []byte {
	f := fields{b: b, save: true}
	w.fields(&f)
	return f.b
}

// Load brings w, after Init and Begin with the same task, to where it was when it
// was saved.
func (w *Walk) Load(b []byte) error {
	f := fields{b: b}
	w.fields(&f)
	if f.bad || len(f.b) > 0 || !w.sound() {
		return ErrState
	}
	w.reread()
	return w.err
}

// sound checks what indexes, and the end of decoding, depend on.
func (w *Walk) sound() bool {
	for _, q := range [...]int64{w.p, w.miss0, w.lefts[0], w.lefts[1], w.lefts[2]} {
		if q < 0 || q > w.OldSize+w.NewSize {
			return false
		}
	}
	return w.at >= 0 && w.at <= w.NewSize && w.kind <= jumpNew && w.frozen == (w.skip > 0) &&
		(w.skip == 0 || w.skip <= skipLength && int64(w.skip) <= w.NewSize-w.at && w.p+int64(w.skip) <= w.OldSize) &&
		w.low <= w.value && w.value <= w.high && w.past >= 0 && w.past <= maxPast && w.used >= 0 &&
		(len(w.match.hist) > 0 || w.match.len == 0) && w.soundWindow() && w.refs.sound()
}

// soundWindow checks that the window holds what can be read: of one content, and
// of that no more than there is.
func (w *Walk) soundWindow() bool {
	switch {
	case w.lo < 0 || w.lo > w.hi || w.hi-w.lo > int64(len(w.win)):
		return false
	case w.lo == w.hi:
		return true
	case w.lo < w.OldSize:
		return w.hi <= w.OldSize
	}
	return w.Back != nil && w.hi <= w.OldSize+w.at
}

func (s *refs) sound() bool {
	r, m := &s.cur, &s.code
	return r.n >= 0 && r.n <= 4 && r.i >= 0 && r.i <= r.n && r.nc >= 0 && r.nc <= maxCand &&
		r.group < groups && (r.form != address.Word || r.group <= gPool) && r.conf < 4 && r.used < 1<<byNumber &&
		m.n >= 0 && m.n <= len(m.used) && m.hand >= 0 && m.hand <= len(m.used)
}

// reread fills the window as it was.
func (w *Walk) reread() {
	b := w.win[:w.hi-w.lo]
	switch {
	case len(b) == 0:
	case w.lo < w.OldSize:
		w.read(b, w.lo)
	case w.Back != nil:
		_, w.err = readFull(w.Back, b, w.lo-w.OldSize)
	}
}

// fields are numbers that are written one behind the other, or read.
type fields struct {
	b    []byte
	save bool
	bad  bool
}

func (f *fields) take(n int) []byte {
	if len(f.b) < n {
		f.bad = true
		f.b = nil
		return make([]byte, n)
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) bytes(b []byte) {
	if f.save {
		f.b = append(f.b, b...)
		return
	}
	copy(b, f.take(len(b)))
}

func (f *fields) long(v *int64) {
	if f.save {
		f.b = binary.LittleEndian.AppendUint64(f.b, uint64(*v))
		return
	}
	*v = int64(binary.LittleEndian.Uint64(f.take(8)))
}

func (f *fields) word(vs ...*uint32) {
	for _, v := range vs {
		if f.save {
			f.b = binary.LittleEndian.AppendUint32(f.b, *v)
			continue
		}
		*v = binary.LittleEndian.Uint32(f.take(4))
	}
}

func (f *fields) int(v *int) {
	x := uint32(int32(*v))
	f.word(&x)
	*v = int(int32(x))
}

func (f *fields) byte(v *byte) {
	if f.save {
		f.b = append(f.b, *v)
		return
	}
	*v = f.take(1)[0]
}

func (f *fields) bool(vs ...*bool) {
	for _, v := range vs {
		x := byte(u32(*v))
		f.byte(&x)
		*v = x != 0
	}
}

// fields goes over all that decoding depends on.
func (w *Walk) fields(f *fields) {
	f.word(&w.low, &w.high, &w.value, &w.rnd)
	f.long(&w.used)
	f.int(&w.past)
	for _, v := range []*int64{&w.at, &w.p, &w.miss0, &w.lefts[0], &w.lefts[1], &w.lefts[2], &w.lo, &w.hi} {
		f.long(v)
	}
	f.word(&w.flags, &w.run, &w.misses, &w.kind, &w.c4, &w.word, &w.skip)
	f.bool(&w.jumped, &w.frozen, &w.started)
	f.byte(&w.delta)
	f.word(&w.match.pos, &w.match.ptr, &w.match.len)
	w.refs.fields(f)
	f.bytes(w.slots)
	f.bytes(w.weights)
	f.bytes(w.match.hist)
	f.bytes(w.match.head)
}

func (s *refs) fields(f *fields) {
	s.cur.fields(f)
	f.int(&s.code.n)
	f.int(&s.code.hand)
	f.bytes(s.code.mem)
	f.bytes(s.code.used)
	for g := range s.est {
		f.bytes(s.est[g][:])
	}
	for i := range s.bias {
		x := byte(s.bias[i])
		f.byte(&x)
		s.bias[i] = int8(x)
	}
	f.bool(&s.jumped)
	f.word(&s.jump, &s.jumpShift)
}

func (r *ref) fields(f *fields) {
	f.int(&r.n)
	f.int(&r.i)
	form := byte(r.form)
	f.byte(&form)
	r.form = address.Form(form)
	f.long(&r.at)
	f.long(&r.p)
	f.word(&r.group, &r.pc, &r.old, &r.t, &r.s, &r.s2, &r.sure, &r.got, &r.alive, &r.conf, &r.used, &r.nh)
	f.bool(&r.fresh, &r.seen, &r.differ, &r.miss)
	f.int(&r.nc)
	f.word(&r.cand[0], &r.cand[1], &r.cand[2], &r.cand[3])
	for i := range byNumber {
		f.word(&r.val[i])
	}
	r.hi.fields(f)
	for i := range r.halfs {
		r.halfs[i].fields(f)
	}
	for i := range r.hist {
		f.word(&r.hist[i].old, &r.hist[i].change)
	}
	f.long(&r.from)
	f.long(&r.to)
	f.word(&r.rg.End, &r.rg.Old, &r.rg.New)
	isa := byte(r.rg.ISA)
	f.byte(&isa)
	r.rg.ISA = address.ISA(isa)
	f.bool(&r.rg.Words, &r.rg.Big)
}

func (h *half) fields(f *fields) {
	f.long(&h.p)
	f.word(&h.old, &h.new, &h.reg)
}
