package history

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// How many bytes of words and of sentences are kept.
const (
	maxWord = 64
	maxText = 240
)

// A state is everything that is remembered.
type state struct {
	seq                      uint64 // counts up with every write
	last                     uint64 // the highest number of an event
	boot                     boot
	check                    check
	months                   []Month // the oldest first
	crashes, errors, updates []Event // the oldest first
}

// A boot is a run of the service.
type boot struct {
	id     string
	at     time.Time
	closed bool // it ended as it should
}

// A check is the last one, as far as it is known.
type check struct {
	at    time.Time
	every time.Duration
	boot  string        // in which it was
	up    time.Duration // uptime of that boot at the check
	since time.Duration // running time between the check and the write
	sure  bool          // there was none after it
	guess bool          // there may have been one after it, or at is only when it was planned
}

func (s *state) list(k Kind) *[]Event {
	switch k {
	case KindCrash:
		return &s.crashes
	case KindError:
		return &s.errors
	}
	return &s.updates
}

// add gives e the next number and puts it where it belongs.
func (s *state) add(e Event, opt Options) {
	list := s.list(e.Kind)
	if e.Kind == KindError {
		for i := len(*list) - 1; i >= 0 && i >= len(*list)-recentErrors; i-- {
			if o := (*list)[i]; o.Name == e.Name && o.Stage == e.Stage && o.Text == e.Text {
				e.At, e.Count = o.At, min(o.Count, math.MaxInt32-e.Count)+e.Count
				*list = slices.Delete(*list, i, i+1)
				break
			}
		}
	}
	s.last++
	e.N = s.last
	*list = append(*list, e)
	s.trim(opt)
}

// trim forgets the oldest events.
func (s *state) trim(opt Options) {
	for _, k := range []Kind{KindCrash, KindError, KindUpdate} {
		n := opt.Limit
		if k == KindUpdate {
			n = opt.Attempts
		}
		if list := s.list(k); len(*list) > n {
			*list = slices.Delete(*list, 0, len(*list)-n)
		}
	}
}

// events returns all of them, the newest first.
func (s *state) events() []Event {
	all := slices.Concat(s.crashes, s.errors, s.updates)
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(b.N, a.N) })
	return all
}

// count adds bytes to a month, and forgets the months that are furthest away:
// those of a clock that was wrong go first.
func (s *state) count(m Month, now time.Time) {
	i, found := slices.BinarySearchFunc(s.months, m.Month, func(o Month, name string) int { return cmp.Compare(o.Month, name) })
	if !found {
		s.months = slices.Insert(s.months, i, Month{Month: m.Month})
	}
	o := &s.months[i]
	o.MeteredSent, o.MeteredReceived = plus(o.MeteredSent, m.MeteredSent), plus(o.MeteredReceived, m.MeteredReceived)
	o.Sent, o.Received = plus(o.Sent, m.Sent), plus(o.Received, m.Received)
	here, _ := monthNumber(monthOf(now))
	away := func(m Month) int {
		n, _ := monthNumber(m.Month)
		return max(n-here, here-n)
	}
	for len(s.months) > maxMonths {
		furthest := 0
		for i := range s.months {
			if away(s.months[i]) > away(s.months[furthest]) {
				furthest = i
			}
		}
		s.months = slices.Delete(s.months, furthest, furthest+1)
	}
}

// plus adds numbers that are not negative, and stops at the largest.
func plus(a, b int64) int64 { return min(a, math.MaxInt64-b) + b }

// fit is e as it can be written.
func (e Event) fit() Event {
	e.Name, e.Stage, e.From, e.To = fit(e.Name, maxWord), fit(e.Stage, maxWord), fit(e.From, maxWord), fit(e.To, maxWord)
	e.Text = fit(e.Text, maxText)
	e.At, e.Last = second(e.At), second(e.Last)
	e.Count = min(max(e.Count, 1), math.MaxInt32)
	e.Bytes, e.Took = max(e.Bytes, 0), max(e.Took, 0).Truncate(time.Millisecond)
	if e.Kind != KindError {
		e.Stage, e.Last, e.Count = "", e.At, 1
	}
	return e
}

// fit is s on one line, of at most n bytes.
func fit(s string, n int) string {
	if len(s) > 4*n {
		s = s[:4*n] // the rest would not be left anyway
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// second is a time as the file has it.
func second(t time.Time) time.Time {
	if y := t.UTC().Year(); t.IsZero() || y < 1970 || y > 9999 {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}
