package gate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// An Action is one of the three things that are decided apart.
type Action uint8

// The actions.
const (
	Check  Action = iota // ask the source whether there is something newer
	Fetch                // download it
	Switch               // install what was downloaded
)

// String returns "check", "fetch" or "switch".
func (a Action) String() string { return [...]string{"check", "fetch", "switch"}[a%3] }

// What Rules.MaxCrashes can be besides a number.
const (
	NoCrash    = -1      // a single crash holds
	AnyCrashes = 1 << 30 // no number of crashes does
)

// Metering says what a link on which each byte costs money is good for.
type Metering uint8

// The kinds of Metering.
const (
	MeteredAll    Metering = iota // for everything, within the budget
	MeteredChecks                 // for checks
	MeteredNone                   // for nothing
)

// Rules are what a device's owner asks for. In the zero value only crashes hold.
type Rules struct {
	MinInterval time.Duration // between two checks

	MaxCrashes int // more than this in 24 hours hold; 0 means 3, see NoCrash and AnyCrashes

	FetchBattery, SwitchBattery int  // percent that must be left; 0 for none
	ChargingPasses              bool // a battery that is being charged never holds

	// When downloads are made and releases are installed; any one of a list will
	// do, an empty list is always.
	FetchHours, SwitchHours []Hours
	// The zone of all hours and months; nil is that of Facts.Now.
	Zone *time.Location

	// HoldBack is the percentage of devices for which every release is too early,
	// whatever the channel says: 100 minus the reference updater's
	// rollout_percent.
	HoldBack int

	// Solar: fetch and switch only at SolarHours; zero means 10:00-16:00.
	Solar      bool
	SolarHours Hours

	Metered Metering
	Budget  int64 // bytes a month on metered links; 0 for no limit
	Reserve int   // percent of Budget that is kept for checks; 0 means 10

	BusyFetch bool // a busy application holds downloads too

	MinFreeMemory  int64   // bytes
	MinCPUMHz      int     // megahertz
	MaxTemperature float64 // degrees Celsius; 0 for no limit

	// Strict: battery, memory, processor and temperature hold where there is a
	// rule and the fact is not known. Else they pass and say so.
	Strict bool
}

// Battery is the charge of the battery.
type Battery struct {
	Known    bool
	Percent  int
	Charging bool
}

// A Reading is what a sensor says.
type Reading struct {
	Known bool
	Value float64
}

// Facts are what is the case. The zero value of each fact but Now is "not
// known", or "there is none".
type Facts struct {
	Now      time.Time
	ClockSet bool // the hours of Now may be believed

	LastCheck time.Time // by the clock of that time
	// SinceCheck is the time since the last check by a clock that nobody sets,
	// reboots included as far as the caller knows. It counts where the clock
	// cannot be believed.
	SinceCheck time.Duration

	Crashes []time.Time // in any order; older ones do no harm

	Battery      Battery
	Metered      bool   // the link that would be used
	MonthBytes   int64  // that went over metered links this month
	PlannedBytes int64  // that the download will take; 0 before there is a plan
	Busy         string // why the application must not be disturbed; "" if it may be
	FreeMemory   int64  // bytes
	CPUMHz       int
	Temperature  Reading // degrees Celsius

	Orders  godwit.Orders // of the channel; zero without one
	Release string        // name of the release, where there are no orders
	Device  Device
}

// A Verdict is what one gate says.
type Verdict struct {
	Gate   string // one of Names, or "expiry"
	Holds  bool   // not now
	Code   godwit.Code
	Reason string // one sentence for a person, without the final full stop
	Hint   string // what to do about it, if Holds; may be empty
	// Until is the first moment at which this gate will not hold, the facts
	// being the same; zero if nobody can know, or if it does not hold.
	Until      time.Time
	Overridden bool // it would hold, and was told not to
	Skipped    bool // there is no rule for it, or it has nothing to say about the action
	Unknown    bool // it would need a fact that is not known; Reason says which
}

// Err returns the verdict as an error with its Code, nil if it does not hold.
func (v Verdict) Err() error {
	if !v.Holds {
		return nil
	}
	return &godwit.Error{Code: v.Code, Text: v.Reason, Hint: v.Hint, Until: v.Until}
}

// asked is one question: what the gates look at.
type asked struct {
	Action
	Rules
	Facts
}

