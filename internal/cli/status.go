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
			root, s, err := c.status(cfg)
			if err != nil {
				return err
			}
			c.printer().Emit(statusFields(root, s))
			c.printer().Printf("%s", statusText(root, cfg.Confirm.Boots, s, time.Now()))
			return nil
		},
	}
}

// status asks the engine; a root that is not there yet is not made for it.
func (c *command) status(cfg *config.Config) (root string, s engine.Status, err error) {
	if root, err = filepath.Abs(string(cfg.Tree.Root)); err != nil {
		return root, s, err
	}
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return root, engine.Status{Layout: store.Layout(cfg.Tree.Layout), Policy: engine.TrustNone().Policy(), Settled: true}, nil
	}
	d, err := c.open(cfg)
	if err != nil {
		return root, s, err
	}
	defer d.close()
	s, err = d.engine.Status()
	return root, s, err
}

func statusFields(root string, s engine.Status) jsontext.Fields {
	var trial jsontext.Fields
	if s.Trial.Open {
		trial = jsontext.Fields{{Name: "boots_left", Value: s.Trial.BootsLeft}, {Name: "seconds_left", Value: s.TrialLeft.Seconds()}}
	}
	var older, rejected, hooks []jsontext.Fields
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
		{Name: "type", Value: "status"}, {Name: "root", Value: root}, {Name: "layout", Value: string(s.Layout)}, {Name: "policy", Value: s.Policy},
		{Name: "running", Value: versionFields(s.Running)}, {Name: "previous", Value: versionFields(s.Previous)}}.With("older", older),
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

// policies says aloud what a trust policy means.
var policies = map[string]string{
	"none": "nothing checks who made a release: trust.mode is \"none\"",
}

func statusText(root string, boots int, s engine.Status, now time.Time) string {
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
	if s.Damaged {
		row("DAMAGED", "both copies of the record are damaged: Godwit no longer knows what is installed\nrun `godwit update` to install the release again; what runs now goes on running")
	}
	if !s.Settled {
		row("UNSETTLED", "a switch was interrupted: run `godwit recover` to finish it")
	}
	if s.Trial.Open {
		row("trial", "not confirmed yet: %s left, and %s of %d", s.TrialLeft.Round(time.Second), boot(s.Trial.BootsLeft), boots)
	}
	row("previous", "%s", title(s.Previous))
	for _, v := range s.Older {
		row("", "%s", title(v))
	}
	trust := policies[s.Policy]
	if trust == "" {
		trust = s.Policy
	}
	row("trust", "%s", trust)
	row("tree", "%s, layout %s", root, s.Layout)
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
