package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/godwit-ota/godwit/vfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, f vfs.FS, name, content string, sync bool) {
	t.Helper()
	h, err := f.Open(name, vfs.Write)
	must(t, err)
	must(t, h.Truncate(0))
	_, err = h.Write([]byte(content))
	must(t, err)
	if sync {
		must(t, h.Sync())
	}
	must(t, h.Close())
}

func content(f vfs.FS, name string) string {
	b, err := vfs.ReadFile(f, name, 1<<20)
	if err != nil {
		return "(none)"
	}
	return string(b)
}

// states runs prepare and a sync, then act, and returns what a cut after each
// of act's operations, and after the last, can leave of the file.
func states(t *testing.T, o Options, name string, prepare, act func(*FS)) (during, after map[string]bool) {
	t.Helper()
	f := New(o)
	prepare(f)
	must(t, f.Sync())
	during, after = map[string]bool{}, map[string]bool{}
	collect := func(into map[string]bool) {
		n := 0
		for c := range f.Crashes(100000) {
			into[content(c, name)] = true
			n++
		}
		if n == 100000 {
			t.Fatal("too many states")
		}
	}
	f.OnOp(func(Op) { collect(during) })
	act(f)
	f.OnOp(nil)
	collect(after)
	return during, after
}

func keys(m map[string]bool) string {
	var s []string
	for k := range m {
		s = append(s, k)
	}
	return strings.Join(s, "|")
}

func TestClassicalMistakes(t *testing.T) {
	old := func(f *FS) { write(t, f, "a", "old", true) }
	replace := func(fsync, fsyncNew, syncdir bool) func(*FS) {
		return func(f *FS) {
			write(t, f, "tmp", "NEWNEW", fsync)
			must(t, f.Rename("tmp", "a"))
			if fsyncNew {
				h, err := f.Open("a", vfs.Read)
				must(t, err)
				must(t, h.Sync())
			}
			if syncdir {
				must(t, f.SyncDir("."))
			}
		}
	}
	create := func(fsync, syncdir bool) func(*FS) {
		return func(f *FS) {
			write(t, f, "a", "NEWNEW", fsync)
			if syncdir {
				must(t, f.SyncDir("."))
			}
		}
	}
	move := func(f *FS) {
		must(t, f.Rename("from/a", "a"))
		must(t, f.Sync())
	}
	none := func(*FS) {}
	from := func(f *FS) { must(t, f.Mkdir("from")); write(t, f, "from/a", "old", true) }
	tests := []struct {
		name          string
		opt           Options
		prepare, act  func(*FS)
		during, after string // every state, sorted by the eye
	}{
		{"journal, replace rightly", Options{}, old, replace(true, false, true), "old NEWNEW", "NEWNEW"},
		{"journal, no fsync before the rename", Options{}, old, replace(false, false, true), "old NEWNEW NEW000 empty", "NEWNEW NEW000 empty"},
		{"journal, no sync of the directory", Options{}, old, replace(true, false, false), "old NEWNEW", "old NEWNEW"},
		{"journal, create rightly", Options{}, none, create(true, true), "none empty NEW000 NEWNEW", "NEWNEW"},
		{"journal, create without fsync", Options{}, none, create(false, true), "none empty NEW000 NEWNEW", "empty NEW000 NEWNEW"},
		{"journal, create without sync of the directory", Options{}, none, create(true, false), "none empty NEW000 NEWNEW", "none NEWNEW"},
		{"journal, move", Options{}, from, move, "none old", "old"},
		{"fat, replace with all syncs", VFAT(), old, replace(true, true, true), "old garbage NEWNEW", "NEWNEW"},
		{"fat, no fsync under the new name", VFAT(), old, replace(true, false, true), "old garbage NEWNEW", "old garbage NEWNEW"},
		{"fat, no sync of the directory", VFAT(), old, replace(true, true, false), "old garbage NEWNEW", "NEWNEW"},
		{"fat, create rightly", VFAT(), none, create(true, true), "none empty NEW000 NEWNEW", "NEWNEW"},
		{"fat, create without fsync", VFAT(), none, create(false, true), "none empty NEW000 NEWNEW", "empty NEW000 NEWNEW"},
		{"fat, move", VFAT(), from, move, "none empty old", "old"},
	}
	words := map[string]string{"empty": "", "none": "(none)", "NEW000": "NEW\x00\x00\x00", "garbage": "\xE5\xE5\xE5"}
	same := func(t *testing.T, when, want string, got map[string]bool) {
		t.Helper()
		n := 0
		for _, w := range strings.Fields(want) {
			if s, ok := words[w]; ok {
				w = s
			}
			if !got[w] {
				t.Errorf("%s: no cut leaves %q; they leave %q", when, w, keys(got))
			}
			n++
		}
		if len(got) != n {
			t.Errorf("%s: cuts leave %q, want only %s", when, keys(got), want)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			during, after := states(t, tt.opt, "a", tt.prepare, tt.act)
			same(t, "during", tt.during, during)
			same(t, "after", tt.after, after)
		})
	}
}

