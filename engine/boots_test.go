package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/store"
)

func TestBoots(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		ctx := context.Background()
		d := newDevice(t, layout, func(c *engine.Config) { c.Trial.Boots = 2 })
		_, err := d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		d.src.tip = "v2"
		d.app.restart = func() (bool, error) { return true, nil }
		r, err := d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		if r.Outcome != engine.OnTrial || !r.Reboot {
			t.Fatalf("%+v", r)
		}
		for i, boot := range []string{"boot-1", "boot-2", "boot-2", "boot-3"} {
			d.boot, d.up = boot, 5*time.Second
			_, err := d.Recover(ctx)
			code(t, err, "")
			d.runs(t, "v2")
			if s, _ := d.Status(); !s.Trial.Open {
				t.Fatalf("boot %d closed the trial", i)
			}
		}
		d.boot = "boot-4"
		_, err = d.Recover(ctx)
		code(t, err, godwit.CodeRolledBack)
		d.runs(t, "v1")
		if d.app.restarts != 2 {
			t.Errorf("%d restarts: before the application starts there is nothing to restart", d.app.restarts)
		}
		// Nor is there afterwards.
		d.src.tip = "v1"
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		if d.app.restarts != 2 {
			t.Errorf("%d restarts: the application has begun with the right files", d.app.restarts)
		}
	})
}

// Where nothing recovers before the application starts, it runs what is taken back.
func TestResume(t *testing.T) {
	ctx := context.Background()
	d := newDevice(t, store.Slots, func(c *engine.Config) { c.Trial.Boots = 1 })
	_, err := d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	d.src.tip = "v2"
	d.app.restart = func() (bool, error) { return true, nil }
	_, err = d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	d.app.restart = func() (bool, error) { return false, nil }
	for _, boot := range []string{"boot-2", "boot-3"} {
		d.boot, d.up = boot, 5*time.Second
		_, err = d.Resume(ctx)
	}
	code(t, err, godwit.CodeRolledBack)
	d.runs(t, "v1")
	if d.app.restarts != 3 {
		t.Errorf("%d restarts", d.app.restarts)
	}
}
