package githost

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/internal/http1"
)

// A Handler answers a request.
type Handler interface {
	ServeHTTP(ResponseWriter, *http1.Request)
}

// A HandlerFunc is a function as a Handler.
type HandlerFunc func(ResponseWriter, *http1.Request)

// ServeHTTP calls f.
func (f HandlerFunc) ServeHTTP(w ResponseWriter, r *http1.Request) { f(w, r) }

// A ResponseWriter takes an answer: the header, changed in place until the first
// call of one of the others; the status, 200 if it is not said; the content. It
// may also have the methods Flush and Hijack, as those of net/http have them.
type ResponseWriter interface {
	Header() http1.Header
	WriteHeader(status int)
	Write([]byte) (int, error)
}

// ErrAbort is for a Handler to panic with: the connection is broken off.
var ErrAbort = errors.New("githost: answer broken off")

func fail(w ResponseWriter, text string, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}

func (h *Host) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		if h.closed {
			c.Close()
		} else {
			h.conns[c] = true
		}
		h.mu.Unlock()
		go h.serveConn(c)
	}
}

// serveConn answers the requests of one connection, one after the other.
func (h *Host) serveConn(c net.Conn) {
	defer func() {
		c.Close()
		h.mu.Lock()
		delete(h.conns, c)
		h.mu.Unlock()
	}()
	in := bufio.NewReader(c)
	out := bufio.NewWriter(c)
	for {
		req, err := http1.ReadRequest(in)
		if err != nil {
			return
		}
		req.RemoteAddr = c.RemoteAddr().String()
		if req.Header.Get("Expect") == "100-continue" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		w := &response{conn: c, in: in, out: out, header: make(http1.Header), close: req.Close}
		finished := serveOne(h, w, req)
		if w.hijacked {
			return
		}
		io.Copy(io.Discard, io.LimitReader(req.Body, 1<<20))
		if !finished || w.finish() != nil || w.close {
			return
		}
	}
}

// serveOne reports whether the handler came to an orderly end: it may panic
// with ErrAbort.
func serveOne(h *Host, w *response, r *http1.Request) (finished bool) {
	defer func() {
		if p := recover(); p != nil && p != ErrAbort {
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return true
}

var errHijacked = errors.New("githost: the connection was handed over")

// response is the ResponseWriter of serveConn.
type response struct {
	conn     net.Conn
	in       *bufio.Reader
	out      *bufio.Writer
	header   http1.Header
	body     io.WriteCloser // nil until the header is written
	close    bool           // after this answer
	hijacked bool
}

func (w *response) Header() http1.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.body != nil {
		return
	}
	io.WriteString(w.out, "HTTP/1.1 "+strconv.Itoa(status)+" "+http1.StatusText(status)+"\r\n")
	if w.header.Get("Content-Length") != "" {
		w.body = plainBody{w.out}
	} else {
		w.header.Set("Transfer-Encoding", "chunked")
		w.body = http1.NewChunkedWriter(w.out)
	}
	if w.close || strings.EqualFold(w.header.Get("Connection"), "close") {
		w.close = true
		w.header.Set("Connection", "close")
	}
	w.header.Write(w.out)
	io.WriteString(w.out, "\r\n")
}

func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, errHijacked
	}
	w.WriteHeader(http1.StatusOK)
	return w.body.Write(p)
}

// Flush sends what was written so far.
func (w *response) Flush() {
	w.WriteHeader(http1.StatusOK)
	w.out.Flush()
}

// Hijack hands the connection over.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return w.conn, bufio.NewReadWriter(w.in, w.out), nil
}

func (w *response) finish() error {
	w.WriteHeader(http1.StatusOK)
	err := w.body.Close()
	if err == nil {
		err = w.out.Flush()
	}
	return err
}

type plainBody struct{ io.Writer }

func (plainBody) Close() error { return nil }

// runCGI lets git http-backend answer r (RFC 3875).
func (h *Host) runCGI(w ResponseWriter, r *http1.Request, user string) {
	if r.ContentLength < 0 {
		fail(w, "a request body needs a Content-Length", http1.StatusLengthRequired)
		return
	}
	cmd := exec.CommandContext(r.Context(), h.backend)
	cmd.Env = append(h.env[:len(h.env):len(h.env)],
		"GATEWAY_INTERFACE=CGI/1.1", "SERVER_PROTOCOL=HTTP/1.1", "SERVER_SOFTWARE=githost",
		"REQUEST_METHOD="+r.Method, "PATH_INFO="+r.URL.Path, "QUERY_STRING="+r.URL.RawQuery,
		"CONTENT_TYPE="+r.Header.Get("Content-Type"), "REMOTE_ADDR="+r.RemoteAddr)
	if r.ContentLength > 0 {
		cmd.Env = append(cmd.Env, "CONTENT_LENGTH="+strconv.FormatInt(r.ContentLength, 10))
	}
	if user != "" {
		cmd.Env = append(cmd.Env, "REMOTE_USER="+user)
	}
	for name, values := range r.Header {
		if name != "Authorization" && name != "Proxy" {
			name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			cmd.Env = append(cmd.Env, "HTTP_"+name+"="+strings.Join(values, ", "))
		}
	}
	cmd.Stderr = h.cfg.Log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		fail(w, err.Error(), http1.StatusInternalServerError)
		return
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fail(w, err.Error(), http1.StatusInternalServerError)
		return
	}
	sent := make(chan struct{})
	go func() {
		io.Copy(stdin, r.Body)
		stdin.Close()
		close(sent)
	}()
	if err := answer(w, bufio.NewReader(stdout)); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		<-sent
		panic(ErrAbort)
	}
	cmd.Wait()
	<-sent
}

// answer passes the CGI program's answer on.
func answer(w ResponseWriter, out *bufio.Reader) error {
	header, err := http1.ReadHeader(out)
	if err != nil {
		return errors.New("githost: git http-backend: " + err.Error())
	}
	status := http1.StatusOK
	if s := header.Get("Status"); s != "" {
		s, _, _ = strings.Cut(s, " ")
		if status, err = strconv.Atoi(s); err != nil {
			return errors.New("githost: git http-backend: status " + s)
		}
		header.Del("Status")
	}
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	// What git says goes out at once: it is silent for long while it makes a
	// pack, but for a sign of life now and then.
	for buf := make([]byte, 32<<10); ; {
		n, err := out.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if f, ok := w.(interface{ Flush() }); ok {
				f.Flush()
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
