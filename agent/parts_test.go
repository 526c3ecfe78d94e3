package agent

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
)

// A fleet spreads itself evenly over the time between two checks, and each device
// keeps its place.
func TestSlots(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	var places [60]int
	for i := range 6000 {
		id := "station-" + strconv.Itoa(i)
		at := next(now, time.Hour, id)
		if d := at.Sub(now); d < 30*time.Minute || d > 90*time.Minute {
			t.Fatalf("%s checks after %v", id, d)
		}
		if again := next(at, time.Hour, id); again.Sub(at) != time.Hour {
			t.Fatalf("%s moves: %v after %v", id, again, at)
		}
		places[at.Minute()]++
	}
	for m, n := range places {
		if n < 60 || n > 145 {
			t.Errorf("%d of 6000 devices check in minute %d", n, m)
		}
	}
}

func TestBackoff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		for range 100 {
			if d := backoff(n+1, time.Hour, r); d < want*3/4 || d > want*5/4 {
				t.Fatalf("%v after %d failures", d, n+1)
			}
		}
	}
	if d := backoff(1000000, 365*24*time.Hour, r); d > 460*24*time.Hour {
		t.Error(d)
	}
}

// The figures are those of the reference updater.
func TestAdapt(t *testing.T) {
	base := Tuning{Chunk: 1024, Retries: 3, Backoff: 3 * time.Second}
	for _, tt := range []struct {
		what string
		base Tuning
		free int64
		s    Signal
		want Tuning
		said int
	}{
		{"nothing to say", base, 1 << 20, Signal{}, base, 0},
		{"little memory", base, 2048, Signal{}, Tuning{512, 3, 3 * time.Second}, 1},
		{"hardly any", base, 100, Signal{}, Tuning{256, 3, 3 * time.Second}, 1},
		{"a large chunk", Tuning{65536, 3, time.Second}, 1 << 30, Signal{}, Tuning{4096, 3, time.Second}, 1},
		{"memory is not known", base, 0, Signal{}, base, 0},
		{"a good link", base, 1 << 20, Signal{true, -70, "wlan0"}, base, 0},
		{"a weak one", base, 1 << 20, Signal{true, -71, "wlan0"}, Tuning{1024, 6, 3 * time.Second}, 1},
		{"still a weak one", base, 1 << 20, Signal{true, -75, "wlan0"}, Tuning{1024, 6, 3 * time.Second}, 1},
		{"a very weak one", base, 1 << 20, Signal{true, -76, "wlan0"}, Tuning{1024, 8, 5 * time.Second}, 1},
		{"more than that already", Tuning{1024, 10, 9 * time.Second}, 1 << 20, Signal{true, -90, "wlan0"}, Tuning{1024, 10, 9 * time.Second}, 0},
	} {
		if got, said := adapt(tt.base, tt.free, tt.s); got != tt.want || len(said) != tt.said {
			t.Errorf("%s: %+v, %q", tt.what, got, said)
		}
	}
}

func TestWireless(t *testing.T) {
	const head = "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n" +
		" face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n"
	for text, want := range map[string]Signal{
		head + " wlan0: 0000   54.  -56.  -256        0      0      0      0      0        0\n": {true, -56, "wlan0"},
		head + " wlp2s0: 0000   30.  -80.  -256       0      0      0      0      0        0\n": {true, -80, "wlp2s0"},
		head:                      {},
		"":                        {},
		"wlan0: 0000 1":           {},
		"wlan0: 0000 1. 200. 3\n": {},
		"wlan0: x y z\n":          {},
	} {
		if got := wireless(text); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestBusy(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "busy")
	file := config.When{BusyFile: config.Path(name)}
	is := func(what string, w config.When, want bool) {
		t.Helper()
		if got := busy(context.Background(), w, dir); (got != "") != want {
			t.Errorf("%s: %q", what, got)
		}
	}
	is("nothing is said", config.When{}, false)
	is("no file", file, false)
	os.WriteFile(name, nil, 0o644)
	is("an empty file", file, false)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	is("a locked file", file, true)
	f.Close()
	is("it is let go", file, false)
	os.WriteFile(name, []byte("1"), 0o644)
	is("a file with something in it", file, true)
	is("a command that lets", config.When{BusyCommand: config.Shell("exit 0")}, false)
	is("a command that does not", config.When{BusyCommand: config.Shell("exit 1")}, true)
	is("in the tree", config.When{BusyCommand: config.Shell("test -s busy && exit 3")}, true)
	is("no such command", config.When{BusyCommand: config.Shell("/nowhere/at/all")}, false)
	is("no such program", config.When{BusyCommand: config.Command{"/nowhere/at/all"}}, false)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if got := busy(ctx, config.When{BusyCommand: config.Shell("sleep 60")}, dir); got == "" {
		t.Error("a command that does not end lets everything pass")
	}
}

// What repeats is written once an hour, what is too much is counted, and nobody makes
// lines of their own.
func TestLog(t *testing.T) {
	var b bytes.Buffer
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	l := &Log{W: &b, Journal: true, Now: func() time.Time { return now }}
	for range 1000 {
		l.Say(Error, "the disk is full")
		now = now.Add(time.Second)
	}
	now = now.Add(time.Hour)
	l.Say(Error, "the disk is full")
	if want := "<3>the disk is full\n<3>the disk is full repeated=999\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	now = now.Add(time.Hour)
	for i := range 5000 {
		l.Say(Info, "line "+strconv.Itoa(i))
	}
	now = now.Add(time.Minute)
	l.Say(Info, "after\nthat", "a", "b c", "empty", "", "n", "1\n2")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if n := len(lines); n != burst+2 {
		t.Errorf("%d lines", n)
	}
	if s := lines[len(lines)-2]; s != "<4>4800 lines were left out: too many at once" {
		t.Error(s)
	}
	if s := lines[len(lines)-1]; s != `<6>after that a="b c" n="1 2"` {
		t.Error(s)
	}
	b.Reset()
	l.Say(Error, "a\u009b31mb\u2028c", "k", strings.Repeat("x", 100<<10))
	if s := b.String(); len(s) > 5<<10 || !strings.HasPrefix(s, "<3>a 31mb c k=x") {
		t.Errorf("%d bytes: %.40q", len(s), s)
	}
	b.Reset()
	l.JSON = true
	l.Fail(Warning, "x", godwit.Fail(godwit.CodeNetwork, nil, "no \"route\"", "wait"))
	if want := `{"type":"log","at":"2026-12-01T02:17:40Z","level":"warning","text":"no \"route\"","what":"x","code":"network","hint":"wait"}` + "\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
	l.Say(Debug, "not at this level")
	(*Log)(nil).Say(Error, "nobody listens")
	if strings.Count(b.String(), "\n") != 1 {
		t.Error(b.String())
	}
}
