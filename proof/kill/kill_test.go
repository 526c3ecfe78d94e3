//go:build linux && amd64

package kill

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A tree is what a version holds: path to content, with "x:" before that of
// executables and "l:" before the target of links.
type tree map[string]string

var (
	one = tree{"main.py": "one\n", "lib/__init__.py": "", "lib/a.py": "same\n", "lib/b.py": "same\n", "bin/run": "x:#!/bin/sh\n",
		"swap": "file\n", "turn/around": "dir\n", "old/deep/er/x": "x\n", "moved": "content that moves\n", "big": strings.Repeat("0123456789abcdef", 6000)}
	two = tree{"main.py": "two\n", "lib/__init__.py": "", "lib/a.py": "same\n", "lib/c.py": "same\n", "bin/run": "#!/bin/sh\n", "tool": "x:#!/bin/sh\n",
		"swap/in": "dir\n", "turn": "file\n", "new/moved": "content that moves\n", "big": strings.Repeat("0123456789abcdef", 6000) + "!", "README": "l:main.py"}
	// foreign lies in the root and is nobody's business.
	foreign = tree{"data.db": "rows\n", "lib/local.cfg": "mine\n"}
)

// A rig is a repository with two versions, a program and configurations.
type rig struct {
	dir, godwit string
	ids         [3]string // commits, from 1
}

