//go:build linux

package board

import (
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// WatchdogConfig says which watchdogs are fed.
type WatchdogConfig struct {
	// Timeout arms the watchdog of the device: it resets the device when it has
	// not been fed for so long. Whole seconds, rounded up, of at least one; 0
	// leaves it alone.
	Timeout time.Duration
	// Device is its name in /dev; "" means "watchdog".
	Device string
	// Limit is how old the last proof of life may be. It goes for systemd's
	// watchdog too. It should be longer than the longest step without progress
	// and without Feeder.Expect, such as waiting for a host. 0 means two minutes.
	Limit time.Duration
}

// DefaultLimit is WatchdogConfig.Limit where none is given.
const DefaultLimit = 2 * time.Minute

func (c WatchdogConfig) check() (WatchdogConfig, error) {
	if c.Device == "" {
		c.Device = "watchdog"
	}
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	switch {
	case !plainName(c.Device):
		return c, godwit.Fail(godwit.CodeConfig, nil, "the watchdog cannot be called "+strconv.Quote(c.Device), `give its name in /dev, such as "watchdog0"`)
	case c.Timeout < 0 || c.Timeout > 24*time.Hour:
		return c, godwit.Fail(godwit.CodeConfig, nil, "the watchdog's timeout of "+c.Timeout.String()+" makes no sense", "most can wait 15 to 60 seconds")
	case c.Limit < 0:
		return c, godwit.Fail(godwit.CodeConfig, nil, "the watchdog's limit must not be negative", "")
	}
	return c, nil
}

// Watch arms the watchdog of the device, if the Config asks for it, and begins
// to feed it and systemd's, if systemd asks for that (WatchdogSec= in the unit).
// It returns nil without an error where there is neither. Where the device's own
// cannot be armed it returns an error, and the Feeder of systemd's if there is
// one. The Feeder ends with Board.Close or its own.
//
// A process that ends without closing it leaves the watchdog armed, so that a
// crash resets the device too, unless the program is started again in time and
// calls Watch.
func (b *Board) Watch() (*Feeder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.feeder != nil && !b.feeder.isClosed() {
		return b.feeder, nil
	}
	b.feeder = nil
	c := b.cfg.Watchdog
	var dogs []*dog
	var err error
	if c.Timeout > 0 {
		var d *dog
		if d, err = openWatchdog(b.dev(c.Device), c.Timeout); err == nil {
			dogs = append(dogs, d)
		}
	}
	if every := b.systemd.watchdog; every > 0 {
		dogs = append(dogs, &dog{name: "systemd's watchdog", timeout: every, feed: func() error { return b.systemd.send("WATCHDOG=1") }})
	}
	if len(dogs) > 0 {
		b.feeder = newFeeder(dogs, c.Limit, b.cfg.Report)
	}
	return b.feeder, err
}

// openWatchdog arms a watchdog; from here on it wants to be fed.
// Source: Documentation/watchdog/watchdog-api.rst and linux/watchdog.h.
func openWatchdog(path string, timeout time.Duration) (*dog, error) {
	fail := func(err error, hint string) (*dog, error) {
		return nil, godwit.Fail(godwit.CodeFailed, err, "the watchdog cannot be armed", hint)
	}
	// Anything that is no device would look as if it worked.
	info, err := os.Stat(path)
	if err == nil && info.Mode()&os.ModeCharDevice == 0 {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("it is no device")}
	}
	var fd int
	if err == nil {
		fd, err = again(func() (int, error) {
			return unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		})
		if err != nil {
			err = &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fail(err, "something else feeds it: systemd (RuntimeWatchdogSec=) or a watchdog daemon; use systemd's WatchdogSec= instead, or end that")
	case errors.Is(err, os.ErrPermission):
		return fail(err, "this needs root")
	case err != nil:
		return fail(err, "load the driver of the watchdog, or softdog where the device has none; `godwit status` shows those there are")
	}
	// What cannot be set stays as the driver has it; what it says then counts.
	seconds := int((timeout + time.Second - 1) / time.Second)
	setErr := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds)
	actual, err := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT)
	switch {
	case err == nil && actual > 0 && actual < 1<<31:
		seconds = int(actual)
	case setErr != nil:
		seconds = 3 // unknown: fed every second
	}
	f := &device{fd: fd}
	return &dog{name: "the watchdog " + path, timeout: time.Duration(seconds) * time.Second, feed: f.feed, close: f.close}, nil
}

// A device is an open /dev/watchdog.
type device struct{ fd int }

// feed tells it that all is well. Old drivers only know a write for that; any
// byte but V will do.
func (d *device) feed() error {
	err := unix.IoctlWatchdogKeepalive(d.fd)
	if err == unix.ENOTTY || err == unix.EOPNOTSUPP || err == unix.EINVAL {
		return d.write("\x00")
	}
	return err
}

// close disarms it with the magic V.
func (d *device) close() error {
	err := d.write("V")
	if e := unix.Close(d.fd); err == nil {
		err = e
	}
	return err
}

func (d *device) write(s string) error {
	n, err := again(func() (int, error) { return unix.Write(d.fd, []byte(s)) })
	if err == nil && n < len(s) {
		err = io.ErrShortWrite
	}
	return err
}

// describeWatchdog looks without touching: to open a watchdog arms it.
// Source: Documentation/ABI/testing/sysfs-class-watchdog.
func (b *Board) describeWatchdog() string {
	var s string
	for _, name := range list(b.sys("class", "watchdog")) {
		at := func(attr string) string {
			v, _ := read(b.sys("class", "watchdog", name, attr))
			return clean(v)
		}
		if s != "" {
			s += "; "
		}
		s += clean(name)
		if v := at("identity"); v != "" {
			s += " " + strconv.Quote(v)
		}
		if v := at("state"); v != "" {
			s += ", " + v
		}
		if v := at("timeout"); v != "" {
			s += ", timeout " + v + " s"
		}
		if at("nowayout") == "1" {
			s += ", cannot be disarmed"
		}
	}
	if s == "" {
		if _, err := os.Stat(b.dev(b.cfg.Watchdog.Device)); err == nil {
			s = b.dev(b.cfg.Watchdog.Device)
		} else {
			s = "none"
		}
	}
	if t := b.cfg.Watchdog.Timeout; t > 0 {
		s += "; wanted: " + b.dev(b.cfg.Watchdog.Device) + ", " + t.String()
	}
	return s
}
