package engine_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/git"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
)

// files reads a tree: path to mode and content. Only paths that keep takes count.
func files(t *testing.T, root string, keep func(string) bool) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		switch {
		case err != nil:
			return err
		case rel == ".godwit":
			return fs.SkipDir
		case d.IsDir() || rel == store.VersionFile || !keep(rel):
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			got[rel] = "link " + target
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		got[rel] = fmt.Sprint(i.Mode()&0o100 != 0, " ", string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// randomChanges draws what a commit does: edits, new files, removals, moves, files
// that become folders and the other way round.
func randomChanges(r *rand.Rand, now map[string]string) map[string]githost.Change {
	c := map[string]githost.Change{}
	text := func() string {
		return strings.Repeat(fmt.Sprintln("line", r.IntN(50)), r.IntN(200)) + fmt.Sprint(r.IntN(5))
	}
	dirs := []string{"", "app/", "app/lib/", "data/", "x/y/z/"}
	for range 1 + r.IntN(12) {
		p := dirs[r.IntN(len(dirs))] + fmt.Sprintf("f%d", r.IntN(15))
		if old, ok := now[p]; ok && r.IntN(2) == 0 {
			switch r.IntN(4) {
			case 0:
				c[p] = githost.Remove()
			case 1: // move
				c[p], c[p+"-moved"] = githost.Remove(), githost.Text(strings.SplitN(old, " ", 2)[1])
			case 2: // a file becomes a folder
				c[p], c[p+"/inside"] = githost.Remove(), githost.Text(text())
			default: // a small edit
				c[p] = githost.Text(strings.SplitN(old, " ", 2)[1] + "edit\n")
			}
			continue
		}
		switch r.IntN(6) {
		case 0:
			c[p] = githost.Exec(text())
		case 1:
			c[p] = githost.Text("")
		case 2:
			c[p] = githost.Change{Mode: "120000", Content: []byte("f1")}
		default:
			c[p] = githost.Text(text())
		}
	}
	for p := range c { // nothing can be a file and a folder at once
		for q := range c {
			if strings.HasPrefix(q, p+"/") && c[p].Mode != "remove" {
				delete(c, q)
			}
		}
	}
	return c
}

// A device follows a branch that grows, jumps back and is rewritten, and has
// after each update exactly the files that git checks out.
func TestFollowsABranch(t *testing.T) {
	seeds, steps := 5, 8
	if testing.Short() {
		seeds, steps = 2, 5
	}
	for seed := range seeds {
		for _, layout := range []store.Layout{store.Slots, store.InPlace} {
			t.Run(fmt.Sprintf("%s/%d", layout, seed), func(t *testing.T) {
				t.Parallel()
				follow(t, layout, uint64(seed), steps)
			})
		}
	}
}

func follow(t *testing.T, layout store.Layout, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 1))
	ctx := context.Background()
	dir := t.TempDir()
	format := []string{"sha1", "sha256"}[seed%2]
	repo, err := githost.InitRepo(filepath.Join(dir, "repo.git"), format)
	if err != nil {
		t.Fatal(err)
	}
	host, err := githost.Start(githost.Config{Root: dir, NoFilter: seed%3 == 2, Version0: seed == 4})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	rules := plan.Rules{Symlinks: true}
	if seed%2 == 1 {
		rules.Allow, rules.Ignore = []string{"app", "x", "f3"}, []string{"app/lib/f1", "app/f2"}
	}
	root := filepath.Join(dir, "device")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	fsys, err := vfs.OS(root)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()

	// Each update is a process of its own: a new engine on the same disk.
	update := func() (engine.Result, error) {
		s, err := store.Open(fsys, store.Options{Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		src, err := git.New(git.Config{Remote: wire.Config{URL: host.URL("repo.git")}, Branch: "main", State: fsys, Folder: ".godwit/git", Filter: rules.Permits})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		return engine.New(engine.Config{Store: s, Source: src, Gate: anybody(t), Rules: rules, Events: func(e godwit.Event) {
			if e.Level != godwit.Progress {
				t.Logf("%s: %s", e.Stage, e.Text)
			}
		}}).Update(ctx, engine.UpdateOptions{})
	}

	var commits []string
	now := map[string]string{}
	for step := range steps {
		tip := ""
		switch {
		case step > 2 && r.IntN(4) == 0: // the branch jumps back
			tip = commits[r.IntN(len(commits))]
			if _, err := repo.Git("update-ref", "refs/heads/main", tip); err != nil {
				t.Fatal(err)
			}
		case step > 2 && r.IntN(4) == 0: // it is rewritten: no history in common
			if _, err := repo.Git("update-ref", "-d", "refs/heads/main"); err != nil {
				t.Fatal(err)
			}
			now = map[string]string{}
			fallthrough
		default:
			if tip, err = repo.Commit("main", fmt.Sprint("step ", step), randomChanges(r, now)); err != nil {
				t.Fatal(err)
			}
			commits = append(commits, tip)
		}
		out := filepath.Join(dir, fmt.Sprint("want", step))
		if err := repo.Export(tip, out); err != nil {
			t.Fatal(err)
		}
		now = files(t, out, func(string) bool { return true })
		if _, err := update(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		tree := root
		if layout == store.Slots {
			if tree, err = filepath.EvalSymlinks(filepath.Join(root, store.Current)); err != nil {
				t.Fatal(err)
			}
		}
		want := files(t, out, rules.Permits)
		got := files(t, tree, func(string) bool { return true })
		for p, w := range want {
			if got[p] != w {
				t.Errorf("step %d: %s is %.40q, want %.40q", step, p, got[p], w)
			}
		}
		for p := range got {
			if _, ok := want[p]; !ok {
				t.Errorf("step %d: %s should not be there", step, p)
			}
		}
		if t.Failed() {
			return
		}
	}
}
