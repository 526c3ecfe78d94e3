package store_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A scenario is something that a device does while the power may fail.
type scenario struct {
	name     string
	prepare  func(d *device, raw *crashfs.FS) error // on a disk that is synced afterwards
	act      func(d *device) error                  // may be repeated
	old, new state
	// afterwards goes on from the new state; nil: roll back to old.
	afterwards func(d *device) error
	then       state
}

func scenarios(w world) []scenario {
	d := &device{world: w}
	start := func(d *device, raw *crashfs.FS) error { return d.putAt(raw, ".", foreign) }
	installed := func(d *device, raw *crashfs.FS) error {
		if err := start(d, raw); err != nil {
			return err
		}
		if err := d.update(id1, v1); err != nil {
			return err
		}
		return d.confirm()
	}
	updated := func(d *device, raw *crashfs.FS) error {
		if err := installed(d, raw); err != nil {
			return err
		}
		return d.update(id2, v2)
	}
	to2 := func(d *device) error { return d.update(id2, v2) }
	undo := func(d *device) error { return d.rollback("", store.Rejection{}) }
	s1, s2, s3 := state{id: id1, tree: v1}, state{id: id2, tree: v2}, state{id: id3, tree: v3}
	none := state{}
	drift := tree{"main.py": "x:drifted", "unchanged": "drifted", "lib/a.py": "gone", "bin/stay": "#!stay"}
	list := []scenario{
		{name: "first install", prepare: start, act: func(d *device) error { return d.update(id1, v1) }, old: none, new: s1,
			afterwards: to2, then: s2},
		{name: "update", prepare: installed, act: to2, old: s1, new: s2, afterwards: undo, then: s1},
		{name: "second update", prepare: updated, act: func(d *device) error { return d.update(id3, v3) }, old: s2, new: s3, afterwards: undo, then: s2},
		{name: "rollback of a failed trial", prepare: updated, old: s2, new: s1,
			act: func(d *device) error {
				return d.rollback(id1, store.Rejection{ID: id2, Name: "two", Reason: "health check failed"})
			},
			afterwards: to2, then: s2},
		{name: "rollback by a person", prepare: func(d *device, raw *crashfs.FS) error {
			if err := updated(d, raw); err != nil {
				return err
			}
			return d.confirm()
		}, act: func(d *device) error { return d.rollback(id1, store.Rejection{}) }, old: s2, new: s1, afterwards: to2, then: s2},
		{name: "confirm and prune", prepare: func(d *device, raw *crashfs.FS) error {
			if err := updated(d, raw); err != nil {
				return err
			}
			if err := d.confirm(); err != nil {
				return err
			}
			return d.update(id3, v3)
		}, act: (*device).confirm, old: s3, new: s3, afterwards: undo, then: s2},
		{name: "repair", prepare: func(d *device, raw *crashfs.FS) error {
			if err := installed(d, raw); err != nil {
				return err
			}
			return d.put(raw, drift)
		}, act: func(d *device) error { return d.repair(v1) },
			old: state{id: id1, tree: d.drifted(v1, drift)}, new: s1, afterwards: to2, then: s2},
		{name: "update over changed files", prepare: func(d *device, raw *crashfs.FS) error {
			if err := installed(d, raw); err != nil {
				return err
			}
			return d.put(raw, drift)
		}, act: to2, old: state{id: id1, tree: d.drifted(v1, drift)}, new: s2,
			afterwards: func(d *device) error { return d.update(id3, v3) }, then: s3},
		{name: "update after an abandoned one", prepare: func(d *device, raw *crashfs.FS) error {
			if err := installed(d, raw); err != nil {
				return err
			}
			// An update that was killed after it had staged and built everything.
			trial := raw.Clone()
			t := &device{world: d.world, fs: trial}
			n := 0
			trial.OnOp(func(o crashfs.Op) {
				if o.Kind == crashfs.Sync && n == 0 {
					n = o.N
				}
			})
			if err := t.update(id2, v2); err != nil {
				return err
			}
			raw.StopAt(raw.Ops() + n)
			d.update(id2, v2)
			raw.StopAt(-1)
			return nil
		}, act: func(d *device) error { return d.update(id3, v3) }, old: s1, new: s3, afterwards: undo, then: s1},
	}
	if w.layout == store.InPlace {
		b := state{id: "", more: before}
		list = append(list, scenario{name: "first install over files", prepare: func(d *device, raw *crashfs.FS) error {
			if err := start(d, raw); err != nil {
				return err
			}
			return d.putAt(raw, ".", before)
		}, act: func(d *device) error { return d.update(id1, v1) }, old: b, new: s1,
			afterwards: undo, then: state{id: store.BeforeGodwit, tree: before}})
	}
	return list
}