// A rename between directories on FAT can leave both names or none, and also a
// name without content.
func TestFATRenameLosesBoth(t *testing.T) {
	f := New(VFAT())
	must(t, f.Mkdir("d"))
	write(t, f, "a", "old", false)
	must(t, f.Sync())
	must(t, f.Rename("a", "d/b"))
	found := map[string]bool{}
	for c := range f.Crashes(1000) {
		found[content(c, "a")+" "+content(c, "d/b")] = true
	}
	for _, want := range []string{"(none) (none)", "old old", "old (none)", "(none) old", "(none) "} {
		if !found[want] {
			t.Errorf("never found %q: %q", want, keys(found))
		}
	}
	must(t, f.SyncDir("."))
	must(t, f.SyncDir("d"))
	if c := f.Crash(Lose); content(c, "d/b") != "" {
		t.Errorf("a FAT entry is durable without a sync of the file: %q", content(c, "d/b"))
	}
	h, err := f.Open("d/b", vfs.Read)
	must(t, err)
	must(t, h.Sync())
	if c := f.Crash(Lose); content(c, "d/b") != "old" || content(c, "a") != "(none)" {
		t.Error("synced rename was lost")
	}
}

// A new folder on FAT can be a name that only answers EIO.
func TestFATBrokenFolder(t *testing.T) {
	f := New(VFAT())
	must(t, f.Mkdir("d"))
	broken := func() bool {
		for c := range f.Crashes(100) {
			if _, err := c.Lstat("d"); errors.Is(err, syscall.EIO) {
				_, inside := c.Open("d/x", vfs.Write)
				if err := c.Remove("d"); !errors.Is(err, syscall.EIO) || !errors.Is(inside, syscall.EIO) {
					t.Error(err, inside)
				}
				return true
			}
		}
		return false
	}
	if !broken() {
		t.Error("a new folder is always whole")
	}
	must(t, f.SyncDir("."))
	if broken() {
		t.Error("a synced folder can be lost")
	}
	must(t, f.Rename("d", "e"))
	must(t, f.Rename("e", "d"))
	if broken() {
		t.Error("a renamed folder can be lost")
	}
}

func TestFATCrossLinks(t *testing.T) {
	o := VFAT()
	o.CrossLinks = true
	f := New(o)
	write(t, f, "a", "old", false)
	must(t, f.Sync())
	must(t, f.Rename("a", "b"))
	ruined := false
	for c := range f.Crashes(1000) {
		if content(c, "a") == "old" && content(c, "b") == "old" {
			must(t, c.Remove("a"))
			ruined = content(c, "b") == "\xE5\xE5\xE5"
		}
	}
	if !ruined {
		t.Error("removing one of two names of the same space left the other whole")
	}
}

// A record in one place, written over, can be found torn; in two places, one is
// always whole.
func TestTornSector(t *testing.T) {
	for _, model := range []Model{Journal, FAT} {
		f := New(Options{Model: model})
		write(t, f, "r0", strings.Repeat("1", 600), false)
		write(t, f, "r1", strings.Repeat("2", 600), false)
		must(t, f.Sync())
		next := strings.Repeat("3", 600)
		torn, mixed, inside := 0, 0, 0
		f.OnOp(func(Op) {
			for seed := range uint64(300) {
				c := f.Crash(Seeded(seed))
				s := content(c, "r0")
				if s != strings.Repeat("1", 600) && s != next {
					torn++
				}
				if len(s) == 600 && s[:512] != s[:1]+s[1:2]+strings.Repeat(s[1:2], 510) {
					inside++
				}
				if len(s) == 600 && s[0] != s[599] {
					mixed++
				}
				if content(c, "r1") != strings.Repeat("2", 600) {
					t.Fatal("the other copy was touched")
				}
			}
		})
		h, err := f.Open("r0", vfs.Write)
		must(t, err)
		_, err = h.WriteAt([]byte(next), 0)
		must(t, err)
		if torn == 0 || mixed == 0 || inside == 0 {
			t.Errorf("model %d: torn %d, sectors mixed %d, torn inside a sector %d", model, torn, mixed, inside)
		}
		f.OnOp(nil)
		must(t, h.Sync())
		if got := content(f.Crash(Lose), "r0"); got != next {
			t.Error("synced content was lost")
		}
	}
}

