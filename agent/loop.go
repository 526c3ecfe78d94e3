package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/status"
)

// A Loop is the agent without the machine that it runs on.
type Loop struct {
	p    Parts
	live status.Live
	asks chan Ask

	failures  int              // checks that failed in a row
	check     time.Time        // when to check next, by the clock that nobody sets
	report    time.Time        // when to send reports next; zero for never
	waiting   *status.Waiting  // a release that is known, and held back
	planned   int64            // bytes that its download takes
	prepared  *engine.Prepared // what of it is here
	readied   time.Time        // when it was
	again     *Ask             // what an operator asked for while the source could not be reached
	trial     time.Time        // when to go on with a trial that was left open; zero for never
	left      int              // times in a row that one was left open
	asked     time.Time        // when the source was asked last, in this run
	up        time.Duration    // Uptime at upAt
	upAt      time.Time
	unwritten string // id of a report that was queued, which could not be noted
}

// NewLoop returns a loop of these parts.
func NewLoop(p Parts) *Loop {
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Random == nil {
		p.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if p.Patient <= 0 {
		p.Patient = 5 * time.Minute
	}
	if p.Signal == nil {
		p.Signal = func() Signal { return Signal{} }
	}
	if p.Boot == nil {
		p.Boot = func() (string, string) { return "", "" }
	}
	if p.Show == nil {
		p.Show = func(board.Pattern) {}
	}
	if p.Publish == nil {
		p.Publish = func(status.Live) {}
	}
	if p.Reported == nil {
		p.Reported = &inMemory{}
	}
	return &Loop{p: p, asks: make(chan Ask, 8), live: status.Live{Started: p.Now()}}
}

type inMemory struct{ line string }

func (m *inMemory) Get() string        { return m.line }
func (m *inMemory) Set(s string) error { m.line = s; return nil }

// Wake asks for a check now. It never blocks: more asks than can be held are one.
func (l *Loop) Wake(a Ask) {
	select {
	case l.asks <- a:
	default:
	}
}

// waiting is what the loop does between two pieces of work.
const waiting = "waiting"

// tick is how often the history may write what has waited long enough.
const tick = time.Hour

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	l.start(ctx)
	housekeeping := time.Now().Add(tick)
	l.lost()
	for ctx.Err() == nil {
		until := l.check
		if !l.report.IsZero() && l.report.Before(until) {
			until = l.report
		}
		if !l.trial.IsZero() && l.trial.Before(until) {
			until = l.trial
		}
		if housekeeping.Before(until) {
			until = housekeeping
		}
		ask, woken := l.sleep(ctx, time.Until(until))
		if lost := l.lost(); lost > 0 {
			// The device slept, and the timer with it.
			for _, at := range []*time.Time{&l.check, &l.report, &l.trial, &housekeeping} {
				if !at.IsZero() {
					*at = at.Add(-lost)
				}
			}
		}
		now := time.Now()
		switch {
		case ctx.Err() != nil:
		case woken:
			l.attempt(ctx, ask, true)
		case !l.trial.IsZero() && !now.Before(l.trial):
			l.resume(ctx)
		case !now.Before(l.check):
			l.attempt(ctx, Ask{}, false)
		case !l.report.IsZero() && !now.Before(l.report):
			l.send(ctx)
		}
		if !now.Before(housekeeping) {
			l.warn("history", l.p.History.Tick())
			housekeeping = now.Add(tick)
		}
	}
	l.warn("history", l.p.History.Close())
	return nil
}

// nap is the longest sleep of a loop on a device that may sleep itself.
const nap = 10 * time.Minute

// lost is how long the device slept since the last call, which timers do not count.
func (l *Loop) lost() time.Duration {
	if l.p.Uptime == nil {
		return 0
	}
	up, now := l.p.Uptime(), time.Now()
	lost := (up - l.up) - now.Sub(l.upAt)
	if l.upAt.IsZero() || lost < time.Second {
		lost = 0
	}
	l.up, l.upAt = up, now
	return lost
}

// sleep waits, which the watchdog is told of, until d is over or somebody asks.
func (l *Loop) sleep(ctx context.Context, d time.Duration) (a Ask, woken bool) {
	l.doing(waiting)
	d = max(d, 0)
	if l.p.Uptime != nil {
		d = min(d, nap)
	}
	defer l.p.Watchdog.Expect(d + time.Minute)()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case a = <-l.asks:
		woken = true
	}
	return a, woken
}

// start settles what an earlier run left, and goes on with its trial.
func (l *Loop) start(ctx context.Context) {
	id, reset := l.p.Boot()
	crashed, err := l.p.History.Boot(id, false, reset)
	l.warn("history", err)
	if crashed {
		l.p.Log.Say(Warning, "the device went down without warning", "reset", reset)
	}
	l.firstCheck()
	l.resume(ctx)
	if l.p.Reports != nil {
		l.report = time.Now().Add(soon(l.p.Every, l.p.Random))
	}
}

