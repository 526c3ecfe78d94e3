package history

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A life is a device on a disk that may be cut.
type life struct {
	fs  vfs.FS
	now time.Time
	h   *History
	err error
}

func (l *life) options() Options {
	return Options{Now: func() time.Time { return l.now }, Uptime: func() time.Duration { return time.Minute }, Limit: 4, Attempts: 3}
}

func (l *life) open() {
	if l.h, l.err = Open(l.fs, ".godwit", l.options()); l.err != nil {
		l.err = fmt.Errorf("open: %w", l.err)
	}
}

// What devices do. After each step that returns nil what it wrote must stay.
var (
	deeds = []func(l *life) error{
		func(l *life) error { l.open(); return l.err },
		func(l *life) error { _, err := l.h.Boot("1", false, ""); return err },
		func(l *life) error { return l.h.SetLastCheck(l.now, time.Hour) },
		func(l *life) error { return l.h.Crash("panic", strings.Repeat("x", 100)) },
		func(l *life) error { return l.h.AddBytes(true, 1, 2) },
		func(l *life) error { return l.h.Error("network", "check", "no route") },
		func(l *life) error { return l.h.Error("network", "check", "no route") },
		func(l *life) error {
			return l.h.Attempt("v1", "v2", "installed", strings.Repeat("y", 200), 5000, time.Minute)
		},
		func(l *life) error { return l.h.AddBytes(true, 1, 64<<10) },
		func(l *life) error { return l.h.Close() },
		func(l *life) error { l.open(); return l.err },
		func(l *life) error { _, err := l.h.Boot("2", false, ""); return err },
		func(l *life) error { return l.h.Attempt("v2", "v3", "failed", strings.Repeat("z", 200), 1, 0) },
		func(l *life) error { return l.h.Attempt("v2", "v3", "failed", "", 1, 0) },
		func(l *life) error { l.open(); return l.err }, // killed, and started again
		func(l *life) error { _, err := l.h.Boot("3", false, "watchdog"); return err },
		func(l *life) error { return l.h.Attempt("v2", "v3", "failed", "the file is shorter from now on", 1, 0) },
		func(l *life) error { return l.h.Crash("panic", "") },
		func(l *life) error { return l.h.Crash("panic", "") },
	}
	recovery = []func(l *life) error{
		func(l *life) error { l.open(); return l.err },
		func(l *life) error { _, err := l.h.Boot("later", false, ""); return err },
		func(l *life) error { return l.h.Crash("after the cut", "") },
		func(l *life) error { return l.h.Close() },
	}
)

// onDisk says what a device that starts on this disk knows.
func onDisk(fs vfs.FS, o Options) string {
	h := History{fs: fs, folder: ".godwit", opt: o}
	f, err := h.read()
	if err != nil {
		return err.Error()
	}
	f.seq = 0
	_, body, _ := strings.Cut(string(f.encode()), "\n")
	return body
}

// A campaign cuts the power after every operation.
type campaign struct {
	seeds  int                 // cuts by chance at each operation
	again  int                 // and in each recovery
	stride int                 // recoveries of which one is cut again
	wrap   func(vfs.FS) vfs.FS // damage planted between history and disk
	lie    crashfs.Lie
	single int
	twice  int
	bad    []string
}

func (c *campaign) wrapped(fs vfs.FS) vfs.FS {
	if c.wrap != nil {
		return c.wrap(fs)
	}
	return fs
}

func (c *campaign) fail(format string, a ...any) {
	if len(c.bad) < 5 {
		c.bad = append(c.bad, fmt.Sprintf(format, a...))
	}
}

// play does the steps on raw and looks at every cut: it must leave what the
// disk had before the step that was cut, or what it has after it. then is
// called for the cuts.
func (c *campaign) play(raw *crashfs.FS, now time.Time, where string, steps []func(*life) error, seeds int, then func(*crashfs.FS, string)) {
	run := func(fs *crashfs.FS, between func(i int)) {
		l := &life{fs: c.wrapped(fs), now: now}
		for i, step := range steps {
			l.now = l.now.Add(time.Hour / 2)
			between(i)
			if err := step(l); err != nil {
				c.fail("%s, step %d: %v", where, i, err)
				return
			}
		}
		between(len(steps))
	}
	opt := (&life{now: now}).options()
	// What a killed process left in memory only may be lost until something is
	// written.
	states, base, written := make([]string, len(steps)+1), onDisk(c.wrapped(raw.Crash(crashfs.Lose)), opt), false
	trial := raw.Clone()
	run(trial, func(i int) { states[i] = onDisk(c.wrapped(trial), opt) })
	if len(c.bad) > 0 {
		return
	}
	at := 0
	hook := func(op crashfs.Op) {
		if !op.Changes() || len(c.bad) > 0 {
			return
		}
		for _, k := range cuts(seeds, uint64(op.N)*100) {
			after := k.of(raw)
			w := fmt.Sprintf("%s, step %d, cut after %v (%s)", where, at, op, k.name)
			if got := onDisk(c.wrapped(after), opt); got != states[at] && got != states[at+1] && (written || got != base) {
				c.fail("%s:\n%s\nis neither\n%s\nnor\n%s", w, got, states[at], states[at+1])
			}
			if then != nil {
				then(after, w)
			}
		}
	}
	run(raw, func(i int) {
		at = i
		raw.OnOp(nil)
		written = written || i > 0 && states[i] != states[i-1]
		// What a step wrote stays from now on.
		if got := onDisk(c.wrapped(raw.Crash(crashfs.Lose)), opt); written && got != states[i] {
			c.fail("%s, after step %d: a cut leaves\n%s\nand not\n%s", where, i-1, got, states[i])
		}
		raw.OnOp(hook)
	})
	raw.OnOp(nil)
}

