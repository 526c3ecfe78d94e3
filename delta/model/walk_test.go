package model

import (
	"bytes"
	"math/rand"
	"testing"
	"unsafe"
)

func roundTrip(t *testing.T, tier int, old, new []byte, jumps []Jump) int {
	t.Helper()
	task := Task{Tier: tier, Old: bytes.NewReader(old), OldSize: int64(len(old)), Back: bytes.NewReader(new), NewSize: int64(len(new))}
	var w Walk
	w.Init(make([]byte, Memory(tier)), task)
	w.Encode(new, jumps, nil)
	w.EncodeTo(int64(len(new)))
	code := bytes.Clone(w.Finish())
	var out bytes.Buffer
	task.Back = readerAt{&out}
	var d Walk
	d.Init(make([]byte, Memory(tier)), task)
	d.Begin(bytes.NewReader(code), &out)
	for d.At() < int64(len(new)) {
		if err := d.Decode(1 + rand.Int63n(5000)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out.Bytes(), new) {
		t.Fatalf("tier %d: other bytes", tier)
	}
	return len(code)
}

type readerAt struct{ *bytes.Buffer }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, r.Bytes()[off:]), nil
}

func TestRoundTrip(t *testing.T) {
	old := make([]byte, 40000)
	r := rand.New(rand.NewSource(1))
	for i := range old {
		old[i] = "abcdefgh \n"[r.Intn(10)]
	}
	new := bytes.Clone(old)
	for range 100 {
		new[r.Intn(len(new))] = byte(r.Intn(256))
	}
	jumps := []Jump{{5000, 20000}, {6000, 6000}, {7000, int64(len(old)) + 3000}, {8000, 100}}
	for tier := 1; tier <= 3; tier++ {
		t.Log(tier, Memory(tier), unsafe.Sizeof(Walk{}), roundTrip(t, tier, old, new, jumps))
		roundTrip(t, tier, nil, new, nil)
		roundTrip(t, tier, old, nil, nil)
	}
}

// A copy codes what the walk itself codes, and the walk does not notice.
func TestCopy(t *testing.T) {
	old := bytes.Repeat([]byte("what was there before, and some more of it\n"), 200)
	new := bytes.Replace(old, []byte("before, and"), []byte("then; or"), 30)
	for tier := 1; tier <= 3; tier++ {
		task := Task{Tier: tier, Old: bytes.NewReader(old), OldSize: int64(len(old)), Back: bytes.NewReader(new), NewSize: int64(len(new))}
		jumps := []Jump{{100, 40}, {400, int64(len(old)) + 20}, {5000, 4000}}
		var w, c Walk
		w.Init(make([]byte, Memory(tier)), task)
		w.Encode(new, jumps, nil)
		w.EncodeTo(450)
		memory := make([]byte, Memory(tier))
		for range 2 { // the second time over what the first one left
			before := w.Length()
			w.Copy(&c, memory)
			c.Follow([]Jump{{5000, 4000}})
			c.EncodeTo(int64(len(new)))
			if w.Length() != before {
				t.Fatal("the walk has gone on with its copy")
			}
		}
		done := bytes.Clone(w.done)
		w.EncodeTo(int64(len(new)))
		if want, got := w.Finish(), append(done, c.Finish()...); !bytes.Equal(want, got) {
			t.Errorf("tier %d: %d bytes, and %d by a copy", tier, len(want), len(got))
		}
	}
}
