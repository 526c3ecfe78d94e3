package engine_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
)

// A shelf is a source that holds its releases in memory.
type shelf struct {
	tip      string
	releases map[string]map[string]string // commit, path, content
	fetched  int
	tips     int
	lose     string // a path whose content is never sent
}

func digest(s string) godwit.Digest {
	h := godwit.GitSHA1.New(int64(len(s)))
	h.Write([]byte(s))
	return godwit.MakeDigest(godwit.GitSHA1, h.Sum(nil))
}

func (s *shelf) Tip(context.Context) (godwit.Tip, error) {
	s.tips++
	return godwit.Tip{Ref: "refs/tags/" + s.tip, Commit: s.tip}, nil
}

func (s *shelf) Release(_ context.Context, t godwit.Tip) (godwit.Release, error) {
	return godwit.Release{Tip: t, Version: t.Commit}, nil
}

func (s *shelf) Describe(_ context.Context, v godwit.Verified, _ []string) (godwit.Described, error) {
	t := v.Tip
	files := s.releases[t.Commit]
	return godwit.Described{Verified: v, Listing: func(yield func(godwit.Entry, error) bool) {
		for _, p := range slices.Sorted(maps.Keys(files)) {
			if !yield(godwit.Entry{Path: p, Mode: godwit.File, Digest: digest(files[p]), Size: godwit.UnknownSize}, nil) {
				return
			}
		}
	}}, nil
}

func (s *shelf) Fetch(_ context.Context, r godwit.Described, want godwit.Listing, into godwit.Objects) error {
	for e, err := range want {
		if err != nil {
			return err
		}
		if e.Path == s.lose {
			continue
		}
		body := s.releases[r.Commit][e.Path]
		o, err := into.Create(int64(len(body)))
		if err != nil {
			return err
		}
		o.Write([]byte(body))
		if err := o.Commit(e.Digest); err != nil {
			return err
		}
		s.fetched++
	}
	return nil
}

type fakeApp struct {
	hooks    []string
	hook     func(name string) error
	restart  func() (bool, error)
	health   func() error
	restarts int
}

func (a *fakeApp) Hook(_ context.Context, name string, from, to godwit.Verified) (string, error) {
	a.hooks = append(a.hooks, name+" "+from.Commit+" "+to.Commit)
	if a.hook != nil {
		return "said " + name, a.hook(name)
	}
	return "", nil
}

func (a *fakeApp) Restart(context.Context) (bool, error) {
	a.restarts++
	if a.restart != nil {
		return a.restart()
	}
	return false, nil
}

func (a *fakeApp) Health(context.Context) (string, error) {
	if a.health != nil {
		return "looked", a.health()
	}
	return "", nil
}

type device struct {
	*engine.Engine
	dir    string
	layout store.Layout
	src    *shelf
	app    *fakeApp
	boot   string
	up     time.Duration
}

func newDevice(t *testing.T, layout store.Layout, change func(*engine.Config)) *device {
	t.Helper()
	d := &device{dir: t.TempDir(), layout: layout, app: &fakeApp{}, boot: "boot-1", up: time.Minute, src: &shelf{tip: "v1", releases: map[string]map[string]string{
		"v1": {"main.py": "one", "lib/a.py": "a"},
		"v2": {"main.py": "two", "lib/a.py": "a", "lib/b.py": "b"},
		"v3": {"main.py": "three"},
	}}}
	d.Engine = d.again(t, change)
	return d
}

// again opens the device once more, as another process does.
func (d *device) again(t *testing.T, change func(*engine.Config)) *engine.Engine {
	t.Helper()
	fsys, err := vfs.OS(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	s, err := store.Open(fsys, store.Options{Layout: d.layout})
	if err != nil {
		t.Fatal(err)
	}
	c := engine.Config{Store: s, Source: d.src, Gate: anybody(t), App: d.app, Boot: func() (string, time.Duration) { return d.boot, d.up },
		Events: func(e godwit.Event) { t.Logf("%s: %s", e.Stage, e.Text) }}
	if change != nil {
		change(&c)
	}
	return engine.New(c)
}

func (d *device) runs(t *testing.T, version string) {
	t.Helper()
	dir := d.dir
	if d.layout == store.Slots {
		dir = filepath.Join(dir, "current")
	}
	for p, want := range d.src.releases[version] {
		if b, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v, want %q", p, b, err, want)
		}
	}
	if s, err := d.Status(); err != nil || s.Running.ID != version || !s.Settled {
		t.Errorf("status: %+v %v, want %s", s.Running, err, version)
	}
}

