package patches

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-ota/godwit/bench/corpus"
	"github.com/godwit-ota/godwit/delta"
)

// A result is one patch of Godwit, which gave the new bytes.
type result struct {
	size  int64
	list  int64 // of a tree: the manifest that goes with it
	rss   int64 // of the program that applied it
	made  time.Duration
	apply time.Duration // decoding alone
}

// startup measures what is not decoding: the start of the program.
func (b *run) startup() error {
	var all []time.Duration
	for range 5 {
		c, err := b.Measure(b.Godwit, "version")
		if err != nil {
			return err
		}
		all = append(all, c.Wall)
	}
	b.start = middle(all)
	return nil
}

// godwit makes a patch with the program, applies it with the program and
// compares what came out.
func (b *run) godwit(old, new, tier string) (r result, err error) {
	patch, got := filepath.Join(b.tmp, "patch"), filepath.Join(b.tmp, "got")
	for _, name := range []string{patch, patch + ".json", got} {
		if err := os.RemoveAll(name); err != nil {
			return r, err
		}
	}
	args := []string{b.Godwit, "delta", "make", old, new, "-o", patch, "--tier", tier}
	if b.Budget != "" {
		args = append(args, "--budget", b.Budget)
	}
	made, err := b.Measure(args...)
	if err != nil {
		return r, err
	}
	applied, err := b.Measure(b.Godwit, "delta", "apply", old, patch, "-o", got)
	if err != nil {
		return r, err
	}
	r.made, r.rss, r.apply = made.Wall, applied.RSS, max(applied.Wall-b.start, time.Microsecond)
	if r.size, err = size(patch); err != nil {
		return r, err
	}
	want, err := corpus.Sum(new)
	if err != nil {
		return r, err
	}
	if sum, err := corpus.Sum(got); err != nil || sum != want {
		return r, errors.Join(errors.New("the patch gives other bytes"), err)
	}
	info, err := os.Stat(new)
	if err != nil {
		return r, err
	}
	if info.IsDir() {
		r.list, err = size(patch + ".json")
		return r, err
	}
	if b.Trainer != "" {
		return r, nil // its priors are not those of this program
	}
	// Small files are decoded faster than a program starts: decode them here.
	r.apply, err = decode(old, patch, tier)
	return r, err
}

// memory is a new content in memory.
type memory struct{ b []byte }

func (m *memory) Write(p []byte) (int, error) {
	m.b = append(m.b, p...)
	return len(p), nil
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, at) }

// decode measures decoding with no more memory than the tier has.
func decode(oldFile, patchFile, tier string) (time.Duration, error) {
	old, err := os.ReadFile(oldFile)
	if err != nil {
		return 0, err
	}
	patch, err := os.ReadFile(patchFile)
	if err != nil {
		return 0, err
	}
	t, err := delta.ParseTier(tier)
	if err != nil {
		return 0, err
	}
	mem := make([]byte, t.Memory())
	var out memory
	var all []time.Duration
	for len(all) < 3 {
		n := 0
		began := time.Now()
		for n == 0 || time.Since(began) < 20*time.Millisecond {
			out.b = out.b[:0]
			if err := delta.Apply(mem, bytes.NewReader(patch), bytes.NewReader(old), int64(len(old)), &out); err != nil {
				return 0, err
			}
			n++
		}
		all = append(all, time.Since(began)/time.Duration(n))
	}
	return middle(all), nil
}

// special are cases that a format has to get right, whatever it is good at.
func (b *run) special() error {
	random := rand.NewChaCha8([32]byte{1})
	noise := func(n int) []byte {
		p := make([]byte, n)
		random.Read(p)
		return p
	}
	base := noise(1 << 20)
	flipped := bytes.Clone(base)
	flipped[len(flipped)/2] ^= 1
	fmt.Fprintf(b.w, "\n| special case | bytes of new |%s\n|---|--:|%s\n", columns(b.Tiers, " %s |"), columns(b.Tiers, "--:|"))
	for _, c := range []struct {
		name     string
		old, new []byte
	}{
		{"equal files", base, base},
		{"one bit changed", base, flipped},
		{"nothing in common, random", base, noise(1 << 20)},
		{"nothing in common, random, small", noise(1000), noise(1000)},
		{"from nothing", nil, base[:1000]},
		{"to nothing", base[:1000], nil},
	} {
		old, new := filepath.Join(b.tmp, "special.old"), filepath.Join(b.tmp, "special.new")
		if err := errors.Join(os.WriteFile(old, c.old, 0o644), os.WriteFile(new, c.new, 0o644)); err != nil {
			return err
		}
		fmt.Fprintf(b.w, "| %s | %d |", c.name, len(c.new))
		for _, tier := range b.Tiers {
			r, err := b.godwit(old, new, tier)
			if err != nil {
				return fmt.Errorf("%s at %s: %w", c.name, tier, err)
			}
			fmt.Fprintf(b.w, " %d |", r.size)
		}
		fmt.Fprintln(b.w)
	}
	return nil
}
