package webclient

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// memory is Notes that last as long as a test.
type memory map[string][]byte

func (m memory) Load(name string) ([]byte, error) {
	if b, ok := m[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (m memory) Save(name string, b []byte) error {
	m[name] = bytes.Clone(b)
	return nil
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.Backoff == 0 {
		cfg.Backoff = time.Millisecond
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func get(t *testing.T, c *Client, r Request) (*Answer, string) {
	t.Helper()
	a, err := c.Get(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(b)
}

func wantCode(t *testing.T, err error, code godwit.Code) {
	t.Helper()
	if godwit.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want code %s", err, godwit.CodeOf(err), code)
	}
}

func TestGet(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("ETag", `"one"`)
		fmt.Fprintf(w, "%s %s %s", r.UserAgent(), r.Header.Get("Accept"), r.Header.Get("Authorization"))
	})
	c := client(t, Config{UserAgent: "test/1"})
	a, body := get(t, c, Request{URL: s.URL + "/x", Header: map[string]string{"Accept": "a/b"}, Secret: map[string]string{"Authorization": "Bearer T"}})
	if body != "test/1 a/b Bearer T" || a.Status != 200 || a.ETag != `"one"` || a.Size != int64(len(body)) || a.Moved != "" {
		t.Errorf("got %q, %+v", body, a)
	}
	if a, body := get(t, c, Request{URL: s.URL, IfNoneMatch: `"one"`}); a.Status != 304 || body != "" {
		t.Errorf("got %d, %q", a.Status, body)
	}
	if sent, received := c.Transferred(); sent == 0 || received == 0 {
		t.Error("nothing was counted")
	}
}

func TestRedirects(t *testing.T) {
	var seen []string
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization")+r.Header.Get("Private-Token"))
		io.WriteString(w, "there")
	})
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer tls.Close()
	asked := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		to, status := map[string]string{
			"/away": other.URL + "/file", "/loop": "/loop", "/self": "/other", "/gone": "/again", "/again": "/other",
			"/ftp": "ftp://host/x", "/secret": "http://user:pw@" + r.Host + "/other", "/nowhere": "",
		}[r.URL.Path], 302
		if strings.HasPrefix(r.URL.Path, "/gone") {
			status = 301
		}
		switch {
		case r.URL.Path == "/other":
			io.WriteString(w, "here "+r.Header.Get("Authorization"))
		case to == "":
			w.WriteHeader(302)
		default:
			w.Header().Set("Location", to)
			w.WriteHeader(status)
		}
	})
	c := client(t, Config{Network: Network{CAFile: caFile(t, tls)}})
	secret := map[string]string{"Authorization": "Bearer T", "Private-Token": "T"}
	if _, body := get(t, c, Request{URL: s.URL + "/away", Secret: secret}); body != "there" || seen[0] != "" {
		t.Errorf("got %q, the other host saw %q", body, seen)
	}
	if a, body := get(t, c, Request{URL: s.URL + "/self", Secret: secret}); body != "here Bearer T" || a.Moved != "" {
		t.Errorf("got %q, moved to %q", body, a.Moved)
	}
	if a, _ := get(t, c, Request{URL: s.URL + "/gone"}); a.Moved != s.URL+"/again" || a.URL.String() != s.URL+"/other" {
		t.Errorf("moved to %q, answered at %q", a.Moved, a.URL)
	}
	asked = 0
	_, err := c.Get(t.Context(), Request{URL: s.URL + "/loop"})
	wantCode(t, err, godwit.CodeRedirect)
	if asked != MaxRedirects+1 {
		t.Errorf("asked %d times", asked)
	}
	for _, path := range []string{s.URL + "/ftp", s.URL + "/secret", s.URL + "/nowhere", tls.URL} {
		_, err := c.Get(t.Context(), Request{URL: path})
		wantCode(t, err, godwit.CodeRedirect)
		if strings.Contains(err.Error(), "pw") {
			t.Error("a password is shown:", err)
		}
	}
}

func caFile(t *testing.T, s *httptest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDateNeedsTLS(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Sat, 01 Jan 2028 00:00:00 GMT")
	})
	plain, secure := serve(t, answer), httptest.NewTLSServer(answer)
	defer secure.Close()
	var dates []time.Time
	c := client(t, Config{Network: Network{CAFile: caFile(t, secure)}, OnDate: func(at time.Time) { dates = append(dates, at) }})
	get(t, c, Request{URL: plain.URL})
	if len(dates) != 0 {
		t.Error("a date without proof was taken")
	}
	get(t, c, Request{URL: secure.URL})
	if len(dates) != 1 || dates[0].Unix() != 1830297600 {
		t.Error(dates)
	}
	_, err := client(t, Config{}).Get(t.Context(), Request{URL: secure.URL})
	wantCode(t, err, godwit.CodeTLS)
}

