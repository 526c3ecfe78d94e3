package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
)

// recheck is how long a gate that cannot say when it opens is left alone: a busy
// application, a battery. It costs no request.
const recheck = 5 * time.Minute

// stale is how old what is prepared may be when it is switched to without the
// source: since then a channel may have been halted, or a key revoked.
const stale = 7 * 24 * time.Hour

// attempt asks for something newer, if the gates let it, and installs it, if they
// let it. Then it plans the next check.
func (l *Loop) attempt(ctx context.Context, ask Ask, now bool) {
	if l.again != nil && len(ask.Override) == 0 && !ask.Force {
		ask, now = *l.again, true
	}
	override := ask.Override
	if now {
		override = append([]string{"interval"}, override...)
	}
	over, err := gate.Overriding(override...)
	if err != nil {
		l.failed("ask", err)
		over, _ = gate.Overriding("interval")
	}
	facts := l.facts(ctx)
	if v, held := gate.Held(gate.Judge(gate.Check, l.p.Rules, facts, over)); held {
		level := Info
		if l.live.Why == v.Reason {
			level = Debug
		}
		l.p.Log.Say(level, "no check now: "+v.Reason, "gate", v.Gate)
		// By the clock of the gates, which is better than the device's. A look at them
		// asks nobody, and the link may be another soon: it is never far off.
		in := l.p.Every
		if !v.Until.IsZero() {
			in = max(time.Minute, min(v.Until.Sub(facts.Now), in))
		}
		l.planCheck(in, v.Reason)
		return
	}
	if l.waiting != nil && !now && time.Since(l.asked) < l.p.Every {
		// The release is known: as long as its gate is shut, nobody need be asked.
		facts.Release, facts.PlannedBytes = l.waiting.Release, l.planned
		l.waiting.Verdicts = gate.Judge(l.waiting.Action, l.p.Rules, facts, over)
		if v, held := gate.Held(l.waiting.Verdicts); held {
			l.planWaiting(v)
			return
		}
	}
	tuning, said := adapt(l.p.Base, facts.FreeMemory, l.p.Signal())
	for _, s := range said {
		l.p.Log.Say(Debug, "adapting: "+s)
	}
	l.live.Retries, l.live.Chunk = tuning.Retries, tuning.Chunk
	began, start := l.p.Now(), time.Now()
	before := l.waiting
	l.waiting = nil
	if time.Since(l.readied) > stale {
		l.prepared = nil
	}
	var result engine.Result
	permit := func(stage godwit.Stage, to store.Version, p *plan.Plan) error {
		f := l.facts(ctx)
		f.Release, f.PlannedBytes = to.Name, p.FetchBytes
		action := gate.Switch
		if stage == godwit.StageFetch {
			action = gate.Fetch
		}
		verdicts := gate.Judge(action, l.p.Rules, f, over)
		if v, held := gate.Held(verdicts); held {
			l.planned = p.FetchBytes
			l.waiting = &status.Waiting{Release: to.Name, Action: action, Verdicts: verdicts}
			return v.Err()
		}
		return nil
	}
	openErr := l.withDevice(ctx, "checking", tuning, func(d Device) {
		result, err = d.Update(ctx, engine.UpdateOptions{Force: ask.Force, Permit: permit, Prepared: l.prepared})
		switch code := godwit.CodeOf(err); {
		case result.Prepared != nil:
			if result.Prepared != l.prepared {
				l.readied = time.Now()
			}
			l.prepared = result.Prepared
		case err == nil || !code.Deferral() && code != godwit.CodeBusy:
			l.prepared = nil
		}
		l.outcome(ctx, d, result, err, began, start)
		l.mind(d, result)
		l.tellRunning(d)
	})
	if openErr != nil {
		err = openErr
	}
	l.warn("history", l.p.History.AddBytes(facts.Metered, result.Sent, result.Received))
	if openErr == nil && godwit.CodeOf(err) != godwit.CodeBusy { // else nobody was asked
		l.asked = start
		l.warn("history", l.p.History.SetLastCheck(began, l.p.Every))
	}
	l.plan(err, before)
	if l.again = nil; l.failures > 0 && (ask.Force || len(ask.Override) > 0) {
		l.again = &ask
	}
	if l.failures == 0 {
		l.live.LastCheck = l.p.Now()
	}
	if l.p.Reports != nil && l.p.Reports.Pending() > 0 {
		l.send(ctx)
	}
}

