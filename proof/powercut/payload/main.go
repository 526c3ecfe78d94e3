//go:build linux

// Command payload is what runs in the guest of the power-cut proof: Godwit's
// engine and store on the real file system. Called as
//
//	payload DIR FILESYSTEM LAYOUT DAMAGE REPAIR SEED
//
// it first recovers from the last cut and compares the whole tree with the
// version that the record names, which it can work out from its number. Then
// it updates, fails trials, restarts, goes back, damages and repairs for ever.
// What it promises, and when, it tells the host.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/proof/powercut/wire"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
)

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: payload DIR FILESYSTEM LAYOUT sound|nosync|nosyncfs|halfsync repair|norepair SEED")
		os.Exit(2)
	}
	d := &device{dir: os.Args[1], layout: store.Layout(os.Args[3]), modes: os.Args[2] != "vfat", links: os.Args[2] != "vfat"}
	seed, err := strconv.ParseUint(os.Args[6], 10, 64)
	if err == nil {
		d.rand = rand.New(rand.NewPCG(seed, 0))
		err = d.live(os.Args[4], os.Args[5] == "repair")
	}
	wire.Say(wire.Broken, err.Error())
	select {}
}

// A device is a tree and what keeps it up to date.
type device struct {
	dir    string
	layout store.Layout
	modes  bool // the file system has exec bits
	links  bool // it has symbolic links
	rand   *rand.Rand
	store  *store.Store
	engine *engine.Engine
	source *source
	app    *app
	boot   string
}

// live ends only with what is wrong.
func (d *device) live(damage string, repair bool) error {
	// What fsck.vfat -a makes of clusters that belong to nobody.
	lost, _ := filepath.Glob(filepath.Join(d.dir, "FSCK*.REC"))
	for _, name := range lost {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	root, err := vfs.OS(d.dir)
	if err != nil {
		return err
	}
	fsys, err := damaged(damage, d.dir, root)
	if err != nil {
		return err
	}
	if d.store, err = store.Open(fsys, store.Options{Layout: d.layout}); err != nil {
		return err
	}
	d.source = &source{links: d.links}
	d.app = &app{store: func() int { n, _ := d.running(); return n }}
	d.boot = fmt.Sprint(d.rand.Uint64())
	gate, err := trust.New(trust.Config{Mode: trust.None})
	if err != nil {
		return err
	}
	d.engine = engine.New(engine.Config{
		Store: d.store, Source: d.source, Gate: gate, App: d.app, Rules: plan.Rules{Symlinks: true},
		Boot: func() (string, time.Duration) { return d.boot, 0 },
	})
	if err := d.recover(repair); err != nil {
		return err
	}
	for {
		if err := d.act(); err != nil {
			return err
		}
	}
}

// recover is what a device does at boot. Then the tree has to be right.
func (d *device) recover(repair bool) error {
	ctx := context.Background()
	if _, err := d.engine.Recover(ctx); err != nil {
		switch godwit.CodeOf(err) {
		case godwit.CodeRolledBack:
			wire.Say(wire.Did, "rollback after too many boots")
		case godwit.CodeNoPrevious:
		default:
			return fmt.Errorf("recover: %w", err)
		}
	}
	if repair && !d.store.Record().Running.IsZero() && d.store.Record().Running.ID != store.BeforeGodwit {
		v, err := d.engine.Verify(ctx, true)
		if err != nil {
			return fmt.Errorf("verify --repair after a cut: %w", err)
		}
		if v.Repaired > 0 {
			wire.Say(wire.Did, "repair after a cut")
		}
	}
	n, err := d.running()
	if err != nil {
		return err
	}
	if err := d.check(n); err != nil {
		return fmt.Errorf("version %d: %w", n, err)
	}
	if err := d.foreign(n); err != nil {
		return err
	}
	d.found(wire.Check)
	return nil
}

// found tells the host which version runs, and which other one may be found
// after a cut: the one before, as long as the trial is open.
func (d *device) found(word string) {
	n, _ := d.running()
	text := fmt.Sprint(n)
	if r := d.store.Record(); r.Trial.Open && !r.Previous.IsZero() {
		if p, err := versionNumber(r.Previous); err == nil {
			text += fmt.Sprint(" ", p)
		}
	}
	wire.Say(word, text)
}

func (d *device) running() (int, error) { return versionNumber(d.store.Record().Running) }

func versionNumber(v store.Version) (int, error) {
	if v.IsZero() || v.ID == store.BeforeGodwit {
		return 0, nil
	}
	return number(v.ID)
}

// act does one thing that a device does in its life.
func (d *device) act() error {
	ctx := context.Background()
	n, err := d.running()
	if err != nil {
		return err
	}
	rec := d.store.Record()
	switch {
	case rec.Trial.Open:
		return d.outcome(d.engine.Watch(ctx))
	case !rec.Previous.IsZero() && d.rand.IntN(6) == 0:
		p, err := versionNumber(rec.Previous)
		if err != nil {
			return err
		}
		wire.Say(wire.May, fmt.Sprint(p))
		if _, err := d.engine.Rollback(ctx); err != nil {
			return fmt.Errorf("rollback from %d to %d: %w", n, p, err)
		}
		wire.Say(wire.Did, "rollback by a person")
		d.found(wire.Ack)
		return nil
	case n > 0 && d.rand.IntN(8) == 0:
		return d.repairDamage(ctx, n)
	}
	d.source.next = n + 1
	for {
		if _, bad := rec.Rejection(id(d.source.next)); !bad {
			break
		}
		d.source.next++
	}
	wire.Say(wire.May, fmt.Sprint(d.source.next))
	return d.outcome(d.engine.Update(ctx, engine.UpdateOptions{}))
}

// outcome tells the host what an update or the rest of a trial has come to,
// and restarts the device when it was asked to.
func (d *device) outcome(r engine.Result, err error) error {
	n, _ := d.running()
	switch {
	case godwit.CodeOf(err) == godwit.CodeRolledBack:
		wire.Say(wire.Did, "rollback of a sick version")
	case err != nil:
		return fmt.Errorf("update, now at %d: %w", n, err)
	default:
		wire.Say(wire.Did, string(r.Outcome))
	}
	if err := d.check(n); err != nil {
		return fmt.Errorf("version %d, before any cut: %w", n, err)
	}
	d.found(wire.Ack)
	if r.Reboot {
		d.boot = fmt.Sprint(d.rand.Uint64())
		return d.recover(false)
	}
	return nil
}

// repairDamage hurts the running tree in a few places and lets Godwit mend it.
// Between the two a cut may find the tree as it was hurt, so the host is told;
// it asks for a repair then.
func (d *device) repairDamage(ctx context.Context, n int) error {
	wire.Say(wire.Hurt, "")
	files := tree(n, d.links)
	for range 3 {
		f := files[d.rand.IntN(len(files))]
		name := d.treeDir() + "/" + f.path
		// A name of its own: unchanged files are shared between versions.
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			return err
		}
		if d.rand.IntN(2) == 0 {
			if err := os.WriteFile(name, []byte("damaged"), 0o644); err != nil {
				return err
			}
		}
	}
	v, err := d.engine.Verify(ctx, true)
	if err != nil {
		return fmt.Errorf("verify --repair: %w", err)
	}
	if v.Repaired == 0 {
		return fmt.Errorf("verify --repair saw nothing wrong: %+v", v)
	}
	wire.Say(wire.Mended, "")
	wire.Say(wire.Did, "repair")
	return nil
}
