package http1

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a real server and counts the connections it gets.
func serve(t testing.TB, h http.HandlerFunc) (s *httptest.Server, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	s = httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, conns
}

// raw runs a server that answers each connection by a function.
func raw(t testing.TB, fn func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wait []chan struct{}
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			over := make(chan struct{})
			wait = append(wait, over)
			go func() { defer close(over); defer c.Close(); fn(c) }()
		}
		for _, w := range wait {
			<-w
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// hear reads the head of a request, and the body that has a length.
func hear(c net.Conn) string {
	var b []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
		if _, err := c.Read(one); err != nil {
			return string(b)
		}
		b = append(b, one...)
	}
	head := string(b)
	if _, rest, ok := strings.Cut(head, "Content-Length: "); ok {
		n, _ := strconv.Atoi(rest[:strings.Index(rest, "\r")])
		body := make([]byte, n)
		n, _ = io.ReadFull(c, body)
		head += string(body[:n])
	}
	return head
}

func transport(t testing.TB) *Transport {
	tr := &Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func request(t testing.TB, ctx context.Context, method, u string, body io.Reader) *Request {
	t.Helper()
	r, err := NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func do(t testing.TB, tr *Transport, method, u string, body io.Reader) (*Response, string) {
	t.Helper()
	resp, err := tr.RoundTrip(request(t, context.Background(), method, u, body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestExchange(t *testing.T) {
	s, conns := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sum := sha256.Sum256(b)
		w.Header().Set("X-Got", strconv.FormatInt(r.ContentLength, 10)+" "+strconv.Itoa(len(b))+" "+strconv.Itoa(int(sum[0])))
		w.Header().Set("X-Head", r.Method+" "+r.RequestURI+" "+r.Host+" "+r.Header.Get("X-Mine"))
		switch r.URL.Path {
		case "/chunks":
			for range 20 {
				w.Write(bytes.Repeat([]byte("x"), 5000))
				w.(http.Flusher).Flush()
			}
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/same":
			w.WriteHeader(http.StatusNotModified)
		case "/early":
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusProcessing)
			io.WriteString(w, "late")
		case "/trailers":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "with trailers")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Sum", "1")
		default:
			io.WriteString(w, "plain")
		}
	})
	big := make([]byte, 3<<20)
	rand.Read(big)
	sum := sha256.Sum256(big)
	tr := transport(t)
	for _, c := range []struct {
		method, path string
		body         io.Reader
		status       int
		length       int64
		content      string
		got          string
	}{
		{"GET", "/", nil, 200, 5, "plain", "0 0"},
		{"", "/?a=b", nil, 200, 5, "plain", ""},
		{"HEAD", "/", nil, 200, 5, "", ""},
		{"HEAD", "/chunks", nil, 200, -1, "", ""},
		{"GET", "/chunks", nil, 200, -1, strings.Repeat("x", 100_000), ""},
		{"GET", "/empty", nil, 204, 0, "", ""},
		{"GET", "/same", nil, 304, 0, "", ""},
		{"GET", "/early", nil, 200, 4, "late", ""},
		{"GET", "/trailers", nil, 200, -1, "with trailers", ""},
		{"POST", "/", nil, 200, 5, "plain", "0 0"},
		{"POST", "/", strings.NewReader(""), 200, 5, "plain", "0 0"},
		{"POST", "/", strings.NewReader("hello"), 200, 5, "plain", "5 5"},
		{"POST", "/", bytes.NewBufferString("hello"), 200, 5, "plain", "5 5"},
		{"POST", "/", bytes.NewReader(big), 200, 5, "plain", "3145728 3145728 " + strconv.Itoa(int(sum[0]))},
		{"POST", "/", io.MultiReader(bytes.NewReader(big)), 200, 5, "plain", "-1 3145728 " + strconv.Itoa(int(sum[0]))},
		{"POST", "/", io.MultiReader(), 200, 5, "plain", "-1 0"},
	} {
		resp, body := do(t, tr, c.method, s.URL+c.path, c.body)
		if resp.StatusCode != c.status || resp.ContentLength != c.length || body != c.content || !strings.HasPrefix(resp.Header.Get("x-got"), c.got) {
			t.Errorf("%s %s: %s, length %d, %d bytes %.20q, %v", c.method, c.path, resp.Status, resp.ContentLength, len(body), body, resp.Header)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for one request after the other", conns.Load())
	}
	r := request(t, context.Background(), "GET", s.URL+"/a b?c d=\u00fc%41", nil)
	r.Host = "else.where:7"
	r.Header.Set("x-mine", " \tmine ")
	r.Header.Set("Content-Length", "77") // not the caller's to say
	r.Header.Set("Transfer-Encoding", "chunked")
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if h := resp.Header.Get("X-Head"); h != "GET /a%20b?c%20d=%C3%BC%41 else.where:7 mine" {
		t.Errorf("the server saw %q", h)
	}
}

func TestConnectionsEnd(t *testing.T) {
	s, conns := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "keep-alive, Close")
		}
		w.Header().Set("X-Close", strconv.FormatBool(r.Close))
		io.WriteString(w, strings.Repeat("z", 100_000))
	})
	tr := transport(t)
	step := func(what string, more int64, fn func()) {
		t.Helper()
		before := conns.Load()
		fn()
		if n := conns.Load() - before; n != more {
			t.Errorf("%s: %d new connections, want %d", what, n, more)
		}
	}
	step("first", 1, func() { do(t, tr, "GET", s.URL, nil) })
	step("second", 0, func() { do(t, tr, "GET", s.URL, nil) })
	step("the host closes", 0, func() { do(t, tr, "GET", s.URL+"/close", nil) })
	step("after that", 1, func() { do(t, tr, "GET", s.URL, nil) })
	step("we close", 0, func() {
		r := request(t, context.Background(), "GET", s.URL, nil)
		r.Close = true
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.Header.Get("X-Close") != "true" {
			t.Error("the host was not told")
		}
	})
	step("after that", 1, func() { do(t, tr, "GET", s.URL, nil) })
	step("not read to the end", 0, func() {
		resp, err := tr.RoundTrip(request(t, context.Background(), "GET", s.URL, nil))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Read(make([]byte, 10))
		resp.Body.Close()
		if n, err := resp.Body.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("a closed body gives %d, %v", n, err)
		}
	})
	step("after that", 1, func() { do(t, tr, "GET", s.URL, nil) })
	tr.CloseIdleConnections()
	step("idle ones closed", 1, func() { do(t, tr, "GET", s.URL, nil) })
	tr.CloseIdleConnections()
	tr.IdleConnTimeout = 10 * time.Millisecond
	step("to be idle for long", 1, func() { do(t, tr, "GET", s.URL, nil) })
	for i := 0; i < 500; i++ {
		tr.mu.Lock()
		n := len(tr.idle)
		tr.mu.Unlock()
		if n == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	step("after long", 1, func() { do(t, tr, "GET", s.URL, nil) })
	tr.DisableKeepAlives = true
	tr.CloseIdleConnections()
	step("none kept", 2, func() { do(t, tr, "GET", s.URL, nil); do(t, tr, "GET", s.URL, nil) })
}

