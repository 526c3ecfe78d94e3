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
	Source string // where it says so: a file, without the folder it is below
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
// the Raspberry Pi. Most hardware remembers nothing, and then it is Unknown. It
// is asked once in the life of a Board.
func (b *Board) LastReset() LastReset { return b.lastReset() }

func (b *Board) findLastReset() LastReset {
	for _, ask := range []func() (LastReset, bool){b.pstore, b.bootStatus, b.powerOnReason, b.rsts} {
		if r, ok := ask(); ok {
			return r
		}
	}
	return LastReset{}
}

// recent is how long before a boot the crash can have been that led to it: the
// time that kernels wait before they restart, and boot loaders take.
const recent = 10 * time.Minute

// pstore looks for a log that the kernel wrote when it crashed, in the kernel's
// own folder and in the one where systemd puts them away. Logs stay until
// somebody removes them, so one counts that was written shortly before this
// boot, if the clock can tell.
// Source: Documentation/ABI/testing/pstore, Documentation/admin-guide/ramoops.rst,
// systemd-pstore.service(8).
func (b *Board) pstore() (LastReset, bool) {
	booted := time.Now().Add(-b.uptime())
	away := below(b.cfg.Lib, []string{"systemd", "pstore"})
	if r, ok := crashLog(b.sys("fs", "pstore"), "fs/pstore/", booted, 0); ok {
		return r, true
	}
	return crashLog(away, "systemd/pstore/", booted, 2) // in folders by record
}

func crashLog(dir, source string, booted time.Time, deeper int) (LastReset, bool) {
	for _, name := range list(dir) {
		path := below(dir, []string{name})
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if info.IsDir() && deeper > 0 {
			if r, ok := crashLog(path, source+clean(name)+"/", booted, deeper-1); ok {
				return r, true
			}
		}
		if !info.Mode().IsRegular() || !strings.HasPrefix(name, "dmesg-") {
			continue
		}
		if age := booted.Sub(info.ModTime()); age > recent && age < 20*365*24*time.Hour {
			continue
		}
		text := "the kernel left a crash log"
		if s, _ := read(path); s != "" {
			first, _, _ := strings.Cut(s, "\n") // "Panic#1 Part1", "Oops#1 Part1"
			kind, _, numbered := strings.Cut(first, "#")
			if numbered && kind != "Panic" && kind != "Oops" {
				continue // an orderly shutdown, which some kernels are told to log too
			}
			if c := crash(s); c != "" {
				text += ": " + c
			}
		}
		return LastReset{Panic, source + clean(name), text}, true
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
