package webclient

import (
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBound(t *testing.T) {
	for _, c := range []struct {
		rate float64
		trip time.Duration
		want int
	}{
		{7500, 1500 * time.Millisecond, 22500},
		{12500, 200 * time.Millisecond, leastWindow},
		{1e6, 200 * time.Millisecond, freeWindow},
		{12500, 0, freeWindow},
	} {
		if got := bound(c.rate, c.trip); got != c.want {
			t.Errorf("%v bytes a second, %v: %d, want %d", c.rate, c.trip, got, c.want)
		}
	}
}

// TestWindow: a host on a slow link may have little under way, also on the next
// connection; one on a fast link as much as ever.
func TestWindow(t *testing.T) {
	clamp := func(c net.Conn) (n int) {
		t.Helper()
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, k := range []struct {
		each int // bytes in a tenth of a second
		slow bool
	}{{1000, true}, {100_000, false}} {
		c, w := dial(), &window{}
		g := gauge{w: w}
		now := time.Now()
		for range 30 {
			g.note(c, k.each, now)
			now = now.Add(100 * time.Millisecond)
		}
		next := dial()
		(&gauge{w: w}).apply(next)
		for _, c := range []net.Conn{c, next} {
			if n := clamp(c); (n == leastWindow) != k.slow {
				t.Errorf("%d bytes each time: window %d", k.each, n)
			}
		}
	}
}
