package wire

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/godwit-ota/godwit"
)

// A traffic counts bytes.
type traffic struct{ sent, received atomic.Int64 }

// A countedConn adds what passes to a traffic.
type countedConn struct {
	net.Conn
	t *traffic
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.t.received.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.t.sent.Add(int64(n))
	return n, err
}

// patience says how long silence is borne. There is no limit on a whole
// exchange: a large pack over a slow link takes as long as it takes.
type patience struct {
	idle    time.Duration // without any byte
	minRate int64         // bytes a second, over ten times idle

	// Time spent waiting, and what came, since the window began.
	waited   time.Duration
	received int64
}

// note takes in a read of n bytes that took some time, and fails when the
// other side has been sending next to nothing for long.
func (p *patience) note(took time.Duration, n int) error {
	p.waited += took
	p.received += int64(n)
	span := 10 * p.idle
	if p.waited < span {
		return nil
	}
	if p.received < int64(span.Seconds()*float64(p.minRate)) {
		return errTrickle{p.received, p.waited}
	}
	p.waited, p.received = 0, 0
	return nil
}

// A patientConn fails when the other side is silent for too long.
type patientConn struct {
	net.Conn
	patience
}

// errIdle and errTrickle replace the deadline errors of the operating system.
type errIdle time.Duration

func (e errIdle) Error() string {
	return "the other side said nothing for " + time.Duration(e).String()
}
func (errIdle) Timeout() bool   { return true }
func (errIdle) Temporary() bool { return true }

type errTrickle struct {
	bytes int64
	span  time.Duration
}

func (e errTrickle) Error() string {
	return "the other side sent only " + strconv.FormatInt(e.bytes, 10) + " bytes in " + e.span.Round(time.Second).String()
}
func (errTrickle) Timeout() bool   { return true }
func (errTrickle) Temporary() bool { return true }

func (c *patientConn) Read(b []byte) (int, error) {
	began := time.Now()
	c.Conn.SetReadDeadline(began.Add(c.idle))
	n, err := c.Conn.Read(b)
	if err != nil {
		if os.IsTimeout(err) {
			err = errIdle(c.idle)
		}
		return n, err
	}
	return n, c.note(time.Since(began), n)
}

// Write also gives a Read that already waits its full time again: on a
// connection that was kept open it began before there was anything to answer.
func (c *patientConn) Write(b []byte) (int, error) {
	c.Conn.SetDeadline(time.Now().Add(c.idle))
	n, err := c.Conn.Write(b)
	if os.IsTimeout(err) {
		err = errIdle(c.idle)
	}
	return n, err
}

// CloseWrite lets a shutdown through to TCP where there is one.
func (c *patientConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

func timeoutError(host string, cause error) error {
	return godwit.Fail(godwit.CodeTimeout, cause, host+" took too long to answer",
		"try again; on a slow link set a larger source.timeout")
}
