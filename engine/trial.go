package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/store"
)

// startTrial runs what follows a switch: the post_switch hook, the restart, and
// the wait for the new version to prove itself.
func (e *Engine) startTrial(ctx context.Context, h *hold, r Result) (Result, error) {
	done, err := e.Store.Restarting()
	if err != nil {
		return r, err
	}
	h.release()
	err = e.hook(ctx, godwit.StageSwitch, "post_switch", r.From, r.To)
	if err == nil {
		e.Events.Say(godwit.StageRestart, godwit.Debug, "restarting the application")
		if r.Reboot, err = e.App.Restart(ctx); err != nil {
			err = godwit.Fail(godwit.CodeOf(err), err, "the restart failed", "")
		} else if !r.Reboot {
			err = e.restarted(ctx, h)
		}
	}
	done()
	switch {
	case ctx.Err() != nil:
		return r, e.interrupted(ctx, r.To)
	case err != nil && r.From.Same(r.To):
		return r, e.failed(godwit.StageRestart, err)
	case err != nil:
		if e := h.await(ctx); e != nil {
			return r, e
		}
		return e.goBack(ctx, h, r, err.Error(), true)
	case r.Reboot:
		r.Reason = "the device restarts; the trial goes on after that"
		return r, nil
	}
	w, err := e.finishTrial(ctx, h, r.To)
	w.Plan, w.Sent, w.Received, w.Patched = r.Plan, r.Sent, r.Received, r.Patched
	if w.From.IsZero() {
		w.From = r.From
	}
	if w.Outcome == Confirmed {
		w.Outcome = Updated
	}
	return w, err
}

func (e *Engine) interrupted(ctx context.Context, v store.Version) error {
	return godwit.Fail(godwit.CodeOnTrial, ctx.Err(), "the wait was ended before "+v.Name+" had proved itself", "run godwit confirm --wait to go on with its trial")
}

// Watch waits until the version on trial is confirmed or sent back. Without an
// open trial there is nothing to do.
func (e *Engine) Watch(ctx context.Context) (Result, error) {
	h, err := e.lock()
	if err != nil {
		return Result{}, err
	}
	defer h.release()
	open := e.Store.Record().Trial.Open
	r := Result{Outcome: Nothing, To: e.Store.Record().Running, From: e.Store.Record().Running, Reason: "no version is on trial"}
	if !open {
		return r, nil
	}
	return e.resumeTrial(ctx, h)
}

// left is how much of the trial's time remains in the boot that was counted last.
// The clock of a device may be wrong, so time is counted from the boot.
func (e *Engine) left(t store.Trial) time.Duration {
	_, up := e.Boot()
	return e.Trial.Within - (up - t.Since)
}

// resumeTrial goes on with a trial that another process began, maybe before a
// reboot. The lock is held when it returns nil.
func (e *Engine) resumeTrial(ctx context.Context, h *hold) (Result, error) {
	usedUp, err := e.countBoot()
	if err != nil {
		return Result{}, e.failed(godwit.StageHealth, err)
	}
	if usedUp != "" {
		return e.goBack(ctx, h, Result{}, usedUp, true)
	}
	rec := e.Store.Record()
	if id, _ := e.Boot(); rec.Restart == id {
		// The switch was cut short before the application was restarted.
		return e.startTrial(ctx, h, Result{Outcome: OnTrial, From: rec.Previous, To: rec.Running})
	}
	h.release()
	return e.finishTrial(ctx, h, rec.Running)
}

// restarted remembers that the application runs the files of the record. The lock
// is not held, before or after.
func (e *Engine) restarted(ctx context.Context, h *hold) error {
	if err := h.await(ctx); err != nil {
		return err
	}
	defer h.release()
	_, up := e.Boot()
	return e.Store.Restarted(up)
}

// Began says that the application, which calls this, has begun with the files that
// are in the tree now, and so need not be restarted.
func (e *Engine) Began(ctx context.Context) error {
	h := &hold{e: e}
	if err := h.await(ctx); err != nil {
		return err
	}
	defer h.release()
	id, up := e.Boot()
	if e.Store.Record().Restart != id {
		return nil
	}
	return e.Store.Restarted(up)
}

