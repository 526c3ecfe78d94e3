package history

import (
	"slices"
	"strconv"
	"time"
)

// A Month counts bytes: on links where they cost money, and on others.
type Month struct {
	Month                        string // "2026-11"
	MeteredSent, MeteredReceived int64
	Sent, Received               int64
}

// Metered is how many bytes went over metered links in both directions.
func (m Month) Metered() int64 { return plus(m.MeteredSent, m.MeteredReceived) }

// Bytes returns the last 13 months in which there were any, the newest first.
func (h *History) Bytes() []Month {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.Clone(h.s.months)
	slices.Reverse(list)
	return list
}

// ThisMonth returns the bytes of the month that it is by Options.Now.
func (h *History) ThisMonth() Month {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := monthOf(h.opt.Now())
	for _, m := range h.s.months {
		if m.Month == name {
			return m
		}
	}
	return Month{Month: name}
}

// AddBytes counts bytes to the month that it is. They are written when 64 KiB of
// metered ones wait, or 4 MiB of others, or after 12 hours: so much a power cut
// may leave uncounted.
func (h *History) AddBytes(metered bool, sent, received int64) error {
	if sent <= 0 && received <= 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := Month{Month: monthOf(h.opt.Now()), Sent: max(sent, 0), Received: max(received, 0)}
	if metered {
		m = Month{Month: m.Month, MeteredSent: m.Sent, MeteredReceived: m.Received}
	}
	h.waiting.count(m, h.opt.Now())
	h.s.count(m, h.opt.Now())
	h.wait()
	return h.writeIfDue()
}

// SetLastCheck remembers that the source was asked at the time at, and that it
// is to be asked about once in every; 0 if there is no such plan.
//
// The first check after a start is written at once, and so is each one where
// they are 12 hours apart or more. Others wait, up to 12 hours, so that most
// checks cost no write; Close writes the last. After a power cut the next run
// takes it that the device had gone on checking as planned, and so its next
// check comes when the plan says, not at once: a device whose power fails again
// and again does not check more often than others. What is lost is the exact
// time: two checks can be closer together than every, once for each cut; and a
// device that was off for less than 12 hours plus every can wait for one every
// although it did not check meanwhile.
func (h *History) SetLastCheck(at time.Time, every time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.checked
	h.s.check = check{at: second(at), every: max(every, 0).Truncate(time.Second), boot: h.booted, up: h.opt.Uptime(),
		sure: h.booted == "" || every >= lazyTime}
	h.checked, h.newCheck = true, true
	if first || every >= lazyTime {
		return h.flush()
	}
	h.wait()
	return h.writeIfDue()
}

// LastCheck returns when the source was asked last, the zero time if it never
// was. exact is false for a guess: see SetLastCheck.
func (h *History) LastCheck() (at time.Time, exact bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.s.check
	return c.at, c.at.IsZero() || !c.guess && (c.sure || h.checked)
}

// assume makes of a check after which there may have been others the last that
// was planned before now. Had the device been on all the time, it would have
// written one within 12 hours; so if it is longer ago it was off.
func (c *check) assume(now time.Time) {
	if c.sure || c.at.IsZero() {
		return
	}
	c.guess = true
	if past := now.Sub(c.at); c.every > 0 && past > 0 && past < lazyTime+c.every {
		c.at = c.at.Add(past / c.every * c.every)
	}
}

// SinceCheck returns how long ago the source was asked last, by the clock that
// counts from each start of the device, and 0 if that is not known: without a
// check, or before Boot where the check was in another process. The time in
// which the device was off does not count. A start after a power cut counts as
// an eighth of what SetLastCheck was told, so that a device without a clock
// that never stays on for long still comes to check.
func (h *History) SinceCheck() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sinceCheck()
}

func (h *History) sinceCheck() time.Duration {
	c := h.s.check
	switch up := h.opt.Uptime(); {
	case c.at.IsZero() || !h.checked && h.booted == "":
		return 0
	case c.boot == h.booted:
		return c.since + max(up-c.up, 0)
	default:
		return c.since + up
	}
}

// Boot is called when the service starts: id is that of this boot of the device
// (on Linux /proc/sys/kernel/random/boot_id), and with "" nothing happens. If
// the run before was in another boot and did not end with Close, the device
// went down without warning, and that is remembered as a crash, of the kind
// reset ("unclean boot" if empty): "watchdog" or "brown-out", say, where the
// board knows. With clean the caller knows better. It writes once in each boot,
// and once more where a service was closed and starts again.
func (h *History) Boot(id string, clean bool, reset string) (crashed bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id = fit(id, maxWord)
	if id == "" {
		return false, nil
	}
	b := h.s.boot
	h.booted = id
	if b.id == id && !b.closed {
		return false, h.writeIfDue()
	}
	clean = clean || b.closed || b.id == ""
	if !clean {
		crashed = true
		if reset == "" {
			reset = "unclean boot"
		}
		h.add(Event{Kind: KindCrash, Name: reset, Text: "the device went down without warning"})
		h.s.check.since += h.s.check.every / 8
	}
	h.s.check.sure, h.newCheck = true, true
	if h.checked {
		h.s.check.boot = id
	}
	h.s.boot = boot{id: id, at: second(h.opt.Now())}
	h.newBoot = true
	return crashed, h.flush()
}

// Close writes what waits and, after Boot, that the service ended as it should.
// The History can still be used: Boot makes it one of a running service again.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.booted != "" && !h.s.boot.closed {
		h.s.boot.closed, h.s.check.sure = true, true
		h.newBoot = true
	}
	if !h.waits() {
		return nil
	}
	return h.flush()
}

// monthOf is the name of the month in which t is, in t's zone.
func monthOf(t time.Time) string {
	if y := t.Year(); y < 1970 || y > 9999 {
		return "1970-01"
	}
	return t.Format("2006-01")
}

// monthNumber counts months; ok is false for what is no name of a month.
func monthNumber(name string) (n int, ok bool) {
	if len(name) != 7 || name[4] != '-' {
		return 0, false
	}
	y, err := strconv.ParseUint(name[:4], 10, 16)
	m, err2 := strconv.ParseUint(name[5:], 10, 8)
	if err != nil || err2 != nil || y < 1970 || m < 1 || m > 12 {
		return 0, false
	}
	return int(y*12 + m), true
}
