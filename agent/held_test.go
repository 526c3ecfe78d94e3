package agent

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
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
			b.sleep(5 * time.Hour)
			if len(b.asked) != 1 {
				t.Errorf("%d requests, and the first used up the budget", len(b.asked))
			}
			b.facts.Metered = false
			b.sleep(b.p.Every + time.Minute)
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

// A release that cannot be installed is tried again with each check. It is reported
// once, and so is what runs meanwhile.
func TestReportsAFailureOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.p.Reports = b
		b.running = store.Version{ID: "c0ffee", Name: "v1", At: time.Now()}
		n := 0
		b.update = func(engine.UpdateOptions) (engine.Result, error) {
			n++
			return engine.Result{Plan: &plan.Plan{}, From: b.running, To: store.Version{ID: []string{"d1", "d2"}[n%2], Name: "v2"}},
				godwit.Fail(godwit.CodeMissingObject, nil, "it is not there", "")
		}
		b.sendErr = errors.New("keep them")
		b.runFor(t, 20*time.Hour, nil)
		if len(b.sent) != 3 || n < 10 {
			t.Errorf("%d reports of two releases that failed and one that runs, in %d checks: %+v", len(b.sent), n, b.sent)
		}
	})
}
