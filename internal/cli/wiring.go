package cli

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
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/vfs"
)

// A device is a tree with everything that works on it.
type device struct {
	root   string
	fs     *vfs.OSFS
	store  *store.Store
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
	d := &device{root: root, fs: fsys, store: st}
	rules := plan.Rules{Allow: cfg.Tree.Allow, Ignore: cfg.Tree.Ignore, Delete: cfg.Tree.Delete, Shared: cfg.Tree.Shared, Symlinks: cfg.Tree.Symlinks}
	if cfg.Source.LFS {
		rules.Variant = "lfs"
	}
	m := &meter{events: events, off: cfg.Source.LFS} // LFS objects come one by one, with their sizes
	clk := &clock{}
	d.source = &lateSource{meter: m, limits: cfg.Limits, open: func() (openSource, error) {
		return c.openSource(cfg, fsys, st.StateFolder()+"/git", rules, clk, m.event)
	}}
	tree := root
	if st.Layout() == store.Slots {
		tree = filepath.Join(root, store.Current)
	}
	d.engine = engine.New(engine.Config{
		Store: st, Source: d.source, Gate: c.gate(cfg, st, clk), Now: clk.now, Device: thisDevice(cfg.Device), Rules: rules,
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

// thisDevice is who asks for a release.
func thisDevice(cfg config.Device) gate.Device {
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

func (c *command) gate(cfg *config.Config, st *store.Store, clk *clock) *lateGate {
	return &lateGate{policy: cfg.Trust.Mode, open: func() (*trust.Gate, error) {
		t, err := c.trustConfig(cfg)
		if err != nil {
			return nil, err
		}
		t.Kept, t.Now = st.List, clk.now
		return trust.New(t)
	}}
}

// trustConfig is what the configuration says of trust, secret included.
func (c *command) trustConfig(cfg *config.Config) (trust.Config, error) {
	t := trust.Config{
		Mode: trust.Mode(cfg.Trust.Mode), Product: cfg.Trust.Product, Threshold: cfg.Trust.Threshold,
		Allowed: listFile(cfg.Trust.AllowedSigners), Revoked: listFile(cfg.Trust.RevokedKeys),
		Channel: cfg.Source.Channel,
	}
	if t.Mode == trust.None {
		t.Product = ""
	}
	if cfg.Trust.Key.IsZero() {
		return t, nil
	}
	key, err := cfg.Trust.Key.Value(c.getenv)
	t.Key = []byte(key)
	return t, err
}

// listFile is the list of keys in a file, nil for none.
func listFile(name config.Path) sshsig.List {
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
