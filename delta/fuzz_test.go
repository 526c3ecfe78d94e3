package delta_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/model"
)

// fence is an old content that is read within its bounds, or else the test fails.
type fence struct {
	t testing.TB
	b []byte
}

func (f fence) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > int64(len(f.b))-off {
		f.t.Fatalf("%d bytes at %d are read of %d old ones", len(p), off, len(f.b))
	}
	return copy(p, f.b[off:]), nil
}

// yard is a new content that gets no more than it has room for, and is read where
// it was written.
type yard struct {
	t    testing.TB
	b    []byte
	size int64
	back bool // it may be read
}

func (y *yard) Write(p []byte) (int, error) {
	if y.b = append(y.b, p...); int64(len(y.b)) > y.size {
		y.t.Fatalf("%d bytes are written of %d", len(y.b), y.size)
	}
	return len(p), nil
}

func (y *yard) ReadAt(p []byte, off int64) (int, error) {
	if !y.back {
		y.t.Fatal("what was written is read, and the header does not say so")
	}
	if off < 0 || int64(len(p)) > int64(len(y.b))-off {
		y.t.Fatalf("%d bytes at %d are read of %d that were written", len(p), off, len(y.b))
	}
	return copy(p, y.b[off:]), nil
}

// decode applies a patch within bounds: whole if step is negative, or else from a
// checkpoint every step bytes.
func decode(t testing.TB, patch, old []byte, step int64) (out []byte, err error) {
	t.Helper()
	h, err := delta.ReadHeader(bytes.NewReader(patch))
	if err != nil {
		return nil, err
	}
	y := &yard{t: t, size: h.NewSize, back: h.ReadBack}
	mem := bytes.Repeat([]byte{0x5A}, h.Tier.Buffer())
	d, err := delta.NewDecoder(mem, bytes.NewReader(patch), fence{t, old}, int64(len(old)), y)
	for done := false; err == nil && !done; {
		done, err = d.Decode(step)
		if int64(len(y.b)) > h.NewSize || done != (err == nil && int64(len(y.b)) == h.NewSize) {
			t.Fatalf("%d bytes of %d, done %v: %v", len(y.b), h.NewSize, done, err)
		}
		if done && delta.SumOf(sha256.Sum256(y.b)) != h.NewSum {
			t.Fatal("a wrong content is right")
		}
		if err != nil || done || step < 0 {
			continue
		}
		point := d.Checkpoint(nil)
		written, consumed, e := delta.CheckpointPosition(point)
		if e != nil || written != int64(len(y.b)) || consumed > int64(len(patch)) {
			t.Fatalf("a checkpoint of %d bytes written and %d consumed: %v", written, consumed, e)
		}
		d, err = delta.Resume(bytes.Repeat([]byte{0xA5}, len(mem)), point, bytes.NewReader(patch[consumed:]), fence{t, old}, int64(len(old)), y)
		if err != nil {
			t.Fatal("of a checkpoint that was just made:", err)
		}
	}
	return y.b, err
}

// either decodes in both ways, which give the same.
func either(t testing.TB, patch, old []byte, step int64) error {
	t.Helper()
	a, err := decode(t, patch, old, -1)
	b, err2 := decode(t, patch, old, step)
	// What was decoded before an error may not be written yet.
	if n := min(len(a), len(b)); (err == nil) != (err2 == nil) || !bytes.Equal(a[:n], b[:n]) || err == nil && len(a) != len(b) {
		t.Fatalf("whole: %d bytes, %v; by checkpoints: %d bytes, %v", len(a), err, len(b), err2)
	}
	return err
}

// steps are how far apart checkpoints are that do not take too long.
var steps = [...]int64{delta.Tiny: 700, delta.Small: 7000, delta.Large: 70000}

// grounds are old contents.
func grounds(t testing.TB) [][]byte {
	code, _ := ownCode(t)
	r := rand.New(rand.NewPCG(2, 2))
	noise := make([]byte, 3001)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return [][]byte{bytes.Repeat([]byte("the old content, line after line\n"), 100), code, noise, nil, make([]byte, 1<<16)}
}

// Whatever the bytes of a patch behind a header that fits: nothing is read out of
// bounds, no more is written than was said, it ends, and only what is right is said
// to be. A splice is the code of one patch and the rest of that of another.
func FuzzDecode(f *testing.F) {
	old := grounds(f)
	var codes [][]byte
	for i, o := range old {
		for tier := delta.Tiny; tier <= delta.Large; tier++ {
			new := append(append(bytes.Clone(o[len(o)/3:]), "what is new"...), o[:len(o)/2]...)
			patch, r, err := diff.Make(context.Background(), o, new, diff.Options{Tier: tier, Budget: 1})
			if err != nil {
				f.Fatal(err)
			}
			code := patch[len(r.Header.Append(nil)):]
			codes = append(codes, code)
			f.Add(uint8(i), uint8(tier), uint8(0), uint32(len(new)), uint8(0), uint16(len(code)), code)
			f.Add(uint8(i), uint8(tier), uint8(address.ARM64), uint32(len(new)), uint8(255), uint16(len(code)/2), code)
			f.Add(uint8(i), uint8(tier), uint8(address.Thumb)|64, uint32(len(new)), uint8(7), uint16(0), []byte{255, 0, 255})
		}
	}
	f.Fuzz(func(t *testing.T, ground, tier, isa uint8, size uint32, flags uint8, at uint16, data []byte) {
		o := old[int(ground)%len(old)]
		h := headerOf(delta.Tier(1+tier%3), o, nil)
		h.Method, h.NewSize = delta.Modelled, int64(size%(1<<14))
		h.ReadBack = flags&1 != 0
		if flags&2 != 0 {
			h.Block, h.Slack = 4096<<(flags>>2&1), 4096*int64(flags>>3&3)
		}
		if isa != 0 {
			h.Code = true
			half := uint32(len(o) / 2)
			base := uint32(isa>>4) << 12
			h.Recipe.Add(model.Range{End: half + 1, ISA: address.ISA(isa%16) % address.ISAs, Words: isa&64 != 0, Big: isa&128 != 0, Old: base, New: base + 8})
			h.Recipe.Add(model.Range{End: uint32(len(o)) + 2, Words: true, Old: base, New: base})
		}
		if other := codes[int(at)%len(codes)]; flags&128 != 0 {
			data = append(bytes.Clone(data[:min(len(data), int(at))]), other[min(len(other), int(at)):]...)
		}
		patch := append(h.Append(nil), data...)
		err := either(t, patch, o, steps[h.Tier]+int64(size>>18)%1000)
		if err == nil {
			return
		}
		if !errors.Is(err, delta.ErrDamaged) && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		if len(o) > 0 { // another old content
			wrong := bytes.Clone(o)
			wrong[int(at)%len(o)] ^= 1
			if _, err := decode(t, patch, wrong, -1); err != delta.ErrWrongOld {
				t.Fatal(err)
			}
		}
	})
}

