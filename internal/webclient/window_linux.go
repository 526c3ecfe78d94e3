package webclient

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// narrow makes the window that a socket offers when it connects a small one, that
// the system widens as data come. Before Linux 5.14 a bound cannot be taken back,
// so there it is left alone.
func narrow(network, address string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		set := func(option, value int) error {
			return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value)
		}
		if set(unix.SO_BUF_LOCK, 0) != nil {
			return
		}
		set(unix.SO_RCVBUF, firstWindow) // the system takes twice that, and offers half of it
		set(unix.SO_BUF_LOCK, 0)
	})
}

// setWindow bounds what the other side of a TCP connection may have under way.
// A connection for which this is not possible stays as it is.
func setWindow(c net.Conn, size func(trip time.Duration) int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.Min_rtt == 0 || info.Min_rtt == ^uint32(0) {
			return
		}
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, size(time.Duration(info.Min_rtt)*time.Microsecond))
	})
}
