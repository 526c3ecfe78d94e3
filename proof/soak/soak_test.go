package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// settings are the lives that are lived with a seed: one in each layout.
func settings(seed uint64, days int) []setting {
	slots := []struct {
		name string
		disk crashfs.Options
	}{{"a journal with hard links", crashfs.Options{}}, {"a journal with clones", crashfs.Options{Links: crashfs.Clones}}, {"a journal without links", crashfs.Options{Links: crashfs.NoLinks}}}
	s := slots[seed%3]
	list := []setting{{seed: seed, layout: store.Slots, disk: s.disk, name: s.name, days: days},
		{seed: seed, layout: store.InPlace, disk: crashfs.Options{}, name: "a journal", days: days}}
	if seed%2 == 1 {
		list[1].disk, list[1].name = crashfs.VFAT(), "FAT"
	}
	return list
}

// newKey makes the key that signs the reports.
func newKey(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if _, _, err := report.NewKey(name, "station-7"); err != nil {
		t.Fatal(err)
	}
	return name
}

// live lives one life and returns what there is to tell of it.
func live(t *testing.T, s setting) (w *world, err error) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(s)
		err = w.live()
	})
	return w, err
}

// GODWIT_SOAK is the number of days, and GODWIT_SEED the only seed to live with.
func TestSoak(t *testing.T) {
	days, seeds := 21, []uint64{1, 2, 3}
	if testing.Short() || race.Enabled {
		days, seeds = 10, seeds[:2]
	}
	if n, err := strconv.Atoi(os.Getenv("GODWIT_SOAK")); err == nil {
		days = n
		seeds = seeds[:2]
	}
	if n, err := strconv.ParseUint(os.Getenv("GODWIT_SEED"), 10, 64); err == nil {
		seeds = []uint64{n}
	}
	key := newKey(t)
	for _, seed := range seeds {
		for _, s := range settings(seed, days) {
			s.key = key
			t.Run(fmt.Sprintf("%s/%d", s.layout, seed), func(t *testing.T) {
				began := time.Now()
				w, err := live(t, s)
				if err != nil {
					t.Errorf("%v\nwhat the agent said last:\n%s", err, w.lines.last(40))
				}
				t.Logf("%s on %s, seed %d, in %v:\n%s", s.layout, s.name, seed, time.Since(began).Round(time.Millisecond), w.t)
			})
		}
	}
}
