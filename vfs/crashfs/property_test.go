package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/godwit-ota/godwit/vfs"
)

// class reduces an error to what package vfs promises about it.
func class(err error) string {
	switch {
	case err == nil:
		return "nil"
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrExist):
		return "exists"
	case errors.Is(err, vfs.ErrUnsupported):
		return "unsupported"
	case errors.Is(err, io.EOF):
		return "EOF"
	}
	return "other"
}

// A player carries out random operations, the same for the same seed.
type player struct {
	r     *rand.Rand
	names []string
	files []vfs.File
	clone bool // Share clones, so exec bits may differ
}

func newPlayer(seed uint64) *player {
	p := &player{r: rand.New(rand.NewPCG(seed, 1))}
	for _, a := range []string{"a", "b", "d"} {
		p.names = append(p.names, a, a+"/b", a+"/d", a+"/d/e")
	}
	p.names = append(p.names, ".", "d/l/e")
	return p
}

// step does one operation and says in words what could be seen of it.
func (p *player) step(f vfs.FS) (did, saw string) {
	name := func() string { return p.names[p.r.IntN(len(p.names))] }
	n, m := name(), name()
	bytes := make([]byte, 1+p.r.IntN(1500))
	for i := range bytes {
		bytes[i] = byte('a' + p.r.IntN(3))
	}
	k := p.r.IntN(16)
	exec := p.r.IntN(2) == 0
	flag := []vfs.Flag{vfs.Read, vfs.Write, vfs.Write | vfs.Excl, vfs.Write | vfs.Exec}[p.r.IntN(4)]
	off, which := int64(p.r.IntN(2000)), p.r.IntN(4)
	info := func(name string) (vfs.Info, error) {
		i, err := f.Lstat(name)
		if i.Type != vfs.Regular {
			i.Size = 0
		}
		return i, err
	}
	switch k {
	case 0, 1, 2:
		if i, err := f.Lstat(n); err == nil && i.Type != vfs.Regular {
			return "", "" // what opening a directory does is open
		}
		h, err := f.Open(n, flag)
		if err == nil {
			if len(p.files) == 4 {
				p.files[which].Close()
				p.files[which] = h
			} else {
				p.files = append(p.files, h)
			}
		}
		return fmt.Sprintf("open %s %d", n, flag), class(err)
	case 3, 4, 5, 6, 7:
		if which >= len(p.files) {
			return "", ""
		}
		h := p.files[which]
		switch k {
		case 3:
			w, err := h.Write(bytes)
			return fmt.Sprintf("write %d", len(bytes)), fmt.Sprint(w, class(err))
		case 4:
			w, err := h.WriteAt(bytes, off)
			return fmt.Sprintf("write %d at %d", len(bytes), off), fmt.Sprint(w, class(err))
		case 5:
			r, err := h.ReadAt(bytes, off)
			return fmt.Sprintf("read %d at %d", len(bytes), off), fmt.Sprint(string(bytes[:r]), class(err))
		case 6:
			err := h.Truncate(off)
			size, serr := h.Size()
			return fmt.Sprint("truncate ", off), fmt.Sprint(class(err), size, class(serr))
		}
		r, err := h.Read(bytes)
		return fmt.Sprintf("read %d", len(bytes)), fmt.Sprint(string(bytes[:r]), class(err), class(h.Sync()))
	case 8:
		return "mkdir " + n, class(f.Mkdir(n))
	case 9:
		return "remove " + n, class(f.Remove(n))
	case 10, 11:
		// Renaming onto a directory is open.
		if i, err := f.Lstat(m); err == nil && i.Type == vfs.Dir {
			return "", ""
		}
		return "rename " + n + " " + m, class(f.Rename(n, m))
	case 12:
		if i, err := f.Lstat(n); err == nil && i.Exec != exec && !p.clone {
			exec = i.Exec
		}
		return fmt.Sprint("share ", n, " ", m, exec), class(f.Share(n, m, exec))
	case 13:
		if i, err := f.Lstat(n); err == nil && i.Type != vfs.Regular {
			return "", ""
		}
		return fmt.Sprint("setexec ", n, exec), class(f.SetExec(n, exec))
	case 14:
		target := []string{"a", "d", "../b", "/etc", "d/e", "../../x"}[p.r.IntN(6)]
		err := f.Symlink(target, n)
		got, lerr := f.Readlink(n)
		return "symlink " + target + " " + n, fmt.Sprint(class(err), got, class(lerr))
	}
	i, err := info(n)
	var serr error
	if i.Type == vfs.Dir {
		serr = f.SyncDir(n)
	}
	if i.Name == "." || n == "." {
		i.Name = ""
	}
	return "lstat " + n, fmt.Sprint(i, class(err), class(serr))
}

func (p *player) close() {
	for _, h := range p.files {
		h.Close()
	}
}