// wait is how long it is until a time, or otherwise where that is not known; a
// minute at least.
func (l *Loop) wait(until time.Time, otherwise time.Duration) time.Duration {
	if until.IsZero() {
		return otherwise
	}
	return max(time.Minute, min(until.Sub(l.p.Now()), 24*time.Hour))
}

// planWaiting plans to look at a gate again. It asks the source no later for that.
func (l *Loop) planWaiting(v gate.Verdict) {
	l.planCheck(min(l.wait(v.Until, min(recheck, l.p.Every)), l.p.Every), l.waiting.Release+" waits: "+v.Reason)
}

// plan plans the next check after one that ended with err.
func (l *Loop) plan(err error, before *status.Waiting) {
	code, every := godwit.CodeOf(err), l.p.Every
	now := l.p.Now()
	regular := max(every/2, until(now, now, every, l.p.Device.ID))
	switch {
	case l.waiting != nil:
		l.failures = 0
		v, _ := gate.Held(l.waiting.Verdicts)
		if before == nil || before.Release != l.waiting.Release || before.Action != l.waiting.Action {
			l.p.Log.Say(Info, l.waiting.Release+" waits: "+v.Reason, "gate", v.Gate, "action", l.waiting.Action.String())
		}
		l.planWaiting(v)
	case err == nil, code == godwit.CodeRolledBack, code.Refusal():
		l.failures = 0
		l.planCheck(regular, "as planned")
	case code.Deferral() && code != godwit.CodeRetryAfter:
		l.failures = 0
		l.planCheck(min(l.wait(godwit.UntilOf(err), regular), regular), err.Error())
	default:
		l.failures++
		in := backoff(l.failures, every, l.p.Random)
		if until := godwit.UntilOf(err); !until.IsZero() {
			in = max(in, l.wait(until, 0)) // the host knows better
		}
		why := "the last check failed: " + err.Error()
		if code == godwit.CodeRetryAfter {
			why = err.Error()
		}
		l.planCheck(in, why)
	}
}

// outcome remembers how a piece of work ended, and shows it.
func (l *Loop) outcome(ctx context.Context, d Device, r engine.Result, err error, began time.Time, start time.Time) {
	code := godwit.CodeOf(err)
	took, bytes := time.Since(start), r.Sent+r.Received
	attempt := func(outcome, reason string) {
		l.warn("history", l.p.History.Attempt(r.From.Name, r.To.Name, outcome, reason, bytes, took))
	}
	switch {
	case ctx.Err() != nil && err != nil: // the agent was told to stop
	case err == nil && (r.Outcome == engine.Updated || r.Outcome == engine.Confirmed):
		attempt(string(r.Outcome), r.Reason)
		l.p.Log.Say(Info, r.To.Name+" runs, and is confirmed", "from", r.From.Name, "received", plan.Bytes(r.Received), "took", took.Round(time.Second).String())
		l.p.Show(board.Success)
	case err == nil && r.Outcome == engine.OnTrial:
		attempt(string(r.Outcome), r.Reason)
		l.p.Log.Say(Info, r.To.Name+" runs, on trial")
	case err == nil && r.Outcome == engine.Recovered:
		l.p.Log.Say(Warning, r.Reason)
	case err == nil:
		l.p.Log.Say(Debug, "up to date", "running", r.To.Name)
		l.p.Show(board.Off)
	case code == godwit.CodeRolledBack:
		attempt("rolled-back", r.Reason)
		l.p.Log.Fail(Error, "update", err)
		l.p.Show(board.Failure)
		l.tell(report.Report{Verdict: report.RolledBack, Code: code, Reason: err.Error(), Release: r.From.Name, Commit: r.From.ID, From: r.To.Name},
			r.From.ID+" "+r.From.At.UTC().Format(time.RFC3339))
	case code.Deferral():
		l.p.Show(board.Off)
	case code == godwit.CodeRejected:
		l.p.Log.Fail(Debug, "update", err)
		l.p.Show(board.Off)
	default:
		l.failed("update", err)
		if r.Plan != nil || code.Refusal() {
			// There was something to install.
			attempt("failed", err.Error())
			release := r.To
			if r.Plan == nil {
				release = store.Version{}
			}
			l.tell(report.Report{Verdict: report.Failed, Code: code, Reason: err.Error(), Release: release.Name, Commit: release.ID, From: r.From.Name},
				"failed "+release.ID+" "+string(code)+" from "+r.From.ID)
		}
	}
}

