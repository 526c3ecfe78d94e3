package board

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// terminal makes a device dev/watchdog that understands nothing but writes, as
// the oldest drivers do: a terminal. What was written to it comes out of the
// returned function.
func (d *tree) terminal() (written func() string) {
	d.t.Helper()
	d.put("dev/", "")
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		d.t.Skip("no terminals here: ", err)
	}
	d.t.Cleanup(func() { unix.Close(fd) })
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	if err == nil {
		var n int
		if n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil {
			err = os.Symlink("/dev/pts/"+strconv.Itoa(n), d.path("dev/watchdog"))
		}
	}
	if err != nil {
		d.t.Skip("no terminals here: ", err)
	}
	return func() string {
		var s string
		b := make([]byte, 1000)
		// The kernel passes it on in its own time.
		for range 20 {
			n, _ := unix.Read(fd, b)
			s += string(b[:max(n, 0)])
			time.Sleep(10 * time.Millisecond)
		}
		return s
	}
}

func TestWatchdogThatOnlyKnowsWrites(t *testing.T) {
	d := fake(t, nil)
	written := d.terminal()
	b := d.open(Config{Watchdog: WatchdogConfig{Timeout: 8 * time.Second}})
	_ = b.String()
	if s := written(); s != "" {
		t.Fatalf("armed without being asked: %q", s)
	}
	f, err := b.Watch()
	if err != nil {
		t.Fatal(err)
	}
	if f.Timeout() != 3*time.Second {
		t.Errorf("a watchdog that does not say when it bites is fed every %v/3", f.Timeout())
	}
	if again, err := b.Watch(); again != f || err != nil {
		t.Error(again, err)
	}
	time.Sleep(50 * time.Millisecond)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err = b.Watch(); err != nil { // armed anew
		t.Error(err)
	}
	time.Sleep(50 * time.Millisecond)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if s := written(); s != "\x00V\x00V" {
		t.Errorf("written %q, want twice one meal and the V that disarms", s)
	}
	if len(d.reports()) > 0 {
		t.Error(d.reports())
	}
}

func TestWatchdogThatCannotBeArmed(t *testing.T) {
	for _, c := range []struct{ name, file, link, want string }{
		{name: "missing", want: "no such file"},
		{name: "no device", file: "something\n", want: "it is no device"},
		{name: "a folder", link: ".", want: "it is no device"},
		{name: "itself", link: "watchdog", want: "too many levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := fake(t, map[string]string{"dev/": ""})
			if c.file != "" {
				d.put("dev/watchdog", c.file)
			}
			if c.link != "" {
				if err := os.Symlink(c.link, d.path("dev/watchdog")); err != nil {
					t.Fatal(err)
				}
			}
			b := d.open(Config{Watchdog: WatchdogConfig{Timeout: time.Second}})
			f, err := b.Watch()
			if f != nil || godwit.CodeOf(err) != godwit.CodeFailed || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v", f, err)
			}
			if c.file != "" && d.get("dev/watchdog") != c.file {
				t.Error("it was written to")
			}
		})
	}
}

func TestDescribeWatchdog(t *testing.T) {
	w := "sys/class/watchdog/watchdog0/"
	d := fake(t, map[string]string{w + "identity": "Broadcom BCM2835 Watchdog timer\n", w + "state": "active\n", w + "timeout": "15\n", w + "nowayout": "1\n",
		"sys/class/watchdog/watchdog1/identity": "\xff\x00\n"})
	s := d.open(Config{Watchdog: WatchdogConfig{Timeout: 8 * time.Second}}).String()
	want := `watchdog    watchdog0 "Broadcom BCM2835 Watchdog timer", active, timeout 15 s, cannot be disarmed; watchdog1; wanted: ` + d.path("dev/watchdog") + ", 8s\n"
	if !strings.Contains(s, want) {
		t.Errorf("%s\nwant %s", s, want)
	}
	d = fake(t, map[string]string{"dev/watchdog": ""})
	if s := d.open(Config{}).String(); !strings.Contains(s, "watchdog    "+d.path("dev/watchdog")+"\n") {
		t.Error(s)
	}
}