// pendingRestart restarts the application if a rollback was cut short before
// that. The lock is held before and after.
func (e *Engine) pendingRestart(ctx context.Context, h *hold) error {
	rec := e.Store.Record()
	if id, _ := e.Boot(); rec.Restart != id || rec.Trial.Open {
		return nil
	}
	done, err := e.Store.Restarting()
	if err != nil {
		return err
	}
	h.release()
	e.Events.Say(godwit.StageRestart, godwit.Info, "restarting the application, as an earlier run could not")
	reboot, err := e.App.Restart(ctx)
	if err == nil && !reboot {
		err = e.restarted(ctx, h)
	}
	done()
	if e := h.await(ctx); err == nil {
		err = e
	}
	return err
}

// finishTrial waits, without the lock, for the running version to prove itself,
// and then confirms it or goes back. The lock is held when it returns nil.
func (e *Engine) finishTrial(ctx context.Context, h *hold, want store.Version) (Result, error) {
	if err := e.Store.Reload(); err != nil {
		return Result{}, err
	}
	before := e.Store.Record()
	r := Result{Outcome: OnTrial, From: before.Previous, To: before.Running}
	if !before.Running.Same(want) || before.Running.Dir != want.Dir {
		return leftMeanwhile(r, want)
	}
	if !before.Trial.Open {
		r.Outcome = Confirmed
		return r, h.await(ctx)
	}
	left := max(e.left(before.Trial), 0)
	if !e.Trial.ByConfirm {
		left = max(left, min(e.Trial.Within, 10*time.Second)) // never unheard
	}
	wait, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	e.Events.Say(godwit.StageHealth, godwit.Info, "waiting for "+before.Running.Name+" to prove itself")
	var output string
	var sick error
	if e.Trial.ByConfirm {
		sick = e.awaitConfirm(wait)
	} else {
		output, sick = e.App.Health(wait)
	}
	if ctx.Err() != nil {
		return r, e.interrupted(ctx, before.Running)
	}

	if err := h.await(ctx); err != nil {
		return r, err
	}
	after := e.Store.Record()
	if !after.Running.Same(want) || after.Running.Dir != want.Dir {
		r.To = after.Running
		return leftMeanwhile(r, want)
	}
	if !after.Trial.Open {
		r.Outcome = Confirmed
		e.Events.Say(godwit.StageConfirm, godwit.Info, after.Running.Name+" was confirmed")
		return r, e.Store.Prune()
	}
	result := "ok"
	if sick != nil {
		result = sick.Error()
	}
	e.note(map[string]string{"health.at": e.stamp(), "health.result": result, "health.output": output})
	if sick == nil {
		sick = e.confirm(&r)
		if sick == nil || godwit.CodeOf(sick) != godwit.CodeModified {
			return r, sick
		}
	}
	return e.goBack(ctx, h, r, sick.Error(), true)
}

func leftMeanwhile(r Result, want store.Version) (Result, error) {
	r.Outcome, r.From, r.Reason = RolledBack, want, "another godwit went back meanwhile"
	return r, godwit.Fail(godwit.CodeRolledBack, nil, "another godwit left "+want.Name+" meanwhile", "look at godwit status")
}

