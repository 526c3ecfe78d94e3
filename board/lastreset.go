//go:build linux

package board

import (
	"encoding/binary"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Cause is why a device started.
type Cause uint8

// The causes.
const (
	Unknown  Cause = iota
	Power          // it had had no power, or too little
	Watchdog       // nobody had fed the watchdog
	Panic          // the kernel crashed
	Restart        // software asked for it
	Button         // somebody pressed reset, or a pin was pulled
	Hardware       // too hot, or a clock that failed
)

func (c Cause) String() string {
	names := [...]string{"unknown", "power", "watchdog", "panic", "restart", "button", "hardware"}
	if int(c) >= len(names) {
		return "unknown"
	}
	return names[c]
}

// A LastReset is why the device last started, as far as it is known.
type LastReset struct {
	Cause  Cause
	Source string // where it says so: a file, without the root of sysfs
	Text   string // what it says there, one sentence without a full stop
}

func (r LastReset) String() string {
	if r.Source == "" {
		return "unknown"
	}
	return r.Cause.String() + ": " + r.Text + " (" + r.Source + ")"
}

// LastReset asks those who may know, the most exact first: crash logs of the
// kernel (Panic), the watchdogs, the reset controller, and the boot loader of
// the Raspberry Pi. Most hardware remembers nothing, and then it is Unknown.
func (b *Board) LastReset() LastReset {
	for _, ask := range []func() (LastReset, bool){b.pstore, b.bootStatus, b.powerOnReason, b.rsts} {
		if r, ok := ask(); ok {
			return r
		}
	}
	return LastReset{}
}

// pstore looks for a log that the kernel wrote when it crashed. Logs stay until
// somebody removes them, so an old one says nothing about this boot: one counts
// that was written within an hour before it, if the clock can tell. (A log that
// systemd-pstore.service has moved away is not seen.)
// Source: Documentation/ABI/testing/pstore, Documentation/admin-guide/ramoops.rst.
func (b *Board) pstore() (LastReset, bool) {
	booted := time.Now().Add(-b.uptime())
	for _, name := range list(b.sys("fs", "pstore")) {
		path := b.sys("fs", "pstore", name)
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(name, "dmesg-") {
			continue
		}
		if age := booted.Sub(info.ModTime()); age > time.Hour && age < 20*365*24*time.Hour {
			continue
		}
		text := "the kernel left a crash log"
		if s, _ := read(path); s != "" {
			first, _, _ := strings.Cut(s, "\n") // "Panic#1 Part1", "Oops#1 Part1"
			kind, _, _ := strings.Cut(first, "#")
			if kind != "Panic" && kind != "Oops" && kind != "" && strings.Contains(first, "#") {
				continue // an orderly shutdown, which some are told to log too
			}
			if c := crash(s); c != "" {
				text += ": " + c
			}
		}
		return LastReset{Panic, "fs/pstore/" + clean(name), text}, true
	}
	return LastReset{}, false
}

// crash is the line of a kernel's log that says what happened.
func crash(log string) string {
	for _, mark := range []string{"Kernel panic", "BUG:", "Oops:", "Unable to handle"} {
		if _, rest, ok := strings.Cut(log, mark); ok {
			line, _, _ := strings.Cut(rest, "\n")
			return clean(mark + line)
		}
	}
	return ""
}

// bootStatus reads what watchdogs say of the last boot, as WDIOC_GETBOOTSTATUS
// does, without opening them.
// Source: Documentation/watchdog/watchdog-api.rst,
// Documentation/ABI/testing/sysfs-class-watchdog.
func (b *Board) bootStatus() (LastReset, bool) {
	for _, name := range list(b.sys("class", "watchdog")) {
		n, err := readInt(b.sys("class", "watchdog", name, "bootstatus"))
		if err != nil || n <= 0 || n > 0xffff {
			continue
		}
		r := LastReset{Source: "class/watchdog/" + clean(name)}
		switch {
		case n&unix.WDIOF_CARDRESET != 0:
			r.Cause, r.Text = Watchdog, "the watchdog was not fed in time"
		case n&unix.WDIOF_POWERUNDER != 0:
			r.Cause, r.Text = Power, "the voltage was too low"
		case n&unix.WDIOF_POWEROVER != 0:
			r.Cause, r.Text = Power, "the voltage was too high"
		case n&unix.WDIOF_OVERHEAT != 0:
			r.Cause, r.Text = Hardware, "it was too hot"
		case n&unix.WDIOF_FANFAULT != 0:
			r.Cause, r.Text = Hardware, "a fan failed"
		case n&(unix.WDIOF_EXTERN1|unix.WDIOF_EXTERN2) != 0:
			r.Cause, r.Text = Button, "a relay outside asked for it"
		default:
			continue
		}
		return r, true
	}
	return LastReset{}, false
}

// powerOnReason reads the words of a reset controller.
// Source: Documentation/ABI/testing/sysfs-platform-power-on-reason.
func (b *Board) powerOnReason() (LastReset, bool) {
	words := []struct {
		word  string
		cause Cause
	}{{"watchdog", Watchdog}, {"brown-out", Power}, {"power", Power}, {"general reset", Power}, {"software", Restart},
		{"user", Button}, {"key", Button}, {"clock", Hardware}, {"crystal", Hardware}, {"thermal", Hardware}}
	top := b.sys("devices", "platform")
	look := func(parts ...string) (LastReset, bool) {
		rel := below("", append(parts, "power_on_reason"))
		s, err := read(below(top, []string{rel}))
		s = clean(s)
		if err != nil || s == "" {
			return LastReset{}, false
		}
		r := LastReset{Unknown, "devices/platform/" + rel, s}
		for _, w := range words {
			if strings.Contains(strings.ToLower(s), w.word) {
				r.Cause = w.cause
				break
			}
		}
		return r, true
	}
	for _, one := range list(top) { // reset controllers sit at most this deep
		if r, ok := look(one); ok {
			return r, true
		}
		for _, two := range list(below(top, []string{one})) {
			if r, ok := look(one, two); ok {
				return r, true
			}
			if !strings.Contains(two, ":") && !strings.Contains(two, ".") {
				continue // an attribute, not a device
			}
			for _, three := range list(below(top, []string{one, two})) {
				if r, ok := look(one, two, three); ok {
					return r, true
				}
			}
		}
	}
	return LastReset{}, false
}

// rsts reads the register that the boot loader of the Raspberry Pi passes on. A
// Raspberry Pi restarts itself by its watchdog, so the register cannot tell a
// restart from a program that hung.
// Source: Raspberry Pi documentation, "Device tree: bootloader properties"; the
// bits are PM_RSTS of BCM2835 (HADPOR, HADWRF).
func (b *Board) rsts() (LastReset, bool) {
	v, err := readBytes(b.proc("device-tree", "chosen", "bootloader", "rsts"))
	if err != nil || len(v) != 4 {
		return LastReset{}, false
	}
	r := LastReset{Source: "device-tree/chosen/bootloader/rsts"}
	switch n := binary.BigEndian.Uint32(v); {
	case n&0x1000 != 0:
		r.Cause, r.Text = Power, "it was switched on"
	case n&0x20 != 0:
		r.Text = "it was restarted, by software or by the watchdog"
	default:
		return LastReset{}, false
	}
	return r, true
}
