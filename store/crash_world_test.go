package store_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A world is a layout on a kind of file system.
type world struct {
	name   string
	layout store.Layout
	disk   crashfs.Options
}

func worlds() []world {
	noLinks := crashfs.Options{Links: crashfs.NoLinks}
	fatCase := crashfs.VFAT()
	fatCase.FoldCase = false
	return []world{
		{"slots, journal, links", store.Slots, crashfs.Options{}},
		{"slots, journal, clones", store.Slots, crashfs.Options{Links: crashfs.Clones}},
		{"slots, journal, no links", store.Slots, noLinks},
		{"in-place, journal, links", store.InPlace, crashfs.Options{}},
		{"in-place, journal, clones", store.InPlace, crashfs.Options{Links: crashfs.Clones}},
		{"in-place, journal, no links", store.InPlace, noLinks},
		{"in-place, fat", store.InPlace, crashfs.VFAT()},
		{"in-place, fat with case", store.InPlace, fatCase},
	}
}

// A device is a file system with a tree that Godwit looks after.
type device struct {
	world
	fs vfs.FS // what the store sees
}

func (d *device) rules() plan.Rules { return plan.Rules{Symlinks: true} }

func (d *device) shared() []string {
	if d.layout == store.Slots {
		return []string{"data/", "etc/local.cfg"}
	}
	return nil
}

// open opens the store without its lock.
func (d *device) open() (*store.Store, error) {
	return store.Open(d.fs, store.Options{Layout: d.layout, Shared: d.shared(),
		Now: func() time.Time { return time.Unix(1e9, 0) }})
}

// run opens the store and calls fn with the lock held and the tree reconciled.
func (d *device) run(fn func(*store.Store) error) error {
	s, err := d.open()
	if err != nil {
		return err
	}
	unlock, err := s.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.Reconcile(); err != nil {
		return err
	}
	if fn == nil {
		return nil
	}
	return fn(s)
}

func (d *device) recover() error { return d.run(nil) }

// update installs a version; before that it confirms what runs, as the engine
// does with a version that has proved itself.
func (d *device) update(id string, t tree) error {
	return d.run(func(s *store.Store) error {
		if err := s.Confirm(); err != nil {
			return err
		}
		if s.Record().Running.ID == id {
			return nil
		}
		return install(s, id, d.fit(t), d.rules())
	})
}

func (d *device) confirm() error {
	return d.run(func(s *store.Store) error {
		if err := s.Confirm(); err != nil {
			return err
		}
		return s.Prune()
	})
}

// rollback returns to the previous version, if to does not already run.
func (d *device) rollback(to string, why store.Rejection) error {
	return d.run(func(s *store.Store) error {
		if s.Record().Running.ID == to {
			return nil
		}
		return s.Rollback(why)
	})
}

// repair fetches what Verify misses and puts it in place.
func (d *device) repair(t tree) error {
	return d.run(func(s *store.Store) error {
		objects, err := s.Objects()
		if err != nil {
			return err
		}
		var bad []godwit.Entry
		if _, err := s.Verify(func(p store.Problem) error { bad = append(bad, p.Entry); return nil }); err != nil {
			return err
		}
		for _, e := range bad {
			if e.Path == store.Current || objects.Has(e.Digest) {
				continue
			}
			_, body := entry(e.Path, d.fit(t)[e.Path])
			o, err := objects.Create(int64(len(body)))
			if err != nil {
				return err
			}
			if _, err := o.Write(body); err != nil {
				o.Abort()
				return err
			}
			if err := o.Commit(e.Digest); err != nil {
				return err
			}
		}
		return s.Repair()
	})
}

// fit is the part of a tree that the device's disk can hold.
func (d *device) fit(t tree) tree {
	t = maps.Clone(t)
	lower := map[string]string{}
	for _, p := range slices.Sorted(maps.Keys(t)) {
		if d.disk.NoSymlinks && strings.HasPrefix(t[p], "l:") {
			delete(t, p)
		}
		if d.disk.FoldCase {
			if _, ok := lower[strings.ToLower(p)]; ok {
				delete(t, p)
			}
			lower[strings.ToLower(p)] = p
		}
	}
	return t
}

