// Package app is the application beside the tree: it runs the hooks around a
// switch, those of the device and those that a release brings, restarts the application, and finds out whether the new version
// works. When to do each of these, and what follows from the outcome, is the
// engine's business.
//
// Invariant: nothing that is started here outlives its time limit; it is ended
// together with everything it started.
package app

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// MaxOutput is how much of the output of a hook or a health check is kept, in
// bytes: its end.
const MaxOutput = 4 << 10

// Config describes an application. Its zero value has no hooks, restarts
// nothing and is always healthy.
type Config struct {
	Root string // the folder that Godwit installs into
	Tree string // where the running version lies: the working directory of all commands

	PreSwitch, PostSwitch, PostRollback []string      // programs with arguments
	HookTimeout                         time.Duration // 0 means one minute

	Restart Restart
	Health  Health

	Env       []string // environment of what is started; nil means this process's own
	Systemctl string   // the program that speaks to systemd; "" means systemctl from PATH
	Proc      string   // the folder with the processes; "" means /proc
}

// Restart is how the application is restarted: the first of Command, Unit,
// Signal and Reboot that is set.
type Restart struct {
	Command []string
	Unit    string        // a systemd unit
	Signal  string        // "HUP", sent to the process that PIDFile or Process names
	PIDFile string        // holds a process number
	Process string        // the name of a program: all its processes
	Reboot  bool          // of the device
	Timeout time.Duration // 0 means one minute
}

// Health is how the running version proves that it works: the first of
// Command, URL and Unit that is set.
type Health struct {
	Command  []string      // ends with exit code 0
	URL      string        // answers with a 2xx status
	Unit     string        // a systemd unit that stays active for Stable
	Interval time.Duration // between two tries; 0 means two seconds
	Stable   time.Duration // 0 means ten seconds
}

// App runs what a Config describes.
type App struct{ cfg Config }

// New returns the App that cfg describes.
func New(cfg Config) *App {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.HookTimeout, time.Minute)
	def(&cfg.Restart.Timeout, time.Minute)
	def(&cfg.Health.Interval, 2*time.Second)
	def(&cfg.Health.Stable, 10*time.Second)
	if cfg.Systemctl == "" {
		cfg.Systemctl = "systemctl"
	}
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	return &App{cfg}
}

// Hook runs what goes with the moment called name and returns the end of its
// output:
//
//   - "pre_switch": the hook of the configuration;
//   - "post_switch": that, then to.PostUpdate, a program of the release itself;
//   - "pre_rollback": from.Undo, likewise, while its files are still there;
//   - "post_rollback": the hook of the configuration.
//
// Where there is nothing to run it does nothing. The first failure, which has
// godwit.CodeHook, is the last thing that is run.
func (a *App) Hook(ctx context.Context, name string, from, to godwit.Verified) (string, error) {
	var argv []string
	var own, kind string // the release's
	switch name {
	case "pre_switch":
		argv = a.cfg.PreSwitch
	case "post_switch":
		argv, own, kind = a.cfg.PostSwitch, to.PostUpdate, "post_update"
	case "pre_rollback":
		own, kind = from.Undo, "rollback"
	case "post_rollback":
		argv = a.cfg.PostRollback
	}
	env := []string{
		"GODWIT_HOOK=" + name,
		"GODWIT_FROM=" + from.Commit, "GODWIT_FROM_VERSION=" + from.Version,
		"GODWIT_TO=" + to.Commit, "GODWIT_TO_VERSION=" + to.Version,
		"GODWIT_REF=" + to.Ref,
	}
	var out tail
	run := func(what string, argv []string, env []string) error {
		text, err := a.run(ctx, what, argv, a.cfg.HookTimeout, env)
		out.line(text)
		if err != nil {
			return godwit.Fail(godwit.CodeHook, nil, err.Error(), "its output is in `godwit status`")
		}
		return nil
	}
	var err error
	if len(argv) > 0 {
		err = run("the hook "+name, argv, env)
	}
	if err == nil && own != "" {
		if argv, err = a.program(kind, own); err == nil {
			env[0] = "GODWIT_HOOK=" + kind
			err = run("the release's hook "+kind, argv, env)
		}
	}
	return out.String(), err
}

// program is how to run the file of the release that it names as its hook: by
// itself where it is executable, else by what its extension says.
func (a *App) program(kind, file string) ([]string, error) {
	name := "the release's hook " + kind + ", " + strconv.Quote(file) + ", "
	full := filepath.Join(a.cfg.Tree, filepath.FromSlash(file))
	info, err := os.Stat(full)
	switch {
	case !filepath.IsLocal(file):
		return nil, godwit.Fail(godwit.CodeHook, nil, name+"is not a path within the release", "")
	case err != nil || !info.Mode().IsRegular():
		return nil, godwit.Fail(godwit.CodeHook, nil, name+"is not among the installed files",
			"have it in the release, and within tree.allow and tree.ignore")
	case info.Mode()&0o111 != 0:
		return []string{full}, nil
	case strings.HasSuffix(file, ".py"):
		return []string{"python3", full}, nil
	case strings.HasSuffix(file, ".sh"):
		return []string{"sh", full}, nil
	}
	return nil, godwit.Fail(godwit.CodeHook, nil, name+"cannot be run: it is neither executable nor a .py or .sh file",
		"give it the mode 755, or one of these names")
}

// dir is the working directory of commands: the running tree, or the root
// before anything is installed.
func (a *App) dir() string {
	if i, err := os.Stat(a.cfg.Tree); err == nil && i.IsDir() {
		return a.cfg.Tree
	}
	return a.cfg.Root
}

// environ is the environment of commands.
func (a *App) environ(more []string) []string {
	env := a.cfg.Env
	if env == nil {
		env = os.Environ()
	}
	env = append(env[:len(env):len(env)], "GODWIT_ROOT="+a.cfg.Root, "GODWIT_TREE="+a.dir(), "PWD="+a.dir())
	return append(env, more...)
}
