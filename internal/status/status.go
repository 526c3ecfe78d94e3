// Package status is what people and programs see of a device: one screen, JSON,
// metrics, a page. It gathers what the record, the notes, the history, the board and a
// running agent know, and words it. It changes nothing and asks no network.
package status

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// Options are what does not stand in the configuration. The zero value works; what
// it leaves out is not shown.
type Options struct {
	Device  device.Options
	Version string // of the program

	// Board is the hardware, which stays open; nil for none.
	Board *board.Board
	// Facts are what is the case, but for what the history and the record know.
	// tree is where the application runs. Without it no gate is asked.
	Facts Facts

	// History is that of the process that writes it; with nil it is read from the
	// disk with HistoryOptions, and what waits to be written is not in it.
	History        *history.History
	HistoryOptions history.Options

	Now func() time.Time // nil means time.Now
}

// Facts is agent.Facts without its configuration.
type Facts func(tree string, now time.Time, clockSet bool) gate.Facts

// A Status is what there is to see of a device at one moment.
type Status struct {
	engine.Status
	At      time.Time
	Version string // of the program
	Device  string // its id
	Root    string // absolute
	Boots   int    // that a trial has
	Trust   config.Trust
	Quota   string // what the host still allows, "" if it does not say

	// Agent is what a running agent does, nil if none runs.
	Agent *Live
	// Asked is when the source was asked last, whatever came of it.
	Asked time.Time
	// Gates are the verdicts of all gates on each action, nil if nothing is known
	// that they could judge by.
	Gates map[gate.Action][]gate.Verdict

	Month    history.Month
	Budget   int64 // bytes a month on metered links; 0 for no limit
	Metered  bool  // the link is taken for one where bytes cost money
	Crashes  int   // in the last 24 hours
	Lost     error // of the history
	Hardware []board.Part
	Battery  gate.Battery
	Celsius  gate.Reading
	// Events is the history, the newest first; nil for none.
	Events iter.Seq[history.Event]
}

// Gather finds out how the device is that cfg describes. Where tree.root is not
// there yet it is not made.
func Gather(cfg *config.Config, o Options) (*Status, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Device.Getenv == nil {
		o.Device.Getenv = os.Getenv
	}
	s := &Status{At: o.Now(), Version: o.Version, Device: device.Identity(cfg.Device).ID, Boots: cfg.Confirm.Boots, Trust: cfg.Trust,
		Budget: int64(cfg.When.MonthlyBytes), Metered: cfg.Patches.Metered}
	var err error
	if s.Root, err = filepath.Abs(string(cfg.Tree.Root)); err != nil {
		return nil, err
	}
	if l, ok := ReadLive(LiveFile(Folder(o.Device.Getenv), s.Root)); ok {
		s.Agent = &l
	}
	if _, err := os.Stat(s.Root); errors.Is(err, fs.ErrNotExist) {
		s.Status = engine.Status{Layout: store.Layout(cfg.Tree.Layout), Policy: cfg.Trust.Mode, Settled: true}
	} else {
		d, err := device.Open(cfg, o.Device)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		if s.Status, err = d.Engine.Status(); err != nil {
			return nil, err
		}
		s.Quota = quota(d.RateLimit())
		if o.History == nil {
			fsys, err := vfs.OS(s.Root)
			if err != nil {
				return nil, err
			}
			defer fsys.Close()
			o.History, s.Lost = history.Open(fsys, cfg.Tree.State, o.HistoryOptions)
		}
	}
	s.Asked = s.LastCheck.At
	if h := o.History; h != nil {
		s.Month, s.Events = h.ThisMonth(), h.Events()
		for _, at := range h.Crashes(s.At.Add(-crashTime)) {
			if at.Before(s.At.Add(crashTime)) { // else it was noted with a wrong clock
				s.Crashes++
			}
		}
		if at, _ := h.LastCheck(); at.After(s.Asked) {
			s.Asked = at
		}
	}
	if a := s.Agent; a != nil && a.LastCheck.After(s.Asked) {
		s.Asked = a.LastCheck
	}
	if o.Board != nil {
		s.Hardware = o.Board.Describe()
	}
	if o.Facts != nil {
		s.judge(cfg, o)
	}
	return s, nil
}

// crashTime is how long a crash counts.
const crashTime = 24 * time.Hour

// judge asks the gates.
func (s *Status) judge(cfg *config.Config, o Options) {
	rules, err := cfg.When.Rules()
	if err != nil {
		return // the configuration was refused for it
	}
	if cfg.When.Timezone != "" {
		if z, err := time.LoadLocation(cfg.When.Timezone); err == nil {
			rules.Zone = z
		}
	}
	tree := s.Root
	if s.Layout == store.Slots {
		tree = filepath.Join(s.Root, store.Current)
	}
	now, set := s.Memory.Now(s.At)
	f := o.Facts(tree, now.Local(), set)
	s.Battery, s.Celsius, s.Metered = f.Battery, f.Temperature, f.Metered
	f.LastCheck, f.MonthBytes, f.Device = s.Asked, s.Month.Metered(), device.Identity(cfg.Device)
	if o.History != nil {
		f.SinceCheck, f.Crashes = o.History.SinceCheck(), o.History.Crashes(f.Now.Add(-crashTime))
	}
	if s.Agent != nil && s.Agent.Waiting != nil {
		f.Release = s.Agent.Waiting.Release
	}
	s.Gates = map[gate.Action][]gate.Verdict{}
	for _, a := range actions {
		s.Gates[a] = gate.Judge(a, rules, f, gate.Override{})
	}
}

var actions = []gate.Action{gate.Check, gate.Fetch, gate.Switch}

// State is how the device is, in a word or two.
func (s *Status) State() string {
	switch {
	case s.Damaged:
		return "damaged"
	case !s.Settled:
		return "unsettled"
	case s.Trial.Open:
		return "on trial"
	case s.Running.IsZero():
		return "nothing installed"
	case s.Channel.Expired:
		return "channel expired"
	}
	return "confirmed"
}

// Confirmed reports whether what runs has proved that it works.
func (s *Status) Confirmed() bool {
	return s.Settled && !s.Damaged && !s.Trial.Open && !s.Running.IsZero()
}

// quota words how often a host may still be asked.
func quota(limit, remaining int, reset time.Time) string {
	if limit == 0 {
		return ""
	}
	if time.Now().After(reset) {
		return strconv.Itoa(limit) + " requests are allowed"
	}
	return strconv.Itoa(remaining) + " of " + strconv.Itoa(limit) + " requests are left until " + local(reset)
}

// count words a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// when gives a time, and how far it is away where the clock makes sense of that.
func when(t, now time.Time) string {
	s, d := local(t), now.Sub(t)
	switch {
	case d < 0:
		return s
	case d < time.Minute:
		return s + " (just now)"
	}
	return s + " (" + span(d) + " ago)"
}

// ahead is when for what is to come.
func ahead(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d < 0:
		return local(t)
	case d < time.Minute:
		return local(t) + " (any moment)"
	}
	return local(t) + " (in " + span(d) + ")"
}

func span(d time.Duration) string {
	switch {
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// Title names a version for people.
func Title(v store.Version) string {
	switch {
	case v.IsZero():
		return "nothing"
	case v.ID == store.BeforeGodwit:
		return "the files from before Godwit"
	}
	return Named(v.Name, v.ID)
}

// Named is a name with the id that it stands for.
func Named(name, commit string) string {
	short := commit[:min(10, len(commit))]
	if name == "" || len(name) <= len(commit) && commit[:len(name)] == name {
		return short
	}
	return name + " (" + short + ")"
}
