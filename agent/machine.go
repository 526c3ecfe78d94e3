package agent

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// Options are what does not stand in the configuration. The zero value works.
type Options struct {
	Version string              // of the program, for hosts and reports
	Getenv  func(string) string // nil means os.Getenv
	Log     *Log                // nil writes to the standard error
	// Metrics and Page, if there are any, are told to show the device: each minute,
	// and for as long as ctx lasts.
	Metrics func()
	Page    func(ctx context.Context) error
	// Restart takes the place of what the configuration says of restarts, for a
	// program that has the agent within: it has the program begin anew from the
	// tree, and returns true when that is about to happen. The agent of the program that begins
	// goes on with the trial.
	Restart func(ctx context.Context) (restarting bool, err error)
}

// An Agent keeps the tree up to date that a configuration describes.
type Agent struct {
	cfg  *config.Config
	opt  Options
	root string
	asks chan Ask

	renewed atomic.Bool
	mu      sync.Mutex
	memory  godwit.Memory // of the device, as it was last seen
}

// New returns an Agent. What is wrong with the configuration is an error of
// config.Load; here only what cannot be had on this device is.
func New(cfg *config.Config, opt Options) (*Agent, error) {
	root, err := filepath.Abs(string(cfg.Tree.Root))
	if err != nil {
		return nil, err
	}
	if opt.Getenv == nil {
		opt.Getenv = os.Getenv
	}
	if opt.Log == nil {
		opt.Log = &Log{W: os.Stderr}
	}
	if _, err := rules(cfg); err != nil {
		return nil, err
	}
	return &Agent{cfg: cfg, opt: opt, root: root, asks: make(chan Ask, 8)}, nil
}

// rules are the gates' rules with their time zone.
func rules(cfg *config.Config) (gate.Rules, error) {
	r, err := cfg.When.Rules()
	if err == nil && cfg.When.Timezone != "" {
		if r.Zone, err = time.LoadLocation(cfg.When.Timezone); err != nil {
			err = godwit.Fail(godwit.CodeConfig, err, "when.timezone is not known on this device", "install the package tzdata, or leave it out to go by the device's own clock")
		}
	}
	return r, err
}

// Renew says that the end of Run will not be the end of the service: another Agent
// goes on.
func (a *Agent) Renew() { a.renewed.Store(true) }

// Wake asks for a check now. It never blocks, and may be called before Run.
func (a *Agent) Wake(ask Ask) {
	select {
	case a.asks <- ask:
	default:
	}
}

