package webclient

import (
	"io"
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

// TestFirstWindow: a host on a link that is not known may have little under way at
// first, and much soon.
func TestFirstWindow(t *testing.T) {
	const size = 64 << 20
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, size))
	}))
	defer s.Close()
	var count Traffic
	tr, err := Network{Chunk: 16 << 10}.Transport(&count)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tr.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	window := func() (n uint32) {
		t.Helper()
		raw, err := c.(*patientConn).Conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			info, e := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err = e; e == nil {
				n = info.Rcv_ssthresh
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := window()
	if before > 2*firstWindow {
		t.Skipf("this system cannot do that: %d bytes at first", before)
	}
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if n, err := io.Copy(io.Discard, io.LimitReader(c, size)); err != nil || n < size {
		t.Fatal(n, err)
	}
	if after := window(); after < 16*firstWindow {
		t.Errorf("%d bytes at first, %d after %d: it does not widen", before, after, size)
	}
}