// failed remembers an error and logs it.
func (l *Loop) failed(stage string, err error) {
	l.warn("history", l.p.History.Error(godwit.CodeOf(err), stage, err.Error()))
	l.p.Log.Fail(Error, stage, err)
	l.p.Show(board.Failure)
}

// tellRunning reports the running version, once, when it is confirmed and the tree
// is known to be what was released.
func (l *Loop) tellRunning(d Device) {
	if l.p.Reports == nil {
		return
	}
	s, err := d.Status()
	if err != nil || s.Running.IsZero() || s.Trial.Open || !s.Settled || s.Running.ID == store.BeforeGodwit {
		return
	}
	key := "confirmed " + s.Running.ID + " " + s.Running.At.UTC().Format(time.RFC3339)
	if l.told(l.reportID(key)) {
		return
	}
	tree, err := d.Fingerprint()
	if err != nil {
		l.warn("report", err)
		return
	}
	l.tell(report.Report{Verdict: report.Confirmed, Release: s.Running.Name, Commit: s.Running.ID, Tree: tree, From: s.Previous.Name}, key)
}

// reportID is the id of the report that key tells from all others.
func (l *Loop) reportID(key string) string {
	sum := sha256.Sum256([]byte(l.p.Device.ID + "\n" + key))
	return hex.EncodeToString(sum[:12])
}

// keepTold is how many reports are remembered to have been queued: that of the version
// that runs, and those of what cannot be installed, which a device tries again and
// again.
const keepTold = 4

// told reports whether a report is one of those that were queued last.
func (l *Loop) told(id string) bool {
	return id == l.unwritten || slices.Contains(strings.Fields(l.p.Reported.Get()), id)
}

// tell queues a report, unless it is one of those that were queued last.
func (l *Loop) tell(r report.Report, key string) {
	if l.p.Reports == nil {
		return
	}
	r.ID, r.Time = l.reportID(key), l.p.Now()
	if l.told(r.ID) {
		return
	}
	r.Boot, _ = l.p.Boot()
	r.Reason = strings.TrimSpace(r.Reason)
	if err := l.p.Reports.Add(r); err != nil {
		l.warn("report", err)
		return // it is tried again with the next check
	}
	told := append(strings.Fields(l.p.Reported.Get()), r.ID)
	l.unwritten = ""
	if err := l.p.Reported.Set(strings.Join(told[max(0, len(told)-keepTold):], " ")); err != nil {
		l.unwritten = r.ID // else it would be queued with each check
		l.warn("report", err)
	}
	l.report = time.Now()
}

// perReport is the longest that one report takes.
const perReport = 30 * time.Second

// send sends the reports that are due.
func (l *Loop) send(ctx context.Context) {
	l.doing("sending reports")
	done := l.p.Watchdog.Expect(l.p.Patient + time.Duration(l.p.Reports.Pending())*perReport)
	n, at, err := l.p.Reports.Send(ctx)
	done()
	l.report = time.Time{}
	if !at.IsZero() {
		least := time.Second
		if err != nil {
			least = 10 * time.Second // also where it came and that could not be noted
		}
		l.report = time.Now().Add(max(least, at.Sub(l.p.Now())))
	}
	if err != nil && ctx.Err() == nil {
		l.p.Log.Fail(Warning, "report", err)
	}
	if n > 0 {
		l.p.Log.Say(Debug, "reports were sent", "number", itoa(n))
	}
}
