package board

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A guard is a watchdog as the hardware would be: it bites when it was not fed
// for its timeout.
type guard struct {
	timer *time.Timer
	start time.Time

	mu     sync.Mutex
	bitten time.Duration // after start; 0 for not
	meals  int
	err    error
}

func (g *guard) state() (bitten time.Duration, meals int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bitten, g.meals
}

func newGuard(timeout time.Duration) (*guard, *dog) {
	g := &guard{start: time.Now()}
	g.timer = time.AfterFunc(timeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.bitten = time.Since(g.start)
	})
	return g, &dog{name: "the guard", timeout: timeout, feed: func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.err == nil {
			g.meals++
			g.timer.Reset(timeout)
		}
		return g.err
	}, close: func() error {
		g.timer.Stop()
		return g.err
	}}
}

// watched runs life with a watchdog of 15 s and a limit of one minute, and
// returns when the watchdog bit.
func watched(t *testing.T, life func(f *Feeder)) (bitten time.Duration, reports []string) {
	t.Helper()
	d := fake(t, nil)
	synctest.Test(t, func(t *testing.T) {
		g, d1 := newGuard(15 * time.Second)
		f := newFeeder([]*dog{d1}, time.Minute, d.report)
		life(f)
		synctest.Wait()
		bitten, _ = g.state()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return bitten, d.reports()
}

// hang is how long a program hangs in these tests: longer than anything may take.
const hang = time.Hour

func TestFedWhileThereIsProgress(t *testing.T) {
	bitten, reports := watched(t, func(f *Feeder) {
		for range 600 { // a step of ten hours
			time.Sleep(59 * time.Second)
			f.Alive()
		}
	})
	if bitten != 0 || len(reports) > 0 {
		t.Errorf("bitten after %v, %q", bitten, reports)
	}
}

// This is the test that a feeder by the clock would not pass.
func TestNotFedWhenNothingHappens(t *testing.T) {
	bitten, reports := watched(t, func(*Feeder) { time.Sleep(hang) })
	// The last meal is within the limit and the last food lasts for the timeout.
	if bitten < time.Minute || bitten > time.Minute+15*time.Second {
		t.Errorf("bitten after %v, want one minute to 75 s", bitten)
	}
	if len(reports) != 1 || !strings.Contains(reports[0], "nothing has moved for 1m0s, so the watchdog is not fed any more") {
		t.Errorf("%q", reports)
	}
}

func TestNotFedWhenProgressEnds(t *testing.T) {
	bitten, _ := watched(t, func(f *Feeder) {
		for range 10 {
			time.Sleep(30 * time.Second)
			f.Alive()
		}
		time.Sleep(hang)
	})
	if bitten < 6*time.Minute || bitten > 6*time.Minute+15*time.Second {
		t.Errorf("bitten after %v", bitten)
	}
}

func TestFedThroughAnExpectedStep(t *testing.T) {
	bitten, reports := watched(t, func(f *Feeder) {
		done := f.Expect(10 * time.Minute)
		time.Sleep(10*time.Minute - time.Second)
		done()
		time.Sleep(59 * time.Second)
	})
	if bitten != 0 || len(reports) > 0 {
		t.Errorf("bitten after %v, %q", bitten, reports)
	}
}

func TestNotFedWhenAnExpectedStepHangs(t *testing.T) {
	bitten, _ := watched(t, func(f *Feeder) {
		defer f.Expect(10 * time.Minute)()
		time.Sleep(hang)
	})
	if bitten < 10*time.Minute || bitten > 10*time.Minute+15*time.Second {
		t.Errorf("bitten after %v", bitten)
	}
}

// An excuse ends with its step, not with its time.
func TestNotFedOnAnExcuseThatIsOver(t *testing.T) {
	bitten, _ := watched(t, func(f *Feeder) {
		f.Expect(10 * time.Hour)()
		f.Expect(0)()
		f.Expect(-1)()
		time.Sleep(hang)
	})
	if bitten < time.Minute || bitten > time.Minute+15*time.Second {
		t.Errorf("bitten after %v", bitten)
	}
}

func TestExpectedStepsSideBySide(t *testing.T) {
	bitten, _ := watched(t, func(f *Feeder) {
		long, short := f.Expect(30*time.Minute), f.Expect(2*time.Minute)
		time.Sleep(time.Minute)
		short()
		time.Sleep(28 * time.Minute)
		long()
	})
	if bitten != 0 {
		t.Errorf("bitten after %v", bitten)
	}
}

// Life that comes back in the last moment is worth a meal at once.
func TestFedAgainAfterALongSilence(t *testing.T) {
	bitten, _ := watched(t, func(f *Feeder) {
		time.Sleep(69 * time.Second) // the last meal was at 55 s
		f.Alive()
		time.Sleep(30 * time.Second)
	})
	if bitten != 0 {
		t.Errorf("bitten after %v", bitten)
	}
}

func TestTheMostImpatientDogSetsThePace(t *testing.T) {
	d := fake(t, nil)
	synctest.Test(t, func(t *testing.T) {
		g1, d1 := newGuard(time.Minute)
		g2, d2 := newGuard(3 * time.Second)
		f := newFeeder([]*dog{d1, d2}, time.Minute, d.report)
		if f.Timeout() != 3*time.Second {
			t.Error(f.Timeout())
		}
		time.Sleep(30*time.Second + time.Millisecond)
		for _, g := range []*guard{g1, g2} {
			if bitten, meals := g.state(); bitten != 0 || meals != 31 {
				t.Errorf("bitten after %v, %d meals", bitten, meals)
			}
		}
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		time.Sleep(hang)
		for _, g := range []*guard{g1, g2} {
			if bitten, _ := g.state(); bitten != 0 {
				t.Error("bitten after Close")
			}
		}
	})
}

func TestADogThatCannotBeFedIsReportedOnce(t *testing.T) {
	d := fake(t, nil)
	synctest.Test(t, func(t *testing.T) {
		g, d1 := newGuard(3 * time.Second)
		f := newFeeder([]*dog{d1}, time.Hour, d.report)
		time.Sleep(10 * time.Second)
		g.mu.Lock()
		g.err = unix.EIO
		g.mu.Unlock()
		time.Sleep(10 * time.Second)
		if err := f.Close(); !errors.Is(err, unix.EIO) {
			t.Error(err)
		}
	})
	if r := d.reports(); len(r) != 1 || !strings.Contains(r[0], "the guard could not be fed: input/output error") {
		t.Errorf("%q", r)
	}
}

func TestNoFeeder(t *testing.T) {
	b := fake(t, nil).open(Config{})
	f, err := b.Watch()
	if f != nil || err != nil {
		t.Fatal(f, err)
	}
	f.Alive()
	f.Expect(time.Hour)()
	if f.Timeout() != 0 || f.Close() != nil {
		t.Error("something about nothing")
	}
}

// Alive is called with every block that is read.
func BenchmarkAlive(b *testing.B) {
	_, d := newGuard(time.Hour)
	f := newFeeder([]*dog{d}, time.Minute, func(error) {})
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		f.Alive()
	}
}
