package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/internal/term"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

func stamp(t time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (c *command) statusVerb() verb {
	return verb{
		name: "status", short: "show what runs here and how it is doing",
		long:     "Show the running version, the one before it, an open trial, who is trusted, the last check and the last error, without asking the network. It takes no lock and writes nothing.",
		examples: []string{"godwit status", "godwit status --json"},
		exits:    []int{0, 1, 2},
		run: func(context.Context, string) error {
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			s, err := c.status(cfg)
			if err != nil {
				return err
			}
			c.printer().Emit(statusFields(s))
			c.printer().Printf("%s", statusText(s, time.Now()))
			return nil
		},
	}
}

// A report is what status shows.
type report struct {
	engine.Status
	root  string
	boots int // that a trial has
	trust config.Trust
	quota string // what the host still allows, "" if it does not say
}

// status asks the engine; a root that is not there yet is not made for it.
func (c *command) status(cfg *config.Config) (s report, err error) {
	s = report{boots: cfg.Confirm.Boots, trust: cfg.Trust}
	if s.root, err = filepath.Abs(string(cfg.Tree.Root)); err != nil {
		return s, err
	}
	if _, err := os.Stat(s.root); errors.Is(err, fs.ErrNotExist) {
		s.Status = engine.Status{Layout: store.Layout(cfg.Tree.Layout), Policy: cfg.Trust.Mode, Settled: true}
		return s, nil
	}
	d, err := device.Open(cfg, c.device())
	if err != nil {
		return s, err
	}
	defer d.Close()
	if s.Status, err = d.Engine.Status(); err != nil {
		return s, err
	}
	s.quota = quota(d.RateLimit())
	return s, nil
}

// quota words how often a host may still be asked.
func quota(limit, remaining int, reset time.Time) string {
	if limit == 0 {
		return ""
	}
	s := strconv.Itoa(remaining) + " of " + strconv.Itoa(limit) + " requests are left until " + reset.Local().Format("2006-01-02 15:04")
	if time.Now().After(reset) {
		return strconv.Itoa(limit) + " requests are allowed"
	}
	return s
}

func statusFields(s report) jsontext.Fields {
	o := begin("status")
	o.text("root", s.root)
	o.text("layout", string(s.Layout))
	o.text("policy", s.Policy)
	o.fields("running", versionFields(s.Running))
	o.fields("previous", versionFields(s.Previous))
	var older, rejected, hooks []jsontext.Fields
	for _, v := range s.Older {
		older = append(older, versionFields(v).done())
	}
	if older != nil {
		o.list("older", older)
	}
	o.some("product", s.trust.Product)
	o.fields("channel", channelNoted(s.Channel))
	o.fields("memory", memoryFields(s.Memory))
	o.some("quota", s.quota)
	o.flag("settled", s.Settled)
	o.flag("damaged", s.Damaged)
	var trial *object
	if s.Trial.Open {
		trial = &object{}
		trial.number("boots_left", int64(s.Trial.BootsLeft))
		trial.add("seconds_left", s.TrialLeft.Seconds())
	}
	o.fields("trial", trial)
	for _, r := range s.Rejected {
		f := &object{}
		f.text("commit", r.ID)
		f.some("name", r.Name)
		f.some("reason", r.Reason)
		f.some("at", stamp(r.At))
		rejected = append(rejected, f.done())
	}
	o.list("rejected", rejected)
	o.fields("last_check", remarkFields(s.LastCheck, "commit"))
	o.fields("last_error", remarkFields(s.LastError, "code"))
	o.fields("health", remarkFields(s.Health, ""))
	for _, m := range s.Hooks {
		hooks = append(hooks, remarkFields(m, "name").done())
	}
	if hooks != nil {
		o.list("hooks", hooks)
	}
	if p := patchedFields(s.Patched); p != nil {
		p.some("last_failure", stamp(s.BadPatch.At))
		o.fields("patches", p)
	}
	return o.done()
}

// patchedFields is what became of patches as JSON, nil if there were none.
func patchedFields(p godwit.Patched) *object {
	if p == (godwit.Patched{}) {
		return nil
	}
	o := &object{}
	o.number("applied", int64(p.Applied))
	o.number("saved", p.Saved)
	o.number("failed", int64(p.Failed))
	o.some("reason", p.Reason)
	return o
}

// channelNoted is what the channel said at the last check.
func channelNoted(ch engine.Channel) *object {
	if ch.Name == "" {
		return nil
	}
	o := &object{}
	o.text("name", ch.Name)
	o.text("release", ch.Release)
	o.some("not_after", stamp(ch.NotAfter))
	if ch.Expired {
		o.flag("expired", true)
	}
	return o
}

func memoryFields(m godwit.Memory) *object {
	if m.Version == "" && m.Sequence == 0 && m.Signers+m.Revoked == "" {
		return nil
	}
	o := &object{}
	o.some("product", m.Product)
	o.some("version", m.Version)
	o.some("time", stamp(m.Time))
	o.some("channel", m.Channel)
	if m.Sequence > 0 {
		o.number("sequence", int64(m.Sequence))
	}
	o.some("allowed_signers", m.Signers)
	o.some("revoked_keys", m.Revoked)
	return o
}

// remarkFields is a remark as JSON, null if there is none. key names what the
// remark's Key is.
func remarkFields(m engine.Remark, key string) *object {
	if m.At.IsZero() {
		return nil
	}
	o := &object{}
	o.text("at", stamp(m.At))
	if key != "" {
		o.some(key, m.Key)
	}
	o.text("result", m.Text)
	o.some("output", m.Output)
	return o
}

// trustLine says aloud what a trust policy means.
func (s report) trustLine() string {
	switch t := s.trust; s.Policy {
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
func (s report) channelLine(now time.Time) string {
	line := s.Channel.Name
	if s.Memory.Channel == line && s.Memory.Sequence > 0 {
		line += ", number " + strconv.FormatUint(s.Memory.Sequence, 10)
	}
	line += ": " + s.Channel.Release
	switch end := s.Channel.NotAfter; {
	case end.IsZero():
	case s.Channel.Expired:
		line += "\nEXPIRED since " + when(end, now) + ": nothing new is installed until somebody sets it again"
	default:
		line += ", good until " + when(end, now)
	}
	return line
}

// rows are lines with a head each. A text may go over several lines.
type rows struct{ strings.Builder }

func (r *rows) row(head string, text ...string) {
	r.WriteString(head)
	r.WriteString("             "[min(len(head), 12):])
	for _, t := range text {
		r.WriteString(strings.ReplaceAll(t, "\n", "\n             "))
	}
	r.WriteByte('\n')
}

// remark is a row about something that happened, with the end of its output.
func (r *rows) remark(head, what string, m engine.Remark, now time.Time) {
	if m.At.IsZero() {
		return
	}
	r.row(head, what, when(m.At, now), ": ", m.Text)
	if m.Output != "" {
		r.row("", "| ", strings.ReplaceAll(lastLines(m.Output, 5), "\n", "\n| "))
	}
}

func statusText(s report, now time.Time) string {
	var b rows
	since := ""
	if !s.Running.At.IsZero() && s.Running.At.Unix() > 0 {
		since = ", since " + when(s.Running.At, now)
	}
	b.row("running", title(s.Running), since)
	if !s.Running.IsZero() && s.Running.Ref != "" {
		made := ""
		if t := stamp(s.Running.Time); t != "" {
			made = ", made " + t[:10]
		}
		b.row("", s.Running.Ref, made)
	}
	if s.Running.Signers != "" {
		b.row("", "signed by ", s.Running.Signers)
	}
	if s.Damaged {
		b.row("DAMAGED", "both copies of the record are damaged: Godwit no longer knows what is installed\nrun `godwit update` to install the release again; what runs now goes on running")
	}
	if !s.Settled {
		b.row("UNSETTLED", "a switch was interrupted: run `godwit recover` to finish it")
	}
	if s.Trial.Open {
		b.row("trial", "not confirmed yet: ", s.TrialLeft.Round(time.Second).String(), " left, and ", boot(s.Trial.BootsLeft), " of ", strconv.Itoa(s.boots))
	}
	b.row("previous", title(s.Previous))
	for _, v := range s.Older {
		b.row("", title(v))
	}
	b.row("trust", s.trustLine())
	if s.Channel.Name != "" {
		b.row("channel", s.channelLine(now))
	}
	if v := s.Memory.Version; v != "" && v != s.Running.Name {
		if isLower(v, s.Running.Name) {
			b.row("oldest", v, " may be gone back to: a signed channel leads there")
		} else {
			b.row("newest", v, " was accepted before: nothing older is, unless a signed channel leads back")
		}
	}
	b.row("tree", s.root, ", layout ", string(s.Layout))
	if s.quota != "" {
		b.row("host", s.quota)
	}
	if s.LastCheck.At.IsZero() {
		b.row("last check", "never")
	}
	b.remark("last check", "", s.LastCheck, now)
	b.remark("health", "", s.Health, now)
	for _, m := range s.Hooks {
		b.remark("hook", m.Key+", ", m, now)
	}
	if p := s.Patched; p.Applied+p.Failed > 0 {
		text := count(p.Applied, "patch", "patches") + " applied, " + plan.Bytes(p.Saved) + " saved"
		if p.Failed > 0 {
			text += "; " + strconv.Itoa(p.Failed) + " of no use"
		}
		b.row("patches", text)
		b.remark("", "the last, ", s.BadPatch, now)
	}
	b.remark("last error", "", s.LastError, now)
	head := "rejected"
	for _, r := range s.Rejected {
		b.row(head, named(r.Name, r.ID), ", ", when(r.At, now), ": ", r.Reason)
		head = ""
	}
	return term.Clean(b.String())
}

// isLower reports whether both are versions, and a the lower one.
func isLower(a, b string) bool {
	v, ok := semver.Parse(a)
	w, ok2 := semver.Parse(b)
	return ok && ok2 && semver.Compare(v, w) < 0
}

func boot(n int) string {
	if n == 1 {
		return "1 boot"
	}
	return strconv.Itoa(n) + " boots"
}

func files(n int) string { return count(n, "file", "files") }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// when gives a time, and how long ago it was where the clock makes sense of it.
func when(t, now time.Time) string {
	s := t.Local().Format("2006-01-02 15:04")
	ago := now.Sub(t)
	switch {
	case ago < 0:
		return s
	case ago < time.Minute:
		return s + " (just now)"
	case ago < time.Hour:
		return s + " (" + strconv.Itoa(int(ago.Minutes())) + " min ago)"
	case ago < 48*time.Hour:
		return s + " (" + strconv.Itoa(int(ago.Hours())) + " h ago)"
	}
	return s + " (" + strconv.Itoa(int(ago.Hours()/24)) + " days ago)"
}
