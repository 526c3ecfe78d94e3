package agent

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/gate"
)

// Facts are what the board and the configuration say is the case now, for the
// gates. tree is where the application runs. What the history knows is for the caller to add.
func Facts(ctx context.Context, cfg *config.Config, b *board.Board, tree string, now time.Time, clockSet bool) gate.Facts {
	hw := b.Facts()
	return gate.Facts{
		Now: now, ClockSet: clockSet,
		Battery: gate.Battery{Known: hw.Battery.Known, Percent: int(hw.Battery.Percent), Charging: hw.Battery.Charging || hw.Battery.External},
		Metered: cfg.Patches.Metered, Busy: busy(ctx, cfg.When, tree),
		FreeMemory: hw.MemFree, CPUMHz: hw.CPUMHz,
		Temperature: gate.Reading{Known: hw.TemperatureKnown, Value: hw.Temperature},
	}
}

// busyWithin is how long a command may take to say whether the application is busy.
const busyWithin = 10 * time.Second

// busy is why the application must not be disturbed, "" if it may be. A command
// that cannot be run says nothing: an application that is gone must not keep the
// release out that mends it.
func busy(ctx context.Context, w config.When, tree string) string {
	switch {
	case len(w.BusyCommand) > 0:
		ctx, cancel := context.WithTimeout(ctx, busyWithin)
		defer cancel()
		cmd := exec.CommandContext(ctx, w.BusyCommand[0], w.BusyCommand[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		if info, err := os.Stat(tree); err == nil && info.IsDir() {
			cmd.Dir = tree
		}
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return ""
		case ctx.Err() != nil:
			return "when.busy_command did not say that it may be within " + busyWithin.String()
		case errors.As(err, &exit) && exit.ExitCode() != 126 && exit.ExitCode() != 127: // sh(1): not found
			return "when.busy_command says so, with exit code " + strconv.Itoa(exit.ExitCode())
		}
	case w.BusyFile != "":
		return busyFile(string(w.BusyFile))
	}
	return ""
}

// busyFile: a file that somebody has locked (flock(2)), or that holds something, is a
// veto. An empty file that nobody has locked is what is left of one.
func busyFile(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return name + " is locked"
	}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		return name + " is there"
	}
	return ""
}

// wireless reads the strength of the first radio link from /proc/net/wireless,
// which the kernel keeps where CONFIG_CFG80211_WEXT is set: a line for each
// interface, "wlan0: 0000   54.  -56.  -256 …", the third number being dBm.
func wireless(text string) Signal {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 3 {
			continue
		}
		dbm, err := strconv.Atoi(strings.TrimSuffix(f[2], "."))
		if err != nil || dbm >= 0 || dbm < -120 {
			continue
		}
		return Signal{Known: true, DBm: dbm, Where: name}
	}
	return Signal{}
}

func signal() Signal {
	b, err := os.ReadFile("/proc/net/wireless")
	if err != nil {
		return Signal{}
	}
	return wireless(string(b))
}