// Confirm says that the running version works, for a program that has the agent
// within and confirm.application set. It does nothing when no version is on trial.
func (a *Agent) Confirm(ctx context.Context) error {
	d, err := a.open(Tuning{}, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = d.(opened).Engine.Confirm(ctx)
	return err
}

// LockFile is the file in the state folder that a running agent holds locked.
const LockFile = "agent.lock"

// ErrRunning says that another agent looks after this tree.
var ErrRunning = godwit.Fail(godwit.CodeBusy, nil, "another agent looks after this tree", "one is enough: see godwit status")

// Running reports whether an agent looks after the tree in root.
func Running(root, state string) bool {
	f, err := os.OpenFile(filepath.Join(root, state, LockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	fsys, err := vfs.OS(root)
	if err != nil {
		return false
	}
	defer fsys.Close()
	unlock, err := fsys.Lock(path.Join(state, LockFile))
	if err != nil {
		return errors.Is(err, vfs.ErrLocked)
	}
	unlock()
	return false
}

// lock takes the agent's lock. Running holds it for a moment now and then.
func lock(ctx context.Context, fsys vfs.FS, name string) (unlock func(), err error) {
	for range 20 {
		unlock, err = fsys.Lock(name)
		if !errors.Is(err, vfs.ErrLocked) || ctx.Err() != nil {
			return unlock, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return unlock, err
}

// Run looks after the device until ctx ends, which is no error.
func (a *Agent) Run(ctx context.Context) error {
	cfg, log := a.cfg, a.opt.Log
	if err := os.MkdirAll(filepath.Join(a.root, cfg.Tree.State), 0o755); err != nil {
		return godwit.Fail(godwit.CodeIO, err, "the state folder cannot be made", "check tree.root and tree.state, and who may write there")
	}
	fsys, err := vfs.OS(a.root)
	if err != nil {
		return err
	}
	defer fsys.Close()
	unlock, err := lock(ctx, fsys, path.Join(cfg.Tree.State, LockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return ErrRunning
	}
	if err != nil {
		return godwit.Fail(godwit.CodeIO, err, "the state folder cannot be written", "")
	}
	defer unlock()
	// A file system is for one goroutine.
	queue, err := vfs.OS(a.root)
	if err != nil {
		return err
	}
	defer queue.Close()
	brd, err := Board(cfg, a.root, func(err error) { log.Fail(Warning, "board", err) })
	if err != nil {
		return err
	}
	defer brd.Close()
	frugal(int64(cfg.Agent.Memory), brd.Facts().MemTotal, a.opt.Getenv)
	dog, err := brd.Watch()
	if err != nil {
		log.Fail(Warning, "watchdog", err)
	}
	hist, err := history.Open(fsys, cfg.Tree.State, HistoryOptions(cfg))
	if err != nil {
		log.Fail(Warning, "history", err)
	}
	reports, err := a.reports(queue)
	if err != nil {
		log.Fail(Error, "report", err) // a device that nobody hears of is updated all the same
	}
	rule, err := rules(cfg)
	if err != nil {
		return err
	}
	live := status.LiveFile(status.Folder(a.opt.Getenv), a.root)
	defer os.Remove(live)
	systemd := brd.Systemd()
	var once sync.Once
	parts := Parts{
		Open: a.open, History: hist, Rules: rule, Every: cfg.Agent.Every,
		Facts:  func(ctx context.Context) gate.Facts { return a.facts(ctx, brd) },
		Signal: signal,
		Boot: func() (string, string) {
			f := brd.Facts()
			reset := ""
			if c := f.LastReset.Cause; c == board.Watchdog || c == board.Panic || c == board.Power || c == board.Hardware {
				reset = f.LastReset.Cause.String()
			}
			return f.BootID, reset
		},
		Uptime:   device.Uptime,
		Base:     Tuning{Chunk: int(cfg.Source.Chunk), Retries: cfg.Source.Retries, Backoff: cfg.Source.Backoff},
		Patient:  patience(cfg),
		Device:   device.Identity(cfg.Device),
		Reports:  reports,
		Reported: FileMark{FS: fsys, Name: path.Join(cfg.Tree.State, "reported")},
		Watchdog: dog, Log: log,
		Show: func(p board.Pattern) { brd.LED().Show(p) },
		Publish: func(l status.Live) {
			l.PID = os.Getpid()
			once.Do(func() { systemd.Ready() })
			if err := l.Write(live); err != nil {
				log.Fail(Debug, "live", err)
			}
			systemd.Status(l.Line())
			if a.opt.Metrics != nil {
				a.opt.Metrics()
			}
			if l.Doing == waiting {
				rest()
			}
		},
	}
	loop := NewLoop(parts)
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { watchTrigger(ctx, loop, filepath.Join(a.root, cfg.Tree.State)) })
	others.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case ask := <-a.asks:
				loop.Wake(ask)
			}
		}
	})
	if a.opt.Page != nil {
		others.Go(func() {
			if err := a.opt.Page(ctx); err != nil && ctx.Err() == nil {
				log.Fail(Warning, "page", err)
			}
		})
	}
	err = loop.Run(ctx)
	if a.renewed.Load() {
		systemd.Reloading()
	} else {
		systemd.Stopping()
	}
	cancel()
	others.Wait()
	dog.Close()
	return err
}

// Board opens the hardware that the configuration describes.
func Board(cfg *config.Config, root string, complain func(error)) (*board.Board, error) {
	b := cfg.Board
	return board.Open(board.Config{
		Battery: board.BatteryConfig{Supply: b.Battery, ADC: b.BatteryADC, Ratio: b.BatteryRatio, Full: b.BatteryFull, Empty: b.BatteryEmpty},
		LED:     b.LED, Watchdog: board.WatchdogConfig{Timeout: b.Watchdog, Device: b.WatchdogDevice},
		Storage: root, Report: complain,
	})
}

// HistoryOptions are those of the device's history.
func HistoryOptions(cfg *config.Config) history.Options {
	return history.Options{
		Limit: cfg.Agent.History, Uptime: device.Uptime,
		Reference: "ota_health.json",
	}
}

// open opens the device with a tuning.
func (a *Agent) open(t Tuning, events godwit.Events) (Device, error) {
	cfg := *a.cfg
	if t != (Tuning{}) {
		cfg.Source.Chunk, cfg.Source.Retries, cfg.Source.Backoff = config.Size(t.Chunk), t.Retries, t.Backoff
	}
	d, err := device.Open(&cfg, device.Options{Getenv: a.opt.Getenv, UserAgent: "godwit/" + a.opt.Version, Events: events, Restart: a.opt.Restart})
	if err != nil {
		return nil, err
	}
	return opened{d, a}, nil
}

// An opened device is one whose memory the agent looks at when it is closed.
type opened struct {
	*device.Device
	a *Agent
}

func (o opened) Recover(ctx context.Context) (engine.Result, error) {
	r, err := o.Engine.Resume(ctx)
	if err == nil && o.a.opt.Restart != nil {
		err = o.Engine.Began(ctx) // this program is what was to be restarted
	}
	return r, o.Ended(err)
}

func (o opened) Watch(ctx context.Context) (engine.Result, error) {
	r, err := o.Engine.Watch(ctx)
	return r, o.Ended(err)
}

func (o opened) Status() (engine.Status, error) { return o.Engine.Status() }
func (o opened) Fingerprint() (string, error)   { return o.Engine.Fingerprint() }

func (o opened) Close() {
	if s, err := o.Status(); err == nil {
		o.a.mu.Lock()
		o.a.memory = s.Memory
		o.a.mu.Unlock()
	}
	o.Device.Close()
}

func (a *Agent) facts(ctx context.Context, b *board.Board) gate.Facts {
	a.mu.Lock()
	now, set := a.memory.Now(time.Now())
	a.mu.Unlock()
	tree := a.root
	if store.Layout(a.cfg.Tree.Layout) == store.Slots {
		tree = filepath.Join(a.root, store.Current)
	}
	return Facts(ctx, a.cfg, b, tree, now.Local(), set)
}

// reports makes the reporter, and the key of the device where there is none. It is
// nil where nobody wants to know.
func (a *Agent) reports(queue vfs.FS) (Reporter, error) {
	places := a.cfg.Report.Places()
	if len(places) == 0 {
		return nil, nil
	}
	r := a.cfg.Report
	for i := range places {
		for _, secret := range []struct {
			from config.Secret
			to   *string
		}{{r.Password, &places[i].Password}, {r.Token, &places[i].Token}} {
			if secret.from.IsZero() {
				continue
			}
			v, err := secret.from.Value(a.opt.Getenv)
			if err != nil {
				return nil, err
			}
			*secret.to = v
		}
		if !strings.HasPrefix(places[i].URL, "http") {
			places[i].Token = ""
		}
	}
	id := device.Identity(a.cfg.Device).ID
	public, made, err := report.NewKey(string(r.Key), id)
	if err != nil {
		return nil, err
	}
	if made {
		a.opt.Log.Say(Info, "a key was made for the reports of this device", "file", string(r.Key), "public", public)
	}
	s := a.cfg.Source
	return report.New(report.Config{
		Device: id, Version: a.opt.Version, Key: string(r.Key), FS: queue, Folder: path.Join(a.cfg.Tree.State, "reports"), Places: places,
		Network: webclient.Network{CAFile: string(s.CAFile), Proxy: s.Proxy, ConnectTimeout: s.ConnectTimeout, IdleTimeout: s.Timeout},
	}), nil
}

// hashing is how long building or hashing a tree may take without a word: 5 GB from
// a slow card.
const hashing = 10 * time.Minute

// patience is the longest that a step takes without showing progress: a request
// with all its tries, the trial of a version, or the way back from one with its hooks and the
// restart between them, of which nothing is told before it is over.
func patience(cfg *config.Config) time.Duration {
	s := cfg.Source
	request := time.Duration(max(s.Retries, 8)) * (s.Timeout + s.ConnectTimeout + max(s.MaxBackoff, s.Backoff))
	return max(request, 2*cfg.Hooks.Timeout+cfg.Restart.Timeout, cfg.Confirm.Within, hashing) + time.Minute
}

// frugal sets how much memory the agent tries to stay below: what was configured,
// or a sixteenth of what there is, 8 MB at least and 64 MB at most. GOMEMLIMIT in
// the environment wins.
func frugal(limit, total int64, getenv func(string) string) {
	if getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit <= 0 {
		limit = max(8<<20, min(total/16, 64<<20))
	}
	debug.SetMemoryLimit(limit)
}
