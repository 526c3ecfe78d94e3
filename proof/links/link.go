//go:build linux

package main

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// A weather is how a link behaves.
type weather struct {
	name     string
	up, down int           // bits a second, from the device and to it
	delay    time.Duration // one way
	loss     float64       // of packets, 0 to 1
	queue    int           // bytes that may wait before each direction

	every, dark time.Duration // in each every, the link is dead for dark, at its end
	phase       time.Duration // how much of the first every is over at the beginning

	cutAfter int  // bytes in both directions after which all connections are cut; 0 for never
	silent   bool // cut connections go dead; otherwise they are reset
}

// Bytes of one direction of a link, with their IP headers.
type traffic struct {
	packets, bytes int64 // that went over it, whether they arrived or not
	lost           int64 // bytes of them that did not arrive
	refused        int64 // bytes that were sent and never got onto it: its queue was full, or they were for a connection that was cut
}

// A link joins two ends, each of which gives and takes IP packets: first the
// device's, then the host's. On the host's side there is a gateway, which cuts
// connections if the weather says so.
type link struct {
	ends [2]io.ReadWriteCloser
	ways [2]way // from the device, from the host

	mu    sync.Mutex
	w     weather
	began time.Time
	cut   gateway
	cuts  int
}

// A way is one direction.
type way struct {
	mu   sync.Mutex
	free time.Time // when what waits has been sent
	rand *rand.Rand
	out  chan parcel
	t    traffic
}

type parcel struct {
	b  []byte
	at time.Time // when it arrives
}

const (
	fromDevice = 0
	fromHost   = 1
)

// newLink joins the ends. It works until they are closed.
func newLink(dev, host io.ReadWriteCloser, w weather, seed uint64) *link {
	l := &link{ends: [2]io.ReadWriteCloser{dev, host}}
	for d := range l.ways {
		l.ways[d].rand = rand.New(rand.NewPCG(seed, uint64(d)))
		l.ways[d].out = make(chan parcel, 4096)
	}
	l.set(w)
	for d := range l.ways {
		go l.deliver(d)
		go l.carry(d)
	}
	return l
}

// set changes the weather, and begins to count anew.
func (l *link) set(w weather) {
	l.mu.Lock()
	l.w, l.began, l.cuts = w, time.Now(), 0
	l.cut = gateway{after: w.cutAfter, flows: map[flow]*state{}}
	l.mu.Unlock()
	for d := range l.ways {
		l.ways[d].mu.Lock()
		l.ways[d].t = traffic{}
		l.ways[d].mu.Unlock()
	}
}

// count gives what went over the link since set, and how often it cut.
func (l *link) count() (up, down traffic, cuts int) {
	var t [2]traffic
	for d := range l.ways {
		l.ways[d].mu.Lock()
		t[d] = l.ways[d].t
		l.ways[d].mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return t[fromDevice], t[fromHost], l.cuts
}

// carry takes packets from one end onto the link.
func (l *link) carry(d int) {
	for {
		b := make([]byte, 2048)
		n, err := l.ends[d].Read(b)
		if err != nil {
			close(l.ways[d].out)
			return
		}
		if b = b[:n]; n < 20 || b[0]>>4 != 4 {
			continue // what an end says to its neighbours
		}
		if d == fromDevice {
			l.send(d, b)
			continue
		}
		pass, after := l.gate(d, b)
		if pass {
			l.send(d, b)
		} else {
			l.ways[d].mu.Lock()
			l.ways[d].t.refused += int64(n)
			l.ways[d].mu.Unlock()
		}
		after()
	}
}

// send puts a packet into the queue of a direction and says when it arrives, if
// it does.
func (l *link) send(d int, b []byte) {
	l.mu.Lock()
	w, began := l.w, l.began
	l.mu.Unlock()
	rate, size := float64(w.up)/8, len(b)
	if d == fromHost {
		rate = float64(w.down) / 8
	}
	o := &l.ways[d]
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.free.Before(now) {
		o.free = now
	}
	if o.free.Sub(now).Seconds()*rate+float64(size) > float64(w.queue) {
		o.t.refused += int64(size)
		return
	}
	start := o.free
	o.free = start.Add(time.Duration(float64(size) / rate * float64(time.Second)))
	o.t.packets++
	o.t.bytes += int64(size)
	if o.rand.Float64() < w.loss || w.isDark(start.Sub(began)) || w.isDark(o.free.Sub(began)) {
		o.t.lost += int64(size)
		return
	}
	select {
	case o.out <- parcel{b, o.free.Add(w.delay)}:
	default:
		o.t.lost += int64(size)
	}
}

// isDark reports whether the link is dead at some time after its beginning.
func (w weather) isDark(at time.Duration) bool {
	return w.every > 0 && (at+w.phase)%w.every >= w.every-w.dark
}

// deliver hands packets over when it is time.
func (l *link) deliver(d int) {
	for p := range l.ways[d].out {
		time.Sleep(time.Until(p.at))
		pass, after := true, func() {}
		if d == fromDevice {
			pass, after = l.gate(d, p.b)
		}
		if pass {
			l.ends[1-d].Write(p.b)
		}
		after()
	}
}

// gate judges a packet at the gateway. Call after when the packet is on its way,
// if it passed: it tells the ends of connections that they are over.
func (l *link) gate(d int, b []byte) (pass bool, after func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pass, cut := l.cut.pass(d, b)
	if cut {
		l.cuts++
	}
	resets := l.cut.takeResets()
	if l.w.silent {
		resets = nil
	}
	return pass, func() {
		for _, r := range resets {
			if r.to == fromDevice {
				l.send(fromHost, r.packet())
			} else {
				l.ends[1].Write(r.packet())
			}
		}
	}
}
