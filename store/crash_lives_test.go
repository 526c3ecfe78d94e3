package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// Devices live through one cut after the other, also several in a row before a
// recovery comes to its end, without ever being set up anew.
func TestCrashLives(t *testing.T) {
	lives, years := 12, 40
	switch {
	case os.Getenv("GODWIT_CRASH") == "all":
		lives = 300
	case testing.Short(), race.Enabled:
		lives, years = 2, 25
	}
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			cuts := 0
			for life := range lives {
				n, err := live(w, uint64(life), years)
				if cuts += n; err != nil {
					t.Errorf("life %d, after %d cuts: %v", life, n, err)
				}
			}
			t.Logf("%d cuts in %d lives", cuts, lives)
		})
	}
}

func live(w world, seed uint64, years int) (cuts int, err error) {
	r := rand.New(rand.NewPCG(seed, 7))
	raw := crashfs.New(w.disk)
	d := &device{world: w, fs: raw}
	if err := errors.Join(d.putAt(raw, ".", foreign), d.update(id1, v1), raw.Sync()); err != nil {
		return 0, err
	}
	trees := map[string]tree{id1: v1, id2: v2, id3: v3}
	ids := []string{id1, id2, id3}
	cut := func(upTo int, act func(*device) error) error {
		raw.StopAt(raw.Ops() + r.IntN(upTo))
		err := act(d)
		raw.StopAt(-1)
		if err != nil && !errors.Is(err, crashfs.ErrStopped) {
			return err
		}
		raw = raw.Crash(crashfs.Seeded(r.Uint64()))
		d = &device{world: w, fs: raw}
		cuts++
		return nil
	}
	now := id1
	for range years {
		s, err := d.open()
		if err != nil {
			return cuts, err
		}
		act, next := (*device).confirm, now
		what := "confirm"
		switch previous := s.Record().Previous.ID; {
		case r.IntN(4) == 0:
		case r.IntN(3) == 0 && trees[previous] != nil:
			what, next = "rollback", previous
			act = func(d *device) error { return d.rollback(previous, store.Rejection{}) }
		default:
			next = ids[r.IntN(3)]
			what = "update to " + next[:1]
			act = func(d *device) error { return d.update(next, trees[next]) }
		}
		if err := cut(400, act); err != nil {
			return cuts, fmt.Errorf("%s: %w", what, err)
		}
		for r.IntN(2) == 0 {
			if err := cut(200, (*device).recover); err != nil {
				return cuts, fmt.Errorf("%s, recovery: %w", what, err)
			}
		}
		if err := d.recover(); err != nil {
			return cuts, fmt.Errorf("%s, recovery: %w", what, err)
		}
		isOld := d.check(raw, state{id: now, tree: trees[now]}, false)
		isNew := d.check(raw, state{id: next, tree: trees[next]}, false)
		switch {
		case isNew == "":
			now = next
		case isOld != "":
			return cuts, fmt.Errorf("%s: neither old nor new\nnot old: %s\nnot new: %s", what, isOld, isNew)
		}
	}
	return cuts, nil
}
