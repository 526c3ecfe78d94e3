package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The application becomes its next version by itself, and a version that does not
// work is gone after a while.
func TestUpdatesItself(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	dir := t.TempDir()
	repo, root := filepath.Join(dir, "repo"), filepath.Join(dir, "root")
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	godwit := filepath.Join(dir, "godwit")
	run("go", "build", "-o", godwit, "../../cmd/godwit")
	run("git", "init", "-q", "-b", "main", repo)
	release := func(version string) {
		run("go", "build", "-ldflags", "-X main.version="+version, "-o", filepath.Join(repo, "station"), ".")
		run("git", "-C", repo, "add", ".")
		run("git", "-C", repo, "commit", "-q", "-m", version)
	}
	cfg := filepath.Join(dir, "station.toml")
	err := os.WriteFile(cfg, []byte("[source]\nurl = '"+repo+"'\nbranch = 'main'\n[trust]\nmode = 'none'\n[tree]\nroot = '"+root+"'\n[confirm]\napplication = true\nwithin = '6s'\n[agent]\nevery = '10s'\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	release("v1")
	// The first version is put there by hand, and has nobody yet to confirm it.
	exec.Command(godwit, "update", "--config", cfg).Run()

	var out output
	stop := make(chan struct{})
	var gone sync.WaitGroup
	gone.Go(func() { // what systemd does with Restart=always and ExecStartPre=godwit recover
		for {
			exec.Command(godwit, "recover", "--config", cfg).Run()
			cmd := exec.Command(filepath.Join(root, "current", "station"), cfg)
			cmd.Stdout, cmd.Stderr = &out, &out
			if cmd.Start() == nil {
				ended := make(chan struct{})
				go func() {
					select {
					case <-stop:
						cmd.Process.Signal(os.Interrupt)
					case <-ended:
					}
				}()
				cmd.Wait()
				close(ended)
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
		}
	})
	defer func() { close(stop); gone.Wait() }()
	wait := func(line string, times int) {
		t.Helper()
		for range 900 {
			if strings.Count(out.String(), line+"\n") >= times {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatalf("%q does not come:\n%s", line, out.String())
	}
	wait("v1 works", 1)
	release("v2")
	wait("v2 works", 1)
	release("broken")
	wait("this is broken", 1)
	wait("v2 works", 2)
	if s := run(godwit, "status", "--config", cfg, "--json"); !strings.Contains(s, `"rejected":[{`) {
		t.Errorf("the broken version is not rejected: %s", s)
	}
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
