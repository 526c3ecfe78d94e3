package store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// A tree is what a release holds: path to content, with a prefix "x:" for
// executables and "l:" for links.
type tree map[string]string

func entry(path, v string) (godwit.Entry, []byte) {
	mode, body := godwit.File, v
	if b, ok := strings.CutPrefix(v, "x:"); ok {
		mode, body = godwit.Executable, b
	} else if b, ok := strings.CutPrefix(v, "l:"); ok {
		mode, body = godwit.Symlink, b
	}
	h := godwit.GitSHA1.New(int64(len(body)))
	h.Write([]byte(body))
	return godwit.Entry{Path: path, Mode: mode, Digest: godwit.MakeDigest(godwit.GitSHA1, h.Sum(nil)), Size: godwit.UnknownSize}, []byte(body)
}

func (t tree) listing() godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for _, p := range slices.Sorted(maps.Keys(t)) {
			if e, _ := entry(p, t[p]); !yield(e, nil) {
				return
			}
		}
	}
}

func keysOf(id string) string { return "the keys that " + id + " brought\n" }

type keyList struct{ *bytes.Reader }

func (keyList) Close() error { return nil }

// remembers says what is wrong with the memory of a device: it must be that of
// a version that was switched to, and its list of keys must be there.
func remembers(s *store.Store) string {
	m := s.Record().Memory
	if m.Version == "" {
		return "nothing is remembered"
	}
	f, err := s.List(m.Signers)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != keysOf(m.Version) {
		return fmt.Sprintf("%s is remembered with %q, %v", m.Version, b, err)
	}
	return ""
}

