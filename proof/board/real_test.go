// Package board_test tries package board on the interfaces of a running kernel
// instead of on folders that look like them. It changes the LED, arms the
// watchdog and, when asked to, resets the machine, so nothing of it runs unless
// GODWIT_BOARD says so:
//
//	real      everything that leaves the machine running
//	bite      hang with the watchdog armed: the machine must reset
//	bitten    after that: the watchdog must be known as the cause
//	panicked  after a crash of the kernel: likewise
//	reboot    Reset(Hard)
//	service   as a service of systemd: see service_test.go
//
// What is not there is skipped. docs/board.md says how to run it in a virtual
// machine.
package board_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/board"
	"golang.org/x/sys/unix"
)

func want(t *testing.T, mode string) {
	t.Helper()
	if os.Getenv("GODWIT_BOARD") != mode {
		t.Skip("only with GODWIT_BOARD=" + mode)
	}
}

// text is the content of a file, without white space around it; "" without it.
func text(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

func number(t *testing.T, path string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text(path), 64)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func open(t *testing.T, cfg board.Config) *board.Board {
	t.Helper()
	if cfg.Report == nil {
		cfg.Report = func(err error) { t.Errorf("reported: %v", err) }
	}
	b, err := board.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestFacts(t *testing.T) {
	want(t, "real")
	b := open(t, board.Config{})
	t.Logf("\n%s", b)
	f := b.Facts()
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		t.Fatal(err)
	}
	if total := int64(s.Totalram) * int64(s.Unit); f.MemTotal != total && f.MemTotal > total {
		t.Errorf("%d bytes of memory, the kernel says %d", f.MemTotal, total)
	}
	if f.MemFree <= 0 || f.MemFree > f.MemTotal {
		t.Errorf("%d bytes free of %d", f.MemFree, f.MemTotal)
	}
	if up := time.Duration(s.Uptime) * time.Second; f.Uptime < up-2*time.Second || f.Uptime > up+2*time.Second {
		t.Errorf("up for %v, the kernel says %v", f.Uptime, up)
	}
	if f.BootID == "" || f.BootID != text("/proc/sys/kernel/random/boot_id") {
		t.Errorf("boot id %q", f.BootID)
	}
	if f.StorageFree < 0 || f.StorageTotal <= 0 {
		t.Errorf("%d bytes free of %d", f.StorageFree, f.StorageTotal)
	}
	if zone := text("/sys/class/thermal/thermal_zone0/temp"); zone != "" && !f.TemperatureKnown {
		t.Errorf("no temperature, with %s in a thermal zone", zone)
	}
}

// The kernel is told that somebody holds the clock, as NTP would tell it.
func TestClock(t *testing.T) {
	want(t, "real")
	b := open(t, board.Config{})
	var before unix.Timex
	if _, err := unix.Adjtimex(&before); err != nil {
		t.Fatal(err)
	}
	set := func(x unix.Timex, status int32) {
		x.Modes, x.Status = unix.ADJ_STATUS|unix.ADJ_MAXERROR, status
		if _, err := unix.Adjtimex(&x); err != nil {
			t.Skip("the clock cannot be set: ", err)
		}
	}
	defer set(before, before.Status)
	for _, c := range []struct {
		status int32
		want   bool
	}{{unix.STA_UNSYNC, false}, {0, true}, {unix.STA_UNSYNC, false}} {
		set(unix.Timex{}, c.status)
		if got := b.Facts().ClockSynced; got != c.want {
			t.Errorf("status %d: synced %v", c.status, got)
		}
	}
}

// A service with MemoryMax= has less memory than the machine.
func TestMemoryOfAControlGroup(t *testing.T) {
	want(t, "real")
	const top, limit = "/sys/fs/cgroup", 300 << 20
	dir := filepath.Join(top, "godwit-board")
	own := strings.TrimPrefix(text("/proc/self/cgroup"), "0::")
	put := func(path, value string) {
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			t.Skip("no control groups: ", err)
		}
	}
	put(top+"/cgroup.subtree_control", "+memory")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no control groups: ", err)
	}
	defer os.Remove(dir)
	put(dir+"/memory.max", strconv.Itoa(limit))
	b := open(t, board.Config{})
	before := b.Facts()
	put(dir+"/cgroup.procs", strconv.Itoa(os.Getpid()))
	f := b.Facts()
	put(filepath.Join(top, own, "cgroup.procs"), strconv.Itoa(os.Getpid()))
	if f.MemTotal != min(limit, before.MemTotal) || f.MemFree > limit || f.MemFree < limit/2 {
		t.Errorf("%d free of %d with a limit of %d; before: %d of %d", f.MemFree, f.MemTotal, limit, before.MemFree, before.MemTotal)
	}
	if f := b.Facts(); f.MemTotal != before.MemTotal {
		t.Errorf("%d bytes of memory outside the group", f.MemTotal)
	}
}

