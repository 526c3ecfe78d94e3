package board

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

const pi = "MemTotal:         948308 kB\nMemFree:          100000 kB\nMemAvailable:     600000 kB\nBuffers:           20000 kB\nCached:           300000 kB\nSwapTotal:  0 kB\n"

func TestFacts(t *testing.T) {
	c0 := "sys/devices/system/cpu/"
	d := fake(t, map[string]string{
		"proc/meminfo":                           pi,
		"proc/uptime":                            "3661.25 7000.00\n",
		"proc/sys/kernel/random/boot_id":         "88e201fe-5473-4968-af51-b1498d50e77d\n",
		"proc/device-tree/model":                 "Raspberry Pi Zero 2 W Rev 1.0\x00",
		"proc/cpuinfo":                           "processor\t: 0\ncpu MHz\t\t: 5000\n",
		c0 + "online":                            "0-1\n",
		c0 + "cpu0/cpufreq/cpuinfo_max_freq":     "600000\n",
		c0 + "cpu1/cpufreq/cpuinfo_max_freq":     "1000000\n",
		c0 + "cpu1/cpufreq/scaling_cur_freq":     "2000000\n",
		"sys/class/thermal/thermal_zone0/temp":   "48312\n",
		"sys/class/thermal/thermal_zone1/temp":   "51000\n",
		"sys/class/thermal/thermal_zone2/temp":   "-274000\n",
		"sys/class/thermal/cooling_device0/temp": "99000\n",
		"sys/class/rtc/rtc0/hctosys":             "1\n",
	})
	b := d.open(Config{Storage: d.top})
	b.adjtimex = func() (int32, error) { return unix.STA_PLL, nil }
	f := b.Facts()
	if f.StorageFree <= 0 || f.StorageFree > f.StorageTotal {
		t.Errorf("storage %d of %d", f.StorageFree, f.StorageTotal)
	}
	f.StorageFree, f.StorageTotal = 0, 0
	want := Facts{Model: "Raspberry Pi Zero 2 W Rev 1.0", MemFree: 600000 << 10, MemTotal: 948308 << 10, CPUMHz: 1000,
		Temperature: 51, TemperatureKnown: true, Uptime: 3661250 * time.Millisecond, BootID: "88e201fe-5473-4968-af51-b1498d50e77d",
		ClockSynced: true, ClockFromRTC: true}
	if f != want {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
	for _, line := range []string{"board       Raspberry Pi Zero 2 W Rev 1.0", "battery     none", "led         none", "watchdog    none",
		"memory      585 MiB free of 926 MiB", "cpu         1000 MHz, 51.0 °C", "clock       synchronized", "up          1h1m1s", "last reset  unknown"} {
		if s := b.String(); !strings.Contains(s, line+"\n") {
			t.Errorf("%s\nlacks %q", s, line)
		}
	}
}

func TestFactsOfNothing(t *testing.T) {
	b := fake(t, nil).open(Config{Storage: "/nothing/here"})
	b.adjtimex = func() (int32, error) { return 0, unix.EPERM }
	if f := b.Facts(); f != (Facts{}) {
		t.Errorf("%+v", f)
	}
	b.adjtimex = func() (int32, error) { return unix.STA_UNSYNC, nil }
	if f := b.Facts(); f.ClockSynced {
		t.Error("a clock that nobody holds")
	}
	if s := b.String(); !strings.Contains(s, "memory      unknown\nstorage     unknown\ncpu         unknown clock\nclock       not synchronized\n") {
		t.Error(s)
	}
}

// No file may do more harm than not to be known.
func TestFactsOfRubbish(t *testing.T) {
	files := []string{"proc/meminfo", "proc/uptime", "proc/sys/kernel/random/boot_id", "proc/device-tree/model", "proc/cpuinfo", "proc/self/cgroup",
		"proc/device-tree/cpus/cpu@0/clock-frequency", "proc/device-tree/chosen/bootloader/rsts",
		"sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "sys/class/thermal/thermal_zone0/temp", "sys/class/rtc/rtc0/hctosys",
		"sys/class/watchdog/watchdog0/bootstatus", "sys/devices/platform/rstc/power_on_reason", "sys/class/power_supply/b/type",
		"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat"}
	for _, rubbish := range []string{"", "\n", "\x00", "-1", "99999999999999999999999999999999", "\xff\xfe\xfd", "NaN", "1e400", "MemTotal: 99999999999999999 kB\nMemAvailable: -5 kB\n",
		"0::/../../../../etc\n", "0::/" + strings.Repeat("a/", 5000), strings.Repeat("x", 300<<10)} {
		d := fake(t, nil)
		for _, f := range files {
			d.put(f, rubbish)
		}
		b := d.open(Config{})
		f := b.Facts()
		if f.MemFree < 0 || f.MemTotal < 0 || f.CPUMHz < 0 || f.Uptime < 0 || f.Temperature < -1 || f.Temperature > 1 || f.Battery.Known || f.LastReset.Cause != Unknown {
			t.Errorf("%.40q makes %+v", rubbish, f)
		}
		if s := b.String(); strings.Count(s, "\n") != len(b.Describe()) || strings.ContainsAny(s, "\x00\x1b") {
			t.Errorf("%.40q makes %q", rubbish, s)
		}
	}
}

func TestMemory(t *testing.T) {
	const M = 1 << 20
	g := "sys/fs/cgroup/"
	for _, c := range []struct {
		name        string
		files       map[string]string
		free, total int64
	}{
		{"of the machine", nil, 600000 << 10, 948308 << 10},
		{"an old kernel", map[string]string{"proc/meminfo": strings.ReplaceAll(pi, "MemAvailable", "Mem")}, 420000 << 10, 948308 << 10},
		{"the group's limit", map[string]string{"proc/self/cgroup": "0::/system.slice/godwit.service\n",
			g + "system.slice/godwit.service/memory.max": "67108864\n", g + "system.slice/godwit.service/memory.current": "33554432\n"}, 32 * M, 64 * M},
		{"files in the group's memory can go", map[string]string{"proc/self/cgroup": "12:pids:/x\n0::/a\n",
			g + "a/memory.max": "67108864\n", g + "a/memory.current": "67108864\n", g + "a/memory.stat": "anon 1\ninactive_file 16777216\nactive_file 5\n"}, 16 * M, 64 * M},
		{"a limit further up", map[string]string{"proc/self/cgroup": "0::/a/b\n", g + "a/b/memory.max": "max\n", g + "a/b/memory.current": "1\n",
			g + "a/memory.max": "33554432\n", g + "a/memory.current": "1048576\n"}, 31 * M, 32 * M},
		{"a limit of what looks like the root", map[string]string{"proc/self/cgroup": "0::/\n", g + "memory.max": "33554432\n", g + "memory.current": "1048576\n"}, 31 * M, 32 * M},
		{"over the limit", map[string]string{"proc/self/cgroup": "0::/\n", g + "memory.max": "1048576\n", g + "memory.current": "33554432\n"}, 0, M},
		{"a limit above what there is", map[string]string{"proc/self/cgroup": "0::/\n", g + "memory.max": "99999999999\n", g + "memory.current": "1\n"}, 600000 << 10, 948308 << 10},
		{"a group outside", map[string]string{"proc/self/cgroup": "0::/../a\n", g + "memory.max": "1\n", g + "memory.current": "1\n"}, 600000 << 10, 948308 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fake(t, map[string]string{"proc/meminfo": pi})
			for name, v := range c.files {
				d.put(name, v)
			}
			free, total := d.open(Config{}).memory()
			if free != c.free || total != c.total {
				t.Errorf("%d of %d, want %d of %d", free, total, c.free, c.total)
			}
		})
	}
}

