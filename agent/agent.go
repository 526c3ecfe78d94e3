// Package agent keeps one device up to date for years: it asks for releases,
// downloads and installs them when the gates let it, watches over what it
// installed, remembers how that went and reports it. What an update is, and whether
// it may be believed, is the business of the packages below; this one decides when.
//
// New makes an Agent from a configuration, and Run is all of it:
//
//	a, err := agent.New(cfg, agent.Options{})
//	if err == nil {
//		err = a.Run(ctx)
//	}
//
// Invariant: whatever fails, and however often, a request is never followed by
// another one without a pause, and what runs goes on running. Nothing here is
// needed after a crash: the agent that starts next finds all that matters in the
// store's record and in the history.
package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/report"
)

// A Device is what the loop needs of an opened device.
type Device interface {
	Update(context.Context, engine.UpdateOptions) (engine.Result, error)
	Recover(context.Context) (engine.Result, error)
	Watch(context.Context) (engine.Result, error)
	Status() (engine.Status, error)
	Fingerprint() (string, error)
	Close()
}

// A Reporter tells others how updates ended. *report.Reporter is one.
type Reporter interface {
	Add(report.Report) error
	Send(context.Context) (sent int, next time.Time, err error)
	Pending() int
}

// Parts are what the loop works with. Open, History, Facts and Every are required.
type Parts struct {
	// Open opens the device anew for each piece of work, so that nothing is held in
	// between.
	Open func(Tuning, godwit.Events) (Device, error)
	// History of the device.
	History *history.History
	// Facts are what is the case now, but for what the loop itself knows.
	Facts func(context.Context) gate.Facts
	// Signal is the strength of the radio link, if there is one.
	Signal func() Signal
	// Boot identifies this boot, and says why it came, where anybody knows.
	Boot func() (id, reset string)

	Rules gate.Rules
	Every time.Duration // between two checks
	// Base is how sources are asked where nothing speaks against it.
	Base Tuning
	// Patient is the longest that any step takes without showing progress.
	Patient time.Duration
	// Uptime is the time since the device started, sleep included, so that a device that
	// sleeps keeps its plans; nil where it never does.
	Uptime func() time.Duration
	Device gate.Device
	Now    func() time.Time // the clock of the device, which may be wrong; nil means time.Now
	Random *rand.Rand       // nil means one of its own

	Reports  Reporter      // nil for none
	Reported Mark          // ids of what was reported last; nil remembers them for this run only
	Watchdog *board.Feeder // nil for none
	Show     func(board.Pattern)
	Log      *Log              // nil says nothing
	Publish  func(status.Live) // is told what the agent is doing, when that changes
}

// A Mark keeps one line.
type Mark interface {
	Get() string
	Set(string) error
}

// An Ask is a request to check now.
type Ask struct {
	// Override are names of gates that do not count for this update. The interval
	// never does.
	Override []string
	Force    bool // as for engine.UpdateOptions
}
