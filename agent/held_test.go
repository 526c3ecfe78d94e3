package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
)

// A budget that is used up until next month holds checks only as long as the link is
// a metered one.
func TestBudgetOfAnotherLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.Budget, p.Rules.Zone = 1000, time.UTC })
		b.facts.Metered = true
		b.update = func(engine.UpdateOptions) (engine.Result, error) {
			return engine.Result{Outcome: engine.UpToDate, Received: 2000}, nil
		}
		b.runFor(t, time.Hour, func() {
			time.Sleep(5 * time.Hour)
			if len(b.asked) != 1 {
				t.Errorf("%d requests, and the first used up the budget", len(b.asked))
			}
			b.facts.Metered = false
			time.Sleep(b.p.Every + time.Minute)
			if len(b.asked) != 2 {
				t.Errorf("%d requests, an hour after the link is another", len(b.asked))
			}
		})
	})
}

// The gates go by the best guess of the time. A device whose clock has begun anew
// waits no longer for its interval than any other.
func TestIntervalWithoutClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.MinInterval, p.Every = 40*time.Minute, 30*time.Minute })
		b.facts = gate.Facts{Now: time.Now().AddDate(30, 0, 0)}
		b.runFor(t, 10*time.Hour, nil)
		if n := len(b.asked); n < 10 {
			t.Errorf("%d checks in ten hours", n)
		}
	})
}
