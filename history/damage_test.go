package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// filled is a device with both copies written, and what the file that counts is.
func filled(t testing.TB) (d *device, newest, older []byte) {
	d = newDevice(t)
	h := d.open()
	_, err := h.Boot("boot-1", false, "")
	must(t, err)
	must(t, h.SetLastCheck(d.now, time.Hour))
	must(t, h.AddBytes(true, 11, 22))
	for i := range 5 {
		d.now = d.now.Add(time.Minute)
		n := strconv.Itoa(i)
		must(t, h.Error(godwit.Code("e"+n), "fetch", "text of "+n))
		must(t, h.Attempt("v"+n, "v1."+n, "failed", "why", 100, time.Second))
		must(t, h.Crash("c"+n, ""))
	}
	newest, older = d.file(names[h.copy]), d.file(names[1-h.copy])
	return d, newest, older
}

func (d *device) file(name string) []byte {
	d.t.Helper()
	b, err := vfs.ReadFile(d.fs, ".godwit/"+name, maxFile)
	must(d.t, err)
	return b
}

func (d *device) put(name string, b []byte) {
	d.t.Helper()
	must(d.t, vfs.WriteFile(d.fs, ".godwit/"+name, b))
}

// A file of ours is JSON to others, one line for each event.
func TestFormat(t *testing.T) {
	_, b, _ := filled(t)
	var v struct {
		Format  int
		Sum     string
		Seq     int
		Boot    struct{ ID string }
		Check   struct{ At time.Time }
		Bytes   []struct{ Month string }
		Crashes []struct{ Kind string }
		Errors  []struct{ Code, Text string }
		Updates []struct{ Outcome, From string }
	}
	must(t, json.Unmarshal(b, &v))
	if v.Format != 1 || len(v.Sum) != 64 || v.Seq == 0 || v.Boot.ID != "boot-1" || v.Check.At.IsZero() || v.Bytes[0].Month != "2026-12" ||
		v.Crashes[4].Kind != "c4" || v.Errors[0].Text != "text of 0" || v.Updates[1].From != "v1" {
		t.Errorf("%+v", v)
	}
	golden, err := os.ReadFile("testdata/health.json")
	if err != nil || !bytes.Equal(golden, b) {
		t.Errorf("%v; the format has changed:\n%s", err, b)
	}
}

