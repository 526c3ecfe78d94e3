// Package history remembers how a device has been: its crashes, errors and
// update attempts, the bytes it sent and received, and when it last asked for
// something newer. What follows from that is gate's business, and callers'.
//
// It is written for flash that wears out: what can wait does, so that a day on
// which nothing happens costs at most two writes, and a check that finds nothing
// costs none. And for power that fails: what Crash, Attempt, Boot, Flush and
// Close have written stays; what waits is lost, within the bounds that Bytes,
// Error and SetLastCheck give.
//
// Invariant: a cut at any moment leaves what the last of these calls wrote, or
// what the one that was cut was about to write. No damage to the files keeps a
// device from updating.
package history

import (
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// Name is the file in the state folder. A second copy is Name2; of the two the
// one with the higher number counts.
const (
	Name  = "health.json"
	Name2 = "health.1.json"
)

// How long things may wait before they are written, and how much of them.
const (
	lazyTime     = 12 * time.Hour
	errorTime    = time.Hour
	retryTime    = 10 * time.Minute // after a write that failed
	lazyMetered  = 64 << 10         // bytes
	lazyFree     = 4 << 20
	maxMonths    = 13
	recentErrors = 4 // of these one can come again
	maxEntries   = 1000
)

// Options of a History. The zero value works.
type Options struct {
	Now      func() time.Time     // nil is time.Now; its zone is that of months
	Uptime   func() time.Duration // since the device started; nil counts from Open
	Limit    int                  // crashes, and errors, that are kept; 0 means 100, and 1000 is the most
	Attempts int                  // update attempts that are kept; 0 means 50, and 1000 is the most
	// Reference is the reference updater's health log, taken over where there is
	// no history yet. It is left as it is. "" for none.
	Reference string
}

// A Kind is a kind of Event.
type Kind string

// The kinds.
const (
	KindCrash  Kind = "crash"
	KindError  Kind = "error"
	KindUpdate Kind = "update"
)

// An Event is something that happened.
type Event struct {
	N    uint64 // counts up with each event, also where the clock goes back
	Kind Kind
	At   time.Time // in seconds; of an error that came again, the first time
	// Name is a word for programs: what kind of crash, the code of the error, the
	// outcome of the attempt. At most 64 bytes of it are kept.
	Name string
	Text string // for people; at most 240 bytes are kept

	// Errors.
	Stage string
	Last  time.Time // when it came last
	Count int       // how often it came

	// Update attempts.
	From, To string // releases; at most 64 bytes of each are kept
	Bytes    int64
	Took     time.Duration // in milliseconds
}

// A History is what is remembered of one device. Its methods may be called by
// several goroutines. Of several processes that write at the same time, one may
// undo what another has just written; what was written before is kept.
type History struct {
	fs     vfs.FS
	folder string
	opt    Options
	begin  time.Time

	mu     sync.Mutex
	s      state   // as it is to be
	copy   int     // number of the copy that counts; -1 without one
	aside  int     // number of a damaged copy to set aside; -1 without one
	synced bool    // the copy that counts is known to be durable
	named  [2]bool // so are the names of the copies
	booted string  // id of this boot, "" before Boot

	// What is not written yet.
	waiting    state     // events and bytes
	checked    bool      // there was a check in this process
	newCheck   bool      // and it is not written
	newBoot    bool      // nor is the boot
	lazy       time.Time // when the first of what can wait was changed; zero: nothing waits
	errors     bool      // errors wait
	errorWrite time.Time // when errors were written last
	failed     time.Time // when a write failed last
	late       bool      // and has not been made up for
}

// Open reads the history in the state folder, which may not exist yet. It writes
// nothing. There always is a History to use, which may be empty; an error says
// what was lost, for a warning: with CodeDamaged that the files were damaged,
// and else that they could not be read.
func Open(fsys vfs.FS, folder string, opt Options) (*History, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	limit := func(n *int, or int) {
		if *n <= 0 {
			*n = or
		}
		*n = min(*n, maxEntries)
	}
	limit(&opt.Limit, 100)
	limit(&opt.Attempts, 50)
	h := &History{fs: fsys, folder: folder, opt: opt, begin: opt.Now(), copy: -1, aside: -1}
	if h.opt.Uptime == nil {
		h.opt.Uptime = func() time.Duration { return max(h.opt.Now().Sub(h.begin), 0) }
	}
	found, err := h.read()
	h.s, h.copy, h.aside = found.state, found.which, found.aside
	h.s.check.assume(h.begin)
	return h, err
}

// Crash remembers that the device or its application crashed just now.
func (h *History) Crash(kind, text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(Event{Kind: KindCrash, Name: kind, Text: text})
	return h.flush()
}

// Attempt remembers an attempt to update: from and to are names of releases,
// outcome is a word such as "installed", "failed" or "rolled-back", reason is
// for people and may be empty, took is how long it was.
func (h *History) Attempt(from, to, outcome, reason string, bytes int64, took time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(Event{Kind: KindUpdate, Name: outcome, Text: reason, From: from, To: to, Bytes: bytes, Took: took})
	return h.flush()
}

// Error remembers that something failed. If it is one of the last few errors
// come again, only its Count and Last change. Errors cause one write an hour at
// most; a power cut may undo those of the last hour.
func (h *History) Error(code godwit.Code, stage, text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(Event{Kind: KindError, Name: string(code), Stage: stage, Text: text})
	h.errors = true
	return h.writeIfDue()
}

// add makes e an event of now.
func (h *History) add(e Event) {
	e.At = second(h.opt.Now())
	e.Last, e.Count = e.At, 1
	e = e.fit()
	h.s.add(e, h.opt)
	h.waiting.add(e, h.opt)
}

// Crashes returns the times of the crashes that are remembered, from since on,
// the oldest first.
func (h *History) Crashes(since time.Time) (times []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.s.crashes {
		if !e.At.Before(since) {
			times = append(times, e.At)
		}
	}
	return times
}

// Events gives the events of these kinds, or of all, as they are now: the
// newest first.
func (h *History) Events(kinds ...Kind) iter.Seq[Event] {
	h.mu.Lock()
	list := h.s.events()
	h.mu.Unlock()
	return func(yield func(Event) bool) {
		for _, e := range list {
			if (len(kinds) == 0 || slices.Contains(kinds, e.Kind)) && !yield(e) {
				return
			}
		}
	}
}

// Tick writes what has waited long enough, or is too much to lose. Call it now
// and then, about once an hour; every other call does it too.
func (h *History) Tick() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writeIfDue()
}