func (r *rig) command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir()}
	for _, tool := range []string{"git", "go", "cp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("SKIPPED: this test needs " + tool)
		}
	}
	r.godwit = filepath.Join(r.dir, "godwit")
	must := func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	must(r.command("../..", "go", "build", "-o", r.godwit, "./cmd/godwit"))
	repo := filepath.Join(r.dir, "repo")
	must(r.command(r.dir, "git", "init", "-q", repo))
	for i, v := range []tree{one, two} {
		if i > 0 {
			must(r.command(repo, "git", "rm", "-rq", "."))
		}
		if err := write(repo, v); err != nil {
			t.Fatal(err)
		}
		must(r.command(repo, "git", "add", "-A"))
		must(r.command(repo, "git", "commit", "-qm", "a version"))
		must(r.command(repo, "git", "tag", fmt.Sprint("v", i+1)))
		r.ids[i+1] = must(r.command(repo, "git", "rev-parse", "HEAD"))
	}
	for v := 1; v <= 2; v++ {
		for _, layout := range []string{"slots", "in-place"} {
			for _, health := range []string{"true", "false"} {
				text := fmt.Sprintf("[source]\nurl = %q\ntag = \"v%d\"\n[trust]\nmode = \"none\"\n[tree]\nroot = %q\nlayout = %q\nsymlinks = true\n[confirm]\ncommand = %q\nwithin = %q\n",
					repo, v, r.dir, layout, health, map[string]string{"true": "10s", "false": "300ms"}[health])
				if err := os.WriteFile(r.config(layout, v, health == "true"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return r
}

func (r *rig) config(layout string, version int, healthy bool) string {
	return filepath.Join(r.dir, fmt.Sprintf("%s-%d-%v.toml", layout, version, healthy))
}

func write(dir string, t tree) error {
	for _, p := range slices.Sorted(maps.Keys(t)) {
		at := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		var err error
		switch v := t[p]; {
		case strings.HasPrefix(v, "l:"):
			err = os.Symlink(v[2:], at)
		case strings.HasPrefix(v, "x:"):
			err = os.WriteFile(at, []byte(v[2:]), 0o755)
		default:
			err = os.WriteFile(at, []byte(v), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A device is a root with a configuration.
type device struct {
	*rig
	root, config, layout string
}

// do runs a command of the program to its end, or until the tracer kills it.
func (d *device) do(t *tracer, args ...string) error {
	log, err := os.Create(filepath.Join(filepath.Dir(d.root), logName))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.godwit, append(args, "--config", d.config, "--root", d.root)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if t != nil {
		if err := t.run(cmd); err != nil {
			return err
		}
	} else {
		err = cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 7 { // rolled back, as asked
			err = nil
		}
	}
	if err != nil || t != nil && !t.killed && t.status != 0 && t.status != 7 {
		b, _ := os.ReadFile(log.Name())
		return fmt.Errorf("godwit %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return nil
}

type status struct {
	Running *struct {
		Commit string `json:"commit"`
	} `json:"running"`
	Settled bool `json:"settled"`
	Damaged bool `json:"damaged"`
}

// version says which version the device is, by its files and by its own word,
// or how the two differ.
func (d *device) version() (int, error) {
	cmd := exec.Command(d.godwit, "status", "--json", "--config", d.config, "--root", d.root)
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	var s status
	if err := json.Unmarshal(out, &s); err != nil {
		return 0, fmt.Errorf("status: %w\n%s", err, out)
	}
	said := 0
	if s.Running != nil {
		if said = slices.Index(d.ids[:], s.Running.Commit); said < 1 || !s.Settled || s.Damaged {
			return 0, fmt.Errorf("status: %s", out)
		}
	}
	got, err := d.read()
	if err != nil {
		return 0, err
	}
	var diffs []string
	for v, want := range []tree{{}, one, two} {
		diff := differ(got, d.whole(want))
		if diff == "" {
			if v != said {
				return 0, fmt.Errorf("the files are those of version %d, and status says %d", v, said)
			}
			b, err := os.ReadFile(filepath.Join(d.root, "version.json"))
			if v > 0 && (err != nil || !strings.Contains(string(b), d.ids[v])) {
				return 0, fmt.Errorf("version.json of version %d: %s %v", v, b, err)
			}
			return v, nil
		}
		diffs = append(diffs, fmt.Sprintf("not %d: %s", v, diff))
	}
	return 0, fmt.Errorf("the files are of no version; status says %d\n%s", said, strings.Join(diffs, "\n"))
}

// whole is all that should be found with a version.
func (d *device) whole(v tree) tree {
	out := maps.Clone(v)
	maps.Copy(out, foreign)
	return out
}

// read reads what lies in the root, and with slots what current leads to.
func (d *device) read() (tree, error) {
	got := tree{}
	walk := func(root string, own func(string) bool) error {
		return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, p)
			if own(rel) {
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			switch {
			case e.IsDir():
				list, err := os.ReadDir(p)
				if len(list) == 0 && rel != "." {
					got[rel+"/"] = "empty folder"
				}
				return err
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(p)
				got[rel] = "l:" + target
				return err
			}
			b, err := os.ReadFile(p)
			if got[rel] = string(b); info.Mode()&0o111 != 0 {
				got[rel] = "x:" + string(b)
			}
			return err
		})
	}
	err := walk(d.root, func(p string) bool {
		return p == ".godwit" || p == "version.json" || d.layout == "slots" && (p == "versions" || p == "current")
	})
	if err == nil && d.layout == "slots" {
		var target string
		if target, err = filepath.EvalSymlinks(filepath.Join(d.root, "current")); err == nil {
			err = walk(target, func(string) bool { return false })
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return got, err
}

func differ(got, want tree) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[p]; !ok {
			b.WriteString("\n\tmissing " + p)
		} else if g != want[p] {
			fmt.Fprintf(&b, "\n\t%s is %.20q, want %.20q", p, g, want[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[p]; !ok {
			b.WriteString("\n\tleft over " + p)
		}
	}
	return b.String()
}

// copyOf makes a device like d in another folder.
func (d *device) copyOf(name string) (*device, error) {
	c := *d
	dir := filepath.Join(d.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	c.root = filepath.Join(dir, "root")
	_, err := d.command(d.dir, "cp", "-a", d.root, c.root)
	return &c, err
}

// A deed is a command that is killed, on a device prepared for it.
type deed struct {
	name     string
	prepare  [][]string
	healthy  bool
	args     []string
	old, new int // versions that may be found
}

var deeds = []deed{
	{name: "first install", healthy: true, args: []string{"update"}, old: 0, new: 2},
	{name: "update", prepare: [][]string{{"update", "1"}}, healthy: true, args: []string{"update"}, old: 1, new: 2},
	{name: "update that fails its trial", prepare: [][]string{{"update", "1"}}, args: []string{"update"}, old: 1, new: 2},
	{name: "rollback", prepare: [][]string{{"update", "1"}, {"update", "2"}}, healthy: true, args: []string{"rollback"}, old: 2, new: 1},
	{name: "repair", prepare: [][]string{{"update", "2"}, {"damage"}}, healthy: true, args: []string{"verify", "--repair"}, old: -1, new: 2},
}

func (r *rig) device(layout string, w deed) (*device, error) {
	name := strings.ReplaceAll(layout+" "+w.name, " ", "-")
	d := &device{rig: r, layout: layout, root: filepath.Join(r.dir, name, "root"), config: r.config(layout, 2, w.healthy)}
	if err := write(d.root, foreign); err != nil {
		return nil, err
	}
	for _, step := range w.prepare {
		if step[0] == "damage" {
			dir := d.root
			if layout == "slots" {
				dir, _ = filepath.EvalSymlinks(filepath.Join(d.root, "current"))
			}
			if err := errors.Join(os.Remove(filepath.Join(dir, "main.py")), os.Remove(filepath.Join(dir, "big")),
				write(dir, tree{"big": "x:damaged"}), os.Chmod(filepath.Join(dir, "tool"), 0o644)); err != nil {
				return nil, err
			}
			continue
		}
		p := *d
		p.config = r.config(layout, int(step[1][0]-'0'), true)
		if err := p.do(nil, step[0]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// A campaign kills one deed at its calls.
type campaign struct {
	*device
	deed
	stride, twice int // every stride-th call; every twice-th call of a recovery
	skip          func(call) bool
	calls         int
	single        int
	double        int
}

// fits says whether the device is what the deed may leave.
func (c *campaign) fits(d *device) error {
	v, err := d.version()
	if err == nil && v != c.old && v != c.new {
		err = fmt.Errorf("found version %d", v)
	}
	if err != nil && c.old == -1 {
		// Damaged files stay until their repair was decided on: then nothing
		// else may be wrong.
		got, rerr := d.read()
		want := d.whole(two)
		delete(want, "main.py")
		want["big"], want["tool"] = "x:damaged", strings.TrimPrefix(two["tool"], "x:")
		if rerr == nil && differ(got, want) == "" {
			return nil
		}
	}
	return err
}

func (c *campaign) run() error {
	for n := 1 + c.stride/2; ; n += c.stride {
		d, err := c.copyOf("kill")
		if err != nil {
			return err
		}
		tr := &tracer{killAt: n, skip: c.skip}
		if err := d.do(tr, c.args...); err != nil {
			return err
		}
		where := fmt.Sprintf("killed before call %d", n)
		if !tr.killed {
			c.calls = len(tr.calls)
			where = "not killed"
		} else {
			where += ", " + tr.calls[n-1].String()
			c.single++
		}
		if c.twice > 0 && tr.killed {
			if err := c.again(d, n, where); err != nil {
				return err
			}
		}
		if err := d.do(nil, "recover"); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if err := c.fits(d); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if n%(7*c.stride) < c.stride && c.healthy && c.args[0] == "update" {
			err := d.do(nil, "update")
			if err == nil {
				err = c.is(d, 2)
			}
			if err != nil {
				return fmt.Errorf("%s, recovered, and updated: %w", where, err)
			}
		}
		if !tr.killed {
			return nil
		}
	}
}

func (c *campaign) is(d *device, want int) error {
	v, err := d.version()
	if err == nil && v != want {
		err = fmt.Errorf("found version %d, want %d", v, want)
	}
	return err
}

// again kills the recovery, too.
func (c *campaign) again(d *device, n int, where string) error {
	for m := 1 + n%c.twice; ; m += c.twice {
		e, err := d.copyOf("again")
		if err != nil {
			return err
		}
		tr := &tracer{killAt: m, skip: c.skip}
		if err := e.do(tr, "recover"); err != nil {
			return err
		}
		if !tr.killed {
			return nil
		}
		c.double++
		err = e.do(nil, "recover")
		if err == nil {
			err = c.fits(e)
		}
		if err != nil {
			return fmt.Errorf("%s, and again before call %d of the recovery, %s: %w", where, m, tr.calls[m-1], err)
		}
	}
}

func allowed(t *testing.T) {
	t.Helper()
	if err := (&tracer{}).run(exec.Command("true")); err != nil {
		t.Skip("SKIPPED: killing at a system call needs ptrace: ", err)
	}
}

func TestKill(t *testing.T) {
	allowed(t)
	r := newRig(t)
	all := os.Getenv("GODWIT_KILL") == "all"
	began := time.Now()
	var calls, single, double int
	for _, layout := range []string{"slots", "in-place"} {
		for _, w := range deeds {
			t.Run(layout+"/"+w.name, func(t *testing.T) {
				d, err := r.device(layout, w)
				if err != nil {
					t.Fatal(err)
				}
				c := &campaign{device: d, deed: w, stride: 37, twice: 0}
				if w.name == "update" {
					c.stride = 19
				}
				if all {
					c.stride, c.twice = 1, 29
				}
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				if c.single == 0 {
					t.Error("nothing was killed")
				}
				t.Logf("%d calls; killed %d times, and %d times again during the recovery", c.calls, c.single, c.double)
				calls, single, double = calls+c.calls, single+c.single, double+c.double
			})
		}
	}
	t.Logf("%d file-system calls; %d processes killed, and %d recoveries: each device was exactly the old or exactly the new version (%s)",
		calls, single, double, time.Since(began).Round(time.Second))
}

// A store that skips a step must be found out, or the test proves nothing.
func TestKillFindsDamage(t *testing.T) {
	allowed(t)
	r := newRig(t)
	for _, tt := range []struct {
		name, layout, deed string
		skip               func(call) bool
	}{
		{"the record is never written", "in-place", "update", func(c call) bool { return c.name == "pwrite64" && strings.HasPrefix(c.path, "record.") }},
		{"one file is not put in place", "in-place", "update", func(c call) bool {
			return strings.HasPrefix(c.name, "rename") && strings.HasSuffix(c.path, "-> main.py")
		}},
		{"a file that goes is not removed", "in-place", "rollback", func(c call) bool { return c.name == "unlinkat" && c.path == "tool" }},
		{"one file is not put in its slot", "slots", "update", func(c call) bool {
			return strings.HasPrefix(c.name, "rename") && strings.HasSuffix(c.path, "-> main.py")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := deeds[slices.IndexFunc(deeds, func(w deed) bool { return w.name == tt.deed })]
			d, err := r.device(tt.layout, w)
			if err != nil {
				t.Fatal(err)
			}
			// A run that reaches its end shows the damage best.
			c := &campaign{device: d, deed: w, stride: 100000, skip: tt.skip}
			err = c.run()
			if err == nil {
				err = c.is(&device{rig: r, layout: tt.layout, config: d.config, root: filepath.Join(r.dir, "kill", "root")}, w.new)
			}
			if err == nil {
				t.Fatal("nothing was found wrong")
			}
			t.Log("found:", err)
		})
	}
}
