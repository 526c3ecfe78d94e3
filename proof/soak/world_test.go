package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// state is the state folder.
const state = ".godwit"

// every is the time between two checks.
const every = time.Hour

// capacity of the disk, in bytes.
const capacity = 2 << 20

// A setting is a life to live.
type setting struct {
	seed   uint64
	layout store.Layout
	disk   crashfs.Options
	name   string // of the disk
	days   int
	key    string // file with the key of the reports
	damage string // what is broken on purpose, "" for nothing
}

// A world is a device, its host and all that happens to both. One goroutine, that
// of live, makes things happen, while the loop of the agent stands still.
type world struct {
	setting
	began  time.Time
	chance *rand.Rand

	// The character of this device.
	reboots  bool // an update restarts the whole device
	forgets  bool // no clock goes on while it is off
	passes   bool // a release that is refused does not hide the one below
	rules    gate.Rules
	releases []*release
	byID     map[string]*release

	// What goes on.
	weather
	memory godwit.Memory // as the device was last seen

	// This boot.
	fs      *crashfs.FS
	boot    string
	booted  time.Time
	started bool // the application runs
	app     string
	hist    *history.History
	loop    *agent.Loop
	cancel  context.CancelFunc
	cutting chan struct{}
	doing   string
	stage   godwit.Stage
	armed   godwit.Stage // the power goes soon after this begins
	place   string       // where it went
	restart bool         // the device was told to restart

	mu          sync.Mutex
	skew        time.Duration // of the device's clock against the truth
	gone        bool          // the power is
	stop        int           // operation at which it goes; -1 for none
	pausedUntil time.Time
	pauseSkew   time.Duration
	pauseNoted  bool // the device has it on its disk
	pauseRun    int  // the run of the agent that was asked for it
	run         int
	lastAsked   time.Time
	woken       bool
	broken      error // what was found wrong

	// What is known to be true.
	healthy   map[string]bool // releases that have proved themselves
	confirmed map[string]bool
	told      map[string]bool // of these, what has been reported
	dropped   int64           // reports that the device says it has dropped
	mail      *crashfs.FS     // where reports arrive
	clear     time.Time       // nothing has kept the device from updating since
	wanted    string          // the release that it should come to
	since     time.Time       // when that was published
	day       day
	lines     tail
	t         tally
	base      int // goroutines
}

func newWorld(s setting) *world {
	w := &world{setting: s, began: time.Now(), chance: rand.New(rand.NewPCG(s.seed, 77)), byID: map[string]*release{},
		healthy: map[string]bool{}, confirmed: map[string]bool{}, told: map[string]bool{}, t: newTally(), stop: -1, boot: "boot-0", booted: time.Now()}
	s.disk.Capacity = capacity
	w.fs, w.mail = crashfs.New(s.disk), crashfs.New(crashfs.Options{})
	w.reboots, w.forgets, w.passes = s.seed%3 == 0, s.seed%4 == 1, s.seed%2 == 0
	w.rules = gate.Rules{FetchBattery: 20, SwitchBattery: 40, Zone: time.UTC, Budget: 150_000}
	if s.seed%2 == 1 {
		w.rules.SwitchHours = []gate.Hours{{From: 0, To: 5 * 60}, {From: 11 * 60, To: 18 * 60}}
	}
	if s.seed%3 == 1 {
		w.rules.MinInterval = 20 * time.Minute
	}
	w.clear, w.base = time.Now(), runtime.NumGoroutine()
	if s.layout == store.InPlace { // something that is not Godwit's
		crashfs.Load(w.fs, ".", foreign)
		w.fs.Sync()
	}
	w.publish(good)
	w.forecast()
	return w
}

// foreign lies in the tree in place, and stays.
var foreign = crashfs.Tree{"data": "d", "data/rows.db": "frows", "lib": "d", "lib/local.cfg": "fmine"}

// truth is the time that it really is, and wall what the device's clock says.
func (w *world) truth() time.Time {
	return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Since(w.began))
}

func (w *world) wall() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.truth().Add(w.skew)
}

// set puts the device's clock to be wrong by d.
func (w *world) set(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d != w.skew {
		w.skew, w.clear = d, time.Now()
	}
}

