package inplace_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/inplace"
	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

const (
	file    = "app/firmware"
	journal = "state/turning"
)

// A turn is a file on its way from one version to another.
type turn struct {
	name     string
	old, new []byte
	patch    []byte
}

func (w turn) job(fsys vfs.FS) *inplace.Job {
	return &inplace.Job{FS: fsys, File: file, Journal: journal, Patch: bytes.NewReader(w.patch), PatchSize: int64(len(w.patch)), PatchSum: sha256.Sum256(w.patch),
		New: digest(w.new)}
}

func digest(b []byte) godwit.Digest {
	s := sha256.Sum256(b)
	return godwit.MakeDigest(godwit.SHA256, s[:])
}

func (w turn) run(fsys vfs.FS) error {
	h, err := delta.ReadHeader(bytes.NewReader(w.patch))
	if err != nil {
		return err
	}
	return w.job(fsys).Run(context.Background(), make([]byte, inplace.Memory(h.Tier)))
}

// disk gives a synced disk with the old version.
func (w turn) disk(o crashfs.Options) (*crashfs.FS, error) {
	raw := crashfs.New(o)
	err := crashfs.Load(raw, ".", crashfs.Tree{file: "f" + string(w.old), "app/other": "fother", "state": "d"})
	if err == nil {
		err = raw.Sync()
	}
	return raw, err
}

// is says how the disk differs from one with the content and no journal.
func is(raw *crashfs.FS, content []byte) string {
	got, err := crashfs.Dump(raw, ".", nil)
	if err != nil {
		return err.Error()
	}
	for p, what := range got {
		if what[0] == 'x' { // FAT has no exec bits
			got[p] = "f" + what[1:]
		}
	}
	return crashfs.Diff(got, crashfs.Tree{"app": "d", "state": "d", "app/other": "fother", file: "f" + string(content)})
}

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// edited is a later version of b: pieces replaced, moved, put in and taken out.
func edited(seed uint64, b []byte, grow int) []byte {
	r := rand.New(rand.NewPCG(seed, 8))
	out := bytes.Clone(b)
	for range 6 {
		at, n := r.IntN(len(out)), 1+r.IntN(300)
		out = append(out[:at:at], append(random(r.Uint64(), n), out[min(at+r.IntN(300), len(out)):]...)...)
	}
	if grow < 0 {
		return out[:len(out)+grow]
	}
	return append(out, random(seed, grow)...)
}

// stored is an in-place patch that needs nothing of the old content.
func stored(old, new []byte, slack, block int64) []byte {
	h := delta.Header{Method: delta.Stored, Tier: delta.Tiny, OldSize: int64(len(old)), NewSize: int64(len(new)), Slack: slack, Block: block,
		OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new))}
	return append(h.Append(nil), new...)
}

func turns(t testing.TB) []turn {
	old := random(1, 30000)
	longer, shorter := edited(2, old, 15000), edited(3, old, -9000)
	list := []turn{
		{"stored, longer", old, longer, stored(old, longer, 8192, 8192)},
		{"stored, shorter, without slack", old, shorter, stored(old, shorter, 0, 4096)},
		{"stored, from nothing", nil, longer, stored(nil, longer, 4096, 8192)},
		{"stored, to nothing", old, nil, stored(old, nil, 8192, 4096)},
	}
	return append(list, slices.Clone(modelledTurns())...)
}

// modelledTurns are smaller: it is the decoding that takes the time.
var modelledTurns = sync.OnceValue(func() (list []turn) {
	old := random(4, 9001)
	longer, shorter := edited(5, old, 900), edited(6, old[5000:], 0)
	for _, c := range []struct {
		name         string
		new          []byte
		slack, block int64
	}{
		{"longer", longer, 8192, 4096},
		{"shorter, without slack", shorter, 0, 4096},
		{"little slack", longer, 4096, 4096},
	} {
		list = append(list, turn{"modelled, " + c.name, old, c.new, modelled(old, c.new, c.slack, c.block)})
	}
	return list
})

type cut struct {
	name string
	of   func(*crashfs.FS) *crashfs.FS
}

func cuts(seeds int, base uint64) []cut {
	list := []cut{
		{"lose", func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Lose) }},
		{"keep", func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Keep) }},
		{"kill", (*crashfs.FS).Clone},
	}
	for i := range seeds {
		seed := base + uint64(i)
		list = append(list, cut{fmt.Sprint("seed ", seed), func(f *crashfs.FS) *crashfs.FS { return f.Crash(crashfs.Seeded(seed)) }})
	}
	return list
}

// A campaign cuts one turn everywhere.
type campaign struct {
	turn
	disk          crashfs.Options
	wrap          func(*crashfs.FS) vfs.FS // damage planted between the code and the disk; may be nil
	lie           crashfs.Lie
	seeds         int // seeded cuts at each operation
	stride        int // of second cuts, every stride-th is done
	single, twice int
	bad           []string
	count         int
}

