package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/delta"
)

// BenchmarkDecode decodes the pair that GODWIT_PAIR names: OLD:NEW.
func BenchmarkDecode(b *testing.B) {
	oldName, newName, ok := strings.Cut(os.Getenv("GODWIT_PAIR"), ":")
	if !ok {
		b.Skip("GODWIT_PAIR=OLD:NEW is not set")
	}
	old, err := os.ReadFile(oldName)
	if err != nil {
		b.Fatal(err)
	}
	new, err := os.ReadFile(newName)
	if err != nil {
		b.Fatal(err)
	}
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		b.Run(tier.String(), func(b *testing.B) {
			s := newSearch(context.Background(), delta.Header{Tier: tier, OldSize: int64(len(old)), NewSize: int64(len(new)), OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new))}, old, new, Options{Tier: tier})
			s.best = stored(s.header, new)
			jumps, err := s.align(0)
			if err != nil {
				b.Fatal(err)
			}
			s.try(jumps, Guesses(old, new)[0], 0)
			mem := make([]byte, tier.Memory())
			b.SetBytes(int64(len(new)))
			b.ReportMetric(float64(len(s.best)), "bytes")
			start := cpuTime()
			n := 0
			for b.Loop() {
				n++
				out := page{b: make([]byte, 0, len(new))}
				if err := delta.Apply(mem, bytes.NewReader(s.best), bytes.NewReader(old), int64(len(old)), &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(len(new))/1e6/(cpuTime()-start).Seconds(), "MB/cpu-s")
			b.ReportMetric(float64(len(s.best)), "bytes")
		})
	}
}
