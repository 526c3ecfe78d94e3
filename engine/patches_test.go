package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/dir"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

type contents map[string]string

// noise is n letters that do not repeat.
func noise(seed uint32, n int) string {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = 'a' + byte(seed>>24)%26
	}
	return string(b)
}

// Two versions of a tree: files that changed a little, one that moved, a new one
// and one that goes.
func patchedVersions() (before, after contents) {
	before = contents{"app/main": noise(1, 9000), "app/lib": noise(2, 20_000), "app/old": noise(3, 500), "same": noise(4, 300), "move/from": noise(5, 4000)}
	after = contents{"app/main": before["app/main"][:4000] + "CHANGED" + before["app/main"][4100:], "same": before["same"],
		"app/lib": before["app/lib"][:19_500] + noise(6, 90), "move/to": before["move/from"] + "more", "app/new": noise(7, 60)}
	return before, after
}

// A pub is a published folder on a disk, that counts what is asked for.
type pub struct {
	t   *testing.T
	dir string
	mirror.Mirror
	mu    sync.Mutex
	asked map[string]int // by the first part of the path
}

func newPub(t *testing.T) *pub {
	p := &pub{t: t, dir: t.TempDir(), asked: map[string]int{}}
	fsys, err := vfs.OS(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	p.Mirror = dir.New(fsys)
	return p
}

func (p *pub) Get(ctx context.Context, r mirror.Request) (*mirror.Answer, error) {
	p.mu.Lock()
	first, _, _ := strings.Cut(r.Path, "/")
	p.asked[first]++
	p.mu.Unlock()
	return p.Mirror.Get(ctx, r)
}

func (p *pub) put(name string, b []byte) {
	p.t.Helper()
	name = filepath.Join(p.dir, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

// publish makes files the release, with patches from before for each file, or
// for the tree where whole is given, the manifest of before. It returns the
// manifest.
func (p *pub) publish(version string, files, before contents, whole []byte) []byte {
	p.t.Helper()
	ctx := context.Background()
	keep := func(b []byte, err error) godwit.Patch {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
		p.put(web.PatchName(diff.Sum(b)), b)
		return godwit.Patch{Sum: diff.Sum(b), Size: int64(len(b)), Memory: int64(delta.Tiny.Memory())}
	}
	h := manifest.Head{Version: version}
	if whole != nil {
		b, _, err := diff.MakeTree(ctx, listed(before), listed(files), diff.Options{Tier: delta.Tiny})
		one := keep(b, err)
		one.From = diff.Sum(whole)
		one.Memory += int64(tree.ContentMemory * (len(before) + len(files)))
		h.Trees = append(h.Trees, one)
	}
	var body bytes.Buffer
	w := manifest.NewWriter(&body, h)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		b := []byte(files[path])
		f := manifest.File{Entry: godwit.Entry{Path: path, Mode: godwit.File, Size: int64(len(b)), Digest: diff.Sum(b)}}
		for _, from := range []string{path, strings.Replace(path, "/to", "/from", 1)} {
			if old := before[from]; whole == nil && old != "" && old != files[path] && len(f.Patches) == 0 {
				b, _, err := diff.Make(ctx, []byte(old), b, diff.Options{Tier: delta.Tiny})
				one := keep(b, err)
				one.From = diff.Sum([]byte(old))
				f.Patches = append(f.Patches, one)
			}
		}
		if err := w.Add(f); err != nil {
			p.t.Fatal(err)
		}
		p.put(web.FileName(f.Digest), b)
	}
	if err := w.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.put(web.ManifestName, body.Bytes())
	return body.Bytes()
}

func listed(files contents) (out []diff.File) {
	for p, s := range files {
		out = append(out, diff.File{Name: p, Digest: diff.Sum([]byte(s)), Content: func() ([]byte, error) { return []byte(s), nil }})
	}
	return out
}

// A patchDevice takes releases from a pub on a disk that may fail.
type patchDevice struct {
	t      *testing.T
	pub    *pub
	layout store.Layout
	disk   *crashfs.FS
	seen   []string // warnings
	last   int      // the operation before which the power is cut; 0 for none
}

func (d *patchDevice) open() (*engine.Engine, *web.Source, error) {
	s, err := store.Open(d.disk, store.Options{Layout: d.layout})
	if err != nil {
		return nil, nil, err
	}
	warn := func(e godwit.Event) {
		if e.Level == godwit.Warning {
			d.seen = append(d.seen, e.Text)
		}
	}
	src, err := web.New(web.Config{Mirrors: []mirror.Mirror{d.pub}, State: d.disk, Folder: ".godwit/git", Events: warn})
	if err != nil {
		return nil, nil, err
	}
	return engine.New(engine.Config{Store: s, Source: src, Gate: anybody(d.t), Patching: plan.Patching{Use: plan.Always, Memory: 1 << 20}, Events: warn}), src, nil
}

func (d *patchDevice) update() (engine.Result, error) { return d.updateWith(engine.UpdateOptions{}) }

func (d *patchDevice) updateWith(opt engine.UpdateOptions) (r engine.Result, err error) {
	e, src, err := d.open()
	if err != nil {
		return r, err
	}
	defer src.Close()
	// A process that is gone does not wait for its own lock either.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.disk.OnOp(func(op crashfs.Op) {
		if op.N+1 == d.last || op.Kind == crashfs.Unlock && op.Err != nil {
			cancel()
		}
	})
	return e.Update(ctx, opt)
}

