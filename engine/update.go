package engine

import (
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// A Check is what Engine.Check found.
type Check struct {
	Tip       godwit.Tip
	Running   store.Version
	Available bool          // the source names something that this device does not run and would take
	Reason    string        // why not, or why
	Rejected  bool          // the release failed here before
	Channel   godwit.Orders // zero without a channel
	Wait      error         // why the channel does not give the release to this device now; nil if it does
}

// refreshNote is how old the note of a check may grow before one that found
// nothing new writes it again: flash wears.
const refreshNote = 12 * time.Hour

// Check asks the source whether there is something newer, with one request where
// there is not.
func (e *Engine) Check(ctx context.Context) (Check, error) {
	if unlock, err := e.Store.Lock(); err == nil {
		unlock() // now there is a state folder, in which the source may take notes
	}
	err := e.Store.Reload()
	var c Check
	if err == nil {
		var ch choice
		ch, err = e.choose(ctx, UpdateOptions{})
		c = Check{Tip: ch.tip, Channel: ch.orders}
		if err == nil {
			c = e.compare(ch)
		}
	}
	if e.checkNoteIsStale(c, err) {
		e.noteCheck(c, err)
	}
	return c, err
}

// compare holds a choice against the record.
func (e *Engine) compare(ch choice) Check {
	tip := ch.tip
	r := e.Store.Record()
	c := Check{Tip: tip, Running: r.Running, Channel: ch.orders, Wait: ch.wait}
	switch rej, bad := r.Rejection(tip.Commit); {
	case r.Running.ID == tip.Commit && r.Running.Rules == e.Rules.Fingerprint() && !ch.stands:
		if c.Reason = upToDate; bad {
			c.Reason = "it runs for want of a previous version, although it failed: " + rej.Reason
		}
	case bad:
		c.Rejected = true
		c.Reason = "this device has left it before: " + rej.Reason
	case ch.wait != nil:
		c.Reason = "not now: " + ch.wait.Error()
	case r.Running.IsZero():
		c.Available, c.Reason = true, "nothing is installed yet"
	case r.Running.ID == tip.Commit:
		c.Available, c.Reason = true, "the same release, and the rules for its files have changed"
	case ch.step:
		c.Available, c.Reason = true, "the channel leads to "+ch.orders.Release+" by way of "+ch.orders.Floor
	case ch.orders.ID != "":
		c.Available, c.Reason = true, "the channel "+ch.orders.Channel+" leads to "+ch.orders.Release
	default:
		c.Available, c.Reason = true, "the source has another version"
	}
	if now, _ := e.now(ch.memory); gate.Expired(ch.orders, now) && ch.wait == nil {
		e.Events.Say(godwit.StageCheck, godwit.Warning, gate.Decide(ch.orders, e.Device, now, false).Error())
	}
	return c
}

// upToDate is the result of a check that found nothing to do.
const upToDate = "up to date"

func checkText(c Check, err error) string {
	if err != nil {
		return "failed: " + err.Error()
	}
	return c.Reason
}

func (e *Engine) checkNoteIsStale(c Check, err error) bool {
	n := e.Store.Notes()
	at, _ := strconv.ParseInt(n["check.at"], 10, 64)
	age := e.Now().Sub(time.Unix(at, 0))
	return n["check.result"] != checkText(c, err) || n["check.commit"] != c.Tip.Commit || n["channel.id"] != c.Channel.ID || age > refreshNote || age < 0
}

func (e *Engine) noteCheck(c Check, err error) {
	change := map[string]string{"check.at": e.stamp(), "check.result": checkText(c, err), "check.commit": c.Tip.Commit, "check.ref": c.Tip.Ref}
	if o := c.Channel; err == nil {
		change["channel.id"], change["channel.name"], change["channel.release"], change["channel.not_after"] = o.ID, o.Channel, o.Release, ""
		if !o.NotAfter.IsZero() {
			change["channel.not_after"] = strconv.FormatInt(o.NotAfter.Unix(), 10)
		}
	}
	if err == nil && c.Reason == upToDate {
		gotOver(change)
	}
	e.note(change)
}

// UpdateOptions change what Update does.
type UpdateOptions struct {
	DryRun bool // make the plan and change nothing in the tree
	Force  bool // install even what runs already, failed before, or is held back by the channel, and do not wait for an open trial
	Forget bool // a person on the device says: what it remembers of versions, channels and keys does not count
	// Permit, if there is one, is asked before the contents of a version are fetched,
	// with StageFetch, and before the switch to it, with StageSwitch. An error, of the group
	// "deferred", ends the update there, and is what Update returns; what was
	// fetched stays for the next one. A dry run does not ask.
	Permit func(stage godwit.Stage, to store.Version, p *plan.Plan) error
	// Prepared is what an Update before this one left, whose switch Permit held. It is
	// switched to where the source cannot be reached now; not where it was, and names
	// something else by now.
	Prepared *Prepared
}

// held is what Permit said.
type held struct{ error }

func (h held) Unwrap() error { return h.error }

func (o UpdateOptions) permit(stage godwit.Stage, to store.Version, p *plan.Plan) error {
	if o.Permit == nil {
		return nil
	}
	if err := o.Permit(stage, to, p); err != nil {
		return held{err}
	}
	return nil
}

// Update brings the device to what its source names: check, describe, admit,
// plan, fetch, build, switch, and the trial of the new version.
//
// An error before the switch leaves the running version as it is. After a
// switch that did not prove itself the previous version runs again, and the
// error has CodeRolledBack.
func (e *Engine) Update(ctx context.Context, opt UpdateOptions) (Result, error) {
	h, err := e.lock()
	if err != nil {
		return Result{}, err
	}
	defer h.release()
	if e.Store.Record().Trial.Open && !opt.Force && !opt.DryRun {
		if r, err := e.resumeTrial(ctx, h); err != nil {
			return r, err
		}
	}
	if e.Store.Record().Trial.Open && opt.Force && !opt.DryRun {
		// What has not proved itself must not become what a rollback leads to.
		_, err := e.goBack(ctx, h, Result{}, "another update was forced", true)
		if c := godwit.CodeOf(err); c != godwit.CodeRolledBack && c != godwit.CodeNoPrevious {
			return Result{}, err
		}
	}
	if !opt.DryRun {
		if err := e.pendingRestart(ctx, h); err != nil {
			return Result{}, err
		}
	}
	said := &recorder{Source: e.Source}
	r, stage, err := e.install(ctx, opt, said)
	if opt.Prepared != nil && !reached(err) && !opt.DryRun && !said.movedOn(opt.Prepared) {
		e.Events.Say(godwit.StageCheck, godwit.Info, "the source cannot be reached, and "+opt.Prepared.release.Version+" is here already")
		online := e.Source
		e.Source = replay{opt.Prepared, e.Store}
		r, stage, err = e.install(ctx, opt, &recorder{Source: e.Source})
		e.Source = online
	}
	if code := godwit.CodeOf(err); code.Refusal() && code != godwit.CodeRejected {
		// Nothing of it stays, whoever else may have use for it.
		if d, ok := e.Source.(interface{ Discard() }); ok {
			d.Discard()
		}
		if e := errors.Join(e.Store.Discard(), e.Store.Prune()); e != nil {
			err = errors.Join(err, e)
		}
	}
	if t, ok := e.Source.(interface{ Transferred() (sent, received int64) }); ok {
		r.Sent, r.Received = t.Transferred()
	}
	if c := godwit.CodeOf(err); (c == godwit.CodeDiskFull || c == godwit.CodeLimit) && (stage == godwit.StageFetch || stage == godwit.StageBuild) {
		// The application needs the space more than the next try does.
		if e := e.Store.Discard(); e != nil {
			err = errors.Join(err, e)
		}
	}
	if w := (held{}); errors.As(err, &w) {
		return r, w.error // nothing went wrong
	}
	if err != nil || r.Outcome != OnTrial {
		return r, e.failed(stage, err)
	}
	first := r
	r, err = e.startTrial(ctx, h, r)
	if err == nil && r.Outcome == Updated && first.Step {
		h.release()
		e.Events.Say(godwit.StageCheck, godwit.Info, "on from "+r.To.Name+", which was on the way")
		r, err = e.Update(ctx, UpdateOptions{Force: opt.Force, Permit: opt.Permit})
		r.From, r.Sent, r.Received = first.From, first.Sent+r.Sent, first.Received+r.Received
		r.Patched = first.Patched.Plus(r.Patched)
	}
	return r, err
}

// vouched gives an error about contents that a signature vouched for its code: it
// is then no accident that may be tried again and forgotten.
func vouched(policy string, err error) error {
	if c := godwit.CodeOf(err); policy != "none" && (c == godwit.CodeBadObject || c == godwit.CodeMissingObject) {
		return godwit.Fail(godwit.CodeTampered, err, "the host did not send what was signed", "look at the host and at what lies between; nothing of it was installed")
	}
	return err
}

// install does everything up to and including the switch. said notes what the source
// says where somebody may hold the switch.
func (e *Engine) install(ctx context.Context, opt UpdateOptions, said *recorder) (r Result, stage godwit.Stage, err error) {
	s := e.Store
	running := s.Record().Running
	r.From, r.To = running, running

	if opt.Permit != nil || opt.Prepared != nil {
		e.Source = said
		defer func() { e.Source = said.Source }()
	}
	stage = godwit.StageCheck
	chosen, err := e.choose(ctx, opt)
	if err != nil {
		return r, stage, err
	}
	if chosen.stands {
		if chosen, err = e.pastFloor(ctx, chosen); err != nil {
			return r, stage, err
		}
	}
	tip := chosen.tip
	c := e.compare(chosen)
	if !opt.DryRun && e.checkNoteIsStale(c, nil) {
		e.noteCheck(c, nil)
	}
	if c.Rejected && !opt.Force {
		return r, stage, godwit.Fail(godwit.CodeRejected, nil, "the release "+shortName(tip)+" is not tried again: "+c.Reason,
			"publish a new release, or insist with godwit update --force")
	}
	if c.Wait != nil {
		return r, stage, errors.Join(c.Wait, e.forget(opt, chosen))
	}
	if !c.Available && !opt.Force {
		r.Outcome, r.Reason = UpToDate, c.Reason
		return r, stage, e.forget(opt, chosen)
	}
	if tip.Ref == "" { // forced, and the channel names what runs
		if tip, err = e.named(ctx, chosen); err != nil {
			return r, stage, err
		}
	}

	stage = godwit.StageDescribe
	e.Events.Say(stage, godwit.Info, "describing "+shortName(tip))
	admitted, err := e.admit(ctx, tip, chosen)
	if err != nil {
		return r, stage, err
	}
	tip = admitted.Tip
	verified, err := e.Source.Describe(ctx, admitted, have(s.Record()))
	if err != nil {
		return r, stage, vouched(admitted.Policy, err)
	}

	stage = godwit.StagePlan
	objects, err := s.Objects()
	if err != nil {
		return r, stage, err
	}
	p, survey, err := e.plan(verified, objects)
	if err != nil {
		return r, stage, err
	}
	r.Plan = p
	r.To = store.Version{ID: verified.ID(), Ref: verified.Ref, Name: verified.Version, Tag: verified.Tag, Time: verified.Time,
		Policy: verified.Policy, Signers: cut(strings.Join(verified.Signers, ", "), 120), Hook: verified.PostUpdate, Undo: verified.Undo, Rules: e.Rules.Fingerprint()}
	r.Step = chosen.step
	for _, program := range []string{verified.PostUpdate, verified.Undo} {
		if len(program) > maxProgram {
			return r, stage, godwit.Fail(godwit.CodeBadManifest, nil, "the manifest names a program by a path of more than "+strconv.Itoa(maxProgram)+" bytes", "give post_update and rollback shorter names")
		}
	}
	e.Events.Say(stage, godwit.Info, summary(p))
	if opt.DryRun {
		// The plan reads listings that only it needs; the next run prunes them.
		r.Outcome, r.Reason = Planned, c.Reason
		return r, stage, nil
	}

	stage = godwit.StageFetch
	verified = p.Chosen(verified)
	if p.FetchFiles > 0 {
		if err := opt.permit(stage, r.To, p); err != nil {
			return r, stage, err
		}
		want, err := s.SaveListing(p.Wanted())
		if err != nil {
			return r, stage, err
		}
		err = e.fetch(ctx, verified, want, objects)
		r.Patched = e.notePatches()
		if err != nil {
			return r, stage, vouched(admitted.Policy, err)
		}
	}
	if err := e.checkSizes(p, objects); err != nil {
		return r, stage, err
	}

	if verified.Memory, err = e.adopt(ctx, verified, objects); err != nil {
		return r, stage, vouched(admitted.Policy, err)
	}

	if err := opt.permit(godwit.StageSwitch, r.To, p); err != nil {
		r.Prepared = e.prepared(said, p)
		return r, stage, err
	}

	stage = godwit.StageBuild
	e.Events.Say(stage, godwit.Debug, "building the new version")
	b, err := s.Build(objects, r.To, verified.Memory, p, survey)
	if err != nil {
		return r, stage, err
	}
	if err := e.hook(ctx, stage, "pre_switch", running, r.To); err != nil {
		return r, stage, err
	}
	if err := ctx.Err(); err != nil {
		return r, stage, err
	}

	stage = godwit.StageSwitch
	id, up := e.Boot()
	// What runs already has nothing to prove, and what came before it is not the
	// place to go back to when it cannot be started anew.
	err = s.Switch(b, store.Trial{Open: !running.Same(r.To), BootsLeft: e.Trial.Boots, Boot: id, Since: up})
	if err != nil {
		return r, stage, err
	}
	r.To = s.Record().Running
	r.Outcome = OnTrial
	e.Events.Say(stage, godwit.Info, "switched to "+r.To.Name)
	return r, stage, nil
}

// maxProgram bounds the path of a program that a release brings: the record has
// to hold it.
const maxProgram = 120

// have lists the commits whose trees the source should keep.
func have(r store.Record) []string {
	var ids []string
	for _, v := range append([]store.Version{r.Running, r.Previous}, r.Older...) {
		if v.ID != "" && v.ID != store.BeforeGodwit {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

func shortName(t godwit.Tip) string {
	return path.Base(t.Ref) + " (" + t.Commit[:min(10, len(t.Commit))] + ")"
}

// plan makes the plan for an admitted release.
func (e *Engine) plan(rel godwit.Described, objects *store.Objects) (*plan.Plan, store.Survey, error) {
	s := e.Store
	rules := e.Rules
	if s.Layout() == store.InPlace { // with slots, a tree holds nothing but its release
		rules.Delete = slices.Clone(rules.Delete)
		for _, p := range rel.Deletes {
			if rules.Permits(p) {
				rules.Delete = append(rules.Delete, p)
			}
		}
	}
	traits, err := s.Traits()
	if err != nil {
		return nil, store.Survey{}, err
	}
	if s.Layout() == store.Slots && !traits.Symlinks {
		return nil, store.Survey{}, godwit.Fail(godwit.CodeConfig, nil, "this file system has no symbolic links, which the layout \"slots\" needs", "set tree.layout = \"in-place\"")
	}
	in := plan.Input{
		From: s.Record().Running.ID, To: rel.ID(), Release: installable(rel),
		Rules: rules, Limits: e.Limits,
		Names:   plan.Names{FoldCase: !traits.CaseSensitive, Windows: !traits.AnyName},
		InPlace: s.Layout() == store.InPlace, Copies: !traits.Links,
		Reserved: s.Reserved, Has: objects.Has, Free: s.Free(),
		Patching: e.Patching, Offers: rel.Offers, Trees: rel.Trees,
	}
	survey, err := s.Survey(plan.Target(in), rules)
	if err != nil {
		return nil, survey, err
	}
	in.Installed = survey.Installed
	p, err := plan.Make(in)
	return p, survey, err
}

func summary(p *plan.Plan) string {
	var parts []string
	for _, x := range []struct {
		n    int
		word string
	}{{p.Added, "new"}, {p.Replaced, "changed"}, {p.Modes, "with a new mode"}, {p.Deleted, "removed"}, {p.Kept, "unchanged"}, {p.Skipped, "not for this device"}} {
		if x.n > 0 {
			parts = append(parts, strconv.Itoa(x.n)+" "+x.word)
		}
	}
	if len(parts) == 0 {
		return "the release has no files for this device"
	}
	text := "files: " + strings.Join(parts, ", ")
	switch {
	case !p.Tree.IsZero():
		text += "; they come in one patch, which saves " + plan.Bytes(p.SavedBytes)
	case p.PatchFiles > 0:
		text += "; patches for " + strconv.Itoa(p.PatchFiles) + " save " + plan.Bytes(p.SavedBytes)
	}
	if usd := p.Cost(); usd > 0 {
		text += "; the download costs " + plan.Dollars(usd)
	}
	return text
}

// sized refuses a file that is too large before it is fetched.
type sized struct {
	*store.Objects
	max int64
}

func (s sized) Create(size int64) (godwit.NewObject, error) {
	if s.max > 0 && size > s.max {
		return nil, plan.TooMuch("a file of "+plan.Bytes(size), "limits.max_file_bytes")
	}
	return s.Objects.Create(size)
}

// checkSizes holds the release against the limits on bytes, which the plan could
// not where the source tells no sizes.
func (e *Engine) checkSizes(p *plan.Plan, objects *store.Objects) error {
	if e.Limits.MaxBytes <= 0 && e.Limits.MaxFileBytes <= 0 {
		return nil
	}
	var total int64
	for s, err := range p.Steps() {
		if err != nil {
			return err
		}
		size := s.Old.Size
		switch s.Op {
		case plan.Skip, plan.Delete:
			continue
		case plan.Add, plan.Replace:
			o, err := objects.Open(s.New.Digest)
			if err != nil {
				return err
			}
			size = o.Size()
			o.Close()
		}
		if m := e.Limits.MaxFileBytes; m > 0 && size > m {
			return plan.TooMuch("the file "+strconv.Quote(s.Path)+" of "+plan.Bytes(size), "limits.max_file_bytes")
		}
		if total += size; e.Limits.MaxBytes > 0 && total > e.Limits.MaxBytes {
			return plan.TooMuch("more than "+plan.Bytes(e.Limits.MaxBytes), "limits.max_bytes")
		}
	}
	return nil
}

// fetch brings what want lists and makes sure that it came.
func (e *Engine) fetch(ctx context.Context, rel godwit.Described, want godwit.Listing, objects *store.Objects) error {
	if err := e.Source.Fetch(ctx, rel, want, sized{objects, e.Limits.MaxFileBytes}); err != nil {
		return err
	}
	for w, err := range want {
		if err != nil {
			return err
		}
		if !objects.Has(w.Digest) {
			return godwit.Fail(godwit.CodeMissingObject, nil, "the source did not send the content of "+strconv.Quote(w.Path),
				"try again; if it stays so, the repository is damaged")
		}
	}
	return nil
}
