package otadelta

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// A writer makes patches instruction by instruction, by the rules of
// docs/reference-patches.md.
type writer struct{ b []byte }

func newWriter() *writer { return &writer{append([]byte("OTADELTA"), 1)} }

func (w *writer) number(v int) {
	for ; v > 127; v /= 128 {
		w.b = append(w.b, byte(v%128+128))
	}
	w.b = append(w.b, byte(v))
}

func (w *writer) copy(from, n int) *writer {
	w.b = append(w.b, 1)
	w.number(from)
	w.number(n)
	return w
}

func (w *writer) insert(s string) *writer {
	w.b = append(w.b, 2)
	w.number(len(s))
	w.b = append(w.b, s...)
	return w
}

func (w *writer) end() []byte { return append(w.b, 0xff) }

// apply applies a patch in the least memory, and tells the reader's habits apart.
func apply(t *testing.T, patch []byte, old string, size int64) (string, error) {
	t.Helper()
	var results []string
	var errs []error
	for _, in := range []io.Reader{bytes.NewReader(patch), iotest.OneByteReader(bytes.NewReader(patch)), iotest.DataErrReader(bytes.NewReader(patch))} {
		var out bytes.Buffer
		errs = append(errs, Apply(make([]byte, Memory), in, strings.NewReader(old), int64(len(old)), &out, size))
		results = append(results, out.String())
	}
	for i := range errs {
		if errs[i] != errs[0] || results[i] != results[0] {
			t.Fatalf("it depends on how the patch is read: %v, %v", errs, results)
		}
	}
	return results[0], errs[0]
}

// testdata/vectors.json has patches written by hand.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Patch, Old, New, Error string
		Size                         int64
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			patch, err := hex.DecodeString(strings.ReplaceAll(v.Patch, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			size := v.Size
			if size == 0 {
				size = int64(len(v.New))
			}
			got, err := apply(t, patch, v.Old, size)
			want := map[string]error{"": nil, "no patch": ErrNoPatch, "damaged": ErrDamaged, "too short": io.ErrUnexpectedEOF}[v.Error]
			if !errors.Is(err, want) || v.Error != "" && want == nil {
				t.Fatalf("%v, want %q", err, v.Error)
			}
			if v.Error == "" && got != v.New {
				t.Errorf("%q, want %q", got, v.New)
			}
		})
	}
}

// Patches of any instructions give what the instructions say.
func TestInstructions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	for range 200 {
		old := text(1 + r.IntN(20_000))
		w, want := newWriter(), ""
		for range r.IntN(20) {
			if r.IntN(2) == 0 {
				s := text(1 + r.IntN(2048))
				w.insert(s)
				want += s
				continue
			}
			from := r.IntN(len(old))
			n := 1 + r.IntN(len(old)-from)
			w.copy(from, n)
			want += old[from : from+n]
		}
		got, err := apply(t, w.end(), old, int64(len(want)))
		if err != nil || got != want {
			t.Fatalf("%v, or another result", err)
		}
		for _, size := range []int64{int64(len(want)) + 1, int64(len(want)) - 1} {
			if _, err := apply(t, w.b, old, size); size >= 0 && err == nil {
				t.Fatalf("a result of %d instead of %d bytes was taken", len(want), size)
			}
		}
		if cut := r.IntN(len(w.b) + 1); true {
			if _, err := apply(t, w.b[:cut], old, int64(len(want))); err == nil {
				t.Fatal("a patch that was cut off was taken")
			}
		}
	}
}

// Errors of what is read and written come through.
func TestErrorsOfOthers(t *testing.T) {
	patch := newWriter().copy(0, 3).end()
	broken := errors.New("broken")
	if err := Apply(make([]byte, Memory), iotest.ErrReader(broken), strings.NewReader("abc"), 3, io.Discard, 3); err != broken {
		t.Error(err)
	}
	if err := Apply(make([]byte, Memory), bytes.NewReader(patch), faulty{broken}, 3, io.Discard, 3); err != broken {
		t.Error(err)
	}
	if err := Apply(make([]byte, Memory), bytes.NewReader(patch), strings.NewReader("ab"), 3, io.Discard, 3); err != ErrDamaged {
		t.Error("an old content that is shorter than was said:", err)
	}
	if err := Apply(make([]byte, Memory), bytes.NewReader(patch), strings.NewReader("abc"), 3, faulty{broken}, 3); err != broken {
		t.Error(err)
	}
}

type faulty struct{ err error }

func (f faulty) ReadAt([]byte, int64) (int, error) { return 0, f.err }
func (f faulty) Write([]byte) (int, error)         { return 0, f.err }

// A decoder allocates nothing that depends on the patch.
func TestAllocations(t *testing.T) {
	old := strings.NewReader(strings.Repeat("x", 10_000))
	w := newWriter()
	for range 100 {
		w.copy(17, 9000).insert("something else")
	}
	patch, buf := bytes.NewReader(w.end()), make([]byte, Memory)
	n := testing.AllocsPerRun(20, func() {
		patch.Seek(0, io.SeekStart)
		if err := Apply(buf, patch, old, old.Size(), io.Discard, 100*9014); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzApply(f *testing.F) {
	f.Add(newWriter().copy(2, 5).insert("hello").copy(0, 300).end(), strings.Repeat("old content ", 40), uint16(310))
	f.Add(newWriter().insert(strings.Repeat("n", 2048)).end(), "", uint16(2048))
	f.Add(newWriter().end(), "x", uint16(0))
	f.Add([]byte("OTADELTA\x01\x01\xff\xff\xff\xff\x7f\xff\xff\xff\xff\x7f\xff"), "abc", uint16(60000))
	f.Add([]byte("OTADELTA\x01\x02\x00\x02\x00\xff"), "abc", uint16(1))
	f.Fuzz(func(t *testing.T, patch []byte, old string, size uint16) {
		got, err := apply(t, patch, old, int64(size))
		if len(got) > int(size) {
			t.Fatalf("%d bytes were written, and %d were asked for", len(got), size)
		}
		if err == nil && len(got) != int(size) {
			t.Fatalf("%d bytes instead of %d, and no error", len(got), size)
		}
	})
}
