package history

import (
	"strconv"
	"testing"
	"time"
)

func TestBytesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		metered bool
		most    int64
	}{{true, 64 << 10}, {false, 4 << 20}} {
		d := newDevice(t)
		h := d.open()
		sum := int64(0)
		for range 3000 {
			must(t, h.AddBytes(tt.metered, 700, 3300))
			m := d.open().ThisMonth()
			sum += 4000
			if lost := sum - m.Sent - m.Received - m.MeteredSent - m.MeteredReceived; lost >= tt.most {
				t.Fatalf("metered %v: %d bytes would be lost", tt.metered, lost)
			}
		}
		if must(t, h.Flush()); d.open().ThisMonth() != h.ThisMonth() {
			t.Error("not the same after Flush")
		}
		h.AddBytes(tt.metered, 1, 0)
		d.now = d.now.Add(12 * time.Hour)
		must(t, h.Tick())
		if d.open().ThisMonth() != h.ThisMonth() {
			t.Error("not the same after 12 hours")
		}
	}
}

func TestMonths(t *testing.T) {
	d := newDevice(t)
	h := d.open()
	d.now = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) // a clock that is wrong for a while
	must(t, h.AddBytes(true, 1, 0))
	for i := range 20 {
		d.now = time.Date(2026, time.Month(1+i), 15, 0, 0, 0, 0, time.UTC)
		must(t, h.AddBytes(true, int64(100+i), 0))
	}
	must(t, h.Close())
	for _, r := range []*History{h, d.open()} {
		m := r.Bytes()
		if len(m) != 13 || m[0].Month != "2027-08" || m[12].Month != "2026-08" || m[0].MeteredSent != 119 {
			t.Errorf("%+v", m)
		}
	}
	// The month is that of the zone.
	d.now = time.Date(2030, 1, 31, 23, 30, 0, 0, time.UTC).In(time.FixedZone("", 3600))
	if h.ThisMonth().Month != "2030-02" {
		t.Errorf("%+v", h.ThisMonth())
	}
}

func TestBoot(t *testing.T) {
	for _, tt := range []struct {
		what       string
		id         string
		closed     bool
		clean      bool
		reset      string
		want       string
		most       int // writes
		restarting bool
	}{
		{what: "unclean", id: "2", want: "crash unclean boot", most: 1},
		{what: "with a reason", id: "2", reset: "watchdog", want: "crash watchdog", most: 1},
		{what: "closed", id: "2", closed: true, most: 1},
		{what: "the caller knows better", id: "2", clean: true, most: 1},
		{what: "the service alone went down", id: "1"},
		{what: "the service was closed and starts again", id: "1", closed: true, most: 1},
		{what: "no id"},
	} {
		d := newDevice(t)
		h := d.open()
		_, err := h.Boot("1", false, "")
		must(t, err)
		if tt.closed {
			must(t, h.Close())
		}
		h = d.start(time.Minute)
		var crashed bool
		n := d.writes(func() { crashed, err = h.Boot(tt.id, tt.clean, tt.reset) })
		if must(t, err); crashed != (tt.want != "") || told(h) != tt.want || n != tt.most {
			t.Errorf("%s: %v, %q, %d writes", tt.what, crashed, told(h), n)
		}
		if told(d.open()) != tt.want {
			t.Errorf("%s: %q on the disk", tt.what, told(d.open()))
		}
	}
}

