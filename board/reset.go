//go:build linux

package board

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// A Mode is how a device, or its application, begins again.
type Mode string

// The modes, by the names they have in configuration files.
const (
	Hard Mode = "hard" // the device reboots
	Soft Mode = "soft" // the application begins again: Config.Restart
	None Mode = "none" // nothing happens
)

// Reset begins again as mode says. When Reset(Hard) returns nil the device is
// going down, and nothing after that can be counted on. Everything written is
// synced before. Reset(Soft) without Config.Restart, and None, do nothing; any
// other mode is refused with godwit.CodeConfig.
func (b *Board) Reset(mode Mode) error {
	switch mode {
	case None:
		return nil
	case Soft:
		if b.cfg.Restart == nil {
			return nil
		}
		return b.cfg.Restart()
	case Hard:
	default:
		return godwit.Fail(godwit.CodeConfig, nil, "there is no reset of the kind "+strconv.Quote(string(mode)), `use "hard", "soft" or "none"`)
	}
	b.sync()
	if b.cfg.Reboot != nil {
		return b.cfg.Reboot()
	}
	// systemd shuts down the services in order: sd_booted(3). Where it cannot, a
	// device that nobody can reach is still better off restarted.
	var err error
	if _, e := os.Stat(filepath.Join(b.cfg.Run, "systemd", "system")); e == nil {
		if err = b.run("systemctl", "reboot"); err == nil {
			return nil
		}
		b.sync()
	}
	if e := b.restart(); e != nil {
		if err == nil {
			err = e
		}
		return godwit.Fail(godwit.CodeFailed, err, "the device cannot be rebooted", "run godwit as root")
	}
	return nil
}

// restartNow restarts at once, without anybody being told: reboot(2).
func restartNow() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

// runProgram gives a program a minute. systemctl only asks for the shutdown, and
// a systemd that does not answer must not keep a device from it.
func runProgram(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, name, args...).Run()
}
