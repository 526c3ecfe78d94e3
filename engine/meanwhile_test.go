package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// the process dies between the switch and the restart; the next run confirms without a restart
func TestInterruptedBeforeTheRestart(t *testing.T) {
	eachLayout(t, func(t *testing.T, l store.Layout) {
		d := newDevice(t, l, nil)
		_, err := d.Update(context.Background(), engine.UpdateOptions{})
		code(t, err, "")
		d.src.tip = "v2"
		ctx, cancel := context.WithCancel(context.Background())
		d.app.hook = func(n string) error {
			if n == "post_switch" {
				cancel() // Ctrl-C, or SIGTERM, here
				return ctx.Err()
			}
			return nil
		}
		before := d.app.restarts
		_, err = d.Update(ctx, engine.UpdateOptions{})
		t.Log(err)
		d.app.hook = nil
		r, err := d.Watch(context.Background())
		t.Log(r.Outcome, err, "restarts:", d.app.restarts-before)
		if d.app.restarts == before {
			t.Error("confirmed without ever restarting the application")
		}
	})
}

// Others that come while the application is being restarted do not restart it as
// well: not after a switch, and not after a rollback that was cut short.
func TestOneRestartAtATime(t *testing.T) {
	eachLayout(t, func(t *testing.T, l store.Layout) {
		d := newDevice(t, l, nil)
		_, err := d.Update(context.Background(), engine.UpdateOptions{})
		code(t, err, "")
		d.src.tip = "v2"
		d.app.hook = func(n string) error {
			if n != "post_switch" {
				return nil
			}
			d.app.hook = nil
			other := d.again(t, nil)
			_, err := other.Update(context.Background(), engine.UpdateOptions{})
			code(t, err, godwit.CodeBusy)
			_, err = other.Watch(context.Background())
			code(t, err, godwit.CodeBusy)
			return nil
		}
		before := d.app.restarts
		_, err = d.Update(context.Background(), engine.UpdateOptions{})
		code(t, err, "")
		if n := d.app.restarts - before; n != 1 {
			t.Errorf("%d restarts", n)
		}
	})
}

func TestFolderReplacedDuringTheTrial(t *testing.T) {
	d := newDevice(t, store.InPlace, func(c *engine.Config) {
		c.Trial = engine.Trial{Within: 5 * time.Second}
	})
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.src.tip = "v2"
	d.app.health = func() error { // somebody replaces a folder by an equal one while the trial goes on
		lib := filepath.Join(d.dir, "lib")
		os.Rename(lib, lib+".old")
		os.CopyFS(lib, os.DirFS(lib+".old"))
		os.Remove(filepath.Join(lib+".old", "a.py"))
		return nil
	}
	r, err := d.Update(context.Background(), engine.UpdateOptions{})
	t.Log(r.Outcome, err)
	code(t, err, "")
}

// app holds the lock for a moment when the wait ends
func TestLockIsTakenWhenTheTrialEnds(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.src.tip = "v2"
	d.app.health = func() error {
		f, err := os.OpenFile(filepath.Join(d.dir, ".godwit/lock"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		time.AfterFunc(300*time.Millisecond, func() { f.Close() })
		return nil
	}
	r, err := d.Update(context.Background(), engine.UpdateOptions{})
	t.Log(r.Outcome, err, d.Store.Record().Trial.Open)
	code(t, err, "")
}

func TestForceDuringATrial(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.src.tip = "v2"
	d.app.restart = func() (bool, error) { return true, nil } // reboot: trial stays open
	_, err = d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.app.restart = nil
	d.src.tip = "v3"
	d.app.health = func() error { return context.DeadlineExceeded }
	r, err := d.Update(context.Background(), engine.UpdateOptions{Force: true})
	t.Log(r.Outcome, err)
	rec := d.Store.Record()
	if rec.Running.ID == "v2" && !rec.Trial.Open {
		t.Error("back on v2, which never proved itself, as if it had")
	}
}

func TestDryRunDuringATrial(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.src.tip = "v2"
	d.app.restart = func() (bool, error) { return true, nil }
	_, err = d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.app.health = func() error { return context.DeadlineExceeded }
	r, err := d.Update(context.Background(), engine.UpdateOptions{DryRun: true})
	t.Log(r.Outcome, err)
	if d.Store.Record().Running.ID != "v2" {
		t.Error("a dry run rolled back")
	}
}

// a rollback by somebody else while the restart runs is told as "updated"
func TestRolledBackMeanwhile(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	d.src.tip = "v2"
	n := 0
	d.app.restart = func() (bool, error) {
		if n++; n == 1 {
			f, _ := vfs.OS(d.dir)
			defer f.Close()
			s, err := store.Open(f, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			u, err := s.Lock()
			if err != nil {
				t.Fatal(err)
			}
			defer u()
			return false, s.Rollback(store.Rejection{ID: "v2", Name: "v2", Reason: "x"})
		}
		return false, nil
	}
	r, err := d.Update(context.Background(), engine.UpdateOptions{})
	t.Log(r.Outcome, r.To.ID, err)
	if r.Outcome == engine.Updated {
		t.Error("told as updated")
	}
}

// Sizes that the source does not tell are held against the limits once they are
// known, and nothing of a release that is too large stays.
func TestLimitsOnBytes(t *testing.T) {
	for _, limits := range []plan.Limits{{MaxFileBytes: 2}, {MaxBytes: 3}} {
		eachLayout(t, func(t *testing.T, l store.Layout) {
			d := newDevice(t, l, nil)
			d.Limits = limits
			_, err := d.Update(context.Background(), engine.UpdateOptions{})
			code(t, err, godwit.CodeLimit)
			if list, _ := os.ReadDir(filepath.Join(d.dir, ".godwit/stage")); len(list) != 0 {
				t.Errorf("staged: %v", list)
			}
			d.Limits = plan.Limits{MaxFileBytes: 3, MaxBytes: 4}
			_, err = d.Update(context.Background(), engine.UpdateOptions{})
			code(t, err, "")
			d.runs(t, "v1")
		})
	}
}

// Recovery looks at the link too, and a folder that was replaced by a link to
// elsewhere is damage that can be repaired.
func TestTreeThatSomebodyMoved(t *testing.T) {
	ctx := context.Background()
	d := newDevice(t, store.Slots, nil)
	_, err := d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Remove(filepath.Join(d.dir, "current")))
	_, err = d.Recover(ctx)
	code(t, err, "")
	d.runs(t, "v1")
	lib := filepath.Join(d.dir, d.Store.Tree(d.Store.Record().Running), "lib")
	must(os.RemoveAll(lib))
	must(os.Symlink(t.TempDir(), lib))
	_, err = d.Verify(ctx, false)
	code(t, err, godwit.CodeModified)
	_, err = d.Verify(ctx, true)
	code(t, err, "")
	d.runs(t, "v1")
}

// Installing once more what runs keeps the way back.
func TestForceKeepsTheWayBack(t *testing.T) {
	eachLayout(t, func(t *testing.T, l store.Layout) {
		ctx := context.Background()
		d := newDevice(t, l, nil)
		for _, v := range []string{"v1", "v2"} {
			d.src.tip = v
			_, err := d.Update(ctx, engine.UpdateOptions{})
			code(t, err, "")
		}
		_, err := d.Update(ctx, engine.UpdateOptions{Force: true})
		code(t, err, "")
		d.runs(t, "v2")
		_, err = d.Rollback(ctx)
		code(t, err, "")
		d.runs(t, "v1")
	})
}
