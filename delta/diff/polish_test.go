package diff

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/model"
)

// sentences are texts of which the second one is the first one edited.
func sentences() (old, new []byte) {
	var a, b strings.Builder
	words := strings.Fields("the station reads its sensors and sends what they say when the link is up so that somebody far away can see how it is doing")
	x := uint32(1)
	word := func() string { x = x*1664525 + 1013904223; return words[x>>16%uint32(len(words))] }
	for i := range 400 {
		line := strings.Join([]string{word(), word(), word(), word(), word(), word()}, " ") + "\n"
		a.WriteString(line)
		switch {
		case i%17 == 3:
			line = strings.ToUpper(line[:1]) + line[1:]
		case i%23 == 5:
			line += word() + "." + word() + "(" + word() + ")\n"
		case i%31 == 7:
			line = ""
		}
		b.WriteString(line)
	}
	return []byte(a.String()), []byte(b.String())
}

// Polishing makes a way cheaper, for texts with and without a good way to begin
// with, and the content stays what it is.
func TestPolish(t *testing.T) {
	old, new := sentences()
	h := delta.Header{Tier: delta.Small, OldSize: int64(len(old)), NewSize: int64(len(new)),
		OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new))}
	for _, tt := range []struct {
		what string
		way  func(s *search) []model.Jump
		less int // thousandths that it becomes
	}{
		{"the aligner's", func(s *search) []model.Jump {
			way, err := s.align(0)
			if err != nil {
				t.Fatal(err)
			}
			return way
		}, 950},
		{"one with jumps that lead nowhere", func(s *search) []model.Jump {
			way, _ := s.align(0)
			var worse []model.Jump
			for i, j := range way {
				worse = append(worse, j)
				if i%3 == 0 && i+1 < len(way) && way[i+1].New > j.New+2 {
					worse = append(worse, model.Jump{New: j.New + 1, Source: int64(i)}, model.Jump{New: j.New + 2, Source: j.Source + 2})
				}
			}
			return worse
		}, 900},
		{"none", func(s *search) []model.Jump { return nil }, 400},
	} {
		s := newSearch(context.Background(), h, old, new, Options{Tier: delta.Small})
		before := s.tryAlone(tt.way(s))
		left := int64(1 << 40)
		polished := s.polish(tt.way(s), Guess{}, &left)
		after := s.tryAlone(polished)
		t.Logf("%s: %d, polished %d", tt.what, before, after)
		if after*1000 > before*tt.less {
			t.Errorf("%s: %d bytes, and %d polished", tt.what, before, after)
		}
		if err := s.check(); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// tryAlone is how long the patch is by a way.
func (s *search) tryAlone(way []model.Jump) int {
	s.best = make([]byte, 1<<20)
	return s.try(way, Guess{}, 0)
}
