package webclient

import (
	"net"
	"sync"
	"time"
)

// A window bounds what hosts may have under way to a device on a slow link. Left
// alone they send as much as the device has room for, and fill the queues before
// the link with it. Whatever waits there is lost, and sent and paid for again,
// when the link goes away for a moment; and it delays everything else. Twice what
// the link holds keeps it as busy.
//
// It is shared by the connections of one client: the next one begins with what
// the one before has learnt.
type window struct {
	mu   sync.Mutex
	best float64 // bytes a second, the most that was seen
}

const (
	// slowBelow is the rate, in bytes a second, from which on a link is left alone.
	slowBelow = 64 << 10
	// A rate is known after so much time and so many bytes; the first one is
	// wanted sooner.
	measureFor  = time.Second
	measureOver = 8 << 10
	firstFor    = 200 * time.Millisecond
	firstOver   = 4 << 10

	leastWindow = 4 * 1460 // four segments, or a lost one cannot be told from a late one
	freeWindow  = 4 << 20

	// firstWindow is offered before the link is known. Left alone a host begins
	// with ten segments of 1,460 bytes, and sends twice that next (RFC 6928).
	firstWindow = 8 << 10
)

// fast tells that the link is known to need no bound.
func (w *window) fast() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.best >= slowBelow
}

// bound is the window for a link of a rate in bytes a second and the time that a
// packet there and one back take when nothing is in their way.
func bound(rate float64, trip time.Duration) int {
	if rate >= slowBelow || trip <= 0 {
		return freeWindow
	}
	return max(leastWindow, int(2*rate*trip.Seconds()))
}

// A gauge measures one connection for a window.
type gauge struct {
	w     *window
	began time.Time
	got   int
}

// note takes in that n bytes came, and bounds the connection anew now and then:
// the system widens it by itself.
func (g *gauge) note(c net.Conn, n int, now time.Time) {
	if g.w == nil {
		return
	}
	if g.began.IsZero() {
		g.began = now
		return // what came first may have waited for us
	}
	g.got += n
	took := now.Sub(g.began)
	g.w.mu.Lock()
	enough := took >= measureFor && g.got >= measureOver || g.w.best == 0 && took >= firstFor && g.got >= firstOver
	if !enough {
		g.w.mu.Unlock()
		return
	}
	g.w.best = max(g.w.best, float64(g.got)/took.Seconds())
	g.w.mu.Unlock()
	g.began, g.got = now, 0
	g.apply(c)
}

// apply bounds a connection by what is known.
func (g *gauge) apply(c net.Conn) {
	g.w.mu.Lock()
	best := g.w.best
	g.w.mu.Unlock()
	if best > 0 {
		setWindow(c, func(trip time.Duration) int { return bound(best, trip) })
	}
}
