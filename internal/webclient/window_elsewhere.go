//go:build !linux

package webclient

import (
	"net"
	"syscall"
	"time"
)

// narrow needs what only Linux has.
func narrow(string, string, syscall.RawConn) error { return nil }

// setWindow needs what only Linux has.
func setWindow(net.Conn, func(trip time.Duration) int) {}
