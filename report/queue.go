package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit/vfs"
)

// The queue is one text in two copies, reports.0 and reports.1, written in turn
// over what stands there. Of the sound ones the one with the higher turn counts,
// so a write that is cut leaves the other. docs/reports.md has the format.
type queue struct {
	turn    int64 // counts writes
	next    int64 // number of the next report; the first is 1
	dropped int64 // reports that went before every place had them
	cursors []cursor
	items   []item
}

// An item is a report in the queue.
type item struct {
	seq  int64
	id   string
	body []byte // as it is sent
}

// A cursor is how far one place is.
type cursor struct {
	key string // of the place
	seq int64  // it has all reports up to this one
	// The pause that the place asked for: when, and until when. Zero if none.
	set, until int64
}

const (
	queueTitle = "godwit-reports 1\n"
	maxQueue   = 1 << 20 // bytes of a copy
	maxNumber  = 1 << 53 // JSON readers that have only floating point keep up to here
	maxPlaces  = 64
)

func newQueue() *queue { return &queue{next: 1} }

// size is the number of bytes that all reports have.
func (q *queue) size() (n int) {
	for _, it := range q.items {
		n += len(it.body)
	}
	return n
}

// cursor gives the cursor of a place, which a place that is new here begins with.
func (q *queue) cursor(key string) *cursor {
	for i := range q.cursors {
		if q.cursors[i].key == key {
			return &q.cursors[i]
		}
	}
	q.cursors = append(q.cursors, cursor{key: key})
	return &q.cursors[len(q.cursors)-1]
}

// settle forgets places that are not among those with keys, and reports that
// all of these have.
func (q *queue) settle(keys []string) {
	var kept []cursor
	least := q.next
	for _, k := range keys {
		c := *q.cursor(k)
		kept = append(kept, c)
		least = min(least, c.seq)
	}
	q.cursors = kept
	for len(q.items) > 0 && q.items[0].seq <= least {
		q.items = q.items[1:]
	}
}

// append writes the queue as text.
func (q *queue) append(b []byte) []byte {
	start := len(b)
	b = number(append(b, queueTitle...), "turn ", q.turn)
	b = number(b, "\nnext ", q.next)
	b = number(b, "\ndropped ", q.dropped)
	for _, c := range q.cursors {
		b = append(append(b, "\nplace "...), c.key...)
		b = number(number(number(b, " ", c.seq), " ", c.set), " ", c.until)
	}
	for _, it := range q.items {
		b = append(number(b, "\nreport ", it.seq), ' ')
		b = append(append(append(b, it.id...), ' '), it.body...)
	}
	b = append(b, '\n')
	return append(append(append(b, "sum "...), sumOf(b[start:])...), '\n')
}

func number(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), n, 10)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// parseQueue reads what append wrote, and gives nil for everything else.
func parseQueue(b []byte) *queue {
	const tail = len("sum \n") + 2*sha256.Size
	if len(b) < tail || len(b) > maxQueue {
		return nil
	}
	text := b[:len(b)-tail]
	if string(b[len(text):]) != "sum "+sumOf(text)+"\n" {
		return nil
	}
	text, ok := bytes.CutPrefix(text, []byte(queueTitle))
	if !ok {
		return nil
	}
	p := queueParser{text: text}
	q := &queue{turn: p.line("turn "), next: p.line("next "), dropped: p.line("dropped ")}
	p.bad = p.bad || q.turn < 1 || q.next < 1
	for p.begins("place ") && len(q.cursors) < maxPlaces {
		c := cursor{key: p.word(), seq: p.number(' '), set: p.number(' '), until: p.number('\n')}
		p.bad = p.bad || len(c.key) != keySize || c.seq >= q.next
		q.cursors = append(q.cursors, c)
	}
	last := int64(0)
	for p.begins("report ") && !p.bad {
		it := item{seq: p.number(' '), id: p.word(), body: p.rest()}
		p.bad = p.bad || it.seq <= last || it.seq >= q.next || !isID(it.id) || len(it.body) == 0
		last = it.seq
		q.items = append(q.items, it)
	}
	if p.bad || len(p.text) > 0 {
		return nil
	}
	return q
}

