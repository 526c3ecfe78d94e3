package soak

import (
	"runtime/debug"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/status"
)

// An episode comes now and then and goes again.
type episode struct {
	on    bool
	until time.Time // when it ends, or, while it is not on, when the next begins
	mean  time.Duration
	long  time.Duration // it lasts this long, on average
}

// The weather is what goes on around the device.
type weather struct {
	outage, busyHost, slowLink, deafPlace, wrongClock, fullDisk, lowBattery, busyApp, metering episode
	// What the episodes make of it.
	down, slow, deaf, metered bool
	after                     time.Duration // what Retry-After says at most; 0 for no busy host
	answer                    int           // 429 or 503
	charge                    int
	why                       string // the application is busy

	next  time.Time // release
	lull  time.Time // when nothing is published and nothing happens for some days
	deeds time.Time // the next thing that is done to the device
}

const hour = time.Hour

// forecast makes the first weather.
func (w *world) forecast() {
	w.outage, w.busyHost, w.slowLink = episode{mean: 60 * hour, long: 3 * hour}, episode{mean: 100 * hour, long: 2 * hour}, episode{mean: 60 * hour, long: 6 * hour}
	w.deafPlace, w.wrongClock, w.fullDisk = episode{mean: 150 * hour, long: 15 * hour}, episode{mean: 300 * hour, long: 8 * hour}, episode{mean: 120 * hour, long: 3 * hour}
	w.lowBattery, w.busyApp, w.metering = episode{mean: 50 * hour, long: 4 * hour}, episode{mean: 20 * hour, long: hour / 2}, episode{mean: 80 * hour, long: 24 * hour}
	for _, e := range w.episodes() {
		e.until = w.later(e.mean)
	}
	w.charge = 90
	w.next, w.lull, w.deeds = w.later(3*hour), time.Now().Add(20*24*hour), w.later(12*hour)
}

func (w *world) episodes() []*episode {
	return []*episode{&w.outage, &w.busyHost, &w.slowLink, &w.deafPlace, &w.wrongClock, &w.fullDisk, &w.lowBattery, &w.busyApp, &w.metering}
}

// later is a time from now on, on average after mean.
func (w *world) later(mean time.Duration) time.Time {
	return time.Now().Add(time.Duration(w.chance.ExpFloat64() * float64(mean)))
}

// quiet reports whether these are days on which nothing happens.
func (w *world) quiet() bool {
	return time.Now().After(w.lull) && time.Now().Before(w.lull.Add(4*24*hour))
}

// happen lets happen what is due, and says what ends this run of the agent, if
// anything does.
func (w *world) happen() (ends string) {
	now := time.Now()
	if now.After(w.lull.Add(4 * 24 * hour)) {
		w.lull = now.Add(20*24*hour + time.Duration(w.chance.Int64N(int64(10*24*hour))))
	}
	if w.quiet() {
		w.armed, w.next, w.deeds = "", w.later(3*hour), w.later(12*hour)
	}
	for _, e := range w.episodes() {
		switch {
		case now.Before(e.until):
		case e.on:
			e.on, e.until = false, w.later(e.mean)
			w.change(e, false)
		case !w.quiet():
			long := e.long
			if w.chance.IntN(12) == 0 {
				long *= 10 // minutes to days
			}
			e.on, e.until = true, w.later(long)
			w.change(e, true)
		}
		if e.on {
			w.day.busy = true
		}
	}
	if now.After(w.next) {
		w.day.busy = true
		w.next = w.later(3 * hour)
		w.publish(w.lot())
	}
	if tip := w.tip(); !w.quiet() && tip.n > 3 && (tip.kind != good && w.chance.IntN(60) == 0 || w.chance.IntN(4000) == 0) {
		tip.withdrawn = true // somebody has noticed
		w.t.withdrawn++
		w.day.busy = true
	}
	if w.restart {
		return "reboot"
	}
	if now.After(w.deeds) {
		w.deeds = w.later(12 * hour)
		w.day.busy = true
		return w.deed()
	}
	return ""
}

// lot draws what kind of release comes next.
func (w *world) lot() kind {
	switch n := w.chance.IntN(100); {
	case n < 5:
		return sick
	case n < 7:
		return crasher
	case n < 12:
		return unsigned
	case n < 16:
		return lost
	}
	return good
}

