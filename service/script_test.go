package service

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shells are those that a device may have. A device with BusyBox has nothing
// but BusyBox: there the programs that scripts call are its own, too.
func shells(t *testing.T) map[string]string {
	all := map[string]string{"sh": os.Getenv("PATH")}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Log("NOT TRIED with BusyBox, which is not here: apt-get install busybox-static")
		return all
	}
	dir := t.TempDir()
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, applet := range strings.Fields(string(out)) {
		if applet != "logger" && applet != "start-stop-daemon" { // logger would want syslogd
			os.Symlink(busybox, filepath.Join(dir, applet))
		}
	}
	all["busybox"] = dir
	return all
}

func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s:", what)
		}
	}
}

func number(file string) int {
	b, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// The init script starts a program, tells whether it runs, starts it again when
// it is killed, wakes it, and stops it with nothing left over.
func TestInitScript(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // or below nohup the agent would ignore it too
	for shell, path := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "it's a $HOME")
			run, log := filepath.Join(dir, "run"), filepath.Join(dir, "log")
			os.MkdirAll(dir, 0o755)
			sh := "/bin/sh"
			if shell == "busybox" {
				sh = path + "/sh"
			}
			binary, config := filepath.Join(dir, "godwit"), filepath.Join(dir, "godwit.toml")
			os.WriteFile(binary, fmt.Appendf(nil, "#!%s\ncd %s || exit\necho \"start $*\" >>log\necho a word\ntrap 'echo hup >>log' HUP\ntrap 'echo term >>log; exit 0' TERM\nwhile :; do sleep 0.05; done\n", sh, shellWord(dir)), 0o755)
			root := filepath.Join(dir, "tree")
			text := mustFiles(t, BusyBox, Options{Binary: binary, Config: config, Root: root})["godwit-agent"]
			text = strings.Replace(text, "run=/run/godwit ", "run="+shellWord(run), 1)
			text = strings.Replace(text, "quick=2 ", "quick=1 ", 1)
			text = strings.ReplaceAll(text, "/etc/default/godwit-agent", "/nothing")
			text = strings.Replace(text, "#!/bin/sh", "#!"+sh, 1)
			text = strings.Replace(text, `log="logger -t godwit" `, "log='tee said' ", 1)
			script := filepath.Join(dir, "godwit-agent")
			os.WriteFile(script, []byte(text), 0o755)
			do := func(verb string, want int) string {
				t.Helper()
				cmd := exec.Command(sh, script, verb)
				cmd.Dir = dir
				cmd.Env = []string{"PATH=" + path}
				out, err := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != want {
					t.Fatalf("%s ended with %d, want %d (%v): %s", verb, code, want, err, out)
				}
				return string(out)
			}
			logs := func(line string) func() bool {
				return func() bool {
					b, _ := os.ReadFile(log)
					return strings.Contains(string(b), line)
				}
			}

			do("status", 3)
			do("stop", 0)
			do("reload", 7)
			do("start", 6) // no configuration
			os.WriteFile(config, nil, 0o644)
			do("start", 0)
			t.Cleanup(func() { exec.Command(sh, script, "stop").Run() })
			within(t, "the start", logs("start agent --config "+config))
			if _, err := os.Stat(root); err != nil {
				t.Error(err)
			}
			first, watch := number(run+"/agent.pid"), number(run+"/watch.pid")
			if out := do("status", 0); !strings.Contains(out, strconv.Itoa(first)) {
				t.Errorf("status: %s; the agent is %d", out, first)
			}
			if out := do("start", 0); !strings.Contains(out, "runs already") {
				t.Errorf("a second start: %s", out)
			}
			do("reload", 0)
			within(t, "the signal", logs("hup"))

			exec.Command("kill", "-9", strconv.Itoa(first)).Run()
			within(t, "another start", func() bool {
				n := number(run + "/agent.pid")
				return n != first && n != 0 && strings.Count(read(log), "start") == 2
			})
			do("status", 0)

			// The watch itself is killed: what it watched is not left beside a new one.
			second := number(run + "/agent.pid")
			exec.Command("kill", "-9", strconv.Itoa(watch)).Run()
			within(t, "the end of the watch", func() bool { return !runs(watch) })
			do("status", 3)
			do("start", 0)
			within(t, "the end of the old agent", func() bool { return !runs(second) })
			within(t, "a third start", func() bool { return strings.Count(read(log), "start") == 3 })

			do("restart", 0)
			within(t, "a fourth start", func() bool { return strings.Count(read(log), "start") == 4 })
			last, watch := number(run+"/agent.pid"), number(run+"/watch.pid")
			os.WriteFile(log, nil, 0o644)
			do("stop", 0)
			within(t, "the end", func() bool { return !runs(last) && !runs(watch) })
			if !logs("term")() {
				t.Error("the agent was not asked to end")
			}
			do("status", 3)
			if left, _ := os.ReadDir(run); len(left) > 0 {
				t.Errorf("left: %v", left)
			}

			// A number of before a boot is somebody else's now.
			os.WriteFile(run+"/watch.pid", []byte("1\n"), 0o644)
			do("status", 3)
		})
	}
}

