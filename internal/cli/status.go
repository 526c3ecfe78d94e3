package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/term"
	"github.com/godwit-ota/godwit/source/github"
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
	d, err := c.open(cfg)
	if err != nil {
		return s, err
	}
	defer d.close()
	if s.Status, err = d.engine.Status(); err != nil {
		return s, err
	}
	switch cfg.Source.Type {
	case "git", "web":
	default:
		// Opening it asks nobody; without its secrets there is just less to say.
		if src, err := d.source.get(); err == nil {
			if r, ok := src.(*github.Source); ok {
				s.quota = quota(r.RateLimit())
			}
		}
	}
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
	var trial jsontext.Fields
	if s.Trial.Open {
		trial = jsontext.Fields{{Name: "boots_left", Value: s.Trial.BootsLeft}, {Name: "seconds_left", Value: s.TrialLeft.Seconds()}}
	}
	var older, rejected, hooks []jsontext.Fields
	var channel, memory jsontext.Fields
	if ch := s.Channel; ch.Name != "" {
		channel = jsontext.Fields{{Name: "name", Value: ch.Name}, {Name: "release", Value: ch.Release}}.With("not_after", stamp(ch.NotAfter)).With("expired", ch.Expired)
	}
	if m := s.Memory; m.Version != "" || m.Sequence > 0 || m.Signers+m.Revoked != "" {
		memory = jsontext.Fields{}.With("product", m.Product).With("version", m.Version).With("time", stamp(m.Time)).
			With("channel", m.Channel).With("sequence", int64(m.Sequence)).With("allowed_signers", m.Signers).With("revoked_keys", m.Revoked)
	}
	for _, v := range s.Older {
		older = append(older, versionFields(v))
	}
	for _, r := range s.Rejected {
		rejected = append(rejected, jsontext.Fields{{Name: "commit", Value: r.ID}}.With("name", r.Name).With("reason", r.Reason).With("at", stamp(r.At)))
	}
	for _, m := range s.Hooks {
		hooks = append(hooks, remarkFields(m, "name"))
	}
	return append(jsontext.Fields{
		{Name: "type", Value: "status"}, {Name: "root", Value: s.root}, {Name: "layout", Value: string(s.Layout)}, {Name: "policy", Value: s.Policy},
		{Name: "running", Value: versionFields(s.Running)}, {Name: "previous", Value: versionFields(s.Previous)}}.With("older", older).With("product", s.trust.Product).With("channel", channel).With("memory", memory).With("quota", s.quota),
		jsontext.Fields{
			{Name: "settled", Value: s.Settled}, {Name: "damaged", Value: s.Damaged}, {Name: "trial", Value: trial}, {Name: "rejected", Value: rejected},
			{Name: "last_check", Value: remarkFields(s.LastCheck, "commit")}, {Name: "last_error", Value: remarkFields(s.LastError, "code")},
			{Name: "health", Value: remarkFields(s.Health, "")},
		}.With("hooks", hooks)...)
}

// remarkFields is a remark as JSON, null if there is none. key names what the
// remark's Key is.
func remarkFields(m engine.Remark, key string) jsontext.Fields {
	if m.At.IsZero() {
		return nil
	}
	f := jsontext.Fields{{Name: "at", Value: stamp(m.At)}}
	if key != "" {
		f = f.With(key, m.Key)
	}
	return append(f, jsontext.Field{Name: "result", Value: m.Text}).With("output", m.Output)
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

func statusText(s report, now time.Time) string {
	var b strings.Builder
	row := func(head, format string, args ...any) {
		text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n             ")
		fmt.Fprintf(&b, "%-12s %s\n", head, text)
	}
	output := func(o string) {
		if o != "" {
			row("", "%s", "| "+strings.ReplaceAll(lastLines(o, 5), "\n", "\n| "))
		}
	}
	running := title(s.Running)
	if !s.Running.At.IsZero() && s.Running.At.Unix() > 0 {
		running += ", since " + when(s.Running.At, now)
	}
	row("running", "%s", running)
	if !s.Running.IsZero() && s.Running.Ref != "" {
		made := ""
		if t := stamp(s.Running.Time); t != "" {
			made = ", made " + t[:10]
		}
		row("", "%s%s", s.Running.Ref, made)
	}
	if s.Running.Signers != "" {
		row("", "signed by %s", s.Running.Signers)
	}
	if s.Damaged {
		row("DAMAGED", "both copies of the record are damaged: Godwit no longer knows what is installed\nrun `godwit update` to install the release again; what runs now goes on running")
	}
	if !s.Settled {
		row("UNSETTLED", "a switch was interrupted: run `godwit recover` to finish it")
	}
	if s.Trial.Open {
		row("trial", "not confirmed yet: %s left, and %s of %d", s.TrialLeft.Round(time.Second), boot(s.Trial.BootsLeft), s.boots)
	}
	row("previous", "%s", title(s.Previous))
	for _, v := range s.Older {
		row("", "%s", title(v))
	}
	row("trust", "%s", s.trustLine())
	if s.Channel.Name != "" {
		row("channel", "%s", s.channelLine(now))
	}
	if v := s.Memory.Version; v != "" && v != s.Running.Name {
		row("newest", "%s was accepted before: nothing older is, unless a signed channel leads back", v)
	}
	row("tree", "%s, layout %s", s.root, s.Layout)
	if s.quota != "" {
		row("host", "%s", s.quota)
	}
	if m := s.LastCheck; m.At.IsZero() {
		row("last check", "never")
	} else {
		row("last check", "%s: %s", when(m.At, now), m.Text)
	}
	if m := s.Health; !m.At.IsZero() {
		row("health", "%s: %s", when(m.At, now), m.Text)
		output(m.Output)
	}
	for _, m := range s.Hooks {
		row("hook", "%s, %s: %s", m.Key, when(m.At, now), m.Text)
		output(m.Output)
	}
	if m := s.LastError; !m.At.IsZero() {
		row("last error", "%s: %s", when(m.At, now), m.Text)
	}
	for i, r := range s.Rejected {
		head := ""
		if i == 0 {
			head = "rejected"
		}
		row(head, "%s, %s: %s", named(r.Name, r.ID), when(r.At, now), r.Reason)
	}
	return term.Clean(b.String())
}

func boot(n int) string {
	if n == 1 {
		return "1 boot"
	}
	return strconv.Itoa(n) + " boots"
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return strconv.Itoa(n) + " files"
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
		return s + fmt.Sprintf(" (%d min ago)", int(ago.Minutes()))
	case ago < 48*time.Hour:
		return s + fmt.Sprintf(" (%d h ago)", int(ago.Hours()))
	}
	return s + fmt.Sprintf(" (%d days ago)", int(ago.Hours()/24))
}
