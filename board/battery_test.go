package board

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// supplies puts name.attribute lines below the class power_supply.
func supplies(files map[string]string) map[string]string {
	m := map[string]string{}
	for name, v := range files {
		m["sys/class/power_supply/"+name] = v + "\n"
	}
	return m
}

func TestBattery(t *testing.T) {
	iio := func(files map[string]string) map[string]string {
		m := map[string]string{}
		for name, v := range files {
			m["sys/bus/iio/devices/"+name] = v + "\n"
		}
		return m
	}
	for _, c := range []struct {
		name  string
		cfg   BatteryConfig
		files map[string]string
		want  Battery
		err   string // part of it
	}{
		{name: "none"},
		{name: "an empty class", files: map[string]string{"sys/class/power_supply/": ""}},
		{name: "a laptop", files: supplies(map[string]string{
			"BAT0/type": "Battery", "BAT0/present": "1", "BAT0/capacity": "87", "BAT0/voltage_now": "12400000", "BAT0/status": "Charging",
			"AC/type": "Mains", "AC/online": "1"}),
			want: Battery{Known: true, Percent: 87, Volts: 12.4, Charging: true, External: true, Source: "power_supply BAT0"}},
		{name: "on battery", files: supplies(map[string]string{
			"axp20x-battery/type": "Battery", "axp20x-battery/capacity": "9", "axp20x-battery/status": "Discharging",
			"axp20x-usb/type": "USB_PD", "axp20x-usb/online": "0"}),
			want: Battery{Known: true, Percent: 9, Source: "power_supply axp20x-battery"}},
		{name: "the programmable voltage of a solar charger", files: supplies(map[string]string{"panel/type": "Mains", "panel/online": "2"}),
			want: Battery{External: true}},
		{name: "a mouse is no battery of the device", files: supplies(map[string]string{
			"hid-1/type": "Battery", "hid-1/capacity": "5", "hid-1/scope": "Device"})},
		{name: "but can be named", cfg: BatteryConfig{Supply: "hid-1"}, files: supplies(map[string]string{
			"hid-1/type": "Battery", "hid-1/capacity": "5", "hid-1/scope": "Device"}),
			want: Battery{Known: true, Percent: 5, Source: "power_supply hid-1"}},
		{name: "an empty bay before a battery", files: supplies(map[string]string{
			"BAT0/type": "Battery", "BAT0/present": "0", "BAT1/type": "Battery", "BAT1/capacity": "50"}),
			want: Battery{Known: true, Percent: 50, Source: "power_supply BAT1"}},
		{name: "by charge", files: supplies(map[string]string{
			"b/type": "Battery", "b/charge_now": "500000", "b/charge_full": "2000000"}),
			want: Battery{Known: true, Percent: 25, Source: "power_supply b"}},
		{name: "by energy", files: supplies(map[string]string{
			"b/type": "Battery", "b/energy_now": "3000000", "b/energy_full": "2000000"}),
			want: Battery{Known: true, Percent: 100, Source: "power_supply b"}},
		{name: "by its design's volts", files: supplies(map[string]string{
			"b/type": "Battery", "b/voltage_now": "3500000", "b/voltage_max_design": "4000000", "b/voltage_min_design": "3000000"}),
			want: Battery{Known: true, Percent: 50, Volts: 3.5, Source: "power_supply b"}},
		{name: "by given volts", cfg: BatteryConfig{Full: 14, Empty: 10}, files: supplies(map[string]string{
			"b/type": "Battery", "b/voltage_now": "11000000", "b/voltage_max_design": "4000000", "b/voltage_min_design": "3000000"}),
			want: Battery{Known: true, Percent: 25, Volts: 11, Source: "power_supply b"}},
		{name: "volts alone say nothing", files: supplies(map[string]string{"b/type": "Battery", "b/voltage_now": "3700000"}),
			want: Battery{Volts: 3.7, Source: "power_supply b"}, err: "does not say how full it is"},
		{name: "named and missing", cfg: BatteryConfig{Supply: "BAT7"}, want: Battery{Source: "power_supply BAT7"}, err: "no such file"},
		{name: "more than full", files: supplies(map[string]string{"b/type": "Battery", "b/capacity": "101"}),
			want: Battery{Source: "power_supply b"}, err: "no sensible value"},
		{name: "rubbish everywhere", files: supplies(map[string]string{"b/type": "Battery", "b/capacity": "\x00\xff\xfe", "b/voltage_now": "99999999999999999999",
			"b/charge_now": "-1", "b/charge_full": "0", "b/status": strings.Repeat("Charging", 9000), "b/energy_full": ""}),
			want: Battery{Source: "power_supply b"}, err: "no sensible value"},
		{name: "empty files", files: supplies(map[string]string{"b/type": "Battery", "b/capacity": "", "b/voltage_now": "", "b/status": ""}),
			want: Battery{Source: "power_supply b"}, err: "no sensible value"},

		{name: "a converter that knows its scale", cfg: BatteryConfig{ADC: "3", Ratio: 2}, files: iio(map[string]string{
			"iio:device0/name": "temp", "iio:device0/in_temp_raw": "5",
			"iio:device10/name": "ads1015", "iio:device10/in_voltage3_raw": "900", "iio:device10/in_voltage3_scale": "2.000000000"}),
			want: Battery{Known: true, Percent: 50, Volts: 3.6, Source: "iio:device10 voltage3"}},
		{name: "the lower number first, and a scale for all", cfg: BatteryConfig{ADC: "voltage0", Full: 2, Empty: 1}, files: iio(map[string]string{
			"iio:device2/in_voltage0_raw": "100", "iio:device2/in_voltage_scale": "10", "iio:device2/in_voltage0_offset": "25",
			"iio:device10/in_voltage0_raw": "900"}),
			want: Battery{Known: true, Percent: 25, Volts: 1.25, Source: "iio:device2 voltage0"}},
		{name: "by the converter's name", cfg: BatteryConfig{ADC: "mcp3008/in_voltage1", Full: 2, Empty: 1}, files: iio(map[string]string{
			"iio:device0/name": "other", "iio:device0/in_voltage1_raw": "1",
			"iio:device1/name": "mcp3008", "iio:device1/in_voltage1_input": "1500"}),
			want: Battery{Known: true, Percent: 50, Volts: 1.5, Source: "iio:device1 voltage1"}},
		{name: "raw as the reference updater has it", cfg: BatteryConfig{ADC: "iio:device0/0", Ratio: 2}, files: iio(map[string]string{
			"iio:device0/in_voltage0_raw": "39718"}), // 2.0 V
			want: Battery{Known: true, Percent: 83.33, Volts: 4.0, Source: "iio:device0 voltage0"}},
		{name: "two inputs against each other", cfg: BatteryConfig{ADC: "0-voltage1"}, files: iio(map[string]string{
			"iio:device0/in_voltage0-voltage1_raw": "-5", "iio:device0/in_voltage-voltage_scale": "1", "iio:device0/in_voltage_scale": "-1000"}),
			want: Battery{Known: true, Percent: 0, Source: "iio:device0 voltage0-voltage1"}},
		{name: "below empty", cfg: BatteryConfig{ADC: "0"}, files: iio(map[string]string{"iio:device0/in_voltage0_raw": "100"}),
			want: Battery{Known: true, Volts: 0.005, Source: "iio:device0 voltage0"}},
		{name: "no such channel", cfg: BatteryConfig{ADC: "7"}, files: iio(map[string]string{"iio:device0/in_voltage0_raw": "100"}),
			want: Battery{Source: "ADC channel 7"}, err: "no converter has this channel"},
		{name: "more than 16 bits without a scale", cfg: BatteryConfig{ADC: "0"}, files: iio(map[string]string{"iio:device0/in_voltage0_raw": "65536"}),
			want: Battery{Source: "iio:device0 voltage0"}, err: "no sensible value"},
		{name: "a scale that is none", cfg: BatteryConfig{ADC: "0"}, files: iio(map[string]string{"iio:device0/in_voltage0_raw": "100", "iio:device0/in_voltage_scale": "NaN"}),
			want: Battery{Source: "iio:device0 voltage0"}, err: "no sensible value"},
		{name: "an offset that is none", cfg: BatteryConfig{ADC: "0"}, files: iio(map[string]string{"iio:device0/in_voltage0_raw": "100", "iio:device0/in_voltage_scale": "1", "iio:device0/in_voltage0_offset": "x"}),
			want: Battery{Source: "iio:device0 voltage0"}, err: "no sensible value"},
		{name: "beyond all volts", cfg: BatteryConfig{ADC: "0"}, files: iio(map[string]string{"iio:device0/in_voltage0_raw": "9223372036854775807", "iio:device0/in_voltage_scale": "1e300"}),
			want: Battery{Source: "iio:device0 voltage0"}, err: "no sensible value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := fake(t, c.files).open(Config{Battery: c.cfg})
			got, err := b.Battery()
			near := func(x, y float64) bool { return math.Abs(x-y) < 0.01 }
			if !near(got.Percent, c.want.Percent) || !near(got.Volts, c.want.Volts) {
				t.Errorf("%.3f%%, %.3f V, want %.3f%%, %.3f V", got.Percent, got.Volts, c.want.Percent, c.want.Volts)
			}
			got.Percent, got.Volts, c.want.Percent, c.want.Volts = 0, 0, 0, 0
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if err != nil && godwit.CodeOf(err) != godwit.CodeFailed {
				t.Errorf("code %s", godwit.CodeOf(err))
			}
			if s := b.String(); strings.Count(s, "\n") != len(b.Describe()) {
				t.Errorf("not a line for each part: %q", s)
			}
		})
	}
}

