package agent

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// A bench is a device that answers as the test says. mu guards what the test looks at
// and changes while the agent works.
type bench struct {
	*Loop
	mu      sync.Mutex
	log     bytes.Buffer
	fs      vfs.FS
	facts   gate.Facts
	update  func(opt engine.UpdateOptions) (engine.Result, error)
	asked   []time.Time
	running store.Version
	live    status.Live
	sent    []report.Report
	sends   int
	sendErr error
}

func (b *bench) Update(_ context.Context, opt engine.UpdateOptions) (engine.Result, error) {
	b.mu.Lock()
	b.asked = append(b.asked, time.Now())
	b.mu.Unlock()
	return b.update(opt)
}
func (b *bench) Recover(context.Context) (engine.Result, error) {
	return engine.Result{Outcome: engine.Nothing}, nil
}
func (b *bench) Watch(context.Context) (engine.Result, error) {
	return engine.Result{Outcome: engine.Nothing}, nil
}
func (b *bench) Status() (engine.Status, error) {
	return engine.Status{Running: b.running, Settled: true}, nil
}
func (b *bench) Fingerprint() (string, error) { return "f" + b.running.ID, nil }
func (b *bench) Close()                       {}
func (b *bench) Add(r report.Report) error    { b.sent = append(b.sent, r); return nil }
func (b *bench) Pending() int                 { return len(b.sent) }
func (b *bench) Send(context.Context) (int, time.Time, error) {
	b.sends++
	if b.sendErr != nil {
		return 0, time.Now().Add(time.Minute), b.sendErr
	}
	n := len(b.sent)
	b.sent = nil
	return n, time.Time{}, nil
}

func newBench(t *testing.T, change func(*Parts)) *bench {
	t.Helper()
	fsys, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	b := &bench{fs: fsys, facts: gate.Facts{ClockSet: true}, update: upToDate}
	start := time.Now()
	h, err := history.Open(fsys, ".godwit", history.Options{Now: time.Now, Uptime: func() time.Duration { return time.Since(start) }})
	if err != nil {
		t.Fatal(err)
	}
	p := Parts{
		Open:    func(Tuning, godwit.Events) (Device, error) { return b, nil },
		History: h, Every: time.Hour, Device: gate.Device{ID: "station-7"},
		Facts: func(context.Context) gate.Facts {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.facts
		},
		Random: rand.New(rand.NewPCG(1, 2)),
		Boot:   func() (string, string) { return "boot-1", "" },
		Log:    &Log{W: &b.log, Most: Debug},
		Publish: func(l status.Live) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.live = l
		},
	}
	if change != nil {
		change(&p)
	}
	b.Loop = NewLoop(p)
	return b
}

func upToDate(engine.UpdateOptions) (engine.Result, error) {
	return engine.Result{Outcome: engine.UpToDate}, nil
}

// runFor lets the agent work for some virtual time.
func (b *bench) runFor(t *testing.T, d time.Duration, meanwhile func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	if meanwhile != nil {
		b.mu.Lock()
		meanwhile()
		b.mu.Unlock()
	}
	time.Sleep(d)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// sleep lets the agent work while the test looks away.
func (b *bench) sleep(d time.Duration) {
	b.mu.Unlock()
	defer b.mu.Lock()
	time.Sleep(d)
}

// gaps are the pauses between requests.
func (b *bench) gaps() []time.Duration {
	var g []time.Duration
	for i := 1; i < len(b.asked); i++ {
		g = append(g, b.asked[i].Sub(b.asked[i-1]))
	}
	return g
}

func TestChecksOnceInEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.runFor(t, 48*time.Hour, nil)
		if n := len(b.asked); n < 47 || n > 50 {
			t.Errorf("%d checks in 48 hours", n)
		}
		for i, g := range b.gaps() {
			if i > 0 && g != time.Hour || g > 90*time.Minute {
				t.Errorf("%v between two checks", g)
			}
		}
	})
}

