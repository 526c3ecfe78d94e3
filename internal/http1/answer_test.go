package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// answers are what hosts may say, right and wrong. sound is whether this package
// takes it: head and body.
var answers = []struct {
	name  string
	sound bool
	say   string
}{
	{"length", true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a: 1\r\nX-A:  two \t\r\nX-B:\r\n\r\nhello"},
	{"no length", true, "HTTP/1.1 200 OK\r\n\r\nhello"},
	{"1.0", true, "HTTP/1.0 200 OK\r\n\r\nhello"},
	{"1.0 with length and keep-alive", true, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"},
	{"1.9", true, "HTTP/1.9 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
	{"no reason", true, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"},
	{"empty reason", true, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
	{"reason in words", true, "HTTP/1.1 299 Fine, \xe4 thanks\r\nContent-Length: 0\r\n\r\n"},
	{"bare LF", true, "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"},
	{"100 and 103 first", true, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	{"204 with a length", true, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"},
	{"304 with a length", true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
	{"same length twice", true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
	{"bytes beyond the length", true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 666 evil\r\n\r\n"},
	{"chunks", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n006\r\n world\r\n0\r\n\r\n"},
	{"chunks with extensions", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=\"y\"\r\n0123456789\r\n1 \t\r\nz\r\n0;last\r\n\r\n"},
	{"chunks with trailers", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n1\r\nz\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n"},
	{"empty chunked", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"long line", true, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: " + strings.Repeat("y", 60_000) + "\r\n\r\n"},
	{"190 lines", true, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("X: y\r\n", 190) + "\r\n"},

	{"nothing", false, ""},
	{"SSH", false, "SSH-2.0-OpenSSH_9.2p1\r\n\r\n"},
	{"empty line first", false, "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{"HTTP/2", false, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{"HTTP/1.10", false, "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{"lower case", false, "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{"status of two digits", false, "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"},
	{"status of four digits", false, "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"},
	{"status 000", false, "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"},
	{"status +20", false, "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n"},
	{"no status", false, "HTTP/1.1\r\nContent-Length: 0\r\n\r\n"},
	{"101", false, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"},
	{"head ends early", false, "HTTP/1.1 200 OK\r\nContent-Le"},
	{"head without its end", false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"},
	{"folded line", false, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"},
	{"folded first line", false, "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n"},
	{"no colon", false, "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n"},
	{"no name", false, "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n"},
	{"space before the colon", false, "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"},
	{"space in a name", false, "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 0\r\n\r\n"},
	{"NUL in a value", false, "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n"},
	{"CR in a value", false, "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 7\r\nContent-Length: 0\r\n\r\n"},
	{"two lengths", false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"},
	{"list of lengths", false, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"},
	{"length and chunks", false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	{"negative length", false, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello"},
	{"length with a sign", false, "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"},
	{"length in hexadecimal", false, "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello"},
	{"no digits of a length", false, "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"},
	{"length beyond all", false, "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello"},
	{"gzip, chunked", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
	{"chunked twice", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"identity", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"},
	{"chunks in 1.0", false, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"too short", false, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"},
	{"chunks cut within", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello"},
	{"chunks cut between", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
	{"chunks cut at the last line", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"},
	{"chunk longer than it says", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n"},
	{"chunk without a size", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"},
	{"chunk size with a sign", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"},
	{"chunk size in words", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"},
	{"chunk size of 17 digits", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"},
	{"chunk of 2^60", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\nhello\r\n0\r\n\r\n"},
	{"bare LF behind a chunk size", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"},
	{"bare LF behind an extension", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n"},
	{"bare LF behind a chunk", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"},
	{"endless extension", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", 5000) + "\r\nhello\r\n0\r\n\r\n"},
	{"many extensions", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\nz\r\n", 20) + "0\r\n\r\n"},
	{"endless trailers", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n"},
	{"trailer that is none", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX\r\n\r\n"},
	{"line too long", false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + strings.Repeat("y", 70_000) + "\r\n\r\n"},
	{"too many lines", false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("X: y\r\n", 210) + "\r\n"},
	{"too much in small lines", false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70) + "\r\n"},
	{"nothing but 100", false, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 5000)},
}

// TestAnswers lets both clients hear the same answers. What this one takes, the
// other must have taken in the same way.
func TestAnswers(t *testing.T) {
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			u := raw(t, func(c net.Conn) {
				hear(c)
				io.WriteString(c, a.say)
				// A close with bytes unread would be a reset.
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			})
			tr := transport(t)
			resp, err := tr.RoundTrip(request(t, context.Background(), "GET", u, nil))
			if err != nil {
				if a.sound {
					t.Fatal(err)
				}
				var p *ProtocolError
				if !errors.As(err, &p) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the error %v is of no known kind", err)
				}
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if (err == nil) != a.sound {
				t.Fatalf("the body: %q, %v", body, err)
			}
			if strings.Contains(a.name, "beyond") && len(tr.idle) > 0 {
				t.Error("a connection with bytes left over is kept")
			}
			theirs := &http.Transport{DisableCompression: true}
			defer theirs.CloseIdleConnections()
			r, _ := http.NewRequest("GET", u, nil)
			other, err := theirs.RoundTrip(r)
			if err != nil {
				if a.sound {
					t.Errorf("net/http refuses it: %v", err)
				}
				return
			}
			content, err := io.ReadAll(other.Body)
			other.Body.Close()
			if err != nil && a.sound {
				t.Errorf("net/http refuses the body: %v", err)
			}
			if a.sound {
				equal(t, resp, body, other, content)
			}
		})
	}
}

// equal compares an answer with how net/http reads it.
func equal(t *testing.T, a *Response, body []byte, b *http.Response, content []byte) {
	t.Helper()
	h := http.Header(a.Header.Clone())
	for _, k := range []string{"Trailer", "Connection"} { // which it takes away
		h.Del(k)
		b.Header.Del(k)
	}
	if !reflect.DeepEqual(h, b.Header) {
		t.Errorf("header %q, net/http reads %q", h, b.Header)
	}
	if a.Status != b.Status || a.StatusCode != b.StatusCode || a.ContentLength != b.ContentLength || !bytes.Equal(body, content) {
		t.Errorf("%q %d, length %d, %q; net/http reads %q %d, %d, %q", a.Status, a.StatusCode, a.ContentLength, body, b.Status, b.StatusCode, b.ContentLength, content)
	}
}

// readBoth reads an answer with both, and reports whether we took it.
func readBoth(t *testing.T, say []byte, method string) bool {
	t.Helper()
	a, err := ReadResponse(bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(say)), 16), method)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return false
	}
	r, _ := http.NewRequest(method, "http://h/", nil)
	in := bufio.NewReaderSize(bytes.NewReader(say), 128<<10)
	for {
		b, err := http.ReadResponse(in, r)
		if err != nil {
			t.Fatalf("net/http refuses what we take: %v", err)
		}
		if b.StatusCode < 200 { // which its Transport passes over
			continue
		}
		content, err := io.ReadAll(b.Body)
		if err != nil {
			t.Fatalf("net/http refuses a body that we take: %v", err)
		}
		equal(t, a, body, b, content)
		return true
	}
}

func FuzzResponse(f *testing.F) {
	for i, a := range answers {
		f.Add([]byte(a.say), i%7 == 0)
	}
	f.Fuzz(func(t *testing.T, say []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		readBoth(t, say, method)
	})
}

func FuzzChunks(f *testing.F) {
	for _, a := range answers {
		if _, body, ok := strings.Cut(a.say, "hunked\r\n\r\n"); ok {
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		readBoth(t, append([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), body...), "GET")
	})
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /a?b HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\n\r\nabc",
		"POST http://x/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, say []byte) {
		a, err := ReadRequest(bufio.NewReaderSize(bytes.NewReader(say), 16))
		if err != nil {
			return
		}
		body, err := io.ReadAll(a.Body)
		if err != nil {
			return
		}
		b, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(say), 128<<10))
		if err != nil {
			t.Fatalf("net/http refuses what we take: %v", err)
		}
		content, err := io.ReadAll(b.Body)
		if err != nil {
			t.Fatalf("net/http refuses a body that we take: %v", err)
		}
		if a.Method != b.Method || a.URL.String() != b.URL.String() || a.ContentLength != b.ContentLength || !bytes.Equal(body, content) {
			t.Errorf("%s %s %d %q; net/http reads %s %s %d %q", a.Method, a.URL, a.ContentLength, body, b.Method, b.URL, b.ContentLength, content)
		}
	})
}

// TestSendsNothingElse tries to end lines of a request's head.
func TestSendsNothingElse(t *testing.T) {
	u := raw(t, func(c net.Conn) { t.Errorf("the host heard %q", hear(c)) })
	ask := func(what string, set func(*Request)) {
		t.Helper()
		r := request(t, context.Background(), "POST", u, strings.NewReader("x"))
		closed := false
		r.Body = &closing{r.Body, &closed}
		set(r)
		_, err := transport(t).RoundTrip(r)
		var bad *RequestError
		if !errors.As(err, &bad) || !closed {
			t.Errorf("%s: %v, body closed: %v", what, err, closed)
		}
	}
	for _, c := range "\r\n\x00\x01\x7f" {
		ask("a value with "+strconv.QuoteRune(c), func(r *Request) { r.Header.Set("X", "a"+string(c)+"b") })
		ask("a name with "+strconv.QuoteRune(c), func(r *Request) { r.Header["X"+string(c)] = []string{"a"} })
		ask("a method with "+strconv.QuoteRune(c), func(r *Request) { r.Method = "GET" + string(c) })
		ask("a host with "+strconv.QuoteRune(c), func(r *Request) { r.Host = "h" + string(c) })
		ask("a host of the URL with "+strconv.QuoteRune(c), func(r *Request) { r.URL.Host += string(c) })
	}
	ask("a name with a space", func(r *Request) { r.Header["X Y"] = []string{"a"} })
	ask("a name with a colon", func(r *Request) { r.Header["X:"] = []string{"a"} })
	ask("no name", func(r *Request) { r.Header[""] = []string{"a"} })
	ask("a method of two words", func(r *Request) { r.Method = "GET /x" })
	ask("CONNECT", func(r *Request) { r.Method = "CONNECT" })
	ask("no URL", func(r *Request) { r.URL = nil })
	ask("another scheme", func(r *Request) { r.URL.Scheme = "ftp" })
	ask("no host", func(r *Request) { r.URL.Host = "" })
	ask("a name beyond ASCII", func(r *Request) { r.URL.Host = "b\u00fccher.example" })

	// What a path or a query must not have is escaped.
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) })
	r := request(t, context.Background(), "GET", s.URL, nil)
	r.URL.Path, r.URL.RawQuery = "/a\r\nb", "c\r\nX: y\x00"
	resp, err := transport(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "/a%0D%0Ab?c%0D%0AX:%20y%00" {
		t.Errorf("the host saw %q", b)
	}
}

type closing struct {
	io.Reader
	closed *bool
}

func (c *closing) Close() error { *c.closed = true; return nil }

func TestHeader(t *testing.T) {
	for _, k := range []string{"accept", "ACCEPT-encoding", "x--y", "Accept", "a b", "", "\u00fc", "x-1a", "-"} {
		if a, b := CanonicalHeaderKey(k), http.CanonicalHeaderKey(k); a != b {
			t.Errorf("%q becomes %q, net/http says %q", k, a, b)
		}
	}
	for code := range 600 {
		if s := StatusText(code); s != "" && s != http.StatusText(code) {
			t.Errorf("%d is %q, net/http says %q", code, s, http.StatusText(code))
		}
	}
	now := time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)
	for _, s := range []string{now.Format(http.TimeFormat), now.Format(time.RFC850), now.Format(time.ANSIC), "soon", ""} {
		a, err := ParseTime(s)
		b, other := http.ParseTime(s)
		if !a.Equal(b) || (err == nil) != (other == nil) {
			t.Errorf("%q: %v, %v; net/http says %v, %v", s, a, err, b, other)
		}
	}
	r := request(t, context.Background(), "GET", "http://h/", nil)
	r.SetBasicAuth("us\u00e9r", "p:w")
	if u, p, ok := r.BasicAuth(); u != "us\u00e9r" || p != "p:w" || !ok {
		t.Error(u, p, ok)
	}
	c := r.Clone(context.Background())
	c.Header.Set("Authorization", "else")
	c.URL.Host = "else"
	if _, _, ok := r.BasicAuth(); !ok || r.URL.Host != "h" {
		t.Error("a clone shares what it should not")
	}
}

func TestLocation(t *testing.T) {
	base := request(t, context.Background(), "GET", "https://h/a/b?c", nil)
	for where, want := range map[string]string{"/x": "https://h/x", "d": "https://h/a/d", "//o/p": "https://o/p", "http://e/": "http://e/"} {
		u, err := (&Response{Header: Header{"Location": {where}}, Request: base}).Location()
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", where, u, err)
		}
	}
	if _, err := (&Response{}).Location(); err != ErrNoLocation {
		t.Error(err)
	}
}