// The versions. Between them: empty files, the same content at several paths,
// exec bits that come and go, files that become folders and the other way
// round, deep paths, moves, links, a name that changes its case only, content
// of several sectors, additions, deletions.
var (
	sectors = strings.Repeat("0123456789abcdef", 90)
	v1      = tree{"main.py": "one", "lib/__init__.py": "", "lib/a.py": "same", "lib/b.py": "same", "bin/run": "x:#!run", "bin/stay": "x:#!stay",
		"deep/er/and/deeper/x": "x", "swap": "file", "turn/around": "dir", "moved": "content that moves", "Readme": "read me", "etc/app.cfg": "v=1", "sectors": sectors, "unchanged": "unchanged"}
	v2 = tree{"main.py": "two", "lib/__init__.py": "", "lib/a.py": "same", "lib/c.py": "same", "bin/run": "#!run", "bin/stay": "x:#!stay", "tool": "x:#!new",
		"swap/in": "dir", "turn": "file", "new/moved": "content that moves", "README": "read me", "link": "l:lib/a.py", "etc/app.cfg": "v=2", "sectors": sectors + "!", "unchanged": "unchanged", "empty": ""}
	v3 = tree{"main.py": "three", "lib/__init__.py": "", "lib/a.py": "same", "sectors": sectors, "unchanged": "unchanged"}
	// foreign lies in the tree and is not Godwit's.
	foreign = tree{"data.db": "rows", "logs/today": "x:log", "lib/local.cfg": "mine", "spool/": ""}
	// before lies in the tree before the first version, at paths that it takes.
	before = tree{"main.py": "by hand", "lib/b.py": "same"}
)

const (
	id1 = "1111111111111111111111111111111111111111"
	id2 = "2222222222222222222222222222222222222222"
	id3 = "3333333333333333333333333333333333333333"
)

// found turns a tree into the form in which it is read back.
func (d *device) found(trees ...tree) crashfs.Tree {
	out := crashfs.Tree{}
	for _, t := range trees {
		for p, v := range d.fit(t) {
			for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
				out[dir] = "d"
			}
			switch {
			case strings.HasSuffix(p, "/"):
				out[strings.TrimSuffix(p, "/")] = "d"
			case strings.HasPrefix(v, "l:"):
				out[p] = "l" + v[2:]
			case strings.HasPrefix(v, "x:"):
				out[p] = "x" + v[2:]
			case d.disk.NoExec:
				out[p] = "x" + v
			default:
				out[p] = "f" + v
			}
		}
	}
	if d.disk.NoExec {
		for p, v := range out {
			if v[0] == 'f' {
				out[p] = "x" + v[1:]
			}
		}
	}
	return out
}

// A state is what a device may be found in.
type state struct {
	id   string // of the running version, "" for none
	tree tree   // its files
	more tree   // in place: files that are not Godwit's, beside foreign
}

