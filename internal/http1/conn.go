package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A conn is a connection to a host or a proxy. It serves one request after
// another.
type conn struct {
	t     *Transport
	key   string
	via   bool   // requests are for a proxy to pass on
	auth  string // for that proxy
	below net.Conn
	top   net.Conn // below, in TLS, wrapped
	r     *bufio.Reader
	w     *bufio.Writer

	expiry *time.Timer // while it is idle
	// stale is set when a request failed as it does on a connection that the
	// other side had given up before.
	stale bool
}

func newConn(t *Transport, way *route, below, top net.Conn) *conn {
	size := func(n int) int {
		if n <= 0 {
			return bufferSize
		}
		return n
	}
	if t.Wrap != nil {
		top = t.Wrap(top)
	}
	c := &conn{t: t, key: way.key(), via: way.via(), below: below, top: top}
	if c.via && way.proxy.User != nil {
		password, _ := way.proxy.User.Password()
		c.auth = basic(way.proxy.User.Username(), password)
	}
	c.r = bufio.NewReaderSize(top, size(t.ReadBufferSize))
	c.w = bufio.NewWriterSize(top, size(t.WriteBufferSize))
	return c
}

// close ends the connection in an orderly way.
func (c *conn) close() { c.top.Close() }

// abort ends it at once, whatever is going on. It may be called at any time.
func (c *conn) abort() { c.below.Close() }

// A sending is the sending of one request, beside the wait for its answer: a
// host may answer and hang up before it has taken everything.
type sending struct {
	c    *conn
	req  *Request
	done chan struct{}
	err  error // when done is closed

	mu       sync.Mutex
	answered bool
	timer    *time.Timer
	closed   sync.Once
}

// hangUp is how long an answer is waited for after the connection broke under
// the sending of the request.
const hangUp = time.Second

func (s *sending) run() {
	defer close(s.done)
	defer s.closeBody()
	w := s.c.w
	s.req.writeHead(w, s.c.via, s.c.auth)
	if s.req.Body != nil && s.req.GetBody == nil {
		// A body that is not there yet does not hold up the head.
		s.err = w.Flush()
	}
	if s.err == nil {
		s.err = s.req.writeBody(w)
	}
	if s.err == nil {
		s.err = w.Flush()
	}
	if s.err == nil {
		if wait := s.c.t.ResponseHeaderTimeout; wait > 0 {
			s.abortAfter(wait)
		}
		return
	}
	var own *bodyError
	if errors.As(s.err, &own) {
		s.abortAfter(0)
	} else {
		s.abortAfter(hangUp)
	}
}

// abortAfter ends the connection unless there is an answer by then.
func (s *sending) abortAfter(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered {
		return
	}
	s.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.answered {
			s.c.abort()
		}
	})
}

// answer ends the wait of abortAfter.
func (s *sending) answer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *sending) closeBody() { s.closed.Do(s.req.closeBody) }

// complete reports whether the whole request was sent.
func (s *sending) complete() bool { return s.over() && s.err == nil }

// over reports whether the sending has ended, well or not. What came of it on
// the connection may overtake the news of that by a little.
func (s *sending) over() bool {
	select {
	case <-s.done:
		return true
	default:
	}
	wait := time.NewTimer(50 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-s.done:
		return true
	case <-wait.C:
		return false
	}
}

func (c *conn) roundTrip(ctx context.Context, r *Request) (*Response, error) {
	unwatch := context.AfterFunc(ctx, c.abort)
	s := &sending{c: c, req: r, done: make(chan struct{})}
	if r.Body != nil {
		go s.run()
	} else {
		s.run()
	}
	_, err := c.r.Peek(1)
	heard := err == nil
	var resp *Response
	var content io.Reader
	if heard {
		resp, content, err = readResponse(c.r, r.method())
	}
	s.answer()
	if err != nil {
		unwatch()
		c.abort()
		s.closeBody()
		err = s.reason(endedEarly(err))
		var late net.Error
		var own *bodyError
		c.stale = !heard && !errors.As(err, &own) && !(errors.As(err, &late) && late.Timeout())
		return nil, err
	}
	b := &body{c: c, ctx: ctx, unwatch: unwatch, s: s, content: content, keep: !resp.close && !r.Close}
	resp.Request = r
	resp.Body = b
	if _, none := content.(eof); none {
		b.end(true)
	}
	return resp, nil
}

// reason finds what was first when no answer came.
func (s *sending) reason(err error) error {
	if !s.over() {
		return err
	}
	var own *bodyError
	var bad *ProtocolError
	switch {
	case errors.As(s.err, &own):
		return own
	case errors.As(err, &bad):
		return err
	case s.err != nil && (err == io.ErrUnexpectedEOF || errors.Is(err, net.ErrClosed)):
		return s.err
	case s.err == nil && errors.Is(err, net.ErrClosed):
		return timeoutError("no answer came in time")
	}
	return err
}

// A body is the content of an answer. When it was read to its end its
// connection can be used again.
type body struct {
	c       *conn
	ctx     context.Context
	unwatch func() bool
	s       *sending
	content io.Reader
	keep    bool
	over    atomic.Bool // the connection is no longer ours
	err     error       // sticky
}

var errBodyClosed = errors.New("the body of the HTTP answer was closed")

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.over.Load() {
		if _, none := b.content.(eof); none {
			return 0, io.EOF
		}
		return 0, errBodyClosed
	}
	n, err := b.content.Read(p)
	if l, ok := b.content.(*lengthReader); ok && err == nil && l.left == 0 {
		err = io.EOF
	}
	if err != nil {
		switch {
		case err == io.EOF:
		case b.over.Load():
			err = errBodyClosed
		default:
			err = reason(b.ctx, err)
		}
		b.err = err
		b.end(err == io.EOF)
	}
	return n, err
}

// Close ends the connection if the body was not read to its end. It may be
// called while Read waits.
func (b *body) Close() error {
	b.end(false)
	return nil
}

// end gives the connection back.
func (b *body) end(complete bool) {
	if b.over.Swap(true) {
		return
	}
	// What comes unasked behind an answer must not become the next one.
	if complete && b.keep && b.c.r.Buffered() == 0 && b.s.complete() && b.unwatch() {
		b.c.t.putIdle(b.c)
		return
	}
	b.unwatch()
	b.s.closeBody()
	if complete {
		b.c.close()
	} else {
		b.c.abort()
	}
}