// The journal keeps a prefix, except where a directory was synced; then what it
// depends on came along.
func TestJournalOrder(t *testing.T) {
	f := New(Options{})
	for _, d := range []string{"x", "y", "z"} {
		must(t, f.Mkdir(d))
	}
	must(t, f.Sync())
	write(t, f, "x/1", "1", true)
	write(t, f, "y/2", "2", true)
	must(t, f.Rename("y/2", "z/2"))
	seen := map[string]bool{}
	for c := range f.Crashes(1000) {
		seen[content(c, "x/1")+content(c, "y/2")+content(c, "z/2")] = true
	}
	want := map[string]bool{"(none)(none)(none)": true, "1(none)(none)": true, "12(none)": true, "1(none)2": true}
	if keys(seen) != keys(want) && len(seen) != len(want) {
		t.Errorf("found %q", keys(seen))
	}
	for k := range seen {
		if !want[k] {
			t.Errorf("found %q, which no journal leaves", k)
		}
	}
	must(t, f.SyncDir("z"))
	c := f.Crash(Lose)
	if content(c, "z/2") != "2" || content(c, "y/2") != "(none)" || content(c, "x/1") != "(none)" {
		t.Errorf("after SyncDir(z): %q %q %q", content(c, "z/2"), content(c, "y/2"), content(c, "x/1"))
	}
	must(t, f.SetExec("z/2", true))
	if i, _ := f.Crash(Lose).Lstat("z/2"); i.Exec {
		t.Error("exec bit is durable without a sync")
	}
	if i, _ := f.Crash(Keep).Lstat("z/2"); !i.Exec {
		t.Error("exec bit lost though all was kept")
	}
	h, err := f.Open("z/2", vfs.Read)
	must(t, err)
	must(t, h.Sync())
	if i, _ := f.Crash(Lose).Lstat("z/2"); !i.Exec {
		t.Error("exec bit lost after a sync of the file")
	}
}

func TestLies(t *testing.T) {
	for lie, sync := range map[Lie]func(f *FS, h vfs.File) error{
		LieSync:     func(f *FS, _ vfs.File) error { return f.Sync() },
		LieSyncDir:  func(f *FS, _ vfs.File) error { return f.SyncDir(".") },
		LieFileSync: func(_ *FS, h vfs.File) error { return h.Sync() },
	} {
		f := New(Options{})
		f.Tell(lie)
		h, err := f.Open("a", vfs.Write)
		must(t, err)
		_, err = h.Write([]byte("x"))
		must(t, err)
		must(t, sync(f, h))
		if lie != LieFileSync && content(f.Crash(Lose), "a") != "(none)" {
			t.Errorf("lie %d was the truth", lie)
		}
		must(t, f.SyncDir("."))
		if lie == LieFileSync && content(f.Crash(Lose), "a") != "" {
			t.Errorf("lie %d was the truth", lie)
		}
	}
}

func TestStopAndFaults(t *testing.T) {
	act := func(f *FS) error {
		h, err := f.Open("a", vfs.Write|vfs.Excl)
		if err != nil {
			return err
		}
		defer h.Close()
		if _, err := h.Write([]byte("1234")); err != nil {
			return err
		}
		if err := h.Sync(); err != nil {
			return err
		}
		return f.SyncDir(".")
	}
	f := New(Options{})
	f.Record()
	must(t, act(f))
	ops := f.Trace()
	if len(ops) != 4 || ops[0].Kind != Create || ops[1].String() != "1 write a" {
		t.Fatalf("trace: %v", ops)
	}
	for n := range ops {
		f := New(Options{})
		f.StopAt(n)
		if err := act(f); !errors.Is(err, ErrStopped) {
			t.Errorf("stop at %d: %v", n, err)
		}
		if _, err := f.Lstat("a"); err != ErrStopped {
			t.Error("alive after the stop")
		}
		if got, want := content(f.Crash(Keep), "a"), []string{"(none)", "", "1234", "1234"}[n]; got != want {
			t.Errorf("stop at %d left %q, want %q", n, got, want)
		}
		f = New(Options{})
		f.Inject(Fault{At: n, Err: syscall.EIO, Short: true})
		if err := act(f); !errors.Is(err, syscall.EIO) {
			t.Errorf("fault at %d: %v", n, err)
		}
		if n == 1 && content(f, "a") != "12" {
			t.Errorf("a short write left %q", content(f, "a"))
		}
		f.Inject(Fault{})
		f.Remove("a")
		must(t, act(f))
	}
	f = New(Options{})
	f.Inject(Fault{At: 1, Err: vfs.ErrReadOnly, Sticky: true})
	must(t, f.Mkdir("x"))
	for range 3 {
		if err := f.Mkdir("d"); !vfs.ReadOnly(err) {
			t.Error(err)
		}
	}
	if _, err := f.Lstat("x"); err != nil {
		t.Error("a read-only disk cannot be read:", err)
	}
}