type cut struct {
	name string
	of   func(*crashfs.FS) *crashfs.FS
}

func cuts(seeds int, base uint64) []cut {
	list := []cut{
		{"lose", func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Lose) }},
		{"keep", func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Keep) }},
		{"kill", (*crashfs.FS).Clone},
	}
	for i := range uint64(seeds) {
		list = append(list, cut{fmt.Sprint("seed ", base+i), func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Seeded(base + i)) }})
	}
	return list
}

func (c *campaign) run(t *testing.T, o crashfs.Options) {
	raw := crashfs.New(o)
	must(t, raw.Mkdir(".godwit"))
	must(t, raw.Sync())
	raw.Tell(c.lie)
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	c.play(raw, now, "life", deeds, c.seeds, func(after *crashfs.FS, where string) {
		if c.single++; c.single%c.stride == 0 {
			c.play(after, now.Add(24*time.Hour), where+"\nrecovery", recovery, c.again, func(*crashfs.FS, string) { c.twice++ })
		}
	})
}

var disks = []struct {
	name string
	o    crashfs.Options
}{{"journal", crashfs.Options{}}, {"fat", crashfs.VFAT()}, {"fat with crossed links", func() crashfs.Options { o := crashfs.VFAT(); o.CrossLinks = true; return o }()}}

func TestCrash(t *testing.T) {
	for _, d := range disks {
		t.Run(d.name, func(t *testing.T) {
			c := campaign{seeds: 4, again: 1, stride: 5}
			if os.Getenv("GODWIT_CRASH") == "all" {
				c = campaign{seeds: 15, again: 4, stride: 1}
			}
			c.run(t, d.o)
			for _, b := range c.bad {
				t.Error(b)
			}
			t.Logf("%d cuts, %d of them followed by another", c.single, c.twice)
			if c.single < 250 || c.twice < 2000 {
				t.Error("that is too few to mean anything")
			}
		})
	}
}

// oneCopy writes both copies to the same name.
type oneCopy struct{ vfs.FS }

func (o oneCopy) name(n string) string { return strings.Replace(n, Name2, Name, 1) }

func (o oneCopy) Open(name string, flag vfs.Flag) (vfs.File, error) {
	return o.FS.Open(o.name(name), flag)
}
func (o oneCopy) Lstat(name string) (vfs.Info, error) { return o.FS.Lstat(o.name(name)) }

// noAnchor opens files whose Sync does nothing where they are only read.
type noAnchor struct{ vfs.FS }

type unsynced struct{ vfs.File }

func (unsynced) Sync() error { return nil }

func (n noAnchor) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := n.FS.Open(name, flag)
	if err == nil && flag&vfs.Write == 0 {
		f = unsynced{f}
	}
	return f, err
}

// The test of cuts sees what it is there to see.
func TestCrashSeesDamage(t *testing.T) {
	for _, tt := range []struct {
		what string
		c    campaign
	}{
		{"fsync does nothing", campaign{lie: crashfs.LieFileSync}},
		{"the sync of folders does nothing", campaign{lie: crashfs.LieSyncDir}},
		{"there is only one copy", campaign{wrap: func(fs vfs.FS) vfs.FS { return oneCopy{fs} }}},
		{"what a killed process left is not made durable", campaign{wrap: func(fs vfs.FS) vfs.FS { return noAnchor{fs} }}},
	} {
		c := tt.c
		c.seeds, c.again, c.stride = 4, 10, 1
		c.run(t, crashfs.Options{})
		if len(c.bad) == 0 {
			t.Errorf("%s: nothing was seen in %d cuts", tt.what, c.single)
		}
	}
}

// The first start of all, where the folder is not there yet.
func TestCrashOfTheFirstWrite(t *testing.T) {
	raw := crashfs.New(crashfs.Options{})
	c := campaign{}
	c.play(raw, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), "first", deeds[:4], 20, nil)
	for _, b := range c.bad {
		t.Error(b)
	}
}
