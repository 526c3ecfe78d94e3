package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
	"github.com/godwit-ota/godwit/internal/webclient"
)

func TestRedirects(t *testing.T) {
	r := makeRepo(t, "sha1")
	secret := Config{Token: "s3cret", Header: map[string]string{"X-Key": "s3cret"}, Proxy: "none"}
	moved := func(status int, to func(r *http.Request) string) (*httptest.Server, *atomic.Int64) {
		var n atomic.Int64
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Location", to(r))
			w.WriteHeader(status)
		}), &n
	}
	leak := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.Header.Get("X-Key") != "" {
				t.Errorf("credentials reached another host: %v", r.Header)
			}
			next.ServeHTTP(w, r)
		})
	}
	other := r.host(githost.Config{Wrap: nethttp.Wrap(leak)})

	t.Run("to another host", func(t *testing.T) {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s, n := moved(status, func(r *http.Request) string {
				return other.URL("repo.git") + strings.TrimPrefix(r.URL.RequestURI(), "/old.git")
			})
			cfg := secret
			cfg.URL, cfg.State = s.URL+"/old.git", &memory{}
			c := dial(t, cfg)
			if refs := list(t, c, "refs/heads/main"); len(refs) != 1 || refs[0].ID != r.new {
				t.Fatalf("%d: %+v", status, refs)
			}
			list(t, c, "refs/heads/main")
			if n.Load() != 1 {
				t.Errorf("%d: %d requests to the old place in one session", status, n.Load())
			}
			// The next run begins at the new place only if the move is for good.
			before := other.Requests()
			list(t, dial(t, cfg), "refs/heads/main")
			permanent := status == 301 || status == 308
			if got := n.Load() == 1; got != permanent {
				t.Errorf("%d: remembered %v", status, got)
			}
			if permanent && other.Requests()-before != 1 {
				t.Errorf("%d: %d requests for a poll", status, other.Requests()-before)
			}
		}
	})
	t.Run("on the same host, with credentials", func(t *testing.T) {
		var s *httptest.Server
		s = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if user, pass, _ := r.BasicAuth(); user != "x-access-token" || pass != "s3cret" || r.Header.Get("X-Key") == "" {
				t.Errorf("no credentials: %v", r.Header)
			}
			if rest, ok := strings.CutPrefix(r.URL.RequestURI(), "/old.git"); ok {
				http.Redirect(w, r, s.URL+"/new.git"+rest, http.StatusMovedPermanently)
				return
			}
			says(pkt(one40+" refs/heads/main\n", "0000"))(w, r)
		})
		cfg := secret
		cfg.URL = s.URL + "/old.git"
		if refs := list(t, dial(t, cfg)); len(refs) != 1 {
			t.Fatalf("%+v", refs)
		}
	})
	t.Run("to a host that asks for credentials", func(t *testing.T) {
		asks := r.host(githost.Config{User: "x-access-token", Password: "s3cret"})
		s, _ := moved(302, func(r *http.Request) string {
			return asks.URL("repo.git") + strings.TrimPrefix(r.URL.RequestURI(), "/old.git")
		})
		cfg := secret
		cfg.URL = s.URL + "/old.git"
		err := poll(dial(t, cfg))
		codeIs(t, err, godwit.CodeUnauthorized)
		var e *godwit.Error
		if errors.As(err, &e); !strings.Contains(e.Hint, asks.URL("repo.git")) {
			t.Errorf("hint %q", e.Hint)
		}
	})
	t.Run("loop", func(t *testing.T) {
		s, n := moved(302, func(r *http.Request) string { return r.URL.RequestURI() })
		codeIs(t, poll(dial(t, Config{URL: s.URL + "/old.git"})), godwit.CodeRedirect)
		if n.Load() > webclient.MaxRedirects+1 {
			t.Errorf("%d requests", n.Load())
		}
	})
	t.Run("loop of two hosts", func(t *testing.T) {
		var a, b *httptest.Server
		a, _ = moved(301, func(r *http.Request) string { return b.URL + r.URL.RequestURI() })
		b, _ = moved(301, func(r *http.Request) string { return a.URL + r.URL.RequestURI() })
		codeIs(t, poll(dial(t, Config{URL: a.URL + "/x.git"})), godwit.CodeRedirect)
	})
	t.Run("from https to http", func(t *testing.T) {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL("repo.git")+serviceQuery, http.StatusFound)
		}))
		t.Cleanup(s.Close)
		codeIs(t, poll(dial(t, Config{URL: s.URL + "/x.git", CAFile: caFile(t, s)})), godwit.CodeRedirect)
	})
	t.Run("a remembered place that is gone", func(t *testing.T) {
		var gone atomic.Bool
		var s, there *httptest.Server
		there = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if gone.Load() {
				w.WriteHeader(404)
				return
			}
			says(pkt("0000"))(w, r)
		})
		s = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if gone.Load() {
				says(pkt(one40+" refs/heads/main\n", "0000"))(w, r)
				return
			}
			http.Redirect(w, r, there.URL+r.URL.RequestURI(), http.StatusMovedPermanently)
		})
		cfg := Config{URL: s.URL + "/x.git", State: &memory{}}
		if refs := list(t, dial(t, cfg)); len(refs) != 0 {
			t.Fatal(refs)
		}
		gone.Store(true)
		if refs := list(t, dial(t, cfg)); len(refs) != 1 {
			t.Fatal(refs)
		}
	})
}

