package engine

import (
	"context"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/semver"
)

// A choice is the release that this device should run, as far as one request
// tells: the source's, or the one that its channel names.
type choice struct {
	tip    godwit.Tip    // of the release; without a Ref if only the channel has told of it
	orders godwit.Orders // of the channel; zero without one
	wait   error         // why the channel does not give it to this device now
	step   bool          // tip is the channel's floor, and the release comes after it
	stands bool          // the host says that the device stands on the floor already, under another name
	memory godwit.Memory
}

// now is the best guess of the time.
func (e *Engine) now(m godwit.Memory) (now time.Time, set bool) { return m.Now(e.Now()) }

// choose asks the source, and the gate about the channel if there is one. What
// the channel says is remembered at once, so that no older orders count after
// it; not with opt.Forget, since a memory is only forgotten for another.
// opt.Force also takes what the channel holds back from this device.
func (e *Engine) choose(ctx context.Context, opt UpdateOptions) (choice, error) {
	m := e.Store.Record().Memory
	before := m
	if opt.Forget {
		m = godwit.Memory{}
	}
	e.Events.Say(godwit.StageCheck, godwit.Debug, "asking the source")
	c := choice{memory: m}
	tip, err := e.Source.Tip(ctx)
	c.tip = tip
	if err != nil {
		return c, err
	}
	var st godwit.Statement
	channels, ok := e.Source.(Channels)
	if tip.Channel != "" && ok {
		if st, err = channels.Channel(ctx, tip); err != nil {
			return c, err
		}
	}
	if c.orders, err = e.Gate.Orders(ctx, st, tip, m); err != nil || c.orders.ID == "" {
		return c, err
	}
	o := c.orders
	c.memory = o.Memory
	if !opt.Forget {
		if err := e.remember(before, o.Memory); err != nil {
			return c, err
		}
	}
	running := e.Store.Record().Running
	c.tip = godwit.Tip{Commit: o.Commit, Channel: o.ID}
	if o.Commit != "" && running.ID == o.Commit || running.Tag != "" && running.Tag == o.Commit {
		c.tip.Commit = running.ID
		return c, nil
	}
	now, set := e.now(c.memory)
	if c.wait = gate.Decide(o, e.Device, now.Local(), set); c.wait != nil {
		if !opt.Force || godwit.CodeOf(c.wait) == godwit.CodeExpired {
			return c, nil
		}
		c.wait = nil
	}
	c.step = gate.BelowFloor(o, running.Name)
	c.tip, err = e.named(ctx, c)
	c.stands = c.step && c.tip.Commit == running.ID
	return c, err
}

// pastFloor is the choice of a device that stands on the channel's floor under
// another name, once the floor's own release was admitted: nobody signed what
// the host says of names.
func (e *Engine) pastFloor(ctx context.Context, c choice) (choice, error) {
	_, err := e.admit(ctx, c.tip, c)
	if err == nil {
		c.step, c.stands = false, false
		c.tip, err = e.named(ctx, c)
	}
	return c, err
}

// name is what the release is called that a channel leads to now.
func (c choice) name() string {
	if c.step {
		return c.orders.Floor
	}
	return c.orders.Release
}

// named asks for the release that a channel leads to, which has to be the one
// that the channel was signed for.
func (e *Engine) named(ctx context.Context, c choice) (godwit.Tip, error) {
	o := c.orders
	id := o.Commit
	if c.step {
		id = o.FloorID
	}
	tip, err := e.Source.(Channels).Named(ctx, c.name(), id)
	if err == nil && id != tip.Commit && id != tip.Tag && (id != "" || !c.step) {
		err = godwit.Fail(godwit.CodeWrongName, nil, "the channel "+o.Channel+" is signed for "+c.name()+" as "+short(id)+", and the host gives "+short(tip.Commit)+" under that name",
			"the tag was moved after the channel was set, or the host lies: set the channel again")
	}
	return tip, err
}