// Flush writes what waits, if anything does.
func (h *History) Flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.waits() {
		return nil
	}
	return h.flush()
}

// waits reports whether anything is not written yet.
func (h *History) waits() bool {
	w := &h.waiting
	return len(w.crashes)+len(w.errors)+len(w.updates)+len(w.months) > 0 || h.newCheck || h.newBoot || h.aside >= 0
}

// writeIfDue writes if something has waited long enough.
func (h *History) writeIfDue() error {
	now := h.opt.Now()
	over := func(t time.Time, d time.Duration) bool {
		waited := now.Sub(t)
		return waited >= d || waited < 0 // the clock went back: nobody knows
	}
	var metered, free int64
	for _, m := range h.waiting.months {
		metered = plus(metered, m.Metered())
		free = plus(free, plus(m.Sent, m.Received))
	}
	due := h.late || metered >= lazyMetered || free >= lazyFree ||
		!h.lazy.IsZero() && over(h.lazy, lazyTime) ||
		h.errors && (h.errorWrite.IsZero() || over(h.errorWrite, errorTime))
	if !due || !h.failed.IsZero() && !over(h.failed, retryTime) {
		return nil
	}
	return h.flush()
}

// wait notes that something may wait from now on.
func (h *History) wait() {
	if h.lazy.IsZero() {
		h.lazy = h.opt.Now()
	}
}
