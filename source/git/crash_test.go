package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// versionsHost is an evil host gone good: it holds two versions of a tree.
func versionsHost() (e *evil, tips []string) {
	e = &evil{}
	for v := range 2 {
		var dirs []string
		for d := range 3 {
			var lines []string
			for f := range 4 {
				data := fmt.Sprintf("file %d in folder %d, version %d", f, d, v*min(d, 1))
				lines = append(lines, fmt.Sprintf("100644 f%d\t%s", f, e.add(object.Blob, []byte(data))))
			}
			dirs = append(dirs, fmt.Sprintf("40000 d%d\t%s", d, e.tree(lines...)))
		}
		tips = append(tips, e.commit(e.tree(dirs...)))
	}
	return e, tips
}

// updateTo runs an update on a disk that may fail at any moment.
func (w *world) updateTo(tip string) error {
	s, err := New(w.cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	rel, err := s.Describe(context.Background(), godwit.Verified{Release: godwit.Release{Tip: godwit.Tip{Ref: "refs/heads/main", Commit: tip}}}, w.have)
	if err != nil {
		return err
	}
	return w.install(s, rel)
}

// A power cut, or a fault of the disk, at every operation on the state folder
// leaves a cache that the next run gets along with.
func TestCacheCuts(t *testing.T) {
	e, tips := versionsHost()
	host := httptest.NewServer(e)
	defer host.Close()
	device := func(disk vfs.FS) *world {
		w := &world{t: t, cfg: Config{Remote: wire.Config{URL: host.URL + "/r.git", Attempts: 1}, State: disk, Folder: "state/git"}}
		w.contents = make(map[godwit.Digest][]byte)
		return w
	}
	for _, model := range []crashfs.Model{crashfs.Journal, crashfs.FAT} {
		start := device(crashfs.New(crashfs.Options{Model: model}))
		if err := start.updateTo(tips[0]); err != nil {
			t.Fatal(err)
		}
		if err := start.cfg.State.Sync(); err != nil {
			t.Fatal(err)
		}
		begin := func() (*world, *crashfs.FS) {
			w := device(start.cfg.State.(*crashfs.FS).Clone())
			w.tree, w.have = start.tree, start.have
			maps.Copy(w.contents, start.contents)
			return w, w.cfg.State.(*crashfs.FS)
		}
		again := func(w *world, disk *crashfs.FS, what string) {
			t.Helper()
			w.cfg.State = disk
			if err := w.updateTo(tips[1]); err != nil {
				t.Fatalf("%s: the next run: %v (%s)", what, err, godwit.CodeOf(err))
			}
			if len(w.tree) != 12 || w.have[0] != tips[1] {
				t.Fatalf("%s: %d files", what, len(w.tree))
			}
		}
		cuts := 0
		for k := 0; ; k++ {
			w, disk := begin()
			disk.StopAt(disk.Ops() + k)
			err := w.updateTo(tips[1])
			for seed := range uint64(3) {
				after := *w
				after.contents = maps.Clone(w.contents)
				again(&after, disk.Crash(crashfs.Seeded(seed)), fmt.Sprintf("model %v, cut at %d, seed %d", model, k, seed))
				cuts++
			}
			if err == nil {
				break
			}
		}
		faults := 0
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
			for k := 0; ; k++ {
				w, disk := begin()
				at := disk.Ops() + k
				disk.Inject(crashfs.Fault{At: at, Err: fault, Short: true})
				err := w.updateTo(tips[1])
				reached := disk.Ops() > at
				disk.Inject(crashfs.Fault{})
				if err != nil {
					if c := godwit.CodeOf(err); c == godwit.CodeFailed || !errors.Is(err, fault) && c != godwit.CodeIO && c != godwit.CodeMissingObject {
						t.Errorf("%v at %d: %v (%s)", fault, k, err, c)
					}
					if errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%v at %d: taken for a missing object: %v", fault, k, err)
					}
				}
				again(w, disk, fmt.Sprintf("model %v, %v at %d", model, fault, k))
				faults++
				if !reached {
					break
				}
			}
		}
		t.Logf("model %v: %d cuts, %d faults", model, cuts, faults)
		if cuts < 60 || faults < 60 {
			t.Errorf("only %d cuts and %d faults", cuts, faults)
		}
	}
}
