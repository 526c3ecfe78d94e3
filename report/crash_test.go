package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A world is everything outside the device: what places have got so far. It
// survives what the device does not.
type world struct {
	got  [2][]string // for each place the releases, in order
	seqs map[string]string
	bad  []string
}

func (w *world) clone() *world {
	c := &world{seqs: map[string]string{}}
	for i := range w.got {
		c.got[i] = append(c.got[i], w.got[i]...)
	}
	for k, v := range w.seqs {
		c.seqs[k] = v
	}
	return c
}

// A fakeWay delivers into a world.
type fakeWay struct {
	t     testing.TB
	w     *world
	place int
	left  *int // reports until it breaks; nil: never
}

func (f *fakeWay) close() {}

func (f *fakeWay) send(_ context.Context, body []byte) error {
	if f.left != nil {
		if *f.left--; *f.left < 0 {
			return errors.New("broken")
		}
	}
	var c struct{ Report content }
	if err := json.Unmarshal(body, &c); err != nil {
		f.w.bad = append(f.w.bad, err.Error())
	}
	f.take(c.Report)
	return nil
}

func (f *fakeWay) take(c content) {
	f.w.got[f.place] = append(f.w.got[f.place], c.Release)
	if other, ok := f.w.seqs[fmt.Sprint(c.Seq)]; ok && other != c.ID {
		f.w.bad = append(f.w.bad, fmt.Sprintf("two reports are number %d", c.Seq))
	}
	f.w.seqs[fmt.Sprint(c.Seq)] = c.ID
}

// A rig is a device whose disk can be cut.
type rig struct {
	t     testing.TB
	w     *world
	added *[]string // the releases whose Add has returned nil
	clock *clock
	wrap  func(vfs.FS) vfs.FS
}

// boot gives the Reporter of a new process on a disk.
func (g *rig) boot(disk *crashfs.FS, breaks [2]*int) *Reporter {
	cfg, _ := config(g.t, Place{URL: "http://a"}, Place{URL: "http://b"})
	cfg.FS, cfg.Now, cfg.MaxReports = vfs.FS(disk), g.clock.now, 5
	if g.wrap != nil {
		cfg.FS = g.wrap(disk)
	}
	r := New(cfg)
	for i, p := range r.places {
		p.opener = func(context.Context) (way, error) {
			return &fakeWay{g.t, g.w, i, breaks[i]}, nil
		}
	}
	return r
}

func (g *rig) add(r *Reporter, names ...string) {
	for _, n := range names {
		if r.Add(Report{Release: n, Verdict: Confirmed}) == nil {
			*g.added = append(*g.added, n)
		}
	}
}

// act is what a device does while its power may fail: it reports, sends, one
// place breaks off, it reports more, and the places get the rest.
func (g *rig) act(r *Reporter, breaks [2]*int) {
	g.add(r, "v1", "v2")
	g.send(r)
	g.add(r, "v3", "v4")
	*breaks[0], *breaks[1] = 1, 100
	g.send(r)
	g.add(r, "v5")
	*breaks[0] = 100
	g.send(r)
	g.add(r, "v6")
}

// send sends to one place after the other, so that a run is the same each time.
func (g *rig) send(r *Reporter) {
	all := r.places
	for i := range all {
		for j, p := range all {
			p.until = g.clock.now().Add(time.Duration(min(1, (i-j)*(i-j))) * time.Hour)
		}
		r.Send(context.Background())
	}
}

// judge says what is wrong with what the places got by the end. doubles is how
// many each may have twice.
func (w *world) judge(added []string, doubles int) string {
	bad := w.bad
	for i, got := range w.got {
		seen := map[string]int{}
		var order []string
		twice := 0
		for _, n := range got {
			if seen[n]++; seen[n] > 1 {
				twice++
			} else {
				order = append(order, n)
			}
		}
		for _, n := range added {
			if seen[n] == 0 {
				bad = append(bad, fmt.Sprintf("place %d never got %s, only %v", i, n, got))
			}
		}
		for j := 1; j < len(order); j++ {
			if order[j] < order[j-1] {
				bad = append(bad, fmt.Sprintf("place %d got %v, out of order", i, got))
				break
			}
		}
		if twice > doubles {
			bad = append(bad, fmt.Sprintf("place %d got %v: %d twice", i, got, twice))
		}
	}
	return strings.Join(bad, "; ")
}

// finish boots from a disk, adds the last report and sends everything. It calls
// cut, if not nil, after each operation that changes the disk.
func (g *rig) finish(disk *crashfs.FS, last string, cut func(crashfs.Op)) {
	if cut != nil {
		disk.OnOp(func(op crashfs.Op) {
			if op.Changes() {
				cut(op)
			}
		})
	}
	r := g.boot(disk, [2]*int{})
	r.change(func(q *queue) (bool, error) { return false, nil })
	g.send(r)
	g.add(r, last)
	g.send(r)
	disk.OnOp(nil)
	if n := r.Pending(); n != 0 {
		g.w.bad = append(g.w.bad, fmt.Sprint(n, " still pending"))
	}
}

type crashKind struct {
	name string
	of   func(*crashfs.FS) *crashfs.FS
}

