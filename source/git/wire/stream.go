package wire

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A streamTransport talks to one git upload-pack at the other end of a pair of
// pipes: over SSH, or a process on this machine. A version 2 server takes one
// command after another; a version 0 server one request.
type streamTransport struct {
	c    *Client
	open func(ctx context.Context) (program, error)
	// hangUp, if not nil, ends what programs are run over, and host is that.
	hangUp func()
	host   *sshHost

	p       program
	heard   bool        // the advertisement was read and no pack is under way
	unwatch func() bool // ends the watch over the context
	webclient.Patience
}

// A program is a running git upload-pack.
type program struct {
	in     io.WriteCloser
	out    io.Reader
	kill   func() // ends it at once; may be called at any time, also twice
	wait   func() // until it has ended
	errors *tail  // what it said on its standard error
}

func (t *streamTransport) ready() bool { return t.p.out != nil && t.heard }

func (t *streamTransport) advertise(ctx context.Context) (io.ReadCloser, bool, error) {
	t.end(false)
	p, err := t.open(ctx)
	if err != nil {
		return nil, false, err
	}
	t.p = p
	t.guard(ctx)
	return heardStream{t}, false, nil
}

// guard ends the program with the context, for as long as one call lasts.
func (t *streamTransport) guard(ctx context.Context) {
	if t.unwatch != nil {
		t.unwatch()
	}
	t.unwatch = context.AfterFunc(ctx, t.p.kill)
}

// A heardStream is the advertisement. Nothing follows it until something is
// asked, so reading ahead cannot take what belongs to an answer.
type heardStream struct{ *streamTransport }

func (h heardStream) Close() error {
	h.heard = true
	h.unwatch()
	return nil
}

// Read reads from the program and ends it when it is silent for too long.
func (t *streamTransport) Read(b []byte) (n int, err error) {
	began := time.Now()
	err = t.within(func() error {
		n, err = t.p.out.Read(b)
		return err
	})
	t.c.count.Count(0, n)
	if err != nil {
		return n, err
	}
	if err := t.Note(time.Since(began), n); err != nil {
		return n, webclient.TimedOut(t.c.name(), err)
	}
	return n, nil
}

// Write writes to the program, with the same patience.
func (t *streamTransport) Write(b []byte) (n int, err error) {
	err = t.within(func() error {
		n, err = t.p.in.Write(b)
		return err
	})
	t.c.count.Count(n, 0)
	return n, err
}

func (t *streamTransport) within(call func() error) error {
	if t.p.out == nil {
		return io.ErrUnexpectedEOF
	}
	kill := t.p.kill
	timer := time.AfterFunc(t.Idle, kill)
	err := call()
	if !timer.Stop() && err != nil {
		return webclient.Silence(t.c.name(), t.Idle)
	}
	return err
}

func (t *streamTransport) exchange(ctx context.Context, write func(io.Writer) error) (answer, error) {
	t.heard = false
	t.guard(ctx)
	sent := bufio.NewWriterSize(t, 4<<10)
	err := write(sent)
	if err == nil {
		err = sent.Flush()
	}
	if err != nil {
		return answer{}, err
	}
	return answer{t, func(complete bool) error {
		t.unwatch()
		if t.heard = complete && t.c.caps.Version == 2; !t.heard {
			t.end(complete)
		}
		return nil
	}}, nil
}

// broke adds what the program said on its standard error.
func (t *streamTransport) broke(err error) error {
	text := t.end(false)
	if text == "" {
		return godwit.Fail(godwit.CodeNetwork, err, "the connection to "+t.c.name()+" broke", "try again")
	}
	return t.c.explainRemote(&remoteError{printable([]byte(text))})
}

// end closes the program and gives its last words.
func (t *streamTransport) end(complete bool) string {
	if t.p.out == nil {
		return ""
	}
	p := t.p
	t.p, t.heard = program{}, false
	if t.unwatch != nil {
		t.unwatch()
	}
	if t.c.known && t.c.caps.Version == 2 || complete {
		// A flush packet says good-bye in both versions.
		io.WriteString(p.in, "0000")
	}
	p.in.Close()
	done := make(chan struct{})
	go func() {
		p.wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
		p.kill()
		<-done
	}
	return p.errors.String()
}

func (t *streamTransport) close() error {
	t.end(false)
	if t.hangUp != nil {
		t.hangUp()
	}
	return nil
}

// A tail keeps the last bytes written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 1 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

// String gives the last lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