func (w *world) off() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.gone }

// bad ends the world: something is wrong.
func (w *world) bad(format string, args ...any) {
	w.mu.Lock()
	if w.broken == nil {
		at := time.Since(w.began)
		w.t.found = at
		w.broken = fmt.Errorf("seed %d, %s on %s, day %d at %v, boot %s, %s (%s): %s", w.seed, w.layout, w.name,
			at/(24*time.Hour), at%(24*time.Hour), w.boot, w.doing, w.stage, fmt.Sprintf(format, args...))
	}
	w.mu.Unlock()
	w.cut("")
}

// cut takes the power away, in the middle of whatever goes on.
func (w *world) cut(place string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return
	}
	if place == "" {
		place = w.where()
	}
	w.gone, w.place = true, place
	w.fs.StopAt(0)
	if w.cancel != nil {
		w.cancel()
		close(w.cutting)
	}
}

// where says what the device is doing.
func (w *world) where() string {
	switch {
	case w.doing == "recovering" && (w.stage == godwit.StageRestart || w.stage == godwit.StageHealth || w.stage == godwit.StageConfirm):
		return "trial"
	case w.doing == "recovering":
		return "recovery"
	case w.doing == "waiting":
		return "idle"
	case w.doing == "sending reports":
		return "report"
	}
	switch w.stage {
	case godwit.StageBuild:
		return "build"
	case godwit.StageSwitch, godwit.StageRestart:
		return "switch"
	case godwit.StageHealth, godwit.StageConfirm:
		return "trial"
	case godwit.StageRollback:
		return "rollback"
	}
	return "fetch"
}

// live lives until the days are over, and then one more without trouble.
func (w *world) live() error {
	end := time.Now().Add(time.Duration(w.days) * 24 * time.Hour)
	for {
		w.start()
		why := w.serve(end)
		if !w.halt(why) {
			return w.broken
		}
		if why == "the end" {
			break
		}
	}
	w.end()
	return w.broken
}

// start lets the device boot, or the service start anew.
func (w *world) start() {
	w.mu.Lock()
	w.gone, w.place, w.restart, w.stage, w.armed, w.doing = false, "", false, "", "", "recovering"
	w.cutting, w.stop = make(chan struct{}), -1
	w.run++
	w.mu.Unlock()
	fsys, boot, booted := w.fs, w.boot, w.booted
	fsys.OnOp(func(op crashfs.Op) {
		w.mu.Lock()
		if op.Changes() {
			w.day.writes++
		}
		due := w.stop >= 0 && op.N+1 >= w.stop
		w.mu.Unlock()
		if due {
			w.cut("")
		}
	})
	uptime := func() time.Duration { return time.Since(booted) }
	var disk vfs.FS = fsys
	if wrap := damagedDisk[w.damage]; wrap != nil {
		disk = wrap(fsys)
	}
	var err error
	w.hist, err = history.Open(disk, state, history.Options{Now: w.wall, Uptime: uptime, Limit: 40, Attempts: 20})
	if err != nil && godwit.CodeOf(err) == godwit.CodeDamaged {
		w.bad("the history: %v", err)
	}
	reporter := &reporter{w: w, Reporter: report.New(report.Config{
		Device: "station-7", Version: "soak", Key: w.key, FS: disk, Folder: state + "/reports", Now: w.wall,
		Random: rand.NewChaCha8([32]byte{byte(w.chance.Uint32()), byte(w.chance.Uint32())}),
		Places: []report.Place{{URL: "file:///reports", FS: letterbox{w.mail, w}}},
	})}
	w.loop = agent.NewLoop(agent.Parts{
		Open:    func(t agent.Tuning, e godwit.Events) (agent.Device, error) { return w.open(disk, e) },
		History: w.hist, Rules: w.rules, Every: every, Now: w.wall,
		Facts: func(context.Context) gate.Facts { return w.facts() },
		Boot:  func() (string, string) { return boot, "" },
		Base:  agent.Tuning{Retries: 3, Backoff: time.Second}, Device: gate.Device{ID: "station-7"},
		Random:  rand.New(rand.NewPCG(w.chance.Uint64(), 1)),
		Reports: reporter, Reported: agent.FileMark{FS: disk, Name: state + "/reported"},
		Log: &agent.Log{W: &w.lines}, Publish: w.publishes,
	})
}

