package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// A device that sleeps most of the time keeps its plans by the time that it was
// asleep, which no timer counts.
func TestDeviceThatSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := newBench(t, func(p *Parts) {
			p.Uptime = func() time.Duration { return 12 * time.Since(start) } // awake for five minutes of each hour
		})
		b.runFor(t, 4*time.Hour, nil) // two days
		if n := len(b.asked); n < 20 {
			t.Errorf("%d checks in two days", n)
		}
	})
}

// An override is for one update, and not for one try of it.
func TestOverrideOutlivesTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.SwitchBattery = 50 })
		b.facts.Battery = gate.Battery{Known: true, Percent: 20}
		tries, passed := 0, 0
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if tries++; tries < 4 {
				return engine.Result{}, godwit.Fail(godwit.CodeNetwork, nil, "no route", "")
			}
			b.mu.Unlock()
			err := opt.Permit(godwit.StageSwitch, store.Version{Name: "v2"}, &plan.Plan{})
			b.mu.Lock()
			if err == nil {
				passed++
				return engine.Result{Outcome: engine.Updated}, nil
			}
			return engine.Result{}, err
		}
		b.runFor(t, 5*time.Hour, func() { b.Wake(Ask{Override: []string{"battery"}}) })
		if passed != 1 {
			t.Errorf("the gate was passed by %d times", passed)
		}
	})
}

// What is prepared is kept while a channel holds it back, and forgotten in time.
func TestPreparedAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Every = 12 * time.Hour })
		ready := &engine.Prepared{}
		var got []bool
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			got = append(got, opt.Prepared == ready)
			switch len(got) {
			case 1:
				err := godwit.Fail(godwit.CodeWindow, nil, "not now", "")
				return engine.Result{Prepared: ready}, err
			case 2:
				return engine.Result{}, godwit.Fail(godwit.CodeRollout, nil, "held back", "")
			}
			return engine.Result{Prepared: opt.Prepared}, godwit.Fail(godwit.CodeWindow, nil, "not now", "")
		}
		b.runFor(t, 12*24*time.Hour, nil)
		if len(got) < 20 || got[0] || !got[1] || !got[2] || !got[10] || got[len(got)-1] {
			t.Errorf("prepared: %v", got)
		}
	})
}

// Where the lock was held, nobody was asked, and the interval is not over.
func TestBusyIsNoCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.MinInterval = 6 * time.Hour })
		n := 0
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			if n++; n == 1 {
				return engine.Result{}, godwit.Fail(godwit.CodeBusy, nil, "busy", "")
			}
			return upToDate(opt)
		}
		b.runFor(t, time.Hour, nil)
		if n != 2 {
			t.Errorf("%d tries in an hour", n)
		}
	})
}
