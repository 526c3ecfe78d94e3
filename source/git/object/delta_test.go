package object

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

// naiveDelta applies a delta in memory, as the documentation describes it.
func naiveDelta(base, d []byte) ([]byte, error) {
	wrong := errors.New("malformed")
	number := func() (n uint64) {
		for shift := 0; ; shift += 7 {
			if len(d) == 0 || shift > 56 {
				d = nil
				return 1 << 63
			}
			c := d[0]
			d = d[1:]
			n |= uint64(c&0x7f) << shift
			if c < 0x80 {
				return n
			}
		}
	}
	baseSize, size := number(), number()
	if baseSize != uint64(len(base)) || size > 1<<20 {
		return nil, wrong
	}
	var out []byte
	for len(d) > 0 {
		op := d[0]
		d = d[1:]
		if op == 0 {
			return nil, wrong
		}
		if op < 0x80 {
			if int(op) > len(d) {
				return nil, wrong
			}
			out = append(out, d[:op]...)
			d = d[op:]
		} else {
			var args [7]uint64
			for i := range args {
				if op>>i&1 == 1 {
					if len(d) == 0 {
						return nil, wrong
					}
					args[i] = uint64(d[0])
					d = d[1:]
				}
			}
			off := args[0] | args[1]<<8 | args[2]<<16 | args[3]<<24
			n := args[4] | args[5]<<8 | args[6]<<16
			if n == 0 {
				n = 65536
			}
			if off+n > uint64(len(base)) || uint64(len(out))+n > size {
				return nil, wrong
			}
			out = append(out, base[off:off+n]...)
		}
		if uint64(len(out)) > size {
			return nil, wrong
		}
	}
	if uint64(len(out)) != size {
		return nil, wrong
	}
	return out, nil
}

// streamDelta applies a delta as the Unpacker does, its bytes coming one by one.
func streamDelta(base, d []byte, limit int64) ([]byte, error) {
	in := &inflated{buf: make([]byte, 3)}
	in.reset(bytes.NewReader(d), int64(len(d)))
	head, err := readDelta(in)
	if err != nil {
		return nil, err
	}
	if head.baseSize != int64(len(base)) || head.size > limit {
		return nil, bad("sizes")
	}
	var w window
	w.reset(memoryBase{bytes.NewReader(base)})
	var out bytes.Buffer
	err = applyDelta(head, in, &w, &out)
	return out.Bytes(), err
}

func FuzzDelta(f *testing.F) {
	base := bytes.Repeat([]byte("0123456789"), 7000)
	f.Add(base[:10], copyAll(10, 'a', 'b'))
	f.Add(base, join(varint(70000), varint(65536), []byte{0x80}))
	f.Add(base, join(varint(70000), varint(7), []byte{0x97, 1, 2, 1, 3, 4, 'a', 'b', 'c', 'd'}))
	f.Add(base, join(varint(70000), varint(0xff), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}))
	f.Add([]byte{}, []byte{0, 0})
	f.Add(base[:10], []byte{10, 1, 0x91, 10, 1})
	f.Add([]byte{}, []byte{0, 1, 0})
	f.Fuzz(func(t *testing.T, base, d []byte) {
		want, wantErr := naiveDelta(base, d)
		got, err := streamDelta(base, d, 1<<20)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("got %v, want %v", err, wantErr)
		}
		if err != nil {
			if godwit.CodeOf(err) != godwit.CodeBadObject {
				t.Errorf("%v has code %s", err, godwit.CodeOf(err))
			}
		} else if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want other %d", len(got), len(want))
		}
	})
}

func TestBadDeltas(t *testing.T) {
	base := []byte("0123456789")
	for name, tt := range map[string]struct {
		delta []byte
		text  string
	}{
		"empty":                          {nil, "middle of an instruction"},
		"half a size":                    {[]byte{0x8a}, "middle of an instruction"},
		"a size beyond 63 bits":          {append(bytes.Repeat([]byte{0xff}, 10), 1), "63 bits"},
		"an undefined instruction":       {[]byte{10, 1, 0}, "not defined"},
		"a copy from behind the end":     {[]byte{10, 1, 0x91, 10, 1}, "behind the end"},
		"a copy across the end":          {[]byte{10, 5, 0x91, 6, 5}, "behind the end"},
		"a copy from far behind":         {[]byte{10, 1, 0x9f, 0xff, 0xff, 0xff, 0xff, 1}, "behind the end"},
		"a copy cut in its arguments":    {[]byte{10, 5, 0x91, 6}, "middle of an instruction"},
		"an insert cut in its text":      {[]byte{10, 5, 5, 'a'}, "middle of an instruction"},
		"a copy of more than it says":    {[]byte{10, 2, 0x90, 3}, "more than it says"},
		"an insert of more than it says": {[]byte{10, 1, 2, 'a', 'b'}, "more than it says"},
		"less than it says":              {[]byte{10, 3, 2, 'a', 'b'}, "1 bytes less"},
	} {
		_, err := streamDelta(base, tt.delta, 1<<20)
		if godwit.CodeOf(err) != godwit.CodeBadObject || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Random deltas over bases around the size of the window.
func TestDeltaWindow(t *testing.T) {
	rnd := rand.New(rand.NewSource(3))
	for range 60 {
		base := make([]byte, rnd.Intn(3*windowSize))
		rnd.Read(base)
		var ops, want []byte
		for range rnd.Intn(20) {
			if len(base) == 0 || rnd.Intn(3) == 0 {
				b := make([]byte, 1+rnd.Intn(127))
				rnd.Read(b)
				ops, want = append(ops, insert(b)...), append(want, b...)
				continue
			}
			off := rnd.Intn(len(base))
			n := min(len(base)-off, 1+rnd.Intn(1<<17))
			ops = append(ops, 0xff, byte(off), byte(off>>8), byte(off>>16), byte(off>>24), byte(n), byte(n>>8), byte(n>>16))
			want = append(want, base[off:off+n]...)
		}
		d := join(varint(uint64(len(base))), varint(uint64(len(want))), ops)
		got, err := streamDelta(base, d, 1<<30)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("base of %d, result of %d: %v", len(base), len(want), err)
		}
	}
}

type shrunkBase struct{ memoryBase }

func (shrunkBase) Size() int64 { return 100 }

// A base that turns out shorter than it said is an error of reading.
func TestDeltaBaseShrank(t *testing.T) {
	var w window
	w.reset(shrunkBase{memoryBase{bytes.NewReader(make([]byte, 50))}})
	if _, err := w.at(0, 100); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}
