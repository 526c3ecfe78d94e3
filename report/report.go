// Package report tells others how an update ended: a small signed report is
// queued on the device's disk and sent to the places that its configuration
// names, an HTTP server, an MQTT 5 broker or a file, once the network is there.
// The format of reports, and how anybody checks one with ssh-keygen, is in
// docs/reports.md.
//
// What to report and when is left to the caller: a confirmed version only after
// it booted, its health check passed and the tree on disk hashed to the release.
//
// Invariant: nothing here can hold up or harm an update. Every call either works
// on a bounded file and returns, or ends with its context; what goes wrong is an
// error to log. A report whose Add returned nil reaches each place that answers,
// in order, whatever power cuts come between, unless the bound of the queue
// pushed it out, which later reports tell. It may arrive twice: its id tells.
package report

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/vfs"
)

// A Verdict is how an update ended.
type Verdict string

// The verdicts.
const (
	Confirmed  Verdict = "confirmed"   // the new version runs, is healthy, and is what was released
	RolledBack Verdict = "rolled-back" // it failed its trial, and the version before it runs again
	Failed     Verdict = "failed"      // it could not be installed; what ran before still runs
)

// A Report is what happened to one update on this device. Texts are sent on one
// line without control characters, and cut: Reason to 512 bytes, all others to
// 255. Empty ones are left out.
type Report struct {
	// ID tells one report from all others, so that receivers know one that
	// arrives twice. "" makes one by chance. With an ID of the caller's, at most 64
	// letters, digits, "-", "_" and ".", an Add that may have happened before can
	// be repeated: one that is in the queue already is not queued again.
	ID      string
	Verdict Verdict
	Code    godwit.Code // why it was not confirmed
	Reason  string      // the same in a sentence
	Release string      // name of the version that this is about, such as "v1.4.0"
	Commit  string      // its id
	Tree    string      // hash of the tree that was found on disk
	From    string      // name of the version that ran before
	Boot    string      // id of the boot that the verdict fell in
	Time    time.Time   // of the verdict; zero is now
}

// A Config says who reports, and where. Zero fields have the defaults given.
type Config struct {
	Device  string // id of this device: at most 255 bytes on one line, without commas and quotes
	Version string // of godwit
	Key     string // file with the device's SSH key, see NewKey

	// FS and Folder are where the queue lies: reports.0, reports.1 and
	// reports.lock. The Folder is made where it is missing. Calls come from
	// several goroutines but one at a time; nobody else uses this FS meanwhile.
	// Other processes may use the same folder.
	FS     vfs.FS
	Folder string
	Places []Place // at most 64; none: nothing is queued or sent

	MaxReports int // in the queue; 32, at most 1,000
	MaxBytes   int // of reports in the queue; 64 KiB, at least 8 KiB and at most 512 KiB

	Timeout    time.Duration // for one report to one place, and for a connection; 30 s
	Backoff    time.Duration // after the first failure, about doubled with each; 30 s
	MaxBackoff time.Duration // 1 h

	Network webclient.Network // MQTT uses no proxy
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Now     func() time.Time // time.Now
	Random  io.Reader        // for ids and for pauses; crypto/rand.Reader
}

// A Reporter queues reports and sends them. Its methods may be called by many at
// once.
type Reporter struct {
	cfg    Config
	places []*place

	mu      sync.Mutex // over the queue and FS
	memory  *queue     // what could not be written to the disk; else nil
	named   [2]bool    // the slots whose names this process has made durable
	durable int64      // turn of the last queue that it has

	sending sync.Mutex
	traffic webclient.Traffic
}

// New returns a Reporter. It neither reads nor connects: mistakes in the Config
// are errors of Add and Send; see also Place.Check.
func New(cfg Config) *Reporter {
	cfg.MaxReports = min(cmp.Or(max(cfg.MaxReports, 0), 32), 1000)
	cfg.MaxBytes = min(max(cmp.Or(cfg.MaxBytes, 64<<10), 8<<10), 512<<10)
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), 30*time.Second)
	cfg.Backoff = cmp.Or(max(cfg.Backoff, 0), 30*time.Second)
	cfg.MaxBackoff = max(cmp.Or(cfg.MaxBackoff, time.Hour), cfg.Backoff)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	r := &Reporter{cfg: cfg}
	for _, c := range cfg.Places {
		p := r.newPlace(c)
		if len(r.places) < maxPlaces && !slices.ContainsFunc(r.places, func(q *place) bool { return q.key == p.key }) {
			r.places = append(r.places, p)
		}
	}
	return r
}

// Add signs a report and queues it, durably. When the queue is full the oldest
// ones go, and this report and all later ones say how many did. It waits for
// nothing but the disk, and at most a second for another process that is at the
// queue.
//
// Errors have the codes config (no key, a wrong id), busy, disk-full, read-only
// and io. After one of the last three the report is in this process's memory
// instead: Send sends it while the process lives, and writes it down when the
// disk lets it.
func (r *Reporter) Add(rep Report) error {
	if len(r.places) == 0 {
		return nil
	}
	if err := r.check(&rep); err != nil {
		return err
	}
	key, err := loadKey(r.cfg.Key)
	if err != nil {
		return err
	}
	return r.change(func(q *queue) (bool, error) {
		for _, it := range q.items {
			if it.id == rep.ID {
				return false, nil
			}
		}
		for {
			body, err := r.seal(key, &rep, q.next, q.dropped)
			if err != nil {
				return false, err
			}
			if len(q.items) < r.cfg.MaxReports && q.size()+len(body) <= r.cfg.MaxBytes || len(q.items) == 0 {
				q.items = append(q.items, item{q.next, rep.ID, body})
				q.next++
				return true, nil
			}
			q.items = q.items[1:]
			q.dropped++
		}
	})
}

// Pending is how many reports some place has not received yet.
func (r *Reporter) Pending() int {
	n := 0
	r.change(func(q *queue) (bool, error) {
		n = len(q.items)
		return false, nil
	})
	return n
}

// Transferred is the number of bytes sent and received so far, below TLS's
// encryption; files do not count.
func (r *Reporter) Transferred() (sent, received int64) {
	return r.traffic.Sent(), r.traffic.Received()
}

// change takes the queue from the disk, hands it to fn, and writes it back if fn
// says so.
func (r *Reporter) change(fn func(*queue) (bool, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	q, slot := r.load()
	changed, err := fn(q)
	if !changed || err != nil {
		return err
	}
	q.turn++
	if err := r.save(q, slot); err != nil {
		r.memory = q
		return vfs.StateError(err)
	}
	r.memory, r.durable = nil, q.turn
	return nil
}

// lock keeps other processes away from the queue. Where the disk does not even
// let a lock be made there is none.
func (r *Reporter) lock() (unlock func(), err error) {
	for range 400 {
		unlock, err = r.cfg.FS.Lock(r.file("lock"))
		switch {
		case err == nil:
			return unlock, nil
		case errors.Is(err, fs.ErrNotExist):
			if vfs.MkdirAll(r.cfg.FS, r.cfg.Folder) != nil {
				return func() {}, nil
			}
			continue
		case !errors.Is(err, vfs.ErrLocked):
			return func() {}, nil
		}
		time.Sleep(2500 * time.Microsecond)
	}
	return nil, godwit.Fail(godwit.CodeBusy, nil, "another process is at the queue of reports", "try again")
}

func (r *Reporter) file(end string) string { return r.cfg.Folder + "/reports." + end }
