package app

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/godwit-ota/godwit"
)

// Restart restarts the application. rebooting says that the device is about to
// go down, so that nothing after this call can be counted on.
func (a *App) Restart(ctx context.Context) (rebooting bool, err error) {
	r := a.cfg.Restart
	fail := func(out string, err error) error {
		if err == nil {
			return nil
		}
		text := err.Error()
		if last := lastLine(out); last != "" {
			text += ": " + last
		}
		return godwit.Fail(godwit.CodeFailed, nil, text, "check the section [restart] of the configuration")
	}
	switch {
	case len(r.Command) > 0:
		return false, fail(a.run(ctx, "the restart command", r.Command, r.Timeout, nil))
	case r.Unit != "":
		return false, fail(a.run(ctx, "the restart of "+r.Unit, []string{a.cfg.Systemctl, "restart", r.Unit}, r.Timeout, nil))
	case r.Signal != "":
		return false, a.signal(r)
	case r.Reboot:
		argv := []string{a.cfg.Systemctl, "reboot"}
		if _, err := exec.LookPath(a.cfg.Systemctl); err != nil {
			argv = []string{"reboot"}
		}
		if err := fail(a.run(ctx, "the reboot", argv, r.Timeout, nil)); err != nil {
			return false, err
		}
		return true, nil
	}
	return false, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL, "CONT": syscall.SIGCONT, "ALRM": syscall.SIGALRM,
}

// signal sends r.Signal. An application that does not run needs no signal: it
// will start with the new version.
func (a *App) signal(r Restart) error {
	sig, ok := signals[r.Signal]
	if !ok {
		return godwit.Fail(godwit.CodeConfig, nil, "restart.signal is no signal: "+strconv.Quote(r.Signal), "")
	}
	pids, err := a.processes(r)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		err := syscall.Kill(pid, sig)
		if err != nil && err != syscall.ESRCH {
			return godwit.Fail(godwit.CodeFailed, err, "cannot send "+r.Signal+" to process "+strconv.Itoa(pid),
				"run godwit as the user of the application, or as root")
		}
	}
	return nil
}

func (a *App) processes(r Restart) ([]int, error) {
	if r.PIDFile != "" {
		b, err := os.ReadFile(r.PIDFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, godwit.Fail(godwit.CodeFailed, err, "cannot read the file with the process number", "")
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil || pid <= 1 {
			return nil, godwit.Fail(godwit.CodeFailed, nil, "the file "+r.PIDFile+" holds no process number", "check restart.pid_file")
		}
		return []int{pid}, nil
	}
	dir, err := os.Open(a.cfg.Proc)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeFailed, err, "cannot list the processes", "use restart.pid_file instead of restart.process")
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeFailed, err, "cannot list the processes", "use restart.pid_file instead of restart.process")
	}
	var pids []int
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		if a.isCalled(n, r.Process) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// isCalled reports whether the process runs the program name: by the name the
// kernel keeps (its first 15 bytes), or the first word of its command line, or,
// for scripts, the second. See proc_pid_comm(5) and proc_pid_cmdline(5).
func (a *App) isCalled(pid, name string) bool {
	comm, err := os.ReadFile(filepath.Join(a.cfg.Proc, pid, "comm"))
	if err != nil {
		return false
	}
	if len(name) <= 15 && strings.TrimSuffix(string(comm), "\n") == name {
		return true
	}
	line, err := os.ReadFile(filepath.Join(a.cfg.Proc, pid, "cmdline"))
	if err != nil {
		return false
	}
	for i, arg := range bytes.SplitN(line, []byte{0}, 3) {
		if i < 2 && len(arg) > 0 && filepath.Base(string(arg)) == name {
			return true
		}
	}
	return false
}