// What is no file at all, or cannot be read, is as harmless as rubbish.
func TestBatteryOfBrokenFiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(path string) error
	}{
		{"a folder", func(p string) error { return os.Mkdir(p, 0o755) }},
		{"a link to nowhere", func(p string) error { return os.Symlink("nowhere", p) }},
		{"a link to itself", func(p string) error { return os.Symlink(p, p) }},
		{"a file without end", func(p string) error { return os.Symlink("/dev/zero", p) }},
		{"a pipe that nobody writes to", func(p string) error { return unix.Mkfifo(p, 0o644) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fake(t, supplies(map[string]string{"b/type": "Battery"}))
			for _, attr := range []string{"capacity", "voltage_now", "status", "charge_now", "charge_full"} {
				if err := c.damage(d.path("sys/class/power_supply/b/" + attr)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := d.open(Config{}).Battery()
			if err == nil || got != (Battery{Source: "power_supply b"}) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestConfigThatMakesNoSense(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"a path for a battery", Config{Battery: BatteryConfig{Supply: "../../etc"}}},
		{"a path for a channel", Config{Battery: BatteryConfig{ADC: "a/b/0"}}},
		{"a channel without a number", Config{Battery: BatteryConfig{ADC: "voltage"}}},
		{"a converter without a channel", Config{Battery: BatteryConfig{ADC: "ads1015/"}}},
		{"a channel beside", Config{Battery: BatteryConfig{ADC: "/3"}}},
		{"a channel above", Config{Battery: BatteryConfig{ADC: "../3"}}},
		{"a negative ratio", Config{Battery: BatteryConfig{Ratio: -1}}},
		{"no ratio", Config{Battery: BatteryConfig{Ratio: math.NaN()}}},
		{"full is empty", Config{Battery: BatteryConfig{Full: 3, Empty: 3}}},
		{"full below the default of empty", Config{Battery: BatteryConfig{Full: 2}}},
		{"negative volts", Config{Battery: BatteryConfig{Empty: -2}}},
		{"a path for an LED", Config{LED: "a/b"}},
		{"above the LEDs", Config{LED: ".."}},
		{"a path for a watchdog", Config{Watchdog: WatchdogConfig{Device: "/dev/watchdog"}}},
		{"a negative timeout", Config{Watchdog: WatchdogConfig{Timeout: -1}}},
		{"a timeout of days", Config{Watchdog: WatchdogConfig{Timeout: 1e15}}},
		{"a negative limit", Config{Watchdog: WatchdogConfig{Limit: -1}}},
	} {
		if _, err := Open(c.cfg); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
