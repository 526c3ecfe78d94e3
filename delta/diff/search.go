package diff

import (
	"bytes"
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/inplace"
	"github.com/godwit-ota/godwit/delta/model"
	"github.com/godwit-ota/godwit/internal/race"
)

// A search tries ways through the source and guesses of what the contents are, and keeps the smallest
// patch.
type search struct {
	ctx      context.Context
	old, new []byte
	header   delta.Header
	o        Options
	end      time.Time // when no more is tried; zero for never
	back     bool
	marks    []bool // see operands

	mu   sync.Mutex
	best []byte
	way  []model.Jump // of best, if ok
	ok   bool         // best is modelled
	rank int          // of best: of patches of one size the one with the lowest is kept, whichever is made first
	err  error

	done, total int64
	extra       int64     // of total: what is done only while there is time
	must        time.Time // when the rest of it was done
}

// Weights for the aligner, the most promising first.
var tastes = []struct {
	literal, jump int32
	plain         bool // operands count like all bytes
}{{112, 40, false}, {84, 32, true}, {136, 64, false}, {100, 16, true}, {128, 24, true}, {72, 48, false}}

// Contents above these sizes are too much work for as much care as others.
const (
	careful = 384 << 10 // programs: two tastes, if no more time is given
	large   = 6 << 20   // one taste, likewise; no polishing
	huge    = 16 << 20  // no sources in the new content, fewer lanes
)

func newSearch(ctx context.Context, h delta.Header, old, new []byte, o Options) *search {
	s := &search{ctx: ctx, old: old, new: new, header: h, o: o}
	if o.Budget > 0 {
		s.end = time.Now().Add(o.Budget)
	}
	s.back = !o.NoReadBack && len(new) < huge
	return s
}

// late tells whether time is up, which it is only where some was given: otherwise
// the same contents always give the same patch.
func (s *search) late() bool {
	return s.ctx.Err() != nil || !s.end.IsZero() && time.Now().After(s.end)
}

// worked tells how much of the work is done.
func (s *search) worked(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += n
	if s.o.Progress == nil {
		return
	}
	done := s.done
	if must := s.total - s.extra; !s.end.IsZero() && done >= must {
		// What comes now ends when time is up.
		spent := max(0, 1-float64(time.Until(s.end))/float64(s.end.Sub(s.must)))
		done = max(done, must+int64(spent*float64(s.extra)))
	}
	s.o.Progress(min(done, s.total), s.total)
}

func (s *search) run() ([]byte, error) {
	s.best = stored(s.header, s.new)
	if len(s.new) == 0 {
		return s.best, s.check()
	}
	guesses := Guesses(s.old, s.new)
	n := int64(len(s.new))
	more := len(tastes)
	switch {
	case s.o.Budget > 0:
	case len(s.new) > large:
		more = 1
	case guesses[0].Code && len(s.new) > careful:
		more = 2
	}
	s.extra, s.must = 2*n*int64(more-1), time.Now()
	refine := len(s.new) <= large
	if refine {
		s.extra += s.effort(guesses[0])
	}
	s.total = n*int64(1+len(guesses)) + s.extra
	s.marks = operands(s.old, &guesses[0].Recipe)
	jumps, err := s.align(0)
	if err != nil {
		return nil, err
	}
	// Which guess is the best one hardly depends on the way.
	guess := guesses[0]
	var wait sync.WaitGroup
	sizes := make([]int, len(guesses))
	for i := range guesses {
		wait.Go(func() { sizes[i] = s.try(jumps, guesses[i], i) })
		if i%2 == 1 {
			wait.Wait()
		}
	}
	wait.Wait()
	for i, size := range sizes {
		if size < sizes[0] {
			guess, sizes[0] = guesses[i], size
		}
	}
	s.mu.Lock()
	s.must = time.Now()
	s.mu.Unlock()
	if more > 1 {
		half := s.end.Add(-time.Until(s.end) / 2)
		next := 1
		for range 2 {
			wait.Go(func() {
				for s.ctx.Err() == nil && (s.end.IsZero() || time.Now().Before(half)) {
					s.mu.Lock()
					k := next
					next++
					s.mu.Unlock()
					if k >= more {
						return
					}
					if jumps, err := s.align(k); err == nil {
						s.try(jumps, guess, len(guesses)+k)
					}
				}
			})
		}
		wait.Wait()
	}
	if refine {
		s.refine(guess)
	}
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	if s.o.Progress != nil {
		s.o.Progress(s.total, s.total)
	}
	return s.best, s.check()
}