// maxRefused is how many versions may be refused before an older one is taken.
const maxRefused = 4

// admit brings what is needed to judge the release that tip names, and has it
// judged. Where the device follows the newest version, one that is refused does
// not keep the device from the newest that is not; if there is none, or if it
// runs already, the first refusal stands.
//
// A stepping stone may be older than what was accepted once, as after a trial
// that failed for want of it: it has to be the floor's version and made no
// earlier than what runs, and what was accepted is remembered still.
func (e *Engine) admit(ctx context.Context, tip godwit.Tip, c choice) (godwit.Verified, error) {
	m := c.memory
	if c.step {
		m.Version = c.orders.Floor
		if at := e.Store.Record().Running.Time; at.Before(m.Time) {
			m.Time = at
		}
	}
	alone := c.orders.ID != "" // then nothing but what it named will do
	v, err := e.admitNewest(ctx, tip, m, alone)
	if err == nil && c.orders.ID != "" && v.Version != c.name() {
		err = godwit.Fail(godwit.CodeWrongName, nil, "the channel "+c.orders.Channel+" leads to "+c.name()+", and what is signed there is "+v.Version, "the host shows one release under the name of another")
	}
	if c.step {
		seen, ok := semver.Parse(c.memory.Version)
		if now, _ := semver.Parse(v.Memory.Version); ok && semver.Compare(seen, now) > 0 {
			v.Memory.Version = c.memory.Version
		}
		if c.memory.Time.After(v.Memory.Time) {
			v.Memory.Time = c.memory.Time
		}
	}
	return v, err
}

func (e *Engine) admitNewest(ctx context.Context, tip godwit.Tip, m godwit.Memory, alone bool) (godwit.Verified, error) {
	var first error
	for range maxRefused + 1 {
		var v godwit.Verified
		rel, err := e.Source.Release(ctx, tip)
		if err == nil {
			v, err = e.Gate.Admit(ctx, rel, m)
		}
		if err == nil || !godwit.CodeOf(err).Refusal() {
			return v, err
		}
		refusal := err
		if first == nil {
			first = err
		}
		older, ok := e.Source.(Versions)
		if !ok || alone {
			break
		}
		name := shortName(tip)
		if tip, err = older.Below(ctx, tip); err != nil || tip.Commit == "" || tip.Commit == e.Store.Record().Running.ID {
			break
		}
		if _, bad := e.Store.Record().Rejection(tip.Commit); bad {
			break
		}
		e.Events.Say(godwit.StageDescribe, godwit.Warning, name+" is passed over: "+refusal.Error())
	}
	return godwit.Verified{}, first
}

func short(id string) string { return id[:min(10, len(id))] }

// forget makes the memory anew where nothing is installed: of what runs, and of
// what the channel said.
func (e *Engine) forget(opt UpdateOptions, c choice) error {
	running := e.Store.Record().Running
	if !opt.Forget || opt.DryRun || running.IsZero() {
		return nil
	}
	m := c.memory
	m.Product, m.Version, m.Time = e.Store.Record().Memory.Product, running.Name, running.Time
	return e.Store.Remember(m)
}

// remember keeps m in the place of before, for which it takes the lock if need
// be. Where the memory is another by now, because an update went on beside a
// check, it is left as it is, and the next look at the channel sees to it.
// Somebody who may not write has to do without: then nothing is installed
// either.
func (e *Engine) remember(before, m godwit.Memory) error {
	if !e.Store.Held() {
		unlock, err := e.Store.Lock()
		if err != nil {
			if godwit.CodeOf(err) == godwit.CodeBusy || godwit.CodeOf(err) == godwit.CodeReadOnly {
				return nil
			}
			return err
		}
		defer unlock()
	}
	if !e.Store.Record().Memory.Equal(before) {
		return nil
	}
	return e.Store.Remember(m)
}
