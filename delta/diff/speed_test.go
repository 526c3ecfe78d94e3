package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/godwit-ota/godwit/delta"
)

// BenchmarkDecode decodes the pairs that GODWIT_PAIRS names: a pattern of folders
// with the files old and new. The patches are those of the first guess, unpolished.
func BenchmarkDecode(b *testing.B) {
	dirs, err := filepath.Glob(os.Getenv("GODWIT_PAIRS"))
	if err != nil {
		b.Fatal(err)
	}
	if len(dirs) == 0 {
		b.Skip("GODWIT_PAIRS names no folders with the files old and new")
	}
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		b.Run(tier.String(), func(b *testing.B) {
			type pair struct{ old, patch []byte }
			var pairs []pair
			var size, patched int
			for _, dir := range dirs {
				old, new := contents(b, dir, "old"), contents(b, dir, "new")
				s := newSearch(context.Background(), delta.Header{Tier: tier, OldSize: int64(len(old)), NewSize: int64(len(new)), OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new))}, old, new, Options{Tier: tier})
				s.best = stored(s.header, new)
				guess := Guesses(old, new)[0]
				s.marks = operands(old, &guess.Recipe)
				jumps, err := s.align(0)
				if err != nil {
					b.Fatal(err)
				}
				s.try(jumps, guess, 0)
				pairs = append(pairs, pair{old, s.best})
				size += len(new)
				patched += len(s.best)
			}
			mem := make([]byte, tier.Memory())
			out := page{b: make([]byte, 0, size)}
			b.SetBytes(int64(size))
			start := cpuTime()
			n := 0
			for b.Loop() {
				n++
				for _, p := range pairs {
					out.b = out.b[:0]
					if err := delta.Apply(mem, bytes.NewReader(p.patch), bytes.NewReader(p.old), int64(len(p.old)), &out); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n)*float64(size)/1e6/(cpuTime()-start).Seconds(), "MB/cpu-s")
			b.ReportMetric(float64(patched), "bytes")
		})
	}
}

func contents(b *testing.B, dir, name string) []byte {
	all, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		b.Fatal(err)
	}
	return all
}
