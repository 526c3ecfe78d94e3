// Package device puts a device together from its configuration: the source of
// its releases, the gate that judges them, the store, the application, and the
// engine that works with them all. What it does is the engine's business; this
// package decides nothing but which part a key of the configuration means.
//
// Invariant: nothing outside tree.root is changed, and neither the network nor a
// secret is asked for before something needs it.
package device

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/app"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/github"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/vfs"
)

// Options are what does not stand in the configuration.
type Options struct {
	Getenv    func(string) string // for secrets
	UserAgent string              // unless the configuration has one
	Events    godwit.Events
	// Restart takes the place of what the configuration says of restarts, for a
	// program that has Godwit within: see engine.App.
	Restart func(ctx context.Context) (rebooting bool, err error)
}

// A restarting application is one whose restart is somebody else's.
type restarting struct {
	*app.App
	restart func(context.Context) (bool, error)
}

func (r restarting) Restart(ctx context.Context) (bool, error) { return r.restart(ctx) }

// A Device is a tree with everything that works on it.
type Device struct {
	Root   string // absolute
	Engine *engine.Engine

	cfg    *config.Config
	fs     *vfs.OSFS
	store  *store.Store
	source *lateSource
}

// Close ends what was opened.
func (d *Device) Close() {
	d.source.close()
	d.fs.Close()
}

// Open makes the device that cfg describes. It makes tree.root when it is
// missing, and connects to nothing.
func Open(cfg *config.Config, o Options) (*Device, error) {
	root, err := filepath.Abs(string(cfg.Tree.Root))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, rootError(err, "tree.root cannot be made")
	}
	fsys, err := vfs.OS(root)
	if err != nil {
		return nil, rootError(err, "tree.root cannot be opened")
	}
	st, err := store.Open(fsys, store.Options{
		State: cfg.Tree.State, Layout: store.Layout(cfg.Tree.Layout), Keep: cfg.Tree.Keep, Shared: cfg.Tree.Shared,
		Reserve: int64(cfg.Limits.MinFree), Events: o.Events,
	})
	if err != nil {
		fsys.Close()
		return nil, err
	}
	d := &Device{Root: root, cfg: cfg, fs: fsys, store: st}
	rules := plan.Rules{Allow: cfg.Tree.Allow, Ignore: cfg.Tree.Ignore, Delete: cfg.Tree.Delete, Shared: cfg.Tree.Shared, Symlinks: cfg.Tree.Symlinks}
	if cfg.Source.LFS {
		rules.Variant = "lfs"
	}
	m := &meter{events: o.Events, off: cfg.Source.LFS} // LFS objects come one by one, with their sizes
	clk := &clock{}
	d.source = &lateSource{meter: m, limits: cfg.Limits, open: func() (source, error) {
		return o.source(cfg, fsys, st.StateFolder()+"/git", rules, clk, m.event)
	}}
	tree := root
	if st.Layout() == store.Slots {
		tree = filepath.Join(root, store.Current)
	}
	appl := app.New(app.Config{
		Root: root, Tree: tree,
		PreSwitch: cfg.Hooks.PreSwitch, PostSwitch: cfg.Hooks.PostSwitch, PostRollback: cfg.Hooks.PostRollback,
		HookTimeout: cfg.Hooks.Timeout,
		Restart: app.Restart{Command: cfg.Restart.Command, Unit: cfg.Restart.Unit, Signal: cfg.Restart.Signal,
			PIDFile: string(cfg.Restart.PIDFile), Process: cfg.Restart.Process, Reboot: cfg.Restart.Reboot, Timeout: cfg.Restart.Timeout},
		Health: app.Health{Command: cfg.Confirm.Command, URL: cfg.Confirm.URL, Unit: cfg.Confirm.Unit,
			Interval: cfg.Confirm.Interval, Stable: cfg.Confirm.Stable},
	})
	var beside engine.App = appl
	if o.Restart != nil {
		beside = restarting{appl, o.Restart}
	}
	d.Engine = engine.New(engine.Config{
		Store: st, Source: d.source, Gate: o.gate(cfg, st, clk), Now: clk.now, Device: Identity(cfg.Device), Rules: rules,
		App: beside,
		Limits: plan.Limits{MaxFiles: cfg.Limits.MaxFiles, MaxBytes: int64(cfg.Limits.MaxBytes), MaxFileBytes: int64(cfg.Limits.MaxFileBytes),
			MaxDepth: cfg.Limits.MaxDepth, MinFree: int64(cfg.Limits.MinFree), Metered: cfg.Patches.Metered, CostPerMB: cfg.When.CostPerMB},
		Patching: patching(cfg.Patches),
		Trial:    engine.Trial{Within: cfg.Confirm.Within, Boots: cfg.Confirm.Boots, ByConfirm: cfg.Confirm.Application},
		Boot:     thisBoot,
		Events:   o.Events,
	})
	return d, nil
}

// Update is the engine's, with what only the configuration knows of, and the
// error file (tree.error_file), which says how it ended.
func (d *Device) Update(ctx context.Context, opt engine.UpdateOptions) (engine.Result, error) {
	r, err := d.update(ctx, opt)
	if !opt.DryRun {
		err = d.leaveError(err)
	}
	return r, err
}

func (d *Device) update(ctx context.Context, opt engine.UpdateOptions) (engine.Result, error) {
	if need, free := int64(d.cfg.Limits.RequireFree), d.store.Free(); free >= 0 && free < need {
		return engine.Result{}, godwit.Fail(godwit.CodeDiskFull, nil, "the disk has "+plan.Bytes(free)+" free, and limits.require_free asks for "+plan.Bytes(need),
			"free some space, or lower limits.require_free")
	}
	r, err := d.Engine.Update(ctx, opt)
	if err == nil && r.Outcome == engine.UpToDate && d.cfg.Source.Force {
		opt.Force = true
		return d.Engine.Update(ctx, opt)
	}
	return r, err
}