// awaitConfirm waits until another process has confirmed the running version,
// or gone back.
func (e *Engine) awaitConfirm(ctx context.Context) error {
	running := e.Store.Record().Running
	for {
		// A record that cannot be read right now says nothing about the version.
		if err := e.Store.Reload(); err == nil {
			if r := e.Store.Record(); !r.Trial.Open || r.Running.ID != running.ID {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("nobody confirmed it in time")
		case <-time.After(e.Trial.PollInterval):
		}
	}
}

// confirm hashes the tree and closes the trial. The caller holds the lock.
func (e *Engine) confirm(r *Result) error {
	v, err := e.verify(nil)
	if err != nil {
		return err
	}
	if v.Problems > 0 {
		return godwit.Fail(godwit.CodeModified, nil, strconv.Itoa(v.Problems)+" of its files are not as the release has them, first "+strconv.Quote(v.First),
			"name files that the application itself changes in tree.ignore or tree.shared")
	}
	if err := e.Store.Confirm(); err != nil {
		return err
	}
	r.Outcome = Confirmed
	running := e.Store.Record().Running
	if e.Store.Notes()["check.commit"] == running.ID {
		e.note(gotOver(map[string]string{"check.at": e.stamp(), "check.result": upToDate}))
	}
	e.Events.Say(godwit.StageConfirm, godwit.Info, running.Name+" is confirmed")
	return e.Store.Prune()
}

// Confirm closes the trial of the running version, after its files have been
// hashed: CodeModified when they differ from the release.
func (e *Engine) Confirm(ctx context.Context) (Result, error) {
	h := &hold{e: e}
	if err := h.await(ctx); err != nil { // an application calls this once
		return Result{}, err
	}
	if _, err := e.settle(); err != nil {
		h.release()
		return Result{}, err
	}
	defer h.release()
	rec := e.Store.Record()
	r := Result{Outcome: Nothing, From: rec.Previous, To: rec.Running}
	if rec.Running.IsZero() {
		return r, godwit.Fail(godwit.CodeNotInstalled, nil, "nothing has been installed yet", "run godwit update")
	}
	if !rec.Trial.Open {
		r.Reason = rec.Running.Name + " is already confirmed"
		return r, nil
	}
	return r, e.failed(godwit.StageConfirm, e.confirm(&r))
}

// Rollback returns to the previous version because a person wants it. The
// version it leaves is not tried again by itself.
func (e *Engine) Rollback(ctx context.Context) (Result, error) {
	h, err := e.lock()
	if err != nil {
		return Result{}, err
	}
	defer h.release()
	rec := e.Store.Record()
	r := Result{From: rec.Running, To: rec.Previous}
	if rec.Running.IsZero() {
		return r, godwit.Fail(godwit.CodeNotInstalled, nil, "nothing has been installed yet", "run godwit update")
	}
	r, err = e.goBack(ctx, h, r, "a person asked to go back", true)
	if godwit.CodeOf(err) == godwit.CodeRolledBack {
		err = nil
	}
	return r, err
}

// goBack makes the previous version the running one. It returns CodeRolledBack
// when that has worked. The caller holds the lock.
func (e *Engine) goBack(ctx context.Context, h *hold, r Result, why string, restart bool) (Result, error) {
	s := e.Store
	rec := s.Record()
	bad := rec.Running
	r.From, r.Reason = bad, why
	rejection := store.Rejection{ID: bad.ID, Name: bad.Name, Reason: cut(why, 160), At: e.Now()}
	if !rec.Previous.IsZero() {
		e.Events.Say(godwit.StageRollback, godwit.Warning, bad.Name+" is left: "+why)
	} else if rec.Trial.Open {
		e.Events.Say(godwit.StageRollback, godwit.Warning, bad.Name+" goes on running for want of a previous version, although it failed: "+why)
	}
	if bad.Undo != "" && !rec.Previous.IsZero() {
		// While its files are still in their place. That it fails keeps nobody.
		e.hook(context.WithoutCancel(ctx), godwit.StageRollback, "pre_rollback", bad, rec.Previous)
	}
	err := s.Rollback(rejection)
	if godwit.CodeOf(err) == godwit.CodeNoPrevious {
		r.To = bad
		if rec.Trial.Open {
			err = errors.Join(err, s.Reject(rejection))
		}
		return r, e.failed(godwit.StageRollback, err)
	}
	damaged := err
	if err != nil && godwit.CodeOf(err) != godwit.CodeDamaged {
		return r, e.failed(godwit.StageRollback, err)
	}
	r.To, r.Outcome = s.Record().Running, RolledBack
	e.note(map[string]string{"error.at": e.stamp(), "error.stage": string(godwit.StageRollback), "error.code": string(godwit.CodeRolledBack), "error.text": bad.Name + " was left: " + why})
	// The caller may have been told to stop; the device must not be left with
	// the old files and the new process.
	ctx = context.WithoutCancel(ctx)
	done, err := s.Restarting()
	if err != nil {
		done = func() {} // a restart that is under way does not know the old files
	}
	h.release()
	err = nil
	if restart {
		r.Reboot, err = e.App.Restart(ctx)
	}
	if err == nil && !r.Reboot { // without a restart it will begin with the right files
		err = e.restarted(ctx, h)
	}
	done()
	if err != nil {
		e.Events.Say(godwit.StageRestart, godwit.Warning, "the restart failed: "+err.Error())
	}
	e.hook(ctx, godwit.StageRollback, "post_rollback", bad, r.To)
	e.Events.Say(godwit.StageRollback, godwit.Info, "back on "+r.To.Name)
	if damaged != nil {
		return r, e.failed(godwit.StageRollback, damaged)
	}
	if err := h.await(ctx); err != nil {
		return r, err
	}
	if err := s.Prune(); err != nil {
		return r, e.failed(godwit.StagePrune, err)
	}
	return r, godwit.Fail(godwit.CodeRolledBack, nil, apart(bad, r.To)+" did not prove itself and "+apart(r.To, bad)+" runs again: "+why,
		"publish a mended release; this one is not tried again by itself")
}

// apart names v so that nobody takes it for o: two commits of a branch have one
// name.
func apart(v, o store.Version) string {
	if v.Name != o.Name {
		return v.Name
	}
	return v.Name + " (" + short(v.ID) + ")"
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "…"
	}
	return s
}

