package model

import (
	"bytes"
	"testing"

	"github.com/godwit-ota/godwit/delta/address"
)

// States that no decoding leads to, and that indexes depend on, are refused.
func TestUnsound(t *testing.T) {
	old := bytes.Repeat([]byte("what is old "), 50)
	size := int64(len(old))
	task := Task{Tier: 1, Old: bytes.NewReader(old), OldSize: size, NewSize: 500}
	load := func(change func(w *Walk)) error {
		var w, again Walk
		w.Init(make([]byte, Memory(1)), task)
		w.Begin(bytes.NewReader([]byte{0, 0, 0, 0}), &bytes.Buffer{})
		if err := w.Decode(100); err != nil {
			t.Fatal(err)
		}
		change(&w)
		again.Init(make([]byte, Memory(1)), task)
		return again.Load(w.Save(nil))
	}
	if err := load(func(*Walk) {}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(w *Walk){
		"a predictor that is none":         func(w *Walk) { w.refs.cur.used = 1 << byNumber },
		"a word of no group of words":      func(w *Walk) { w.refs.cur.form, w.refs.cur.group = address.Word, gHigh },
		"a group that is none":             func(w *Walk) { w.refs.cur.group = groups },
		"a reference of 5 bytes":           func(w *Walk) { w.refs.cur.n = 5 },
		"5 candidates":                     func(w *Walk) { w.refs.cur.nc = maxCand + 1 },
		"a match without a history":        func(w *Walk) { w.match.len = 1 },
		"a source far behind the contents": func(w *Walk) { w.p = 1<<63 - 5 },
		"a source before the contents":     func(w *Walk) { w.lefts[1] = -1 },
		"a window over both contents":      func(w *Walk) { w.lo, w.hi = size-10, size+10 },
		"a window of what cannot be read":  func(w *Walk) { w.lo, w.hi = size, size+10 },
		"a window that is too large":       func(w *Walk) { w.lo, w.hi = 0, int64(len(w.win))+1 },
		"more steps than there is room":    func(w *Walk) { w.refs.code.n = len(w.refs.code.used) + 1 },
		"a stretch behind the end":         func(w *Walk) { w.skip, w.frozen, w.at = 32, true, w.NewSize-1 },
		"a coder that is upside down":      func(w *Walk) { w.low, w.high = w.value+1, w.value },
		"an end that does not come":        func(w *Walk) { w.past = -1 << 30 },
		"more than all":                    func(w *Walk) { w.at = w.NewSize + 1 },
		"a jump that is none":              func(w *Walk) { w.kind = jumpNew + 1 },
	} {
		if err := load(change); err != ErrState {
			t.Errorf("%s: %v", name, err)
		}
	}
}