// Whatever happens to one copy, the other one counts.
func TestOneCopyIsDamaged(t *testing.T) {
	d, newest, older := filled(t)
	before, after := told(read(t, d, older)), told(read(t, d, newest))
	if before == after {
		t.Fatal("the copies do not differ")
	}
	for at := 0; at < len(newest); at += 29 {
		for name, b := range map[string][]byte{
			"flipped": flip(newest, at), "cut off": newest[:at], "zeros": append(bytes.Clone(newest[:at]), make([]byte, len(newest)-at)...),
			"mixed with the other": append(bytes.Clone(newest[:at]), older[min(at, len(older)):]...),
		} {
			if bytes.Equal(b, newest) || bytes.Equal(b, older) {
				continue
			}
			d := newDevice(t)
			must(t, d.fs.Mkdir(".godwit"))
			d.put(Name, older)
			d.put(Name2, b)
			h, err := Open(d.fs, ".godwit", d.opt)
			if err != nil || told(h) != before {
				t.Fatalf("%s at %d: %v\n%s", name, at, err, told(h))
			}
			must(t, h.Crash("later", ""))
			if got := told(d.open()); got != "crash later, "+before {
				t.Fatalf("%s at %d: %s", name, at, got)
			}
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x11
	return b
}

// read is what one file alone holds.
func read(t *testing.T, d *device, b []byte) *History {
	t.Helper()
	s, whole, _ := decode(b, d.open().opt)
	if !whole {
		t.Fatal("the file is damaged")
	}
	return &History{s: s}
}

// Where both are damaged, every line that is whole is kept, the file is set
// aside, and the loss is reported once.
func TestBothCopiesAreDamaged(t *testing.T) {
	_, newest, older := filled(t)
	for at := 0; at < len(newest); at += 11 {
		d := newDevice(t)
		must(t, d.fs.Mkdir(".godwit"))
		damaged := flip(newest, at)
		d.put(Name, damaged)
		d.put(Name2, older[:len(older)/3])
		h, err := Open(d.fs, ".godwit", d.opt)
		if godwit.CodeOf(err) != godwit.CodeDamaged {
			t.Fatalf("flipped at %d: %v", at, err)
		}
		n := 0
		for range h.Events() {
			n++
		}
		if n < 13 { // a line that lost its end takes the next one with it
			t.Fatalf("flipped at %d (%q): %d of 15 events are left", at, newest[max(at-10, 0):min(at+10, len(newest))], n)
		}
		if n := d.writes(func() { Open(d.fs, ".godwit", d.opt) }); n > 0 {
			t.Fatal("reading writes")
		}
		want := "crash later, " + told(h)
		must(t, h.Crash("later", ""))
		if got := told(d.open()); got != want {
			t.Fatalf("flipped at %d: %q, want %q", at, got, want)
		}
		if got := d.file(Name + damagedSuffix); !bytes.Equal(got, damaged) {
			t.Fatal("the damaged file is not kept")
		}
		must(t, h.Crash("and later", ""))
		if got := told(d.open()); got != "crash and later, "+want {
			t.Fatalf("%s", got)
		}
	}
}

// A cut while a damaged history is mended loses nothing of what could be made
// out.
func TestCrashWhileMending(t *testing.T) {
	_, newest, older := filled(t)
	make1 := func() *device {
		d := newDevice(t)
		must(t, d.fs.Mkdir(".godwit"))
		d.put(Name, flip(newest, len(newest)/2))
		d.put(Name2, older[:len(older)/3])
		must(t, d.fs.Sync())
		return d
	}
	d := make1()
	h, _ := Open(d.fs, ".godwit", d.opt)
	least := told(h)
	n := 0
	d.fs.OnOp(func(op crashfs.Op) {
		for _, k := range cuts(20, uint64(op.N)*100) {
			n++
			after, _ := Open(k.of(d.fs), ".godwit", d.opt)
			if got := told(after); got != least && got != "crash later, "+least {
				t.Fatalf("cut after %v (%s): %s", op, k.name, got)
			}
		}
	})
	must(t, h.Crash("later", ""))
	if d.fs.OnOp(nil); n < 100 {
		t.Errorf("%d cuts", n)
	}
}

// A file that an editor changed is read, and one that nothing can be made of
// does no harm.
func TestStrangeFiles(t *testing.T) {
	_, newest, _ := filled(t)
	for _, tt := range []struct {
		what, text, want string
		damaged          bool
	}{
		{what: "empty", text: ""},
		{what: "garbage", text: "\xE5\xE5\xE5"},
		{what: "other JSON", text: `{"a":1}`},
		{what: "a list", text: `[1,2]`},
		{what: "edited", text: strings.Replace(string(newest), "text of 0", "something else", 1), damaged: true, want: told(read(t, newDevice(t), newest))},
		{what: "made pretty", text: func() string { var b bytes.Buffer; json.Indent(&b, newest, "", "  "); return b.String() }(), damaged: true, want: told(read(t, newDevice(t), newest))},
		{what: "reference", text: `{"crashes": [{"timestamp": 1764590400, "details": "watchdog"}, {"timestamp": 1764586800.5, "details": "early"}, 7, {"details": "no time"}],
			"errors": [{"timestamp": 817905600, "details": "ENOMEM"}], "updates": [{"timestamp": 1764590460, "version": "v1.2.0", "success": true}, {"timestamp": 1764590300, "version": "v1.1.0", "success": false, "error": "no space"}], "other": []}`,
			want: "update installed, error , crash , update failed, crash "},
		{what: "empty reference", text: `{"crashes": [], "errors": [], "updates": []}`},
	} {
		d := newDevice(t)
		must(t, d.fs.Mkdir(".godwit"))
		d.put(Name, []byte(tt.text))
		h, err := Open(d.fs, ".godwit", d.opt)
		if (err != nil) != tt.damaged || told(h) != tt.want {
			t.Errorf("%s: %v\n%s", tt.what, err, told(h))
		}
		must(t, h.Crash("new", ""))
		if got := strings.TrimSuffix(told(d.open()), ", "); got != strings.TrimSuffix("crash new, "+tt.want, ", ") {
			t.Errorf("%s: %s", tt.what, got)
		}
	}
}

// The reference updater's health log is taken over from where it lies, and left
// there.
func TestReference(t *testing.T) {
	d := newDevice(t)
	log := `{"crashes": [{"timestamp": 1796122800, "details": "hard fault"}], "errors": [], "updates": [{"timestamp": 1764590460, "version": "v1.2.0", "success": true}]}`
	must(t, vfs.WriteFile(d.fs, "ota_health.json", []byte(log)))
	d.opt.Reference = "ota_health.json"
	h := d.open()
	if c := h.Crashes(d.now.Add(-24 * time.Hour)); len(c) != 1 {
		t.Errorf("%v", c)
	}
	var list []Event
	for e := range h.Events() {
		list = append(list, e)
	}
	if len(list) != 2 || list[0].Text != "hard fault" || list[1].To != "v1.2.0" || list[1].Name != "installed" {
		t.Errorf("%+v", list)
	}
	must(t, h.Crash("new", ""))
	if got := told(d.open()); got != "crash new, crash , update installed" {
		t.Errorf("%s", got)
	}
	if b, err := vfs.ReadFile(d.fs, "ota_health.json", 1000); err != nil || string(b) != log {
		t.Errorf("%v", err)
	}
}

// A disk that cannot be read is a warning.
func TestUnreadable(t *testing.T) {
	d, _, _ := filled(t)
	d.fs.StopAt(0)
	h, err := Open(d.fs, ".godwit", d.opt)
	if err == nil || errors.Is(err, fs.ErrNotExist) || h == nil || told(h) != "" || h.Crash("x", "") == nil {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	_, newest, older := filled(f)
	f.Add(newest)
	f.Add(older)
	f.Add(flip(newest, 200))
	f.Add(newest[:len(newest)/2])
	f.Add([]byte(`{"crashes":[{"timestamp":1764590400,"details":"x"}],"errors":[],"updates":[{"version":"v1","success":true}]}`))
	f.Add([]byte(`{"seq":9007199254740991,"bytes":[{"month":"2026-13"},{"month":"2026-12","sent":-1}],"crashes":[{"n":1e3,"at":"9999-12-31T23:59:59Z","kind":"\u0000"}]}`))
	f.Add([]byte("\"check\":{\"at\":\"2026-01-01T00:00:00Z\",\"every_s\":9223372036854775807},\n{\"n\":5,\"kind\":\"k\"}]}"))
	d := newDevice(f)
	opt := d.open().opt
	f.Fuzz(func(t *testing.T, b []byte) {
		headSeq(b)
		s, _, _ := decode(b, opt)
		s.check.assume(d.now)
		if len(s.crashes) > 100 || len(s.errors) > 100 || len(s.updates) > 50 || len(s.months) > maxMonths {
			t.Fatal("over the limits")
		}
		out := s.encode()
		if !json.Valid(out) || headSeq(out) != s.seq {
			t.Fatalf("%s", out)
		}
		again, whole, _ := decode(out, opt)
		if second := again.encode(); !whole || !bytes.Equal(second, out) {
			t.Fatalf("%v\n%s\nand again\n%s", whole, out, second)
		}
	})
}