func TestLastCheck(t *testing.T) {
	const every = time.Hour
	d := newDevice(t)
	begin := d.now
	h := d.open()
	if at, exact := h.LastCheck(); !at.IsZero() || !exact || h.SinceCheck() != 0 {
		t.Errorf("%v %v", at, exact)
	}
	boot := func(h *History, id string) {
		t.Helper()
		_, err := h.Boot(id, false, "")
		must(t, err)
	}
	is := func(h *History, what string, want time.Duration, wantExact bool, since time.Duration) {
		t.Helper()
		at, exact := h.LastCheck()
		if got := at.Sub(begin); got != want || exact != wantExact || h.SinceCheck() != since {
			t.Errorf("%s: last check after %v, exact %v; running time since then %v", what, got, exact, h.SinceCheck())
		}
	}
	boot(h, "1")
	must(t, h.SetLastCheck(d.now, every))
	h = d.start(10 * time.Minute) // a power cut
	boot(h, "2")
	is(h, "soon after the first", 0, false, every/8)
	d.now = d.now.Add(70 * time.Minute)
	must(t, h.SetLastCheck(d.now, every)) // after 80 minutes
	is(h, "checked", 80*time.Minute, true, 0)
	d.now = d.now.Add(62 * time.Minute)
	is(h, "checked", 80*time.Minute, true, 62*time.Minute)
	must(t, h.SetLastCheck(d.now, every)) // after 142 minutes; waits to be written
	is(h, "checked again", 142*time.Minute, true, 0)
	h = d.start(8 * time.Minute) // a power cut after 150 minutes
	boot(h, "3")
	is(h, "as planned", 140*time.Minute, false, every/8)
	h = d.start(0)
	boot(h, "4")
	is(h, "again", 140*time.Minute, false, 2*every/8)
	d.now = d.now.Add(50 * time.Minute)
	is(h, "not checked since", 140*time.Minute, false, 2*every/8+50*time.Minute)
	d.now = d.now.Add(-50 * time.Minute)
	must(t, h.SetLastCheck(d.now, every))
	d.now = d.now.Add(10 * time.Minute)
	must(t, h.Close())
	h = d.start(48 * time.Hour)
	is(h, "closed, before Boot", 150*time.Minute, true, 0)
	boot(h, "5")
	is(h, "closed", 150*time.Minute, true, 10*time.Minute)
	d.now = d.now.Add(3 * time.Minute)
	is(h, "closed", 150*time.Minute, true, 13*time.Minute)
	must(t, h.Close())
	d.now = d.now.Add(time.Minute)
	h = d.open() // the service alone starts again
	boot(h, "5")
	is(h, "the same boot", 150*time.Minute, true, 14*time.Minute)
	h = d.start(time.Hour)
	boot(h, "6")
	is(h, "no check in the last run", 150*time.Minute, true, 14*time.Minute+every/8)

	// A plan of half a day or more is kept exactly.
	must(t, h.SetLastCheck(d.now, 12*time.Hour))
	want := d.now.Sub(begin)
	h = d.start(13 * time.Hour)
	boot(h, "7")
	is(h, "every 12 hours", want, true, 90*time.Minute)
}

// A device whose power fails every few minutes asks once in the planned time,
// and one that is never on for that long asks nevertheless.
func TestChecksOfAnUnsteadyDevice(t *testing.T) {
	for _, tt := range []struct {
		every, on, off time.Duration
		clock          bool
		least, most    int
	}{
		{time.Hour, 5 * time.Minute, time.Minute, true, 20, 25},
		{time.Hour, 5 * time.Minute, time.Minute, false, 29, 31}, // each 8th time it is on
		{6 * time.Hour, 4 * time.Hour, 20 * time.Hour, true, 5, 6},
		{6 * time.Hour, 4 * time.Hour, 4 * time.Hour, true, 3, 20},
		{24 * time.Hour, 2 * time.Hour, 22 * time.Hour, true, 5, 6},
		{24 * time.Hour, 2 * time.Hour, 22 * time.Hour, false, 1, 2},
	} {
		d := newDevice(t)
		checks, id := 0, 0
		for end := d.now.Add(max(24*time.Hour, 5*(tt.on+tt.off))); d.now.Before(end); {
			h := d.start(tt.off)
			id++
			_, err := h.Boot(strconv.Itoa(id), false, "")
			must(t, err)
			for stop := d.now.Add(tt.on); d.now.Before(stop); d.now = d.now.Add(time.Minute) {
				last, _ := h.LastCheck()
				if since := h.SinceCheck(); tt.clock && d.now.Sub(last) >= tt.every || !tt.clock && (last.IsZero() || since >= tt.every) {
					must(t, h.SetLastCheck(d.now, tt.every))
					checks++
				}
			}
		}
		if checks < tt.least || checks > tt.most {
			t.Errorf("%+v: %d checks", tt, checks)
		}
	}
}