func TestBattery(t *testing.T) {
	want(t, "real")
	b := open(t, board.Config{})
	r, err := b.Battery()
	t.Logf("%+v, %v", r, err)
	if r.Source == "" {
		t.Skip("no battery")
	}
	dir := "/sys/class/" + strings.ReplaceAll(r.Source, " ", "/")
	if err != nil || r.Percent != number(t, dir+"/capacity") || math.Abs(r.Volts-number(t, dir+"/voltage_now")/1e6) > 0.01 {
		t.Errorf("%+v, %v", r, err)
	}
	if r.Charging != (text(dir+"/status") == "Charging") {
		t.Errorf("charging %v, %s", r.Charging, text(dir+"/status"))
	}
	mains, _ := filepath.Glob("/sys/class/power_supply/*/online")
	for _, m := range mains {
		if text(m) == "1" && !r.External {
			t.Errorf("%s is 1, and the power does not come from outside", m)
		}
	}
}

func TestConverter(t *testing.T) {
	want(t, "real")
	raws, _ := filepath.Glob("/sys/bus/iio/devices/iio:device*/in_voltage?_raw")
	if len(raws) == 0 {
		t.Skip("no converter")
	}
	for _, raw := range raws {
		dir, input := filepath.Dir(raw), strings.TrimSuffix(strings.TrimPrefix(filepath.Base(raw), "in_voltage"), "_raw")
		scale := text(dir + "/in_voltage" + input + "_scale")
		if scale == "" {
			scale = text(dir + "/in_voltage_scale")
		}
		mv, err := strconv.ParseFloat(scale, 64)
		if err != nil {
			t.Logf("%s has the scale %q", dir, scale)
			continue
		}
		volts := number(t, raw) * mv / 1000 * 3
		for _, name := range []string{filepath.Base(dir) + "/" + input, text(dir+"/name") + "/voltage" + input} {
			b := open(t, board.Config{Battery: board.BatteryConfig{ADC: name, Ratio: 3, Full: volts + 1, Empty: max(volts-1, 0.001)}})
			r, err := b.Battery()
			t.Logf("%s: %+v, %v", name, r, err)
			if err != nil || !r.Known || math.Abs(r.Volts-volts) > 0.05 || volts >= 1 && math.Abs(r.Percent-50) > 3 {
				t.Errorf("%s: %+v, %v; want %.3f V, 50%%", name, r, err, volts)
			}
		}
	}
}

func TestLED(t *testing.T) {
	want(t, "real")
	leds, _ := filepath.Glob("/sys/class/leds/*/brightness")
	if len(leds) == 0 {
		t.Skip("no LED")
	}
	for _, brightness := range leds {
		dir := filepath.Dir(brightness)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			trigger, before := text(dir+"/trigger"), text(brightness)
			b := open(t, board.Config{LED: filepath.Base(dir)})
			on := func() bool { return text(brightness) == text(dir+"/max_brightness") }
			for _, c := range []struct {
				p      board.Pattern
				blinks int
				lit    time.Duration
			}{{board.Success, 3, 300 * time.Millisecond}, {board.Failure, 1, 500 * time.Millisecond}, {board.File, 1, 100 * time.Millisecond}} {
				blinks, last, lit, gap := 0, false, time.Duration(0), time.Duration(0)
				b.LED().Show(c.p)
				for start, at := time.Now(), time.Now(); time.Since(start) < 1500*time.Millisecond; {
					time.Sleep(5 * time.Millisecond)
					now := on()
					if now && !last {
						blinks++
					}
					if last {
						lit += time.Since(at)
					}
					gap = max(gap, time.Since(at))
					last, at = now, time.Now()
				}
				// A slow machine looks away for a while, at each change.
				slack := 50*time.Millisecond + time.Duration(c.blinks)*gap
				t.Logf("%v: %d blinks, lit for %v; looked every %v or sooner", c.p, blinks, lit.Round(time.Millisecond), gap.Round(time.Millisecond))
				if blinks != c.blinks || lit < c.lit-slack || lit > c.lit+slack {
					t.Errorf("%v: %d blinks, lit for %v; want %d, %v", c.p, blinks, lit, c.blinks, c.lit)
				}
			}
			b.LED().Show(board.Connected)
			time.Sleep(100 * time.Millisecond)
			if !on() || !strings.Contains(text(dir+"/trigger"), "[none]") {
				t.Errorf("brightness %s, trigger %s", text(brightness), text(dir+"/trigger"))
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if text(dir+"/trigger") != trigger || text(brightness) != before {
				t.Errorf("given back with brightness %s and trigger %s, it had %s and %s", text(brightness), text(dir+"/trigger"), before, trigger)
			}
		})
	}
}

