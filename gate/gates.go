package gate

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
)

// The verdicts that gates give.

func pass(reason string) Verdict { return Verdict{Reason: reason} }

func noRule(reason string) Verdict { return Verdict{Skipped: true, Reason: reason} }

func hold(code godwit.Code, until time.Time, reason, hint string) Verdict {
	return Verdict{Holds: true, Code: code, Until: until, Reason: reason, Hint: hint}
}

// unknown is for a rule whose fact is not known: it passes, or holds where the
// rules are strict.
func (a asked) unknown(code godwit.Code, reason, hint string) Verdict {
	return Verdict{Holds: a.Strict, Code: code, Unknown: true, Reason: reason, Hint: hint}
}

const noClock = "the clock of this device is not set, so this keeps nobody waiting"

// during is the verdict over hours; holds is what happens at other times.
func (a asked) during(list []Hours, code godwit.Code, what, hint string) Verdict {
	text := what + " "
	for i, h := range list {
		if i > 0 {
			text += " or "
		}
		text += h.String()
	}
	switch {
	case !a.ClockSet:
		return Verdict{Unknown: true, Reason: text + "; " + noClock}
	case open(list, a.Now):
		return pass(text + ", and it is " + a.Now.Format("Mon 15:04"))
	}
	until := opens(list, a.Now)
	return hold(code, until, text+", and it is "+a.Now.Format("Mon 15:04"), hint)
}

// doing names the action in a sentence.
func (a asked) doing() string {
	return [...]string{"a check", "a download", "installing"}[a.Action%3]
}

func (a asked) interval() Verdict {
	if a.MinInterval <= 0 {
		return noRule("nothing is said about the time between checks")
	}
	if a.LastCheck.IsZero() && a.SinceCheck <= 0 {
		return pass("there was no check yet")
	}
	// A clock that went back would make the last check one of the future, and
	// keep the device waiting until then.
	since := a.SinceCheck
	byClock := a.ClockSet && !a.LastCheck.IsZero() && !a.LastCheck.After(a.Now)
	if byClock {
		since = max(since, a.Now.Sub(a.LastCheck))
	}
	text := "the last check was " + span(since) + " ago, and at least " + span(a.MinInterval) + " are between two"
	switch {
	case !byClock && since <= 0:
		return Verdict{Unknown: true, Reason: "it is not known how long ago the last check was"}
	case since >= a.MinInterval:
		return pass(text)
	}
	return hold(godwit.CodeInterval, a.Now.Add(a.MinInterval-since), text, "")
}

// crashTime is how long a crash is remembered here.
const crashTime = 24 * time.Hour

func (a asked) crashes() Verdict {
	limit := a.MaxCrashes
	switch {
	case limit == 0:
		limit = 3
	case limit < 0:
		limit = 0
	case limit >= AnyCrashes:
		return noRule("crashes do not count")
	}
	// A device without a clock of its own begins each life at the same time, so
	// crashes can lie in the future a little. What lies further ahead was noted
	// with a wrong clock and must not count for ever.
	var recent []time.Time
	for _, t := range a.Crashes {
		if d := a.Now.Sub(t); d < crashTime && d > -crashTime {
			recent = append(recent, t)
		}
	}
	text := "this device crashed " + times(len(recent)) + " in the last 24 hours"
	if len(recent) <= limit {
		return pass(text + ", and more than " + strconv.Itoa(limit) + " would hold")
	}
	slices.SortFunc(recent, time.Time.Compare)
	until := recent[len(recent)-limit-1].Add(crashTime).In(a.Now.Location())
	return hold(godwit.CodeCrashes, until, text+", and more than "+strconv.Itoa(limit)+" hold updates back", "see what they were with godwit log")
}

func (a asked) battery() Verdict {
	need := a.FetchBattery
	if a.Action == Switch {
		need = a.SwitchBattery
	}
	if need <= 0 {
		return noRule("nothing is said about the battery")
	}
	b := a.Battery
	if !b.Known {
		return a.unknown(godwit.CodeBattery, "the charge of the battery is not known, and "+a.doing()+" needs "+strconv.Itoa(need)+"%", "see whether the battery is measured at all")
	}
	text := "the battery is at " + strconv.Itoa(b.Percent) + "%"
	if b.Charging {
		text += " and being charged"
	}
	text += ", and " + a.doing() + " needs " + strconv.Itoa(need) + "%"
	if b.Percent >= need || b.Charging && a.ChargingPasses {
		return pass(text)
	}
	return hold(godwit.CodeBattery, time.Time{}, text, "it goes on when the battery is charged")
}