func crashKinds(seeds int, base uint64) []crashKind {
	list := []crashKind{
		{"lose", func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Lose) }},
		{"keep", func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Keep) }},
		{"kill", (*crashfs.FS).Clone},
	}
	for i := range seeds {
		seed := base + uint64(i)
		list = append(list, crashKind{fmt.Sprint("seed ", seed), func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Seeded(seed)) }})
	}
	return list
}

// campaign cuts the power after each operation, and for every stride-th of these
// cuts again after each operation of what comes after, and gives what was wrong in the end.
func campaign(t testing.TB, model crashfs.Model, lie crashfs.Lie, wrap func(vfs.FS) vfs.FS, seeds, stride, most int) (bad []string, cuts int) {
	disk := crashfs.New(crashfs.Options{Model: model})
	if err := disk.Mkdir("state"); err != nil {
		t.Fatal(err)
	}
	disk.Sync()
	disk.Tell(lie)
	g := &rig{t: t, w: &world{seqs: map[string]string{}}, added: new([]string), clock: &clock{at: noon}, wrap: wrap}
	fork := func(g *rig) *rig {
		added := append([]string(nil), *g.added...)
		return &rig{t: t, w: g.w.clone(), added: &added, clock: g.clock, wrap: wrap}
	}
	after := func(g *rig, disk *crashfs.FS, where string, doubles int, again func(g *rig, disk *crashfs.FS, op crashfs.Op)) {
		g = fork(g)
		cuts++
		last := "v9"
		var second func(crashfs.Op)
		if again != nil {
			last = "v8"
			second = func(op crashfs.Op) { again(g, disk, op) }
		}
		g.finish(disk, last, second)
		if what := g.w.judge(*g.added, doubles); what != "" {
			bad = append(bad, where+": "+what)
		}
	}
	turn := 0
	disk.OnOp(func(op crashfs.Op) {
		if !op.Changes() || len(bad) >= most {
			return
		}
		for _, k := range crashKinds(seeds, uint64(op.N)*1000) {
			where := fmt.Sprintf("cut after %v (%s)", op, k.name)
			turn++
			whole := turn%stride == 0
			after(g, k.of(disk), where, 1, func(g *rig, disk *crashfs.FS, op crashfs.Op) {
				if len(bad) >= most || !whole {
					return
				}
				for _, k := range crashKinds(1, uint64(op.N)*1000+500) {
					after(g, k.of(disk), fmt.Sprintf("%s, and after %v (%s)", where, op, k.name), 2, nil)
				}
			})
		}
	})
	breaks := [2]*int{new(int), new(int)}
	*breaks[0], *breaks[1] = 100, 1
	r := g.boot(disk, breaks)
	g.act(r, breaks)
	disk.OnOp(nil)
	if len(*g.added) != 6 {
		t.Fatalf("without a cut: %v were added", *g.added)
	}
	after(g, disk.Clone(), "without a cut", 0, nil)
	return bad, cuts
}

var models = []struct {
	name  string
	model crashfs.Model
}{{"journal", crashfs.Journal}, {"FAT", crashfs.FAT}}

func TestCrash(t *testing.T) {
	for _, m := range models {
		t.Run(m.name, func(t *testing.T) {
			seeds, stride := 1, 7
			if os.Getenv("GODWIT_CRASH") == "all" {
				seeds, stride = 10, 1
			}
			bad, cuts := campaign(t, m.model, 0, nil, seeds, stride, 5)
			for _, b := range bad {
				t.Error(b)
			}
			if cuts < 1000 {
				t.Errorf("only %d cuts", cuts)
			}
			t.Log(cuts, "cuts")
		})
	}
}

// oneSlot writes both copies of the queue to the same file.
type oneSlot struct{ vfs.FS }

func (o oneSlot) Open(name string, flag vfs.Flag) (vfs.File, error) {
	return o.FS.Open(strings.Replace(name, "reports.1", "reports.0", 1), flag)
}

// forgetful does not sync names.
type forgetful struct{ vfs.FS }

func (forgetful) SyncDir(string) error { return nil }

// trusting does not sync what it finds, only what it writes.
type trusting struct{ vfs.FS }

func (f trusting) Open(name string, flag vfs.Flag) (vfs.File, error) {
	file, err := f.FS.Open(name, flag)
	return &trustingFile{file, false}, err
}

type trustingFile struct {
	vfs.File
	wrote bool
}

func (f *trustingFile) WriteAt(b []byte, off int64) (int, error) {
	f.wrote = true
	return f.File.WriteAt(b, off)
}

func (f *trustingFile) Sync() error {
	if !f.wrote {
		return nil
	}
	return f.File.Sync()
}

// TestCrashSeesDamage plants mistakes and wants the campaign to find each.
func TestCrashSeesDamage(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  crashfs.Lie
		wrap func(vfs.FS) vfs.FS
	}{
		{"no sync of contents", crashfs.LieFileSync, nil},
		{"no sync of names", 0, func(f vfs.FS) vfs.FS { return forgetful{f} }},
		{"no sync of what a killed process wrote", 0, func(f vfs.FS) vfs.FS { return trusting{f} }},
		{"one copy", 0, func(f vfs.FS) vfs.FS { return oneSlot{f} }},
	} {
		for _, m := range models {
			if bad, _ := campaign(t, m.model, c.lie, c.wrap, 3, 1, 1); len(bad) == 0 {
				t.Errorf("%s, %s: not found", c.name, m.name)
			} else {
				t.Log(bad[0])
			}
		}
	}
}