func code(t *testing.T, err error, want godwit.Code) {
	t.Helper()
	if got := godwit.CodeOf(err); got != want {
		t.Fatalf("code %q (%v), want %q", got, err, want)
	}
}

func eachLayout(t *testing.T, fn func(t *testing.T, layout store.Layout)) {
	for _, l := range []store.Layout{store.Slots, store.InPlace} {
		t.Run(string(l), func(t *testing.T) { fn(t, l) })
	}
}

func TestUpdate(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		ctx := context.Background()
		d := newDevice(t, layout, nil)
		r, err := d.Update(ctx, engine.UpdateOptions{DryRun: true})
		code(t, err, "")
		if r.Outcome != engine.Planned || r.Plan.Added != 2 || d.src.fetched != 0 {
			t.Fatalf("dry run: %+v", r)
		}
		if s, _ := d.Status(); !s.Running.IsZero() {
			t.Fatal("a dry run installed something")
		}
		r, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		if r.Outcome != engine.Updated {
			t.Fatalf("outcome %s", r.Outcome)
		}
		d.runs(t, "v1")
		d.src.tip, d.src.fetched = "v2", 0
		if c, err := d.Check(ctx); err != nil || !c.Available {
			t.Fatalf("check: %+v %v", c, err)
		}
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		d.runs(t, "v2")
		if d.src.fetched != 2 {
			t.Errorf("fetched %d contents, want 2: the unchanged one must not come again", d.src.fetched)
		}
		tips := d.src.tips
		r, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		if r.Outcome != engine.UpToDate || d.src.tips != tips+1 {
			t.Errorf("no update: %s after %d requests", r.Outcome, d.src.tips-tips)
		}
		fetched := d.src.fetched
		r, err = d.Rollback(ctx)
		code(t, err, "")
		d.runs(t, "v1")
		if d.src.fetched != fetched || r.To.ID != "v1" {
			t.Error("a rollback must not download")
		}
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, godwit.CodeRejected)
		d.runs(t, "v1")
		_, err = d.Update(ctx, engine.UpdateOptions{Force: true})
		code(t, err, "")
		d.runs(t, "v2")
		d.src.tip = "v3"
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		d.runs(t, "v3")
		d.src.tip = "v1" // a branch that moved back
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		d.runs(t, "v1")
	})
}

func TestBadVersions(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		sick := errors.New("it is sick")
		for _, c := range []struct {
			name     string
			set      func(*fakeApp)
			want     godwit.Code
			restarts int
			hooks    string
		}{
			{"unhealthy", func(a *fakeApp) { a.health = func() error { return sick } }, godwit.CodeRolledBack, 2, "pre_switch v1 v2, post_switch v1 v2, post_rollback v2 v1"},
			{"post_switch fails", func(a *fakeApp) { a.hook = fail("post_switch", sick) }, godwit.CodeRolledBack, 1, "pre_switch v1 v2, post_switch v1 v2, post_rollback v2 v1"},
			{"restart fails", func(a *fakeApp) {
				a.restart = func() (bool, error) {
					if a.restarts == 1 {
						return false, sick
					}
					return false, nil
				}
			}, godwit.CodeRolledBack, 2, "pre_switch v1 v2, post_switch v1 v2, post_rollback v2 v1"},
			{"pre_switch fails", func(a *fakeApp) { a.hook = fail("pre_switch", godwit.Fail(godwit.CodeHook, sick, "x", "")) }, godwit.CodeHook, 0, "pre_switch v1 v2"},
		} {
			t.Run(c.name, func(t *testing.T) {
				d := newDevice(t, layout, nil)
				_, err := d.Update(context.Background(), engine.UpdateOptions{})
				code(t, err, "")
				*d.app = fakeApp{}
				c.set(d.app)
				d.src.tip = "v2"
				_, err = d.Update(context.Background(), engine.UpdateOptions{})
				code(t, err, c.want)
				d.runs(t, "v1")
				if got := strings.Join(d.app.hooks, ", "); got != c.hooks || d.app.restarts != c.restarts {
					t.Errorf("%d restarts, hooks %s", d.app.restarts, got)
				}
				s, _ := d.Status()
				if !strings.Contains(s.LastError.Text, "x") && !strings.Contains(s.LastError.Text, "sick") {
					t.Errorf("last error %+v", s.LastError)
				}
				if _, rejected := d.Store.Record().Rejection("v2"); rejected != (c.want == godwit.CodeRolledBack) {
					t.Errorf("rejected: %v", rejected)
				}
				_, err = d.Verify(context.Background(), false)
				code(t, err, "")
			})
		}
	})
}

func fail(name string, err error) func(string) error {
	return func(n string) error {
		if n == name {
			return err
		}
		return nil
	}
}