// drifted is a tree with changes made behind Godwit's back.
func (d *device) drifted(t, drift tree) tree {
	out := tree{}
	for p, v := range t {
		if n, ok := drift[p]; ok {
			if v = n; v == "gone" {
				continue
			}
		}
		out[p] = v
	}
	return out
}

// A cut is a way in which a moment can be the last one.
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
	for i := range seeds {
		seed := base + uint64(i)
		list = append(list, cut{fmt.Sprint("seed ", seed), func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Seeded(seed)) }})
	}
	return list
}

// A campaign cuts one scenario in one world everywhere.
type campaign struct {
	world
	scenario
	wrap          func(*crashfs.FS) vfs.FS // damage planted between store and disk; may be nil
	lie           crashfs.Lie
	seeds         int // seeded cuts at each operation
	stride        int // of double cuts, every stride-th is done
	skip          int // of the operations, every skip-th is the last one; 0 means 1
	stop          int // failures after which to give up
	ops           int
	single, twice int
	bad           []string
	turn          int
}

func (c *campaign) device(raw *crashfs.FS) *device {
	d := &device{world: c.world, fs: raw}
	if c.wrap != nil {
		d.fs = c.wrap(raw)
	}
	return d
}

func (c *campaign) fail(where, what string) {
	if what != "" {
		c.bad = append(c.bad, where+": "+what)
	}
}

func (c *campaign) done() bool { return len(c.bad) >= c.stop }

// run cuts the power after each operation, and after each operation of each
// recovery, and looks at what is there in the end.
func (c *campaign) run() error {
	raw := crashfs.New(c.disk)
	d := c.device(raw)
	if err := c.prepare(d, raw); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := raw.Sync(); err != nil {
		return err
	}
	if what := d.check(raw, c.old, false); what != "" && c.old.tree != nil && c.scenario.name != "repair" && c.scenario.name != "update over changed files" {
		return fmt.Errorf("before: %s", what)
	}
	raw.Tell(c.lie)
	raw.Record()
	first := raw.Ops()
	raw.OnOp(func(op crashfs.Op) {
		if !op.Changes() || c.done() {
			return
		}
		if c.ops++; c.skip > 1 && c.ops%c.skip != 0 {
			return
		}
		for _, k := range cuts(c.seeds, uint64(op.N)*1000) {
			where := fmt.Sprintf("cut after %v (%s)", op, k.name)
			c.again(k.of(raw), where)
		}
	})
	if err := c.act(d); err != nil {
		return fmt.Errorf("without a cut: %w", err)
	}
	raw.OnOp(nil)
	if what := d.check(raw, c.new, false); what != "" {
		return fmt.Errorf("without a cut: %s", what)
	}
	// What was reported as done cannot be lost.
	for _, k := range cuts(c.seeds+5, uint64(first)) {
		if c.done() {
			break
		}
		end := k.of(raw)
		c.single++
		if err := c.device(end).recover(); err != nil {
			c.fail("cut after the end ("+k.name+")", err.Error())
		} else {
			c.fail("cut after the end ("+k.name+")", d.check(end, c.new, false))
		}
	}
	return nil
}

// again recovers a disk as a cut left it, with a second cut after each
// operation of the recovery.
func (c *campaign) again(raw *crashfs.FS, where string) {
	if c.layout == store.Slots && c.scenario.name != "repair" {
		c.fail(where+", before the recovery", c.unrecovered(raw))
	}
	whole := raw.Clone()
	c.single++
	c.turn++
	turn := c.turn
	step := 0
	raw.OnOp(func(op crashfs.Op) {
		if !op.Changes() || c.done() {
			return
		}
		list := cuts(2, uint64(turn)*100+uint64(op.N))
		for _, k := range list {
			if step++; (step+turn)%c.stride != 0 {
				continue
			}
			c.twice++
			c.settle(k.of(raw), fmt.Sprintf("%s, and again after %v (%s)", where, op, k.name), c.twice%16 == 0)
		}
	})
	err := c.device(raw).recover()
	raw.OnOp(nil)
	if err != nil {
		c.fail(where, "recovery: "+err.Error())
		return
	}
	c.settle(whole, where, turn%8 == 0)
}