func (a asked) window() Verdict {
	list, what := a.FetchHours, "downloads are made at"
	if a.Action == Switch {
		list, what = a.SwitchHours, "releases are installed at"
	}
	if len(list) == 0 {
		return noRule("nothing is said about the time of day")
	}
	return a.during(list, godwit.CodeWindow, what, "")
}

// Whether there are orders at all.
func (a asked) channel() bool { return a.Orders.Channel != "" || a.Orders.ID != "" }

var noChannel = noRule("this device follows no channel")

// of turns an answer of Decide's parts into a verdict.
func of(err error, until time.Time, good string) Verdict {
	var e *godwit.Error
	if !errors.As(err, &e) {
		return pass(good)
	}
	return hold(e.Code, until, e.Text, e.Hint)
}

func (a asked) expiry() Verdict {
	if !a.channel() {
		return noChannel
	}
	return of(expired(a.Orders, a.Now), time.Time{}, "the channel's orders are good")
}

func (a asked) halt() Verdict {
	if !a.channel() {
		return noChannel
	}
	return of(halted(a.Orders), time.Time{}, "the channel goes on")
}

func (a asked) cohort() Verdict {
	name := a.Release
	if a.channel() {
		name = a.Orders.Release
		if err := rollout(a.Orders, a.Device); err != nil {
			return of(err, time.Time{}, "")
		}
	}
	if name == "" || a.HoldBack <= 0 && !a.channel() {
		return noRule("nothing is said about cohorts")
	}
	place, first := Cohort(name, a.Device.ID), 100-a.HoldBack
	if place >= first {
		return hold(godwit.CodeRollout, time.Time{}, "this device takes a release with the first "+strconv.Itoa(first)+"% of the devices, and it has place "+strconv.Itoa(place)+" of 0 to 99 for "+name,
			"raise the percentage in its configuration")
	}
	return pass(name + " is for this device")
}

func (a asked) channelWindow() Verdict {
	w := a.Orders.Window
	switch {
	case !a.channel():
		return noChannel
	case w.From == w.To:
		return noRule("the channel says nothing about the time of day")
	}
	return a.during([]Hours{{From: w.From, To: w.To}}, godwit.CodeWindow, "the channel "+a.Orders.Channel+" has releases installed at", "")
}

func (a asked) solar() Verdict {
	if !a.Solar {
		return noRule("the device does not live on the sun alone")
	}
	h := a.SolarHours
	if h == (Hours{}) {
		h = Hours{From: 10 * 60, To: 16 * 60}
	}
	return a.during([]Hours{h}, godwit.CodeSolar, "the sun is taken to shine at", "")
}

func (a asked) budget() Verdict {
	switch {
	case a.Facts.Metered && (a.Rules.Metered == MeteredNone || a.Rules.Metered == MeteredChecks && a.Action == Fetch):
		return hold(godwit.CodeBudget, time.Time{}, "the link is metered, and "+a.doing()+" waits for one that is not", "")
	case a.Budget <= 0:
		return noRule("nothing is said about bytes in a month")
	case !a.Facts.Metered:
		return pass("the link is not metered")
	}
	limit := a.Budget
	if a.Action == Fetch {
		keep := a.Reserve
		if keep == 0 {
			keep = 10
		}
		limit -= share(limit, keep)
	}
	used, text := max(a.MonthBytes, 0), ""
	if text = size(used) + " of " + size(limit) + " for this month are used"; a.Action == Check {
		text += " on the metered link"
	} else {
		text += ", and the download takes " + size(a.PlannedBytes)
	}
	switch {
	case !a.ClockSet:
		return Verdict{Unknown: true, Reason: text + "; " + noClock}
	case used < limit && (a.Action == Check || a.PlannedBytes <= limit-used):
		return pass(text)
	case a.Action == Fetch && a.PlannedBytes > limit:
		return hold(godwit.CodeBudget, time.Time{}, "the download takes "+size(a.PlannedBytes)+", and there are "+size(limit)+" a month on a metered link", "use another link, raise the budget, or override the gate \"budget\" once")
	}
	return hold(godwit.CodeBudget, nextMonth(a.Now), text, "use another link, raise the budget, or override the gate \"budget\" once")
}

