package store_test

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A fault is what a disk may answer, and what the caller should hear.
var faults = []struct {
	name   string
	err    error
	sticky bool
	code   godwit.Code
}{
	{"EIO", syscall.EIO, false, godwit.CodeIO},
	{"ENOSPC", syscall.ENOSPC, false, godwit.CodeDiskFull},
	{"EROFS", syscall.EROFS, false, godwit.CodeReadOnly},
	{"EROFS from then on", syscall.EROFS, true, godwit.CodeReadOnly},
}

// prepared returns a disk on which a scenario can begin.
func prepared(t *testing.T, w world, s scenario) *crashfs.FS {
	t.Helper()
	raw := crashfs.New(w.disk)
	if err := s.prepare(&device{world: w, fs: raw}, raw); err != nil {
		t.Fatal(err)
	}
	if err := raw.Sync(); err != nil {
		t.Fatal(err)
	}
	return raw
}

// Every operation fails once: the device is still the old version or already
// the new one, the error has its code, and the next run succeeds.
func TestCrashFaults(t *testing.T) {
	var total atomic.Int64
	t.Run("each", func(t *testing.T) {
		for _, w := range worlds() {
			for _, s := range scenarios(w) {
				t.Run(w.name+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					base := prepared(t, w, s)
					dry := base.Clone()
					dry.Record()
					if err := s.act(&device{world: w, fs: dry}); err != nil {
						t.Fatal(err)
					}
					stride := 13
					switch {
					case os.Getenv("GODWIT_CRASH") == "all":
						stride = 1
					case testing.Short() || race.Enabled:
						stride = 41
					}
					n := 0
					for i, op := range dry.Trace() {
						for k, f := range faults {
							// A disk that is full or cannot be written is read
							// as ever; the lock is given up whatever happens.
							writes := op.Kind >= crashfs.Create && op.Kind != crashfs.Unlock
							frees := op.Kind == crashfs.Remove || op.Kind == crashfs.SetExec
							if !writes && (f.err != syscall.EIO || op.Kind == crashfs.Unlock) || frees && f.err == syscall.ENOSPC {
								continue
							}
							if (i+k*3)%stride == 0 {
								total.Add(1)
								if n < 3 && !faulty(t, w, s, base.Clone(), op, f.name, crashfs.Fault{At: op.N, Err: f.err, Sticky: f.sticky, Short: i%2 == 0}, f.code) {
									n++
								}
							}
						}
					}
				})
			}
		}
	})
	t.Logf("%d faults, each left the old or the new version, and the next run succeeded", total.Load())
}

func faulty(t *testing.T, w world, s scenario, raw *crashfs.FS, op crashfs.Op, name string, f crashfs.Fault, code godwit.Code) bool {
	where := fmt.Sprintf("%s at %v", name, op)
	d := &device{world: w, fs: raw}
	c := campaign{world: w, scenario: s}
	raw.Inject(f)
	err := s.act(d)
	raw.Inject(crashfs.Fault{})
	bad := func(format string, args ...any) bool {
		t.Errorf(where+": "+format, args...)
		return false
	}
	if err != nil && !errors.Is(err, f.Err) {
		return bad("the error hides its cause: %v", err)
	}
	var e *godwit.Error
	if op.Kind < crashfs.Create && godwit.CodeOf(err) == godwit.CodeDamaged {
		code = godwit.CodeDamaged // what cannot be read, and is nowhere else, is lost
	}
	if err != nil && (!errors.As(err, &e) || e.Code != code || e.Text == "" || e.Hint == "") {
		return bad("code %q: %v", godwit.CodeOf(err), err)
	}
	if w.layout == store.Slots && s.name != "repair" {
		if what := c.unrecovered(raw); what != "" {
			return bad("%v left: %s", err, what)
		}
	}
	// A power cut now finds no more than an earlier one would.
	for _, raw := range []*crashfs.FS{raw.Crash(crashfs.Lose), raw.Crash(crashfs.Seeded(uint64(op.N))), raw} {
		d := &device{world: w, fs: raw}
		if err := d.recover(); err != nil {
			return bad("recovery: %v", err)
		}
		isOld, isNew := c.is(d, raw, s.old), c.is(d, raw, s.new)
		if isNew != "" && (isOld != "" || err == nil) {
			return bad("%v left neither old nor new\nnot old: %s\nnot new: %s", err, isOld, isNew)
		}
	}
	if err := s.act(d); err != nil {
		return bad("the next run: %v", err)
	}
	if what := d.check(raw, s.new, false); what != "" {
		return bad("after the next run: %s", what)
	}
	return true
}

// On a disk that is too small by any number of bytes, the device keeps what it
// has, or finishes what it began as soon as there is room.
func TestCrashDiskFull(t *testing.T) {
	var total atomic.Int64
	t.Run("each", func(t *testing.T) {
		for _, w := range worlds() {
			for _, s := range scenarios(w) {
				t.Run(w.name+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					base := prepared(t, w, s)
					dry := base.Clone()
					peak := dry.Used()
					dry.OnOp(func(crashfs.Op) { peak = max(peak, dry.Used()) })
					if err := s.act(&device{world: w, fs: dry}); err != nil {
						t.Fatal(err)
					}
					step := (peak-base.Used())/12 + 1
					if os.Getenv("GODWIT_CRASH") == "all" {
						step = 32
					} else if testing.Short() || race.Enabled {
						step *= 5
					}
					n, refused := 0, 0
					for room := int64(0); room <= peak-base.Used() && n < 3; room += step {
						total.Add(1)
						raw := base.Clone()
						raw.Resize(base.Used() + room)
						err := full(w, s, raw)
						if err == errRefused {
							refused++
						} else if err != nil {
							t.Errorf("with %d of %d bytes: %v", room, peak-base.Used(), err)
							n++
						}
					}
					if refused == 0 && peak > base.Used()+crashfs.Sector {
						t.Error("never refused")
					}
				})
			}
		}
	})
	t.Logf("%d full disks, each left the old or the new version", total.Load())
}

var errRefused = errors.New("refused, and all is well")

func full(w world, s scenario, raw *crashfs.FS) error {
	d := &device{world: w, fs: raw}
	c := campaign{world: w, scenario: s}
	fail := s.act(d)
	if fail != nil && godwit.CodeOf(fail) != godwit.CodeDiskFull {
		return fmt.Errorf("code %q: %w", godwit.CodeOf(fail), fail)
	}
	if w.layout == store.Slots && s.name != "repair" {
		if what := c.unrecovered(raw); what != "" {
			return fmt.Errorf("%v left: %s", fail, what)
		}
	}
	for _, raw := range []*crashfs.FS{raw.Crash(crashfs.Lose), raw} {
		d := &device{world: w, fs: raw}
		err := d.recover()
		if godwit.CodeOf(err) == godwit.CodeDiskFull {
			// What was begun can wait until there is room.
			raw.Resize(0)
			err = d.recover()
		}
		if err != nil {
			return fmt.Errorf("%v, then the recovery: %w", fail, err)
		}
		isOld, isNew := c.is(d, raw, s.old), c.is(d, raw, s.new)
		if isNew != "" && (isOld != "" || fail == nil) {
			return fmt.Errorf("%v left neither old nor new\nnot old: %s\nnot new: %s", fail, isOld, isNew)
		}
	}
	raw.Resize(0)
	if err := s.act(d); err != nil {
		return fmt.Errorf("with room: %w", err)
	}
	if what := d.check(raw, s.new, false); what != "" {
		return errors.New("with room: " + what)
	}
	if fail != nil {
		return errRefused
	}
	return nil
}