func TestClockRate(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int
	}{
		{"a PC", map[string]string{"proc/cpuinfo": "cpu MHz\t\t: 2445.426\nbogomips : 9\n\ncpu MHz\t\t: 2445.526\n"}, 2446},
		{"a device tree", map[string]string{"proc/device-tree/cpus/cpu@0/clock-frequency": "\x23\xc3\x46\x00", "proc/device-tree/cpus/#size-cells": "\x00\x00\x00\x00"}, 600},
		{"in eight bytes", map[string]string{"proc/device-tree/cpus/cpu@0/clock-frequency": "\x00\x00\x00\x00\x23\xc3\x46\x00"}, 600},
		{"in three", map[string]string{"proc/device-tree/cpus/cpu@0/clock-frequency": "\x00\x00\x00"}, 0},
	} {
		if got := fake(t, c.files).open(Config{}).cpuMHz(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	f := Facts{MemFree: 5 << 20, MemTotal: 64 << 20, StorageFree: 100 << 20, StorageTotal: 200 << 20, CPUMHz: 600}
	for _, c := range []struct {
		name string
		n    Needs
		f    Facts
		code godwit.Code
		text string
	}{
		{"nothing", Needs{}, Facts{}, "", ""},
		{"all met", Needs{5 << 20, 100 << 20, 600}, f, "", ""},
		{"nothing known", Needs{1 << 40, 1 << 40, 9000}, Facts{}, "", ""},
		{"memory", Needs{MemFree: 64 << 20}, f, godwit.CodeLimit, "this device has 5120 KiB of free memory, and at least 64 MiB are asked for"},
		{"storage", Needs{StorageFree: 20 << 30}, f, godwit.CodeDiskFull, "this device has 100 MiB of free storage, and at least 20 GiB are asked for"},
		{"clock", Needs{CPUMHz: 700}, f, godwit.CodeLimit, "this device has 600 MHz of clock rate, and at least 700 MHz are asked for"},
	} {
		err := c.n.Check(c.f)
		if godwit.CodeOf(err) != c.code || err != nil && err.Error() != c.text {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLastReset(t *testing.T) {
	w := "sys/class/watchdog/"
	panicLog := "Panic#1 Part1\n<4>[  1.0] something\n<0>[   71.5] Kernel panic - not syncing: sysrq triggered crash\n<4>[ 71.5] CPU: 0\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nobody knows", map[string]string{w + "watchdog0/bootstatus": "0\n", "sys/fs/pstore/": ""}, "unknown"},
		{"the watchdog", map[string]string{w + "watchdog0/bootstatus": "0\n", w + "watchdog1/bootstatus": "32\n"},
			"watchdog: the watchdog was not fed in time (class/watchdog/watchdog1)"},
		{"low voltage", map[string]string{w + "watchdog0/bootstatus": "16\n"}, "power: the voltage was too low (class/watchdog/watchdog0)"},
		{"heat", map[string]string{w + "watchdog0/bootstatus": "1\n"}, "hardware: it was too hot (class/watchdog/watchdog0)"},
		{"a card that only says what it can", map[string]string{w + "watchdog0/bootstatus": "32768\n"}, "unknown"},
		{"a crash before the watchdog that ended it", map[string]string{w + "watchdog0/bootstatus": "32\n", "sys/fs/pstore/dmesg-ramoops-0": panicLog},
			"panic: the kernel left a crash log: Kernel panic - not syncing: sysrq triggered crash (fs/pstore/dmesg-ramoops-0)"},
		{"a crash log that cannot be understood", map[string]string{"sys/fs/pstore/dmesg-efi-1.enc.z": "\x78\x9c\x00"}, "panic: the kernel left a crash log (fs/pstore/dmesg-efi-1.enc.z)"},
		{"a crash log that systemd put away", map[string]string{"lib/systemd/pstore/dmesg.txt": panicLog, "lib/systemd/pstore/17/001/dmesg-efi-170001": "Oops#1 Part1\n<1>BUG: kernel NULL pointer\n"},
			"panic: the kernel left a crash log: BUG: kernel NULL pointer (systemd/pstore/17/001/dmesg-efi-170001)"},
		{"the log of a shutdown", map[string]string{"sys/fs/pstore/dmesg-ramoops-0": "Shutdown#1 Part1\nreboot: Restarting system\n"}, "unknown"},
		{"other logs", map[string]string{"sys/fs/pstore/console-ramoops-0": "Kernel panic"}, "unknown"},
		{"a reset controller", map[string]string{"sys/devices/platform/ahb/ahb:apb/fffffe00.rstc/power_on_reason": "brown-out reset\n", "sys/devices/platform/ahb/uevent": "x"},
			"power: brown-out reset (devices/platform/ahb/ahb:apb/fffffe00.rstc/power_on_reason)"},
		{"its software", map[string]string{"sys/devices/platform/rstc/power_on_reason": "software reset\n"}, "restart: software reset (devices/platform/rstc/power_on_reason)"},
		{"its silence", map[string]string{"sys/devices/platform/rstc/power_on_reason": "unknown reset\n"}, "unknown: unknown reset (devices/platform/rstc/power_on_reason)"},
		{"a Raspberry Pi switched on", map[string]string{"proc/device-tree/chosen/bootloader/rsts": "\x00\x00\x10\x00"},
			"power: it was switched on (device-tree/chosen/bootloader/rsts)"},
		{"a Raspberry Pi restarted", map[string]string{"proc/device-tree/chosen/bootloader/rsts": "\x00\x00\x00\x20"},
			"unknown: it was restarted, by software or by the watchdog (device-tree/chosen/bootloader/rsts)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fake(t, c.files).open(Config{}).LastReset().String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A crash log stays until somebody removes it.
func TestOldCrashLogSaysNothingAboutThisBoot(t *testing.T) {
	for _, c := range []struct {
		name string
		age  time.Duration // before the boot
		want Cause
	}{
		{"seconds before", 30 * time.Second, Panic},
		{"days before", 72 * time.Hour, Unknown},
		{"at the boot before this", 20 * time.Minute, Unknown},
		{"by a clock that was not set then", 50 * 365 * 24 * time.Hour, Panic},
		{"by a clock that was not set at boot", -72 * time.Hour, Panic},
	} {
		d := fake(t, map[string]string{"sys/fs/pstore/dmesg-ramoops-0": "Oops#1 Part1\nBUG: x\n", "proc/uptime": "1000.0 1\n"})
		at := time.Now().Add(-1000*time.Second - c.age)
		if err := os.Chtimes(d.path("sys/fs/pstore/dmesg-ramoops-0"), at, at); err != nil {
			t.Fatal(err)
		}
		if got := d.open(Config{}).LastReset().Cause; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestReset(t *testing.T) {
	no := errors.New("no")
	for _, c := range []struct {
		name            string
		mode            Mode
		systemd, own    bool
		systemctl, boot error
		want            string // what is done, in order
		err             string
	}{
		{name: "none", mode: None},
		{name: "soft", mode: Soft, want: "application "},
		{name: "by systemd", mode: Hard, systemd: true, want: "sync systemctl reboot "},
		{name: "without systemd", mode: Hard, want: "sync restart "},
		{name: "systemd does not want to", mode: Hard, systemd: true, systemctl: no, want: "sync systemctl reboot sync restart "},
		{name: "not root", mode: Hard, boot: unix.EPERM, want: "sync restart ", err: "the device cannot be rebooted: operation not permitted"},
		{name: "nobody wants to", mode: Hard, systemd: true, systemctl: no, boot: unix.EPERM, want: "sync systemctl reboot sync restart ", err: "the device cannot be rebooted: no"},
		{name: "another way", mode: Hard, own: true, systemd: true, want: "sync own "},
		{name: "no such way", mode: "warm", err: `there is no reset of the kind "warm"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var did string
			d := fake(t, nil)
			if c.systemd {
				d.put("run/systemd/system/", "")
			}
			cfg := Config{Restart: func() error { did += "application "; return nil }}
			if c.own {
				cfg.Reboot = func() error { did += "own "; return nil }
			}
			b := d.open(cfg)
			b.sync = func() { did += "sync " }
			b.restart = func() error { did += "restart "; return c.boot }
			b.run = func(name string, args ...string) error {
				did += name + " " + strings.Join(args, " ") + " "
				return c.systemctl
			}
			err := b.Reset(c.mode)
			if did != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("did %q, want %q; %v", did, c.want, err)
			}
		})
	}
	if err := fake(t, nil).open(Config{}).Reset(Soft); err != nil {
		t.Error(err)
	}
}
