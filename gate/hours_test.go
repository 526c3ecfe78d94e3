package gate

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/godwit-ota/godwit"
	"pgregory.net/rapid"
)

// zones change their clocks by an hour in spring and autumn, by half an hour, on
// the other half of the year, at midnight, by leaving a day out, and never.
var zones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Pacific/Apia", "Asia/Kolkata", "UTC"}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParseHours(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Hours
		form string // "" for the same as text
	}{
		{"02:00-04:30", Hours{From: 120, To: 270}, ""},
		{"22:00-04:00", Hours{From: 1320, To: 240}, ""},
		{"00:00-24:00", Hours{}, ""},
		{"2:05-24:00", Hours{From: 125}, "02:05-24:00"},
		{"mon-fri 22:00-04:00", Hours{1320, 240, 0b0111110}, "mon,tue,wed,thu,fri 22:00-04:00"},
		{"Fri-Mon,wednesday 01:00-02:00", Hours{60, 120, 0b1101011}, "sun,mon,wed,fri,sat 01:00-02:00"},
		{"sun-sat 01:00-02:00", Hours{60, 120, everyDay}, "01:00-02:00"},
	} {
		got, err := ParseHours(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
		if tt.form == "" {
			tt.form = tt.text
		}
		if got.String() != tt.form {
			t.Errorf("%q: written %q", tt.text, got)
		}
	}
	for _, text := range []string{"", "02:00", "02:00-", "02:00-02:00", "24:00-02:00", "02:60-03:00", "25:00-26:00", "2-4", "02:0-03:00", "002:00-03:00",
		"-1:00-02:00", "+1:00-02:00", "mo 01:00-02:00", "mond-frx 01:00-02:00", "mon, 01:00-02:00", "mon 01:00 - 02:00", "24:01-24:30", "sunshine 01:00-02:00"} {
		if h, err := ParseHours(text); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("%q: %+v, %v", text, h, err)
		}
	}
}

func FuzzParseHours(f *testing.F) {
	for _, s := range []string{"02:00-04:30", "mon-fri 22:00-04:00", "sat,sun 00:00-24:00", "fri-mon 1:00-2:00", "x 1:00-2:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHours(s)
		if err != nil {
			return
		}
		again, err := ParseHours(h.String())
		if h.Days == everyDay {
			h.Days = 0
		}
		if err != nil || again != h || !h.valid() {
			t.Fatalf("%q: %+v, written %q, read %+v, %v", s, h, h, again, err)
		}
	})
}