// share is percent of n, rounded down, without overflow.
func share(n int64, percent int) int64 { return n/100*int64(percent) + n%100*int64(percent)/100 }

// nextMonth is when the next month begins, in t's zone.
func nextMonth(t time.Time) time.Time {
	next := time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, t.Location())
	if next.Month() == t.Month() { // there is no midnight on that day
		_, next = next.ZoneBounds()
	}
	return next
}

func (a asked) busy() Verdict {
	switch {
	case a.Action == Fetch && !a.BusyFetch:
		return noRule("downloads do not disturb the application")
	case a.Busy == "":
		return pass("the application is not busy")
	}
	return hold(godwit.CodeAppBusy, time.Time{}, "the application must not be disturbed: "+a.Busy, "it goes on when the application is done")
}

func (a asked) memory() Verdict {
	if a.MinFreeMemory <= 0 {
		return noRule("nothing is said about free memory")
	}
	need := size(a.MinFreeMemory) + " are asked for"
	switch {
	case a.FreeMemory <= 0:
		return a.unknown(godwit.CodeResources, "it is not known how much memory is free, and "+need, "")
	case a.FreeMemory >= a.MinFreeMemory:
		return pass(size(a.FreeMemory) + " of memory are free, and " + need)
	}
	return hold(godwit.CodeResources, time.Time{}, size(a.FreeMemory)+" of memory are free, and "+need, "end what takes the memory, or ask for less")
}

func (a asked) cpu() Verdict {
	if a.MinCPUMHz <= 0 {
		return noRule("nothing is said about the processor")
	}
	need := strconv.Itoa(a.MinCPUMHz) + " MHz are asked for"
	switch {
	case a.CPUMHz <= 0:
		return a.unknown(godwit.CodeResources, "it is not known how fast the processor is, and "+need, "")
	case a.CPUMHz >= a.MinCPUMHz:
		return pass("the processor runs at " + strconv.Itoa(a.CPUMHz) + " MHz, and " + need)
	}
	return hold(godwit.CodeResources, time.Time{}, "the processor runs at "+strconv.Itoa(a.CPUMHz)+" MHz, and "+need, "")
}

func (a asked) temperature() Verdict {
	if a.MaxTemperature <= 0 {
		return noRule("nothing is said about the temperature")
	}
	most := ", and " + degrees(a.MaxTemperature) + " are the most"
	switch t := a.Temperature; {
	case !t.Known || t.Value != t.Value:
		return a.unknown(godwit.CodeTemperature, "the temperature is not known"+most, "")
	case t.Value <= a.MaxTemperature:
		return pass("the device has " + degrees(t.Value) + most)
	}
	return hold(godwit.CodeTemperature, time.Time{}, "the device has "+degrees(a.Temperature.Value)+most, "it goes on when the device has cooled down")
}

// Words for numbers.

func degrees(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) + " °C" }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// size is a number of bytes for people, in units of 1000.
func size(n int64) string {
	switch {
	case n < 1000:
		return strconv.FormatInt(n, 10) + " bytes"
	case n < 1e6:
		return strconv.FormatFloat(float64(n)/1e3, 'f', 1, 64) + " kB"
	}
	return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
}

// span is a time for people, rounded down.
func span(d time.Duration) string {
	one := func(n time.Duration, unit string) string { return strconv.Itoa(int(n)) + " " + unit }
	switch {
	case d < time.Minute:
		return one(d/time.Second, "s")
	case d < time.Hour:
		return one(d/time.Minute, "min")
	case d < 48*time.Hour && d%time.Hour >= time.Minute:
		return one(d/time.Hour, "h ") + one(d%time.Hour/time.Minute, "min")
	case d < 48*time.Hour:
		return one(d/time.Hour, "h")
	}
	return one(d/(24*time.Hour), "days")
}
