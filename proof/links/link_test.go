//go:build linux

package main

import (
	"encoding/binary"
	"io"
	"testing"
	"time"
)

// An end is one end of a link, for a test.
type end struct{ in, out chan []byte }

func newEnd() end { return end{make(chan []byte, 4096), make(chan []byte, 4096)} }

func (e end) Read(b []byte) (int, error) {
	p, ok := <-e.in
	if !ok {
		return 0, io.EOF
	}
	return copy(b, p), nil
}

func (e end) Write(b []byte) (int, error) { e.out <- b; return len(b), nil }
func (e end) Close() error                { return nil }

// segment is a TCP segment from the device, or from the host.
func segment(d, size int, flags byte, seq, ack uint32) []byte {
	b := make([]byte, size)
	b[0], b[9] = 0x45, 6
	from, to := byte(1), byte(2)
	if d == fromHost {
		from, to = to, from
	}
	b[15], b[19], b[21], b[23] = from, to, from, to
	binary.BigEndian.PutUint32(b[24:], seq)
	binary.BigEndian.PutUint32(b[28:], ack)
	b[32], b[33] = 5<<4, flags
	return b
}

func TestRateDelayLoss(t *testing.T) {
	dev, host := newEnd(), newEnd()
	l := newLink(dev, host, weather{up: 800e3, down: 800e3, delay: 50 * time.Millisecond, loss: 0.1, queue: 1 << 20}, 1)
	began := time.Now()
	const n, size = 200, 100
	for range n {
		dev.in <- segment(fromDevice, size, tcpAck, 0, 0)
	}
	close(dev.in)
	close(host.in)
	time.Sleep(400 * time.Millisecond)
	up, down, _ := l.count()
	if up.packets != n || up.bytes != n*size || up.refused != 0 || down.packets != 0 {
		t.Errorf("counted %+v and %+v", up, down)
	}
	if lost := up.lost / size; lost < 5 || lost > 40 || int(lost)+len(host.out) != n {
		t.Errorf("%d packets of %d were lost and %d arrived", lost, n, len(host.out))
	}
	// 20 kB at 100 kB a second.
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestQueueAndDarkness(t *testing.T) {
	dev, host := newEnd(), newEnd()
	l := newLink(dev, host, weather{up: 8e3, down: 8e3, queue: 1000}, 1)
	for range 20 {
		dev.in <- segment(fromDevice, 100, tcpAck, 0, 0)
	}
	time.Sleep(50 * time.Millisecond)
	if up, _, _ := l.count(); up.packets != 10 || up.refused != 1000 {
		t.Errorf("counted %+v", up)
	}
	w := weather{every: 10 * time.Second, dark: 2 * time.Second}
	for at, dark := range map[time.Duration]bool{0: false, 7 * time.Second: false, 8 * time.Second: true, 9 * time.Second: true, 10 * time.Second: false, 19 * time.Second: true} {
		if w.isDark(at) != dark {
			t.Errorf("after %v: dark %v", at, !dark)
		}
	}
	if w.phase = 7 * time.Second; w.isDark(0) || !w.isDark(time.Second) {
		t.Error("the first gap comes at another time")
	}
}

// TestGateway: when enough has passed a connection is over, both ends are told
// so with the right numbers, and a new connection passes.
func TestGateway(t *testing.T) {
	g := gateway{after: 1000, flows: map[flow]*state{}}
	pass := func(d int, b []byte, want bool) {
		t.Helper()
		if ok, _ := g.pass(d, b); ok != want {
			t.Errorf("passed: %v", ok)
		}
	}
	pass(fromDevice, segment(fromDevice, 40, tcpSyn, 100, 0), true)
	pass(fromHost, segment(fromHost, 40, tcpSyn|tcpAck, 500, 101), true)
	pass(fromDevice, segment(fromDevice, 140, tcpAck, 101, 501), true)
	if len(g.takeResets()) > 0 {
		t.Error("cut too early")
	}
	pass(fromHost, segment(fromHost, 840, tcpAck, 501, 201), true)
	r := g.takeResets()
	if len(r) != 2 || r[0].to != fromDevice || r[0].seq != 501+800 || r[1].to != fromHost || r[1].seq != 201 {
		t.Fatalf("resets: %+v", r)
	}
	b := r[0].packet()
	if sum(b[:20], 0) != 0 || sum(b[12:], 6+20) != 0 || b[15] != 2 || b[19] != 1 || b[33] != tcpRst {
		t.Errorf("the reset is %x", b)
	}
	pass(fromHost, segment(fromHost, 840, tcpAck, 1301, 201), false)
	if r := g.takeResets(); len(r) != 1 || r[0].to != fromHost || r[0].seq != 201 {
		t.Errorf("told again: %+v", r)
	}
	pass(fromDevice, segment(fromDevice, 40, tcpSyn, 900, 0), true)
	pass(fromDevice, segment(fromDevice, 40, tcpAck, 901, 1), true)
}