// dog is the watchdog behind /dev/watchdog.
const dog = "/sys/class/watchdog/watchdog0/"

func TestWatchdog(t *testing.T) {
	want(t, "real")
	if text(dog+"identity") == "" {
		t.Skip("no watchdog")
	}
	cfg := board.Config{Watchdog: board.WatchdogConfig{Timeout: 3500 * time.Millisecond, Limit: 6 * time.Second}}
	b := open(t, cfg)
	t.Log(text(dog+"identity"), text(dog+"state"), text(dog+"timeout"))
	if text(dog+"state") != "inactive" {
		t.Skip("somebody feeds it")
	}
	_, _ = b.Facts(), b.Describe()
	if text(dog+"state") != "inactive" {
		t.Fatal("armed by looking at it")
	}
	f, err := b.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Timeout() < 4*time.Second || strconv.Itoa(int(f.Timeout()/time.Second)) != text(dog+"timeout") || text(dog+"state") != "active" {
		t.Errorf("%v, the kernel says %s s, %s", f.Timeout(), text(dog+"timeout"), text(dog+"state"))
	}
	if f2, err := open(t, cfg).Watch(); err == nil {
		f2.Close()
		t.Error("armed twice")
	} else {
		t.Log(err)
	}
	// A step with progress that is longer than the timeout and the limit, and one
	// without that was expected.
	for range 8 {
		time.Sleep(1500 * time.Millisecond)
		f.Alive()
	}
	done := f.Expect(15 * time.Second)
	time.Sleep(13 * time.Second)
	done()
	if left := text(dog + "timeleft"); left != "" {
		t.Log("time left:", left)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if text(dog+"state") != "inactive" && text(dog+"nowayout") != "1" {
		t.Error("not disarmed")
	}
	time.Sleep(f.Timeout() + 3*time.Second) // a watchdog that was not disarmed would bite
}

// The machine must be gone before this test can fail.
func TestBite(t *testing.T) {
	want(t, "bite")
	b := open(t, board.Config{Watchdog: board.WatchdogConfig{Timeout: 5 * time.Second, Limit: 5 * time.Second},
		Report: func(err error) { fmt.Println("reported:", err) }})
	f, err := b.Watch()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for time.Since(start) < 20*time.Second { // longer than limit and timeout: all is well
		time.Sleep(time.Second)
		f.Alive()
	}
	fmt.Println("hangs now; must reset within", 5*time.Second+f.Timeout())
	start = time.Now()
	for time.Since(start) < 30*time.Second {
		fmt.Println("hanging for", time.Since(start).Round(time.Second))
		time.Sleep(time.Second)
	}
	t.Error("nothing happened")
}

func TestBitten(t *testing.T) {
	want(t, "bitten")
	r := open(t, board.Config{}).LastReset()
	t.Log(r)
	if r.Cause != board.Watchdog {
		t.Errorf("bootstatus is %q", text(dog+"bootstatus"))
	}
}

func TestPanicked(t *testing.T) {
	want(t, "panicked")
	r := open(t, board.Config{}).LastReset()
	t.Log(r)
	if r.Cause != board.Panic {
		t.Error("not known")
	}
}

func TestReboot(t *testing.T) {
	want(t, "reboot")
	if err := open(t, board.Config{}).Reset(board.Hard); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	t.Error("nothing happened")
}
