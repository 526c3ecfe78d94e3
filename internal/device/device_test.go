package device

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/gate"
)

// open makes a device in place, with a configuration that differs as change
// says.
func open(t *testing.T, change func(*config.Config)) *Device {
	t.Helper()
	cfg := config.Defaults()
	cfg.Source.URL, cfg.Trust.Mode = "/nowhere", "none"
	cfg.Tree.Root, cfg.Tree.Layout, cfg.Tree.ErrorFile = config.Path(t.TempDir()), "in-place", "ota_error.json"
	if change != nil {
		change(cfg)
	}
	d, err := Open(cfg, Options{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestErrorFile(t *testing.T) {
	d := open(t, nil)
	name := filepath.Join(d.Root, "ota_error.json")
	content := func() string {
		b, err := os.ReadFile(name)
		if err != nil {
			return ""
		}
		return string(b)
	}
	bad := errors.Join(errors.New("one \"thing\""), errors.Join(errors.New("another"), errors.New("third")))
	const told = `{"errors":["one \"thing\"","another","third"]}` + "\n"
	for _, c := range []struct {
		name string
		do   func(error) error
		err  error
		want string
	}{
		{"nothing to say", d.leaveError, nil, ""},
		{"failed", d.leaveError, bad, told},
		{"has to wait", d.leaveError, godwit.Fail(godwit.CodeWindow, nil, "later", ""), told},
		{"somebody else works on it", d.leaveError, godwit.Fail(godwit.CodeBusy, nil, "busy", ""), told},
		{"a confirmation that worked", d.Ended, nil, told},
		{"a confirmation that failed", d.Ended, errors.New("x"), `{"errors":["x"]}` + "\n"},
		{"worked", d.leaveError, nil, ""},
	} {
		if err := c.do(c.err); err != c.err {
			t.Errorf("%s: the error became %v", c.name, err)
		}
		if got := content(); got != c.want {
			t.Errorf("%s: the file is %q, not %q", c.name, got, c.want)
		}
	}

	// What is there already is not written again.
	d.leaveError(bad)
	long := time.Now().Add(-time.Hour)
	os.Chtimes(name, long, long)
	d.leaveError(bad)
	if i, err := os.Stat(name); err != nil || time.Since(i.ModTime()) < time.Minute {
		t.Error("the same was written again", err)
	}
	if err := os.WriteFile(name, []byte(told[:len(told)-1]+" "), 0o644); err != nil {
		t.Fatal(err)
	}
	if d.leaveError(bad); content() != told {
		t.Errorf("%q is taken for the same", content())
	}
}

func TestNoErrorFileUnlessAsked(t *testing.T) {
	d := open(t, func(c *config.Config) { c.Tree.ErrorFile = "" })
	d.leaveError(errors.New("bad"))
	names, err := os.ReadDir(d.Root)
	for _, n := range names {
		if n.Name() != ".godwit" {
			t.Errorf("there is %s, %v", n.Name(), err)
		}
	}
}

func TestListsOfFilesAreLimited(t *testing.T) {
	list := godwit.Listing(func(yield func(godwit.Entry, error) bool) {
		for _, p := range []string{"a", "b", "long/name"} {
			if !yield(godwit.Entry{Path: p}, nil) {
				return
			}
		}
	})
	for _, c := range []struct {
		limits config.Limits
		files  int
		code   godwit.Code
	}{
		{config.Limits{}, 3, ""},
		{config.Limits{MaxTreeFiles: 3}, 3, ""},
		{config.Limits{MaxTreeFiles: 2}, 2, godwit.CodeLimit},
		{config.Limits{MaxTreeBytes: 29 + 29 + 37}, 3, ""},
		{config.Limits{MaxTreeBytes: 29 + 29 + 36}, 2, godwit.CodeLimit},
	} {
		n, code := 0, godwit.Code("")
		for _, err := range limited(list, c.limits) {
			if err != nil {
				code = godwit.CodeOf(err)
			} else {
				n++
			}
		}
		if n != c.files || code != c.code {
			t.Errorf("%+v: %d files and %q", c.limits, n, code)
		}
	}
}

func TestThisDevice(t *testing.T) {
	got := Identity(config.Device{ID: "seven", Labels: config.Labels{"site": "lab", "a": "b"}})
	if got.ID != "seven" || len(got.Labels) != 2 || got.Labels[0].String() != "a=b" || got.Labels[1].String() != "site=lab" {
		t.Errorf("%+v", got)
	}
	if d := Identity(config.Device{}); d.ID == "" || d.ID == "uninitialized" {
		t.Errorf("%+v", d)
	}
	// Two devices of one machine have two places in a roll-out only by their ids.
	if gate.Cohort("v1.0.0", "seven") == gate.Cohort("v1.0.0", "eight") {
		t.Error("two devices have one place")
	}
}

// A secret is looked up when it is needed, and what is missing then is said.
func TestSecretsAreLookedUpLate(t *testing.T) {
	d := open(t, func(c *config.Config) {
		c.Source.Type, c.Source.URL, c.Source.Channel = "github", "https://github.com/acme/station", "stable"
	})
	if _, err := d.Engine.Status(); err != nil {
		t.Fatal(err)
	}
	if limit, _, _ := d.RateLimit(); limit != 0 {
		t.Errorf("a limit of %d, and nobody was asked", limit)
	}
}