func TestAttempts(t *testing.T) {
	asked := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(502)
		}
	})
	c := client(t, Config{})
	get(t, c, Request{URL: s.URL})
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	asked = -100
	_, err := c.Get(t.Context(), Request{URL: s.URL})
	wantCode(t, err, godwit.CodeNetwork)
	if asked != -97 {
		t.Errorf("asked %d times", asked+100)
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	_, err = c.Get(t.Context(), Request{URL: "http://" + l.Addr().String()})
	wantCode(t, err, godwit.CodeNetwork)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Get(ctx, Request{URL: s.URL})
	wantCode(t, err, godwit.CodeFailed)
	_, err = c.Get(t.Context(), Request{URL: "no url"})
	wantCode(t, err, godwit.CodeConfig)
}

func TestRefused(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		w.WriteHeader(n)
	})
	for status, code := range map[int]godwit.Code{401: godwit.CodeUnauthorized, 403: godwit.CodeUnauthorized, 404: godwit.CodeNotFound, 410: godwit.CodeNotFound, 400: godwit.CodeProtocol, 416: godwit.CodeProtocol} {
		a, err := client(t, Config{}).Get(t.Context(), Request{URL: s.URL + "/" + strconv.Itoa(status)})
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, a.Refused("the file x", "", nil), code)
	}
	for status, code := range map[int]godwit.Code{407: godwit.CodeUnauthorized, 511: godwit.CodeNetwork, 500: godwit.CodeNetwork, 429: godwit.CodeRetryAfter} {
		_, err := client(t, Config{Network: Network{Proxy: "none"}}).Get(t.Context(), Request{URL: s.URL + "/" + strconv.Itoa(status)})
		wantCode(t, err, code)
	}
}

// TestPauses: what a host asks for is kept, also by another process, and ends.
func TestPauses(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		wait   time.Duration // 0: none
	}{
		{"seconds", 429, map[string]string{"Retry-After": "120"}, 2 * time.Minute},
		{"a date", 503, map[string]string{"Retry-After": "Fri, 01 Jan 2027 00:10:00 GMT"}, 10 * time.Minute},
		{"nothing", 429, nil, time.Minute},
		{"quota", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1798761900"}, 5*time.Minute + time.Second},
		{"quota by 429", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1798761900"}, 5*time.Minute + time.Second},
		{"GitLab's", 429, map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": "1798761900"}, 5*time.Minute + time.Second},
		// By the host's clock, not by ours.
		{"the host's clock", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000060", "Date": "Fri, 15 Jan 2027 08:00:00 GMT"}, time.Minute + time.Second},
		{"second limit", 403, map[string]string{"Retry-After": "60", "X-RateLimit-Remaining": "20"}, time.Minute},
		{"too long", 429, map[string]string{"Retry-After": "99999999999999999999"}, 24 * time.Hour},
		{"forbidden", 403, map[string]string{"X-RateLimit-Remaining": "20", "X-RateLimit-Reset": "1798761900"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, status := 0, c.status
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header()["Date"] = nil
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(status)
			})
			now := time.Unix(1798761600, 0)
			cfg := Config{Notes: memory{}, Now: func() time.Time { return now }}
			a, err := client(t, cfg).Get(t.Context(), Request{URL: s.URL})
			if c.wait == 0 {
				if err != nil || a.Status != c.status {
					t.Fatal(err)
				}
				return
			}
			wantCode(t, err, godwit.CodeRetryAfter)
			now = now.Add(c.wait - time.Second)
			_, err = client(t, cfg).Get(t.Context(), Request{URL: s.URL})
			wantCode(t, err, godwit.CodeRetryAfter)
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
			now, status = now.Add(time.Second), 200
			get(t, client(t, cfg), Request{URL: s.URL})
			if len(cfg.Notes.(memory)[pauseFile]) != 0 {
				t.Error("the pause is still remembered")
			}
		})
	}
}

// TestPauseIsForOneHost: another host may be asked.
func TestPauseIsForOneHost(t *testing.T) {
	busy := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(429) })
	free := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	c := client(t, Config{})
	_, err := c.Get(t.Context(), Request{URL: busy.URL})
	wantCode(t, err, godwit.CodeRetryAfter)
	get(t, c, Request{URL: free.URL})
	_, err = c.Get(t.Context(), Request{URL: busy.URL})
	wantCode(t, err, godwit.CodeRetryAfter)
}

