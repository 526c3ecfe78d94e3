package config

import (
	"fmt"
	"strings"
	"time"
)

// scheduling is the one table of the reference updater's form. Its keys may also
// stand in the file as "update_scheduling.KEY".
const scheduling = "update_scheduling"

// schedule maps "update_scheduling.KEY" to "update_scheduling".
func schedule(key string) string {
	before, _, _ := strings.Cut(key, ".")
	return before
}

// flatten takes the keys of the table in, under their long names, and returns
// those that nobody knows.
func (f *flat) flatten(p pair) (unknown []string) {
	take := func(p pair) {
		_, key, _ := strings.Cut(p.name, ".")
		for _, k := range scheduleKeys {
			if k == key {
				if p.value.kind != kindNull {
					f.keys[p.name] = p
				}
				return
			}
		}
		unknown = append(unknown, p.name)
	}
	switch {
	case p.name != scheduling:
		take(p)
	case p.value.kind == kindTable:
		for _, k := range p.value.keys {
			if !strings.HasPrefix(k.name, "_") {
				take(pair{name: scheduling + "." + k.name, value: k.value, line: k.line})
			}
		}
	default:
		f.keys[p.name] = p
		f.wrong(p.name, "a table")
	}
	return unknown
}

// whole gives a whole number of at most most, and whether there is one.
func (f *flat) whole(key string, most int) (int, bool) {
	_, ok := f.keys[key]
	return int(f.number(key, float64(most))), ok
}

// hardware: what the agent uses of the device. The pins 26 to 29 of a board are
// the channels 0 to 3 of its converter.
func (f *flat) hardware() {
	b := &f.d.c.Board
	if pin, ok := f.whole("battery_adc_pin", 1000); ok {
		if pin >= 26 && pin <= 29 {
			pin -= 26
		}
		b.BatteryADC = fmt.Sprint(pin)
	}
	for key, field := range map[string]*float64{"battery_divider_ratio": &b.BatteryRatio, "battery_v_max": &b.BatteryFull, "battery_v_min": &b.BatteryEmpty} {
		if _, ok := f.keys[key]; ok {
			*field = f.number(key, 1e6)
		}
	}
	if ms, ok := f.whole("watchdog_timeout_ms", 1<<30); ok {
		b.Watchdog = time.Duration(ms) * time.Millisecond
	}
}

// when: the times and conditions of updates. The reference asks for a check only
// in its window; here a check is always good, and the rest waits.
func (f *flat) when() {
	w := &f.d.c.When
	w.MinMemory = Size(f.number("min_free_mem", 1<<40))
	w.MinCPUMHz, _ = f.whole("min_cpu_mhz", 1<<20)
	for _, key := range []string{"min_battery_percent", scheduling + ".min_battery_percent"} {
		if n, ok := f.whole(key, 100); ok {
			w.MinBattery = n
		}
	}
	w.CostPerMB = f.number("cellular_cost_per_mb", 1e6)
	key := func(name string) string { return scheduling + "." + name }
	if n, ok := f.whole(key("min_update_interval_sec"), 1<<30); ok && n > 0 {
		f.d.c.Agent.Every = max(time.Duration(n)*time.Second, shortest)
	}
	w.MinInterval = f.d.c.Agent.Every
	from, ok := f.whole(key("update_window_start_hour"), 24)
	to, ok2 := f.whole(key("update_window_end_hour"), 24)
	if ok && ok2 && from%24 != to%24 {
		hours := fmt.Sprintf("%02d:00-%02d:00", from%24, to)
		w.InstallHours, w.DownloadHours = []string{hours}, []string{hours}
	}
	w.Solar = f.text(key("power_source")) == "solar"
	if n, ok := f.whole(key("max_crashes_before_delay"), 1<<20); ok {
		w.MaxCrashes = n
	}
	if n, ok := f.whole(key("rollout_percent"), 100); ok {
		w.Rollout = n
	}
	if n, ok := f.whole(key("error_history_limit"), 1000); ok && n > 0 {
		f.d.c.Agent.History = n
	}
}