// What callers see of this file system is what they see of the operating
// system's.
func TestSameAsOS(t *testing.T) {
	runs, steps := 100, 0
	if testing.Short() {
		runs = 30
	}
	for seed := range uint64(runs) {
		real, err := vfs.OS(t.TempDir())
		must(t, err)
		// Links differ: where the real file system clones, so must ours.
		must(t, Load(real, ".", Tree{"probe": "f"}))
		model := New(Options{})
		clone := real.Share("probe", "probe2", true) == nil
		if clone {
			model = New(Options{Links: Clones})
			must(t, real.Remove("probe2"))
		}
		must(t, real.Remove("probe"))
		p, q := newPlayer(seed), newPlayer(seed)
		p.clone, q.clone = clone, clone
		var log string
		for range 250 {
			did, saw := p.step(model)
			same, real := q.step(real)
			log += did + ": " + saw + "\n"
			if did != same || saw != real {
				t.Fatalf("seed %d:\n%s%s: the real one says %q", seed, log, same, real)
			}
			steps++
		}
		a, err := Dump(model, ".", nil)
		must(t, err)
		b, err := Dump(real, ".", nil)
		must(t, err)
		if d := Diff(a, b); d != "" {
			t.Fatalf("seed %d:\n%s\n%s", seed, log, d)
		}
		p.close()
		q.close()
		must(t, real.Close())
	}
	t.Logf("%d operations looked the same", steps)
}

var models = map[string]Options{
	"journal": {}, "clones": {Links: Clones}, "fat": VFAT(),
	"fat, cross links": {Model: FAT, Links: NoLinks, FoldCase: true, CrossLinks: true},
}

// After Sync nothing can be lost, and a cut changes nothing for those who did
// not suffer it.
func TestSyncedIsNeverLost(t *testing.T) {
	for name, opt := range models {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				f, twin := New(opt), New(opt)
				p, q := newPlayer(seed), newPlayer(seed)
				for i := range 120 {
					did, saw := p.step(f)
					f.Crash(Seeded(uint64(i)))
					if i%10 == 0 {
						f.Clone()
					}
					did2, saw2 := q.step(twin)
					if did != did2 || saw != saw2 {
						t.Fatalf("seed %d: %s %q became %s %q after cuts", seed, did2, saw2, did, saw)
					}
					if i%40 != 39 {
						continue
					}
					must(t, f.Sync())
					must(t, twin.Sync())
					want, err := Dump(f, ".", nil)
					must(t, err)
					free, _ := f.Clone().Free()
					for s := range uint64(4) {
						c := f.Crash([]Chooser{Lose, Keep, Seeded(s), Seeded(s + 7)}[s])
						got, err := Dump(c, ".", nil)
						must(t, err)
						if d := Diff(got, want); d != "" {
							t.Fatalf("seed %d, step %d: lost after Sync:\n%s", seed, i, d)
						}
						if now, _ := c.Free(); now != free {
							t.Fatalf("seed %d: %d bytes free after a cut, %d before", seed, now, free)
						}
					}
				}
			}
		})
	}
}

// When everything is kept, a cut finds what was seen last; the same seed finds
// the same thing twice; and what is found is a file system that can be used.
func TestCrashIsRepeatable(t *testing.T) {
	for name, opt := range models {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(100) {
				f := New(opt)
				p := newPlayer(seed)
				for range 60 {
					p.step(f)
				}
				want, err := Dump(f, ".", nil)
				must(t, err)
				got, err := Dump(f.Crash(Keep), ".", nil)
				must(t, err)
				if d := Diff(got, want); d != "" {
					t.Fatalf("seed %d: not all was kept:\n%s", seed, d)
				}
				a, b := f.Crash(Seeded(seed)), f.Clone().Crash(Seeded(seed))
				got, err = Dump(a, ".", nil)
				must(t, err)
				want, err = Dump(b, ".", nil)
				must(t, err)
				if d := Diff(got, want); d != "" {
					t.Fatalf("seed %d: two cuts differ:\n%s", seed, d)
				}
				q := newPlayer(seed + 1)
				for range 60 {
					q.step(a)
				}
				var names []string
				must(t, a.ReadDir(".", func(i vfs.Info) error { names = append(names, i.Name); return nil }))
				broken := false
				for _, n := range names {
					err := vfs.RemoveAll(a, n)
					if broken = broken || err != nil; err != nil && (opt.Model != FAT || !errors.Is(err, syscall.EIO)) {
						t.Fatal(err)
					}
				}
				q.close()
				if broken {
					continue
				}
				for _, n := range a.nodes[2:] {
					if n != nil && n.nlink != 0 {
						t.Fatalf("seed %d: an empty disk has a %v with %d names", seed, n.kind, n.nlink)
					}
				}
				if a.used != 0 {
					t.Fatalf("seed %d: an empty disk uses %d bytes", seed, a.used)
				}
			}
		})
	}
}

func BenchmarkScenario(b *testing.B) {
	base := New(Options{})
	for i := range 40 {
		must(b, base.Mkdir(fmt.Sprint("d", i)))
		write(b, base, fmt.Sprint("d", i, "/f"), "content", false)
	}
	must(b, base.Sync())
	seed := uint64(0)
	for b.Loop() {
		f := base.Clone()
		for i := range 20 {
			d := fmt.Sprint("d", i)
			write(b, f, d+"/new", "new content", true)
			must(b, f.Rename(d+"/new", d+"/f"))
			must(b, f.SyncDir(d))
		}
		f.Crash(Seeded(seed))
		seed++
	}
}