// Recover settles the tree. It is meant to run first at every boot: a boot in a
// trial is counted, and when too many went by without a confirmation the
// previous version comes back, with CodeRolledBack.
//
// The application has not begun yet, and will begin with the version that comes
// back; Resume is for when that is not so.
func (e *Engine) Recover(ctx context.Context) (Result, error) { return e.recover(ctx, false) }

// Resume is Recover for a device on which the application may run already: it is
// restarted when the previous version comes back.
func (e *Engine) Resume(ctx context.Context) (Result, error) { return e.recover(ctx, true) }

func (e *Engine) recover(ctx context.Context, running bool) (Result, error) {
	h := &hold{e: e}
	if err := h.take(); err != nil {
		return Result{}, err
	}
	defer h.release()
	if e.Store.Damaged() {
		return Result{}, e.failed(godwit.StageRecover, godwit.Fail(godwit.CodeDamaged, nil, "both copies of the record are damaged: Godwit no longer knows what is installed here",
			"run godwit update to install the release again; what runs now goes on running"))
	}
	worked, err := e.settle()
	rec := e.Store.Record()
	r := Result{Outcome: Nothing, From: rec.Running, To: rec.Running, Reason: "the tree is what the record says"}
	if err != nil {
		return r, e.failed(godwit.StageRecover, err)
	}
	if worked {
		r.Outcome, r.Reason = Recovered, "an interrupted switch was finished"
	}
	t := rec.Trial
	if !t.Open {
		return r, e.Store.Prune()
	}
	if id, _ := e.Boot(); t.Boot == id && e.Trial.ByConfirm && e.left(t) <= 0 {
		return e.goBack(ctx, h, r, "nobody confirmed it in time", true)
	}
	usedUp, err := e.countBoot()
	if err != nil {
		return r, e.failed(godwit.StageRecover, err)
	}
	if usedUp != "" {
		return e.goBack(ctx, h, r, usedUp, running)
	}
	return r, nil
}

// countBoot counts this boot in an open trial, if that was not done, and starts
// the trial's clock anew. It returns why the trial is over when too many boots
// have begun. The caller holds the lock.
func (e *Engine) countBoot() (usedUp string, err error) {
	id, up := e.Boot()
	t := e.Store.Record().Trial
	switch {
	case !t.Open || t.Boot == id:
		return "", nil
	case t.BootsLeft <= 0:
		return "it was not confirmed within " + strconv.Itoa(e.Trial.Boots) + " boots", nil
	}
	t.BootsLeft, t.Boot, t.Since = t.BootsLeft-1, id, up
	return "", e.Store.SetTrial(t)
}