// manager is where systemd would listen.
func manager(t *testing.T, name string) (listen *net.UnixConn, next func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, func() string {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
}

func environment(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestSystemd(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@godwit-board-test-" + strconv.Itoa(os.Getpid())} {
		_, next := manager(t, name)
		s := fake(t, nil).open(Config{Getenv: environment("NOTIFY_SOCKET", name)}).Systemd()
		for _, c := range []struct {
			say  func() error
			want string
		}{
			{s.Ready, "READY=1"},
			{s.Stopping, "STOPPING=1"},
			{func() error { return s.Status("fetching\n3 of 4 files") }, "STATUS=fetching 3 of 4 files"},
		} {
			if err := c.say(); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		}
		var before, after unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
		if err := s.Reloading(); err != nil {
			t.Fatal(err)
		}
		got := next()
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
		var usec int64
		if _, err := fmt.Sscanf(got, "RELOADING=1\nMONOTONIC_USEC=%d", &usec); err != nil || usec < before.Nano()/1000 || usec > after.Nano()/1000 {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestSystemdWatchdogIsFed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	_, next := manager(t, name)
	d := fake(t, nil)
	b := d.open(Config{Watchdog: WatchdogConfig{Timeout: time.Second, Device: "missing"},
		Getenv: environment("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "60000", "WATCHDOG_PID", strconv.Itoa(os.Getpid()))})
	f, err := b.Watch()
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("%v, want that the other one is missing", err)
	}
	if f.Timeout() != 60*time.Millisecond {
		t.Fatal(f.Timeout())
	}
	for range 3 {
		if got := next(); got != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
	}
	if s := b.String(); !strings.Contains(s, "systemd     listens, and has a watchdog of 60ms\n") {
		t.Error(s)
	}
}

func TestSystemdThatIsNotMeant(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
	}{
		{"nothing", nil},
		{"no socket", []string{"WATCHDOG_USEC", "1000000"}},
		{"no time", []string{"NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", "0"}},
		{"a negative time", []string{"NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", "-5"}},
		{"no number", []string{"NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", "1s"}},
		{"a time for ever", []string{"NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", "9223372036854775807"}},
		{"another process", []string{"NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", "1000000", "WATCHDOG_PID", "1"}},
		{"another kind of socket", []string{"NOTIFY_SOCKET", "vsock:2:1234", "WATCHDOG_USEC", "1000000"}},
		{"a name too long", []string{"NOTIFY_SOCKET", "/" + strings.Repeat("x", 200), "WATCHDOG_USEC", "1000000"}},
	} {
		b := fake(t, nil).open(Config{Getenv: environment(c.env...)})
		if f, err := b.Watch(); f != nil || err != nil {
			t.Errorf("%s: %v, %v", c.name, f, err)
		}
	}
	s := fake(t, nil).open(Config{}).Systemd()
	if err := errors.Join(s.Ready(), s.Status("x"), s.Reloading(), s.Stopping()); err != nil {
		t.Error(err)
	}
}

func TestSystemdThatIsGone(t *testing.T) {
	s := fake(t, nil).open(Config{Getenv: environment("NOTIFY_SOCKET", t.TempDir()+"/gone")}).Systemd()
	if err := s.Ready(); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

// A manager that does not read must not hold up the program for ever.
func TestSystemdThatDoesNotListen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager(t, name)
	s := fake(t, nil).open(Config{Getenv: environment("NOTIFY_SOCKET", name)}).Systemd()
	start := time.Now()
	for range 10_000 {
		if err := s.Ready(); err != nil {
			if took := time.Since(start); !errors.Is(err, unix.EAGAIN) || took > time.Minute {
				t.Errorf("%v after %v", err, took)
			}
			return
		}
	}
	t.Error("10,000 messages were taken")
}
