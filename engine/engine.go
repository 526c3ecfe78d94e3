// Package engine is the pipeline of an update: it asks a source for a release,
// lets a gate judge it, has it described, makes a plan, has the contents fetched
// into the store, switches, and watches the new version until it is confirmed or
// sent back.
// Each stage takes the value that the stage before it made; nothing is asked
// backwards. When to run it is the caller's business.
//
// Invariant: no plan is made of a release that the gate did not admit, and no
// switch is made before everything it needs is durable on the disk.
package engine

import (
	"context"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// A Source is where releases come from.
type Source interface {
	// Tip asks what the device should run, with one request.
	Tip(ctx context.Context) (godwit.Tip, error)
	// Release brings what is needed to judge the release, and nothing more.
	Release(ctx context.Context, tip godwit.Tip) (godwit.Release, error)
	// Describe brings the listing of an admitted release, without contents. have
	// names the releases this device has trees of; what is cached for others may
	// go.
	Describe(ctx context.Context, v godwit.Verified, have []string) (godwit.Described, error)
	// Fetch brings the contents of the entries of want, which the device does
	// not have, into the objects; by the patches of d where it has some and they
	// work.
	Fetch(ctx context.Context, d godwit.Described, want godwit.Listing, into godwit.Objects) error
}

// Channels is what a source has too that gives tips with a Channel.
type Channels interface {
	// Channel brings the channel's statement.
	Channel(ctx context.Context, tip godwit.Tip) (godwit.Statement, error)
	// Named asks for the tip of the release called name, such as "v1.4.0". If id is
	// not empty the release has to be that one, and what is here of it need not be
	// asked for: what the tip says is for the caller to compare.
	Named(ctx context.Context, name, id string) (godwit.Tip, error)
}

// Versions is what a source has too that can give the newest of many versions.
type Versions interface {
	// Below asks for the newest version below the one that tip is, after a gate
	// has refused that. It is the zero Tip when there is none, or when the device
	// does not follow the newest version.
	Below(ctx context.Context, tip godwit.Tip) (godwit.Tip, error)
}

// Patches is what a source has too that knows of patches.
type Patches interface {
	// Patched tells what became of patches in this run.
	Patched() godwit.Patched
}

// A Gate decides whether a release may be installed, and what a channel says. It
// sees their statements before anybody else reads them. A refusal has a code of
// the group "refused by policy".
type Gate interface {
	// Policy names the rule: "none", "signed", "hmac".
	Policy() string
	// Admit judges a release against what the device remembers.
	Admit(ctx context.Context, r godwit.Release, m godwit.Memory) (godwit.Verified, error)
	// Orders judges the statement of the channel that tip names.
	// Where a device follows no channel, or the source has none, tip has none, and
	// so have the orders: unless the device followed it before, which is
	// CodeWithdrawn.
	Orders(ctx context.Context, s godwit.Statement, tip godwit.Tip, m godwit.Memory) (godwit.Orders, error)
	// Adopt judges the lists of keys that the admitted release v brought, which
	// m.Signers and m.Revoked name, and gives the memory to go on with. It refuses
	// lists after which nobody could sign any more.
	Adopt(v godwit.Verified, m godwit.Memory) (godwit.Memory, error)
}

// App is the application that lives in the tree.
type App interface {
	// Hook runs the named hook, if there is one: "pre_switch", "post_switch" and
	// with it to.PostUpdate, "pre_rollback", which is from.Undo, or
	// "post_rollback". output is what was printed.
	Hook(ctx context.Context, name string, from, to godwit.Verified) (output string, err error)
	// Restart restarts the application, or the device.
	Restart(ctx context.Context) (rebooting bool, err error)
	// Health waits until the running version has proved that it works, and
	// fails when it has not by the time ctx ends.
	Health(ctx context.Context) (output string, err error)
}

// Trial says how a new version proves itself.
type Trial struct {
	Within       time.Duration // from the switch, or from the boot; 0 means 2 minutes
	Boots        int           // boots that may begin before it is confirmed; 0 means 3
	ByConfirm    bool          // the application, or a person, calls Confirm
	PollInterval time.Duration // ByConfirm: how often to look; 0 means 500 ms
}

// Config is what an Engine works with. Store and Gate are required; Source is
// for everything that asks the network.
type Config struct {
	Store    *store.Store
	Source   Source
	Gate     Gate
	Device   gate.Device // who this device is, for channels
	App      App         // nil means no hooks, no restart, always healthy
	Rules    plan.Rules
	Limits   plan.Limits
	Patching plan.Patching
	Trial    Trial
	// Boot identifies this boot of the device and tells the time since.
	Boot   func() (id string, uptime time.Duration)
	Now    func() time.Time // nil means time.Now
	Events godwit.Events
}

// An Engine updates one tree. Its methods take the store's lock while they
// change things and give it back while they wait for the new version.
type Engine struct {
	Config
	patched godwit.Patched // what the source had counted when it was noted last
}

// New returns an Engine for a Config.
func New(c Config) *Engine {
	if c.App == nil {
		c.App = noApp{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Boot == nil {
		start := c.Now()
		c.Boot = func() (string, time.Duration) { return "this process", c.Now().Sub(start) }
	}
	if c.Trial.Within <= 0 {
		c.Trial.Within = 2 * time.Minute
	}
	if c.Trial.Boots <= 0 {
		c.Trial.Boots = 3
	}
	if c.Trial.PollInterval <= 0 {
		c.Trial.PollInterval = 500 * time.Millisecond
	}
	id, _ := c.Boot()
	c.Store.SetBoot(id)
	return &Engine{Config: c}
}

type noApp struct{}

func (noApp) Hook(context.Context, string, godwit.Verified, godwit.Verified) (string, error) {
	return "", nil
}
func (noApp) Restart(context.Context) (bool, error)  { return false, nil }
func (noApp) Health(context.Context) (string, error) { return "", nil }

// An Outcome is how a command ended.
type Outcome string

// The outcomes.
const (
	UpToDate   Outcome = "up-to-date"  // the device runs what its source names
	Planned    Outcome = "planned"     // a dry run
	Updated    Outcome = "updated"     // the new version runs and is confirmed
	OnTrial    Outcome = "on-trial"    // the new version runs and is not confirmed yet
	Confirmed  Outcome = "confirmed"   // the running version was on trial and is confirmed
	RolledBack Outcome = "rolled-back" // the previous version runs again
	Recovered  Outcome = "recovered"   // an interrupted switch was finished
	Nothing    Outcome = "nothing"     // there was nothing to do
)

// A Result is what a command did.
type Result struct {
	Outcome  Outcome
	From, To store.Version
	Plan     *plan.Plan // Update: what was or would be done; nil when up to date
	Reason   string     // why, where there is a choice
	Reboot   bool       // the device is about to restart
	Step     bool       // To is a stepping stone; the next update goes on from it
	Sent     int64      // bytes to the source
	Received int64      // bytes from it
	Patched  godwit.Patched
	Prepared *Prepared // what Permit held, if it can be switched to without the source
}

// Release gives hooks and sources a version in the words they share.
func release(v store.Version) godwit.Verified {
	return godwit.Verified{
		Release: godwit.Release{Tip: godwit.Tip{Ref: v.Ref, Commit: v.ID, Tag: v.Tag}, Version: v.Name},
		Policy:  v.Policy, Time: v.Time, PostUpdate: v.Hook, Undo: v.Undo,
	}
}

// A hold is the store's lock, which is given back while the engine waits for
// the application: that may call godwit itself.
type hold struct {
	e      *Engine
	unlock func()
}

// lock takes the store's lock and finishes what an earlier run left unfinished.
func (e *Engine) lock() (*hold, error) {
	h := &hold{e: e}
	if err := h.take(); err != nil {
		return nil, err
	}
	if e.Store.Damaged() {
		e.Events.Say(godwit.StageRecover, godwit.Warning, "both copies of the record are damaged: Godwit no longer knows what is installed here")
	}
	if _, err := e.settle(); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

func (h *hold) take() (err error) {
	if h.unlock == nil {
		h.unlock, err = h.e.Store.Lock()
	}
	return err
}

// patience is how long to wait for another godwit, such as one that the
// application calls, once an update has come so far that giving up would leave a
// version on trial with nobody watching it.
const patience = 30 * time.Second

// await is take for a lock that another process holds for a moment.
func (h *hold) await(ctx context.Context) error {
	for end := time.Now().Add(patience); ; {
		err := h.take()
		if godwit.CodeOf(err) != godwit.CodeBusy || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (h *hold) release() {
	if h.unlock != nil {
		h.unlock()
		h.unlock = nil
	}
}

// settle reconciles. Missing contents are reported and not an error: another
// version, or a repair, can still bring them.
func (e *Engine) settle() (worked bool, err error) {
	r := e.Store.Record()
	worked, err = e.Store.Reconcile()
	if godwit.CodeOf(err) == godwit.CodeDamaged {
		e.Events.Say(godwit.StageRecover, godwit.Warning, err.Error())
		return worked, nil
	}
	if worked && err == nil {
		what := "an interrupted switch to " + r.Running.Name + " was finished"
		if r.Settled {
			what = "the link " + strconv.Quote(store.Current) + " was put right"
		}
		e.Events.Say(godwit.StageRecover, godwit.Info, what)
	}
	return worked, err
}

// note remembers a remark for status. That it cannot be written is no reason
// for anything else to fail.
func (e *Engine) note(change map[string]string) {
	var err error
	if !e.Store.Held() {
		var unlock func()
		if unlock, err = e.Store.Lock(); err == nil {
			defer unlock()
		}
	}
	if err == nil {
		err = e.Store.SetNotes(change)
	}
	if err != nil {
		e.Events.Say(godwit.StageCheck, godwit.Debug, err.Error())
	}
}

func (e *Engine) stamp() string { return strconv.FormatInt(e.Now().Unix(), 10) }

// failed remembers err for status and passes it on. A check that led to nothing
// but an error is no check that went well.
func (e *Engine) failed(stage godwit.Stage, err error) error {
	code := godwit.CodeOf(err)
	if err == nil || code == godwit.CodeBusy {
		return err
	}
	n := e.Store.Notes()
	at, _ := strconv.ParseInt(n["error.at"], 10, 64)
	age := e.Now().Sub(time.Unix(at, 0))
	if n["error.stage"] == string(stage) && n["error.code"] == string(code) && n["error.text"] == err.Error() && age >= 0 && age <= refreshNote {
		return err // with each check again: flash wears
	}
	change := map[string]string{"error.at": e.stamp(), "error.stage": string(stage), "error.code": string(code), "error.text": err.Error()}
	if (stage == godwit.StageCheck || stage == godwit.StageDescribe) && !code.Deferral() && code != godwit.CodeRejected {
		change["check.at"], change["check.result"] = e.stamp(), checkText(Check{}, err)
	}
	e.note(change)
	return err
}

// gotOver adds to a change of notes that the last error no longer matters.
func gotOver(change map[string]string) map[string]string {
	change["error.at"], change["error.stage"], change["error.code"], change["error.text"] = "", "", "", ""
	return change
}

// hook runs a hook and keeps what it printed for status.
func (e *Engine) hook(ctx context.Context, stage godwit.Stage, name string, from, to store.Version) error {
	output, err := e.App.Hook(ctx, name, release(from), release(to))
	if output != "" || err != nil {
		result := "ok"
		if err != nil {
			result = err.Error()
		}
		e.note(map[string]string{"hook." + name + ".at": e.stamp(), "hook." + name + ".result": result, "hook." + name + ".output": output})
	}
	if err != nil {
		e.Events.Say(stage, godwit.Warning, "the "+name+" hook failed: "+err.Error())
	}
	return err
}
