package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/internal/githost"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == measured {
		os.Exit(runMeasured(os.Args[2:]))
	}
	os.Exit(m.Run())
}

var tiny = repo{name: "tiny", files: 40, versions: 3, changed: share(4), big: 1 << 20}

func TestReposComeOutTheSame(t *testing.T) {
	var tips []string
	for range 2 {
		dir := t.TempDir()
		if err := tiny.make(dir); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("git", "-C", filepath.Join(dir, tiny.serves()), "rev-parse", "refs/tags/3").Output()
		if err != nil {
			t.Fatal(err)
		}
		tips = append(tips, string(out))
		diff, err := exec.Command("git", "-C", filepath.Join(dir, tiny.serves()), "diff", "--name-only", "refs/tags/2", "refs/tags/3").Output()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(strings.Fields(string(diff))); n != 5 {
			t.Errorf("version 3 changes %d files, want 4 and the large one", n)
		}
	}
	if tips[0] != tips[1] {
		t.Errorf("two makings gave %s and %s", tips[0], tips[1])
	}
}

// TestGitIsMeasured takes git through an update and expects figures that can be.
func TestGitIsMeasured(t *testing.T) {
	out := t.TempDir()
	b := &run{out: out, root: out, clients: clients("godwit", "gogit")[1:2]}
	var err error
	if b.http, err = githost.Start(githost.Config{Root: out}); err != nil {
		t.Fatal(err)
	}
	defer b.http.Close()
	samples, err := b.steps(tiny, 1, 3, "", false, b.clients)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples[0] {
		if s.RSS < 1<<20 || s.Wall == 0 || s.In < 1000 || s.In > 100_000 || s.Out < 300 || s.Requests < 2 {
			t.Errorf("an update cost %+v, which cannot be", s)
		}
	}
	d, _, err := b.device(b.clients[0], tiny, 1, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.check(out, 1); err != nil {
		t.Error(err)
	}
	if err := d.check(out, 2); err == nil {
		t.Error("a tree of version 1 passes for version 2")
	}
}
