package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func release(name, commit string) godwit.Verified {
	return godwit.Verified{Release: godwit.Release{Version: name, Tip: godwit.Tip{Ref: "refs/tags/" + name, Commit: commit}}}
}

func newApp(t *testing.T, cfg Config) *App {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	if cfg.Tree == "" {
		cfg.Tree = filepath.Join(cfg.Root, "current")
	}
	return New(cfg)
}

func TestHookEnvironment(t *testing.T) {
	a := newApp(t, Config{PostSwitch: sh(`pwd; env | grep ^GODWIT_ | sort`)})
	if err := os.Mkdir(a.cfg.Tree, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := a.Hook(t.Context(), "post_switch", release("v1", "aaa"), release("v2", "bbb"))
	if err != nil {
		t.Fatal(err)
	}
	want := a.cfg.Tree + "\nGODWIT_FROM=aaa\nGODWIT_FROM_VERSION=v1\nGODWIT_HOOK=post_switch\nGODWIT_REF=refs/tags/v2\n" +
		"GODWIT_ROOT=" + a.cfg.Root + "\nGODWIT_TO=bbb\nGODWIT_TO_VERSION=v2\nGODWIT_TREE=" + a.cfg.Tree
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestHookBeforeAnythingIsInstalledRunsInTheRoot(t *testing.T) {
	a := newApp(t, Config{PreSwitch: sh("pwd")})
	if out, err := a.Hook(t.Context(), "pre_switch", godwit.Verified{}, godwit.Verified{}); out != a.cfg.Root || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestHookFailures(t *testing.T) {
	for _, c := range []struct {
		name      string
		argv      []string
		out, want string
	}{
		{"none", nil, "", ""},
		{"good", sh("echo fine"), "fine", ""},
		{"exit code", sh("echo no >&2; exit 3"), "no", "the hook pre_switch ended with exit code 3"},
		{"signal", sh("kill -TERM $$"), "", "the hook pre_switch was ended by the signal terminated"},
		{"missing", []string{"./nothing"}, "", "the hook pre_switch could not be started: ./nothing: no such file or directory"},
		{"not on PATH", []string{"no-such-program-anywhere"}, "", "the hook pre_switch could not be started: no-such-program-anywhere: executable file not found in $PATH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, Config{PreSwitch: c.argv})
			out, err := a.Hook(t.Context(), "pre_switch", godwit.Verified{}, godwit.Verified{})
			if out != c.out || (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("%q, %v", out, err)
			}
			if err != nil && godwit.CodeOf(err) != godwit.CodeHook {
				t.Errorf("code %s", godwit.CodeOf(err))
			}
		})
	}
}

// alive reports whether the process exists and is no zombie.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// A release brings programs of its own: one for after the switch to it, one for
// when it is taken back.
func TestHooksOfARelease(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	for _, c := range []struct {
		name, moment, file, content string
		mode                        os.FileMode
		out, want                   string
	}{
		{"executable", "post_switch", "hooks/post", "#!/bin/sh\necho \"$GODWIT_HOOK in $(basename $PWD)\"", 0o755, "first\npost_update in current", ""},
		{"executable, whatever its name", "post_switch", "post.py", "#!/bin/sh\necho sh", 0o755, "first\nsh", ""},
		{"python", "post_switch", "hooks/post.py", "import os; print(os.environ['GODWIT_TO_VERSION'], os.path.exists('hooks/post.py'))", 0o644, "first\nv2 True", ""},
		{"shell", "post_switch", "post.sh", "echo $GODWIT_TO", 0o644, "first\nbbb", ""},
		{"undo", "pre_rollback", "undo.sh", "echo $GODWIT_HOOK of $GODWIT_FROM", 0o644, "rollback of aaa", ""},
		{"fails", "post_switch", "post.sh", "echo half; exit 2", 0o644, "first\nhalf", "the release's hook post_update ended with exit code 2"},
		{"no program", "post_switch", "post.txt", "hello", 0o644, "first", `the release's hook post_update, "post.txt", cannot be run: it is neither executable nor a .py or .sh file`},
		{"missing", "post_switch", "post.sh", "", 0, "first", `the release's hook post_update, "post.sh", is not among the installed files`},
		{"a folder", "post_switch", ".", "", 0, "first", `the release's hook post_update, ".", is not among the installed files`},
		{"outside", "post_switch", "../evil.sh", "echo evil", 0o644, "first", `the release's hook post_update, "../evil.sh", is not a path within the release`},
		{"another moment", "post_rollback", "post.sh", "echo no", 0o644, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, Config{PostSwitch: sh("echo first")})
			full := filepath.Join(a.cfg.Tree, c.file)
			os.MkdirAll(a.cfg.Tree, 0o755)
			if c.mode != 0 {
				os.MkdirAll(filepath.Dir(full), 0o755)
				if err := os.WriteFile(full, []byte(c.content), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			from, to := release("v1", "aaa"), release("v2", "bbb")
			from.Undo, to.PostUpdate = c.file, c.file
			out, err := a.Hook(t.Context(), c.moment, from, to)
			if out != c.out || (err == nil) != (c.want == "") || err != nil && (err.Error() != c.want || godwit.CodeOf(err) != godwit.CodeHook) {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

func TestAFailedHookOfTheDeviceIsTheLast(t *testing.T) {
	a := newApp(t, Config{PostSwitch: sh("exit 1")})
	os.MkdirAll(a.cfg.Tree, 0o755)
	mark := filepath.Join(a.cfg.Root, "ran")
	os.WriteFile(filepath.Join(a.cfg.Tree, "post.sh"), []byte("touch "+mark), 0o644)
	to := release("v2", "bbb")
	to.PostUpdate = "post.sh"
	if _, err := a.Hook(t.Context(), "post_switch", release("v1", "aaa"), to); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the release's hook ran nevertheless")
	}
}

func TestHookAtItsLimitEndsWithAllItStarted(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	a := newApp(t, Config{PreSwitch: sh("sleep 600 & echo $! >" + pidFile + "; echo started; wait"), HookTimeout: 300 * time.Millisecond})
	out, err := a.Hook(t.Context(), "pre_switch", godwit.Verified{}, godwit.Verified{})
	if out != "started" || err == nil || err.Error() != "the hook pre_switch took longer than 300ms and was ended" {
		t.Errorf("%q, %v", out, err)
	}
	pid, _ := os.ReadFile(pidFile)
	for n := 0; alive(strings.TrimSpace(string(pid))); n++ {
		if n == 200 {
			t.Fatal("what the hook started still runs")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestHookThatLeavesSomethingRunningIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	a := newApp(t, Config{PreSwitch: sh("sleep 600 & echo $! >" + pidFile)})
	_, err := a.Hook(t.Context(), "pre_switch", godwit.Verified{}, godwit.Verified{})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(pidFile)
	pid := strings.TrimSpace(string(b))
	if !alive(pid) {
		t.Error("it was ended with the hook")
	}
	if n, err := strconv.Atoi(pid); err == nil {
		syscall.Kill(n, syscall.SIGKILL)
	}
}

func TestOutputIsCutToItsEnd(t *testing.T) {
	a := newApp(t, Config{PreSwitch: sh("i=0; while [ $i -lt 3000 ]; do echo ä line $i; i=$((i+1)); done")})
	out, err := a.Hook(t.Context(), "pre_switch", godwit.Verified{}, godwit.Verified{})
	if err != nil || len(out) > MaxOutput || len(out) < MaxOutput-8 || !strings.HasPrefix(out, "…") || !strings.HasSuffix(out, "line 2999") {
		t.Errorf("%d bytes, %v: %.20q … %q", len(out), err, out, out[max(0, len(out)-20):])
	}
}

func TestTail(t *testing.T) {
	for _, sizes := range [][]int{{5}, {MaxOutput}, {MaxOutput + 1}, {3, MaxOutput}, {MaxOutput, 3}, {10000, 1, 10000}, {4000, 4000}} {
		var out tail
		var all strings.Builder
		for i, n := range sizes {
			s := strings.Repeat(string(rune('a'+i)), n)
			all.WriteString(s)
			out.Write([]byte(s))
		}
		want := all.String()
		if len(want) > MaxOutput {
			want = "…" + want[len(want)-MaxOutput+len("…"):]
		}
		if got := out.String(); got != want {
			t.Errorf("%v: %d bytes, want %d", sizes, len(got), len(want))
		}
	}
}

func TestRestartCommand(t *testing.T) {
	a := newApp(t, Config{Restart: Restart{Command: sh("echo hello; echo it broke >&2; exit 1")}})
	_, err := a.Restart(t.Context())
	if err == nil || err.Error() != "the restart command ended with exit code 1: it broke" {
		t.Error(err)
	}
	if reboot, err := newApp(t, Config{}).Restart(t.Context()); reboot || err != nil {
		t.Error("none:", reboot, err)
	}
}

// fakeSystemctl puts a systemctl in a folder. It logs its arguments and, for
// `show`, prints the lines of the script that the state file holds.
func fakeSystemctl(t *testing.T, show string) (program, log string) {
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	program = filepath.Join(dir, "systemctl")
	os.WriteFile(log, nil, 0o644)
	script := "#!/bin/sh\necho \"$@\" >>" + log + "\ncd " + dir + "\ncase \"$1\" in\nshow)\n" + show + "\n;;\nstatus) echo STATUS of $4;;\nesac\n"
	// Written by a child process: an executable that this process has open for
	// writing while another test forks could not be started.
	cmd := exec.Command("/bin/sh", "-c", "cat >"+program+" && chmod +x "+program)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program, log
}

func TestRestartUnitAndReboot(t *testing.T) {
	program, log := fakeSystemctl(t, "")
	for _, c := range []struct {
		r      Restart
		reboot bool
	}{{Restart{Unit: "station.service"}, false}, {Restart{Reboot: true}, true}} {
		if reboot, err := newApp(t, Config{Systemctl: program, Restart: c.r}).Restart(t.Context()); reboot != c.reboot || err != nil {
			t.Errorf("%+v: %v, %v", c.r, reboot, err)
		}
	}
	if b, _ := os.ReadFile(log); string(b) != "restart station.service\nreboot\n" {
		t.Errorf("systemctl got %q", b)
	}
}

func TestRestartSignal(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // or below nohup the application would ignore it too
	dir := t.TempDir()
	mark, pidFile := filepath.Join(dir, "mark"), filepath.Join(dir, "pid")
	name := "godwit-test-" + strconv.Itoa(os.Getpid()%100000) // longer than the 15 bytes of comm
	script := filepath.Join(dir, name+"-application")
	text := "#!/bin/sh\ntrap 'echo hup >>" + mark + "' HUP\necho $$ >" + pidFile + "\nwhile :; do sleep 0.02; done\n"
	if out, err := exec.Command("/bin/sh", "-c", "cat >"+script+" <<'EOF'\n"+text+"EOF\nchmod +x "+script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	waitFor(t, func() bool { b, _ := os.ReadFile(pidFile); return len(b) > 0 })

	for i, r := range []Restart{{Signal: "HUP", PIDFile: pidFile}, {Signal: "HUP", Process: name + "-application"}} {
		if _, err := newApp(t, Config{Restart: r}).Restart(t.Context()); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		waitFor(t, func() bool { b, _ := os.ReadFile(mark); return strings.Count(string(b), "hup") == i+1 })
	}
	for _, r := range []Restart{{Signal: "HUP", PIDFile: filepath.Join(dir, "none")}, {Signal: "HUP", Process: "no-such-process-here"}} {
		if _, err := newApp(t, Config{Restart: r}).Restart(t.Context()); err != nil {
			t.Errorf("an application that does not run: %+v: %v", r, err)
		}
	}
	for _, bad := range []string{"", "x", "-1", "1", "0"} {
		os.WriteFile(pidFile, []byte(bad), 0o644)
		if _, err := newApp(t, Config{Restart: Restart{Signal: "HUP", PIDFile: pidFile}}).Restart(t.Context()); err == nil {
			t.Errorf("a file with %q was taken for a process number", bad)
		}
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not happen in 10 s")
}

func TestHealthOfNothing(t *testing.T) {
	if out, err := newApp(t, Config{}).Health(t.Context()); out != "" || err != nil {
		t.Error(out, err)
	}
}

func TestHealthCommandIsTriedUntilItWorks(t *testing.T) {
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	a := newApp(t, Config{Health: Health{Command: sh("echo x >>" + count + "; n=$(wc -l <" + count + "); echo try $n; [ $n -ge 3 ]"), Interval: time.Millisecond}})
	if out, err := a.Health(t.Context()); out != "try 3" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestHealthCommandThatNeverWorks(t *testing.T) {
	a := newApp(t, Config{Health: Health{Command: sh("echo bad; exit 4"), Interval: 10 * time.Millisecond}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	out, err := a.Health(ctx)
	if out != "bad" || err == nil || !strings.HasPrefix(err.Error(), "the health check ended with exit code 4 (") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestHealthCommandThatHangs(t *testing.T) {
	a := newApp(t, Config{Health: Health{Command: sh("echo waiting; sleep 600")}})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	out, err := a.Health(ctx)
	if out != "waiting" || err == nil || !strings.HasPrefix(err.Error(), "the health check was ended: context deadline exceeded") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestHealthCommandThatIsNotThere(t *testing.T) {
	a := newApp(t, Config{Health: Health{Command: []string{"./selftest"}}})
	if _, err := a.Health(t.Context()); err == nil || err.Error() != "the health check could not be started: ./selftest: no such file or directory" {
		t.Error(err)
	}
}

func TestHealthURL(t *testing.T) {
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/sick":
			w.WriteHeader(503)
			fmt.Fprint(w, "no sensor")
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case r.URL.Path == "/private":
			if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
				w.WriteHeader(401)
			}
			w.(http.Flusher).Flush() // so it comes in chunks
			fmt.Fprint(w, "in chunks")
		case n.Add(1) < 3:
			w.WriteHeader(503)
		default:
			fmt.Fprint(w, "ok")
		}
	}))
	defer srv.Close()
	h := Health{URL: srv.URL, Interval: time.Millisecond}
	if out, err := newApp(t, Config{Health: h}).Health(t.Context()); out != "ok" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	h.URL = strings.Replace(srv.URL, "://", "://me:secret@", 1) + "/private"
	if out, err := newApp(t, Config{Health: h}).Health(t.Context()); out != "in chunks" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	for path, want := range map[string]string{"/sick": "answered 503 Service Unavailable", "/moved": "answered 302 Found"} {
		h.URL = srv.URL + path
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		out, err := newApp(t, Config{Health: h}).Health(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || path == "/sick" && out != "no sensor" {
			t.Errorf("%s: %q, %v", path, out, err)
		}
	}
	for raw, want := range map[string]string{"SSH-2.0-x\r\n": "not HTTP", "HTTP/1.1 200 OK\r\nA: b": "ended within the answer"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write([]byte(raw))
				c.Close()
			}
		}()
		h.URL = "http://" + l.Addr().String()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := newApp(t, Config{Health: h}).Health(ctx); err == nil {
			t.Errorf("%q was taken for an answer, want %q", raw, want)
		}
		cancel()
		l.Close()
	}
	h.URL = "https://" + strings.TrimPrefix(srv.URL, "http://")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	if _, err := newApp(t, Config{Health: h}).Health(ctx); err == nil {
		t.Error("http was taken for https")
	}
	cancel()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	h.URL = secure.URL
	ctx, cancel = context.WithTimeout(t.Context(), 4*time.Second)
	if _, err := newApp(t, Config{Health: h}).Health(ctx); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error("an unknown authority:", err)
	}
	cancel()
	srv.Close()
	h.URL = srv.URL
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := newApp(t, Config{Health: h}).Health(ctx); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error("nobody there:", err)
	}
}

func TestHealthUnit(t *testing.T) {
	const counter = "echo x >>n; n=$(wc -l <n)\n"
	state := func(s string, restarts, pid string) string {
		return "echo LoadState=loaded; echo ActiveState=" + s + "; echo NRestarts=" + restarts + "; echo MainPID=" + pid
	}
	for _, c := range []struct {
		name, show string
		out, want  string
	}{
		{"active", state("active", "2", "7"), "ActiveState=active MainPID=7 NRestarts=2", ""},
		{"activating first", counter + "if [ $n -lt 4 ]; then " + state("activating", "0", "7") + "; else " + state("active", "0", "7") + "; fi", "ActiveState=active MainPID=7 NRestarts=0", ""},
		{"restarted by systemd", counter + "if [ $n -lt 4 ]; then " + state("active", "0", "7") + "; else " + state("active", "1", "8") + "; fi", "STATUS of x.service", "the unit x.service did not stay up: systemd restarted it"},
		{"failed", state("failed", "0", "0"), "STATUS of x.service", "the unit x.service failed"},
		{"never active", state("activating", "0", "0"), "STATUS of x.service", "the unit x.service was not active for 100ms in time: it is activating"},
		{"another process each time", counter + state("active", "0", "$n"), "STATUS of x.service", "the unit x.service was not active for 100ms in time: it is active"},
		{"not there", "echo LoadState=not-found; echo ActiveState=inactive", "LoadState=not-found\nActiveState=inactive", "there is no unit x.service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program, _ := fakeSystemctl(t, c.show)
			a := newApp(t, Config{Systemctl: program, Health: Health{Unit: "x.service", Interval: 5 * time.Millisecond, Stable: 100 * time.Millisecond}})
			limit := time.Minute
			if strings.Contains(c.want, "in time") {
				limit = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			out, err := a.Health(ctx)
			if out != c.out || (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	a := newApp(t, Config{Systemctl: "/nowhere/systemctl", Health: Health{Unit: "x.service"}})
	if _, err := a.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "could not be started") {
		t.Error("no systemctl:", err)
	}
}
