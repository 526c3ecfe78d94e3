//go:build linux

package board

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-ota/godwit"
)

// A Feeder keeps the watchdogs quiet for as long as the program proves that it
// is alive, and no longer: a program that hangs is not fed any more, and the
// device, or systemd, starts it anew.
//
// A proof of life is a call of Alive, which belongs into the program's main loop
// and into the progress of every long step, or the time that Expect grants to a
// step that has no progress to show. A goroutine that feeds by itself would only
// prove that the runtime is alive.
//
// A nil Feeder does nothing, so that callers need not ask whether there is a
// watchdog.
type Feeder struct {
	dogs   []*dog
	limit  time.Duration
	report func(error)
	start  time.Time
	alive  atomic.Int64 // when the last proof came, in ns since start
	hungry atomic.Bool  // not fed for want of a proof
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	excused map[int]time.Time // steps that may be silent until then
	next    int
	closed  bool
}

// A dog is one watchdog.
type dog struct {
	name    string
	timeout time.Duration // between two feedings, at most
	feed    func() error
	close   func() error
	failed  bool
}

// newFeeder starts to feed; the call itself is the first proof of life.
func newFeeder(dogs []*dog, limit time.Duration, report func(error)) *Feeder {
	f := &Feeder{dogs: dogs, limit: limit, report: report, start: time.Now(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), excused: map[int]time.Time{}}
	go f.run()
	return f
}

// Alive is a proof of life. It is cheap, and may be called from any goroutine
// at any rate; but only one whose standstill means that the program hangs should.
func (f *Feeder) Alive() {
	if f == nil {
		return
	}
	f.alive.Store(int64(time.Since(f.start)))
	if f.hungry.Load() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// Expect says that a step begins that may show no sign of life for as long as d:
// a health check with a time limit, or sleep. The returned function says that it
// has ended, which is a proof of life, and ends the excuse. Several steps may be
// expected side by side.
func (f *Feeder) Expect(d time.Duration) (done func()) {
	if f == nil || d <= 0 {
		return f.Alive
	}
	f.Alive()
	f.mu.Lock()
	id := f.next
	f.next++
	f.excused[id] = time.Now().Add(d)
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		delete(f.excused, id)
		f.mu.Unlock()
		f.Alive()
	}
}

// Timeout is after how long without food the most impatient watchdog bites; 0
// without one.
func (f *Feeder) Timeout() time.Duration {
	if f == nil {
		return 0
	}
	t := time.Duration(0)
	for _, d := range f.dogs {
		if t == 0 || d.timeout < t {
			t = d.timeout
		}
	}
	return t
}

// Close ends the feeding and disarms the watchdog of the device; systemd's ends
// with the process. Where the kernel was told never to disarm it (nowayout), the
// device resets after the timeout unless something else feeds it.
func (f *Feeder) Close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.mu.Unlock()
	if closed {
		return nil
	}
	close(f.stop)
	<-f.done
	var first error
	for _, d := range f.dogs {
		if d.close == nil {
			continue
		}
		if err := d.close(); err != nil && first == nil {
			first = godwit.Fail(godwit.CodeFailed, err, d.name+" could not be disarmed", "")
		}
	}
	return first
}

func (f *Feeder) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *Feeder) run() {
	defer close(f.done)
	t := time.NewTicker(max(f.Timeout()/3, 10*time.Millisecond))
	defer t.Stop()
	for {
		if f.living() {
			f.hungry.Store(false)
			f.feed()
		} else if !f.hungry.Swap(true) {
			f.report(godwit.Fail(godwit.CodeTimeout, nil, "nothing has moved for "+f.silence().Round(time.Second).String()+", so the watchdog is not fed any more",
				"without a sign of life it resets within "+f.Timeout().String()))
		}
		select {
		case <-t.C:
		case <-f.wake:
		case <-f.stop:
			return
		}
	}
}

// silence is the time since the last proof of life.
func (f *Feeder) silence() time.Duration {
	return time.Since(f.start) - time.Duration(f.alive.Load())
}

// living reports whether the last proof of life is young enough.
func (f *Feeder) living() bool {
	if f.silence() < f.limit {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, until := range f.excused {
		if now.Before(until) {
			return true
		}
	}
	return false
}

func (f *Feeder) feed() {
	for _, d := range f.dogs {
		err := d.feed()
		if err != nil && !d.failed {
			f.report(godwit.Fail(godwit.CodeFailed, err, d.name+" could not be fed", ""))
		}
		d.failed = err != nil
	}
}