func (d *patchDevice) recover() {
	d.t.Helper()
	e, src, err := d.open()
	if err == nil {
		_, err = e.Recover(context.Background())
		src.Close()
	}
	if err != nil {
		d.t.Fatal("recover:", err)
	}
}

// tree is what lies in the tree.
func (d *patchDevice) tree() contents {
	d.t.Helper()
	found := contents{}
	var walk func(dir, path string)
	walk = func(dir, path string) {
		var names []vfs.Info
		d.disk.ReadDir(dir, func(i vfs.Info) error { names = append(names, i); return nil })
		for _, i := range names {
			name := strings.TrimPrefix(dir+"/"+i.Name, "./")
			at := strings.TrimPrefix(path+"/"+i.Name, "/")
			switch {
			case i.Name == ".godwit" || i.Name == "version.json":
			case i.Type == vfs.Dir:
				walk(name, at)
			default:
				b, err := vfs.ReadFile(d.disk, name, 1<<20)
				if err != nil {
					d.t.Fatal(err)
				}
				found[at] = string(b)
			}
		}
	}
	root := "."
	if d.layout == store.Slots {
		link, err := d.disk.Readlink(store.Current)
		if err != nil {
			d.t.Fatal(err)
		}
		root = link
	}
	walk(root, "")
	return found
}

// TestPatchedUpdateIsCut cuts the power, or has the disk fail, at each operation
// of an update by patches, or at each fifth without GODWIT_CRASH=all: the device
// is the old version or the new one, and the next update gets there as well.
func TestPatchedUpdateIsCut(t *testing.T) {
	before, after := patchedVersions()
	for _, c := range []struct {
		name   string
		layout store.Layout
		disk   crashfs.Options
		whole  bool
	}{
		{"slots, by files", store.Slots, crashfs.Options{}, false},
		{"slots, by tree", store.Slots, crashfs.Options{}, true},
		{"in place, by files", store.InPlace, crashfs.VFAT(), false},
		{"in place, by tree", store.InPlace, crashfs.VFAT(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPub(t)
			first := p.publish("v1.0.0", before, nil, nil)
			start := &patchDevice{t: t, pub: p, layout: c.layout, disk: crashfs.New(c.disk)}
			if _, err := start.update(); err != nil {
				t.Fatal(err)
			}
			start.disk.Sync()
			if !c.whole {
				first = nil
			}
			p.publish("v1.1.0", after, before, first)
			p.asked = map[string]int{}
			begin := func() *patchDevice {
				return &patchDevice{t: t, pub: p, layout: c.layout, disk: start.disk.Clone()}
			}
			finish := func(d *patchDevice, what string) {
				t.Helper()
				d.recover()
				if got := d.tree(); !maps.Equal(got, before) && !maps.Equal(got, after) {
					t.Fatalf("%s: the tree is neither the old nor the new one: %v", what, slices.Sorted(maps.Keys(got)))
				}
				d.seen, d.last = nil, 0
				_, err := d.update()
				if godwit.CodeOf(err) == godwit.CodeRejected { // the disk failed while it was on trial
					_, err = d.updateWith(engine.UpdateOptions{Force: true})
				}
				if err != nil {
					t.Fatalf("%s: the next update: %v", what, err)
				}
				if got := d.tree(); !maps.Equal(got, after) {
					t.Fatalf("%s: after the next update it is not the new tree", what)
				}
			}
			step := 5
			if race.Enabled {
				step = 8
			}
			if os.Getenv("GODWIT_CRASH") == "all" {
				step = 1
			}
			cuts, files := 0, 0
			for k := 0; ; k += step {
				d := begin()
				d.last = d.disk.Ops() + k
				d.disk.StopAt(d.last)
				r, err := d.update()
				for seed := range uint64(2) {
					found := *d
					found.disk = d.disk.Crash(crashfs.Seeded(seed))
					finish(&found, fmt.Sprintf("cut at %d, seed %d", k, seed))
					cuts++
				}
				if err == nil {
					if want := map[bool]int{false: 3, true: 1}[c.whole]; r.Patched.Applied != want || r.Patched.Failed != 0 || r.Patched.Saved < 15_000 {
						t.Errorf("%+v, want %d patches", r.Patched, want)
					}
					break
				}
			}
			// The new file is all that has no patch. What little is missing after a cut
			// may be less than the patch for the tree.
			if files = p.asked["files"]; files > 2*cuts {
				t.Errorf("%d files were fetched whole in %d cuts", files, cuts)
			}
			faults := 0
			for k := 0; ; k += step {
				d := begin()
				at := d.disk.Ops() + k
				d.disk.Inject(crashfs.Fault{At: at, Err: syscall.EIO, Short: true})
				d.update()
				reached := d.disk.Ops() > at
				d.disk.Inject(crashfs.Fault{})
				d.disk.Sync()
				d.disk = d.disk.Crash(crashfs.Seeded(1)) // another process: the lock is gone with this one
				finish(d, fmt.Sprintf("a fault at %d", k))
				if faults++; !reached {
					break
				}
			}
			full := 0
			for room := int64(0); ; room += 3000 {
				d := begin()
				d.disk.Resize(d.disk.Used() + room)
				r, err := d.update()
				if r.Patched.Failed > 0 {
					t.Errorf("a disk with %d bytes to spare is taken for a bad patch: %q", room, r.Patched.Reason)
				}
				if err == nil {
					break
				}
				if code := godwit.CodeOf(err); code != godwit.CodeDiskFull {
					t.Errorf("with %d bytes to spare: %v (%s)", room, err, code)
				}
				full++
				d.disk.Resize(0)
				finish(d, fmt.Sprintf("with %d bytes to spare", room))
			}
			if full < 5 {
				t.Errorf("the disk was full %d times", full)
			}
			t.Logf("%d cuts, %d faults; %d files came whole", cuts, faults, files)
			if cuts < 60 || faults < 60 {
				t.Errorf("only %d cuts and %d faults", cuts, faults)
			}
		})
	}
}