// TestRemembered: what is remembered saves a request, and never costs more than
// asking anew.
func TestRemembered(t *testing.T) {
	r := makeRepo(t, "sha1")
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	requests := func(h *githost.Host, cfg Config) int64 {
		before := h.Requests()
		if refs := list(t, dial(t, cfg), "refs/heads/main"); len(refs) != 1 {
			t.Fatal(refs)
		}
		return h.Requests() - before
	}
	h := r.host(githost.Config{})
	state := &memory{}
	cfg := Config{URL: h.URL("repo.git"), State: state, Now: clock}
	expect := func(what string, want int64) {
		t.Helper()
		if n := requests(h, cfg); n != want {
			t.Errorf("%s: %d requests, want %d", what, n, want)
		}
	}
	expect("first", 2)
	expect("second", 1)
	good := state.files[capabilitiesFile]
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x11
		var c Capabilities
		if _, _, _, _, ok := parseCapabilitiesNote(bad); ok {
			t.Fatalf("byte %d damaged: %+v", i, c)
		}
	}
	state.files[capabilitiesFile] = good[:len(good)-5]
	expect("cut", 2)
	expect("after that", 1)
	now = now.Add(8 * 24 * time.Hour)
	expect("old", 2)
	now = now.Add(-30 * 24 * time.Hour)
	expect("from the future", 2)
	state.fail = errors.New("disk full")
	state.files = nil
	expect("cannot be saved", 2)
	state.fail = nil

	// A filter that is no longer there.
	cfg.State = &memory{}
	c := dial(t, cfg)
	caps, err := c.Capabilities(context.Background())
	if err != nil || !caps.Filter {
		t.Fatal(caps, err)
	}
	h.Close()
	u, _ := url.Parse(h.URL(""))
	h = r.host(githost.Config{NoFilter: true, Addr: u.Host})
	_, _, err = dial(t, cfg).Fetch(context.Background(), FetchRequest{Want: []string{r.new}, Depth: 1, Filter: "blob:none"})
	if !errors.Is(err, ErrNoFilter) {
		t.Fatalf("%v", err)
	}
	codeIs(t, err, godwit.CodeProtocol)

	// A host that speaks only version 0 now.
	h.Close()
	h = r.host(githost.Config{Version0: true, Addr: u.Host})
	expect("version 0", 2)
	expect("version 0 again", 1)
}

// TestProxies runs itself: the environment is read only once in a process.
func TestProxies(t *testing.T) {
	if u := os.Getenv("WIRE_TEST_URL"); u != "" {
		err := poll(dial(t, Config{URL: u, CAFile: os.Getenv("WIRE_TEST_CA")}))
		fmt.Printf("CODE=%q\n", godwit.CodeOf(err))
		t.Log(err)
		return
	}
	back := says(pkt(one40+" refs/heads/main\n", "0000"))
	var seen atomic.Value
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Method + " " + r.URL.String() + " " + r.Header.Get("Proxy-Authorization"))
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		back(w, r)
	})
	p := strings.Replace(proxy.URL, "http://", "http://u:p@", 1)
	if err := poll(dial(t, Config{URL: "http://git.example.test/x.git", Proxy: p})); err != nil {
		t.Fatal(err)
	}
	if s, _ := seen.Load().(string); s != "POST http://git.example.test/x.git/git-upload-pack Basic dTpw" {
		t.Errorf("the proxy saw %q", s)
	}
	err := poll(dial(t, Config{URL: "https://git.example.test/x.git", Proxy: p}))
	codeIs(t, err, godwit.CodeNetwork)
	if s, _ := seen.Load().(string); !strings.HasPrefix(s, "CONNECT //git.example.test:443") || strings.Contains(err.Error(), "u:p") {
		t.Errorf("the proxy saw %q; %v", s, err)
	}
	for _, bad := range []string{"ftp://x", "http://", "::"} {
		_, err := Dial(Config{URL: "http://h/x", Proxy: bad})
		codeIs(t, err, godwit.CodeConfig)
	}

	// A proxy that lets TLS through.
	secure := httptest.NewTLSServer(back)
	t.Cleanup(secure.Close)
	tunnel := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store("tunnel to " + r.Host)
		c, _, _ := w.(http.Hijacker).Hijack()
		defer c.Close()
		there, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			return
		}
		defer there.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(there, c)
		io.Copy(c, there)
	})
	if err := poll(dial(t, Config{URL: "https://example.com/x.git", Proxy: tunnel.URL, CAFile: caFile(t, secure)})); err != nil {
		t.Fatal(err)
	}
	if s, _ := seen.Load().(string); s != "tunnel to example.com:443" {
		t.Errorf("the proxy saw %q", s)
	}

	child := func(u string, env ...string) string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxies$", "-test.v")
		cmd.Env = append(os.Environ(), "WIRE_TEST_URL="+u, "WIRE_TEST_CA="+caFile(t, secure))
		cmd.Env = append(cmd.Env, env...)
		out, _ := cmd.CombinedOutput()
		_, code, _ := strings.Cut(string(out), "CODE=\"")
		code, _, _ = strings.Cut(code, "\"")
		return code
	}
	for _, c := range []struct {
		u    string
		env  []string
		code godwit.Code
	}{
		{"http://git.example.test/x.git", []string{"HTTP_PROXY=" + proxy.URL, "NO_PROXY="}, ""},
		{"https://example.com/x.git", []string{"HTTPS_PROXY=" + tunnel.URL, "NO_PROXY="}, ""},
		{"http://git.invalid/x.git", []string{"HTTP_PROXY=" + proxy.URL, "NO_PROXY=.invalid"}, godwit.CodeNetwork},
	} {
		if code := child(c.u, c.env...); code != string(c.code) {
			t.Errorf("%s with %v: %q", c.u, c.env, code)
		}
	}
}
