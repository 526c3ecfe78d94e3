package status

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/term"
)

// Limits of the server: it must not be able to harm the agent that it is part of.
const (
	maxConns  = 16
	maxHead   = 8 << 10
	readTime  = 5 * time.Second // for a request
	writeTime = 5 * time.Second // for an answer
)

// Serve shows the status to programs of this device, until ctx ends, which is no
// error: a page on /, and /status.json, /log.json and /metrics. It only answers GET and
// HEAD, one on each connection, and changes nothing. listen is 127.0.0.1:PORT,
// [::1]:PORT, or unix:/PATH, a socket for its owner and group. gather is called by
// one request at a time, and its answer is good for a second.
//
// A web page that somebody looks at on this device cannot read any of it: requests
// must name this device as their host, so that no other name that leads here will do
// (DNS rebinding), and answers allow no other origin.
func Serve(ctx context.Context, listen string, gather func() (*Status, error)) error {
	l, err := open(listen)
	if err != nil {
		return godwit.Fail(godwit.CodeIO, err, "nothing can listen on "+listen, "see whether another program does, or change agent.listen")
	}
	return serve(ctx, l, &server{gather: gather, patience: readTime})
}

// open listens. A socket that a process left that is gone makes room.
func open(listen string) (net.Listener, error) {
	name, ok := strings.CutPrefix(listen, "unix:")
	if !ok {
		return net.Listen("tcp", listen)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", name)
	if errors.Is(err, syscall.EADDRINUSE) && stale(name) {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
		l, err = net.Listen("unix", name)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// stale reports whether name is a socket on which nobody listens.
func stale(name string) bool {
	if info, err := os.Lstat(name); err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.DialTimeout("unix", name, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// A server answers requests.
type server struct {
	gather   func() (*Status, error)
	patience time.Duration // with a request

	mu   sync.Mutex
	last *Status
	got  time.Time
}

// serve answers until ctx ends, and closes l.
func serve(ctx context.Context, l net.Listener, s *server) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	places := make(chan struct{}, maxConns)
	for pause := time.Duration(0); ; {
		select { // who comes while all places are taken waits in the kernel's queue
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-places
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			pause = min(max(2*pause, 10*time.Millisecond), time.Second) // no more files may be open, say
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		conns.Go(func() {
			defer func() { <-places }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			s.conn(c)
		})
	}
}

// conn answers one request.
func (s *server) conn(c net.Conn) {
	c.SetDeadline(time.Now().Add(s.patience))
	_, unix := c.(*net.UnixConn)
	head := &io.LimitedReader{R: c, N: maxHead}
	r, err := http1.ReadRequest(bufio.NewReaderSize(head, 1<<10))
	var a answer
	switch {
	case err == nil:
		a = s.answer(r, unix)
	case head.N <= 0:
		a = refuse(431, "the head of the request is too long")
	case errors.Is(err, os.ErrDeadlineExceeded):
		a = refuse(http1.StatusRequestTimeout, "the request did not come in time")
	case errors.Is(err, io.EOF):
		return
	default:
		a = refuse(http1.StatusBadRequest, "this is no request that can be answered")
	}
	c.SetDeadline(time.Now().Add(writeTime))
	if _, err := c.Write(a.bytes(r != nil && r.Method == http1.MethodHead)); err != nil {
		return
	}
	// What was sent too much is read, lest the answer be lost with it.
	if t, ok := c.(interface{ CloseWrite() error }); ok && a.code != 200 && t.CloseWrite() == nil {
		c.SetDeadline(time.Now().Add(time.Second))
		io.CopyN(io.Discard, c, 64<<10)
	}
}

// An answer to a request.
type answer struct {
	code int
	kind string // of the content
	body []byte
}

func refuse(code int, text string) answer {
	return answer{code, "text/plain; charset=utf-8", []byte(text + "\n")}
}

var statusTexts = map[int]string{405: "Method Not Allowed", 421: "Misdirected Request", 431: "Request Header Fields Too Large", 500: "Internal Server Error"}

// bytes is the answer as it is sent.
func (a answer) bytes(head bool) []byte {
	text := statusTexts[a.code]
	if text == "" {
		text = http1.StatusText(a.code)
	}
	b := []byte("HTTP/1.1 " + strconv.Itoa(a.code) + " " + text + "\r\n" +
		"Date: " + time.Now().UTC().Format(http1.TimeFormat) + "\r\n" +
		"Content-Type: " + a.kind + "\r\n" +
		"Content-Length: " + strconv.Itoa(len(a.body)) + "\r\n" +
		"Connection: close\r\n" +
		"Cache-Control: no-store\r\n" +
		"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n" +
		"Cross-Origin-Resource-Policy: same-origin\r\n" +
		"Referrer-Policy: no-referrer\r\n" +
		"X-Content-Type-Options: nosniff\r\n" +
		"X-Frame-Options: DENY\r\n")
	if a.code == 405 {
		b = append(b, "Allow: GET, HEAD\r\n"...)
	}
	b = append(b, "\r\n"...)
	if head {
		return b
	}
	return append(b, a.body...)
}

// answer finds the answer.
func (s *server) answer(r *http1.Request, unix bool) answer {
	host := r.Host
	if r.URL.Host != "" {
		host = r.URL.Host // RFC 9112, 3.2.2
	}
	switch {
	case !ours(host) && !(unix && host == ""):
		return refuse(421, "this is for programs of this device: ask for localhost")
	case r.Method != http1.MethodGet && r.Method != http1.MethodHead:
		return refuse(405, "there is nothing to change here")
	case r.ContentLength != 0:
		return refuse(http1.StatusBadRequest, "a question has no content")
	}
	show := map[string]func(*Status) answer{
		"/":            func(s *Status) answer { return answer{200, "text/html; charset=utf-8", Page(s, time.Now())} },
		"/status.json": func(s *Status) answer { return asJSON(s.Fields()) },
		"/log.json":    func(s *Status) answer { return asJSON(s.logFields()) },
		"/metrics":     func(s *Status) answer { return answer{200, "text/plain; version=0.0.4; charset=utf-8", Metrics(s)} },
	}[r.URL.Path]
	if show == nil {
		return refuse(http1.StatusNotFound, "there are /, /status.json, /log.json and /metrics")
	}
	now, err := s.status()
	if err != nil {
		return refuse(500, "the status cannot be told: "+oneLine(term.Clean(err.Error())))
	}
	return show(now)
}

func asJSON(f jsontext.Fields) answer {
	return answer{200, "application/json", append(jsontext.Append(nil, f), '\n')}
}

// goodFor is how long an answer of gather is good for.
const goodFor = time.Second

func (s *server) status() (*Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && time.Since(s.got) < goodFor {
		return s.last, nil
	}
	st, err := s.gather()
	if err == nil {
		s.last, s.got = st, time.Now()
	}
	return st, err
}

// ours reports whether a host, with or without a port, is this device by a name
// that nobody else can lead here.
func ours(host string) bool {
	name := host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return false
		}
		name = h
	} else if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		name = host[1 : n-1]
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}
