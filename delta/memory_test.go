package delta_test

import (
	"bytes"
	"io"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/model"
)

// flash is a content, or the room for one, that does not allocate.
type flash struct {
	b  []byte
	at int
}

func (f *flash) ReadAt(p []byte, off int64) (int, error) { return copy(p, f.b[off:]), nil }
func (f *flash) Write(p []byte) (int, error)             { f.at += copy(f.b[f.at:], p); return len(p), nil }

func (f *flash) Read(p []byte) (int, error) {
	if f.at == len(f.b) {
		return 0, io.EOF
	}
	n := copy(p, f.b[f.at:])
	f.at += n
	return n, nil
}

// allocated is how many bytes f allocates, at the least of some runs: those that
// are given back are counted as well.
func allocated(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	least := ^uint64(0)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// What a decoder is given and all that it ever allocates is not more than its tier
// says, and once it has begun it allocates nothing.
func TestMemory(t *testing.T) {
	old, new := ownCode(t)
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		if tier.Buffer() != model.Memory(int(tier)) {
			t.Errorf("%v: a buffer of %d bytes, and the model takes %d", tier, tier.Buffer(), model.Memory(int(tier)))
		}
		for _, method := range []delta.Method{delta.Stored, delta.Modelled, delta.Same} {
			goal := new
			if method == delta.Same {
				goal = old
			}
			patch, r, err := diff.Make(t.Context(), old, goal, diff.Options{Tier: tier, Budget: 1})
			if err != nil {
				t.Fatal(err)
			}
			if method == delta.Stored {
				patch = storedPatch(tier, old, goal)
			} else if r.Header.Method != method {
				t.Fatalf("%v, not %v", r.Header.Method, method)
			}
			if method == delta.Modelled && (!r.Header.Code || r.Header.Recipe.N == 0) {
				t.Fatal("no code was found in a program")
			}
			mem := make([]byte, tier.Buffer())
			in, from, out := &flash{b: patch}, &flash{b: old}, &flash{b: make([]byte, len(goal))}
			var d *delta.Decoder
			took := allocated(func() {
				in.at, out.at = 0, 0
				if d, err = delta.NewDecoder(mem, in, from, int64(len(old)), out); err != nil {
					t.Fatal(err)
				}
			})
			runs := min(50, len(goal)/64)
			if n := testing.AllocsPerRun(runs, func() {
				if _, err := d.Decode(int64(len(goal)/(runs+2)) + 1); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v, %v: Decode allocates %v times", tier, method, n)
			}
			if n := testing.AllocsPerRun(1, func() {
				if done, err := d.Decode(-1); !done || err != nil {
					t.Fatal(done, err)
				}
			}); n != 0 {
				t.Errorf("%v, %v: the end allocates %v times", tier, method, n)
			}
			if !bytes.Equal(out.b, goal) {
				t.Fatal("decoded wrong")
			}
			total := tier.Buffer() + int(took)
			t.Logf("%v, %v: %d bytes of buffer, %d allocated of which the decoder %d: %d of %d", tier, method, tier.Buffer(), took, unsafe.Sizeof(*d), total, tier.Memory())
			if total > tier.Memory() {
				t.Errorf("%v, %v: %d bytes, %d more than the tier", tier, method, total, total-tier.Memory())
			}
		}
	}
}

// With less than its buffer there is no decoder.
func TestTooLittleMemory(t *testing.T) {
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		patch := storedPatch(tier, nil, []byte("x"))
		for lack, want := range []error{nil, delta.ErrMemory} {
			if err := delta.Apply(make([]byte, tier.Buffer()-lack), bytes.NewReader(patch), bytes.NewReader(nil), 0, &pad{}); err != want {
				t.Errorf("%v, %d too little: %v", tier, lack, err)
			}
		}
	}
}
