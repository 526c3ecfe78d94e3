package engine

import (
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/store"
)

// A Status is all that a device knows of itself without asking anybody.
type Status struct {
	Layout    store.Layout
	Policy    string // of the gate in force
	Running   store.Version
	Previous  store.Version
	Older     []store.Version
	Settled   bool // the tree is known to be what the record says
	Damaged   bool // no copy of the record is valid
	Trial     store.Trial
	TrialLeft time.Duration // of an open trial's time, in this boot
	Rejected  []store.Rejection
	Memory    godwit.Memory
	Channel   Channel // what it said at the last check; zero without one
	LastCheck Remark  // Text is the result, Key the commit that the source named
	LastError Remark  // Key is the code
	Health    Remark
	Hooks     []Remark       // Key is the name
	Patched   godwit.Patched // what became of patches on this device, in all
	BadPatch  Remark         // the last that was of no use
}

// A Channel is what a channel said.
type Channel struct {
	Name     string
	Release  string
	NotAfter time.Time // zero for ever
	Expired  bool
}

// A Remark is something that happened.
type Remark struct {
	At     time.Time // zero if it never did
	Key    string
	Text   string
	Output string
}

// Status reads the record and the notes. It takes no lock and writes nothing.
func (e *Engine) Status() (Status, error) {
	if err := e.Store.Reload(); err != nil {
		return Status{}, err
	}
	r := e.Store.Record()
	n := e.Store.Notes()
	remark := func(prefix, key, text string) Remark {
		m := Remark{Key: n[prefix+key], Text: n[prefix+text], Output: n[prefix+".output"]}
		if at, err := strconv.ParseInt(n[prefix+".at"], 10, 64); err == nil {
			m.At = time.Unix(at, 0).UTC()
		}
		return m
	}
	s := Status{
		Layout: e.Store.Layout(), Policy: e.Gate.Policy(),
		Running: r.Running, Previous: r.Previous, Older: r.Older,
		Settled: r.Settled || r.Running.IsZero(), Damaged: e.Store.Damaged(),
		Trial: r.Trial, Rejected: r.Rejected, Memory: r.Memory,
		LastCheck: remark("check", ".commit", ".result"),
		LastError: remark("error", ".code", ".text"),
		Health:    remark("health", ".result", ".result"),
		Patched:   patched(n), BadPatch: remark("patches", "", ".reason"),
	}
	if s.Channel = (Channel{Name: n["channel.name"], Release: n["channel.release"]}); n["channel.not_after"] != "" {
		if at, err := strconv.ParseInt(n["channel.not_after"], 10, 64); err == nil {
			s.Channel.NotAfter = time.Unix(at, 0).UTC()
			now, _ := e.now(r.Memory)
			s.Channel.Expired = now.After(s.Channel.NotAfter)
		}
	}
	if r.Trial.Open {
		s.TrialLeft = max(e.left(r.Trial), 0)
	}
	for _, h := range []string{"pre_switch", "post_switch", "pre_rollback", "post_rollback"} {
		m := remark("hook."+h, ".name", ".result")
		if !m.At.IsZero() {
			m.Key = h
			s.Hooks = append(s.Hooks, m)
		}
	}
	if strings.HasPrefix(s.LastCheck.Text, "failed: ") {
		s.LastCheck.Key = ""
	}
	if s.LastCheck.Text == upToDate && !s.LastCheck.At.Before(s.LastError.At) {
		s.LastError = Remark{} // what went wrong before has been got over
	}
	return s, nil
}