// resume settles the tree, and goes on with a trial if there is one.
func (l *Loop) resume(ctx context.Context) {
	l.trial = time.Time{}
	l.withDevice(ctx, "recovering", Tuning{}, func(d Device) {
		began, start := l.p.Now(), time.Now()
		r, err := d.Recover(ctx)
		if err == nil {
			done := l.p.Watchdog.Expect(l.p.Patient)
			r, err = d.Watch(ctx)
			done()
		}
		l.outcome(ctx, d, r, err, began, start)
		l.mind(d, r)
		l.tellRunning(d)
	})
}

// mind plans to go on with a trial that was left open, as by a lock that somebody else
// held. No gate has a say in that, and so it does not wait for the next check.
func (l *Loop) mind(d Device, r engine.Result) {
	l.trial = time.Time{}
	if s, err := d.Status(); err != nil || !s.Trial.Open || r.Reboot {
		l.left = 0
		return
	}
	l.left++
	l.trial = time.Now().Add(backoff(l.left, max(l.p.Every, firstBackoff), l.p.Random))
}

// firstCheck says when to check after the start: as planned, however often the
// device is started.
func (l *Loop) firstCheck() {
	now, every := l.p.Now(), l.p.Every
	last, _ := l.p.History.LastCheck()
	since := now.Sub(last)
	pause := soon(every, l.p.Random)
	switch {
	case last.IsZero() || since < -every || since >= every:
		// Never, or long ago, or by another clock.
		if s := l.p.History.SinceCheck(); !last.IsZero() && s > 0 && s < every && since < -every {
			pause = every - s
		}
	default:
		pause = max(pause, until(now, last, every, l.p.Device.ID))
	}
	l.planCheck(pause, "as planned")
}

// planCheck says when to check next, and why then.
func (l *Loop) planCheck(in time.Duration, why string) {
	l.check = time.Now().Add(in)
	l.live.NextCheck, l.live.Why = l.p.Now().Add(in), why
}

// withDevice opens the device for some work.
func (l *Loop) withDevice(ctx context.Context, doing string, t Tuning, work func(Device)) error {
	l.doing(doing)
	var mu sync.Mutex // bytes are counted beside what the source tells
	stop := l.p.Watchdog.Expect(l.p.Patient)
	alive := func(next func()) {
		mu.Lock()
		defer mu.Unlock()
		stop()
		stop = next
	}
	defer func() { alive(func() {}) }()
	events := func(e godwit.Event) {
		// Each sign of life is good for the longest step that may follow.
		alive(l.p.Watchdog.Expect(l.p.Patient))
		l.event(e)
	}
	d, err := l.p.Open(t, events)
	if err != nil {
		l.failed("open", err)
		return err
	}
	defer d.Close()
	work(d)
	return nil
}

// facts are what is the case.
func (l *Loop) facts(ctx context.Context) gate.Facts {
	f := l.p.Facts(ctx)
	if f.Now.IsZero() {
		f.Now = l.p.Now()
	}
	f.LastCheck, _ = l.p.History.LastCheck()
	f.SinceCheck = l.p.History.SinceCheck()
	if !l.asked.IsZero() {
		f.SinceCheck = time.Since(l.asked)
	}
	f.Crashes = l.p.History.Crashes(f.Now.Add(-24 * time.Hour))
	m := l.p.History.ThisMonth()
	f.MonthBytes = m.MeteredSent + m.MeteredReceived
	f.Device = l.p.Device
	return f
}

// doing publishes what the loop does.
func (l *Loop) doing(what string) {
	l.live.Doing, l.live.Failures, l.live.Waiting = what, l.failures, l.waiting
	// By a clock that may have been set meanwhile.
	if at := l.p.Now().Add(time.Until(l.check)); !l.check.IsZero() && at.Sub(l.live.NextCheck).Abs() > time.Minute {
		l.live.NextCheck = at
	}
	if l.p.Reports != nil {
		l.live.Pending = l.p.Reports.Pending()
	}
	l.p.Publish(l.live)
}

func (l *Loop) warn(what string, err error) {
	if err != nil {
		l.p.Log.Fail(Warning, what, err)
	}
}

// event shows and logs what an update does.
func (l *Loop) event(e godwit.Event) {
	l.p.Log.Event(e)
	switch e.Stage {
	case godwit.StageCheck, godwit.StageDescribe:
		l.p.Show(board.Connecting)
	case godwit.StagePlan, godwit.StageBuild, godwit.StageSwitch, godwit.StageRestart:
		l.p.Show(board.Processing)
	case godwit.StageFetch:
		if e.Level == godwit.Progress && e.Unit == "files" {
			l.p.Show(board.File)
			return
		}
		l.p.Show(board.Downloading)
	case godwit.StageHealth:
		l.p.Show(board.Trial)
	}
}
