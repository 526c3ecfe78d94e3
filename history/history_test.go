package history

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A device is a disk, and a clock that the test moves.
type device struct {
	t    testing.TB
	fs   *crashfs.FS
	now  time.Time
	boot time.Time
	opt  Options
}

func newDevice(t testing.TB) *device {
	d := &device{t: t, fs: crashfs.New(crashfs.Options{}), now: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)}
	d.boot = d.now
	d.opt = Options{Now: func() time.Time { return d.now }, Uptime: func() time.Duration { return d.now.Sub(d.boot) }}
	return d
}

// start is the device after a start.
func (d *device) start(after time.Duration) *History {
	d.now = d.now.Add(after)
	d.boot = d.now
	return d.open()
}

func (d *device) open() *History {
	d.t.Helper()
	h, err := Open(d.fs, ".godwit", d.opt)
	must(d.t, err)
	return h
}

// writes counts what fn writes.
func (d *device) writes(fn func()) (n int) {
	d.fs.Record()
	fn()
	for _, op := range d.fs.Trace() {
		if op.Kind == crashfs.Write {
			n++
		}
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// told is what a history holds, in words, the newest first.
func told(h *History, kinds ...Kind) string {
	var s []string
	for e := range h.Events(kinds...) {
		one := string(e.Kind) + " " + e.Name
		if e.Count > 1 {
			one += " x" + strconv.Itoa(e.Count)
		}
		s = append(s, one)
	}
	return strings.Join(s, ", ")
}

func TestEverythingComesBack(t *testing.T) {
	d := newDevice(t)
	h := d.open()
	crashed, err := h.Boot("boot-1", false, "power-on")
	if must(t, err); crashed {
		t.Error("the first start of all was taken for a crash")
	}
	must(t, h.Crash("panic", "nil map\nin main.go \x00\xff"))
	d.now = d.now.Add(time.Minute)
	must(t, h.Error(godwit.CodeNetwork, "fetch", "no route to \"host\""))
	must(t, h.Error(godwit.CodeNetwork, "fetch", "no route to \"host\""))
	d.now = d.now.Add(time.Minute)
	must(t, h.Attempt("v1", "v2", "installed", "", 12345, 6543*time.Millisecond))
	must(t, h.AddBytes(true, 100, 2000))
	must(t, h.AddBytes(false, 3, 40))
	must(t, h.SetLastCheck(d.now, time.Hour))
	must(t, h.Close())

	for _, read := range []*History{h, d.open()} {
		if got := told(read); got != "update installed, error network x2, crash panic" {
			t.Errorf("%s", got)
		}
		var list []Event
		for e := range read.Events() {
			list = append(list, e)
		}
		want := Event{N: 4, Kind: KindUpdate, At: d.now, Last: d.now, Count: 1, Name: "installed", From: "v1", To: "v2", Bytes: 12345, Took: 6543 * time.Millisecond}
		if list[0] != want {
			t.Errorf("%+v", list[0])
		}
		if list[1].Stage != "fetch" || list[1].Text != `no route to "host"` || list[2].Text != "nil map in main.go  \uFFFD" {
			t.Errorf("%+v", list)
		}
		if at, exact := read.LastCheck(); !at.Equal(d.now) || !exact {
			t.Errorf("last check %v, %v", at, exact)
		}
		if m := read.Bytes(); len(m) != 1 || m[0] != (Month{"2026-12", 100, 2000, 3, 40}) || read.ThisMonth() != m[0] {
			t.Errorf("%+v", m)
		}
		if c := read.Crashes(d.now.Add(-24 * time.Hour)); len(c) != 1 || !c[0].Equal(d.now.Add(-2*time.Minute)) || len(read.Crashes(d.now)) != 0 {
			t.Errorf("%v", c)
		}
	}
	if got := told(h, KindCrash, KindError); got != "error network x2, crash panic" {
		t.Errorf("%s", got)
	}
	for range h.Events() {
		break
	}
}

func TestLimits(t *testing.T) {
	d := newDevice(t)
	d.opt.Limit, d.opt.Attempts = 3, 2
	h := d.open()
	for i := range 6 {
		n := strconv.Itoa(i)
		must(t, h.Crash("c"+n, ""))
		must(t, h.Error(godwit.Code("e"+n), "", ""))
		must(t, h.Attempt("", "", "u"+n, "", 0, 0))
	}
	must(t, h.Close())
	want := "update u5, error e5, crash c5, update u4, error e4, crash c4, error e3, crash c3"
	if got := told(d.open()); got != want || told(h) != want {
		t.Errorf("%s", got)
	}
	// A limit that was lowered holds for what is there already.
	d.opt.Limit = 1
	if got := told(d.open()); got != "update u5, error e5, crash c5, update u4" {
		t.Errorf("%s", got)
	}
}

// However long the words are, the files stay small.
func TestSizeIsBounded(t *testing.T) {
	d := newDevice(t)
	h := d.open()
	long := strings.Repeat("\"\\\x01\u2028<€😀\xff", 500)
	must(t, h.Attempt(long, long, long, long, 1<<62, 1<<62))
	for i := range 300 {
		d.now = d.now.AddDate(0, 0, 1)
		n := strconv.Itoa(i)
		h.Error(godwit.Code(n+long), long, n+long)
		h.AddBytes(i%2 == 0, 1<<62, 1<<62)
		h.mu.Lock() // add, because 600 writes take long
		h.add(Event{Kind: KindCrash, Name: n + long, Text: n + long})
		h.add(Event{Kind: KindUpdate, Name: n + long, Text: n + long, From: long, To: long, Bytes: 1 << 62, Took: 1 << 62})
		h.mu.Unlock()
	}
	h.mu.Lock()
	if w := h.waiting; len(w.events()) > 250 || len(w.months) > maxMonths {
		t.Errorf("%d events and %d months wait", len(w.events()), len(w.months))
	}
	h.mu.Unlock()
	must(t, h.Close())
	for _, name := range names {
		info, err := d.fs.Lstat(".godwit/" + name)
		if err != nil || info.Size > 250<<10 {
			t.Errorf("%s: %d bytes, %v", name, info.Size, err)
		}
	}
	again := d.open()
	if a, b := told(h), told(again); a != b || len(again.Bytes()) != 10 {
		t.Errorf("not the same after reading; %d months", len(again.Bytes()))
	}
}

// A day on which nothing happens costs two writes at most, a check that finds
// nothing none.
func TestIdleDay(t *testing.T) {
	for _, every := range []time.Duration{5 * time.Minute, time.Hour, 3 * time.Hour, 12 * time.Hour, 24 * time.Hour} {
		d := newDevice(t)
		h := d.open()
		_, err := h.Boot("b", false, "")
		must(t, err)
		check := func() {
			must(t, h.SetLastCheck(d.now, every))
			must(t, h.AddBytes(true, 50, 100))
			must(t, h.AddBytes(false, 100, 200))
			must(t, h.Tick())
		}
		check()
		for day := range 5 {
			checks, quiet := 0, 0
			n := d.writes(func() {
				for at := time.Duration(0); at < 24*time.Hour; at += every {
					d.now = d.now.Add(every)
					before := len(d.fs.Trace())
					check()
					checks++
					if len(d.fs.Trace()) == before {
						quiet++
					}
				}
			})
			if n > 2 || quiet < checks-2 {
				t.Errorf("every %v, day %d: %d writes; %d of %d checks touch nothing", every, day, n, quiet, checks)
			}
		}
		if n := d.writes(func() { d.open().LastCheck() }); n > 0 {
			t.Errorf("reading writes")
		}
	}
}

// A link that fails all day, in two ways by turns, costs one write an hour.
func TestFailingLink(t *testing.T) {
	d := newDevice(t)
	h := d.open()
	n := d.writes(func() {
		for i := range 24 * 60 {
			d.now = d.now.Add(time.Minute)
			must(t, h.Error(godwit.CodeNetwork, "check", [...]string{"no route", "no answer"}[i%2]))
			must(t, h.Error("code-"+godwit.Code(strconv.Itoa(i)), "check", "always another"))
		}
	})
	if n < 20 || n > 24 {
		t.Errorf("%d writes in a day", n)
	}
	d = newDevice(t)
	h = d.open()
	for range 1000 {
		must(t, h.Error(godwit.CodeNetwork, "check", "no route"))
		must(t, h.Error(godwit.CodeTimeout, "check", "no answer"))
	}
	d.now = d.now.Add(time.Hour)
	if n := d.writes(func() { must(t, h.Tick()) }); n != 1 {
		t.Errorf("%d writes", n)
	}
	if got := told(d.open()); got != "error timeout x1000, error network x1000" {
		t.Errorf("%s", got)
	}
}

// Of two processes, each keeps what the other has written.
func TestTwoProcesses(t *testing.T) {
	d := newDevice(t)
	a, b := d.open(), d.open()
	_, err := a.Boot("1", false, "")
	must(t, err)
	must(t, b.Crash("b1", ""))
	must(t, a.Error("a1", "", ""))
	must(t, a.AddBytes(true, 5, 0))
	must(t, b.AddBytes(true, 7, 0))
	must(t, b.SetLastCheck(d.now, time.Hour))
	must(t, b.Close())
	must(t, a.Crash("a2", ""))
	must(t, b.Crash("b2", ""))
	r := d.open()
	if got := told(r); got != "crash b2, crash a2, error a1, crash b1" {
		t.Errorf("%s", got)
	}
	if m := r.ThisMonth(); m.MeteredSent != 12 {
		t.Errorf("%+v", m)
	}
	if at, _ := r.LastCheck(); !at.Equal(d.now) {
		t.Errorf("last check %v", at)
	}
	if crashed, _ := d.open().Boot("2", false, ""); !crashed {
		t.Error("the boot was lost")
	}
}

// A disk that cannot be written is no reason to stop; what waits is written when
// it can be, once.
func TestDiskFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		for _, before := range []int{0, 1, 2} {
			d := newDevice(t)
			h := d.open()
			for i := range before {
				must(t, h.Crash("c"+strconv.Itoa(i), ""))
			}
			d.fs.Record()
			first := d.fs.Ops()
			must(t, d.open().Crash("probe", ""))
			last := d.fs.Ops()
			for at := first; at < last; at++ {
				d := newDevice(t)
				h := d.open()
				for i := range before {
					must(t, h.Crash("c"+strconv.Itoa(i), ""))
				}
				d.fs.Inject(crashfs.Fault{At: at, Err: cause, Sticky: true, Short: true})
				err := h.Crash("new", "")
				d.fs.Inject(crashfs.Fault{})
				if err == nil {
					continue // it was an operation that the rest does not need
				}
				var e *godwit.Error
				if !errors.As(err, &e) || e.Hint == "" {
					t.Errorf("%v", err)
				}
				if n := d.writes(func() { must(t, h.AddBytes(true, 1, 0)) }); n != 0 {
					t.Errorf("it is tried again at once")
				}
				want := told(h)
				if !strings.HasPrefix(want, "crash new") || strings.Count(want, "crash") != before+1 {
					t.Errorf("%s", want)
				}
				d.now = d.now.Add(10 * time.Minute)
				must(t, h.Tick())
				if got := told(d.open()); got != want {
					t.Errorf("%v at %d: %q, want %q", cause, at, got, want)
				}
			}
		}
	}
}

