//go:build linux

// Package board is the hardware of a Linux device: its battery, its status LED,
// its watchdog, its memory, storage, clock and temperature, why it last started,
// and how to restart it. What follows from any of that, whether to update on a
// weak battery for example, is the business of others.
//
// Invariant: hardware that is missing, broken or talks nonsense is never more
// than an error value or a fact that is not known; and nothing is changed on the
// device before it is asked for: Open only looks.
//
// All of it is files below /sys, /proc and /dev, as documented in the kernel's
// Documentation/ABI and named where they are read.
package board

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// Config says what the hardware is and where. The zero value finds what it can
// by itself: a battery, but no LED and no watchdog, which are only touched when
// they are named.
type Config struct {
	Sys  string // "" means /sys
	Proc string // "" means /proc
	Dev  string // "" means /dev
	Run  string // "" means /run
	Lib  string // "" means /var/lib

	Battery  BatteryConfig
	LED      string // a name in /sys/class/leds, such as "ACT"; "" means none
	Watchdog WatchdogConfig
	Storage  string // the folder whose file system Facts looks at; "" means "/"

	// Getenv gives NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, by which systemd
	// speaks to a service; nil means os.Getenv.
	Getenv func(string) string
	// Report takes what goes wrong in the background, with the LED or with
	// feeding the watchdog: each kind once, not at every try. It is called from
	// other goroutines and must not call Close. nil means that nobody wants to know.
	Report func(error)
	// Restart is what Reset(Soft) calls: the application's own way to begin
	// again. nil means that there is nothing to do.
	Restart func() error
	// Reboot is what Reset(Hard) calls, after everything is synced, instead of
	// the system's own way.
	Reboot func() error
}

// A Board is the hardware of this device. Its methods may be called from any
// goroutine.
type Board struct {
	cfg     Config
	adc     channel
	led     *LED
	systemd *Systemd

	// What cannot be had below a folder; tests put their own here.
	adjtimex func() (status int32, err error)
	sync     func()
	restart  func() error
	run      func(name string, args ...string) error

	lastReset func() LastReset // found once: it does not change

	mu     sync.Mutex
	feeder *Feeder
}

// Open looks at the hardware that cfg describes. It changes nothing and starts
// nothing, and hardware that is not there is no error; only a cfg that makes no
// sense is, with godwit.CodeConfig.
func Open(cfg Config) (*Board, error) {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&cfg.Sys, "/sys")
	def(&cfg.Proc, "/proc")
	def(&cfg.Dev, "/dev")
	def(&cfg.Run, "/run")
	def(&cfg.Lib, "/var/lib")
	def(&cfg.Storage, "/")
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	if cfg.Report == nil {
		cfg.Report = func(error) {}
	}
	b := &Board{cfg: cfg, sync: unix.Sync, restart: restartNow, run: runProgram}
	b.adjtimex = func() (int32, error) {
		var t unix.Timex
		_, err := unix.Adjtimex(&t)
		return t.Status, err
	}
	var err error
	if b.cfg.Battery, b.adc, err = cfg.Battery.check(); err != nil {
		return nil, err
	}
	if b.cfg.Watchdog, err = cfg.Watchdog.check(); err != nil {
		return nil, err
	}
	if cfg.LED != "" {
		if !plainName(cfg.LED) {
			return nil, badName("the LED", cfg.LED)
		}
		b.led = newLED(b.sys("class", "leds", cfg.LED), cfg.LED, cfg.Report)
	}
	b.systemd = newSystemd(cfg.Getenv)
	b.lastReset = sync.OnceValue(b.findLastReset)
	return b, nil
}

// Close gives back what was taken: the LED gets the trigger it had, and the
// watchdog is disarmed. Further calls do nothing.
func (b *Board) Close() error {
	err := b.led.Close()
	b.mu.Lock()
	f := b.feeder
	b.feeder = nil
	b.mu.Unlock()
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// LED is the status LED. It is nil where none is configured, and a nil LED can
// be used like any other.
func (b *Board) LED() *LED { return b.led }

// Systemd is the service manager that started this process. It is never nil,
// and says nothing to nobody where there is none.
func (b *Board) Systemd() *Systemd { return b.systemd }

func (b *Board) sys(parts ...string) string  { return below(b.cfg.Sys, parts) }
func (b *Board) proc(parts ...string) string { return below(b.cfg.Proc, parts) }
func (b *Board) dev(parts ...string) string  { return below(b.cfg.Dev, parts) }

func below(root string, parts []string) string {
	return filepath.Join(append([]string{root}, parts...)...)
}

func badName(what, name string) error {
	return godwit.Fail(godwit.CodeConfig, nil, what+" cannot be called "+strconv.Quote(name),
		"give the name as it stands in the folder of /sys, without a path")
}

// A Part is a piece of hardware for people to read about.
type Part struct {
	Name string // "battery", "led", "watchdog", …
	Text string // where it is and what it says; "none" where there is none
}

// Describe lists what was found and where, always the same parts in the same
// order.
func (b *Board) Describe() []Part {
	f := b.Facts()
	model := f.Model
	if model == "" {
		model = "unknown"
	}
	return []Part{
		{"board", model},
		{"battery", b.describeBattery(f)},
		{"led", b.led.describe()},
		{"watchdog", b.describeWatchdog()},
		{"systemd", b.systemd.describe()},
		{"memory", f.describeMemory()},
		{"storage", f.describeStorage()},
		{"cpu", f.describeCPU()},
		{"clock", f.describeClock()},
		{"up", f.Uptime.Round(time.Second).String()},
		{"last reset", f.LastReset.String()},
	}
}

// String is Describe, a line for each part.
func (b *Board) String() string {
	var s strings.Builder
	for _, p := range b.Describe() {
		s.WriteString(p.Name)
		for i := len(p.Name); i < 12; i++ {
			s.WriteByte(' ')
		}
		s.WriteString(p.Text)
		s.WriteByte('\n')
	}
	return s.String()
}
