package engine

import (
	"context"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/store"
)

// A choice is the release that this device should run, as far as one request
// tells: the source's, or the one that its channel names.
type choice struct {
	tip    godwit.Tip    // of the release; without a Ref if only the channel has told of it
	orders godwit.Orders // of the channel; zero without one
	wait   error         // why the channel does not give it to this device now
	step   bool          // tip is the channel's floor, and the release comes after it
	memory godwit.Memory
}

// now is the best guess of the time.
func (e *Engine) now(m godwit.Memory) (now time.Time, set bool) { return m.Now(e.Now()) }

// choose asks the source, and the gate about the channel if there is one. What
// the channel says is remembered at once, so that no older orders count after
// it. anyway also takes what the channel holds back from this device.
func (e *Engine) choose(ctx context.Context, m godwit.Memory, anyway bool) (choice, error) {
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
	if err := e.remember(o.Memory); err != nil {
		return c, err
	}
	running := e.Store.Record().Running
	c.tip = godwit.Tip{Commit: o.Commit, Channel: o.ID}
	if o.Commit != "" && running.ID == o.Commit || running.Tag != "" && running.Tag == o.Commit {
		c.tip.Commit = running.ID
		return c, nil
	}
	now, set := e.now(c.memory)
	if c.wait = gate.Decide(o, e.Device, now, set); c.wait != nil {
		if !anyway || godwit.CodeOf(c.wait) == godwit.CodeExpired {
			return c, nil
		}
		c.wait = nil
	}
	name := o.Release
	if c.step = gate.BelowFloor(o, running.Name); c.step {
		name = o.Floor
	}
	if c.tip, err = channels.Named(ctx, name); err != nil {
		return c, err
	}
	if !c.step && o.Commit != c.tip.Commit && o.Commit != c.tip.Tag {
		return c, godwit.Fail(godwit.CodeWrongName, nil, "the channel "+o.Channel+" is signed for "+name+" as "+short(o.Commit)+", and the host gives "+short(c.tip.Commit)+" under that name",
			"the tag was moved after the channel was set, or the host lies: set the channel again")
	}
	return c, nil
}

// maxRefused is how many versions may be refused before an older one is taken.
const maxRefused = 4

// admit brings what is needed to judge the release that tip names, and has it
// judged. Where the device follows the newest version, one that is refused does
// not keep the device from the newest that is not; if there is none, or if it
// runs already, the first refusal stands.
func (e *Engine) admit(ctx context.Context, tip godwit.Tip, m godwit.Memory) (godwit.Verified, error) {
	var first error
	for range maxRefused + 1 {
		rel, err := e.Source.Release(ctx, tip)
		if err != nil {
			return godwit.Verified{}, err
		}
		v, err := e.Gate.Admit(ctx, rel, m)
		if err == nil || !godwit.CodeOf(err).Refusal() {
			return v, err
		}
		refusal := err
		if first == nil {
			first = err
		}
		older, ok := e.Source.(Versions)
		if !ok {
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

// remember keeps m, for which it takes the lock if need be. Somebody who may not
// write has to do without: then nothing is installed either.
func (e *Engine) remember(m godwit.Memory) error {
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
	return e.Store.Remember(m)
}

// keyLists finds the lists of keys that a release brings.
func keyLists(l godwit.Listing) (signers, revoked godwit.Entry, err error) {
	for f, err := range l {
		if err != nil {
			return signers, revoked, err
		}
		switch f.Path {
		case godwit.SignersPath:
			signers = f
		case godwit.RevokedPath:
			revoked = f
		}
		if f.Path > godwit.RevokedPath { // the later of the two
			break
		}
	}
	return signers, revoked, nil
}

// installable is the listing of an admitted release without the lists of keys,
// which are never installed. A checksum that anybody can forge is an error below
// a signature.
func installable(d godwit.Described) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for f, err := range d.Listing {
			if err == nil && d.Policy == "signed" && f.Digest.Algorithm == godwit.CRC32 {
				f, err = godwit.Entry{}, godwit.Fail(godwit.CodeBadStatement, nil, "the signed manifest vouches for "+strconv.Quote(f.Path)+" with a CRC-32 alone, which anybody can forge",
					"make it again with godwit manifest, which writes SHA-256")
			}
			if f.Path != godwit.SignersPath && f.Path != godwit.RevokedPath && !yield(f, err) {
				return
			}
		}
	}
}

// adopt fetches the lists of keys that the release brings, if they are not in
// force already, and gives the memory of a device that goes by them.
func (e *Engine) adopt(ctx context.Context, d godwit.Described, objects *store.Objects) (godwit.Memory, error) {
	m := d.Memory
	if d.Policy != "signed" {
		return m, nil
	}
	signers, revoked, err := keyLists(d.Listing)
	if err != nil {
		return m, err
	}
	for _, l := range []struct {
		godwit.Entry
		name *string
	}{{signers, &m.Signers}, {revoked, &m.Revoked}} {
		digest := l.Digest.String()
		if l.Path == "" || digest == *l.name {
			continue
		}
		if l.Mode != godwit.File {
			return m, godwit.Fail(godwit.CodeBadStatement, nil, l.Path+" of the release is no plain file", "make it one")
		}
		if !objects.Has(l.Digest) {
			want := godwit.Listing(func(yield func(godwit.Entry, error) bool) { yield(l.Entry, nil) })
			if err := e.Source.Fetch(ctx, d, want, sized{objects, store.MaxList}); err != nil {
				return m, err
			}
		}
		o, err := objects.Open(l.Digest)
		if err != nil {
			return m, err
		}
		err = e.Store.KeepList(l.Digest, o)
		o.Close()
		if err != nil {
			return m, err
		}
		*l.name = digest
	}
	if m.Signers == d.Memory.Signers && m.Revoked == d.Memory.Revoked {
		return m, nil
	}
	return e.Gate.Adopt(m)
}