func (c *campaign) on(raw *crashfs.FS) vfs.FS {
	if c.wrap != nil {
		return c.wrap(raw)
	}
	return raw
}

func (c *campaign) fail(where, what string) {
	if what != "" {
		c.bad = append(c.bad, where+": "+what)
	}
}

func (c *campaign) run() error {
	raw, err := c.turn.disk(c.disk)
	if err != nil {
		return err
	}
	raw.Tell(c.lie)
	raw.OnOp(func(op crashfs.Op) {
		if !op.Changes() {
			return
		}
		for _, k := range cuts(c.seeds, uint64(op.N)*1000) {
			if len(c.bad) < 3 {
				c.single++
				c.again(k.of(raw), fmt.Sprintf("cut after %v (%s)", op, k.name))
			}
		}
	})
	if err := c.turn.run(c.on(raw)); err != nil {
		return fmt.Errorf("without a cut: %w", err)
	}
	raw.OnOp(nil)
	c.fail("without a cut", is(raw, c.new))
	for _, k := range cuts(c.seeds+5, 1) { // what was reported as done stays
		c.fail("cut after the end ("+k.name+")", is(k.of(raw), c.new))
	}
	return nil
}

// again goes on from what a cut left, with a second cut after each operation.
func (c *campaign) again(raw *crashfs.FS, where string) {
	if what := c.begun(raw); what != "" {
		c.fail(where, what)
		return
	}
	whole := raw.Clone()
	raw.OnOp(func(op crashfs.Op) {
		if !op.Changes() || len(c.bad) >= 3 {
			return
		}
		for _, k := range cuts(1, uint64(op.N)) {
			if c.count++; c.count%c.stride == 0 {
				c.twice++
				c.settle(k.of(raw), fmt.Sprintf("%s, and again after %v (%s)", where, op, k.name))
			}
		}
	})
	err := c.turn.run(c.on(raw))
	raw.OnOp(nil)
	if err != nil {
		c.fail(where, err.Error())
		return
	}
	c.fail(where, is(raw, c.new))
	if c.count%7 == 0 {
		c.settle(whole, where)
	}
}

// begun looks at a disk after a cut: as long as the journal does not say that the
// old version is gone it is there, and giving up leads back to it.
func (c *campaign) begun(raw *crashfs.FS) string {
	raw = raw.Clone()
	s, err := inplace.Look(raw, journal)
	if err != nil {
		return "the journal cannot be read: " + err.Error()
	}
	if s.Begun && (s.Patch != sha256.Sum256(c.patch) || s.New != digest(c.new)) {
		return "the journal is about something else"
	}
	if s.OldGone {
		if err := inplace.Abandon(raw, file, journal); err != inplace.ErrOther {
			return fmt.Sprint("it can be given up: ", err)
		}
		return ""
	}
	if err := inplace.Abandon(raw, file, journal); err != nil {
		return "it cannot be given up: " + err.Error()
	}
	if is(raw, c.new) == "" {
		return "" // done; of the journal at most a name was left
	}
	return is(raw, c.old)
}

func (c *campaign) settle(raw *crashfs.FS, where string) {
	if err := c.turn.run(c.on(raw)); err != nil {
		c.fail(where, err.Error())
		return
	}
	c.fail(where, is(raw, c.new))
}

func disks() map[string]crashfs.Options {
	return map[string]crashfs.Options{"journal": {}, "fat": crashfs.VFAT()}
}

func TestCrash(t *testing.T) {
	seeds, stride, slow := 1, 97, 5
	switch {
	case os.Getenv("GODWIT_CRASH") == "all":
		seeds, stride, slow = 5, 1, 1
	case testing.Short() || race.Enabled:
		seeds, stride = 0, 211
	}
	for name, o := range disks() {
		for _, w := range turns(t) {
			t.Run(name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				c := campaign{turn: w, disk: o, seeds: seeds, stride: stride}
				if strings.HasPrefix(w.name, "modelled") {
					c.stride *= slow
				}
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				for _, b := range c.bad {
					t.Error(b)
				}
				if c.single == 0 || c.twice == 0 {
					t.Error("nothing was cut")
				}
				t.Logf("%d single and %d double cuts", c.single, c.twice)
			})
		}
	}
}

// numb is a disk that does not sync one file.
type numb struct {
	*crashfs.FS
	name string
}

func (n numb) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := n.FS.Open(name, flag)
	if err == nil && name == n.name {
		return numbFile{f}, nil
	}
	return f, err
}

type numbFile struct{ vfs.File }

func (numbFile) Sync() error { return nil }

