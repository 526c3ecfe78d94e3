package report

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A way carries reports to one place, one after the other.
type way interface {
	// send returns nil once the place has confirmed that it has the report.
	send(ctx context.Context, body []byte) error
	close()
}

// An unwantedError is one of a place that will never take this report, however
// often it is sent.
type unwantedError struct{ error }

func (e unwantedError) Unwrap() error { return e.error }

// A pauseError is one of a place that wants to be left alone.
type pauseError struct {
	error
	wait time.Duration
}

func (e pauseError) Unwrap() error { return e.error }

// Send sends what is due, to all places side by side and to each in order, and
// returns when every place has everything or has failed. It sends nothing to a
// place before its pause after a failure, or the one that it asked for, is over.
//
// sent is the number of reports that places confirmed, counted for each place.
// next is when there is something to send again, after busy in a while: zero if
// every place has everything. err says what went wrong where, all of it; loss of a report or a
// second copy of it is never more than that.
//
// Errors have the codes network, timeout, tls, retry-after, redirect, protocol,
// unauthorized, not-found, config, busy (another Send is at work) and those of
// Add about the disk.
func (r *Reporter) Send(ctx context.Context) (sent int, next time.Time, err error) {
	if !r.sending.TryLock() {
		return 0, r.cfg.Now().Add(r.cfg.Backoff), godwit.Fail(godwit.CodeBusy, nil, "reports are being sent already", "")
	}
	defer r.sending.Unlock()
	var errs []error
	if next, err = r.look(); err != nil {
		if godwit.CodeOf(err) == godwit.CodeBusy {
			return 0, r.cfg.Now().Add(r.cfg.Backoff), err
		}
		errs = append(errs, err)
	}
	now := r.cfg.Now()
	var work sync.WaitGroup
	for _, p := range r.places {
		p.sent, p.err = 0, nil
		if len(p.left) > 0 && !p.due.After(now) {
			work.Go(func() { r.deliver(ctx, p) })
		}
	}
	work.Wait()
	for _, p := range r.places {
		sent += p.sent
		if p.err != nil {
			errs = append(errs, p.err)
		}
	}
	if len(errs) > 0 || sent > 0 {
		next, _ = r.look()
	}
	return sent, next, join(errs)
}

// look tells each place what it lacks and when it may be tried, and returns the
// first such time. It writes down what is only in memory.
func (r *Reporter) look() (next time.Time, err error) {
	err = r.change(func(q *queue) (bool, error) {
		now := r.cfg.Now()
		for _, p := range r.places {
			c := q.cursor(p.key)
			p.left, p.due = after(q.items, c.seq), p.wait(now, c)
			if len(p.left) > 0 && (next.IsZero() || p.due.Before(next)) {
				next = p.due
			}
		}
		return r.memory != nil, nil
	})
	return next, err
}

// after gives the items with a higher number.
func after(items []item, seq int64) []item {
	for len(items) > 0 && items[0].seq <= seq {
		items = items[1:]
	}
	return items
}

// deliver sends a place what it lacks until it fails, and notes after each report
// that the place has it.
func (r *Reporter) deliver(ctx context.Context, p *place) {
	var w way
	err := r.step(ctx, func(ctx context.Context) (err error) {
		w, err = p.opener(ctx)
		return err
	})
	if err != nil {
		r.failed(ctx, p, err)
		p.err = err
		return
	}
	defer w.close()
	var errs []error
	for _, it := range p.left {
		err := r.step(ctx, func(ctx context.Context) error { return w.send(ctx, it.body) })
		var unwanted unwantedError
		refused := errors.As(err, &unwanted)
		if err != nil {
			errs = append(errs, err)
		}
		if err != nil && !refused {
			r.failed(ctx, p, err)
			break
		}
		p.fails, p.until = 0, time.Time{}
		if !refused {
			p.sent++
		}
		if e := r.has(p, it.seq, refused); e != nil {
			errs = append(errs, e)
		}
	}
	p.err = join(errs)
}

// join leaves a single error as it is.
func join(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// step runs a step under Timeout.
func (r *Reporter) step(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return fn(ctx)
}

// has notes that a place has a report, or will never take it.
func (r *Reporter) has(p *place, seq int64, refused bool) error {
	return r.change(func(q *queue) (bool, error) {
		c := q.cursor(p.key)
		c.seq = min(max(c.seq, seq), q.next-1)
		c.set, c.until = 0, 0
		if refused {
			q.dropped++
		}
		return true, nil
	})
}

// failed begins the pause after a failure. The one that a place asked for is
// kept over restarts; our own is not, since a restart may be what helps.
func (r *Reporter) failed(ctx context.Context, p *place, err error) {
	if ctx.Err() != nil {
		return // the caller's doing
	}
	now := r.cfg.Now()
	wait := r.cfg.Backoff << min(p.fails, 20)
	if wait <= 0 || wait > r.cfg.MaxBackoff {
		wait = r.cfg.MaxBackoff
	}
	p.fails++
	// Devices that failed together must not come back together.
	p.until = now.Add(wait/2 + r.chance(wait))
	var pause pauseError
	if errors.As(err, &pause) {
		wait = pause.wait + r.chance(min(pause.wait/4, time.Minute))
		p.until = now.Add(wait)
		r.change(func(q *queue) (bool, error) {
			c := q.cursor(p.key)
			c.set, c.until = now.Unix(), now.Add(wait+time.Second-1).Unix()
			return true, nil
		})
	}
}

// wait is when a place may be tried.
func (p *place) wait(now time.Time, c *cursor) time.Time {
	at := now
	if until := c.paused(now); until.After(at) {
		at = until
	}
	// A clock that was set back must not make a pause of hours out of seconds.
	if p.until.After(at) && p.until.Sub(now) <= longestPause+time.Hour {
		at = p.until
	}
	return at
}

// chance gives a time from 0 up to d.
func (r *Reporter) chance(d time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(r.cfg.Random, b[:]); err != nil || d <= 0 {
		return d / 2
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}

// transport makes connections to one place for one Send.
func (r *Reporter) transport() (*http1.Transport, error) {
	t, err := r.cfg.Network.Transport(&r.traffic)
	if err == nil && r.cfg.Dial != nil {
		t.DialContext = r.cfg.Dial
	}
	return t, err
}

// explain words an error of the connection to a place.
func (p *place) explain(ctx context.Context, err error) error {
	err = webclient.Explain(ctx, p.host, p.r.cfg.Now(), err)
	var known *godwit.Error
	if !errors.As(err, &known) {
		return err
	}
	hint := "nothing to do here: it is tried again"
	switch known.Code {
	case godwit.CodeTLS, godwit.CodeConfig, godwit.CodeProtocol, godwit.CodeUnauthorized:
		hint = "check the address and the certificates in section report; it is tried again"
	}
	return p.fail(known.Code, known.Err, known.Text, hint)
}

// fail is an error about a place.
func (p *place) fail(code godwit.Code, cause error, text, hint string) error {
	return godwit.Fail(code, cause, "no report reached "+p.host+": "+text, hint)
}