func TestConfirmedByApplication(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		set := func(c *engine.Config) {
			c.Trial.ByConfirm, c.Trial.Within, c.Trial.PollInterval = true, 200*time.Millisecond, time.Millisecond
		}
		d := newDevice(t, layout, set)
		// The application confirms from another process while it is restarted.
		confirm := func() (bool, error) {
			fsys, err := vfs.OS(d.dir)
			if err != nil {
				return false, err
			}
			defer fsys.Close()
			s, err := store.Open(fsys, store.Options{Layout: layout})
			if err != nil {
				return false, err
			}
			_, err = engine.New(engine.Config{Store: s, Gate: anybody(t)}).Confirm(context.Background())
			return false, err
		}
		d.app.restart = confirm
		r, err := d.Update(context.Background(), engine.UpdateOptions{})
		code(t, err, "")
		if r.Outcome != engine.Updated {
			t.Fatalf("outcome %s", r.Outcome)
		}
		d.app.restart = nil
		d.src.tip = "v2"
		_, err = d.Update(context.Background(), engine.UpdateOptions{})
		code(t, err, godwit.CodeRolledBack)
		d.runs(t, "v1")
	})
}

func TestWatchAfterReboot(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	ctx := context.Background()
	d.app.restart = func() (bool, error) { return true, nil }
	_, err := d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	d.boot = "boot-2"
	_, err = d.Recover(ctx)
	code(t, err, "")
	r, err := d.Watch(ctx)
	code(t, err, "")
	if s, _ := d.Status(); r.Outcome != engine.Confirmed || s.Trial.Open {
		t.Errorf("%+v", r)
	}
}

// Without recover at boot, the next update finds a trial of an earlier boot. Its
// time starts then: a device that has been up for long is no reason to go back.
func TestTrialOfAnEarlierBoot(t *testing.T) {
	d := newDevice(t, store.Slots, func(c *engine.Config) { c.Trial.Boots = 1 })
	ctx := context.Background()
	_, err := d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	reboots := func() (bool, error) { return true, nil }
	d.src.tip, d.app.restart = "v2", reboots
	_, err = d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	d.boot, d.up, d.app.restart = "boot-2", 100*time.Hour, nil
	r, err := d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	if s, _ := d.Status(); r.Outcome != engine.UpToDate || s.Trial.Open {
		t.Errorf("%+v", r)
	}
	d.src.tip, d.app.restart = "v3", reboots
	_, err = d.Update(ctx, engine.UpdateOptions{})
	code(t, err, "")
	for _, boot := range []string{"boot-3", "boot-4"} {
		d.boot = boot
		if _, err = d.Recover(ctx); boot == "boot-3" {
			code(t, err, "")
		}
	}
	code(t, err, godwit.CodeRolledBack)
	d.runs(t, "v2")
}

func TestFirstVersionFails(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		d := newDevice(t, layout, nil)
		if err := os.WriteFile(filepath.Join(d.dir, "main.py"), []byte("by hand"), 0o644); err != nil {
			t.Fatal(err)
		}
		d.app.health = func() error { return errors.New("sick") }
		_, err := d.Update(context.Background(), engine.UpdateOptions{})
		if layout == store.Slots {
			code(t, err, godwit.CodeNoPrevious)
			d.runs(t, "v1")
			return
		}
		code(t, err, godwit.CodeRolledBack)
		if b, err := os.ReadFile(filepath.Join(d.dir, "main.py")); string(b) != "by hand" {
			t.Errorf("the file from before Godwit: %q %v", b, err)
		}
		if _, err := os.Lstat(filepath.Join(d.dir, "lib")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("lib is left behind: %v", err)
		}
	})
}

func TestVerifyRepair(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		ctx := context.Background()
		d := newDevice(t, layout, nil)
		_, err := d.Verify(ctx, false)
		code(t, err, godwit.CodeNotInstalled)
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, "")
		tree := filepath.Join(d.dir, d.Store.Tree(d.Store.Record().Running))
		if err := os.WriteFile(filepath.Join(tree, "main.py"), []byte("vandal"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(tree, "lib/a.py"), 0o755); err != nil {
			t.Fatal(err)
		}
		v, err := d.Verify(ctx, false)
		code(t, err, godwit.CodeModified)
		if v.Problems != 2 {
			t.Errorf("%+v", v)
		}
		d.src.fetched = 0
		v, err = d.Verify(ctx, true)
		code(t, err, "")
		if v.Repaired != 2 || d.src.fetched != 1 {
			t.Errorf("%+v, fetched %d", v, d.src.fetched)
		}
		d.runs(t, "v1")
	})
}

