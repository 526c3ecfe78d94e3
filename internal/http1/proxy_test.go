package http1

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

// proxyTo is an HTTP proxy that connects to one place whatever is asked for.
func proxyTo(t testing.TB, there string, seen *atomic.Value) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Method + " " + r.RequestURI + " " + r.Host + " " + r.Header.Get("Proxy-Authorization") + "|" + r.Header.Get("Authorization"))
		if r.Method != "CONNECT" {
			io.WriteString(w, "from the proxy")
			return
		}
		if r.Host == "forbidden.test:443" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			io.WriteString(w, "who are you?")
			return
		}
		c, _, _ := w.(http.Hijacker).Hijack()
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n")
		join(c, there)
	}
}

func join(c net.Conn, there string) {
	d, err := net.Dial("tcp", there)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan struct{})
	go func() { io.Copy(d, c); d.(*net.TCPConn).CloseWrite(); close(done) }()
	io.Copy(c, d)
	c.Close()
	<-done
}

func TestProxies(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host+r.Header.Get("Proxy-Authorization"))
	})
	secure := httptest.NewTLSServer(hello)
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(hello)
	t.Cleanup(plain.Close)
	var seen atomic.Value
	proxy, conns := serve(t, proxyTo(t, secure.Listener.Addr().String(), &seen))
	secureProxy := httptest.NewTLSServer(proxyTo(t, secure.Listener.Addr().String(), &seen))
	t.Cleanup(secureProxy.Close)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	pool.AddCert(secureProxy.Certificate())

	tr := transport(t)
	tr.TLSClientConfig = &tls.Config{RootCAs: pool}
	via := func(u string) {
		p, err := url.Parse(strings.Replace(u, "://", "://us%40er:pass@", 1))
		if err != nil {
			t.Fatal(err)
		}
		tr.Proxy = ProxyURL(p)
	}
	get := func(u string) string { t.Helper(); _, b := do(t, tr, "GET", u, nil); return b }
	const auth = "Basic dXNAZXI6cGFzcw=="
	for _, u := range []string{proxy.URL, secureProxy.URL} {
		via(u)
		if b := get("http://plain.test/x?y"); b != "from the proxy" || seen.Load() != "GET http://plain.test/x?y plain.test "+auth+"|" {
			t.Errorf("%s: %q; the proxy saw %q", u, b, seen.Load())
		}
		if b := get("https://example.com/x?y"); b != "GET /x?y example.com" || seen.Load() != "CONNECT example.com:443 example.com:443 "+auth+"|" {
			t.Errorf("%s: %q; the proxy saw %q", u, b, seen.Load())
		}
		_, err := tr.RoundTrip(request(t, context.Background(), "GET", "https://forbidden.test/", nil))
		var p *ProxyError
		if !errors.As(err, &p) || p.StatusCode != 407 || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: %v", u, err)
		}
	}
	// One connection for whatever goes through the proxy in plain text.
	via(proxy.URL)
	tr.CloseIdleConnections()
	before := conns.Load()
	get("http://one.test/")
	get("http://two.test/")
	if n := conns.Load() - before; n != 1 {
		t.Errorf("%d connections to the proxy", n)
	}

	for _, c := range []struct{ name, u, want string }{
		{"nobody there", "http://127.0.0.1:1", "http://h.test/"},
		{"of another kind", "ftp://127.0.0.1:1", "http://h.test/"},
		{"that speaks first", raw(t, func(c net.Conn) { hear(c); io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01") }), "https://h.test/"},
		{"that hangs up", raw(t, func(c net.Conn) { hear(c) }), "https://h.test/"},
		{"that does not speak HTTP", raw(t, func(c net.Conn) { hear(c); io.WriteString(c, "220 hello\r\n\r\n") }), "https://h.test/"},
	} {
		via(c.u)
		_, err := tr.RoundTrip(request(t, context.Background(), "GET", c.want, nil))
		var p *ProxyError
		if !errors.As(err, &p) {
			t.Errorf("a proxy %s: %v", c.name, err)
		}
	}
}

// socksServer takes a name and a password, and connects to one place.
func socksServer(t testing.TB, there string, seen *atomic.Value, open bool) string {
	return raw(t, func(c net.Conn) {
		b := make([]byte, 600)
		read := func(n int) []byte { io.ReadFull(c, b[:n]); return b[:n] }
		methods := string(read(int(read(2)[1])))
		switch {
		case strings.Contains(methods, "\x02"):
			c.Write([]byte{5, 2})
			user := string(read(int(read(2)[1])))
			pass := string(read(int(read(1)[0])))
			if user+":"+pass != "us@er:pass" {
				c.Write([]byte{1, 1})
				return
			}
			c.Write([]byte{1, 0})
		case open:
			c.Write([]byte{5, 0})
		default:
			c.Write([]byte{5, 0xff})
			return
		}
		switch read(4)[3] {
		case 1:
			seen.Store(net.IP(read(4)).String())
		case 3:
			seen.Store(string(read(int(read(1)[0]))))
		case 4:
			seen.Store(net.IP(read(16)).String())
		}
		read(2)
		if seen.Load() == "refused.test" {
			c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		if seen.Load() == "::2" {
			c.Write(append([]byte{5, 0, 0, 4}, make([]byte, 18)...))
		} else if seen.Load() == "long.test" {
			c.Write([]byte("\x05\x00\x00\x03\x04here\x00\x00"))
		} else {
			c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 80})
		}
		join(c, there)
	})
}

func TestSOCKS(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secret") }))
	t.Cleanup(secure.Close)
	plain, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.RequestURI+r.Header.Get("Proxy-Authorization"))
	})
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	var seen atomic.Value
	for _, user := range []string{"us%40er:pass@", "", "us%40er:wrong@"} {
		for _, c := range []struct{ u, host, want string }{
			{"http://name.test/p", "name.test", "/p"},
			{"http://long.test/p", "long.test", "/p"},
			{"http://192.0.2.1/p", "192.0.2.1", "/p"},
			{"http://[::2]/p", "::2", "/p"},
			{"https://example.com/p", "example.com", "secret"},
			{"http://refused.test/", "refused.test", ""},
		} {
			seen.Store("")
			there := plain.Listener.Addr().String()
			if strings.HasPrefix(c.u, "https") {
				there = secure.Listener.Addr().String()
			}
			p, err := url.Parse(strings.Replace(socksServer(t, there, &seen, user == ""), "http://", "socks5h://"+user, 1))
			if err != nil {
				t.Fatal(err)
			}
			tr := transport(t)
			tr.Proxy = ProxyURL(p)
			tr.TLSClientConfig = &tls.Config{RootCAs: pool}
			resp, err := tr.RoundTrip(request(t, context.Background(), "GET", c.u, nil))
			if c.want == "" || strings.Contains(user, "wrong") {
				var p *ProxyError
				if !errors.As(err, &p) || strings.Contains(user, "wrong") != (p.StatusCode == 407) {
					t.Errorf("%s as %q: %v", c.u, user, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s as %q: %v", c.u, user, err)
				continue
			}
			b, err := io.ReadAll(resp.Body)
			if string(b) != c.want || err != nil || seen.Load() != c.host {
				t.Errorf("%s as %q: %q, %v; the proxy was asked for %q", c.u, user, b, err, seen.Load())
			}
			tr.CloseIdleConnections()
		}
	}
	// Without an open door for those who bring no password.
	p, _ := url.Parse(strings.Replace(socksServer(t, "", &seen, false), "http", "socks5", 1))
	tr := transport(t)
	tr.Proxy = ProxyURL(p)
	_, err := tr.RoundTrip(request(t, context.Background(), "GET", "http://name.test/", nil))
	var known *ProxyError
	if !errors.As(err, &known) {
		t.Error(err)
	}
}

// same compares with golang.org/x/net/http/httpproxy, which net/http uses.
func same(t testing.TB, u, httpProxy, httpsProxy, noProxy, cgi string) {
	t.Helper()
	where, err := url.Parse(u)
	if err != nil || where.Scheme != "http" && where.Scheme != "https" {
		return
	}
	for _, s := range []string{u, httpProxy, httpsProxy, noProxy, cgi} {
		for i := range len(s) {
			if s[i] >= 0x80 || s[i] == 0 {
				return // names beyond ASCII are not for us
			}
		}
	}
	want, wantErr := (&httpproxy.Config{HTTPProxy: httpProxy, HTTPSProxy: httpsProxy, NoProxy: noProxy, CGI: cgi != ""}).ProxyFunc()(where)
	got, gotErr := fromSettings(where, func(name string) string {
		return map[string]string{"HTTP_PROXY": httpProxy, "https_proxy": httpsProxy, "no_proxy": noProxy, "REQUEST_METHOD": cgi}[name]
	})
	if (wantErr != nil) != (gotErr != nil) || (want == nil) != (got == nil) || want != nil && want.String() != got.String() {
		t.Errorf("%s with %q, %q, %q, %q: %v, %v; httpproxy says %v, %v", u, httpProxy, httpsProxy, noProxy, cgi, got, gotErr, want, wantErr)
	}
}

var (
	proxyURLs    = []string{"", "proxy:3128", "http://u:p@proxy:8", "https://proxy", "socks5://[::1]:9", "proxy", "http://", "::", "http://%zz", "//x", "proxy:80/path"}
	proxyTargets = []string{"http://example.org", "https://example.org/x", "https://EXAMPLE.org:8443", "http://sub.example.org", "http://badexample.org", "http://localhost:1", "https://LOCALHOST",
		"http://127.3.4.5", "http://[::1]:80", "http://10.1.2.3", "https://10.1.2.3:4", "http://[fe80::1]", "http://[fe80::1%25eth0]:80", "https://[::ffff:10.1.2.3]", "http://[2001:db8::1]:8080", "http://example.org:", "http:", "https://x."}
	proxyExcepts = []string{"", "*", "example.org", ".example.org", "*.example.org", "EXAMPLE.ORG:443", " example.org:80 ,x", "*example.org", "org", ".", ":80", "10.0.0.0/8", "10.1.2.3", "10.1.2.3:80", "[10.1.2.3]:80",
		"::ffff:10.1.2.3", "::ffff:10.0.0.0/104", "::ffff:0:0/90", "fe80::/10", "fe80::1", "[fe80::1]:80", "[fe80::1]", "fe80::1%eth0", "2001:db8::/32,foo", "0.0.0.0/0", "::/0", "10.1.2.3/33", "10.1.2.03", ",,", "localhost", "127.0.0.1", "x.", "x", "*.", "example.org:", "a:b:c"}
)

func TestProxyFromEnvironment(t *testing.T) {
	for _, u := range proxyTargets {
		for _, p := range proxyURLs {
			for _, e := range proxyExcepts {
				same(t, u, p, "", e, "")
				same(t, u, "", p, e, "")
				same(t, u, "a:1", p, e, "GET")
			}
		}
	}
	// The real variables, and which of the two spellings goes first.
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	check := func(u, want string) {
		t.Helper()
		p, err := ProxyFromEnvironment(request(t, context.Background(), "GET", u, nil))
		if got := "none"; err != nil {
			t.Error(err)
		} else if p != nil {
			got = p.Host
			if got != want {
				t.Errorf("%s: %s, want %s", u, got, want)
			}
		} else if got != want {
			t.Errorf("%s: %s, want %s", u, got, want)
		}
	}
	check("http://h.test", "none")
	t.Setenv("http_proxy", "lower:1")
	check("http://h.test", "lower:1")
	t.Setenv("HTTP_PROXY", "upper:1")
	check("http://h.test", "upper:1")
	check("https://h.test", "none")
	t.Setenv("HTTPS_PROXY", "secure:1")
	check("https://h.test", "secure:1")
	t.Setenv("no_proxy", "h.test:443")
	check("https://h.test", "none")
	check("http://h.test", "upper:1")
}

func FuzzProxy(f *testing.F) {
	for i, e := range proxyExcepts {
		f.Add(proxyTargets[i%len(proxyTargets)], proxyURLs[i%len(proxyURLs)], e)
	}
	f.Fuzz(func(t *testing.T, u, p, except string) { same(t, u, p, p, except, "") })
}