// A week in which everything fails, in each of the ways in which it can: there
// always is a pause, pauses grow, and requests are few.
func TestWeekOfFailures(t *testing.T) {
	for _, tt := range []struct {
		what  string
		err   func() error
		most  int
		least time.Duration // between two requests
	}{
		{"no network", func() error { return godwit.Fail(godwit.CodeNetwork, nil, "no route", "") }, 190, 45 * time.Second},
		{"a full disk", func() error { return godwit.Fail(godwit.CodeDiskFull, nil, "full", "") }, 190, 45 * time.Second},
		{"an error of no kind", func() error { return errors.New("what") }, 190, 45 * time.Second},
		{"another godwit", func() error { return godwit.Fail(godwit.CodeBusy, nil, "busy", "") }, 190, 45 * time.Second},
		{"nobody signed", func() error { return godwit.Fail(godwit.CodeUnsigned, nil, "unsigned", "") }, 170, 59 * time.Minute},
		{"it was sent back", func() error { return godwit.Fail(godwit.CodeRolledBack, nil, "bad", "") }, 170, 59 * time.Minute},
		{"it was sent back before", func() error { return godwit.Fail(godwit.CodeRejected, nil, "bad", "") }, 170, 59 * time.Minute},
		{"halted", func() error { return godwit.Fail(godwit.CodeHalted, nil, "halted", "") }, 170, 59 * time.Minute},
		{"asked to wait", func() error {
			return &godwit.Error{Code: godwit.CodeRetryAfter, Text: "later", Until: time.Now().Add(5 * time.Hour)}
		}, 36, 5 * time.Hour},
		{"asked to wait for no time", func() error {
			return &godwit.Error{Code: godwit.CodeRetryAfter, Text: "later", Until: time.Now().Add(-time.Hour)}
		}, 190, 45 * time.Second},
		{"asked to wait while failing", func() error {
			return errors.Join(&godwit.Error{Code: godwit.CodeNetwork, Text: "503", Until: time.Now().Add(3 * time.Hour)})
		}, 60, 3 * time.Hour},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				b.update = func(engine.UpdateOptions) (engine.Result, error) { return engine.Result{}, tt.err() }
				b.runFor(t, 7*24*time.Hour, nil)
				t.Logf("%d requests", len(b.asked))
				if len(b.asked) > tt.most || len(b.asked) < 20 {
					t.Errorf("%d requests in a week, more than %d", len(b.asked), tt.most)
				}
				for i, g := range b.gaps() {
					if g < tt.least && i > 0 {
						t.Fatalf("a request %v after another", g)
					}
				}
			})
		})
	}
	t.Run("the device cannot be opened", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			opened := 0
			b := newBench(t, func(p *Parts) {
				p.Open = func(Tuning, godwit.Events) (Device, error) {
					opened++
					return nil, godwit.Fail(godwit.CodeReadOnly, nil, "read-only", "")
				}
			})
			b.runFor(t, 7*24*time.Hour, nil)
			if opened > 190 || opened < 100 {
				t.Errorf("opened %d times", opened)
			}
		})
	})
}

// Whoever is started again and again does not ask more often for it.
func TestRestartsAskNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		fsys := b.fs
		var asked []time.Time
		for range 200 {
			start := time.Now()
			h, err := history.Open(fsys, ".godwit", history.Options{Now: time.Now, Uptime: func() time.Duration { return time.Since(start) }})
			if err != nil {
				t.Fatal(err)
			}
			p := b.p
			p.History = h
			again := &bench{fs: fsys, facts: b.facts, update: upToDate}
			p.Open = func(Tuning, godwit.Events) (Device, error) { return again, nil }
			again.Loop = NewLoop(p)
			again.runFor(t, 10*time.Minute, nil)
			asked = append(asked, again.asked...)
		}
		if n := len(asked); n < 25 || n > 36 { // 200 times ten minutes are 33 hours
			t.Errorf("%d checks", n)
		}
	})
}

// A release that waits for its hour is asked about no more often than any other,
// is not fetched anew, and is installed when the hour has come.
func TestWaitsForItsHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) {
			p.Rules.SwitchHours = []gate.Hours{{From: 2 * 60, To: 3 * 60}}
			p.Rules.Zone = time.UTC
		})
		var installed time.Time
		fetched := 0
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			if !installed.IsZero() {
				return upToDate(opt)
			}
			to := store.Version{ID: "2", Name: "v2"}
			if fetched == 0 {
				if err := opt.Permit(godwit.StageFetch, to, &plan.Plan{}); err != nil {
					return engine.Result{}, err
				}
				fetched++
			}
			if err := opt.Permit(godwit.StageSwitch, to, &plan.Plan{}); err != nil {
				return engine.Result{Plan: &plan.Plan{}, To: to}, err
			}
			installed = time.Now()
			return engine.Result{Outcome: engine.Updated, To: to}, nil
		}
		time.Sleep(5 * time.Hour) // the bubble begins at midnight
		b.runFor(t, 30*time.Hour, func() {
			b.sleep(4 * time.Hour)
			if w := b.live.Waiting; w == nil || w.Release != "v2" || w.Action != gate.Switch || w.Held().Gate != "window" {
				t.Errorf("nobody is told what it waits for: %+v", b.live)
			}
		})
		if h := installed.UTC(); h.Hour() != 2 || h.Minute() > 1 {
			t.Errorf("installed at %v", h)
		}
		if fetched != 1 || len(b.asked) > 40 {
			t.Errorf("fetched %d times, asked %d times", fetched, len(b.asked))
		}
	})
}

