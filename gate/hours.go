package gate

import (
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

const day = 24 * 60 // minutes

// Hours is a time of day that comes again, by the clock on the wall: open at
// From, no longer open at To. From == To are 24 hours that begin at From. Hours
// with To before From cross midnight and belong to the day on which they begin.
// The zero value is always.
//
// Where the clocks are put back, an hour that comes twice is open twice. Where
// they are put forward over all of it, it is open for its length from that
// moment on, so that no night is left out.
type Hours struct {
	From, To int // minutes since midnight, 0 to 1439
	Days     Days
}

// Days is a set of days of the week, with the bit 1<<time.Weekday for each. The
// empty set is every day.
type Days uint8

const everyDay Days = 1<<7 - 1

func (d Days) has(w time.Weekday) bool {
	if d &= everyDay; d == 0 {
		return true
	}
	return d&(1<<((w+7)%7)) != 0
}

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseHours reads "HH:MM-HH:MM", with days before it or without: "02:00-04:00",
// "mon-fri 22:00-04:00", "sat,sun 00:00-24:00". The error has CodeConfig.
func ParseHours(text string) (Hours, error) {
	bad := func(why string) (Hours, error) {
		return Hours{}, godwit.Fail(godwit.CodeConfig, nil, strconv.Quote(text)+" is no time of day: "+why,
			`write it like "02:00-04:00" or "mon-fri 22:00-04:00"`)
	}
	var h Hours
	fields := strings.Fields(text)
	if len(fields) == 2 {
		for part := range strings.SplitSeq(strings.ToLower(fields[0]), ",") {
			first, last, isRange := strings.Cut(part, "-")
			if !isRange {
				last = first
			}
			a, b := weekday(first), weekday(last)
			if a < 0 || b < 0 {
				return bad(strconv.Quote(part) + " is no day of the week")
			}
			for ; ; a = (a + 1) % 7 {
				if h.Days |= 1 << a; a == b {
					break
				}
			}
		}
		fields = fields[1:]
	}
	if len(fields) != 1 {
		return bad("it has " + strconv.Itoa(len(fields)) + " parts")
	}
	from, to, ok := strings.Cut(fields[0], "-")
	h.From, h.To = minutes(from), minutes(to)
	switch {
	case !ok || h.From < 0 || h.To < 0 || h.From == day:
		return bad("a time is from 00:00 to 24:00")
	case h.From == h.To:
		return bad("it begins when it ends")
	}
	h.To %= day
	return h, nil
}

// weekday returns the number of a day by the beginning of its name, at least
// three letters of it, or -1.
func weekday(name string) int {
	for i, n := range dayNames {
		if strings.HasPrefix(name, n) && strings.HasPrefix(strings.ToLower(time.Weekday(i).String()), name) {
			return i
		}
	}
	return -1
}

// minutes reads "HH:MM" and returns -1 for anything else.
func minutes(s string) int {
	h, m, ok := strings.Cut(s, ":")
	a, err := strconv.ParseUint(h, 10, 8)
	b, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err != nil || err2 != nil || len(h) > 2 || len(m) != 2 || b > 59 || a*60+b > day {
		return -1
	}
	return int(a*60 + b)
}

// String returns what ParseHours reads.
func (h Hours) String() string {
	s := ""
	if d := h.Days & everyDay; d != 0 && d != everyDay {
		for i, n := range dayNames {
			if d.has(time.Weekday(i)) {
				s += "," + n
			}
		}
		s = s[1:] + " "
	}
	to := h.To
	if to == 0 {
		to = day
	}
	return s + clock(h.From) + "-" + clock(to)
}

// length is how many minutes h is open each time.
func (h Hours) length() int {
	if n := (h.To - h.From + day) % day; n > 0 {
		return n
	}
	return day
}

// valid reports whether the times exist.
func (h Hours) valid() bool {
	return h.From >= 0 && h.From < day && h.To >= 0 && h.To < day && h.Days <= everyDay
}

// on reports whether h is open when the clock on the wall shows wall.
func (h Hours) on(wall time.Time) bool {
	t := wall.Hour()*60 + wall.Minute()
	return t >= h.From && t < h.From+h.length() && h.Days.has(wall.Weekday()) ||
		t+day < h.From+h.length() && h.Days.has(wall.Weekday()-1)
}

// wallClock returns what the clock on the wall shows at t as if it were UTC, and
// how many seconds it is ahead of UTC. Times on that clock can be reckoned with.
func wallClock(t time.Time) (wall time.Time, offset int) {
	_, offset = t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second), offset
}

// open reports whether one of list is open at t, in t's zone.
func open(list []Hours, t time.Time) bool {
	wall, offset := wallClock(t)
	for _, h := range list {
		if h.on(wall) {
			return true
		}
	}
	// Were the clocks put forward over all of it a moment ago?
	change, _ := t.ZoneBounds()
	if change.IsZero() {
		return false
	}
	before, was := wallClock(change.Add(-1))
	before = before.Add(1)
	after := before.Add(time.Duration(offset-was) * time.Second)
	for _, h := range list {
		length := time.Duration(h.length()) * time.Minute
		if !change.Add(length).After(t) {
			continue
		}
		for d := midnight(before); d.Before(after); d = d.AddDate(0, 0, 1) {
			from := d.Add(time.Duration(h.From) * time.Minute)
			if h.Days.has(d.Weekday()) && !from.Before(before) && !from.Add(length).After(after) {
				return true
			}
		}
	}
	return false
}

func midnight(wall time.Time) time.Time {
	return time.Date(wall.Year(), wall.Month(), wall.Day(), 0, 0, 0, 0, time.UTC)
}

// opens returns the first moment from t on at which one of list is open, in t's
// zone. It is the zero time if list is empty.
func opens(list []Hours, t time.Time) time.Time {
	if len(list) == 0 {
		return time.Time{}
	}
	// From one change of the clocks to the next, the wall and UTC go together.
	// Every window begins at least once in 8 days, and what a change swallows
	// begins with it.
	for limit := t.AddDate(0, 0, 30); t.Before(limit); {
		if open(list, t) {
			return t
		}
		_, change := t.ZoneBounds()
		wall, offset := wallClock(t)
		var first time.Time
		for _, h := range list {
			for d, n := midnight(wall), 0; n <= 8; d, n = d.AddDate(0, 0, 1), n+1 {
				from := d.Add(time.Duration(h.From) * time.Minute)
				if !h.Days.has(d.Weekday()) || from.Before(wall) {
					continue
				}
				if at := from.Add(-time.Duration(offset) * time.Second); first.IsZero() || at.Before(first) {
					first = at
				}
				break
			}
		}
		if change.IsZero() || !first.IsZero() && first.Before(change) {
			return first.In(t.Location())
		}
		t = change
	}
	return time.Time{}
}