// RateLimit is what the host said last about how often it may be asked. limit is
// 0 if it never said anything. Nobody is asked for it.
func (d *Device) RateLimit() (limit, remaining int, reset time.Time) {
	switch d.cfg.Source.Type {
	case "git", "web":
		return 0, 0, time.Time{}
	}
	// Without the source's secrets there is just less to say.
	if src, err := d.source.get(); err == nil {
		if r, ok := src.(*github.Source); ok {
			return r.RateLimit()
		}
	}
	return 0, 0, time.Time{}
}

func rootError(err error, text string) error {
	code, hint := godwit.CodeIO, "check tree.root in the configuration"
	switch {
	case vfs.ReadOnly(err):
		code, hint = godwit.CodeReadOnly, "mount the file system so that it can be written"
	case vfs.Full(err):
		code, hint = godwit.CodeDiskFull, "free some space"
	case errors.Is(err, fs.ErrPermission):
		hint = "run godwit as a user who may write there"
	}
	return godwit.Fail(code, err, text, hint)
}

// patching says which patches this device takes. Without a word of the
// configuration the memory of the device decides how much applying one may take.
func patching(cfg config.Patches) plan.Patching {
	p := plan.Patching{Use: plan.Use(cfg.Use), Memory: int64(delta.Small.Memory())}
	if t, err := delta.ParseTier(cfg.Memory); err == nil {
		p.Memory = int64(t.Memory())
		return p
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil && uint64(info.Totalram)*uint64(info.Unit) > 64<<20 { // sysinfo(2)
		p.Memory = int64(delta.Large.Memory())
	}
	return p
}

// Uptime is how long this boot has lasted, sleep included.
func Uptime() time.Duration {
	_, up := thisBoot()
	return up
}

// thisBoot identifies the running boot and tells how long it has lasted,
// sleep included: random(4), clock_gettime(2).
func thisBoot() (id string, uptime time.Duration) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id = strings.TrimSpace(string(b))
	var ts unix.Timespec
	if e := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); e != nil || err != nil {
		return "unknown", 0
	}
	return id, time.Duration(ts.Nano())
}

// Identity is who asks for a release.
func Identity(cfg config.Device) gate.Device {
	d := gate.Device{ID: cfg.ID}
	for _, k := range slices.Sorted(maps.Keys(cfg.Labels)) {
		d.Labels = append(d.Labels, godwit.Label{Key: k, Value: cfg.Labels[k]})
	}
	if d.ID == "" {
		b, _ := os.ReadFile("/etc/machine-id") // machine-id(5)
		d.ID = strings.TrimSpace(string(b))
	}
	if d.ID == "" || d.ID == "uninitialized" { // as images have it until their first boot
		d.ID, _ = os.Hostname()
	}
	return d
}

// A lateGate is made when there is something to judge: most commands need
// neither the lists of keys nor the secret.
type lateGate struct {
	policy string
	open   func() (*trust.Gate, error)
	gate   *trust.Gate
}

func (o Options) gate(cfg *config.Config, st *store.Store, clk *clock) *lateGate {
	return &lateGate{policy: cfg.Trust.Mode, open: func() (*trust.Gate, error) {
		t, err := Trust(cfg, o.Getenv)
		if err != nil {
			return nil, err
		}
		t.Kept, t.Now = st.List, clk.now
		return trust.New(t)
	}}
}

// Trust is what the configuration says of trust, secret included.
func Trust(cfg *config.Config, getenv func(string) string) (trust.Config, error) {
	t := trust.Config{
		Mode: trust.Mode(cfg.Trust.Mode), Product: cfg.Trust.Product, Threshold: cfg.Trust.Threshold,
		Allowed: KeyList(cfg.Trust.AllowedSigners), Revoked: KeyList(cfg.Trust.RevokedKeys),
		Channel: cfg.Source.Channel,
	}
	if t.Mode == trust.None {
		t.Product = ""
	}
	if cfg.Trust.Key.IsZero() {
		return t, nil
	}
	key, err := cfg.Trust.Key.Value(getenv)
	t.Key = []byte(key)
	return t, err
}

// KeyList is the list of keys in a file, nil for none.
func KeyList(name config.Path) sshsig.List {
	if name == "" {
		return nil
	}
	return func() (io.ReadCloser, error) {
		f, err := os.Open(string(name))
		if err != nil {
			return nil, godwit.Fail(godwit.CodeConfig, err, "a list of keys cannot be read", "check the section [trust] of the configuration")
		}
		return f, nil
	}
}

func (l *lateGate) Policy() string { return l.policy }

func (l *lateGate) get() (g *trust.Gate, err error) {
	if l.gate == nil {
		l.gate, err = l.open()
	}
	return l.gate, err
}

func (l *lateGate) Admit(ctx context.Context, r godwit.Release, m godwit.Memory) (godwit.Verified, error) {
	g, err := l.get()
	if err != nil {
		return godwit.Verified{}, err
	}
	return g.Admit(ctx, r, m)
}

func (l *lateGate) Orders(ctx context.Context, s godwit.Statement, tip godwit.Tip, m godwit.Memory) (godwit.Orders, error) {
	g, err := l.get()
	if err != nil {
		return godwit.Orders{}, err
	}
	return g.Orders(ctx, s, tip, m)
}

func (l *lateGate) Adopt(v godwit.Verified, m godwit.Memory) (godwit.Memory, error) {
	g, err := l.get()
	if err != nil {
		return m, err
	}
	return g.Adopt(v, m)
}
