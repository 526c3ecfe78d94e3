package webclient

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

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
