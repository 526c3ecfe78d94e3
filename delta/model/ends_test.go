package model

import (
	"bytes"
	"io"
	"testing"
)

// endless is an old content of zeros without an end.
type endless struct{}

func (endless) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// total counts what is written.
type total int64

func (n *total) Write(p []byte) (int, error) { *n += total(len(p)); return len(p), nil }

// A decision takes at least the 4,096th part of what the coder has left, since no
// probability is above 65,520 of 65,536. So a byte of code, also one of those that
// stand in for its end, is worth less than 23,000 of them, and none gives more than
// a stretch of bytes: decoding ends soon after the code does.
func TestEnds(t *testing.T) {
	for x := range int32(4096) {
		if p := squash(x - 2048); p < 16 || p > 1<<16-16 {
			t.Fatalf("a probability of %d", p)
		}
	}
	const most = 23_000 * skipLength
	for tier := 1; tier <= 3; tier++ {
		for _, code := range [][]byte{nil, bytes.Repeat([]byte{0}, 5), bytes.Repeat([]byte{255}, 20), []byte("a code that means nothing")} {
			for _, text := range []bool{true, false} {
				w, n := &Walk{}, total(0)
				w.Init(make([]byte, Memory(tier)), Task{Tier: tier, Old: endless{}, OldSize: 1 << 40, NewSize: 1 << 40, Code: !text})
				w.Begin(bytes.NewReader(code), &n)
				err := w.Decode(-1)
				if err != io.ErrUnexpectedEOF && err != ErrDamaged || int64(n) > int64(len(code)+maxPast)*most {
					t.Errorf("tier %d, %d bytes of code: %d bytes, %v", tier, len(code), n, err)
				}
				t.Logf("tier %d, %d bytes of code: %d bytes, %v", tier, len(code), n, err)
			}
		}
	}
}

// Whatever the bytes: a recipe that is read takes no less room than it is written
// in, and says the same.
func FuzzRecipe(f *testing.F) {
	var r Recipe
	f.Add(r.Append(nil))
	r.Add(Range{End: 1000, ISA: 3, Words: true, Old: 0x08000000, New: 0x08001000})
	r.Add(Range{End: 5000, Big: true, Old: 0xfffff000, New: 12})
	f.Add(r.Append(nil))
	r.Extra, r.Other = 1<<31, Span{0x20000000, 1 << 20}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Recipe
		rest, err := r.Read(b)
		if err != nil {
			return
		}
		c := r.Append(nil)
		if left, err := again.Read(c); err != nil || len(left) > 0 || again != r || len(c) > len(b)-len(rest) {
			t.Fatalf("%x is %+v and written as %x, which is %+v: %v", b, r, c, again, err)
		}
		last := uint32(0)
		for _, g := range r.Ranges[:r.N] {
			if g.End <= last {
				t.Fatalf("%+v", r)
			}
			last = g.End
		}
	})
}