// check says how the device differs from a state, "" when it does not. deep
// also looks at what is kept beside the tree.
func (d *device) check(raw *crashfs.FS, want state, deep bool) string {
	probe := &device{world: d.world, fs: raw.Clone()}
	s, err := probe.open()
	if err != nil {
		return "cannot be opened: " + err.Error()
	}
	r := s.Record()
	if r.Running.ID != want.id {
		return fmt.Sprintf("the record says %.8q, want %.8q", r.Running.ID, want.id)
	}
	if !r.Settled && want.id != "" {
		return "not settled"
	}
	if s.Damaged() && want.id != "" {
		return "the record is lost"
	}
	skip := func(name string) bool {
		// What a cut on FAT left of a folder answers EIO, until the disk is
		// checked, and cannot be removed: it stays beside the state folder.
		return name == ".godwit" || d.disk.Model == crashfs.FAT && strings.HasPrefix(name, ".godwit.new") || d.layout == store.Slots && (name == "versions" || name == "shared")
	}
	got, err := crashfs.Dump(probe.fs, ".", skip)
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	wanted := d.found(foreign, want.more)
	if d.layout == store.InPlace {
		wanted = d.found(foreign, want.more, want.tree)
	}
	if want.id != "" && want.id != store.BeforeGodwit {
		v := `{"ref": "refs/heads/main", "commit": "` + want.id + "\"}\n"
		wanted[store.VersionFile] = d.found(tree{"v": v})["v"]
	}
	if d.layout == store.Slots && want.id != "" {
		wanted[store.Current] = "l" + s.Tree(r.Running)
	}
	if diff := crashfs.Diff(got, wanted); diff != "" {
		return "the tree is wrong:\n" + diff
	}
	if want.id == "" {
		return ""
	}
	if d.layout == store.Slots {
		if diff := d.checkSlot(probe.fs, s.Tree(r.Running), want.tree); diff != "" {
			return "the running version is wrong:\n" + diff
		}
	}
	var bad []string
	if _, err := s.Verify(func(p store.Problem) error { bad = append(bad, p.Entry.Path+" "+p.What); return nil }); err != nil || bad != nil {
		return fmt.Sprintf("verify: %v %v", bad, err)
	}
	if what := remembers(s); what != "" {
		return what
	}
	if deep {
		return d.checkKept(probe.fs, s)
	}
	return ""
}

func (d *device) checkSlot(fsys vfs.FS, dir string, t tree) string {
	got, err := crashfs.Dump(fsys, dir, nil)
	if err != nil {
		return err.Error()
	}
	want := d.found(t)
	for _, p := range d.shared() {
		p = strings.TrimSuffix(p, "/")
		up := strings.Repeat("../", strings.Count(dir+"/"+p, "/"))
		for k, v := range d.found(tree{p: "l:" + up + "shared/" + p}) {
			want[k] = v
		}
	}
	return crashfs.Diff(got, want)
}

// checkKept says what lies beside the tree that no version in the record needs.
func (d *device) checkKept(fsys vfs.FS, s *store.Store) string {
	var b strings.Builder
	r := s.Record()
	if d.layout == store.Slots {
		want := crashfs.Tree{}
		for _, v := range append([]store.Version{r.Running, r.Previous}, r.Older...) {
			if !v.IsZero() {
				want[v.Dir] = "d"
			}
		}
		got, err := crashfs.Dump(fsys, "versions", func(n string) bool { return strings.Contains(n, "/") })
		if err != nil {
			return err.Error()
		}
		b.WriteString(crashfs.Diff(got, want))
	}
	for _, dir := range []string{"stage", "put"} {
		got, err := crashfs.Dump(fsys, ".godwit/"+dir, nil)
		if err != nil {
			return err.Error()
		}
		maps.DeleteFunc(got, func(_, what string) bool { return d.disk.Model == crashfs.FAT && what == "?" }) // as above
		if diff := crashfs.Diff(got, crashfs.Tree{}); diff != "" {
			b.WriteString(dir + " is not empty:\n" + diff)
		}
	}
	if b.Len() > 0 {
		return "leftovers:\n" + b.String()
	}
	return ""
}

// put writes files as somebody who is not Godwit would, into the running tree.
func (d *device) put(raw vfs.FS, t tree) error {
	dir := "."
	if d.layout == store.Slots {
		target, err := raw.Readlink(store.Current)
		if err != nil {
			return err
		}
		dir = target
	}
	return d.putAt(raw, dir, t)
}

func (d *device) putAt(raw vfs.FS, dir string, t tree) error {
	for _, p := range slices.Sorted(maps.Keys(t)) {
		at := path.Join(dir, p)
		if strings.HasSuffix(p, "/") {
			if err := vfs.MkdirAll(raw, at); err != nil {
				return err
			}
			continue
		}
		if err := vfs.RemoveAll(raw, at); err != nil {
			return err
		}
		if t[p] == "gone" {
			continue
		}
		if err := crashfs.Load(raw, dir, crashfs.Tree{p: d.found(tree{p: t[p]})[p]}); err != nil {
			return err
		}
	}
	return nil
}
