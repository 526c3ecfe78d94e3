package board

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tree is a device made of files: below it are sys, proc, dev, run and lib.
type tree struct {
	t   *testing.T
	top string
	mu  sync.Mutex
	log []string // what was reported
}

// fake makes one. Names ending in a slash are folders.
func fake(t *testing.T, files map[string]string) *tree {
	t.Helper()
	d := &tree{t: t, top: t.TempDir()}
	for name, content := range files {
		d.put(name, content)
	}
	return d
}

func (d *tree) path(name string) string { return filepath.Join(d.top, name) }

func (d *tree) put(name, content string) {
	d.t.Helper()
	p := d.path(name)
	dir := filepath.Dir(p)
	if strings.HasSuffix(name, "/") {
		dir = p
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.t.Fatal(err)
	}
	if dir == p {
		return
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *tree) get(name string) string {
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Error(err)
	}
	return string(b)
}

func (d *tree) report(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, err.Error())
}

func (d *tree) reports() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.log...)
}

// open opens the board of the tree; cfg says what is not a matter of files.
func (d *tree) open(cfg Config) *Board {
	d.t.Helper()
	cfg.Sys, cfg.Proc, cfg.Dev, cfg.Run, cfg.Lib = d.path("sys"), d.path("proc"), d.path("dev"), d.path("run"), d.path("lib")
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	cfg.Report = d.report
	b, err := Open(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	// A test must never take down the machine it runs on.
	b.sync = func() {}
	b.restart = func() error { d.t.Error("the machine would have been restarted"); return nil }
	b.run = func(name string, args ...string) error { d.t.Error("would have run", name, args); return nil }
	d.t.Cleanup(func() { b.Close() })
	return b
}