// gates are all gates, in the order in which they are asked.
var gates = []struct {
	name    string
	actions []Action
	judge   func(asked) Verdict
	never   bool // nobody can override it
}{
	{name: "interval", actions: []Action{Check}, judge: asked.interval},
	{name: "crashes", actions: []Action{Fetch, Switch}, judge: asked.crashes},
	{name: "battery", actions: []Action{Fetch, Switch}, judge: asked.battery},
	{name: "window", actions: []Action{Fetch, Switch}, judge: asked.window},
	{name: "expiry", actions: []Action{Fetch, Switch}, judge: asked.expiry, never: true},
	{name: "halt", actions: []Action{Fetch, Switch}, judge: asked.halt},
	{name: "cohort", actions: []Action{Fetch, Switch}, judge: asked.cohort},
	{name: "channel-window", actions: []Action{Switch}, judge: asked.channelWindow},
	{name: "solar", actions: []Action{Fetch, Switch}, judge: asked.solar},
	{name: "budget", actions: []Action{Check, Fetch}, judge: asked.budget},
	{name: "busy", actions: []Action{Fetch, Switch}, judge: asked.busy},
	{name: "memory", actions: []Action{Fetch, Switch}, judge: asked.memory},
	{name: "cpu", actions: []Action{Fetch, Switch}, judge: asked.cpu},
	{name: "temperature", actions: []Action{Fetch, Switch}, judge: asked.temperature},
}

// Names returns the names of the gates that can be overridden, in the order in
// which they are asked.
func Names() []string {
	var names []string
	for _, g := range gates {
		if !g.never {
			names = append(names, g.name)
		}
	}
	return names
}

// An Override is a set of gates that do not hold one update, because an
// operator says so. The zero value overrides nothing.
type Override struct{ names []string }

// Overriding returns the Override of the gates with these names. The error has
// CodeUsage and lists the names that there are.
func Overriding(names ...string) (Override, error) {
	for _, n := range names {
		switch {
		case n == "expiry":
			return Override{}, godwit.Fail(godwit.CodeUsage, nil, "orders that have expired cannot be overridden here",
				"set the channel again with a later --not-after")
		case !slices.Contains(Names(), n):
			return Override{}, godwit.Fail(godwit.CodeUsage, nil, "there is no gate "+strconv.Quote(n), "the gates are "+strings.Join(Names(), ", "))
		}
	}
	return Override{slices.Clone(names)}, nil
}

// Has reports whether the gate is overridden.
func (o Override) Has(name string) bool { return slices.Contains(o.names, name) }

// Judge asks every gate about an action. The verdicts come in the order of
// gates, one for each; those that have nothing to say are Skipped.
func Judge(action Action, r Rules, f Facts, over Override) []Verdict {
	if r.Zone != nil {
		f.Now = f.Now.In(r.Zone)
	}
	a := asked{action, r, f}
	list := make([]Verdict, 0, len(gates))
	for _, g := range gates {
		v := Verdict{Skipped: true, Reason: "it has no say in a " + action.String()}
		if slices.Contains(g.actions, action) {
			v = g.judge(a)
		}
		v.Gate = g.name
		if v.Holds && !g.never && over.Has(g.name) {
			v.Holds, v.Overridden, v.Until = false, true, time.Time{}
		}
		list = append(list, v)
	}
	return list
}

// Held returns the first verdict that holds, and whether there is one.
func Held(list []Verdict) (first Verdict, ok bool) {
	for _, v := range list {
		if v.Holds {
			return v, true
		}
	}
	return Verdict{}, false
}

// Next returns the earliest moment at which it is of use to ask again: now if
// nothing holds, and the zero time if nobody can know. Then all gates that hold
// for a known time are open again; others may hold by then.
func Next(list []Verdict, now time.Time) time.Time {
	next, holds := time.Time{}, false
	for _, v := range list {
		holds = holds || v.Holds
		if v.Holds && v.Until.After(next) {
			next = v.Until
		}
	}
	if !holds {
		return now
	}
	return next
}

// Validate finds rules that make no sense. The error has CodeConfig.
func (r Rules) Validate() error {
	bad := func(text, hint string) error { return godwit.Fail(godwit.CodeConfig, nil, text, hint) }
	percent := func(what string, n int) error {
		if n < 0 || n > 100 {
			return bad(what+" is "+strconv.Itoa(n)+", which is no percentage", "use a number from 0 to 100")
		}
		return nil
	}
	for _, p := range []struct {
		what string
		n    int
	}{{"the battery for downloads", r.FetchBattery}, {"the battery for installing", r.SwitchBattery},
		{"the part of devices held back", r.HoldBack}, {"the part of the budget for checks", r.Reserve}} {
		if err := percent(p.what, p.n); err != nil {
			return err
		}
	}
	for _, h := range slices.Concat(r.FetchHours, r.SwitchHours, []Hours{r.SolarHours}) {
		if !h.valid() {
			return bad("there are hours from minute "+strconv.Itoa(h.From)+" to minute "+strconv.Itoa(h.To)+" of a day", "a day has the minutes 0 to 1439")
		}
	}
	switch {
	case r.MinInterval < 0:
		return bad("the time between checks is negative", "use 0 for none")
	case r.MaxCrashes < NoCrash:
		return bad("the number of crashes is negative", "use 0 for none at all")
	case r.Budget < 0 || r.MinFreeMemory < 0 || r.MinCPUMHz < 0:
		return bad("a limit is negative", "use 0 for none")
	case r.Metered > MeteredNone:
		return bad("there is no such rule for metered links", "")
	}
	return nil
}
