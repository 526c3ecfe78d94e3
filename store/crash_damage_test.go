package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// oneCopy keeps both copies of the record in the same file.
type oneCopy struct{ *crashfs.FS }

func (o oneCopy) name(n string) string { return strings.Replace(n, "record.1", "record.0", 1) }

func (o oneCopy) Open(name string, flag vfs.Flag) (vfs.File, error) {
	return o.FS.Open(o.name(name), flag)
}

func (o oneCopy) Lstat(name string) (vfs.Info, error) { return o.FS.Lstat(o.name(name)) }

// late lets Sync do nothing until a record was written, and after the next one:
// as if the store had made durable too late what a record relies on.
type late struct {
	*crashfs.FS
	on *bool
}

func (l late) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if flag&vfs.Write != 0 && strings.Contains(name, "/record.") {
		*l.on = !*l.on
	}
	return l.FS.Open(name, flag)
}

func (l late) Sync() error {
	if *l.on {
		return l.FS.Sync()
	}
	return nil
}

// unlinkFirst renames the way some programs do: it removes the target first.
type unlinkFirst struct{ *crashfs.FS }

func (u unlinkFirst) Rename(oldname, newname string) error {
	if i, err := u.FS.Lstat(newname); err == nil && i.Type != vfs.Dir {
		if err := u.FS.Remove(newname); err != nil {
			return err
		}
	}
	return u.FS.Rename(oldname, newname)
}

// A store that breaks one of the rules must be found out: a crash test that
// cannot fail proves nothing.
func TestCrashFindsDamage(t *testing.T) {
	type damage struct {
		name string
		lie  crashfs.Lie
		wrap func(*crashfs.FS) vfs.FS
		in   string // world
		at   string // scenario
	}
	damages := []damage{
		{name: "Sync does nothing", lie: crashfs.LieSync, in: "slots, journal, links", at: "update"},
		{name: "Sync does nothing", lie: crashfs.LieSync, in: "in-place, journal, no links", at: "update"},
		{name: "Sync does nothing", lie: crashfs.LieSync, in: "in-place, fat", at: "rollback of a failed trial"},
		{name: "File.Sync does nothing", lie: crashfs.LieFileSync, in: "slots, journal, links", at: "update"},
		{name: "File.Sync does nothing", lie: crashfs.LieFileSync, in: "in-place, fat", at: "update"},
		{name: "SyncDir does nothing", lie: crashfs.LieSyncDir, in: "slots, journal, links", at: "update"},
		{name: "SyncDir does nothing", lie: crashfs.LieSyncDir, in: "in-place, fat", at: "first install"},
		{name: "one copy of the record", wrap: func(f *crashfs.FS) vfs.FS { return oneCopy{f} }, in: "slots, journal, links", at: "update"},
		{name: "one copy of the record", wrap: func(f *crashfs.FS) vfs.FS { return oneCopy{f} }, in: "in-place, fat", at: "update"},
		{name: "no Sync before the record", wrap: func(f *crashfs.FS) vfs.FS { return late{FS: f, on: new(bool)} }, in: "slots, journal, no links", at: "update"},
		{name: "no Sync before the record", wrap: func(f *crashfs.FS) vfs.FS { return late{FS: f, on: new(bool)} }, in: "in-place, journal, links", at: "update"},
		{name: "rename removes its target first", wrap: func(f *crashfs.FS) vfs.FS { return unlinkFirst{f} }, in: "slots, journal, links", at: "update"},
	}
	if race.Enabled || testing.Short() {
		damages = []damage{damages[0], damages[4], damages[6], damages[8]}
	}
	for _, d := range damages {
		t.Run(d.name+"/"+d.in+"/"+d.at, func(t *testing.T) {
			t.Parallel()
			found := false
			for _, w := range worlds() {
				for _, s := range scenarios(w) {
					if w.name != d.in || s.name != d.at {
						continue
					}
					found = true
					c := campaign{world: w, scenario: s, seeds: 10, stride: 19, stop: 1, wrap: d.wrap, lie: d.lie}
					err := c.run()
					if len(c.bad) == 0 && err == nil {
						t.Errorf("%d single and %d double cuts found nothing wrong", c.single, c.twice)
					} else {
						first, _, _ := strings.Cut(strings.Join(append(c.bad, fmt.Sprint(err)), "; "), "\n")
						t.Logf("found after %d cuts: %s", c.single+c.twice, first)
					}
				}
			}
			if !found {
				t.Fatal("no such scenario")
			}
		})
	}
}
