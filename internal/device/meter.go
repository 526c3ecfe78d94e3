package device

import (
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
)

// A meter shows progress while one large file comes, of which the source says
// nothing until it is whole.
type meter struct {
	events godwit.Events
	off    bool // the source tells enough by itself

	mu    sync.Mutex
	last  godwit.Event // progress that was shown last
	total int64        // estimate of the source, 0 if there is none
}

// meterEvery is how often bytes are counted.
const meterEvery = 200 * time.Millisecond

// run shows the bytes that come in a stage until stop is called.
func (m *meter) run(stage godwit.Stage, transferred func() (sent, received int64)) (stop func()) {
	if m.off {
		return func() {}
	}
	_, before := transferred()
	m.mu.Lock()
	m.last, m.total = godwit.Event{Stage: stage}, 0
	m.mu.Unlock()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_, now := transferred()
				m.show(godwit.Event{Stage: stage, Level: godwit.Progress, Done: now - before, Unit: "B"})
			}
		}
	}()
	return func() { close(done); <-ended }
}

// event passes on an event of the source.
func (m *meter) event(e godwit.Event) {
	if e.Level == godwit.Progress && e.Unit == "B" && !m.off {
		m.show(e)
		return
	}
	m.events.Emit(e)
}

// show passes progress on where it is any.
func (m *meter) show(e godwit.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Total > 0 {
		m.total = e.Total
	} else if m.total > e.Done {
		e.Total = m.total
	}
	if e.Done <= m.last.Done && e.Total == m.last.Total {
		return
	}
	m.last = e
	m.events.Emit(e)
}
