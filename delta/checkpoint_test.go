package delta_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/internal/race"
)

// pad is an Output in memory.
type pad struct{ b []byte }

func (p *pad) Write(b []byte) (int, error) { p.b = append(p.b, b...); return len(b), nil }

func (p *pad) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(p.b).ReadAt(b, off) }

// storedPatch holds the new content itself.
func storedPatch(tier delta.Tier, old, new []byte) []byte {
	h := headerOf(tier, old, new)
	return append(h.Append(nil), new...)
}

// headerOf is the header of a patch that holds the new content.
func headerOf(tier delta.Tier, old, new []byte) delta.Header {
	return delta.Header{Method: delta.Stored, Tier: tier, OldSize: int64(len(old)), NewSize: int64(len(new)), OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new))}
}

// ownCode is a piece of this program, with addresses in it, and a later version.
func ownCode(t testing.TB) (old, new []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 9))
	starts := make([]uint32, 120)
	for i := range starts {
		starts[i] = uint32(i) * 128
	}
	// Code of A64: calls among what is not.
	for len(old) < 128*len(starts) {
		v := 0xd2800000 | r.Uint32()&0x1fffff
		if r.IntN(5) == 0 {
			v = address.Put(address.A64Branch, 0x94000000, uint32(len(old)), starts[r.IntN(len(starts))])
		}
		old = binary.LittleEndian.AppendUint32(old, v)
	}
	// One function is longer by 32 bytes: calls over it lead farther.
	const at, more = 50 * 128, 32
	moved := func(x uint32) uint32 {
		if x >= at {
			x += more
		}
		return x
	}
	for pc := uint32(0); int(pc) < len(old); pc += 4 {
		if pc == at {
			new = append(new, "a function has grown by 32 bytes"...)
		}
		v := binary.LittleEndian.Uint32(old[pc:])
		if f := address.Classify(address.ARM64, v); f == address.A64Branch {
			v = address.Put(f, v, moved(pc), moved(address.Target(f, v, pc)))
		}
		new = binary.LittleEndian.AppendUint32(new, v)
	}
	return old, new
}

// A pair is two versions and a patch between them.
type pair struct {
	name     string
	old, new []byte
	patch    []byte
	tier     delta.Tier
}

func pairs(t testing.TB) (list []pair) {
	var text []byte
	r := rand.New(rand.NewPCG(5, 5))
	words := strings.Fields("if err return nil func string byte range for switch case the device of and 0x1f 42 = := ( ) { }")
	for len(text) < 20000 {
		text = append(append(text, words[r.IntN(len(words))]...), " \n"[r.IntN(2)])
	}
	changed := bytes.ReplaceAll(bytes.Clone(text), []byte("device"), []byte("machine"))
	changed = append(changed[:9000:9000], append([]byte("something that is new here"), changed[9500:]...)...)
	moved := append(bytes.Clone(text[12000:]), text[:12000]...)
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		for _, c := range []pair{{name: "changed", old: text, new: changed}, {name: "moved", old: text, new: moved}, {name: "same", old: text, new: text}, {name: "from nothing", new: changed},
			{name: "to nothing", old: text}, {name: "one byte", old: text, new: []byte{1}}} {
			patch, report, err := diff.Make(context.Background(), c.old, c.new, diff.Options{Tier: tier, Budget: 1})
			if err != nil {
				t.Fatal(err)
			}
			c.name += ", " + tier.String() + ", " + report.Header.Method.String()
			c.patch, c.tier = patch, tier
			list = append(list, c)
			c.name += ", but stored"
			c.patch = storedPatch(tier, c.old, c.new)
			list = append(list, c)
		}
	}
	return list
}

// Wherever a decoder is left, another one goes on from its checkpoint in memory
// that held anything, and the result is the same.
func TestResume(t *testing.T) {
	for _, c := range pairs(t) {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int64{1, 7, 1000, 4096, 19999, 1 << 20} {
				if race.Enabled && step != 7 && step != 4096 {
					continue
				}
				if step < 1000 && len(c.new) > 5000 && step*400 < int64(len(c.new)) {
					step += int64(len(c.new)) / 23
				}
				out := &pad{}
				mem := make([]byte, c.tier.Memory())
				d, err := delta.NewDecoder(mem, bytes.NewReader(c.patch), bytes.NewReader(c.old), int64(len(c.old)), out)
				if err != nil {
					t.Fatal(err)
				}
				size := -1
				for at := int64(0); ; at += step {
					point := d.Checkpoint([]byte("before"))[6:]
					if size < 0 {
						size = len(point)
					}
					written, consumed, err := delta.CheckpointPosition(point)
					if err != nil || written != at || consumed < 0 || consumed > int64(len(c.patch)) || len(point) != size {
						t.Fatalf("at %d: %d written, %d consumed of %d, %d bytes, at first %d: %v", at, written, consumed, len(c.patch), len(point), size, err)
					}
					for i := range mem {
						mem[i] = 0xA5
					}
					d, err = delta.Resume(mem, point, bytes.NewReader(c.patch[consumed:]), bytes.NewReader(c.old), int64(len(c.old)), out)
					if err != nil {
						t.Fatal(err)
					}
					done, err := d.Decode(step)
					if err != nil {
						t.Fatalf("from %d: %v", at, err)
					}
					// Exactly as much as was asked for: those who write blocks need it so.
					if want := min(at+step, int64(len(c.new))); int64(len(out.b)) != want || done != (want == int64(len(c.new))) {
						t.Fatalf("from %d: %d bytes, done %v", at, len(out.b), done)
					}
					if done {
						break
					}
				}
				if !bytes.Equal(out.b, c.new) {
					t.Fatal("the result is wrong")
				}
			}
		})
	}
}

func TestResumeRefuses(t *testing.T) {
	for _, c := range pairs(t)[:4] {
		d, err := delta.NewDecoder(make([]byte, c.tier.Memory()), bytes.NewReader(c.patch), bytes.NewReader(c.old), int64(len(c.old)), &pad{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(100); err != nil {
			t.Fatal(err)
		}
		point := d.Checkpoint(nil)
		resume := func(mem int, b []byte, oldSize int) error {
			_, err := delta.Resume(make([]byte, mem), b, bytes.NewReader(nil), bytes.NewReader(c.old), int64(oldSize), &pad{})
			return err
		}
		if err := resume(c.tier.Memory(), point, len(c.old)); err != nil {
			t.Fatal(err)
		}
		if err := resume(c.tier.Buffer()-1, point, len(c.old)); !errors.Is(err, delta.ErrMemory) {
			t.Error("memory:", err)
		}
		if err := resume(c.tier.Memory(), point, len(c.old)+1); !errors.Is(err, delta.ErrWrongOld) {
			t.Error("old:", err)
		}
		for i := range point {
			if i > 400 && i%101 != 0 {
				continue
			}
			if err := resume(c.tier.Memory(), point[:i], len(c.old)); !errors.Is(err, delta.ErrCheckpoint) {
				t.Fatal("the first", i, "bytes:", err)
			}
			point[i] ^= 8
			if err := resume(c.tier.Memory(), point, len(c.old)); !errors.Is(err, delta.ErrCheckpoint) {
				t.Fatal("damage at", i, err)
			}
			point[i] ^= 8
		}
	}
}