// What reads the log may fail, as logger does where nobody listens: the agent
// runs all the same.
func TestInitScriptWithoutALog(t *testing.T) {
	dir := t.TempDir()
	binary, config := dir+"/godwit", dir+"/godwit.toml"
	os.WriteFile(config, nil, 0o644)
	// More than a pipe holds.
	os.WriteFile(binary, []byte("#!/bin/sh\ni=0\nwhile [ $i -lt 3000 ]; do echo a line of some forty letters, number $i; i=$((i+1)); done\ntouch "+dir+"/through\nexec sleep 1000\n"), 0o755)
	text := mustFiles(t, BusyBox, Options{Binary: binary, Config: config})["godwit-agent"]
	text = strings.Replace(text, "run=/run/godwit ", "run="+dir+"/run ", 1)
	text = strings.Replace(text, `log="logger -t godwit" `, "log=false ", 1)
	script := dir + "/godwit-agent"
	os.WriteFile(script, []byte(text), 0o755)
	if out, err := exec.Command(script, "start").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer exec.Command(script, "stop").Run()
	within(t, "the agent's last line", func() bool { _, err := os.Stat(dir + "/through"); return err == nil })
}

func read(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}

func runs(pid int) bool {
	stat := read("/proc/" + strconv.Itoa(pid) + "/stat")
	return stat != "" && !strings.Contains(stat, ") Z ")
}

func TestRecoverScript(t *testing.T) {
	for _, c := range []struct{ godwit, want int }{{0, 0}, {7, 0}, {1, 1}} {
		dir := t.TempDir()
		binary := filepath.Join(dir, "godwit")
		os.WriteFile(binary, fmt.Appendf(nil, "#!/bin/sh\necho $* >>%s/log\nexit %d\n", dir, c.godwit), 0o755)
		script := filepath.Join(dir, "godwit-recover")
		o := Options{Binary: binary, Config: dir + "/godwit.toml"}
		os.WriteFile(script, []byte(mustFiles(t, BusyBox, o)["godwit-recover"]), 0o755)
		if err := exec.Command("sh", script, "start").Run(); err != nil || read(dir+"/log") != "" {
			t.Error("without a configuration:", err)
		}
		os.WriteFile(o.Config, nil, 0o644)
		cmd := exec.Command("sh", script, "boot")
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.want || read(dir+"/log") != "recover --config "+o.Config+"\n" {
			t.Errorf("%d: %d, %q", c.godwit, got, read(dir+"/log"))
		}
	}
}

// A launched is a device with a packaged program and one in its own tree, both
// of which say who they are.
type launched struct {
	t                 *testing.T
	path, shell       string
	dir, binary, self string
	script            string
}

func newLaunched(t *testing.T, shell, path string) *launched {
	l := &launched{t: t, path: path, shell: shell, dir: t.TempDir()}
	l.binary, l.self, l.script = l.dir+"/packaged godwit", l.dir+"/my self", l.dir+"/launch"
	os.WriteFile(l.script, []byte(mustFiles(t, BusyBox, everything(l.binary, "/srv"))["launch"]), 0o755)
	l.program(l.binary, "packaged", "")
	return l
}

