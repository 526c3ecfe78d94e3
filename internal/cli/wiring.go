package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/app"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// A device is a tree with everything that works on it.
type device struct {
	root   string
	fs     *vfs.OSFS
	source *lateSource
	engine *engine.Engine
}

func (d *device) close() {
	d.source.close()
	d.fs.Close()
}

// open wires the parts together. It makes tree.root when it is missing, and
// connects to nothing.
func (c *command) open(cfg *config.Config) (*device, error) {
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
	events := godwit.Events(c.printer().Event)
	st, err := store.Open(fsys, store.Options{
		State: cfg.Tree.State, Layout: store.Layout(cfg.Tree.Layout), Keep: cfg.Tree.Keep, Shared: cfg.Tree.Shared,
		Reserve: int64(cfg.Limits.MinFree), Events: events,
	})
	if err != nil {
		fsys.Close()
		return nil, err
	}
	d := &device{root: root, fs: fsys}
	rules := plan.Rules{Allow: cfg.Tree.Allow, Ignore: cfg.Tree.Ignore, Delete: cfg.Tree.Delete, Shared: cfg.Tree.Shared, Symlinks: cfg.Tree.Symlinks}
	if cfg.Source.LFS {
		rules.Variant = "lfs"
	}
	m := &meter{events: events, off: cfg.Source.LFS} // LFS objects come one by one, with their sizes
	d.source = &lateSource{meter: m, open: func() (openSource, error) {
		return c.openSource(cfg, fsys, st.StateFolder()+"/git", rules, m.event)
	}}
	tree := root
	if st.Layout() == store.Slots {
		tree = filepath.Join(root, store.Current)
	}
	d.engine = engine.New(engine.Config{
		Store: st, Source: d.source, Gate: engine.TrustNone(), Rules: rules,
		App: app.New(app.Config{
			Root: root, Tree: tree,
			PreSwitch: cfg.Hooks.PreSwitch, PostSwitch: cfg.Hooks.PostSwitch, PostRollback: cfg.Hooks.PostRollback,
			HookTimeout: cfg.Hooks.Timeout,
			Restart: app.Restart{Command: cfg.Restart.Command, Unit: cfg.Restart.Unit, Signal: cfg.Restart.Signal,
				PIDFile: string(cfg.Restart.PIDFile), Process: cfg.Restart.Process, Reboot: cfg.Restart.Reboot, Timeout: cfg.Restart.Timeout},
			Health: app.Health{Command: cfg.Confirm.Command, URL: cfg.Confirm.URL, Unit: cfg.Confirm.Unit,
				Interval: cfg.Confirm.Interval, Stable: cfg.Confirm.Stable},
		}),
		Limits: plan.Limits{MaxFiles: cfg.Limits.MaxFiles, MaxBytes: int64(cfg.Limits.MaxBytes), MaxFileBytes: int64(cfg.Limits.MaxFileBytes),
			MaxDepth: cfg.Limits.MaxDepth, MinFree: int64(cfg.Limits.MinFree)},
		Trial:  engine.Trial{Within: cfg.Confirm.Within, Boots: cfg.Confirm.Boots, ByConfirm: cfg.Confirm.Application},
		Boot:   thisBoot,
		Events: events,
	})
	return d, nil
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

// openSource is what a source offers beside the engine's methods.
type openSource interface {
	engine.Source
	Transferred() (sent, received int64)
	Close() error
}

// A lateSource opens the source when it is first asked: most commands need no
// network, and no secret either.
type lateSource struct {
	meter  *meter
	open   func() (openSource, error)
	source openSource
}

func (l *lateSource) get() (openSource, error) {
	if l.source == nil {
		s, err := l.open()
		if err != nil {
			return nil, err
		}
		l.source = s
	}
	return l.source, nil
}

func (l *lateSource) Tip(ctx context.Context) (godwit.Tip, error) {
	s, err := l.get()
	if err != nil {
		return godwit.Tip{}, err
	}
	return s.Tip(ctx)
}

func (l *lateSource) Describe(ctx context.Context, tip godwit.Tip, have []string) (godwit.Release, error) {
	s, err := l.get()
	if err != nil {
		return godwit.Release{}, err
	}
	defer l.meter.run(godwit.StageDescribe, s.Transferred)()
	return s.Describe(ctx, tip, have)
}

func (l *lateSource) Fetch(ctx context.Context, rel godwit.Release, want godwit.Listing, into godwit.Objects) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	defer l.meter.run(godwit.StageFetch, s.Transferred)()
	return s.Fetch(ctx, rel, want, into)
}

// Transferred counts the bytes of this run.
func (l *lateSource) Transferred() (sent, received int64) {
	if l.source == nil {
		return 0, 0
	}
	return l.source.Transferred()
}

func (l *lateSource) close() {
	if l.source != nil {
		l.source.Close()
	}
}