// What nobody can know the end of is looked at often, which asks nobody.
func TestWaitsForTheBattery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.FetchBattery = 50 })
		b.facts.Battery = gate.Battery{Known: true, Percent: 20}
		done := false
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			b.mu.Lock()
			over := done
			b.mu.Unlock()
			if over {
				return upToDate(opt)
			}
			if err := opt.Permit(godwit.StageFetch, store.Version{Name: "v2"}, &plan.Plan{}); err != nil {
				return engine.Result{}, err
			}
			b.mu.Lock()
			done = true
			b.mu.Unlock()
			return engine.Result{Outcome: engine.Updated}, nil
		}
		b.runFor(t, time.Hour, func() {
			b.sleep(10*time.Hour + 5*time.Minute)
			if n := len(b.asked); n < 9 || n > 12 {
				t.Errorf("%d requests in ten hours", n)
			}
			b.facts.Battery.Percent = 80
			b.sleep(2 * recheck)
			if !done {
				t.Error("the battery is full, and nothing happens")
			}
		})
	})
}

// A wake is heard at once, past the interval, and with the gates that the operator
// names overridden for this once.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(p *Parts) { p.Rules.MinInterval, p.Rules.SwitchBattery = 30*time.Minute, 50 })
		b.facts.Battery = gate.Battery{Known: true, Percent: 20}
		var got []string
		b.update = func(opt engine.UpdateOptions) (engine.Result, error) {
			err := opt.Permit(godwit.StageSwitch, store.Version{Name: "v2"}, &plan.Plan{})
			got = append(got, string(godwit.CodeOf(err)))
			return engine.Result{}, err
		}
		b.runFor(t, time.Minute, func() {
			b.sleep(3 * time.Minute)
			n := len(b.asked)
			b.Wake(Ask{})
			b.sleep(time.Second)
			b.Wake(Ask{Override: []string{"battery"}})
			b.sleep(time.Second)
			b.Wake(Ask{})
			b.sleep(time.Second)
			if len(b.asked) != n+3 {
				t.Errorf("%d checks for three wakes", len(b.asked)-n)
			}
		})
		if want := []string{"battery", "", "battery"}; !slices.Equal(got[len(got)-3:], want) {
			t.Errorf("%q, want %q", got, want)
		}
		b2 := newBench(t, nil)
		b2.runFor(t, time.Minute, func() { b2.Wake(Ask{Override: []string{"batery"}}) })
		if !strings.Contains(b2.log.String(), "batery") || len(b2.asked) == 0 {
			t.Errorf("a gate that is not known: %s", &b2.log)
		}
	})
}

// A report of what runs is queued once, whatever is started again, and sent again
// only by the reporter.
func TestReportsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.p.Reports = b
		b.running = store.Version{ID: "c0ffee", Name: "v1", At: time.Now()}
		b.sendErr = godwit.Fail(godwit.CodeNetwork, nil, "no network", "")
		b.runFor(t, 6*time.Hour, nil)
		if len(b.sent) != 1 || b.sent[0].Verdict != report.Confirmed || b.sent[0].Tree != "fc0ffee" || b.sent[0].Release != "v1" {
			t.Errorf("%+v", b.sent)
		}
		if b.sends < 5 || b.sends > 370 {
			t.Errorf("%d tries to send", b.sends)
		}
		b.sendErr = nil
		b.update = func(engine.UpdateOptions) (engine.Result, error) {
			from, to := b.running, store.Version{ID: "bad", Name: "v2", At: time.Now()}
			return engine.Result{Outcome: engine.RolledBack, From: to, To: from}, godwit.Fail(godwit.CodeRolledBack, nil, "it did not start", "")
		}
		b.p.Reports = b
		var all []report.Report
		b.sendErr = errors.New("keep them")
		b.runFor(t, 90*time.Minute, nil)
		all = b.sent
		if len(all) < 2 || all[1].Verdict != report.RolledBack || all[1].Release != "v2" || all[1].From != "v1" {
			t.Errorf("%+v", all)
		}
	})
}