// unrecovered looks at a disk with slots before anything was recovered: the
// link to the running version must already lead to one that is whole.
func (c *campaign) unrecovered(raw *crashfs.FS) string {
	target, err := raw.Clone().Readlink(store.Current)
	if err != nil {
		if c.old.id == "" {
			return ""
		}
		return "current: " + err.Error()
	}
	d := c.device(raw)
	isOld, isNew := d.checkSlot(raw.Clone(), target, c.old.tree), d.checkSlot(raw.Clone(), target, c.new.tree)
	if isOld != "" && isNew != "" {
		return "current leads to neither old nor new\nnot old: " + isOld + "\nnot new: " + isNew
	}
	return ""
}

// settle recovers a disk for good and looks at it; with on it also goes on.
func (c *campaign) settle(raw *crashfs.FS, where string, on bool) {
	d := c.device(raw)
	if err := d.recover(); err != nil {
		c.fail(where, "recovery: "+err.Error())
		return
	}
	isOld := c.is(d, raw, c.old)
	isNew := c.is(d, raw, c.new)
	if isOld != "" && isNew != "" {
		c.fail(where, "neither old nor new\nnot old: "+isOld+"\nnot new: "+isNew)
		return
	}
	if !on {
		return
	}
	if err := c.act(d); err != nil {
		c.fail(where, "going on: "+err.Error())
		return
	}
	if what := d.check(raw, c.new, false); what != "" {
		c.fail(where, "after going on: "+what)
		return
	}
	if err := c.afterwards(d); err != nil {
		c.fail(where, "afterwards: "+err.Error())
		return
	}
	if err := d.confirm(); err != nil {
		c.fail(where, "confirm afterwards: "+err.Error())
		return
	}
	if what := d.check(raw, c.then, true); what != "" {
		c.fail(where, "afterwards: "+what)
	}
}

// is is check for one of the two states of the scenario. A tree that was
// changed by others fails Verify, rightly.
func (c *campaign) is(d *device, raw *crashfs.FS, s state) string {
	what := d.check(raw, s, false)
	if s.tree != nil && len(what) > 7 && what[:7] == "verify:" && (c.scenario.name == "repair" || c.scenario.name == "update over changed files") {
		return ""
	}
	return what
}

func TestCrash(t *testing.T) {
	seeds, stride, skip := 1, 101, 1
	switch {
	case os.Getenv("GODWIT_CRASH") == "all":
		seeds, stride = 3, 5 // once at every operation of every recovery
	case testing.Short():
		seeds, stride, skip = 0, 211, 5
	case race.Enabled:
		seeds, stride, skip = 0, 67, 2
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var mu sync.Mutex
	sums := map[string]int{}
	t.Run("cuts", func(t *testing.T) {
		for _, w := range worlds() {
			for _, s := range scenarios(w) {
				t.Run(w.name+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					c := campaign{world: w, scenario: s, seeds: seeds, stride: stride, skip: skip, stop: 3}
					err := c.run()
					for _, b := range c.bad {
						t.Error(b)
					}
					if err != nil {
						t.Fatal(err)
					}
					if c.ops == 0 || c.twice == 0 && skip == 1 && s.name != "confirm and prune" { // which leaves nothing to recover
						t.Error("nothing was cut")
					}
					t.Logf("%d operations, %d single cuts, %d double cuts", c.ops, c.single, c.twice)
					mu.Lock()
					sums["operations"] += c.ops
					sums["single"] += c.single
					sums["double"] += c.twice
					mu.Unlock()
				})
			}
		}
	})
	t.Logf("%d operations; %d single and %d double power cuts, each ended in exactly the old or exactly the new tree",
		sums["operations"], sums["single"], sums["double"])
}