func TestIdleAreFew(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain") })
	tr := transport(t)
	var answers []*Response
	for range 5 {
		resp, err := tr.RoundTrip(request(t, context.Background(), "GET", s.URL, nil))
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, resp)
	}
	for _, resp := range answers {
		io.Copy(io.Discard, resp.Body)
	}
	if len(tr.idle) != 2 {
		t.Errorf("%d connections are kept", len(tr.idle))
	}
}

// TestDeadConnection lets the host hang up on what was kept open.
func TestDeadConnection(t *testing.T) {
	for _, c := range []struct {
		name string
		body func() io.Reader
		bare bool // without GetBody
		dead func(net.Conn)
		ok   bool
	}{
		{"GET", func() io.Reader { return nil }, false, func(net.Conn) {}, true},
		{"POST", func() io.Reader { return strings.NewReader("again") }, false, func(net.Conn) {}, true},
		{"POST, heard and closed", func() io.Reader { return strings.NewReader("again") }, false, func(c net.Conn) { hear(c) }, true},
		{"POST that cannot be repeated", func() io.Reader { return strings.NewReader("again") }, true, func(c net.Conn) { hear(c) }, false},
		{"POST, closed within the answer", func() io.Reader { return strings.NewReader("again") }, false, func(c net.Conn) { hear(c); io.WriteString(c, "HT") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var conns atomic.Int64
			u := raw(t, func(conn net.Conn) {
				n := conns.Add(1)
				head := hear(conn)
				if n > 1 && c.body() != nil && !strings.HasSuffix(head, "again") {
					t.Errorf("the second time came %q", head)
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				if n == 1 {
					c.dead(conn)
				} else {
					hear(conn)
				}
			})
			tr := transport(t)
			do(t, tr, "GET", u, nil)
			method, _, _ := strings.Cut(c.name, " ")
			r := request(t, context.Background(), strings.TrimSuffix(method, ","), u, c.body())
			if c.bare {
				r.GetBody = nil
			}
			resp, err := tr.RoundTrip(r)
			if c.ok != (err == nil) || c.ok != (conns.Load() == 2) {
				t.Errorf("%v, %d connections", err, conns.Load())
			}
			if err == nil {
				io.Copy(io.Discard, resp.Body)
			}
			tr.CloseIdleConnections()
		})
	}
	// A connection that is new is not tried again.
	var conns atomic.Int64
	u := raw(t, func(c net.Conn) { conns.Add(1); hear(c) })
	if _, err := transport(t).RoundTrip(request(t, context.Background(), "GET", u, nil)); !errors.Is(err, io.ErrUnexpectedEOF) || conns.Load() != 1 {
		t.Errorf("%v, %d connections", err, conns.Load())
	}
}

// TestAnswerBeforeBody lets the host answer while the body is on its way.
func TestAnswerBeforeBody(t *testing.T) {
	u := raw(t, func(c net.Conn) {
		hear(c)
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nno way")
		// What comes is not read; the connection lives until the client ends it.
		time.Sleep(50 * time.Millisecond)
		io.Copy(io.Discard, c)
	})
	tr := transport(t)
	pr, pw := io.Pipe()
	defer pw.Close()
	r := request(t, context.Background(), "POST", u, pr)
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 413 || string(b) != "no way" || err != nil {
		t.Errorf("%s %q %v", resp.Status, b, err)
	}
	if _, err := pw.Write([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("the request's body is still open: %v", err)
	}
	if len(tr.idle) > 0 {
		t.Error("a connection with half a request on it is kept")
	}

	// The same with a host that hangs up.
	u = raw(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		c.(*net.TCPConn).CloseWrite()
		io.CopyN(io.Discard, c, 1<<20)
	})
	resp, err = tr.RoundTrip(request(t, context.Background(), "POST", u, io.LimitReader(rand.Reader, 64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 401 {
		t.Error(resp.Status)
	}
}

func TestBodyFails(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	tr := transport(t)
	do(t, tr, "GET", s.URL, nil)
	boom := errors.New("boom")
	for _, length := range []int64{0, 100} {
		pr, pw := io.Pipe()
		go func() { pw.Write([]byte("some")); pw.CloseWithError(boom) }()
		r := request(t, context.Background(), "POST", s.URL, pr)
		r.ContentLength = length
		r.GetBody = func() (io.ReadCloser, error) { t.Error("asked for again"); return nil, boom }
		if _, err := tr.RoundTrip(r); err != boom {
			t.Errorf("length %d: %v", length, err)
		}
	}
	for _, length := range []int64{3, 5} {
		r := request(t, context.Background(), "POST", s.URL, io.MultiReader(strings.NewReader("four")))
		r.ContentLength = length
		if _, err := tr.RoundTrip(r); !errors.Is(err, errBodyLength) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

// TestCancel ends the context at each point.
func TestCancel(t *testing.T) {
	// hold keeps the connection until the other side ends it.
	hold := func(c net.Conn) { io.Copy(io.Discard, c) }
	say := func(s string) func(net.Conn) {
		return func(c net.Conn) { hear(c); io.WriteString(c, s); hold(c) }
	}
	for _, c := range []struct {
		name string
		host func(net.Conn)
		tls  bool
		via  string // scheme of a proxy
		body io.Reader
		read bool // fails while the body is read
	}{
		{name: "handshake", host: hold, tls: true},
		{name: "handshake of a proxy", host: hold, via: "https"},
		{name: "CONNECT", host: hold, tls: true, via: "http"},
		{name: "SOCKS", host: hold, via: "socks5"},
		{name: "sending", host: func(c net.Conn) {
			stuck := c.(*net.TCPConn)
			stuck.SetReadBuffer(1 << 10)
			time.Sleep(100 * time.Millisecond)
		}, body: io.LimitReader(rand.Reader, 64<<20)},
		{name: "waiting", host: say("")},
		{name: "head", host: say("HTTP/1.1 200 OK\r\nA: b")},
		{name: "after 100", host: say("HTTP/1.1 100 Continue\r\n\r\n")},
		{name: "body", host: say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), read: true},
		{name: "chunks", host: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), read: true},
		{name: "to the end", host: say("HTTP/1.1 200 OK\r\n\r\nhalf"), read: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := raw(t, c.host)
			tr := transport(t)
			if c.via != "" {
				p, _ := url.Parse(strings.Replace(u, "http", c.via, 1))
				tr.Proxy, u = ProxyURL(p), "http://host.test/"
			}
			if c.tls {
				u = strings.Replace(u, "http", "https", 1)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			enough := errors.New("enough")
			time.AfterFunc(30*time.Millisecond, func() { cancel(enough) })
			resp, err := tr.RoundTrip(request(t, ctx, "POST", u, c.body))
			if c.read && err == nil {
				var b []byte
				b, err = io.ReadAll(resp.Body)
				if string(b) != "half" {
					t.Errorf("read %q", b)
				}
				resp.Body.Close()
			}
			if err != enough {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := transport(t).RoundTrip(request(t, ctx, "GET", "http://127.0.0.1:1/", nil)); err != context.Canceled {
		t.Errorf("before it began: %v", err)
	}
}

func TestTimeouts(t *testing.T) {
	u := raw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	late := func(what string, tr *Transport, u string) {
		t.Helper()
		_, err := tr.RoundTrip(request(t, context.Background(), "POST", u, strings.NewReader("x")))
		var n net.Error
		if !errors.As(err, &n) || !n.Timeout() {
			t.Errorf("%s: %v", what, err)
		}
	}
	short := 20 * time.Millisecond
	late("head", &Transport{ResponseHeaderTimeout: short}, u)
	late("handshake", &Transport{TLSHandshakeTimeout: short}, strings.Replace(u, "http", "https", 1))
	p, _ := url.Parse(u)
	late("CONNECT", &Transport{TLSHandshakeTimeout: short, Proxy: ProxyURL(p)}, "https://host.test/")
	p, _ = url.Parse(strings.Replace(u, "http", "socks5", 1))
	late("SOCKS", &Transport{TLSHandshakeTimeout: short, Proxy: ProxyURL(p)}, "http://host.test/")
	// A body that comes later than that is not late.
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		time.Sleep(3 * short)
		io.WriteString(w, "slow")
	})
	tr := transport(t)
	tr.ResponseHeaderTimeout = 5 * time.Second
	if _, b := do(t, tr, "GET", s.URL, nil); b != "slow" {
		t.Errorf("%q", b)
	}
}

func TestTLS(t *testing.T) {
	var seen atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.TLS.NegotiatedProtocol + " " + r.TLS.ServerName)
		io.WriteString(w, "secret")
	}))
	s.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	tr := transport(t)
	var passed atomic.Int64
	tr.Wrap = func(c net.Conn) net.Conn { return &counted{c, &passed} }
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	tr.TLSClientConfig = &tls.Config{RootCAs: pool}
	for range 2 {
		if _, b := do(t, tr, "GET", "https://example.com/", nil); b != "secret" || seen.Load() != "http/1.1 example.com" {
			t.Errorf("%q, %v", b, seen.Load())
		}
	}
	if n := passed.Load(); n < 100 || n > 800 {
		t.Errorf("%d bytes above TLS", n)
	}
	_, err := tr.RoundTrip(request(t, context.Background(), "GET", "https://other.test/", nil))
	var name x509.HostnameError
	if !errors.As(err, &name) {
		t.Errorf("another name: %v", err)
	}
	do(t, tr, "GET", "https://127.0.0.1/", nil)
	tr.TLSClientConfig = nil
	tr.CloseIdleConnections()
	_, err = tr.RoundTrip(request(t, context.Background(), "GET", "https://example.com/", nil))
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("an unknown authority: %v", err)
	}
}

// counted counts what it passes on, to show that Wrap is above TLS.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6: ", err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"[::1]", "[::1%25lo]"} {
		if _, b := do(t, transport(t), "GET", "http://"+host+":"+port+"/", nil); b != "[::1]:"+port {
			t.Errorf("%s: Host is %q", host, b)
		}
	}
}
