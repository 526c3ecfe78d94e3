package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// start serves until the test ends. network and address are where.
func start(t *testing.T, listen string, gather func() (*Status, error)) (network, address string) {
	t.Helper()
	l, err := open(listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, &server{gather: gather, patience: patience}) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the server does not end")
		}
	})
	return l.Addr().Network(), l.Addr().String()
}

// patience is what tests have with requests that do not come.
const patience = time.Second

func always(s *Status) func() (*Status, error) { return func() (*Status, error) { return s, nil } }

// ask sends what it is given and reads one answer.
func ask(t *testing.T, network, address, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, request)
	method, _, _ := strings.Cut(request, " ")
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return r, string(b)
}

func TestServe(t *testing.T) {
	network, address := start(t, "127.0.0.1:0", always(full()))
	for _, c := range []struct {
		path, kind, body string
	}{
		{"/", "text/html; charset=utf-8", "<h1>v1.4.0</h1>"},
		{"/?x", "text/html; charset=utf-8", "<h1>v1.4.0</h1>"},
		{"/status.json", "application/json", `"schema":1`},
		{"/log.json", "application/json", `"kind":"crash"`},
		{"/metrics", "text/plain; version=0.0.4; charset=utf-8", "godwit_trial_open 1\n"},
	} {
		r, err := http.Get("http://" + address + c.path) // of net/http
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != c.kind || !strings.Contains(string(b), c.body) {
			t.Errorf("%s: %v %v %.200s", c.path, err, r, b)
		}
		if strings.HasSuffix(c.path, ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", c.path)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": ""} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q", c.path, name, got)
			}
		}
		if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'unsafe-inline'") {
			t.Error(csp)
		}
		head, body := ask(t, network, address, "HEAD "+c.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if head.StatusCode != 200 || body != "" || head.ContentLength < 100 || !head.Close {
			t.Errorf("HEAD %s: %v %q", c.path, head, body)
		}
	}
}

