package board

import (
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// FuzzNumbers holds the parsers of numbers to what they promise.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"", "0", "87", "-5", "+7", "12400000", "0.000305175", "1e3", "NaN", "inf", "0x10", "1_000", "9223372036854775808", "948308 kB", "7 kb", "\x00", "1e400", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseInt(s); err == nil {
			if m, err := strconv.ParseInt(s, 10, 64); err != nil || m != n {
				t.Errorf("%q is %d", s, n)
			}
		} else if n != 0 {
			t.Errorf("%q is an error and %d", s, n)
		}
		v, err := parseFloat(s)
		if math.IsNaN(v) || math.IsInf(v, 0) || err != nil && v != 0 {
			t.Errorf("%q is %v, %v", s, v, err)
		}
		if n, err := parseBytes(s); n < 0 || err != nil && n != 0 {
			t.Errorf("%q is %d bytes, %v", s, n, err)
		}
		if c, ok := parseChannel(s); ok && (strings.ContainsAny(c.device+c.input, "/\x00") || c.input == "" || strings.HasPrefix(c.device, "..") && len(c.device) == 2) {
			t.Errorf("%q is the channel %q of %q", s, c.input, c.device)
		}
		if c := clean(s); strings.ContainsAny(c, "\x00\n\r\x1b") || len(c) > 110 {
			t.Errorf("%q is printed as %q", s, c)
		}
		selected(s)
		crash(s)
	})
}

// FuzzTree puts the same rubbish into every file and reads all of it.
func FuzzTree(f *testing.F) {
	f.Add("87\n")
	f.Add("MemTotal: 5 kB\nMemAvailable: 9223372036854775807 kB\nMemFree: 1")
	f.Add("0::/a/b\n")
	f.Add("\x00\x00\x10\x00")
	f.Add("Battery")
	f.Add("Panic#1 Part1\nKernel panic")
	f.Fuzz(func(t *testing.T, s string) {
		d := fake(t, map[string]string{"sys/class/power_supply/b/type": "Battery", "sys/bus/iio/devices/iio:device0/in_voltage0_raw": s,
			"sys/bus/iio/devices/iio:device0/in_voltage_scale": s, "sys/bus/iio/devices/iio:device0/in_voltage_offset": s, led + "brightness": s, led + "trigger": s})
		for _, name := range []string{"capacity", "voltage_now", "status", "charge_now", "charge_full", "voltage_min_design", "voltage_max_design", "scope"} {
			d.put("sys/class/power_supply/b/"+name, s)
		}
		for _, name := range []string{"meminfo", "uptime", "cpuinfo", "self/cgroup", "device-tree/model", "device-tree/chosen/bootloader/rsts", "device-tree/cpus/cpu/clock-frequency"} {
			d.put("proc/"+name, s)
		}
		for _, name := range []string{"class/watchdog/watchdog0/bootstatus", "class/thermal/thermal_zone0/temp", "fs/pstore/dmesg-0", "fs/cgroup/memory.max", "fs/cgroup/memory.current"} {
			d.put("sys/"+name, s)
		}
		for _, adc := range []string{"", "0"} {
			b := d.open(Config{LED: "ACT", Battery: BatteryConfig{ADC: adc}})
			x := b.Facts()
			if x.MemFree < 0 || x.MemTotal < 0 || x.CPUMHz < 0 || x.Uptime < 0 || !(x.Battery.Percent >= 0 && x.Battery.Percent <= 100) || !(x.Battery.Volts >= 0) || math.IsNaN(x.Temperature) {
				t.Errorf("%+v", x)
			}
			if out := b.String(); strings.Count(out, "\n") != len(b.Describe()) {
				t.Errorf("%q", out)
			}
		}
		os.RemoveAll(d.top)
	})
}