// A shelf serves one content and can be told to misbehave.
type shelf struct {
	mu       sync.Mutex
	content  []byte
	etag     string
	cut      int  // bytes after which a connection breaks, 0 for never
	deaf     bool // knows no ranges
	lying    bool // sends another range than asked for
	requests []string
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Header.Get("Range"))
	w.Header().Set("ETag", s.etag)
	if s.deaf {
		r.Header.Del("Range")
	}
	if s.lying && r.Header.Get("Range") != "" {
		r.Header.Set("Range", "bytes=1-")
	}
	if s.cut > 0 {
		w = &cutter{w, s.cut}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func TestRanges(t *testing.T) {
	s := &shelf{content: []byte("0123456789"), etag: `"a"`}
	u := serve(t, s.ServeHTTP).URL
	c := client(t, Config{})
	for _, k := range []struct {
		name   string
		etag   string
		offset int64
		change func()
		want   string
	}{
		{"the rest", `"a"`, 4, nil, "456789"},
		{"without an ETag", "", 4, nil, "456789"},
		{"another content", `"b"`, 4, nil, "0123456789"},
		{"behind the end", "", 10, nil, "0123456789"},
		{"no ranges", `"a"`, 4, func() { s.deaf = true }, "0123456789"},
		{"another range", `"a"`, 4, func() { s.deaf, s.lying = false, true }, "0123456789"},
		{"If-Range ignored", `W/"b"`, 4, func() { s.lying = false }, "0123456789"},
	} {
		if k.change != nil {
			k.change()
		}
		a, body := get(t, c, Request{URL: u, Offset: k.offset, ETag: k.etag})
		if body != k.want || a.Offset != int64(10-len(k.want)) || a.Size != 10 {
			t.Errorf("%s: got %q from %d of %d", k.name, body, a.Offset, a.Size)
		}
	}
}

func TestResume(t *testing.T) {
	s := &shelf{content: bytes.Repeat([]byte("0123456789abcdef"), 10_000), etag: `"a"`, cut: 50_000}
	u := serve(t, s.ServeHTTP).URL
	c := client(t, Config{})
	if _, body := get(t, c, Request{URL: u, Resume: true}); body != string(s.content) || len(s.requests) < 4 {
		t.Errorf("got %d bytes in %d requests", len(body), len(s.requests))
	}
	fails := func(name string, r Request) {
		t.Helper()
		a, err := c.Get(t.Context(), r)
		if err != nil {
			t.Fatal(name, err)
		}
		defer a.Body.Close()
		_, err = io.Copy(io.Discard, a.Body)
		wantCode(t, err, godwit.CodeNetwork)
	}
	fails("not asked to", Request{URL: u})
	s.deaf = true
	fails("no ranges", Request{URL: u, Resume: true})
	s.deaf = false
	a, err := c.Get(t.Context(), Request{URL: u, Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.etag, s.content = `"b"`, bytes.Repeat([]byte{'x'}, len(s.content))
	s.mu.Unlock()
	if n, err := io.Copy(io.Discard, a.Body); n > 50_000 {
		t.Errorf("%d bytes of two contents: %v", n, err)
	}
	a.Body.Close()
}

// TestShortPart: a part that ends before its range does is not the end.
func TestShortPart(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(206)
		io.WriteString(w, "56")
	}).URL
	a, err := client(t, Config{}).Get(t.Context(), Request{URL: u, Offset: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	wantCode(t, err, godwit.CodeNetwork)
}

// TestNoProgress: a transfer that never comes any further ends.
func TestNoProgress(t *testing.T) {
	n := 0
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Content-Length", "100")
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 5-104/105")
			w.WriteHeader(206)
		} else {
			w.Header().Set("Content-Length", "105")
			io.WriteString(w, "01234")
		}
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}).URL
	a, err := client(t, Config{}).Get(t.Context(), Request{URL: u, Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	wantCode(t, err, godwit.CodeNetwork)
	if n != 4 {
		t.Errorf("asked %d times", n)
	}
}

func TestSilence(t *testing.T) {
	end := make(chan bool)
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		<-end
	}).URL
	defer close(end)
	a, err := client(t, Config{Network: Network{IdleTimeout: 50 * time.Millisecond}}).Get(t.Context(), Request{URL: u})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	wantCode(t, err, godwit.CodeTimeout)
}

func TestEncodingIsRefused(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", "gzip") }).URL
	_, err := client(t, Config{}).Get(t.Context(), Request{URL: u})
	wantCode(t, err, godwit.CodeProtocol)
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes +1-2/3", "bytes 0-10/10", "items 0-1/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, size, ok := ContentRange(s)
		if ok && (from < 0 || size != -1 && from >= size) {
			t.Errorf("%q: from %d of %d", s, from, size)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "0", "-1", "1e3", "Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT", "99999999999999999999", " 5 ", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := parseRetryAfter(s, time.Unix(1_800_000_000, 0)); ok && (d < 0 || d > longestPause) {
			t.Fatalf("%q: %s", s, d)
		}
	})
}

func FuzzPauses(f *testing.F) {
	n := NewNote(pauseTitle)
	n.Add("host:443", "1800000000 1800000600")
	f.Add(n.Bytes(), false)
	f.Add([]byte("godwit retry-after 1\nhost:1 1800000000 1800000600"), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			// A right sum, so that what is behind it is reached.
			b = NewNote(string(b)).Bytes()
		}
		for _, p := range parsePauses(b) {
			if d := p.until.Sub(p.set); d <= 0 || d > longestPause+time.Second {
				t.Fatal(d)
			}
		}
	})
}