func TestRefusals(t *testing.T) {
	network, address := start(t, "127.0.0.1:0", always(full()))
	get := "GET / HTTP/1.1\r\n"
	for _, c := range []struct {
		name, request string
		code          int
	}{
		{"localhost", get + "Host: localhost\r\n\r\n", 200},
		{"with a port", get + "Host: LOCALHOST:9180\r\n\r\n", 200},
		{"an address", get + "Host: 127.0.0.1:9180\r\n\r\n", 200},
		{"another of this device", get + "Host: 127.8.9.1\r\n\r\n", 200},
		{"IPv6", get + "Host: [::1]:9180\r\n\r\n", 200},
		{"IPv6 without a port", get + "Host: [::1]\r\n\r\n", 200},
		{"IPv4 in IPv6", get + "Host: [::ffff:127.0.0.1]\r\n\r\n", 200},
		{"a name that leads here", get + "Host: evil.example\r\n\r\n", 421},
		{"and with a port", get + "Host: evil.example:9180\r\n\r\n", 421},
		{"that looks like it", get + "Host: localhost.evil.example\r\n\r\n", 421},
		{"that looks like an address", get + "Host: 127.0.0.1.evil.example\r\n\r\n", 421},
		{"with a user", get + "Host: evil@localhost\r\n\r\n", 421},
		{"a zone", get + "Host: [::1%25lo]\r\n\r\n", 421},
		{"an address elsewhere", get + "Host: 192.0.2.1\r\n\r\n", 421},
		{"all addresses", get + "Host: 0.0.0.0\r\n\r\n", 421},
		{"a port that is none", get + "Host: localhost:x\r\n\r\n", 421},
		{"an empty host", get + "Host:\r\n\r\n", 421},
		{"no host", "GET / HTTP/1.0\r\n\r\n", 421},
		{"two hosts", get + "Host: localhost\r\nHost: localhost\r\n\r\n", 400},
		{"none in 1.1", get + "\r\n", 400},
		{"an absolute target", "GET http://localhost/ HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"of another host", "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421},
		{"another path", "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404},
		{"a file", "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404},
		{"POST", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 405},
		{"a large POST", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n" + strings.Repeat("x", 50000), 405},
		{"OPTIONS", "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
		{"CONNECT", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405},
		{"GET with content", get + "Host: localhost\r\nContent-Length: 1\r\n\r\nx", 400},
		{"in chunks", get + "Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two lengths", get + "Host: localhost\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400},
		{"a long head", get + "Host: localhost\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", 431},
		{"a long target", "GET /" + strings.Repeat("x", 9000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, body := ask(t, network, address, c.request)
			if r.StatusCode != c.code {
				t.Errorf("%d instead of %d: %.200s", r.StatusCode, c.code, body)
			}
			if c.code != 200 && (strings.Contains(body, "v1.4.0") || strings.Contains(body, "evil") || !strings.HasSuffix(body, "\n")) {
				t.Errorf("%d says %q", r.StatusCode, body)
			}
			if c.code == 405 && r.Header.Get("Allow") != "GET, HEAD" {
				t.Error("no Allow")
			}
		})
	}
}

func TestServeOnASocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "run", "http")
	network, address := start(t, "unix:"+name, always(calm()))
	info, err := os.Lstat(name)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Fatal(info, err)
	}
	for request, code := range map[string]int{"GET / HTTP/1.0\r\n\r\n": 200, "GET / HTTP/1.1\r\nHost:\r\n\r\n": 200, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n": 200, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n": 421} {
		if r, body := ask(t, network, address, request); r.StatusCode != code {
			t.Errorf("%q: %d %s", request, r.StatusCode, body)
		}
	}
	soon, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := Serve(soon, "unix:"+name, nil); err == nil || !strings.Contains(err.Error(), "nothing can listen on") {
		t.Error("another one took the socket of one that runs:", err)
	}

	// What was left by a process that is gone makes room; what is no socket stays.
	left := filepath.Join(t.TempDir(), "left")
	l, err := net.Listen("unix", left)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if network, address := start(t, "unix:"+left, always(calm())); network == "unix" {
		if r, _ := ask(t, network, address, "GET /metrics HTTP/1.0\r\n\r\n"); r.StatusCode != 200 {
			t.Error(r.Status)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	if err := Serve(soon, "unix:"+file, nil); err == nil {
		t.Error("a file was replaced")
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("%q", b)
	}
}

func TestSocketIsRemovedInTheEnd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "http")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, "unix:"+name, always(calm())) }()
	for range 500 {
		if _, err := os.Stat(name); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(name); err == nil {
		t.Error("it is still there")
	}
}

// Sixteen who say nothing keep nobody out for longer than their time.
func TestSilentConnections(t *testing.T) {
	network, address := start(t, "127.0.0.1:0", always(calm()))
	began := time.Now()
	for range maxConns {
		c, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HT")
	}
	if r, _ := ask(t, network, address, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	if took := time.Since(began); took < patience-200*time.Millisecond || took > patience+4*time.Second {
		t.Errorf("after %v", took)
	}
}

func TestSlowRequest(t *testing.T) {
	network, address := start(t, "127.0.0.1:0", always(calm()))
	if r, body := ask(t, network, address, "GET / HTTP/1.1\r\nHost: loc"); r.StatusCode != http.StatusRequestTimeout {
		t.Error(r.Status, body)
	}
}

// One request gathers at a time, and what it finds is good for others.
func TestGatheringIsShared(t *testing.T) {
	var now, most, times atomic.Int32
	network, address := start(t, "127.0.0.1:0", func() (*Status, error) {
		times.Add(1)
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(50 * time.Millisecond)
		now.Add(-1)
		return calm(), nil
	})
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if r, _ := ask(t, network, address, "GET /status.json HTTP/1.0\r\nHost: localhost\r\n\r\n"); r.StatusCode != 200 {
				t.Error(r.Status)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || times.Load() > 3 {
		t.Errorf("%d at a time, %d in all", most.Load(), times.Load())
	}
}

func TestGatheringFails(t *testing.T) {
	network, address := start(t, "127.0.0.1:0", func() (*Status, error) { return nil, errors.New("the disk\r\n\r\n<b>is gone") })
	r, body := ask(t, network, address, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
	if r.StatusCode != 500 || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" || body != "the status cannot be told: the disk\\x0d \\x0d <b>is gone\n" {
		t.Errorf("%d %v %q", r.StatusCode, r.Header, body)
	}
}

// A recorder is a connection on which a request has come.
type recorder struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error)      { return r.in.Read(b) }
func (r *recorder) Write(b []byte) (int, error)     { return r.out.Write(b) }
func (r *recorder) SetDeadline(time.Time) error     { return nil }
func (r *recorder) SetReadDeadline(time.Time) error { return nil }

// Whatever comes, there is one answer that net/http reads, or none; and only who
// names this device is told anything.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD /metrics HTTP/1.0\r\nHost: 127.0.0.1:80\r\n\r\n", "GET http://[::1]/log.json HTTP/1.1\nHost: x\n\n",
		"GET /status.json HTTP/1.1\r\nHost: evil.example\r\n\r\n", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", "GET / HTTP/1.1\r\nHost: localhost:99999\r\n\r\n",
		"GET /%00 HTTP/1.1\r\nHost: [::1]\r\n\r\n", "GET //localhost/ HTTP/1.1\r\nHost: [\r\n\r\n", "", "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	s := &server{gather: always(full())}
	f.Fuzz(func(t *testing.T, request []byte) {
		c := &recorder{in: bytes.NewReader(request)}
		s.conn(c)
		if c.out.Len() == 0 {
			if len(request) > 0 {
				t.Fatalf("no answer to %q", request)
			}
			return
		}
		method := http.MethodGet
		if bytes.HasPrefix(request, []byte("HEAD ")) {
			method = http.MethodHead
		}
		answer := c.out.Bytes()
		in := bufio.NewReader(bytes.NewReader(answer))
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: %q: %v", request, answer, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || !r.Close || r.Header.Get("X-Content-Type-Options") == "" {
			t.Fatalf("%q: %v", answer, err)
		}
		if rest, _ := io.ReadAll(in); len(rest) > 0 && (method == http.MethodGet || r.StatusCode == 200) {
			t.Fatalf("%q is left of %q", rest, answer)
		}
		if r.StatusCode == 200 {
			q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
			if err != nil {
				return // net/http is stricter in what it takes for a request
			}
			host := strings.ToLower(q.Host)
			if name, _, err := net.SplitHostPort(host); err == nil {
				host = name
			}
			if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
				t.Fatalf("%q is told: %.100q", q.Host, body)
			}
		}
	})
}