// Whatever the bytes: a header that is read is written in the same way, and a
// decoder of it does as it says.
func FuzzHeader(f *testing.F) {
	for _, o := range grounds(f) {
		h := headerOf(delta.Small, o, []byte("new"))
		f.Add(h.Append(nil))
		h.Method, h.Tier, h.Block, h.ReadBack = delta.Modelled, delta.Tiny, 4096, true
		f.Add(h.Append(nil))
		h.Code = true
		h.Recipe.Add(model.Range{End: 100, ISA: address.ARM64, Old: 4096, New: 8192})
		f.Add(h.Append(nil))
		h.Method = delta.Same
		f.Add(h.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := delta.ReadHeader(r)
		if err != nil {
			return
		}
		n := len(b) - r.Len()
		if again := h.Append(nil); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x is written as %x", b[:n], again)
		}
		if n > 255 || h.NewSize < 0 || h.NewSize > 1<<40 || h.OldSize < 0 || h.OldSize > 1<<40 || h.Slack < 0 || h.Block < 0 || h.Tier.Memory() == 0 {
			t.Fatalf("%+v", h)
		}
		if h.OldSize > 1<<16 || h.NewSize > 1<<16 {
			return
		}
		old := make([]byte, h.OldSize)
		h.OldSum = delta.SumOf(sha256.Sum256(old))
		if h.Method == delta.Same {
			h.NewSum = h.OldSum
		}
		_ = either(t, append(h.Append(nil), b[n:]...), old, steps[h.Tier]-1)
	})
}

// Whatever a checkpoint says, if only its checksum is right: nothing is read out
// of bounds, no more is written than its header declares, and it ends.
func FuzzCheckpoint(f *testing.F) {
	old := grounds(f)
	for i, o := range old {
		for _, block := range []int64{0, 4096} {
			new := append(append(bytes.Clone(o[len(o)/3:]), "what is new"...), o[:len(o)/2]...)
			patch, _, err := diff.Make(context.Background(), o, new, diff.Options{Tier: delta.Tiny, Budget: 1, Block: block, Slack: 2 * block})
			if err != nil {
				f.Fatal(err)
			}
			d, err := delta.NewDecoder(make([]byte, delta.Tiny.Memory()), bytes.NewReader(patch), bytes.NewReader(o), int64(len(o)), &pad{})
			if err != nil {
				f.Fatal(err)
			}
			for range 2 {
				if _, err := d.Decode(int64(len(new) / 3)); err != nil {
					f.Fatal(err)
				}
				point := d.Checkpoint(nil)
				_, consumed, err := delta.CheckpointPosition(point)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(uint8(i), point[:len(point)-4], patch[consumed:], uint16(0), uint64(0))
				f.Add(uint8(i), point[:len(point)-4], patch[consumed:], uint16(200), ^uint64(0))
			}
		}
	}
	f.Fuzz(func(t *testing.T, ground uint8, point, rest []byte, at uint16, change uint64) {
		// Numbers are the likeliest to lead somewhere: they come before the slots.
		point = bytes.Clone(point)
		if int(at)+8 <= len(point) {
			binary.LittleEndian.PutUint64(point[at:], binary.LittleEndian.Uint64(point[at:])^change)
		}
		point = binary.LittleEndian.AppendUint32(point, crc32.ChecksumIEEE(point))
		written, _, err := delta.CheckpointPosition(point)
		if err != nil || written > 1<<20 {
			return
		}
		h, err := delta.ReadHeader(bytes.NewReader(point[4:]))
		if err != nil {
			t.Fatal(err)
		}
		o := old[int(ground)%len(old)]
		if h.OldSize != int64(len(o)) {
			return
		}
		y := &yard{t: t, b: make([]byte, written), size: h.NewSize, back: h.ReadBack}
		d, err := delta.Resume(make([]byte, h.Tier.Buffer()), point, bytes.NewReader(rest), fence{t, o}, h.OldSize, y)
		for n := 0; err == nil; n++ {
			var done bool
			if done, err = d.Decode(1 << 10); done || n > 1<<12 {
				break
			}
		}
	})
}
