package agent

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// A clock that tells a time which cannot be counted in nanoseconds neither makes the
// device ask without a pause nor keeps it from asking.
func TestClockOfAnotherAge(t *testing.T) {
	for _, years := range []int{-400, -100, 263, 300, 2000, 7000} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(p *Parts) {
				p.Now = func() time.Time { return time.Now().AddDate(years, 0, 0) }
			})
			n := 0
			ctx, cancel := context.WithTimeout(context.Background(), 48*time.Hour)
			defer cancel()
			b.update = func(engine.UpdateOptions) (engine.Result, error) {
				if n++; n > 100 {
					cancel()
				}
				return engine.Result{Outcome: engine.UpToDate}, nil
			}
			b.Run(ctx)
			if n < 15 || n > 100 {
				t.Errorf("%d years away: %d checks in 48 hours", years, n)
			}
		})
	}
}

// When the clock is set, what is said of the next check follows it.
func TestNextCheckFollowsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		years := -30
		b := newBench(t, func(p *Parts) { p.Every = 24 * time.Hour })
		b.p.Now = func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			return time.Now().AddDate(years, 0, 0)
		}
		b.runFor(t, time.Minute, func() {
			b.sleep(4 * time.Hour)
			years = 0
			b.sleep(2 * time.Hour)
			if in := time.Until(b.live.NextCheck); in < 0 || in > 36*time.Hour {
				t.Errorf("the next check is at %v, and it is %v", b.live.NextCheck, time.Now())
			}
		})
	})
}

// A release that is held back for what it is, or for its size, is asked about no more
// often than any other.
func TestWaitsForWhatItIs(t *testing.T) {
	for what, change := range map[string]func(*Parts){
		"cohort": func(p *Parts) { p.Rules.HoldBack = 100 },
		"budget": func(p *Parts) { p.Rules.Budget = 1 << 20 },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, change)
			b.facts.Metered = true
			b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
				return engine.Result{}, opt.Permit(godwit.StageFetch, store.Version{Name: "v2"}, &plan.Plan{FetchBytes: 5 << 20})
			}
			b.runFor(t, 24*time.Hour, nil)
			if n := len(b.asked); n < 20 || n > 26 {
				t.Errorf("%s: %d requests in a day", what, n)
			}
			if w := b.live.Waiting; w == nil || w.Held().Gate != what {
				t.Errorf("%s: waits for %+v", what, w)
			}
		})
	}
}

// Bytes are counted beside what a source tells, so events come from two places.
func TestEventsFromTwoPlaces(t *testing.T) {
	b := newBench(t, func(p *Parts) {
		open := p.Open
		p.Open = func(t Tuning, events godwit.Events) (Device, error) {
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					for range 100 {
						events.Emit(godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress})
					}
				})
			}
			both.Wait()
			return open(t, events)
		}
	})
	b.withDevice(context.Background(), "checking", Tuning{}, func(Device) {})
}

// That the history cannot be written is no failure of the agent, which would not come
// back after a new configuration.
func TestEndsWithoutADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		fsys, err := vfs.OS(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer fsys.Close()
		b := newBench(t, func(p *Parts) { p.History, _ = history.Open(fsys, ".godwit", history.Options{Now: time.Now}) })
		b.runFor(t, time.Minute, func() {
			b.sleep(time.Hour)
			state := filepath.Join(dir, ".godwit")
			if err := os.RemoveAll(state); err != nil {
				t.Fatal(err)
			}
			os.WriteFile(state, nil, 0o644)
		})
	})
}

// A trialDevice has a version on trial, and somebody else at the lock.
type trialDevice struct {
	*bench
	busy, watched int
}

func (d *trialDevice) Recover(context.Context) (engine.Result, error) {
	if d.busy--; d.busy >= 0 {
		return engine.Result{}, godwit.Fail(godwit.CodeBusy, nil, "another godwit is at work", "")
	}
	return engine.Result{}, nil
}

func (d *trialDevice) Watch(context.Context) (engine.Result, error) {
	d.watched++
	return engine.Result{Outcome: engine.Confirmed}, nil
}

func (d *trialDevice) Status() (engine.Status, error) {
	return engine.Status{Trial: store.Trial{Open: d.watched == 0}}, nil
}

// A trial that could not be gone on with at the start is gone on with soon, although a
// gate holds every check.
func TestTrialIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.Metered = gate.MeteredNone })
		b.facts.Metered = true
		d := &trialDevice{bench: b, busy: 2}
		b.p.Open = func(Tuning, godwit.Events) (Device, error) { return d, nil }
		b.runFor(t, 10*time.Minute, nil)
		if d.watched != 1 || len(b.asked) != 0 {
			t.Errorf("watched %d times, asked %d times", d.watched, len(b.asked))
		}
	})
}

// A readOnlyMark remembers nothing.
type readOnlyMark struct{}

func (readOnlyMark) Get() string { return "" }
func (readOnlyMark) Set(string) error {
	return godwit.Fail(godwit.CodeReadOnly, nil, "read-only", "")
}

// A report is sent once also where nothing can be noted, and where a place has what could
// not be noted there is a pause.
func TestReportsWithoutADisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.p.Reported = readOnlyMark{}
		n := 0
		b.p.Reports = countReports{b, &n}
		b.running = store.Version{ID: "c0ffee", Name: "v1", At: time.Now()}
		b.runFor(t, time.Hour, nil)
		if n != 1 || b.sends > 400 {
			t.Errorf("queued %d times, sent %d times", n, b.sends)
		}
	})
}

// A report that could not be queued is not taken for one that was.
func TestReportOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		n, tries := 0, 0
		b.p.Reports = fullReports{countReports{b, &n}, &tries}
		b.running = store.Version{ID: "c0ffee", Name: "v1", At: time.Now()}
		b.runFor(t, 6*time.Hour, nil)
		if n != 1 || tries != 2 {
			t.Errorf("queued %d times after %d failures, want 1 after 2", n, tries)
		}
	})
}

// fullReports has no room for the first two.
type fullReports struct {
	countReports
	failed *int
}

func (f fullReports) Add(r report.Report) error {
	if *f.failed < 2 {
		*f.failed++
		return godwit.Fail(godwit.CodeDiskFull, nil, "the disk is full", "")
	}
	return f.countReports.Add(r)
}

// countReports counts what is queued, and has always something to send that fails.
type countReports struct {
	*bench
	queued *int
}

func (c countReports) Add(report.Report) error { *c.queued++; return nil }
func (c countReports) Pending() int            { return *c.queued }
func (c countReports) Send(context.Context) (int, time.Time, error) {
	c.sends++
	return 1, time.Now(), godwit.Fail(godwit.CodeBusy, nil, "another process is at the queue of reports", "")
}

// What is prepared stays so while another process holds the lock.
func TestPreparedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		kept := &engine.Prepared{}
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			if len(b.asked) > 2 && opt.Prepared != kept {
				t.Error("it is lost")
			}
			if len(b.asked)%2 == 0 {
				return engine.Result{}, godwit.Fail(godwit.CodeBusy, nil, "busy", "")
			}
			return engine.Result{Prepared: kept}, opt.Permit(godwit.StageSwitch, store.Version{}, &plan.Plan{})
		}
		b.runFor(t, 5*time.Hour, nil)
	})
}