// Each case says when a window opens and closes, in UTC, from midnight of a day
// on which the clocks change.
func TestHoursWhenClocksChange(t *testing.T) {
	for _, tt := range []struct {
		what, zone, day, hours string
		want                   []string // opens, closes, opens, …
	}{
		{"plain", "Europe/Berlin", "2026-01-10", "02:00-03:00", []string{"10 01:00", "10 02:00", "11 01:00"}},
		{"the hour does not exist", "Europe/Berlin", "2026-03-29", "02:00-03:00", []string{"29 01:00", "29 02:00", "30 00:00", "30 01:00"}},
		{"half of it does not exist", "Europe/Berlin", "2026-03-29", "02:30-03:30", []string{"29 01:00", "29 01:30", "30 00:30"}},
		{"its end does not exist", "Europe/Berlin", "2026-03-29", "01:00-02:30", []string{"29 00:00", "29 01:00", "29 23:00"}},
		{"a part of the missing hour", "Europe/Berlin", "2026-03-29", "02:15-02:45", []string{"29 01:00", "29 01:30", "30 00:15"}},
		{"around the missing hour", "Europe/Berlin", "2026-03-29", "01:00-04:00", []string{"29 00:00", "29 02:00", "29 23:00"}},
		{"across midnight before the missing hour", "Europe/Berlin", "2026-03-29", "22:00-02:30", []string{"28 23:00", "29 01:00", "29 20:00", "30 00:30"}},
		{"the hour comes twice", "Europe/Berlin", "2026-10-25", "02:00-03:00", []string{"25 00:00", "25 02:00", "26 01:00"}},
		{"half an hour twice", "Europe/Berlin", "2026-10-25", "02:15-02:45", []string{"25 00:15", "25 00:45", "25 01:15", "25 01:45", "26 01:15"}},
		{"into the doubled hour", "Europe/Berlin", "2026-10-25", "01:30-02:30", []string{"24 23:30", "25 00:30", "25 01:00", "25 01:30", "26 00:30"}},
		{"New York, missing", "America/New_York", "2026-03-08", "02:00-03:00", []string{"08 07:00", "08 08:00", "09 06:00"}},
		{"New York, doubled", "America/New_York", "2026-11-01", "01:00-02:00", []string{"01 05:00", "01 07:00", "02 06:00"}},
		{"half an hour is missing", "Australia/Lord_Howe", "2026-10-04", "02:00-02:30", []string{"03 15:30", "03 16:00", "04 15:00"}},
		{"more than is missing", "Australia/Lord_Howe", "2026-10-04", "02:00-03:00", []string{"03 15:30", "03 16:00", "04 15:00"}},
		{"half an hour is doubled", "Australia/Lord_Howe", "2026-04-05", "01:30-02:00", []string{"04 14:30", "04 15:30", "05 15:00"}},
		{"no midnight", "America/Santiago", "2026-09-06", "00:00-01:00", []string{"06 04:00", "06 05:00", "07 03:00"}},
		{"no midnight, from the day before", "America/Santiago", "2026-09-06", "23:30-00:30", []string{"06 03:30", "06 04:00", "07 02:30"}},
		{"a day of the week", "Europe/Berlin", "2026-03-29", "sun 02:00-03:00", []string{"29 01:00", "29 02:00", "05 00:00"}},
		{"not that day of the week", "Europe/Berlin", "2026-03-29", "mon 02:00-03:00", []string{"30 00:00", "30 01:00", "06 00:00"}},
		{"begins on saturday", "Europe/Berlin", "2026-03-29", "sat 22:00-04:00", []string{"28 23:00", "29 02:00", "04 20:00"}},
		{"a day that was left out", "Pacific/Apia", "2011-12-29", "fri 05:00-06:00", []string{"30 10:00", "30 11:00", "05 15:00"}},
	} {
		h, err := ParseHours(tt.hours)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02", tt.day, zone(t, tt.zone))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range tt.want {
			if i%2 == 0 {
				at = opens([]Hours{h}, at)
			} else {
				for open([]Hours{h}, at) {
					at = at.Add(time.Minute)
				}
			}
			if got := at.UTC().Format("02 15:04"); got != want {
				t.Errorf("%s: %s at %s UTC, want %s", tt.what, [...]string{"opens", "closes"}[i%2], got, want)
				break
			}
		}
	}
}

// TestHoursMinuteByMinute holds the reckoning of the opening against looking at
// each minute, over the changes of the clocks and other days.
func TestHoursMinuteByMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(1.3e9, 1.9e9).Draw(t, "at"), 0).In(loc)
		if _, change := at.ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
			at = change.Add(time.Duration(rapid.IntRange(-30*3600, 6*3600).Draw(t, "seconds")) * time.Second)
		}
		minute := rapid.OneOf(rapid.IntRange(0, day-1), rapid.Map(rapid.IntRange(0, 15), func(n int) int { return n * 15 }))
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Hours {
			return Hours{minute.Draw(t, "from"), minute.Draw(t, "to"), Days(rapid.IntRange(0, 127).Draw(t, "days"))}
		}), 1, 3).Draw(t, "hours")

		got := opens(list, at)
		if !open(list, got) {
			t.Fatalf("it is not open at %v", got)
		}
		if got.Before(at) || got.Sub(at) > 9*24*time.Hour {
			t.Fatalf("from %v it opens at %v", at, got)
		}
		for m := at; m.Before(got); m = m.Add(time.Minute) {
			if open(list, m) {
				t.Fatalf("it is open at %v, before %v", m, got)
			}
			if next := m.Truncate(time.Minute); next.Before(m) {
				m = next // whole minutes from here on
			}
		}
		if got.After(at) && open(list, got.Add(-time.Nanosecond)) {
			t.Fatalf("it is open before %v", got)
		}
	})
}

// Each night has its hours, whatever the clocks do: no day goes by without.
func TestNoNightIsLeftOut(t *testing.T) {
	for _, name := range zones {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, zone(t, name))
		for _, h := range []Hours{{From: 120, To: 180}, {From: 0, To: 30}, {From: 1410, To: 10}, {From: 60, To: 90}} {
			for d := at; d.Year() == 2026; d = d.Add(24 * time.Hour) {
				if wait := opens([]Hours{h}, d).Sub(d); wait > 25*time.Hour {
					t.Errorf("%s, %v: nothing for %v from %v", name, h, wait, d)
				}
			}
		}
	}
}
