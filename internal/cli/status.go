package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/term"
	"github.com/godwit-ota/godwit/store"
)

type statusJSON struct {
	Type      string          `json:"type"` // "status"
	Root      string          `json:"root"`
	Layout    store.Layout    `json:"layout"`
	Policy    string          `json:"policy"`
	Running   *versionJSON    `json:"running"`
	Previous  *versionJSON    `json:"previous"`
	Older     []*versionJSON  `json:"older,omitempty"`
	Settled   bool            `json:"settled"`
	Damaged   bool            `json:"damaged"`
	Trial     *trialJSON      `json:"trial"`
	Rejected  []rejectionJSON `json:"rejected"`
	LastCheck *remarkJSON     `json:"last_check"`
	LastError *remarkJSON     `json:"last_error"`
	Health    *remarkJSON     `json:"health"`
	Hooks     []remarkJSON    `json:"hooks,omitempty"`
}

type trialJSON struct {
	BootsLeft   int     `json:"boots_left"`
	SecondsLeft float64 `json:"seconds_left"`
}

type rejectionJSON struct {
	Commit string `json:"commit"`
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason"`
	At     string `json:"at,omitempty"`
}

type remarkJSON struct {
	At     string `json:"at"`
	Name   string `json:"name,omitempty"`   // hooks
	Code   string `json:"code,omitempty"`   // last_error
	Commit string `json:"commit,omitempty"` // last_check
	Result string `json:"result"`
	Output string `json:"output,omitempty"`
}

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
			d, err := c.open(cfg)
			if err != nil {
				return err
			}
			defer d.close()
			s, err := d.engine.Status()
			if err != nil {
				return err
			}
			c.printer().Emit(jsonStatus(d.root, s))
			c.printer().Printf("%s", statusText(d.root, cfg.Confirm.Boots, s, time.Now()))
			return nil
		},
	}
}

func jsonStatus(root string, s engine.Status) statusJSON {
	j := statusJSON{Type: "status", Root: root, Layout: s.Layout, Policy: s.Policy, Settled: s.Settled, Damaged: s.Damaged,
		Running: jsonVersion(s.Running), Previous: jsonVersion(s.Previous), Rejected: []rejectionJSON{}}
	for _, v := range s.Older {
		j.Older = append(j.Older, jsonVersion(v))
	}
	if s.Trial.Open {
		j.Trial = &trialJSON{s.Trial.BootsLeft, s.TrialLeft.Seconds()}
	}
	for _, r := range s.Rejected {
		j.Rejected = append(j.Rejected, rejectionJSON{r.ID, r.Name, r.Reason, stamp(r.At)})
	}
	if m := s.LastCheck; !m.At.IsZero() {
		j.LastCheck = &remarkJSON{At: stamp(m.At), Commit: m.Key, Result: m.Text}
	}
	if m := s.LastError; !m.At.IsZero() {
		j.LastError = &remarkJSON{At: stamp(m.At), Code: m.Key, Result: m.Text}
	}
	if m := s.Health; !m.At.IsZero() {
		j.Health = &remarkJSON{At: stamp(m.At), Result: m.Text, Output: m.Output}
	}
	for _, m := range s.Hooks {
		j.Hooks = append(j.Hooks, remarkJSON{At: stamp(m.At), Name: m.Key, Result: m.Text, Output: m.Output})
	}
	return j
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