// serve lets the agent run until something ends that, and says what.
func (w *world) serve(end time.Time) (why string) {
	ctx, cancel := context.WithCancel(context.Background())
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	w.early()
	ran := make(chan error, 1)
	w.clear, w.lastAsked = time.Now(), time.Time{}
	go func() { ran <- w.loop.Run(ctx) }()
	for why == "" {
		synctest.Wait() // so that the same happens again with the same seed
		tick := time.NewTimer(time.Second + time.Duration(w.chance.Int64N(int64(10*time.Minute))))
		w.off() // its lock tells the race detector that the agent's turn comes after this one
		select {
		case <-w.cutting:
		case <-tick.C:
		}
		tick.Stop()
		synctest.Wait()
		switch {
		case w.off():
			why = "cut"
		case !time.Now().Before(end):
			why = "the end"
		default:
			why = w.happen()
			w.watch()
		}
		if w.off() {
			why = "cut"
		}
	}
	switch why {
	case "cut":
	case "kill":
		w.cut("kill")
	default:
		cancel()
	}
	timeout := time.NewTimer(5 * time.Minute)
	defer timeout.Stop()
	select {
	case <-ran:
	case <-timeout.C:
		w.bad("the agent did not stop when it was told to")
		<-ran
	}
	cancel()
	synctest.Wait()
	if n := runtime.NumGoroutine(); n > w.base+4 {
		w.bad("%d goroutines are left, %d more than at first", n, n-w.base)
	}
	return why
}

// halt is what follows the end of a run: the disk as the next one finds it. It is
// false when the world is over.
func (w *world) halt(why string) bool {
	if w.broken != nil {
		return false
	}
	w.day.busy = true
	switch why {
	case "cut":
		w.t.cuts[w.place]++
		w.fs = w.fs.Crash(crashfs.Seeded(w.chance.Uint64()))
		w.checkLink()
		off := time.Duration(10+w.chance.IntN(50)) * time.Second
		if w.place != "crash" && w.chance.IntN(4) == 0 {
			off = time.Duration(w.chance.ExpFloat64() * float64(3*time.Hour))
			if w.chance.IntN(30) == 0 {
				off = time.Duration(w.chance.IntN(72)) * time.Hour
			}
		}
		w.powerUp(off)
	case "kill":
		w.t.kills++
		w.fs = w.fs.Clone()
		time.Sleep(5 * time.Second)
	case "service":
		w.fs = w.fs.Clone()
		time.Sleep(time.Second)
	case "reboot":
		w.t.reboots++
		w.fs.Sync()
		w.fs = w.fs.Clone()
		w.powerUp(20 * time.Second)
	}
	return w.broken == nil
}

// powerUp is a new boot after a time without power.
func (w *world) powerUp(off time.Duration) {
	time.Sleep(off)
	w.t.boots++
	w.boot, w.booted, w.started, w.app = fmt.Sprintf("boot-%d", w.t.boots), time.Now(), false, ""
	if w.forgets || w.chance.IntN(10) == 0 {
		w.set(time.Unix(1000, 0).Sub(w.truth()))
		w.t.clocks++
		w.wrongClock.until = time.Now().Add(time.Duration(w.chance.ExpFloat64() * float64(time.Hour)))
		w.wrongClock.on = true
	}
	w.t.days = int(time.Since(w.began) / (24 * time.Hour))
}

// ring hears what an update does.
func (w *world) ring(e godwit.Event) {
	w.mu.Lock()
	w.stage = e.Stage
	if w.armed != "" && e.Stage == w.armed {
		w.armed = ""
		w.stop = w.fs.Ops() + 1 + w.chance.IntN(reach[e.Stage])
	}
	w.mu.Unlock()
	if e.Stage == godwit.StageConfirm && strings.HasSuffix(e.Text, " is confirmed") {
		w.confirms(strings.TrimSuffix(e.Text, " is confirmed"))
	}
}