// align finds a way through the source by the k-th taste.
func (s *search) align(k int) ([]model.Jump, error) {
	last := 0
	a := &aligner{
		old: s.old, new: s.new, back: s.back, slack: s.o.Slack, block: s.o.Block, marks: s.marks,
		literal: tastes[k].literal, jump: tastes[k].jump, lanes: 16,
		progress: func(done int) {
			s.worked(int64(done - last))
			last = done
		},
	}
	if tastes[k].plain {
		a.marks = nil
	}
	if len(s.new) >= huge {
		a.lanes = 4
	}
	return a.jumps(s.ctx)
}

// try codes the content by a way and a guess, keeps the patch if it is the
// smallest one, and gives its size.
func (s *search) try(jumps []model.Jump, guess Guess, rank int) int {
	const chunk = 1 << 16
	h := s.header
	h.Method, h.Code, h.Recipe = delta.Modelled, guess.Code, guess.Recipe
	for _, j := range jumps {
		h.ReadBack = h.ReadBack || j.Source >= h.OldSize
	}
	patch := h.Append(nil)
	if _, err := delta.ReadHeader(bytes.NewReader(patch)); err != nil {
		return math.MaxInt // too much is known of what old is for a header to say
	}
	w := coding(h, s.old, s.new)
	w.Encode(s.new, jumps, nil)
	for at := int64(0); at < h.NewSize; at += chunk {
		w.EncodeTo(at + chunk)
		s.worked(min(chunk, h.NewSize-at))
		s.mu.Lock()
		hopeless := len(patch)+w.Length() > len(s.best)
		s.mu.Unlock()
		if hopeless || s.ctx.Err() != nil {
			s.worked(h.NewSize - min(at+chunk, h.NewSize))
			return math.MaxInt
		}
	}
	patch = append(patch, w.Finish()...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := w.Err(); err != nil {
		s.err = err
	}
	if len(patch) < len(s.best) || len(patch) == len(s.best) && rank < s.rank {
		s.best, s.way, s.ok, s.rank = patch, jumps, true, rank
	}
	return len(patch)
}

// coding is a walk that can code new.
func coding(h delta.Header, old, new []byte) *model.Walk {
	t := model.Task{
		Tier: int(h.Tier), Old: bytes.NewReader(old), OldSize: h.OldSize, NewSize: h.NewSize,
		Slack: h.Slack, Block: h.Block, Code: h.Code, Recipe: &h.Recipe,
	}
	if h.ReadBack {
		t.Back = bytes.NewReader(new)
	}
	w := &model.Walk{}
	w.Init(make([]byte, model.Memory(int(h.Tier))), t)
	return w
}

// effort is how much is coded for polishing, in bytes, at most: some ten seconds for a
// program of a megabyte or a text of a hundred kilobytes, half a minute for a
// tree of sources of a megabyte. What is found to be good enough ends sooner.
func (s *search) effort(guess Guess) int64 {
	if race.Enabled {
		return 1 << 20
	}
	if guess.Code {
		return 4<<20 + 3*int64(len(s.new))
	}
	return min(80<<20+240*int64(len(s.new)), 512<<20)
}

// refine polishes the best way as long as that makes the patch smaller.
func (s *search) refine(guess Guess) {
	left := s.effort(guess)
	for won := s.ok; won && left > 0 && !s.late(); {
		before := len(s.best)
		s.try(s.polish(s.way, guess, &left), guess, math.MaxInt)
		won = len(s.best) < before
	}
}

// check applies the patch, in place if it is for that: then what a block writes
// over cannot be read any more.
func (s *search) check() error {
	var out page
	var err error
	if s.header.Block > 0 {
		out.b, err = inplace.Rehearse(s.best, s.old)
	} else {
		err = delta.Apply(make([]byte, s.header.Tier.Buffer()), bytes.NewReader(s.best), bytes.NewReader(s.old), int64(len(s.old)), &out)
	}
	if err == nil && !bytes.Equal(out.b, s.new) {
		err = delta.ErrDamaged
	}
	if err != nil {
		return errors.Join(errors.New("the patch that was made does not give the new content"), err)
	}
	return nil
}

// page holds what is written.
type page struct{ b []byte }

func (p *page) Write(b []byte) (int, error) {
	p.b = append(p.b, b...)
	return len(b), nil
}

func (p *page) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(p.b).ReadAt(b, off) }

// Way is a good way through the source and the best guess of what old is, for
// those who want to code by themselves.
func Way(ctx context.Context, old, new []byte) ([]model.Jump, Guess) {
	s := newSearch(ctx, delta.Header{}, old, new, Options{})
	guess := Guesses(old, new)[0]
	s.marks = operands(old, &guess.Recipe)
	jumps, err := s.align(0)
	if err != nil {
		return nil, guess
	}
	return jumps, guess
}
