package main

import (
	"math/rand/v2"
	"sync"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// A Disk is a block device with a volatile write cache, as real ones have: a
// write is only certain to be there after a power cut once a flush that came
// after it has been answered. Until then each of its sectors may be there or
// not, whatever the order of writing was.
//
// A Disk is cut when the armed number of requests has come, or when Cut is
// called; from that instant on no request that changes anything is answered.
type Disk struct {
	mu     sync.Mutex
	media  []byte  // certain to survive
	view   []byte  // what the machine reads back
	cache  []write // in order of arrival
	armed  int     // requests left until the cut; negative: none
	dead   chan struct{}
	isDead bool

	Writes, Flushes int // since power on
}

type write struct {
	at     int64
	data   []byte
	forced bool // on the media already; stays here to win over older ones
}

// NewDisk returns a disk without power.
func NewDisk(image []byte) *Disk {
	dead := make(chan struct{})
	close(dead)
	return &Disk{media: image, view: make([]byte, len(image)), armed: -1, dead: dead, isDead: true}
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return int64(len(d.media)) }

// PowerOn makes the disk answer again, with what survived.
func (d *Disk) PowerOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.view, d.media)
	d.cache, d.armed, d.Writes, d.Flushes = nil, -1, 0, 0
	d.isDead, d.dead = false, make(chan struct{})
}

// Format replaces what is on the disk, without power.
func (d *Disk) Format(image []byte) { copy(d.media, image) }

// Arm cuts the power instead of the n-th request from now that would change
// something or ask for certainty.
func (d *Disk) Arm(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = n
}

// Cut ends the power now.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
}

func (d *Disk) cut() {
	if !d.isDead {
		d.isDead = true
		close(d.dead)
	}
}

// Dead is closed when the power is gone.
func (d *Disk) Dead() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// alive counts a request and reports whether it is to be done.
func (d *Disk) alive() bool {
	if d.armed > 0 {
		if d.armed--; d.armed == 0 {
			d.cut()
		}
	}
	return !d.isDead
}

// Read fills p from what the machine wrote last.
func (d *Disk) Read(p []byte, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(p, d.view[at:])
}

// Write takes p over into the cache, or onto the media if it is forced. It
// reports whether there was power to do it.
func (d *Disk) Write(p []byte, at int64, force bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.alive() {
		return false
	}
	d.Writes++
	copy(d.view[at:], p)
	d.cache = append(d.cache, write{at, p, force})
	if force {
		copy(d.media[at:], p)
	}
	return true
}

// Flush makes everything before it certain. It reports whether there was power
// to do it.
func (d *Disk) Flush() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.alive() {
		return false
	}
	d.Flushes++
	d.settle(func(int) bool { return true })
	d.cache = d.cache[:0]
	return true
}

// settle puts those sectors of the cached writes onto the media that keep
// agrees to; keep is asked with the write's number.
func (d *Disk) settle(keep func(int) bool) {
	for i, w := range d.cache {
		for o := 0; o < len(w.data); o += sector {
			if w.forced || keep(i) {
				copy(d.media[w.at+int64(o):], w.data[o:min(o+sector, len(w.data))])
			}
		}
	}
}

// A Fate says what a cut does to writes that were not certain.
type Fate int

// The fates, from an ideal disk's to the worst.
const (
	Forgotten Fate = iota // none of them is there
	InOrder               // the first few are, the others are not
	Scattered             // each sector is there or not, for itself
	fates
)

func (f Fate) String() string { return [...]string{"forgotten", "in order", "scattered"}[f] }

// Lose decides about every sector that was not certain at the cut, and reports
// how many writes those were.
func (d *Disk) Lose(fate Fate, r *rand.Rand) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
	n := len(d.cache)
	switch fate {
	case InOrder:
		kept := r.IntN(n + 1)
		d.settle(func(i int) bool { return i < kept })
	case Scattered:
		share := r.Float64()
		d.settle(func(int) bool { return r.Float64() < share })
	}
	d.cache = nil
	return n
}