// queueParser takes the text apart. After the first thing that is not there bad
// is set.
type queueParser struct {
	text []byte
	bad  bool
}

func (p *queueParser) begins(name string) bool {
	rest, ok := bytes.CutPrefix(p.text, []byte(name))
	if ok {
		p.text = rest
	}
	return ok
}

// until gives what stands before a byte that ends it.
func (p *queueParser) until(end byte) []byte {
	i := bytes.IndexByte(p.text, end)
	if i < 0 {
		p.text, p.bad = nil, true
		return nil
	}
	b := p.text[:i:i]
	p.text = p.text[i+1:]
	return b
}

func (p *queueParser) word() string { return string(p.until(' ')) }
func (p *queueParser) rest() []byte { return p.until('\n') }

// number reads a decimal number from 0 in its shortest form.
func (p *queueParser) number(end byte) int64 {
	s := string(p.until(end))
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxNumber || strconv.FormatInt(n, 10) != s {
		p.bad = true
	}
	return n
}

func (p *queueParser) line(name string) int64 {
	if !p.begins(name) {
		p.bad = true
		return 0
	}
	return p.number('\n')
}

// load gives the queue, and the number of the slot to write it to next: never
// the one that it was found in. What cannot be read twice is as good as lost.
func (r *Reporter) load() (q *queue, slot int) {
	q = newQueue()
	for i := range 2 {
		name := r.file(strconv.Itoa(i))
		b, err := vfs.ReadFile(r.cfg.FS, name, maxQueue)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			b, err = vfs.ReadFile(r.cfg.FS, name, maxQueue)
		}
		if err != nil {
			continue
		}
		if found := parseQueue(b); found != nil && found.turn > q.turn {
			q, slot = found, 1-i
		}
	}
	if q.turn != r.durable && q.turn > 0 {
		// A process that was killed may have written it and not synced it. The next
		// write goes over the copy that a power cut would lead back to.
		if f, err := r.cfg.FS.Open(r.file(strconv.Itoa(1-slot)), vfs.Write); err == nil && r.sync(f, 1-slot) == nil {
			r.durable = q.turn
		}
	}
	if r.memory != nil && r.memory.turn > q.turn {
		q = r.memory
	}
	return q, slot
}

// save writes the queue over one slot, durably.
func (r *Reporter) save(q *queue, slot int) error {
	var keys []string
	for _, p := range r.places {
		keys = append(keys, p.key)
	}
	q.settle(keys)
	fsys, name := r.cfg.FS, r.file(strconv.Itoa(slot))
	f, err := fsys.Open(name, vfs.Write)
	if err != nil {
		return err
	}
	b := q.append(make([]byte, 0, q.size()+512))
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if err != nil {
		f.Close()
		return err
	}
	return r.sync(f, slot)
}

// sync makes a slot durable and closes it.
func (r *Reporter) sync(f vfs.File, slot int) error {
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	// A file that was there may still have a name that is not durable.
	for dir := r.cfg.Folder; err == nil && !r.named[slot]; dir = path.Dir(dir) {
		if err = r.cfg.FS.SyncDir(dir); dir == "." {
			r.named[slot] = err == nil
		}
	}
	return err
}

// longestPause is how long a place is left alone at most when it asks for it.
const longestPause = 24 * time.Hour

// paused gives the end of the pause that a place asked for. A clock that went
// back by more than a little since then was wrong then or is now: the pause
// cannot be told any more and ends.
func (c *cursor) paused(now time.Time) time.Time {
	set, until := time.Unix(c.set, 0), time.Unix(c.until, 0)
	if c.until <= c.set || now.Before(set.Add(-10*time.Minute)) || !now.Before(until) || until.Sub(set) > longestPause+time.Hour {
		return time.Time{}
	}
	return until
}
