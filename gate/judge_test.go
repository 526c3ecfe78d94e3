package gate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) // a Tuesday

func ago(hours ...int) (list []time.Time) {
	for _, h := range hours {
		list = append(list, noon.Add(-time.Duration(h)*time.Hour))
	}
	return list
}

func TestJudge(t *testing.T) {
	const unset = true
	channel := godwit.Orders{Channel: "stable", Release: "v2", Rollout: 100}
	with := func(change func(*godwit.Orders)) godwit.Orders { o := channel; change(&o); return o }
	for _, tt := range []struct {
		what   string
		action Action
		rules  Rules
		facts  Facts
		unset  bool
		gate   string // that holds first; "" for none
		code   godwit.Code
		until  time.Time
		note   string // gate that passes without knowing
	}{
		{what: "nothing is asked for"},
		{what: "nothing, fetch", action: Fetch}, {what: "nothing, switch", action: Switch},

		{what: "never checked", rules: Rules{MinInterval: time.Hour}},
		{what: "checked lately", rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon.Add(-20 * time.Minute)}, gate: "interval", code: godwit.CodeInterval, until: noon.Add(40 * time.Minute)},
		{what: "checked just now", rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon}, gate: "interval", code: godwit.CodeInterval, until: noon.Add(time.Hour)},
		{what: "checked long ago", rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon.Add(-time.Hour)}},
		{what: "checked lately by a clock that was put back", rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon.Add(-20 * time.Minute), SinceCheck: time.Hour}},
		{what: "checked in the future", rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon.Add(1e5 * time.Hour)}, note: "interval"},
		{what: "checked in the future, by uptime", rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon.Add(1e5 * time.Hour), SinceCheck: time.Minute}, gate: "interval", code: godwit.CodeInterval, until: noon.Add(59 * time.Minute)},
		{what: "no clock, by uptime", unset: unset, rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon.Add(-48 * time.Hour), SinceCheck: 30 * time.Minute}, gate: "interval", code: godwit.CodeInterval, until: noon.Add(30 * time.Minute)},
		{what: "no clock, long enough", unset: unset, rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon, SinceCheck: time.Hour}},
		{what: "no clock, no uptime", unset: unset, rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon}, note: "interval"},
		{what: "the interval is for checks", action: Fetch, rules: Rules{MinInterval: time.Hour}, facts: Facts{LastCheck: noon}},

		{what: "three crashes", action: Switch, facts: Facts{Crashes: ago(1, 2, 3)}},
		{what: "four crashes", action: Switch, facts: Facts{Crashes: ago(3, 1, 20, 2)}, gate: "crashes", code: godwit.CodeCrashes, until: noon.Add(4 * time.Hour)},
		{what: "six crashes: two have to leave more", action: Fetch, facts: Facts{Crashes: ago(1, 2, 3, 22, 21, 20)}, gate: "crashes", code: godwit.CodeCrashes, until: noon.Add(4 * time.Hour)},
		{what: "four crashes, one has just left", action: Fetch, facts: Facts{Crashes: ago(1, 2, 3, 24)}},
		{what: "crashes do not hold checks", facts: Facts{Crashes: ago(1, 2, 3, 4, 5)}},
		{what: "crashes of the future", action: Switch, facts: Facts{Crashes: ago(-1, -2, -3, -4)}, gate: "crashes", code: godwit.CodeCrashes, until: noon.Add(25 * time.Hour)},
		{what: "crashes of the far future", action: Switch, facts: Facts{Crashes: ago(-25, -26, -999, -4000)}},
		{what: "no crash is tolerated", action: Switch, rules: Rules{MaxCrashes: NoCrash}, facts: Facts{Crashes: ago(5)}, gate: "crashes", code: godwit.CodeCrashes, until: noon.Add(19 * time.Hour)},
		{what: "any crashes are", action: Switch, rules: Rules{MaxCrashes: AnyCrashes}, facts: Facts{Crashes: ago(1, 2, 3, 4, 5, 6)}},
		{what: "one crash is", action: Switch, rules: Rules{MaxCrashes: 1}, facts: Facts{Crashes: ago(5)}},

		{what: "battery for a fetch", action: Fetch, rules: Rules{FetchBattery: 30, SwitchBattery: 60}, facts: Facts{Battery: Battery{true, 40, false}}},
		{what: "battery for a switch", action: Switch, rules: Rules{FetchBattery: 30, SwitchBattery: 60}, facts: Facts{Battery: Battery{true, 40, false}}, gate: "battery", code: godwit.CodeBattery},
		{what: "battery, being charged", action: Switch, rules: Rules{SwitchBattery: 60}, facts: Facts{Battery: Battery{true, 40, true}}, gate: "battery", code: godwit.CodeBattery},
		{what: "battery, charging passes", action: Switch, rules: Rules{SwitchBattery: 60, ChargingPasses: true}, facts: Facts{Battery: Battery{true, 40, true}}},
		{what: "battery not known", action: Switch, rules: Rules{SwitchBattery: 60}, note: "battery"},
		{what: "battery not known, strictly", action: Switch, rules: Rules{SwitchBattery: 60, Strict: true}, gate: "battery", code: godwit.CodeBattery},
		{what: "no battery for a check", rules: Rules{FetchBattery: 99, SwitchBattery: 99, Strict: true}},

		{what: "window for a switch", action: Switch, rules: Rules{SwitchHours: []Hours{{From: 60, To: 120}, {From: 1200, To: 1260}}}, gate: "window", code: godwit.CodeWindow, until: noon.Add(8 * time.Hour)},
		{what: "window for a fetch", action: Fetch, rules: Rules{FetchHours: []Hours{{From: 60, To: 120}}}, gate: "window", code: godwit.CodeWindow, until: noon.Add(13 * time.Hour)},
		{what: "another one's window", action: Fetch, rules: Rules{SwitchHours: []Hours{{From: 60, To: 120}}}},
		{what: "window, in", action: Fetch, rules: Rules{FetchHours: []Hours{{From: 720, To: 721}}}},
		{what: "window, in another zone", action: Fetch, rules: Rules{FetchHours: []Hours{{From: 13 * 60, To: 14 * 60}}, Zone: time.FixedZone("", 3600)}},
		{what: "window of a day", action: Fetch, rules: Rules{FetchHours: []Hours{{From: 720, To: 780, Days: 1 << time.Monday}}}, gate: "window", code: godwit.CodeWindow, until: noon.Add(6 * 24 * time.Hour)},
		{what: "window, no clock", unset: unset, action: Fetch, rules: Rules{FetchHours: []Hours{{From: 60, To: 120}}}, note: "window"},

		{what: "a channel", action: Switch, facts: Facts{Orders: channel}},
		{what: "expired", action: Switch, facts: Facts{Orders: with(func(o *godwit.Orders) { o.NotAfter = noon.Add(-1) })}, gate: "expiry", code: godwit.CodeExpired},
		{what: "expired, no clock", unset: unset, action: Fetch, facts: Facts{Orders: with(func(o *godwit.Orders) { o.NotAfter = noon.Add(-1) })}, gate: "expiry", code: godwit.CodeExpired},
		{what: "halted", action: Fetch, facts: Facts{Orders: with(func(o *godwit.Orders) { o.Halt = "it smokes" })}, gate: "halt", code: godwit.CodeHalted},
		{what: "halted, checks go on", facts: Facts{Orders: with(func(o *godwit.Orders) { o.Halt = "it smokes" })}},
		{what: "not for this one", action: Fetch, facts: Facts{Orders: with(func(o *godwit.Orders) { o.Rollout = 0 })}, gate: "cohort", code: godwit.CodeRollout},
		{what: "held back here", action: Fetch, rules: Rules{HoldBack: 100}, facts: Facts{Orders: channel}, gate: "cohort", code: godwit.CodeRollout},
		{what: "held back without a channel", action: Fetch, rules: Rules{HoldBack: 100 - Cohort("v3", "me")}, facts: Facts{Release: "v3"}, gate: "cohort", code: godwit.CodeRollout},
		{what: "not held back", action: Fetch, rules: Rules{HoldBack: 99 - Cohort("v3", "me")}, facts: Facts{Release: "v3"}},
		{what: "the channel's window", action: Switch, facts: Facts{Orders: with(func(o *godwit.Orders) { o.Window = godwit.Window{From: 60, To: 120} })}, gate: "channel-window", code: godwit.CodeWindow, until: noon.Add(13 * time.Hour)},
		{what: "the channel's window, fetch", action: Fetch, facts: Facts{Orders: with(func(o *godwit.Orders) { o.Window = godwit.Window{From: 60, To: 120} })}},

		{what: "solar at noon", action: Switch, rules: Rules{Solar: true}},
		{what: "solar at 15:59", action: Switch, rules: Rules{Solar: true, Zone: time.FixedZone("", 239*60)}},
		{what: "solar at 16:00", action: Switch, rules: Rules{Solar: true, Zone: time.FixedZone("", 240*60)}, gate: "solar", code: godwit.CodeSolar, until: noon.Add(18 * time.Hour)},
		{what: "solar, own hours", action: Fetch, rules: Rules{Solar: true, SolarHours: Hours{From: 540, To: 660}}, gate: "solar", code: godwit.CodeSolar, until: noon.Add(21 * time.Hour)},
		{what: "solar, no clock", unset: unset, action: Fetch, rules: Rules{Solar: true, SolarHours: Hours{From: 540, To: 660}}, note: "solar"},

		{what: "budget, not metered", action: Fetch, rules: Rules{Budget: 1000}, facts: Facts{MonthBytes: 5000, PlannedBytes: 5000}},
		{what: "budget, fits", action: Fetch, rules: Rules{Budget: 1000}, facts: Facts{Metered: true, MonthBytes: 500, PlannedBytes: 400}},
		{what: "budget, does not fit", action: Fetch, rules: Rules{Budget: 1000}, facts: Facts{Metered: true, MonthBytes: 500, PlannedBytes: 401}, gate: "budget", code: godwit.CodeBudget, until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		{what: "budget, used up", action: Fetch, rules: Rules{Budget: 1000}, facts: Facts{Metered: true, MonthBytes: 900}, gate: "budget", code: godwit.CodeBudget, until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		{what: "budget, never fits", action: Fetch, rules: Rules{Budget: 1000}, facts: Facts{Metered: true, PlannedBytes: 901}, gate: "budget", code: godwit.CodeBudget},
		{what: "budget, no overflow", action: Fetch, rules: Rules{Budget: 1<<63 - 1}, facts: Facts{Metered: true, MonthBytes: 1 << 62, PlannedBytes: 1 << 62}, gate: "budget", code: godwit.CodeBudget, until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		{what: "budget, checks have a reserve", rules: Rules{Budget: 1000}, facts: Facts{Metered: true, MonthBytes: 999}},
		{what: "budget, and then no more", rules: Rules{Budget: 1000}, facts: Facts{Metered: true, MonthBytes: 1000}, gate: "budget", code: godwit.CodeBudget, until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		{what: "budget, no clock", unset: unset, rules: Rules{Budget: 1000}, facts: Facts{Metered: true, MonthBytes: 1000}, note: "budget"},
		{what: "budget, the switch is free", action: Switch, rules: Rules{Budget: 1000, Metered: MeteredNone}, facts: Facts{Metered: true, MonthBytes: 1000}},
		{what: "metered for checks, a check", rules: Rules{Metered: MeteredChecks}, facts: Facts{Metered: true}},
		{what: "metered for checks, a fetch", action: Fetch, rules: Rules{Metered: MeteredChecks}, facts: Facts{Metered: true}, gate: "budget", code: godwit.CodeBudget},
		{what: "metered for nothing", rules: Rules{Metered: MeteredNone}, facts: Facts{Metered: true}, gate: "budget", code: godwit.CodeBudget},
		{what: "not metered", action: Fetch, rules: Rules{Metered: MeteredNone}},

		{what: "busy", action: Switch, facts: Facts{Busy: "it measures"}, gate: "busy", code: godwit.CodeAppBusy},
		{what: "busy, fetch", action: Fetch, facts: Facts{Busy: "it measures"}},
		{what: "busy, fetch too", action: Fetch, rules: Rules{BusyFetch: true}, facts: Facts{Busy: "it measures"}, gate: "busy", code: godwit.CodeAppBusy},
		{what: "memory", action: Fetch, rules: Rules{MinFreeMemory: 1000}, facts: Facts{FreeMemory: 999}, gate: "memory", code: godwit.CodeResources},
		{what: "memory, enough", action: Fetch, rules: Rules{MinFreeMemory: 1000}, facts: Facts{FreeMemory: 1000}},
		{what: "memory, not known", action: Fetch, rules: Rules{MinFreeMemory: 1000}, note: "memory"},
		{what: "memory, not known, strictly", action: Fetch, rules: Rules{MinFreeMemory: 1000, Strict: true}, gate: "memory", code: godwit.CodeResources},
		{what: "cpu", action: Switch, rules: Rules{MinCPUMHz: 100}, facts: Facts{CPUMHz: 99}, gate: "cpu", code: godwit.CodeResources},
		{what: "cpu, fast", action: Switch, rules: Rules{MinCPUMHz: 100}, facts: Facts{CPUMHz: 100}},
		{what: "cpu, not known", action: Switch, rules: Rules{MinCPUMHz: 100}, note: "cpu"},
		{what: "hot", action: Switch, rules: Rules{MaxTemperature: 60}, facts: Facts{Temperature: Reading{true, 60.5}}, gate: "temperature", code: godwit.CodeTemperature},
		{what: "warm", action: Switch, rules: Rules{MaxTemperature: 60}, facts: Facts{Temperature: Reading{true, 60}}},
		{what: "temperature not known", action: Switch, rules: Rules{MaxTemperature: 60}, note: "temperature"},
	} {
		tt.facts.Now, tt.facts.ClockSet, tt.facts.Device = noon, !tt.unset, Device{ID: "me"}
		if err := tt.rules.Validate(); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		list := Judge(tt.action, tt.rules, tt.facts, Override{})
		if len(list) != len(gates) {
			t.Fatalf("%d verdicts", len(list))
		}
		first, held := Held(list)
		if held != (tt.gate != "") || first.Gate != tt.gate || first.Code != tt.code || !first.Until.Equal(tt.until) {
			t.Errorf("%s: held by %q (%s) until %v: %s", tt.what, first.Gate, first.Code, first.Until, first.Reason)
		}
		if next, want := Next(list, noon), tt.until; held && !next.Equal(want) || !held && !next.Equal(noon) {
			t.Errorf("%s: next %v", tt.what, next)
		}
		if got := godwit.CodeOf(first.Err()); got != tt.code {
			t.Errorf("%s: the error has code %q", tt.what, got)
		}
		for _, v := range list {
			if v.Reason == "" || strings.HasSuffix(v.Reason, ".") || strings.Contains(v.Reason, "  ") {
				t.Errorf("%s: %s says %q", tt.what, v.Gate, v.Reason)
			}
			if v.Unknown && !v.Holds && v.Gate != tt.note || v.Gate == tt.note && !v.Unknown {
				t.Errorf("%s: %s: unknown is %v: %s", tt.what, v.Gate, v.Unknown, v.Reason)
			}
		}
		if tt.gate == "" || tt.gate == "expiry" {
			continue
		}
		over, err := Overriding(tt.gate)
		if err != nil {
			t.Fatal(err)
		}
		list = Judge(tt.action, tt.rules, tt.facts, over)
		if v, ok := Held(list); ok {
			t.Errorf("%s, overridden: held by %s", tt.what, v.Gate)
		}
		if v := list[slices.IndexFunc(list, func(v Verdict) bool { return v.Gate == tt.gate })]; !v.Overridden || v.Reason != first.Reason {
			t.Errorf("%s, overridden: %+v", tt.what, v)
		}
	}
}

// The order is the reference updater's, and one override opens one gate.
func TestOrder(t *testing.T) {
	want := "crashes battery window halt cohort channel-window solar busy memory cpu temperature"
	f := Facts{Now: noon, ClockSet: true, Crashes: ago(1, 2, 3, 4), Battery: Battery{Known: true}, Busy: "x", FreeMemory: 1, CPUMHz: 1, Temperature: Reading{true, 99},
		Orders: godwit.Orders{Channel: "c", Halt: "x", Window: godwit.Window{From: 1, To: 2}}}
	r := Rules{FetchBattery: 1, SwitchBattery: 1, SwitchHours: []Hours{{From: 1, To: 2}}, Solar: true, SolarHours: Hours{From: 1, To: 2}, MinFreeMemory: 2, MinCPUMHz: 2, MaxTemperature: 1}
	var names, got []string
	for {
		over, err := Overriding(names...)
		if err != nil {
			t.Fatal(err)
		}
		v, ok := Held(Judge(Switch, r, f, over))
		if !ok {
			break
		}
		got = append(got, v.Gate)
		names = append(names, v.Gate)
	}
	if strings.Join(got, " ") != want {
		t.Errorf("%q", got)
	}
	if names := strings.Join(Names(), " "); names != "interval "+strings.Replace(want, "solar", "solar budget", 1) {
		t.Errorf("names: %s", names)
	}
	for _, n := range []string{"expiry", "windows", ""} {
		if _, err := Overriding(n); godwit.CodeOf(err) != godwit.CodeUsage {
			t.Errorf("%q: %v", n, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, r := range []Rules{{MinInterval: -1}, {MaxCrashes: -2}, {FetchBattery: 101}, {SwitchBattery: -1}, {HoldBack: 101}, {Reserve: -1}, {Budget: -1}, {Metered: 3},
		{FetchHours: []Hours{{From: 1440}}}, {SwitchHours: []Hours{{To: -1}}}, {SolarHours: Hours{To: 1441}}, {MinFreeMemory: -1}} {
		if err := r.Validate(); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// A month ends at local midnight, or right after it where there is none.
func TestNextMonth(t *testing.T) {
	for _, tt := range []struct{ zone, now, want string }{
		{"UTC", "2026-12-31T23:59", "2027-01-01T00:00 UTC"},
		{"Europe/Berlin", "2026-03-15T12:00", "2026-04-01T00:00 CEST"},
		{"America/Asuncion", "2017-09-15T12:00", "2017-10-01T01:00 -03"},
		{"Asia/Amman", "2016-03-31T12:00", "2016-04-01T01:00 EEST"},
	} {
		now, err := time.ParseInLocation("2006-01-02T15:04", tt.now, zone(t, tt.zone))
		if err != nil {
			t.Fatal(err)
		}
		if got := nextMonth(now).Format("2006-01-02T15:04 MST"); got != tt.want {
			t.Errorf("%s, %s: %s, want %s", tt.zone, tt.now, got, tt.want)
		}
	}
}

// A verdict that holds until a time does not hold then, and does hold at every
// moment before, the other facts being the same.
func TestUntil(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1.6e9, 1.9e9).Draw(t, "now"), 0)
		if _, change := now.In(loc).ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			now = change.Add(time.Duration(rapid.IntRange(-20*3600, 3600).Draw(t, "seconds")) * time.Second)
		}
		minute := rapid.IntRange(0, day-1)
		hours := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Hours {
			return Hours{minute.Draw(t, "from"), minute.Draw(t, "to"), Days(rapid.IntRange(0, 127).Draw(t, "days"))}
		}), 0, 2)
		past := rapid.Custom(func(t *rapid.T) time.Time {
			return now.Add(-time.Duration(rapid.IntRange(0, 26*3600).Draw(t, "ago")) * time.Second)
		})
		r := Rules{Zone: loc, MinInterval: time.Duration(rapid.IntRange(0, 7200).Draw(t, "interval")) * time.Second, MaxCrashes: rapid.IntRange(-1, 5).Draw(t, "crashes"),
			FetchHours: hours.Draw(t, "fetch"), SwitchHours: hours.Draw(t, "switch"), Solar: rapid.Bool().Draw(t, "solar"), Budget: 1000}
		f := Facts{Now: now, ClockSet: rapid.Bool().Draw(t, "clock"), LastCheck: past.Draw(t, "last"), SinceCheck: time.Duration(rapid.IntRange(0, 7200).Draw(t, "since")) * time.Second,
			Crashes: rapid.SliceOfN(past, 0, 12).Draw(t, "crashed"), Metered: rapid.Bool().Draw(t, "metered"), MonthBytes: rapid.Int64Range(0, 1200).Draw(t, "bytes")}
		action := Action(rapid.IntRange(0, 2).Draw(t, "action"))
		// judged is what gate i says after a while.
		judged := func(i int, at time.Time) Verdict {
			g := f
			g.Now = at
			if g.SinceCheck > 0 {
				g.SinceCheck += at.Sub(now)
			}
			if gates[i].name == "budget" && at.In(loc).Month() != now.In(loc).Month() {
				g.MonthBytes = 0
			}
			return Judge(action, r, g, Override{})[i]
		}
		list := Judge(action, r, f, Override{})
		next := Next(list, now)
		for i, v := range list {
			if v.Holds && v.Until.IsZero() || !v.Holds && !v.Until.IsZero() {
				t.Fatalf("%+v", v)
			}
			if !v.Holds {
				continue
			}
			if next.Before(v.Until) {
				t.Fatalf("next is %v, before %+v", next, v)
			}
			if w := judged(i, v.Until); w.Holds {
				t.Fatalf("%+v\nstill holds then: %+v", v, w)
			}
			wait := v.Until.Sub(now)
			probes := []time.Duration{0, wait / 2, wait - time.Second, wait - 1}
			for n := 1; n < 20; n++ {
				probes = append(probes, wait*time.Duration(n)/20)
			}
			for _, d := range probes {
				if d >= 0 && d < wait && !judged(i, now.Add(d)).Holds {
					t.Fatalf("%+v\ndoes not hold at %v", v, now.Add(d))
				}
			}
		}
	})
}
