//go:build linux

package board

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// Systemd tells the service manager how this process is doing: sd_notify(3),
// for units with Type=notify or Type=notify-reload. Without a service manager
// all calls do nothing and return nil.
type Systemd struct {
	socket   string        // "" for none; a leading @ for a name outside the file system
	watchdog time.Duration // WatchdogSec= of the unit; 0 for none
}

// newSystemd reads the environment that systemd gives to a service: sd_notify(3)
// and sd_watchdog_enabled(3).
func newSystemd(getenv func(string) string) *Systemd {
	s := &Systemd{}
	// Other kinds of address ("vsock:…") are for whole machines.
	if a := getenv("NOTIFY_SOCKET"); len(a) > 1 && len(a) < 108 && (a[0] == '/' || a[0] == '@') {
		s.socket = a
	}
	usec, err := strconv.ParseUint(getenv("WATCHDOG_USEC"), 10, 63)
	if err != nil || usec == 0 || usec > uint64(365*24*time.Hour/time.Microsecond) || s.socket == "" {
		return s
	}
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s // meant for another process
	}
	s.watchdog = time.Duration(usec) * time.Microsecond
	return s
}

// Ready says that the service has started, or has finished to reload.
func (s *Systemd) Ready() error { return s.send("READY=1") }

// Status is one line for `systemctl status`.
func (s *Systemd) Status(text string) error {
	return s.send("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

// Stopping says that the service is about to end.
func (s *Systemd) Stopping() error { return s.send("STOPPING=1") }

// Reloading says that the configuration is being read again; Ready ends it.
func (s *Systemd) Reloading() error {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return err
	}
	return s.send("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(t.Nano()/1000, 10))
}

// send sends one datagram. It waits at most two seconds for a manager that does
// not keep up.
func (s *Systemd) send(state string) error {
	if s.socket == "" {
		return nil
	}
	err := func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		limit := unix.NsecToTimeval(int64(2 * time.Second))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
			return err
		}
		for {
			err := unix.Sendto(fd, []byte(state), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: s.socket})
			if !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	}()
	if err != nil {
		return godwit.Fail(godwit.CodeFailed, err, "systemd cannot be told "+strconv.Quote(state), "check NotifyAccess= of the unit")
	}
	return nil
}

func (s *Systemd) describe() string {
	switch {
	case s.socket == "":
		return "none"
	case s.watchdog > 0:
		return "listens, and has a watchdog of " + s.watchdog.String()
	}
	return "listens"
}