// program writes a godwit. Its status is that of no trial; rest is what else it
// does.
func (l *launched) program(name, says, rest string) string {
	os.MkdirAll(filepath.Dir(name), 0o755)
	os.WriteFile(name, []byte("#!/bin/sh\n[ \"$1\" = version ] && echo godwit 1 && exit\n"+rest+"\n[ \"$1\" = status ] && echo '{\"trial\":null}' && exit\necho "+says+" \"$@\"\n"), 0o755)
	return name
}

func (l *launched) own(says, rest string) string {
	return l.program(l.self+"/current/godwit-linux-any", says, rest)
}

func (l *launched) launch(args ...string) (string, int) {
	cmd := exec.Command("sh", append([]string{l.script}, args...)...)
	if l.shell == "busybox" {
		cmd.Path = filepath.Join(l.path, "sh")
	}
	cmd.Env = []string{"PATH=" + l.path, "GODWIT_RUN=" + l.dir + "/run"}
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestLauncherPicks(t *testing.T) {
	for shell, path := range shells(t) {
		for _, c := range []struct {
			name string
			make func(l *launched)
			want string
		}{
			{"nothing there", func(l *launched) {}, "packaged a b c\n"},
			{"its own", func(l *launched) { l.own("own", "") }, "own a b c\n"},
			{"does not start", func(l *launched) { l.own("own", ""); l.broken() }, "takes its place"},
			{"no program", func(l *launched) { os.WriteFile(l.own("", ""), []byte("\x7fELF junk"), 0o755) }, "takes its place"},
			{"empty", func(l *launched) { os.WriteFile(l.own("", ""), nil, 0o755) }, "takes its place"},
			{"not executable", func(l *launched) { os.Chmod(l.own("own", ""), 0o644) }, "takes its place"},
			{"one that starts beside one that does not", func(l *launched) {
				os.WriteFile(l.program(l.self+"/current/godwit-linux-aaa", "", ""), []byte("junk\x00"), 0o755)
				l.own("own", "")
			}, "own a b c\n"},
		} {
			t.Run(shell+"/"+c.name, func(t *testing.T) {
				l := newLaunched(t, shell, path)
				c.make(l)
				out, code := l.launch("run", l.binary, l.self, "a", "b c")
				if code != 0 || !strings.Contains(out, c.want) || c.want == "takes its place" && !strings.Contains(out, "packaged a b c\n") {
					t.Errorf("%d: %s", code, out)
				}
			})
		}
		t.Run(shell+"/started again and again", func(t *testing.T) {
			l := newLaunched(t, shell, path)
			l.own("own", "")
			for i := range 7 {
				want := "own a"
				if i >= 5 {
					want = "packaged a"
				}
				if out, _ := l.launch("run", l.binary, l.self, "a"); !strings.Contains(out, want) {
					t.Errorf("start %d: %s", i+1, out)
				}
			}
		})
	}
}

// broken makes the program in the tree one that fails at once.
func (l *launched) broken() {
	os.WriteFile(l.self+"/current/godwit-linux-any", []byte("#!/bin/sh\nexit 1\n"), 0o755)
}

func TestLauncherUpdates(t *testing.T) {
	for shell, path := range shells(t) {
		for _, c := range []struct {
			name string
			make func(l *launched)
			want string
			code int
		}{
			{"nothing there", func(l *launched) {}, "packaged update --config /c\n", 0},
			{"its own", func(l *launched) { l.own("own", "") }, "own update --config /c\n", 0},
			{"no network", func(l *launched) { l.own("own", `[ "$1" = update ] && echo no && exit 6`) }, "no\n", 6},
			{"its own fails", func(l *launched) { l.own("own", `[ "$1" = update ] && echo no && exit 1`) }, "packaged update --config /c\n", 0},
			{"its own is on trial", func(l *launched) {
				l.own("own", "")
				l.program(l.binary, "packaged", `[ "$1" = status ] && echo '{"trial":{}}' && exit`)
			}, "packaged update --config /c\n", 0},
		} {
			t.Run(shell+"/"+c.name, func(t *testing.T) {
				l := newLaunched(t, shell, path)
				c.make(l)
				out, code := l.launch("update", l.binary, l.self, "/c")
				if code != c.code || !strings.HasSuffix(out, c.want) || strings.Contains(out, "own") && strings.HasPrefix(c.want, "packaged") && !strings.Contains(out, "could not") {
					t.Errorf("%d: %s", code, out)
				}
			})
		}
	}
}