// change lets an episode begin or end.
func (w *world) change(e *episode, on bool) {
	w.day.busy = true
	switch e {
	case &w.outage:
		if w.down = on; on {
			w.t.outages++
		}
	case &w.busyHost:
		w.after, w.answer = 0, 429+74*w.chance.IntN(2)
		if on {
			w.after = time.Duration(1+w.chance.IntN(180)) * time.Minute
		}
	case &w.slowLink:
		w.slow = on
	case &w.deafPlace:
		w.deaf = on
	case &w.wrongClock:
		off := time.Duration(0)
		if on {
			w.t.clocks++
			off = []time.Duration{365 * 24 * hour, time.Unix(1000, 0).Sub(w.truth()), -24 * hour, 3 * hour}[w.chance.IntN(4)]
		}
		w.set(off)
	case &w.fullDisk:
		w.fs.Resize(capacity)
		if on {
			w.t.full++
			w.fs.Resize(w.fs.Used() + int64(w.chance.IntN(3000)))
		}
	case &w.lowBattery:
		w.charge = 90
		if on {
			w.charge = 5 + w.chance.IntN(30)
		}
	case &w.busyApp:
		w.why = ""
		if on {
			w.why = "it is measuring"
		}
	case &w.metering:
		w.metered = on
	}
}

// reach is within how many operations the power goes when a stage has begun.
var reach = map[godwit.Stage]int{
	godwit.StageCheck: 40, godwit.StageFetch: 80, godwit.StagePlan: 80, godwit.StageBuild: 150, godwit.StageSwitch: 60,
	godwit.StageHealth: 30, godwit.StageConfirm: 60, godwit.StageRollback: 80,
}

// deed does something to the device now, or soon.
func (w *world) deed() (ends string) {
	switch n := w.chance.IntN(20); {
	case n < 3:
		w.cut("")
	case n < 12:
		stages := []godwit.Stage{godwit.StageCheck, godwit.StageFetch, godwit.StagePlan, godwit.StageBuild, godwit.StageBuild,
			godwit.StageSwitch, godwit.StageSwitch, godwit.StageHealth, godwit.StageConfirm, godwit.StageRollback}
		w.mu.Lock()
		w.armed = stages[w.chance.IntN(len(stages))]
		w.mu.Unlock()
	case n < 15:
		return "kill"
	case n < 17:
		return "reboot"
	case n < 18:
		return "service"
	default:
		w.woken = true
		w.loop.Wake(agent.Ask{})
	}
	return ""
}

// early is trouble that comes as soon as the device starts: a cut in its recovery.
func (w *world) early() {
	if w.chance.IntN(6) == 0 && !w.quiet() && w.t.boots > 3 {
		w.mu.Lock()
		w.stop = w.fs.Ops() + 1 + w.chance.IntN(200)
		w.mu.Unlock()
	}
	if w.fullDisk.on {
		w.fs.Resize(w.fs.Used() + int64(w.chance.IntN(3000)))
	} else {
		w.fs.Resize(capacity)
	}
}

// facts are what the device knows of itself, as package agent finds it out.
func (w *world) facts() gate.Facts {
	now, set := w.memory.Now(w.wall())
	return gate.Facts{Now: now, ClockSet: set, Battery: gate.Battery{Known: true, Percent: w.charge}, Metered: w.metered, Busy: w.why}
}

// allowed reports whether all gates let the device get to a release, as far as
// anybody can say who does not know how many bytes it takes.
func (w *world) allowed(r *release) bool {
	f := w.facts()
	f.Crashes = w.hist.Crashes(f.Now.Add(-24 * hour))
	f.MonthBytes = w.hist.ThisMonth().Metered()
	for _, c := range r.files {
		f.PlannedBytes += int64(len(c)) + 2000
	}
	for _, a := range []gate.Action{gate.Check, gate.Fetch, gate.Switch} {
		list := gate.Judge(a, w.rules, f, gate.Override{})
		if v, held := gate.Held(list); held && v.Gate != "interval" {
			return false
		}
	}
	return true
}

// publishes hears what the agent says of itself.
func (w *world) publishes(l status.Live) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.Doing != w.doing {
		w.stage = ""
	}
	w.doing = l.Doing
	if l.Pending > w.t.mostPending {
		w.t.mostPending = l.Pending
	}
}

func init() { debug.SetGCPercent(400) }
