package status

import (
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/internal/term"
	"github.com/godwit-ota/godwit/plan"
)

// A row is a head and what there is to say about it, which may go over several
// lines. Without a head it goes on from the row above.
type row struct {
	head, text string
	mark       mark
}

// A mark is how much a row matters.
type mark uint8

const (
	plain mark = iota
	odd        // not as it should be for long
	alarm      // somebody has to do something
)

type rows []row

func (r *rows) add(head string, text ...string) {
	*r = append(*r, row{head: head, text: strings.Join(text, "")})
}

func (r *rows) marked(m mark, head string, text ...string) {
	r.add(head, text...)
	(*r)[len(*r)-1].mark = m
}

// remark is a row about something that happened, with the end of its output.
func (r *rows) remark(m mark, head, what string, e engine.Remark, now time.Time) {
	if e.At.IsZero() {
		return
	}
	r.marked(m, head, what, when(e.At, now), ": ", e.Text)
	if e.Output != "" {
		r.add("", "| ", strings.ReplaceAll(lastLines(e.Output, 5), "\n", "\n| "))
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Text is the status for people, on one screen. With verbose it also has what
// every gate says and all of the hardware.
func (s *Status) Text(now time.Time, verbose bool) string {
	var b strings.Builder
	for _, r := range s.rows(now, verbose) {
		b.WriteString(r.head)
		b.WriteString("             "[min(len(r.head), 12):])
		b.WriteString(strings.ReplaceAll(r.text, "\n", "\n             "))
		b.WriteByte('\n')
	}
	return term.Clean(b.String())
}

// rows are all there is to say, the most important first.
func (s *Status) rows(now time.Time, verbose bool) rows {
	var r rows
	s.whatRuns(&r, now)
	s.whatComes(&r, now)
	s.whatWent(&r, now)
	s.device(&r, now, verbose)
	head := "rejected"
	for _, v := range s.Rejected {
		r.add(head, Named(v.Name, v.ID), ", ", when(v.At, now), ": ", v.Reason)
		head = ""
	}
	if verbose {
		s.allGates(&r, now)
	}
	return r
}

func (s *Status) whatRuns(r *rows, now time.Time) {
	since := ""
	if !s.Running.At.IsZero() && s.Running.At.Unix() > 0 {
		since = ", since " + when(s.Running.At, now)
	}
	r.add("running", Title(s.Running), since)
	if !s.Running.IsZero() && s.Running.Ref != "" {
		made := ""
		if t := at(s.Running.Time); t != "" {
			made = ", made " + t[:10]
		}
		r.add("", s.Running.Ref, made)
	}
	if s.Running.Signers != "" {
		r.add("", "signed by ", s.Running.Signers)
	}
	if s.Damaged {
		r.marked(alarm, "DAMAGED", "both copies of the record are damaged: Godwit no longer knows what is installed\nrun `godwit update` to install the release again; what runs now goes on running")
	}
	if !s.Settled {
		r.marked(alarm, "UNSETTLED", "a switch was interrupted: run `godwit recover` to finish it")
	}
	if s.Trial.Open {
		r.marked(odd, "trial", "not confirmed yet: ", s.TrialLeft.Round(time.Second).String(), " left, and ", count(s.Trial.BootsLeft, "boot", "boots"), " of ", strconv.Itoa(s.Boots))
	}
	r.add("previous", Title(s.Previous))
	for _, v := range s.Older {
		r.add("", Title(v))
	}
	r.add("trust", s.trustLine())
	if s.Channel.Name != "" {
		r.add("channel", s.channelLine(now))
		if s.Channel.Expired {
			r.marked(alarm, "", "EXPIRED since ", when(s.Channel.NotAfter, now), ": nothing new is installed until somebody sets it again")
		}
	}
	if v := s.Memory.Version; v != "" && v != s.Running.Name {
		if isLower(v, s.Running.Name) {
			r.add("oldest", v, " may be gone back to: a signed channel leads there")
		} else {
			r.add("newest", v, " was accepted before: nothing older is, unless a signed channel leads back")
		}
	}
	r.add("tree", s.Root, ", layout ", string(s.Layout))
	if s.Quota != "" {
		r.add("host", s.Quota)
	}
}

// trustLine says aloud what a trust policy means.
func (s *Status) trustLine() string {
	switch t := s.Trust; s.Policy {
	case "none":
		return "nothing checks who made a release: trust.mode is \"none\""
	case "hmac":
		return "manifests made with the secret trust.key, which every device has"
	case "signed":
		line := "releases for the product " + strconv.Quote(t.Product) + ", signed by "
		if t.Threshold > 1 {
			line += strconv.Itoa(t.Threshold) + " of those "
		} else {
			line += "one "
		}
		line += "in "
		if s.Memory.Signers != "" {
			line += "the allowed_signers that a release brought"
		} else {
			line += string(t.AllowedSigners)
		}
		switch {
		case s.Memory.Revoked != "":
			line += "\nand not in the revoked_keys that a release brought"
		case t.RevokedKeys != "":
			line += "\nand not in " + string(t.RevokedKeys)
		}
		return line
	}
	return s.Policy
}

// channelLine tells what the channel said last.
func (s *Status) channelLine(now time.Time) string {
	line := s.Channel.Name
	if s.Memory.Channel == line && s.Memory.Sequence > 0 {
		line += ", number " + strconv.FormatUint(s.Memory.Sequence, 10)
	}
	line += ": " + s.Channel.Release
	if end := s.Channel.NotAfter; !end.IsZero() && !s.Channel.Expired {
		line += ", good until " + when(end, now)
	}
	return line
}

// isLower reports whether both are versions, and a the lower one.
func isLower(a, b string) bool {
	v, ok := semver.Parse(a)
	w, ok2 := semver.Parse(b)
	return ok && ok2 && semver.Compare(v, w) < 0
}

// doing are the actions in a sentence.
var doing = map[gate.Action]string{gate.Check: "checking", gate.Fetch: "downloading", gate.Switch: "installing"}

// whatComes tells when the source is asked, and what is held back and why.
func (s *Status) whatComes(r *rows, now time.Time) {
	switch last := s.LastCheck; {
	case s.Asked.After(last.At) && last.At.IsZero():
		r.add("last check", when(s.Asked, now))
	case last.At.IsZero():
		r.add("last check", "never")
	case s.Asked.After(last.At):
		last.At = s.Asked // nothing has changed since what was noted
		fallthrough
	default:
		r.remark(plain, "last check", "", last, now)
	}
	a := s.Agent
	if a != nil && !a.NextCheck.IsZero() {
		m, why := plain, a.Why
		if a.Waiting != nil && strings.Contains(why, a.Waiting.Held().Reason) {
			why = "" // the next row says it
		}
		if a.Failures > 0 {
			m, why = odd, joined(why, "; ", count(a.Failures, "check has", "checks in a row have")+" failed")
		}
		r.marked(m, "next check", joined(ahead(a.NextCheck, now), ": ", why))
	}
	if a != nil && a.Waiting != nil {
		v := a.Waiting.Held()
		r.marked(odd, "waiting", a.Waiting.Release, " is there, but ", doing[a.Waiting.Action], " it waits for the gate ", v.Gate, ": ", v.Reason, s.until(v, now))
		if v.Hint != "" {
			r.add("", v.Hint)
		}
	}
	head := "not now"
	for _, h := range s.holding() {
		r.add(head, h.actions, ": ", h.Reason, s.until(h.Verdict, now))
		head = ""
	}
}

// joined joins two texts, of which one may be empty.
func joined(a, between, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + between + b
}

// until says when a gate opens.
func (s *Status) until(v gate.Verdict, now time.Time) string {
	if v.Until.IsZero() {
		return ""
	}
	return "; open again at " + ahead(v.Until, now)
}

// A holding gate, and the actions that it holds.
type holding struct {
	gate.Verdict
	actions string
}

// holding are the gates that hold, each reason once.
func (s *Status) holding() (all []holding) {
	for _, a := range actions {
	verdicts:
		for _, v := range s.Gates[a] {
			if !v.Holds || a == gate.Check && v.Gate == "interval" && s.Agent != nil {
				continue // the agent has planned its next check by it
			}
			if s.Agent != nil && s.Agent.Waiting != nil && s.Agent.Waiting.Action == a && s.Agent.Waiting.Held().Gate == v.Gate {
				continue // said already
			}
			for i := range all {
				if h := &all[i]; h.Gate == v.Gate && h.Until.Equal(v.Until) {
					h.actions += " and " + doing[a]
					continue verdicts
				}
			}
			all = append(all, holding{v, doing[a]})
		}
	}
	return all
}

func (s *Status) whatWent(r *rows, now time.Time) {
	r.remark(plain, "health", "", s.Health, now)
	for _, m := range s.Hooks {
		r.remark(plain, "hook", m.Key+", ", m, now)
	}
	if p := s.Patched; p.Applied+p.Failed > 0 {
		text := count(p.Applied, "patch", "patches") + " applied, " + plan.Bytes(p.Saved) + " saved"
		if p.Failed > 0 {
			text += "; " + strconv.Itoa(p.Failed) + " of no use"
		}
		r.add("patches", text)
		r.remark(plain, "", "the last, ", s.BadPatch, now)
	}
	r.remark(odd, "last error", "", s.LastError, now)
	if s.Crashes > 0 {
		text := strconv.Itoa(s.Crashes) + " in the last 24 hours"
		if e, ok := s.last(history.KindCrash); ok {
			text += "; the last " + when(e.At, now) + ": " + joined(e.Name, ", ", e.Text)
		}
		r.marked(odd, "crashes", text)
	}
	if s.Lost != nil {
		r.marked(odd, "history", "lost: ", s.Lost.Error())
	}
}

// last is the newest event of a kind.
func (s *Status) last(kind history.Kind) (last history.Event, ok bool) {
	if s.Events != nil {
		for e := range s.Events {
			if e.Kind == kind {
				return e, true
			}
		}
	}
	return last, false
}

// device tells of the hardware and the agent.
func (s *Status) device(r *rows, now time.Time, verbose bool) {
	if m := s.Month; m.Sent+m.Received+m.Metered() > 0 {
		text := "received " + plan.Bytes(m.Received+m.MeteredReceived) + ", sent " + plan.Bytes(m.Sent+m.MeteredSent)
		switch {
		case s.Budget > 0:
			text += "; over metered links " + plan.Bytes(m.Metered()) + " of " + plan.Bytes(s.Budget)
		case m.Metered() > 0:
			text += "; over metered links " + plan.Bytes(m.Metered())
		}
		r.add("this month", text)
	}
	if verbose {
		for i, p := range s.Hardware {
			r.add([]string{"hardware", ""}[min(i, 1)], p.Name, ": ", p.Text)
		}
	} else if text := s.hardware(); text != "" {
		r.add("hardware", text)
	}
	a := s.Agent
	if a == nil {
		r.add("agent", "none runs")
		return
	}
	if a.Pending > 0 {
		r.add("reports", count(a.Pending, "waits", "wait"), " to be sent")
	}
	r.add("agent", a.Doing, "; process ", strconv.Itoa(a.PID), ", since ", when(a.Started, now))
}

// hardware is what was found that matters, on one line.
func (s *Status) hardware() string {
	var found []string
	for _, p := range s.Hardware {
		if p.Text == "none" || p.Text == "unknown" {
			continue
		}
		switch p.Name {
		case "board":
			found = append(found, p.Text)
		case "battery":
			if s.Battery.Known {
				p.Text = strconv.Itoa(s.Battery.Percent) + "%"
				if s.Battery.Charging {
					p.Text += ", charging"
				}
			}
			found = append(found, "battery "+p.Text)
		case "led":
			found = append(found, "LED "+p.Text)
		case "watchdog":
			found = append(found, "watchdog "+p.Text)
		}
	}
	if s.Celsius.Known {
		found = append(found, strconv.FormatFloat(s.Celsius.Value, 'f', 1, 64)+" °C")
	}
	return strings.Join(found, "; ")
}

// allGates lists what every gate says about every action.
func (s *Status) allGates(r *rows, now time.Time) {
	for _, a := range actions {
		head := doing[a]
		for _, v := range s.Gates[a] {
			if v.Skipped && strings.HasPrefix(v.Reason, "it has no say") {
				continue
			}
			word := "passes"
			switch {
			case v.Holds:
				word = "HOLDS"
			case v.Skipped:
				word = "skipped"
			case v.Unknown:
				word = "unknown"
			}
			if v.Skipped && s.Channel.Name != "" && fromChannel[v.Gate] {
				v.Reason = "what the channel says counts when it is asked"
			}
			r.add(head, v.Gate, " ", word, ": ", v.Reason, s.until(v, now))
			head = ""
		}
	}
}

// fromChannel are the gates that go by the orders of a channel, which are not kept.
var fromChannel = map[string]bool{"expiry": true, "halt": true, "cohort": true, "channel-window": true}
