package store_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

func openFaulty(t *testing.T, layout store.Layout, shared ...string) (*store.Store, string, *faultyFS) {
	dir := t.TempDir()
	o, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	f := &faultyFS{FS: o}
	s, err := store.Open(f, store.Options{Layout: layout, Shared: shared, Events: func(e godwit.Event) { t.Logf("event: %s", e.Text) }})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir, f
}

type faultyFS struct {
	vfs.FS
	rename  func(a, b string) error
	sync    func(name string) error
	remove  func(string) error
	symlink func() error
}

func (f *faultyFS) Remove(n string) error {
	if f.remove != nil {
		if err := f.remove(n); err != nil {
			return err
		}
	}
	return f.FS.Remove(n)
}
func (f *faultyFS) Symlink(a, b string) error {
	if f.symlink != nil {
		return f.symlink()
	}
	return f.FS.Symlink(a, b)
}

func (f *faultyFS) Rename(a, b string) error {
	if f.rename != nil {
		if err := f.rename(a, b); err != nil {
			return err
		}
	}
	return f.FS.Rename(a, b)
}

type faultyFile struct {
	vfs.File
	f    *faultyFS
	name string
}

func (f faultyFile) Sync() error {
	if f.f.sync != nil {
		if err := f.f.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.Sync()
}
func (f *faultyFS) Open(n string, flag vfs.Flag) (vfs.File, error) {
	x, err := f.FS.Open(n, flag)
	if err != nil {
		return nil, err
	}
	return faultyFile{x, f, n}, nil
}

// That one of two equal files is right says nothing about the other.
func TestEqualContentsAreHashedOneByOne(t *testing.T) {
	for _, l := range []store.Layout{store.Slots, store.InPlace} {
		t.Run(string(l), func(t *testing.T) {
			s, dir, _ := openFaulty(t, l)
			// b is a copy of a, but not linked: installed with other mode
			locked(t, s, func() error {
				return install(s, "v1-0000000000000", tree{"a": "same", "b": "x:same", "m": "1"}, plan.Rules{})
			})
			locked(t, s, s.Confirm)
			p := filepath.Join(dir, "a")
			if l == store.Slots {
				p = filepath.Join(dir, "current", "a")
			}
			os.WriteFile(p, []byte("DRIFT"), 0o644)
			two := tree{"a": "same", "b": "x:same", "c": "same", "m": "2"}
			locked(t, s, func() error { return install(s, "v2-0000000000000", two, plan.Rules{}) })
			same(t, "after", onDisk(t, dir, l), two)
		})
	}
}

// Files that share an inode can need different modes, also after a cut.
func TestModesOfLinkedFiles(t *testing.T) {
	s, dir, f := openFaulty(t, store.InPlace)
	locked(t, s, func() error { return install(s, "v1", tree{"a": "same", "b": "same", "m": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	two := tree{"a": "x:same", "b": "same", "m": "2"}
	n := 0
	f.rename = func(a, b string) error {
		if filepath.Dir(a) == ".godwit/put" {
			n++
			return syscall.EIO
		}
		return nil
	}
	unlock, _ := s.Lock()
	t.Log(install(s, "v2", two, plan.Rules{}))
	unlock()
	f.rename = nil
	locked(t, s, func() error { _, err := s.Reconcile(); return err })
	t.Log("settled:", s.Record().Settled)
	same(t, "after", onDisk(t, dir, store.InPlace), two)
}

// A file that the rules no longer cover is nobody's business.
func TestIgnoredLaterIsLeftAlone(t *testing.T) {
	s, dir, _ := openFaulty(t, store.InPlace)
	locked(t, s, func() error { return install(s, "v1", tree{"conf": "c", "m": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	os.WriteFile(filepath.Join(dir, "conf"), []byte("mine"), 0o644)
	locked(t, s, func() error {
		return install(s, "v2", tree{"conf": "c2", "m": "2"}, plan.Rules{Ignore: []string{"conf"}})
	})
	same(t, "after", onDisk(t, dir, store.InPlace), tree{"conf": "mine", "m": "2"})
}

// What an application put in the way must not stop a rollback.
func TestForeignFileIsMovedAside(t *testing.T) {
	s, dir, _ := openFaulty(t, store.InPlace)
	old := tree{"a": "1", "x": "file", "z": "1"}
	locked(t, s, func() error { return install(s, "v1", old, plan.Rules{}) })
	locked(t, s, s.Confirm)
	locked(t, s, func() error { return install(s, "v2", tree{"a": "2", "x/a": "dir", "z": "2"}, plan.Rules{}) })
	os.WriteFile(filepath.Join(dir, "x/cache.tmp"), []byte("app"), 0o644)
	unlock, _ := s.Lock()
	t.Log("rollback:", s.Rollback(store.Rejection{ID: "v2"}))
	unlock()
	unlock, _ = s.Lock()
	_, err := s.Reconcile()
	unlock()
	t.Log("reconcile:", err)
	same(t, "after", onDisk(t, dir, store.InPlace), old)
}

// A damaged previous version is better than a stuck device.
func TestDamagedSlotDoesNotStopARollback(t *testing.T) {
	s, dir, _ := openFaulty(t, store.Slots)
	locked(t, s, func() error { return install(s, "v1", tree{"a": "1", "z": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	os.Remove(filepath.Join(dir, "current/a"))
	os.Mkdir(filepath.Join(dir, "current/a"), 0o755)
	locked(t, s, func() error { return install(s, "v2", tree{"a": "2", "z": "2"}, plan.Rules{}) })
	unlock, _ := s.Lock()
	err := s.Rollback(store.Rejection{ID: "v2"})
	t.Log("rollback:", err)
	unlock()
	unlock, _ = s.Lock()
	_, err = s.Reconcile()
	unlock()
	link, _ := os.Readlink(filepath.Join(dir, "current"))
	t.Log("reconcile:", err, "current:", link, "record:", s.Record().Running.ID, s.Record().Settled)
	if err != nil && godwit.CodeOf(err) != godwit.CodeDamaged {
		t.Fatal("stuck")
	}
}

// Data that lay in a version before its folder was shared stays.
func TestSharedLaterLosesNothing(t *testing.T) {
	s, dir, f := openFaulty(t, store.Slots)
	locked(t, s, func() error { return install(s, "v1", tree{"a": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	os.Mkdir(filepath.Join(dir, "current/data"), 0o755)
	os.WriteFile(filepath.Join(dir, "current/data/db"), []byte("precious"), 0o644)
	s2, err := store.Open(f, store.Options{Layout: store.Slots, Shared: []string{"data/"}})
	if err != nil {
		t.Fatal(err)
	}
	locked(t, s2, s2.Repair)
	if b, err := os.ReadFile(filepath.Join(dir, "current/data/db")); err != nil {
		t.Fatal("gone: ", string(b), err)
	}
}

// Prune removes only what has the form of a version's folder.
func TestForeignVersionsFolder(t *testing.T) {
	s, dir, _ := openFaulty(t, store.Slots)
	os.MkdirAll(filepath.Join(dir, "versions/2023-backup"), 0o755)
	os.WriteFile(filepath.Join(dir, "versions/2023-backup/db"), []byte("precious"), 0o644)
	locked(t, s, func() error { return install(s, "v1", tree{"a": "1"}, plan.Rules{}) })
	if _, err := os.Stat(filepath.Join(dir, "versions/2023-backup/db")); err != nil {
		t.Fatal(err)
	}
}

// After a failed write of the record nobody knows which copy counts.
func TestDiscardAfterAFailedRecord(t *testing.T) {
	for _, l := range []store.Layout{store.Slots, store.InPlace} {
		t.Run(string(l), func(t *testing.T) {
			s, dir, f := openFaulty(t, l)
			locked(t, s, func() error { return install(s, "v1", tree{"a": "1"}, plan.Rules{}) })
			locked(t, s, s.Confirm)
			unlock, _ := s.Lock()
			seq := 0
			f.sync = func(n string) error {
				if len(n) > 14 && n[:14] == ".godwit/record" {
					if seq++; seq == 2 { // 1 is the anchor
						return syscall.ENOSPC
					}
				}
				return nil
			}
			err := install(s, "v2", tree{"a": "2"}, plan.Rules{})
			t.Log("switch:", err)
			if godwit.CodeOf(err) == godwit.CodeDiskFull {
				t.Log("discard:", s.Discard())
			}
			unlock()
			f.sync = nil
			unlock, _ = s.Lock()
			defer unlock()
			_, err = s.Reconcile()
			t.Log("record:", s.Record().Running.ID, "reconcile:", err)
			if err != nil {
				t.Error("stuck")
			}
			t.Log(onDisk(t, dir, l))
		})
	}
}

// One copy of the record is enough.
func TestUnreadableCopyOfTheRecord(t *testing.T) {
	s, _, f := openFaulty(t, store.Slots)
	locked(t, s, func() error { return install(s, "v1", tree{"a": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	_, err := store.Open(eioFS{f}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
}

type eioFS struct{ vfs.FS }
type eioFile struct{ vfs.File }

func (eioFile) Read([]byte) (int, error) { return 0, syscall.EIO }
func (f eioFS) Open(n string, flag vfs.Flag) (vfs.File, error) {
	x, err := f.FS.Open(n, flag)
	if err == nil && n == ".godwit/record.1" {
		return eioFile{x}, nil
	}
	return x, err
}

// A folder that cannot be removed does not stop a switch.
func TestFolderInUse(t *testing.T) {
	s, dir, f := openFaulty(t, store.InPlace)
	locked(t, s, func() error { return install(s, "v1", tree{"a": "1", "d/x": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	_ = dir
	f.remove = func(n string) error {
		if n == "d" {
			return syscall.EBUSY // a mount point, or "not empty": the application was quicker
		}
		return nil
	}
	u, _ := s.Lock()
	err := install(s, "v2", tree{"a": "2"}, plan.Rules{})
	u()
	t.Log(err, godwit.CodeOf(err), s.Record().Settled)
	if err != nil {
		t.Fail()
	}
}

// A rollback brings its file back, and does not destroy what somebody put there.
func TestRollbackKeepsForeignFile(t *testing.T) {
	s, dir, _ := openFaulty(t, store.InPlace)
	locked(t, s, func() error { return install(s, "v1", tree{"p": "1", "m": "1"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	locked(t, s, func() error { return install(s, "v2", tree{"m": "2"}, plan.Rules{}) })
	locked(t, s, s.Confirm)
	os.WriteFile(filepath.Join(dir, "p"), []byte("mine"), 0o644)
	locked(t, s, func() error { return s.Rollback(store.Rejection{ID: "v2"}) })
	if b, _ := os.ReadFile(filepath.Join(dir, "p")); string(b) != "1" {
		t.Errorf("the file of v1: %q", b)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, ".godwit/aside/0-p")); string(b) != "mine" {
		t.Errorf("a person's file: %q", b)
	}
}
