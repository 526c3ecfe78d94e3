package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/vfs"
)

// A machine is a configuration in a folder of its own, whose source is not there.
func machine(t *testing.T, more string) (*config.Config, Options, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "godwit.toml")
	text := "[source]\nurl = \"file://" + dir + "/none.git\"\nbranch = \"main\"\n[trust]\nmode = \"none\"\n[tree]\nroot = \"" + dir + "/tree\"\n" + more
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	return cfg, Options{Log: &Log{W: log, Most: Debug}, Getenv: func(name string) string {
		return map[string]string{"RUNTIME_DIRECTORY": dir, "GOMEMLIMIT": "off"}[name]
	}}, log
}

func runFor(t *testing.T, cfg *config.Config, o Options, d time.Duration) error {
	t.Helper()
	a, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return a.Run(ctx)
}

// An agent that cannot report looks after its device all the same: nobody else does.
func TestNoKeyForReports(t *testing.T) {
	cfg, o, log := machine(t, "[report]\nto = [\"file:///tmp/reports\"]\nkey = \"/proc/none/key\"\n")
	if err := runFor(t, cfg, o, 100*time.Millisecond); err != nil {
		t.Error(err)
	}
	if s := log.String(); !strings.Contains(s, "reports cannot be made") || !strings.Contains(s, "up to date") {
		t.Error(s)
	}
}

// Who looks whether an agent runs holds its lock for a moment, which must not keep one
// from starting. Another agent does.
func TestLockIsHeldForAMoment(t *testing.T) {
	cfg, o, _ := machine(t, "")
	state := filepath.Join(string(cfg.Tree.Root), cfg.Tree.State)
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	fsys, err := vfs.OS(state)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	unlock, err := fsys.Lock(LockFile)
	if err != nil {
		t.Fatal(err)
	}
	if !Running(string(cfg.Tree.Root), cfg.Tree.State) {
		t.Error("no agent runs")
	}
	time.AfterFunc(100*time.Millisecond, unlock)
	if err := runFor(t, cfg, o, 300*time.Millisecond); err != nil {
		t.Error(err)
	}
	if unlock, err = fsys.Lock(LockFile); err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := runFor(t, cfg, o, time.Minute); err != ErrRunning {
		t.Error(err)
	}
}

// The way back runs two hooks and a restart, and tells of nothing in between.
func TestPatience(t *testing.T) {
	cfg, _, _ := machine(t, "[hooks]\ntimeout = \"1h\"\n[restart]\ncommand = \"true\"\ntimeout = \"30m\"\n")
	if p := patience(cfg); p < 150*time.Minute || p > 3*time.Hour {
		t.Error(p)
	}
}
