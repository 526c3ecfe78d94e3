package soak

import (
	"context"
	"errors"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A device is one that was opened for a piece of work.
type device struct {
	*engine.Engine
	w *world
}

// open opens the device as package device does for the agent.
func (w *world) open(disk vfs.FS, events godwit.Events) (agent.Device, error) {
	s, err := store.Open(disk, store.Options{Layout: w.layout, Now: w.wall})
	if err != nil {
		return nil, err
	}
	g, err := trust.New(trust.Config{Mode: trust.None, Now: w.wall})
	if err != nil {
		return nil, err
	}
	boot, booted := w.boot, w.booted
	e := engine.New(engine.Config{
		Store: s, Gate: guard{g, w}, App: app{w}, Now: w.wall,
		Source: &source{w: w, pauses: webclient.Pauses{Notes: notes{disk}, Now: w.wall}},
		Boot:   func() (string, time.Duration) { return boot, time.Since(booted) },
		Trial:  engine.Trial{Within: 2 * time.Minute, Boots: 3},
		Events: func(e godwit.Event) { w.ring(e); events(e) },
	})
	return &device{e, w}, nil
}

func (d *device) Update(ctx context.Context, opt engine.UpdateOptions) (engine.Result, error) {
	w := d.w
	if w.damage == "never ask" && w.t.checks > 50 {
		return engine.Result{Outcome: engine.UpToDate}, nil
	}
	r, err := d.Engine.Update(ctx, opt)
	if w.off() {
		return r, err
	}
	w.t.checks++
	w.t.bytes += r.Sent + r.Received
	code := godwit.CodeOf(err)
	switch {
	case code.Deferral():
		w.t.deferred[code]++
	case err != nil && ctx.Err() == nil:
		w.t.failed[code]++
		if code == godwit.CodeFailed || code == godwit.CodeIO {
			w.t.odd = append(w.t.odd, err.Error())
		}
	}
	if w.damage == "forget pauses" && code == godwit.CodeRetryAfter {
		err = godwit.Fail(godwit.CodeNetwork, nil, "something failed", "")
	}
	return r, err
}

// Recover is what a boot begins with. Then the application starts, whatever came
// of it.
func (d *device) Recover(ctx context.Context) (engine.Result, error) {
	r, err := d.Engine.Recover(ctx)
	w := d.w
	if w.off() || w.started {
		return r, err
	}
	if err != nil && godwit.CodeOf(err) != godwit.CodeRolledBack {
		w.t.failed["recovery: "+godwit.CodeOf(err)]++
	}
	w.inspect("the application starts", true)
	w.started, w.app = true, w.runs().ID
	return r, err
}

func (d *device) Status() (engine.Status, error) {
	s, err := d.Engine.Status()
	if d.w.damage == "report too early" {
		s.Trial.Open = false
	}
	return s, err
}

func (d *device) Close() {
	w := d.w
	if w.off() {
		return
	}
	if s, err := d.Engine.Status(); err == nil {
		w.memory = s.Memory
	}
	w.inspect("a piece of work is done", false)
}

// An app is the application.
type app struct{ w *world }

func (a app) Hook(context.Context, string, godwit.Verified, godwit.Verified) (string, error) {
	return "", nil
}

func (a app) Restart(ctx context.Context) (bool, error) {
	w := a.w
	if w.off() {
		return false, errGone
	}
	if w.reboots {
		w.restart = true
		return true, nil
	}
	w.inspect("the application is restarted", true)
	w.app = w.runs().ID
	return false, pause(ctx, 2*time.Second)
}

// Health is what the application's self-test says.
func (a app) Health(ctx context.Context) (string, error) {
	w := a.w
	if w.off() {
		return "", errGone
	}
	w.inspect("the application tests itself", true)
	r := w.byID[w.app]
	if r == nil || w.runs().ID != w.app {
		w.bad("the self-test runs in a process of %q, and the files are those of %q", w.app, w.runs().ID)
		return "", errGone
	}
	if err := pause(ctx, time.Duration(1+w.chance.IntN(40))*time.Second); err != nil {
		return "", err
	}
	switch {
	case w.off():
		return "", errGone
	case r.kind == crasher:
		w.cut("crash")
		return "", errGone
	case r.kind == sick && w.damage != "confirm without health":
		return "it aches", errors.New("the self-test failed")
	}
	w.healthy[r.id] = r.kind == good
	return "", nil
}

// A letterbox is the disk on which reports arrive. It is far away.
type letterbox struct {
	*crashfs.FS
	w *world
}

func (l letterbox) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if w := l.w; w.off() || w.down || w.deaf {
		return nil, errors.New("nobody answers")
	}
	return l.FS.Open(name, flag)
}

// A reporter is the real one, with somebody who reads along.
type reporter struct {
	*report.Reporter
	w *world
}

func (r *reporter) Add(rep report.Report) error {
	w := r.w
	if w.off() {
		return errGone
	}
	w.checkReport(rep)
	if w.damage == "lose reports" && w.chance.IntN(20) == 0 {
		return nil
	}
	return r.Reporter.Add(rep)
}

func (r *reporter) Send(ctx context.Context) (int, time.Time, error) {
	if !r.w.off() {
		r.w.day.busy = true
	}
	n, next, err := r.Reporter.Send(ctx)
	r.w.readMail()
	return n, next, err
}
