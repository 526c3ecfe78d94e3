package board_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/board"
)

// TestService is a service of systemd with Type=notify and WatchdogSec=: it says
// that it is ready, works for a while, reloads, and hangs. systemd must end it
// then, and says "Result=watchdog".
func TestService(t *testing.T) {
	want(t, "service")
	b := open(t, board.Config{Watchdog: board.WatchdogConfig{Limit: 3 * time.Second}, Report: func(err error) { fmt.Println("reported:", err) }})
	f, err := b.Watch()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("systemd's watchdog:", f.Timeout(), "as in", os.Getenv("WATCHDOG_USEC"), "µs")
	if f.Timeout() == 0 {
		t.Fatal("systemd does not ask for signs of life")
	}
	s := b.Systemd()
	time.Sleep(time.Second) // not active before this
	if err := errors.Join(s.Status("starting"), s.Ready(), s.Status("working")); err != nil {
		t.Fatal(err)
	}
	work := func(d time.Duration) {
		for start := time.Now(); time.Since(start) < d; {
			time.Sleep(500 * time.Millisecond)
			f.Alive()
		}
	}
	work(5 * time.Second)
	if err := errors.Join(s.Reloading(), s.Status("reloading")); err != nil {
		t.Fatal(err)
	}
	work(2 * time.Second)
	if err := errors.Join(s.Ready(), s.Status("hanging")); err != nil {
		t.Fatal(err)
	}
	fmt.Println("hangs now; must be ended within", 3*time.Second+f.Timeout())
	time.Sleep(time.Minute)
	t.Error("nothing happened")
}