// install does what the engine does, without network, gate and hooks.
func install(s *store.Store, id string, t tree, rules plan.Rules) error {
	objects, err := s.Objects()
	if err != nil {
		return err
	}
	traits, err := s.Traits()
	if err != nil {
		return err
	}
	in := plan.Input{To: id, Release: t.listing(), Rules: rules, InPlace: s.Layout() == store.InPlace, Copies: !traits.Links,
		Names: plan.Names{FoldCase: !traits.CaseSensitive, Windows: !traits.AnyName}, Reserved: s.Reserved, Has: objects.Has, Free: s.Free()}
	survey, err := s.Survey(plan.Target(in), rules)
	if err != nil {
		return err
	}
	in.Installed = survey.Installed
	p, err := plan.Make(in)
	if err != nil {
		return err
	}
	for e, err := range p.Wanted() {
		if err != nil {
			return err
		}
		_, body := entry(e.Path, t[e.Path])
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
	// The release brings a list of keys, and is the newest that was accepted.
	keys := []byte(keysOf(id))
	sum := sha256.Sum256(keys)
	m := godwit.Memory{Version: id, Signers: godwit.MakeDigest(godwit.SHA256, sum[:]).String()}
	if err := s.KeepList(godwit.MakeDigest(godwit.SHA256, sum[:]), keyList{bytes.NewReader(keys)}); err != nil {
		return err
	}
	b, err := s.Build(objects, store.Version{ID: id, Name: id, Ref: "refs/heads/main", Policy: "none", Rules: rules.Fingerprint()}, m, p, survey)
	if err != nil {
		return err
	}
	return s.Switch(b, store.Trial{Open: true, BootsLeft: 3})
}

func locked(t *testing.T, s *store.Store, fn func() error) {
	t.Helper()
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := fn(); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, fsys vfs.FS, layout store.Layout) *store.Store {
	t.Helper()
	s, err := store.Open(fsys, store.Options{Layout: layout, Now: func() time.Time { return time.Unix(1e9, 0) },
		Events: func(e godwit.Event) { t.Logf("event: %s", e.Text) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onDisk reads what applications see.
func onDisk(t *testing.T, dir string, layout store.Layout) tree {
	t.Helper()
	root := dir
	if layout == store.Slots {
		root = filepath.Join(dir, "current")
		if r, err := filepath.EvalSymlinks(root); err == nil {
			root = r
		}
	}
	got := tree{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		if errors.Is(err, fs.ErrNotExist) && rel == "." {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case rel == ".godwit":
			return fs.SkipDir
		case rel == "version.json" && layout == store.InPlace:
		case d.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			got[rel] = "l:" + target
		case d.IsDir():
			if list, _ := os.ReadDir(p); len(list) == 0 && rel != "." {
				got[rel+"/"] = "empty folder"
			}
		default:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			i, _ := d.Info()
			if got[rel] = string(b); i.Mode()&0o111 != 0 {
				got[rel] = "x:" + string(b)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func same(t *testing.T, what string, got, want tree) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	var b bytes.Buffer
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[p]; !ok || g != want[p] {
			fmt.Fprintf(&b, "\n%s: got %q, want %q", p, g, want[p])
		}
	}
	for p, g := range got {
		if _, ok := want[p]; !ok {
			fmt.Fprintf(&b, "\n%s: got %q, want nothing", p, g)
		}
	}
	t.Fatalf("%s:%s", what, &b)
}

var (
	one = tree{"main.py": "one", "lib/__init__.py": "", "lib/a.py": "a", "lib/b.py": "a", "bin/run": "x:#!", "old/deep/er/x": "x", "swap": "file",
		"turn/around": "dir", "big": strings.Repeat("big", 100000), "moved": "content that moves"}
	two = tree{"main.py": "two", "lib/__init__.py": "", "lib/a.py": "a", "lib/c.py": "a", "bin/run": "#!", "swap/in": "dir", "turn": "file",
		"big": strings.Repeat("big", 100000), "new/moved": "content that moves", "link": "l:lib/a.py", "tool": "x:a"}
)

func TestLayouts(t *testing.T) {
	for _, layout := range []store.Layout{store.Slots, store.InPlace} {
		t.Run(string(layout), func(t *testing.T) {
			dir := t.TempDir()
			fsys, err := vfs.OS(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer fsys.Close()
			rules := plan.Rules{Symlinks: true}
			s := open(t, fsys, layout)
			locked(t, s, func() error { return install(s, "1111111111111111", one, rules) })
			same(t, "first install", onDisk(t, dir, layout), one)
			locked(t, s, s.Confirm)
			locked(t, s, s.Prune)
			locked(t, s, func() error { return install(s, "2222222222222222", two, rules) })
			same(t, "update", onDisk(t, dir, layout), two)
			s = open(t, fsys, layout)
			if r := s.Record(); !r.Settled || r.Running.ID != "2222222222222222" || r.Previous.ID != "1111111111111111" || !r.Trial.Open {
				t.Fatalf("record: %+v", r)
			}
			locked(t, s, func() error { return s.Rollback(store.Rejection{ID: "2222222222222222", Reason: "test"}) })
			same(t, "rollback", onDisk(t, dir, layout), one)
			locked(t, s, s.Prune)
			if _, ok := s.Record().Rejection("2222222222222222"); !ok {
				t.Error("the version left behind is not remembered as rejected")
			}
			locked(t, s, func() error { return install(s, "2222222222222222", two, rules) })
			locked(t, s, s.Confirm)
			locked(t, s, s.Prune)
			same(t, "second update", onDisk(t, dir, layout), two)
			b, err := os.ReadFile(filepath.Join(dir, "version.json"))
			if want := `{"ref": "refs/heads/main", "commit": "2222222222222222"}` + "\n"; err != nil || string(b) != want {
				t.Errorf("version.json: %q %v", b, err)
			}
			n, err := s.Verify(func(p store.Problem) error { t.Errorf("problem: %+v", p); return nil })
			if n != len(two) || err != nil {
				t.Errorf("verify: %d %v", n, err)
			}
			for _, f := range []string{"stage", "put"} {
				if l, _ := os.ReadDir(filepath.Join(dir, ".godwit", f)); len(l) != 0 {
					t.Errorf("%s is not empty: %v", f, l)
				}
			}
		})
	}
}

// A device that has lost both copies of its record is brought back by an
// update, and its running tree is not touched on the way.
func TestLostRecord(t *testing.T) {
	for _, layout := range []store.Layout{store.Slots, store.InPlace} {
		t.Run(string(layout), func(t *testing.T) {
			dir := t.TempDir()
			fsys, err := vfs.OS(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer fsys.Close()
			s := open(t, fsys, layout)
			rules := plan.Rules{Symlinks: true}
			locked(t, s, func() error { return install(s, "1111111111111111", one, rules) })
			before, _ := os.Readlink(filepath.Join(dir, "current"))
			for _, r := range []string{"record.0", "record.1"} {
				if err := os.WriteFile(filepath.Join(dir, ".godwit", r), []byte("rust"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, fsys, layout)
			if !s.Damaged() || !s.Record().Running.IsZero() {
				t.Fatalf("%v %+v", s.Damaged(), s.Record())
			}
			locked(t, s, func() error { return install(s, "1111111111111111", one, rules) })
			same(t, "after the loss", onDisk(t, dir, layout), one)
			if after, _ := os.Readlink(filepath.Join(dir, "current")); layout == store.Slots && after == before {
				t.Error("the running tree was built over")
			}
			if s.Damaged() || s.Record().Running.ID != "1111111111111111" {
				t.Errorf("%+v", s.Record())
			}
		})
	}
}