// oneSlot writes both slots of the journal to the same place.
type oneSlot struct{ *crashfs.FS }

func (o oneSlot) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := o.FS.Open(name, flag)
	if err == nil && name == journal {
		return oneSlotFile{f}, nil
	}
	return f, err
}

type oneSlotFile struct{ vfs.File }

func (f oneSlotFile) at(off int64) int64 {
	if n, _ := f.Size(); off > 0 && off == n/2 {
		return 0
	}
	return off
}

func (f oneSlotFile) WriteAt(p []byte, off int64) (int, error) { return f.File.WriteAt(p, f.at(off)) }
func (f oneSlotFile) ReadAt(p []byte, off int64) (int, error)  { return f.File.ReadAt(p, f.at(off)) }

// trusting syncs the journal only when it was written: what a run finds in it may
// be lost with the next cut.
type trusting struct{ *crashfs.FS }

func (o trusting) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := o.FS.Open(name, flag)
	if err == nil && name == journal {
		return &trustingFile{File: f}, nil
	}
	return f, err
}

type trustingFile struct {
	vfs.File
	written bool
}

func (f *trustingFile) WriteAt(p []byte, off int64) (int, error) {
	f.written = true
	return f.File.WriteAt(p, off)
}

func (f *trustingFile) Sync() error {
	if !f.written {
		return nil
	}
	return f.File.Sync()
}

// forgetful never puts the last bytes of a content back.
type forgetful struct{ *crashfs.FS }

func (o forgetful) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := o.FS.Open(name, flag)
	if err == nil && name == file {
		return forgetfulFile{f}, nil
	}
	return f, err
}

type forgetfulFile struct{ vfs.File }

func (f forgetfulFile) WriteAt(p []byte, off int64) (int, error) {
	if old := int64(30000); off+int64(len(p)) == old && int64(len(p)) == old%inplace.Grain {
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}

// A crash test that cannot fail proves nothing.
func TestCrashFindsDamage(t *testing.T) {
	type damage struct {
		name string
		wrap func(*crashfs.FS) vfs.FS
		lie  crashfs.Lie
		// twice: it takes a second cut to be found.
		twice bool
	}
	damages := []damage{
		{name: "the journal is not synced", wrap: func(f *crashfs.FS) vfs.FS { return numb{f, journal} }},
		{name: "the file is not synced", wrap: func(f *crashfs.FS) vfs.FS { return numb{f, file} }},
		{name: "the journal's name is not synced", lie: crashfs.LieSyncDir},
		{name: "the journal has one slot", wrap: func(f *crashfs.FS) vfs.FS { return oneSlot{f} }},
		{name: "a journal that is found is not synced", wrap: func(f *crashfs.FS) vfs.FS { return trusting{f} }, twice: true},
		{name: "torn ends are not mended", wrap: func(f *crashfs.FS) vfs.FS { return forgetful{f} }},
	}
	if testing.Short() || race.Enabled {
		damages = damages[:3] // which are found soon
	}
	for _, d := range damages {
		for name, o := range disks() {
			if name == "fat" && os.Getenv("GODWIT_CRASH") != "all" {
				continue // which takes as long, and finds the same
			}
			t.Run(d.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				found := false
				for _, w := range turns(t) {
					c := campaign{turn: w, disk: o, seeds: 40, stride: 997, wrap: d.wrap, lie: d.lie}
					if d.twice {
						c.seeds, c.stride = 0, 3
					}
					if err := c.run(); err != nil || len(c.bad) > 0 {
						found = true
						first, _, _ := strings.Cut(strings.Join(append(c.bad, fmt.Sprint(err)), "; "), "\n")
						t.Logf("%s: found after %d cuts: %.150q", w.name, c.single+c.twice, first)
						break
					}
				}
				if !found {
					t.Error("nothing was found")
				}
			})
		}
	}
}

// A disk that fails once, at any operation, stops a run with that error, and the
// next one succeeds.
func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	for name, o := range disks() {
		for _, w := range turns(t) {
			t.Run(name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				for at, failed := 0, true; failed; at++ {
					raw, err := w.disk(o)
					if err != nil {
						t.Fatal(err)
					}
					first := raw.Ops()
					raw.Inject(crashfs.Fault{At: first + at, Err: boom, Short: at%2 == 0})
					err = w.run(raw)
					failed = raw.Ops() > first+at
					if failed && !errors.Is(err, boom) || !failed && err != nil {
						t.Fatalf("operation %d failed, and the run says %v", at, err)
					}
					raw.Inject(crashfs.Fault{})
					if err := w.run(raw); err != nil {
						t.Fatalf("operation %d failed, and the next run too: %v", at, err)
					}
					if what := is(raw, w.new); what != "" {
						t.Fatalf("operation %d: %s", at, what)
					}
				}
			})
		}
	}
}