// A device without the folder of the state remembers nothing by only reading.
func TestReadingLeavesNoTrace(t *testing.T) {
	d := newDevice(t)
	h := d.open()
	must(t, h.Tick())
	must(t, h.Flush())
	must(t, h.Close())
	if _, err := d.fs.Lstat(".godwit"); err == nil {
		t.Error("the folder was made")
	}
}

// It is the same on the machine's own disk.
func TestRealDisk(t *testing.T) {
	fsys, err := vfs.OS(t.TempDir())
	must(t, err)
	defer fsys.Close()
	opt := Options{Limit: 2}
	for i := range 4 {
		h, err := Open(fsys, "state/godwit", opt)
		must(t, err)
		crashed, err := h.Boot(strconv.Itoa(i), false, "power-on")
		if must(t, err); crashed != (i > 0) {
			t.Errorf("start %d: %v", i, crashed)
		}
		must(t, h.Crash(strings.Repeat("x", 40-10*i), ""))
		must(t, h.AddBytes(true, 1, 1))
		must(t, h.SetLastCheck(time.Now(), time.Hour))
	}
	h, err := Open(fsys, "state/godwit", opt)
	must(t, err)
	if got := told(h); got != "crash xxxxxxxxxx, crash power-on" || h.ThisMonth().Metered() < 6 {
		t.Errorf("%s; %+v", got, h.ThisMonth())
	}
}
