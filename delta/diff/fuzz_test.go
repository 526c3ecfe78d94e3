package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/inplace"
	"github.com/godwit-ota/godwit/internal/race"
)

// mutated is a later version of b, as script says: three bytes for each change.
func mutated(b, script []byte) []byte {
	b = bytes.Clone(b)
	for ; len(script) >= 3 && len(b) < 1<<16; script = script[3:] {
		at, n := 0, 1+int(script[2])
		if len(b) > 0 {
			at = int(script[1]) * len(b) / 256
		}
		piece := bytes.Clone(b[at:min(len(b), at+n)])
		rest := bytes.Clone(b[at+len(piece):])
		before := bytes.Clone(b[:at])
		switch script[0] % 7 {
		case 0: // put something in
			r := rand.New(rand.NewPCG(uint64(script[1]), uint64(n)))
			for range n {
				before = append(before, byte(r.Uint32()))
			}
			b = append(append(before, piece...), rest...)
		case 1: // take out
			b = append(before, rest...)
		case 2: // move to the end
			b = append(append(before, rest...), piece...)
		case 3: // swap two blocks
			k := min(n, len(rest))
			b = append(append(append(before, rest[:k]...), piece...), rest[k:]...)
		case 4: // repeat
			b = append(before, bytes.Repeat(piece, 1+n%9)...)
			b = append(b, rest...)
		case 5: // a byte in each few is another one
			for i := 0; i < len(piece); i += 1 + n%5 {
				piece[i] += byte(n)
			}
			b = append(append(before, piece...), rest...)
		case 6: // copy to the beginning
			b = append(piece, b...)
		}
	}
	return b
}

// Whatever two contents: the patch between them gives the new one.
func FuzzMake(f *testing.F) {
	text := bytes.Repeat([]byte("if err != nil { return err } // a line\n"), 60)
	for i, b := range [][]byte{text, firmware(0x08000000, 3000), nil, bytes.Repeat([]byte{0}, 9000)} {
		for k := range uint8(12) {
			f.Add(b, []byte{0, 10, 20, k, 30, 200, k + 3, 128, 255, 5, 200, byte(i)}, k)
		}
	}
	f.Fuzz(func(t *testing.T, old, script []byte, how uint8) {
		if len(old) > 1<<15 || len(script) > 60 {
			return
		}
		new := mutated(old, script)
		o := Options{Tier: delta.Tier(1 + how%3), NoReadBack: how&4 != 0, Budget: 1}
		if how&8 != 0 {
			o.Block, o.Slack = inplace.Grain<<(how>>4&1), inplace.Grain*int64(how>>5&3)
		}
		patch, r, err := Make(context.Background(), old, new, o)
		if err != nil {
			t.Fatal(err)
		}
		if o.NoReadBack && r.Header.ReadBack || r.Header.Block != o.Block || r.Header.Tier != o.Tier || len(patch) > len(new)+40 {
			t.Fatalf("%d bytes for %d: %+v", len(patch), len(new), r.Header)
		}
		var out page
		if o.Block > 0 {
			out.b, err = inplace.Rehearse(patch, old)
		} else {
			err = delta.Apply(make([]byte, o.Tier.Buffer()), bytes.NewReader(patch), bytes.NewReader(old), int64(len(old)), &out)
		}
		if err != nil || !bytes.Equal(out.b, new) {
			t.Fatal("another content:", err)
		}
	})
}

// Patches are as small as is promised, whatever the contents.
func TestSizes(t *testing.T) {
	size := 100_000
	if race.Enabled {
		size = 20_000
	}
	r := rand.New(rand.NewPCG(7, 7))
	noise, words := make([]byte, size), make([]byte, 0, size+20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for len(words) < size {
		words = append(append(words, []string{"return", "the", "device", "=", "0x1f", "{", "for"}[r.IntN(7)]...), " \n"[r.IntN(2)])
	}
	words = words[:size]
	changed := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at*len(b)/256]++
		return b
	}
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		for _, c := range []struct {
			name     string
			old, new []byte
			most     int
		}{
			{"equal", words, words, 59},
			{"equal, in place", noise, noise, 99},
			{"a byte of a text", words, changed(words, 100), 99},
			{"a byte of a program", firmware(0x08000000, size), changed(firmware(0x08000000, size), 50), 99},
			{"a byte of noise", noise, changed(noise, 150), 99},
			{"noise from nothing", nil, noise, size + size/100 + 100},
			{"noise from a text", words, noise, size + size/100 + 100},
		} {
			o := Options{Tier: tier, Budget: 1}
			if c.name == "equal, in place" {
				o.Slack, o.Block = 16384, 16384
			}
			patch, _, err := Make(t.Context(), c.old, c.new, o)
			if err != nil {
				t.Fatal(err)
			}
			if t.Logf("%v, %s: %d bytes", tier, c.name, len(patch)); len(patch) > c.most {
				t.Errorf("%v, %s: %d bytes, more than %d", tier, c.name, len(patch), c.most)
			}
		}
	}
}

// A patch in place that reads what a block writes over is not handed out.
func TestRehearsal(t *testing.T) {
	old := bytes.Repeat([]byte("what is read before it is written over, or not; "), 400)
	for i := range old {
		old[i] ^= byte(i >> 7)
	}
	new := mutated(old, []byte{0, 20, 200, 2, 100, 100})
	if _, _, err := Make(t.Context(), old, new, Options{Slack: 4096, Block: 100}); err != inplace.ErrUnfit && err == nil {
		t.Error("blocks that share sectors:", err)
	}
	s := newSearch(t.Context(), delta.Header{Tier: delta.Small, OldSize: int64(len(old)), NewSize: int64(len(new)), OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new))}, old, new, Options{Tier: delta.Small, Budget: 1})
	if _, err := s.run(); err != nil {
		t.Fatal(err)
	}
	// The same code, said to be for writing in place.
	h, err := delta.ReadHeader(bytes.NewReader(s.best))
	if err != nil {
		t.Fatal(err)
	}
	code := s.best[len(h.Append(nil)):]
	h.Block, h.Slack = 4096, 0
	s.best, s.header = append(h.Append(nil), code...), h
	if err := s.check(); err == nil {
		t.Error("a patch that reads what is gone is handed out")
	}
}

// Blocks that are longer than the slack: what was readable in one is gone in the
// next, in the middle of what is as expected, wherever stretches of that begin.
func TestBlocks(t *testing.T) {
	old := bytes.Repeat([]byte("what is read before it is written over, or not; "), 800)
	for i := range old {
		old[i] ^= byte(i>>7) ^ byte(i>>11)
	}
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		steps := 7
		if race.Enabled {
			steps = 3
		}
		for k := range steps {
			new := append(make([]byte, 5*k), old...)
			if _, _, err := Make(t.Context(), old, new, Options{Tier: tier, Budget: 1, Slack: 4096, Block: 8192}); err != nil {
				t.Errorf("%v, %d: %v", tier, k, err)
			}
		}
	}
}