// What became of patches is in the status, and stays there.
func TestStatusTellsOfPatches(t *testing.T) {
	before, after := patchedVersions()
	p := newPub(t)
	p.publish("v1.0.0", before, nil, nil)
	d := &patchDevice{t: t, pub: p, layout: store.InPlace, disk: crashfs.New(crashfs.Options{})}
	if r, err := d.update(); err != nil || r.Patched != (godwit.Patched{}) {
		t.Fatal(r, err)
	}
	p.publish("v1.1.0", after, before, nil)
	broken, _, err := diff.Make(context.Background(), []byte(before["app/lib"]), []byte(after["app/lib"]), diff.Options{Tier: delta.Tiny})
	if err != nil {
		t.Fatal(err)
	}
	name := web.PatchName(diff.Sum(broken))
	broken[len(broken)/2] ^= 1
	p.put(name, broken)
	status := func() engine.Status {
		t.Helper()
		e, src, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		s, err := e.Status()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.Patched != (godwit.Patched{}) || !s.BadPatch.At.IsZero() {
		t.Errorf("%+v", s)
	}
	r, err := d.update()
	if err != nil || r.Patched.Applied != 2 || r.Patched.Failed != 1 || !strings.Contains(r.Patched.Reason, "app/lib") {
		t.Fatal(r.Patched, err)
	}
	if len(d.seen) != 1 || !strings.Contains(d.seen[0], "app/lib") {
		t.Errorf("%q", d.seen)
	}
	if s := status(); s.Patched != r.Patched || s.BadPatch.Text != r.Patched.Reason || s.BadPatch.At.IsZero() {
		t.Errorf("%+v, %+v", s.Patched, s.BadPatch)
	}
	next := contents{"app/lib": after["app/lib"][:8000] + "!" + after["app/lib"][8000:]}
	p.publish("v1.2.0", next, after, nil)
	if r, err = d.update(); err != nil || r.Patched.Applied != 1 || r.Patched.Failed != 0 {
		t.Fatal(r.Patched, err)
	}
	if s := status(); s.Patched.Applied != 3 || s.Patched.Failed != 1 || s.BadPatch.Text == "" {
		t.Errorf("%+v, %+v", s.Patched, s.BadPatch)
	}
}