func TestLostContent(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	d.src.lose = "main.py"
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, godwit.CodeMissingObject)
	d.src.lose, d.src.fetched = "", 0
	_, err = d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	if d.src.fetched != 1 {
		t.Errorf("fetched %d: what was staged must be used", d.src.fetched)
	}
}

// anybody is the gate that admits every release.
func anybody(t *testing.T) engine.Gate {
	g, err := trust.New(trust.Config{Mode: trust.None})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type strict struct{}

func (strict) Policy() string { return "strict" }
func (strict) Orders(context.Context, godwit.Statement, godwit.Tip, godwit.Memory) (godwit.Orders, error) {
	return godwit.Orders{}, nil
}
func (strict) Adopt(_ godwit.Verified, m godwit.Memory) (godwit.Memory, error) { return m, nil }
func (strict) Admit(_ context.Context, r godwit.Release, _ godwit.Memory) (godwit.Verified, error) {
	return godwit.Verified{}, godwit.Fail(godwit.CodeRefused, nil, "nobody vouches for "+r.Version, "")
}

func TestGateStandsBeforeThePlan(t *testing.T) {
	d := newDevice(t, store.Slots, func(c *engine.Config) { c.Gate = strict{} })
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, godwit.CodeRefused)
	if s, _ := d.Status(); !s.Running.IsZero() || d.src.fetched != 0 || s.Policy != "strict" {
		t.Errorf("%+v", s)
	}
}

// forgeable gives every file a checksum that can be forged.
type forgeable struct{ *shelf }

func (s forgeable) Describe(ctx context.Context, v godwit.Verified, have []string) (godwit.Described, error) {
	d, err := s.shelf.Describe(ctx, v, have)
	listing := d.Listing
	d.Listing = func(yield func(godwit.Entry, error) bool) {
		for e, err := range listing {
			e.Digest = godwit.MakeDigest(godwit.CRC32, make([]byte, 12))
			if !yield(e, err) {
				return
			}
		}
	}
	return d, err
}

// signed admits everything as if it were signed.
type signed struct{ strict }

func (signed) Admit(_ context.Context, r godwit.Release, _ godwit.Memory) (godwit.Verified, error) {
	return godwit.Verified{Release: r, Policy: "signed"}, nil
}

func TestChecksumsBelowASignature(t *testing.T) {
	d := newDevice(t, store.Slots, func(c *engine.Config) { c.Gate, c.Source = signed{}, forgeable{c.Source.(*shelf)} })
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, godwit.CodeBadStatement)
}

func TestRulesChange(t *testing.T) {
	d := newDevice(t, store.InPlace, func(c *engine.Config) { c.Rules = plan.Rules{Ignore: []string{"lib/"}} })
	_, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	if _, err := os.Lstat(filepath.Join(d.dir, "lib")); err == nil {
		t.Error("an ignored folder was installed")
	}
	d.Rules = plan.Rules{}
	r, err := d.Update(context.Background(), engine.UpdateOptions{})
	code(t, err, "")
	if r.Outcome != engine.Updated {
		t.Errorf("outcome %s: changed rules must lead to an update", r.Outcome)
	}
	d.runs(t, "v1")
}

// What runs already has nothing to prove when it is installed anew; by other
// rules it has, and the way back leads to the old ones.
func TestTheSameAnew(t *testing.T) {
	for _, layout := range []store.Layout{store.Slots, store.InPlace} {
		d := newDevice(t, layout, nil)
		ctx := context.Background()
		for _, v := range []string{"v1", "v2"} {
			d.src.tip = v
			_, err := d.Update(ctx, engine.UpdateOptions{})
			code(t, err, "")
		}
		sick := errors.New("sick")
		d.app.health = func() error { return sick }
		r, err := d.Update(ctx, engine.UpdateOptions{Force: true})
		code(t, err, "")
		if r.Outcome != engine.Updated {
			t.Errorf("%+v", r)
		}
		d.runs(t, "v2")
		d.app.restart = func() (bool, error) { return false, errors.New("it does not start") }
		_, err = d.Update(ctx, engine.UpdateOptions{Force: true})
		if err == nil || godwit.CodeOf(err) == godwit.CodeRolledBack {
			t.Errorf("%v", err)
		}
		d.runs(t, "v2")
		d.app.restart = nil
		d.Rules = plan.Rules{Ignore: []string{"lib/"}}
		_, err = d.Update(ctx, engine.UpdateOptions{})
		code(t, err, godwit.CodeRolledBack)
		d.runs(t, "v2")
		if s, _ := d.Status(); s.Running.Name == "v1" || len(s.Rejected) != 1 {
			t.Errorf("%+v", s)
		}
	}
}