func TestCapacity(t *testing.T) {
	f := New(Options{Capacity: 1000})
	h, err := f.Open("a", vfs.Write)
	must(t, err)
	n, err := h.Write(make([]byte, 2000))
	if n != 936 || !vfs.Full(err) {
		t.Errorf("wrote %d of 936 bytes that fit: %v", n, err)
	}
	if err := f.Mkdir("d"); !vfs.Full(err) {
		t.Error(err)
	}
	must(t, f.Remove("a"))
	if free, _ := f.Free(); free != 64 {
		t.Errorf("%d bytes free while a removed file is open", free)
	}
	must(t, h.Close())
	if free, _ := f.Free(); free != 1000 {
		t.Errorf("%d bytes free on an empty disk", free)
	}
	write(t, f, "b", "12345", true)
	must(t, f.SyncDir("."))
	if free, _ := f.Crash(Lose).Free(); free != 1000-64-5 {
		t.Errorf("%d bytes free after a cut", free)
	}
}

func TestNamesAndKinds(t *testing.T) {
	f := New(VFAT())
	write(t, f, "Abc", "1", false)
	if content(f, "aBC") != "1" {
		t.Error("case matters")
	}
	must(t, f.Rename("abc", "ABC")) // as on Linux: nothing happens
	if tr, _ := Dump(f, ".", nil); tr["Abc"] != "x1" || len(tr) != 1 {
		t.Errorf("%v", tr)
	}
	if err := f.Share("Abc", "x", true); !errors.Is(err, vfs.ErrUnsupported) {
		t.Error(err)
	}
	if err := f.Symlink("Abc", "x"); !errors.Is(err, vfs.ErrUnsupported) {
		t.Error(err)
	}
	for _, bad := range []string{"a:b", "a\\b", "x.", "a\x01", strings.Repeat("n", 256), "../x", "/x", ""} {
		if _, err := f.Open(bad, vfs.Write); err == nil {
			t.Errorf("%q is a name", bad)
		}
	}
	f = New(Options{Links: Clones})
	write(t, f, "a", "1", true)
	must(t, f.SyncDir("."))
	must(t, f.Share("a", "b", true))
	write(t, f, "a", "2", true)
	must(t, f.SyncDir("."))
	if content(f, "b") != "1" || content(f.Crash(Lose), "b") != "" || content(f.Crash(Keep), "b") != "1" {
		t.Error("a clone is not a file of its own")
	}
	tr, err := vfs.Probe(New(VFAT()), ".")
	if want := (vfs.Traits{}); err != nil || tr != want {
		t.Errorf("%+v %v", tr, err)
	}
	tr, err = vfs.Probe(New(Options{}), ".")
	if want := (vfs.Traits{ExecBits: true, CaseSensitive: true, Links: true, Symlinks: true, AnyName: true}); err != nil || tr != want {
		t.Errorf("%+v %v", tr, err)
	}
}

func TestLocks(t *testing.T) {
	f := New(Options{})
	unlock, err := f.Lock("l")
	must(t, err)
	if _, err := f.Lock("l"); err != vfs.ErrLocked {
		t.Error(err)
	}
	for _, c := range []*FS{f.Clone(), f.Crash(Keep), f.Crash(Lose)} {
		u, err := c.Lock("l")
		must(t, err)
		u()
	}
	unlock()
	unlock, err = f.Lock("l")
	must(t, err)
	unlock()
}

func TestOpenFilesOutliveNames(t *testing.T) {
	f := New(Options{})
	h, err := f.Open("a", vfs.Write)
	must(t, err)
	must(t, f.Remove("a"))
	_, err = h.Write([]byte("123"))
	must(t, err)
	b := make([]byte, 4)
	if n, err := h.ReadAt(b, 1); n != 2 || err != io.EOF {
		t.Error(n, err)
	}
	must(t, h.Close())
	if _, err := h.Write(nil); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}
